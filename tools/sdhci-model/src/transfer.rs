// SPDX-License-Identifier: MIT OR Apache-2.0
//! A transfer: blocks between the card and guest memory, a slice at a time.
//!
//! # Theory
//! Between card and memory lies the staging, one slice long: whole blocks. A read fills it from
//! the card and drains it into memory; a write does it the other way round. The buffer port drains
//! and fills it word by word, DMA by segments. One call moves one slice at most, and the next one is
//! due at once: nobody waits for a whole transfer.
//!
//! An error ends the transfer and leaves the data lines in use until the driver resets them, as the
//! specification's recovery has it. A card that is silent lets the time-out run.

use crate::Sdhci;
use crate::card::Broken;
use crate::dma::Way;
use crate::fault::Fault;
use crate::outside::Outside;
use crate::regs::{auto, clock, host, intr, mode};
use crate::slot::Until;
use crate::stray::Stray;

/// Bytes that one call moves at most.
pub const SLICE: usize = 0x1_0000;
/// Kilohertz of the clock that the time-out counts: the capabilities' field.
const TIMEOUT_KHZ: u64 = 50;

/// A transfer under way.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub read: bool,
    pub way: Way,
    pub block_bytes: usize,
    /// Blocks that the card has still to send or to take; without, the card or the driver ends it.
    pub left: Option<u32>,
    /// The number of blocks is known, and a table's length must agree with it.
    pub counted: bool,
    auto_stop: bool,
    /// Bytes in the staging.
    pub filled: usize,
    /// Bytes of a read that are already drained.
    pub done: usize,
    /// What follows the staging's last block.
    pub broken: Option<Broken>,
    /// Nothing comes, until then.
    pub silent: Option<Until>,
    /// It stands at a block gap.
    pub gap: bool,
    /// When the next slice is due, or the last one has passed the wire.
    pub next_ns: Option<u64>,
    /// When the wire has passed what was moved.
    wire_ns: u64,
    /// A slice is moved and on the wire.
    on_wire: bool,
}

impl Transfer {
    /// Of the blocks that are left: the bytes that one slice takes.
    pub(crate) fn slice_bytes(&self) -> usize {
        let fit = match (&self.way, self.left) {
            (Way::Pio, None) => 1, // nobody knows whether another follows
            _ => SLICE / self.block_bytes,
        };
        let blocks = self.left.map_or(fit, |left| fit.min(left as usize));
        blocks * self.block_bytes
    }

    /// Nothing is due before the driver does something.
    pub(crate) fn rest(&mut self) {
        self.next_ns = None;
    }

    /// Whether the buffer takes what the driver writes.
    pub(crate) fn wants_block(&self) -> bool {
        self.silent.is_none() && self.next_ns.is_none() && !self.gap
    }

    /// Whether a write's staging holds a slice.
    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.slice_bytes()
    }

    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        match self.silent {
            Some(until) => until.time(),
            None => self.next_ns,
        }
    }

    pub(crate) fn take_blocks(&mut self, blocks: usize) {
        self.left = self.left.map(|left| left.saturating_sub(blocks as u32));
    }
}

impl Sdhci {
    /// Nanoseconds that TIMEOUT_CONTROL allows.
    pub(crate) fn timeout_ns(&self) -> u64 {
        let exponent = (self.clock >> clock::TIMEOUT_SHIFT & 0xf).min(14);
        (1_u64 << (13 + exponent)) * 1_000_000 / TIMEOUT_KHZ
    }

    /// The command with data was answered: its transfer begins.
    pub(crate) fn begin(&mut self, index: u8, answered_error: bool, out: &mut dyn Outside) {
        let transfer_mode = self.transfer_mode();
        let read = transfer_mode & mode::READ != 0;
        let multi = transfer_mode & mode::MULTI != 0;
        let counted = transfer_mode & mode::COUNT != 0;
        let block_bytes = (self.block & 0xfff) as usize;
        let way = Way::chosen(transfer_mode, self.host_control).unwrap_or_else(|| {
            self.note(Stray::DmaSelect);
            Way::Pio
        });
        let left = match (multi, counted) {
            (false, _) => Some(1),
            (true, true) => Some(self.block >> 16),
            (true, false) => None,
        };
        let now_ns = out.now_ns();
        let mut transfer = Transfer {
            read,
            way,
            block_bytes,
            left,
            counted: counted || !multi,
            auto_stop: multi && transfer_mode & mode::AUTO == mode::AUTO_CMD12,
            filled: 0,
            done: 0,
            broken: None,
            silent: None,
            gap: false,
            next_ns: Some(now_ns),
            wire_ns: now_ns,
            on_wire: false,
        };
        let phase = self.slot.seen().and_then(|card| card.phase());
        let lines = self.host_width();
        let card_lines = self.slot.seen().map_or(lines, |card| card.width());
        if phase.is_none_or(|(sends, _)| sends != read) {
            if !answered_error && self.slot.seen().is_some() {
                self.note(Stray::Direction(index));
            }
            let timeout_ns = self.timeout_ns();
            transfer.silent = Some(Until::after(now_ns, Some(timeout_ns)));
        } else if phase.is_some_and(|(_, bytes)| bytes != block_bytes) {
            self.note(Stray::BlockSize(index));
            transfer.broken = Some(Broken::Crc);
        } else if lines != card_lines {
            self.note(Stray::BusWidth(lines, card_lines));
            transfer.broken = Some(Broken::Crc);
        }
        if let Some(strike) = self.faults.strike(Fault::DataTimeout) {
            transfer.silent = Some(Until::after(now_ns, strike.ns));
        }
        let adma = matches!(transfer.way, Way::Adma(_));
        let empty = transfer.left == Some(0);
        self.transfer = Some(transfer);
        if adma && self.faults.strike(Fault::AdmaError).is_some() {
            self.table_failed();
        } else if block_bytes == 0 || block_bytes > 2048 {
            self.note(Stray::BlockSize(index));
            self.data_error(intr::DATA_CRC);
        } else if empty {
            self.note(Stray::NoBlocks(index));
            self.finish(out);
        } else {
            self.run_transfer(out);
        }
    }

