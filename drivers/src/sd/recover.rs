// SPDX-License-Identifier: MIT OR Apache-2.0
//! What threads do with a card that was brought up: recovery, flushing, and transfers that are waited for.
use super::{
    Card, Command, Error, Pace, ResponseKind, STOP_TRANSMISSION, TransferData, bus, init, status,
};
use super::{Loss, Progress, Stage, emmc};
use crate::sdhci::{self, Slot, Timing};
use crate::{DmaBuffer, Io};

/// A write may take 250 ms, on SDXC 500 (§4.6.2.2).
const BUSY_TIMEOUT_US: u32 = 1_000_000;
const BUSY_STEP_US: u32 = 100;
/// Questions without an answer, until the card is taken to be gone or reset.
const QUESTIONS: u32 = 3;
/// At 1.8 V, until the card is driven at 3.3 V.
const BAD_CRCS_MAX: u32 = 4;
/// After the first try of a transfer that is waited for.
const REPETITIONS: u32 = 2;

impl<I: Io, B: DmaBuffer, S: Slot> Card<I, B, S> {
    /// Brings the card back to the transfer state after a transfer has failed. The transfer may then be repeated.
    ///
    /// # Errors
    /// The card cannot be used any more, or not yet: [`Error::Removed`] and [`Error::Exchanged`], what
    /// [`Card::init`] tells, and the device's. A later recovery may succeed: the card may be back.
    pub fn recover(&mut self) -> Result<(), Error> {
        self.stage = Stage::Idle;
        if self.lost {
            return self.identify_anew();
        }
        if self.bad_crcs >= BAD_CRCS_MAX && is_at_1v8(self.info.timing) {
            self.pace = Pace::High;
        } else if self.recover_gently().is_ok() {
            return Ok(());
        }
        self.identify_anew()
    }

    fn recover_gently(&mut self) -> Result<(), Error> {
        self.host.reset_lines().map_err(Error::Host)?;
        self.settle()?;
        if self.host.needs_tuning(self.info.timing) {
            self.host.tune().map_err(Error::Host)?;
        }
        Ok(())
    }

    fn identify_anew(&mut self) -> Result<(), Error> {
        self.lost = true;
        if self.unflushed {
            self.loss = Loss::Untold;
        }
        let found = init::bring_up_patiently(&mut self.host, &mut self.pace);
        let same = found.map_err(|error| match error {
            Error::NoCard => Error::Removed,
            error => error,
        });
        match same {
            Ok((rca, info)) if info.cid == self.info.cid => {
                (self.rca, self.info, self.bad_crcs) = (rca, info, 0);
                self.lost = false;
                Ok(())
            }
            other => {
                self.host.refuse();
                other.and(Err(Error::Exchanged))
            }
        }
    }

    /// Brings the card to the transfer state, ready for data. What it tells of errors on the way is of the past.
    fn settle(&mut self) -> Result<(), Error> {
        let ask = self.status_question();
        let select = Command::new(7, ask.argument, ResponseKind::R1b);
        let stop = Command::new(STOP_TRANSMISSION, 0, ResponseKind::R1b);
        let (mut waited_us, mut unanswered) = (0, 0);
        let timeout_us = self.host.patience_us(BUSY_TIMEOUT_US);
        loop {
            let command = match self.host.command(ask).map(|r| r.short()) {
                Ok(told) if status::takes_data(told) => return Ok(()),
                Ok(told) => match status::state(told) {
                    status::SENDING_DATA | status::RECEIVING_DATA => Some(stop),
                    status::STANDBY => Some(select),
                    _ => None,
                },
                Err(sdhci::Error::Status(_)) => None, // and telling has cleared them
                Err(cause) => {
                    unanswered += 1;
                    if unanswered == QUESTIONS {
                        return Err(bus(ask, cause));
                    }
                    None
                }
            };
            if let Some(command) = command {
                match self.host.command(command) {
                    // The transfer had ended by itself.
                    Ok(_) | Err(sdhci::Error::Status(_) | sdhci::Error::NoResponse) => {}
                    Err(cause) => return Err(bus(command, cause)),
                }
            }
            if waited_us >= timeout_us {
                return Err(Error::StillBusy);
            }
            self.host.delay_us(BUSY_STEP_US);
            waited_us += BUSY_STEP_US;
        }
    }

    /// Puts everything that was written on the medium. After an error it recovers by itself, as far as it can.
    ///
    /// # Errors
    /// Called during a transfer, the caller's. Else the medium's and the device's, [`Error::CacheLost`] among them: of what was written since the last flush that
    /// went well, all may be lost.
    pub fn flush(&mut self) -> Result<(), Error> {
        if !self.unflushed && self.loss == Loss::None {
            return Ok(());
        }
        if self.stage != Stage::Idle {
            return Err(Error::Host(sdhci::Error::Occupied));
        }
        let flushed = emmc::flush(&mut self.host, self.rca);
        if flushed.is_err() {
            // What follows is told by its own transfers.
            let _ = self.recover();
        }
        self.unflushed = flushed.is_err();
        match self.loss {
            Loss::None => flushed,
            Loss::Untold | Loss::Told => {
                self.loss = Loss::Told;
                Err(Error::CacheLost)
            }
        }
    }

    /// Carries `transfer` to its end, and repeats it twice at most.
    ///
    /// # Errors
    /// Those of [`Self::start`], [`Self::interrupt`] and [`Self::recover`].
    pub fn carry(&mut self, transfer: &mut impl TransferData) -> Result<(), Error> {
        let mut repetitions = 0;
        loop {
            self.start(transfer)?;
            let error = match self.finish(transfer) {
                Progress::Failed(error) => error,
                _ => return Ok(()),
            };
            self.recover()?;
            if !error.is_transient() || repetitions == REPETITIONS {
                return Err(error);
            }
            repetitions += 1;
        }
    }

    /// Waits for the end of the transfer that was started.
    fn finish(&mut self, transfer: &mut impl TransferData) -> Progress {
        loop {
            let step = match self.host.finish(transfer) {
                Ok(response) => sdhci::Step::Done(response),
                Err(cause) => sdhci::Step::Failed(cause),
            };
            match self.advance(step, transfer.direction()) {
                Progress::Going | Progress::NotMine => {}
                ended => return ended,
            }
        }
    }
}

const fn is_at_1v8(timing: Timing) -> bool {
    matches!(timing, Timing::Sdr25 | Timing::Sdr50 | Timing::Ddr50)
}
