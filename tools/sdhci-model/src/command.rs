// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands: what may be sent, what the card answers, and what the controller makes of it.
//!
//! Simplified Specification 3.00, 2.2.6 (command register), 2.2.18 (errors), 3.7 (sequences), and
//! 2.2.24 for tuning, in which CMD19 fills the buffer so many times and nothing completes.

use crate::Sdhci;
use crate::card::Answer;
use crate::fault::Fault;
use crate::outside::Outside;
use crate::regs::{clock, command, host, host2, intr, mode};
use crate::slot::Until;
use crate::stray::Stray;

/// CMD19s until the clock is tuned.
pub(crate) const TUNING_BLOCKS: u8 = 8;
/// What R1 has of errors.
const R1_ERRORS: u32 = 0xfdf9_a080;

impl Sdhci {
    /// The driver wrote the command.
    pub(crate) fn issue(&mut self, out: &mut dyn Outside) {
        let word = self.command;
        let index = (word >> command::INDEX_SHIFT & 0x3f) as u8;
        let data = word & command::DATA != 0;
        let busy = word & command::RESPONSE == command::RESPONSE_48_BUSY;
        let abort = index == 12 || word & command::TYPE == command::TYPE_ABORT;
        if self.command_inhibit() {
            return self.note(Stray::CommandBusy(index));
        }
        if (data || busy) && !abort && self.data_inhibit() {
            return self.note(Stray::DataBusy(index));
        }
        if self.clock & clock::CARD == 0 || self.host_control & host::POWER == 0 {
            // No clock comes by which the command could end.
            self.command_stuck = true;
            return self.note(Stray::NoClock(index));
        }
        if data && word & mode::AUTO == mode::AUTO_CMD23 {
            if word & mode::DMA != 0 && self.host_control & host::DMA_SELECT == 0 {
                self.note(Stray::AutoCmd23Sdma);
            }
            if !self.auto_command(23, self.sdma_address, out) {
                return;
            }
        }
        if abort {
            self.abort_transfer(out);
        }
        let answer = self.tell(index, self.argument, out);
        let errors = self.check(index, answer);
        if errors != 0 {
            return self.intr.raise(errors);
        }
        self.intr.raise(intr::COMMAND_COMPLETE);
        if data && self.host2 & host2::EXECUTE_TUNING != 0 && matches!(index, 19 | 21) {
            self.tune();
        } else if data {
            let errs = matches!(answer, Some(Answer::Short(r1)) if r1 & R1_ERRORS != 0);
            self.begin(index, errs, out);
        } else if busy {
            self.wait_while_busy(out);
        }
    }

    /// The card hears a command, or does not.
    pub(crate) fn tell(
        &mut self,
        index: u8,
        argument: u32,
        out: &mut dyn Outside,
    ) -> Option<Answer> {
        self.counters.commands += 1;
        if self.faults.strike(Fault::CommandTimeout).is_some() {
            return None;
        }
        let answer = self.slot.command(index, argument);
        if matches!(index, 24 | 25)
            && answer.is_some()
            && self.faults.strike(Fault::ReadOnly).is_some()
            && let Some(card) = self.slot.card()
        {
            card.protect();
        }
        self.see_busy(out);
        answer
    }

    /// Compares the answer with what the command awaits, and keeps it: the errors.
    fn check(&mut self, index: u8, answer: Option<Answer>) -> u32 {
        let awaited = self.command & command::RESPONSE;
        let checks_crc = self.command & command::CHECK_CRC != 0;
        let checks_index = self.command & command::CHECK_INDEX != 0;
        if awaited == 0 {
            return 0;
        }
        let Some(answer) = answer else {
            return intr::COMMAND_TIMEOUT;
        };
        let mut errors = 0;
        match (awaited == command::RESPONSE_136, answer) {
            (true, Answer::Long(bits)) => {
                for (n, word) in self.response.iter_mut().enumerate() {
                    *word = (bits >> (8 + 32 * n)) as u32;
                }
            }
            (false, Answer::Short(bits) | Answer::Bare(bits)) => self.response[0] = bits,
            _ => errors |= intr::COMMAND_END,
        }
        if checks_index && !matches!(answer, Answer::Short(_)) {
            errors |= intr::COMMAND_INDEX;
        }
        if checks_crc && matches!(answer, Answer::Bare(_)) {
            errors |= intr::COMMAND_CRC;
        }
        if errors != 0 {
            self.note(Stray::Response(index));
        }
        if checks_crc && self.faults.strike(Fault::CommandCrc).is_some() {
            errors |= intr::COMMAND_CRC;
        }
        errors
    }

    /// One block of the pattern.
    fn tune(&mut self) {
        if let Some(card) = self.slot.card()
            && let Some((true, bytes)) = card.phase()
        {
            card.send(&mut self.staging[..bytes]);
        }
        self.intr.raise(intr::BUFFER_READ);
        self.tuning_left = self.tuning_left.saturating_sub(1);
        if self.tuning_left == 0 {
            self.host2 = self.host2 & !host2::EXECUTE_TUNING | host2::TUNED;
        }
    }

    /// A card that has just become busy may stay so.
    fn see_busy(&mut self, out: &mut dyn Outside) {
        let busy = self.slot.is_busy();
        if busy
            && !self.was_busy
            && let Some(strike) = self.faults.strike(Fault::Busy)
        {
            self.slot.hold(Until::after(out.now_ns(), strike.ns));
        }
        self.was_busy = busy;
    }

    /// TRANSFER_COMPLETE comes when DAT0 is high.
    pub(crate) fn wait_while_busy(&mut self, out: &mut dyn Outside) {
        self.see_busy(out);
        self.busy_wait = Some(out.now_ns().saturating_add(self.timeout_ns()));
        self.run_busy(out);
    }

    /// A busy card works; the controller sees it end, or waits for no longer.
    pub(crate) fn run_busy(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        self.see_busy(out);
        self.slot.run(now_ns);
        self.was_busy = self.slot.is_busy();
        let Some(until_ns) = self.busy_wait else {
            return;
        };
        if !self.was_busy {
            self.busy_wait = None;
            self.intr.raise(intr::TRANSFER_COMPLETE);
        } else if until_ns <= now_ns {
            self.data_error(intr::DATA_TIMEOUT);
        }
    }
}
