// SPDX-License-Identifier: MIT OR Apache-2.0
//! SD host controllers after the SDHCI standard: the Pi 4's EMMC2, and its older Arasan.
//!
//! # Theory
//! Both take 32-bit accesses only, so TRANSFER_MODE and COMMAND leave as one word, and that word starts the command.
//! Both run their registers in the bus clock's domain: of two writes to one register within some two bus clocks, the
//! second can be lost. While the bus is slow, each write is followed by a pause of four clocks; at 25 MHz
//! the way to the device takes longer than that.
//!
//! A command is started in one place and advanced in one place, by what INT_STATUS tells (`engine.rs`). Interrupts do
//! that for transfers; a thread that identifies a card does it itself, and sleeps in between (`command.rs`).
//! INT_SIGNAL_ENABLE names what the command under way is to interrupt for, and nothing after a failure.
//!
//! Data go by ADMA2, if the controller can and there is a table for its descriptors, else through the buffer port.
//!
//! After any error the command and data circuits are reset (§3.10), so that the next command finds them free: a
//! thread does that, for the end of a reset interrupts nobody.
//!
//! The card-detect bits are not looked at: on the board they are wired to 1.
//!
//! # Contexts
//! [`Sdhci::start`], [`Sdhci::start_transfer`], [`Sdhci::interrupt`], [`Sdhci::give_up`]: any, they never wait. The
//! rest: threads, or early boot.
//!
//! # References
//! SD Specifications Part A2, SD Host Controller Simplified Specification 3.00 (the paragraphs here are its own).
//! Facts on the BCM2711: Linux `sdhci-iproc.c`, U-Boot `bcm2835_sdhci.c`.
mod adma;
#[cfg(test)]
pub(crate) mod bench;
mod clock;
mod command;
mod engine;
mod error;
mod port;
mod regs;
mod slot;
mod takeover;
#[cfg(test)]
mod tests;
mod uhs;

use crate::wait::wait_until;
use crate::{DmaBuffer, Io, Reg};
pub use clock::Timing;
use engine::Active;
pub use engine::Step;
pub use error::{Blame, Error};
use regs::{
    CAPABILITIES, CAPABILITIES_1, CLOCK_CONTROL, HOST_CONTROL, HOST_CONTROL_2, HOST_VERSION, INT,
    INT_STATUS_ENABLE, PRESENT_STATE,
};
pub use slot::{Polled, Slot, asserts, silence};
use tock_registers::RegisterLongName;
use tock_registers::fields::FieldValue;

/// What HOST_VERSION calls version 3.00, the first with a divisor of ten bits.
const VERSION_3_00: u8 = 2;
/// For a reset (§2.2.16 names none; Linux waits as long).
const RESET_TIMEOUT_US: u32 = 100_000;
const STEP_US: u32 = 10;
/// Up to here, registers need time between two writes.
const SLOW_HZ: u32 = 400_000;
/// The supply's rise, and then 74 clocks or a millisecond (Physical Layer §6.4.1).
const POWER_UP_US: u32 = 2_000;

/// An SDHCI controller behind its registers.
#[derive(Debug)]
pub struct Sdhci<I: Io, B: DmaBuffer, S: Slot> {
    io: I,
    slot: S,
    table: Option<B>,
    firmware_hz: Option<u32>,
    /// The bus clock; 0 while it stands.
    clock_hz: u32,
    /// ADMA2 is there, and a table for it.
    dma: bool,
    /// The board has cut the card's supply, so that 1.8 V can be undone.
    power_cycled: bool,
    /// The signals were at 1.8 V when this driver took the controller over.
    found_at_1v8: bool,
    /// What INT_SIGNAL_ENABLE holds, but for [`silence`].
    signals: u32,
    active: Option<Active>,
    /// A command failed, and nothing was reset since.
    failed: bool,
}

impl<I: Io, B: DmaBuffer, S: Slot> Sdhci<I, B, S> {
    /// The controller at `io`, with its surroundings `slot`. `table`: memory for descriptors of two words, within the
    /// controller's reach; without, all goes through the buffer port. `firmware_hz` is the base clock as the firmware
    /// tells it (mailbox clock 1 for the Arasan, 12 for EMMC2), if it does. Nothing is touched yet.
    pub const fn new(io: I, table: Option<B>, slot: S, firmware_hz: Option<u32>) -> Self {
        Self {
            io,
            slot,
            table,
            firmware_hz,
            clock_hz: 0,
            dma: false,
            power_cycled: false,
            found_at_1v8: false,
            signals: 0,
            active: None,
            failed: false,
        }
    }

    /// Writes a register, and waits until another write to it cannot overtake this one.
    fn put<N: RegisterLongName>(&mut self, register: &Reg<N>, value: u32) {
        self.io.write32(register.offset, value);
        self.settle();
    }

    /// After a write to a register: another one to it would be lost until then.
    fn settle(&mut self) {
        if self.clock_hz <= SLOW_HZ {
            self.let_settle();
        }
    }

    /// Out of the way of transfers, which go with a fast clock.
    #[cold]
    #[inline(never)]
    fn let_settle(&mut self) {
        self.slot.delay_us(match self.clock_hz {
            0 => 10,
            hz => 4_000_000_u32.div_ceil(hz),
        });
    }

