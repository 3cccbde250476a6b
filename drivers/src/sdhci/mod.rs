// SPDX-License-Identifier: MIT OR Apache-2.0
//! SD host controllers after the SDHCI standard: the Pi 4's EMMC2, and its older Arasan.
//!
//! # Theory
//! Both take 32-bit accesses only, so TRANSFER_MODE and COMMAND leave as one word, and that word starts the command.
//! Both run their registers in the bus clock's domain: of two writes to one register within some two bus clocks, the
//! second can be lost. While the bus is slow, each write is followed by a pause of four clocks; at 25 MHz
//! the way to the device takes longer than that.
//!
//! Interrupts are polled: INT_STATUS tells, INT_SIGNAL_ENABLE stays 0. Every wait has an end of its own: the
//! controller's data time-out counts a clock which on EMMC2 would make it 45 minutes.
//!
//! After any error the command and data circuits are reset (§3.10), so that the next command finds them free.
//!
//! The card-detect bits are not looked at: on the board they are wired to 1.
//!
//! # Contexts
//! Thread, or early boot: each operation waits for the card.
//!
//! # References
//! SD Specifications Part A2, SD Host Controller Simplified Specification 3.00 (the paragraphs here are its own).
//! Facts on the BCM2711: Linux `sdhci-iproc.c`, U-Boot `bcm2835_sdhci.c`.
mod clock;
mod command;
#[cfg(test)]
mod model;
mod pio;
mod regs;
#[cfg(test)]
mod tests;

use crate::sd::{Command, Host, HostError, Response, Speed};
use crate::wait::wait_until;
use crate::{Io, Reg};
use embedded_hal::delay::DelayNs;
use regs::{CAPABILITIES, CLOCK_CONTROL, HOST_CONTROL, HOST_VERSION, INT, INT_STATUS_ENABLE};
use tock_registers::RegisterLongName;
use tock_registers::fields::FieldValue;

/// What HOST_VERSION calls version 3.00, the first with a divisor of ten bits.
const VERSION_3_00: u8 = 2;
/// For a reset (§2.2.16 names none; Linux waits as long).
const RESET_TIMEOUT_US: u32 = 100_000;
/// For a stable clock (§3.2.1).
const CLOCK_TIMEOUT_US: u32 = 150_000;
const STEP_US: u32 = 10;
/// The supply's rise, and then 74 clocks or a millisecond (Physical Layer §6.4.1).
const POWER_UP_US: u32 = 2_000;

/// An SDHCI controller behind its registers.
#[derive(Debug)]
pub struct Sdhci<I: Io, D: DelayNs> {
    io: I,
    delay: D,
    firmware_hz: Option<u32>,
    /// The bus clock; 0 while it stands.
    clock_hz: u32,
}

impl<I: Io, D: DelayNs> Sdhci<I, D> {
    /// The controller at `io`. `firmware_hz` is the base clock as the firmware tells it (mailbox clock 1 for the
    /// Arasan, 12 for EMMC2), if it does. Nothing is touched yet.
    pub const fn new(io: I, delay: D, firmware_hz: Option<u32>) -> Self {
        Self {
            io,
            delay,
            firmware_hz,
            clock_hz: 0,
        }
    }

    /// Writes a register, and waits until another write to it cannot overtake this one.
    fn put<N: RegisterLongName>(&mut self, register: &Reg<N>, value: u32) {
        self.io.write32(register.offset, value);
        match self.clock_hz {
            0 => self.delay.delay_us(10),
            hz @ ..=400_000 => self.delay.delay_us(4_000_000_u32.div_ceil(hz)),
            _ => {}
        }
    }

    fn set<N: RegisterLongName>(&mut self, register: &Reg<N>, fields: FieldValue<u32, N>) {
        let value = fields.modify(register.read(&self.io).get());
        self.put(register, value);
    }

    /// Sets reset bits and waits until the controller has cleared them.
    fn reset(&mut self, which: FieldValue<u32, CLOCK_CONTROL::Register>) -> Result<(), HostError> {
        self.set(&CLOCK_CONTROL, which);
        let io = &self.io;
        let ended = wait_until(&mut self.delay, RESET_TIMEOUT_US, STEP_US, || {
            !CLOCK_CONTROL.read(io).any_matching_bits_set(which)
        });
        if ended {
            Ok(())
        } else {
            Err(HostError::ResetStuck)
        }
    }