    pub(crate) fn transfer_mode(&self) -> u32 {
        self.command & 0xffff
    }

    /// What is due of the transfer: one slice, or the end of patience.
    pub(crate) fn run_transfer(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if let Some(until) = transfer.silent {
            if until.is_over(now_ns) {
                self.data_error(intr::DATA_TIMEOUT);
            }
            return;
        }
        if transfer.next_ns.is_none_or(|at_ns| at_ns > now_ns) {
            return;
        }
        transfer.next_ns = None;
        if std::mem::take(&mut transfer.on_wire) {
            return self.slice_passed(out);
        }
        if self.host_control & host::GAP_STOP != 0 && transfer.done == transfer.filled {
            transfer.gap = true;
            self.intr.raise(intr::BLOCK_GAP | intr::TRANSFER_COMPLETE);
            return;
        }
        let read = transfer.read;
        let pio = matches!(transfer.way, Way::Pio);
        let drained = transfer.done == transfer.filled;
        self.counters.slices += 1;
        self.new_budget();
        match (read, pio) {
            (true, pio) => {
                if drained {
                    self.fill_from_card(out);
                }
                match pio {
                    true => self.offer_block(out),
                    false => self.drain(out),
                }
            }
            (false, true) => self.want_block(),
            (false, false) => self.gather(out),
        }
    }

    /// A slice of so many bytes is moved: it takes its time on the wire, if there is a rate.
    pub(crate) fn slice_moved(&mut self, bytes: usize, out: &mut dyn Outside) {
        let ns = (bytes as u64 * 1_000_000_000).checked_div(self.rate);
        match (&mut self.transfer, ns) {
            (Some(transfer), Some(ns)) => {
                transfer.wire_ns += ns;
                transfer.next_ns = Some(transfer.wire_ns);
                transfer.on_wire = true;
            }
            _ => self.slice_passed(out),
        }
    }

    /// What follows a slice: an error, the end, or the next.
    fn slice_passed(&mut self, out: &mut dyn Outside) {
        let Some(transfer) = &self.transfer else {
            return;
        };
        match (transfer.broken, transfer.left) {
            (Some(broken), _) => self.card_failed(broken, out),
            (None, Some(0)) => self.finish(out),
            (None, _) => self.again(out),
        }
    }

    /// What stood still goes on.
    pub(crate) fn resume(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        if let Some(transfer) = &mut self.transfer {
            transfer.wire_ns = now_ns;
        }
        self.again(out);
    }

    /// The next slice is due now.
    pub(crate) fn again(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        if let Some(transfer) = &mut self.transfer {
            transfer.next_ns = Some(now_ns);
        }
    }

    /// An error ends the transfer; the data lines wait for a reset.
    pub(crate) fn data_error(&mut self, bits: u32) {
        self.transfer = None;
        self.busy_wait = None;
        self.data_stuck = true;
        self.intr.raise(bits);
    }

    /// All blocks are moved: Auto CMD12, then the card's busy, then the interrupt.
    pub(crate) fn finish(&mut self, out: &mut dyn Outside) {
        let too_long = self.table_is_too_long();
        let auto_stop = self.transfer.take().is_some_and(|t| t.auto_stop);
        if too_long {
            return self.length_failed();
        }
        if auto_stop && !self.auto_command(12, 0, out) {
            self.data_stuck = true;
            return;
        }
        self.wait_while_busy(out);
    }

    /// Blocks that a write has complete in the staging go to the card before it hears a stop.
    pub(crate) fn abort_transfer(&mut self, out: &mut dyn Outside) {
        if self
            .transfer
            .as_ref()
            .is_some_and(|t| !t.read && t.silent.is_none())
        {
            if let Some(transfer) = &mut self.transfer {
                transfer.filled -= transfer.filled % transfer.block_bytes;
            }
            self.hand_over(out);
        }
        self.transfer = None;
        self.busy_wait = None;
    }

    /// A command that the controller sends itself; false if it failed.
    pub(crate) fn auto_command(&mut self, index: u8, argument: u32, out: &mut dyn Outside) -> bool {
        let struck = self.faults.strike(Fault::AutoCommand).is_some();
        let answer = match struck {
            true => None,
            false => self.tell(index, argument, out),
        };
        match answer {
            Some(crate::card::Answer::Short(r1)) => {
                self.response[3] = r1;
                true
            }
            _ => {
                self.auto_error |= auto::TIMEOUT;
                self.intr.raise(intr::AUTO_COMMAND);
                false
            }
        }
    }
}