    fn set<N: RegisterLongName>(&mut self, register: &Reg<N>, fields: FieldValue<u32, N>) {
        let value = fields.modify(register.read(&self.io).get());
        self.put(register, value);
    }

    /// Waits until the registers say yes, for so long at most: then false.
    fn comes(&mut self, timeout_us: u32, said: impl Fn(&I) -> bool) -> bool {
        let (io, timeout_us) = (&self.io, self.slot.patience_us(timeout_us));
        wait_until(&mut self.slot, timeout_us, STEP_US, || said(io))
    }

    /// Sets reset bits and waits until the controller has cleared them.
    fn reset(&mut self, which: FieldValue<u32, CLOCK_CONTROL::Register>) -> Result<(), Error> {
        self.set(&CLOCK_CONTROL, which);
        let ended = self.comes(RESET_TIMEOUT_US, |io| {
            !CLOCK_CONTROL.read(io).any_matching_bits_set(which)
        });
        self.active = None;
        if ended {
            self.failed = false;
            Ok(())
        } else {
            Err(Error::ResetStuck)
        }
    }

    /// Ends whatever is under way, and makes the controller ready for commands; the card may still be busy with it.
    ///
    /// # Errors
    /// [`Error::ResetStuck`].
    pub fn reset_lines(&mut self) -> Result<(), Error> {
        self.signal(0);
        self.reset(CLOCK_CONTROL::RESET_CMD::SET + CLOCK_CONTROL::RESET_DAT::SET)?;
        self.put(&regs::INT_STATUS, u32::MAX);
        Ok(())
    }

    /// Resets the controller, takes the card's power and gives it back at 3.3 V, if the board can, and clocks an idle
    /// bus of one data line at no more than 400 kHz for 74 clocks and more.
    ///
    /// # Errors
    /// The device's.
    pub fn power_up(&mut self) -> Result<(), Error> {
        let version = HOST_VERSION
            .read(&self.io)
            .read(HOST_VERSION::SPECIFICATION) as u8;
        if version < VERSION_3_00 {
            return Err(Error::Version(version));
        }
        self.clock_hz = 0;
        self.reset(CLOCK_CONTROL::RESET_ALL::SET)?;
        self.power_cycled = self.slot.cycle_power();
        if self.found_at_1v8 && !self.power_cycled {
            self.set(&HOST_CONTROL_2, HOST_CONTROL_2::SIGNALS_1V8::SET);
        }
        // The reset has cut the supply.
        let can_adma2 = CAPABILITIES.read(&self.io).is_set(CAPABILITIES::ADMA2);
        self.dma = can_adma2 && self.table.is_some();
        let dma_select = if self.dma {
            HOST_CONTROL::DMA_SELECT::Adma2
        } else {
            HOST_CONTROL::DMA_SELECT::Sdma
        };
        self.set(
            &HOST_CONTROL,
            HOST_CONTROL::BUS_VOLTAGE::V33 + HOST_CONTROL::BUS_POWER::SET + dma_select,
        );
        self.listen();
        self.set_clock(clock::IDENTIFICATION_HZ, Timing::Default)?;
        self.slot.delay_us(POWER_UP_US);
        Ok(())
    }

    /// Has INT_STATUS tell every event that there may be, and interrupts for none.
    fn listen(&mut self) {
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
        self.signals = 0;
    }

    /// Uses four data lines from now on.
    pub fn set_four_lines(&mut self) {
        self.set(&HOST_CONTROL, HOST_CONTROL::DATA_WIDTH::FourLines);
    }

    /// Can controller and board do this?
    pub fn can(&self, timing: Timing) -> bool {
        let more = CAPABILITIES_1.read(&self.io);
        match timing {
            Timing::Default => true,
            Timing::High => CAPABILITIES.read(&self.io).is_set(CAPABILITIES::HIGH_SPEED),
            Timing::Sdr25 => self.power_cycled,
            Timing::Sdr50 => self.power_cycled && more.is_set(CAPABILITIES_1::SDR50),
            Timing::Ddr50 => self.power_cycled && more.is_set(CAPABILITIES_1::DDR50),
        }
    }

    /// Is the slot's write-protect switch set?
    pub fn is_write_protected(&self) -> bool {
        let lines = PRESENT_STATE.read(&self.io);
        !lines.is_set(PRESENT_STATE::WRITE_ENABLED)
    }

    /// Do the data of transfers go by DMA?
    pub const fn has_dma(&self) -> bool {
        self.dma
    }

    /// How many segments of at most 64 KiB a transfer may have; by the buffer port, as many as it has.
    pub fn max_segments(&mut self) -> usize {
        match &mut self.table {
            Some(table) if self.dma => adma::room(table),
            _ => usize::MAX,
        }
    }

    /// How much of a wait of so long there is time for.
    pub fn patience_us(&self, wished_us: u32) -> u32 {
        self.slot.patience_us(wished_us)
    }

    /// Does nothing for so long.
    pub fn delay_us(&mut self, us: u32) {
        self.slot.delay_us(us);
    }
}