    /// Sets the bus clock to what is nearest below `limit_hz` (§3.2.1, §3.2.3).
    fn set_clock(&mut self, limit_hz: u32, high_speed: bool) -> Result<u32, HostError> {
        let caps_mhz = CAPABILITIES
            .read(&self.io)
            .read(CAPABILITIES::BASE_CLOCK_MHZ);
        let base_hz = clock::base_hz(caps_mhz, self.firmware_hz)?;
        let (n, hz) = clock::divisor(base_hz, limit_hz);
        self.set(&CLOCK_CONTROL, CLOCK_CONTROL::SD_ENABLE::CLEAR);
        self.set(
            &HOST_CONTROL,
            HOST_CONTROL::HIGH_SPEED.val(high_speed.into()),
        );
        self.set(
            &CLOCK_CONTROL,
            CLOCK_CONTROL::DIVISOR_LOW.val(n & 0xff)
                + CLOCK_CONTROL::DIVISOR_HIGH.val(n >> 8)
                + CLOCK_CONTROL::DATA_TIMEOUT::Longest
                + CLOCK_CONTROL::INTERNAL_ENABLE::SET,
        );
        let io = &self.io;
        if !wait_until(&mut self.delay, CLOCK_TIMEOUT_US, STEP_US, || {
            CLOCK_CONTROL
                .read(io)
                .is_set(CLOCK_CONTROL::INTERNAL_STABLE)
        }) {
            return Err(HostError::ClockStuck);
        }
        self.set(&CLOCK_CONTROL, CLOCK_CONTROL::SD_ENABLE::SET);
        self.clock_hz = hz;
        Ok(hz)
    }
}

impl<I: Io, D: DelayNs> Host for Sdhci<I, D> {
    fn power_up(&mut self) -> Result<(), HostError> {
        let version = HOST_VERSION
            .read(&self.io)
            .read(HOST_VERSION::SPECIFICATION) as u8;
        if version < VERSION_3_00 {
            return Err(HostError::Version(version));
        }
        self.clock_hz = 0;
        self.reset(CLOCK_CONTROL::RESET_ALL::SET)?;
        // The reset has cut the supply.
        self.set(
            &HOST_CONTROL,
            HOST_CONTROL::BUS_VOLTAGE::V33 + HOST_CONTROL::BUS_POWER::SET,
        );
        self.put(
            &INT_STATUS_ENABLE,
            (INT::COMMAND_COMPLETE::SET
                + INT::TRANSFER_COMPLETE::SET
                + INT::BUFFER_WRITE_READY::SET
                + INT::BUFFER_READ_READY::SET
                + INT::ALL_ERRORS::SET)
                .value,
        );
        self.put(&regs::INT_SIGNAL_ENABLE, 0);
        self.set_clock(clock::IDENTIFICATION_HZ, false)?;
        self.delay.delay_us(POWER_UP_US);
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<Response, HostError> {
        let result = self.run(command, None);
        self.recovered(result)
    }

    fn read(
        &mut self,
        command: Command,
        block_bytes: usize,
        data: &mut [u8],
    ) -> Result<Response, HostError> {
        let result = self.read_by_pio(command, block_bytes, data);
        self.recovered(result)
    }

    fn write(&mut self, command: Command, data: &[u8]) -> Result<Response, HostError> {
        let result = self.write_by_pio(command, data);
        self.recovered(result)
    }

    fn set_four_lines(&mut self) {
        self.set(&HOST_CONTROL, HOST_CONTROL::DATA_WIDTH::FourLines);
    }

    fn has_high_speed(&self) -> bool {
        CAPABILITIES.read(&self.io).is_set(CAPABILITIES::HIGH_SPEED)
    }

    fn set_speed(&mut self, speed: Speed) -> Result<u32, HostError> {
        self.set_clock(clock::limit_hz(speed), speed == Speed::High)
    }

    fn delay_us(&mut self, us: u32) {
        self.delay.delay_us(us);
    }
}
