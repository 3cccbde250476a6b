// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the bus speeds of UHS-I take: signals at 1.8 V, and a sampling point (§3.6.1, §3.6.3).
use super::engine::Awaits;
use super::regs::{CAPABILITIES_1, CLOCK_CONTROL, HOST_CONTROL_2, PRESENT_STATE};
use super::{Error, Sdhci, Slot, Timing};
use crate::sd::{Command, ResponseKind};
use crate::{DmaBuffer, Io};

/// The card holds its lines low and the voltage settles (Physical Layer §4.2.4.2).
const SWITCH_US: u32 = 5_000;
/// The card lets its lines go when it sees a clock.
const CLOCK_SEEN_US: u32 = 1_000;
/// Tuning blocks until it is given up (§3.6.3).
const TUNING_BLOCKS: u32 = 40;
const TUNING_BLOCK_BYTES: u16 = 64;
const ALL_LINES: u32 = 0xf;

impl<I: Io, B: DmaBuffer, S: Slot> Sdhci<I, B, S> {
    /// Puts the signals at 1.8 V, after the card has agreed to (CMD11).
    ///
    /// # Errors
    /// [`Error::VoltageSwitch`]: the card must lose its power now; or [`Error::ClockStuck`].
    pub fn lower_signal_voltage(&mut self) -> Result<(), Error> {
        self.set(&CLOCK_CONTROL, CLOCK_CONTROL::SD_ENABLE::CLEAR);
        if self.data_lines() != 0 {
            return Err(Error::VoltageSwitch);
        }
        self.set(&HOST_CONTROL_2, HOST_CONTROL_2::SIGNALS_1V8::SET);
        let lowered = self.slot.lower_signal_voltage();
        self.slot.delay_us(SWITCH_US);
        let stands = HOST_CONTROL_2
            .read(&self.io)
            .is_set(HOST_CONTROL_2::SIGNALS_1V8);
        if !lowered || !stands {
            return Err(Error::VoltageSwitch);
        }
        self.start_clock()?;
        self.slot.delay_us(CLOCK_SEEN_US);
        if self.data_lines() != ALL_LINES {
            return Err(Error::VoltageSwitch);
        }
        Ok(())
    }

    fn data_lines(&self) -> u32 {
        PRESENT_STATE.read(&self.io).read(PRESENT_STATE::DAT_LEVELS)
    }

    /// Must a sampling point be found before data go with `timing`?
    pub fn needs_tuning(&self, timing: Timing) -> bool {
        let more = CAPABILITIES_1.read(&self.io);
        timing == Timing::Sdr50 && more.is_set(CAPABILITIES_1::SDR50_TUNING)
    }

    /// Finds a sampling point, with tuning blocks that the card sends.
    ///
    /// # Errors
    /// [`Error::Tuning`], with the fixed sampling point in use; or [`Error::ResetStuck`].
    pub fn tune(&mut self) -> Result<(), Error> {
        const SEND_TUNING_BLOCK: Command = Command::new(19, 0, ResponseKind::R1);
        self.set(&HOST_CONTROL_2, HOST_CONTROL_2::EXECUTE_TUNING::SET);
        for _ in 0..TUNING_BLOCKS {
            let came =
                self.read_block_for(SEND_TUNING_BLOCK, TUNING_BLOCK_BYTES, Awaits::TuningBlock);
            if came.is_err() {
                break;
            }
            let state = HOST_CONTROL_2.read(&self.io);
            if !state.is_set(HOST_CONTROL_2::EXECUTE_TUNING) {
                if state.is_set(HOST_CONTROL_2::SAMPLING_CLOCK) {
                    return Ok(());
                }
                break;
            }
        }
        self.set(
            &HOST_CONTROL_2,
            HOST_CONTROL_2::EXECUTE_TUNING::CLEAR + HOST_CONTROL_2::SAMPLING_CLOCK::CLEAR,
        );
        self.reset_lines()?;
        Err(Error::Tuning)
    }
}
