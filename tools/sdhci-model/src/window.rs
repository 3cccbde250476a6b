// SPDX-License-Identifier: MIT OR Apache-2.0
//! The window of registers: what a word reads, and what writing it does.

use crate::Sdhci;
use crate::card::Card;
use crate::command::TUNING_BLOCKS;
use crate::dma::Way;
use crate::fault::Fault;
use crate::outside::Outside;
use crate::regs::{self, auto, clock, host, host2, intr, present};
use crate::slot::Until;
use crate::stray::Stray;

impl Sdhci {
    /// `None`: there is no such register.
    pub(crate) fn read_register(&self, offset: u32) -> Option<u32> {
        Some(match offset {
            regs::SDMA_ADDRESS => self.sdma_address,
            regs::BLOCK => self.block,
            regs::ARGUMENT => self.argument,
            regs::COMMAND => self.command,
            0x10..0x20 => self.response[(offset as usize - 0x10) / 4],
            regs::PRESENT_STATE => self.present_state(),
            regs::HOST_CONTROL => self.host_control | host::FIXED,
            regs::CLOCK => {
                let stable = self.clock & clock::INTERNAL != 0;
                let stuck = self.resetting.map_or(0, |(resets, _)| resets);
                self.clock | stuck | if stable { clock::STABLE } else { 0 }
            }
            regs::STATUS => self.intr.status(),
            regs::STATUS_ENABLE => self.intr.enable(),
            regs::SIGNAL_ENABLE => self.intr.signal(),
            regs::HOST_CONTROL2 => self.host2 | self.auto_error,
            regs::CAPABILITIES => regs::CAPABILITIES_LOW,
            0x44 => regs::CAPABILITIES_HIGH,
            regs::MAX_CURRENT => regs::MAX_CURRENT_LOW,
            regs::ADMA_ERROR => self.adma_error,
            regs::ADMA_ADDRESS => self.adma_address,
            0x4c | regs::FORCE_EVENT | 0x5c | 0x60..0x70 => 0,
            regs::SLOT => regs::VERSION | u32::from(self.level),
            _ => return None,
        })
    }

    /// `None`: there is no such register, or it cannot be written.
    pub(crate) fn write_register(
        &mut self,
        offset: u32,
        value: u32,
        out: &mut dyn Outside,
    ) -> Option<()> {
        match offset {
            regs::SDMA_ADDRESS => self.write_sdma_address(value, out),
            regs::BLOCK | regs::ADMA_ADDRESS if self.transfer.is_some() => {
                self.note(Stray::Changed(offset));
            }
            regs::BLOCK => self.block = value & 0xffff_7fff,
            regs::ARGUMENT => self.argument = value,
            regs::COMMAND => {
                self.command = value & 0x3ffb_003f;
                self.issue(out);
            }
            regs::BUFFER => self.write_port(value, out),
            regs::HOST_CONTROL => self.write_host_control(value, out),
            regs::CLOCK => self.write_clock(value, out),
            regs::STATUS => self.intr.clear(value),
            regs::STATUS_ENABLE => self.intr.set_enable(value),
            regs::SIGNAL_ENABLE => self.intr.set_signal(value),
            regs::HOST_CONTROL2 => {
                if value & host2::EXECUTE_TUNING != 0 && self.host2 & host2::EXECUTE_TUNING == 0 {
                    self.tuning_left = TUNING_BLOCKS;
                }
                self.host2 = value & host2::ALL;
            }
            regs::FORCE_EVENT => {
                self.auto_error |= value & auto::ALL;
                self.intr.raise(value & intr::ERRORS);
            }
            regs::ADMA_ADDRESS => self.adma_address = value,
            0x5c => {} // 64 bits are not for this controller
            _ => return None,
        }
        Some(())
    }

    fn write_sdma_address(&mut self, value: u32, out: &mut dyn Outside) {
        if self.sdma_continues() {
            self.sdma_address = value;
            self.resume(out);
            self.run_transfer(out);
        } else if matches!(self.transfer.as_ref().map(|t| &t.way), Some(Way::Sdma(_))) {
            self.note(Stray::Changed(regs::SDMA_ADDRESS));
        } else {
            self.sdma_address = value;
        }
    }

    fn write_host_control(&mut self, value: u32, out: &mut dyn Outside) {
        self.host_control = value & !(host::FIXED | host::GAP_CONTINUE);
        let had_power = std::mem::replace(&mut self.powered, value & host::POWER != 0);
        if had_power && !self.powered {
            self.slot.power_cycle();
        }
        if value & host::GAP_CONTINUE != 0
            && let Some(transfer) = &mut self.transfer
            && std::mem::take(&mut transfer.gap)
        {
            self.resume(out);
        }
    }

    fn write_clock(&mut self, value: u32, out: &mut dyn Outside) {
        let had_clock = self.clock & clock::CARD != 0;
        self.clock = value & 0x000f_ffe5;
        let low = self.host2 & host2::LOW_VOLTAGE != 0;
        if !had_clock
            && value & clock::CARD != 0
            && let Some(card) = self.slot.card()
            && card.switches_voltage()
        {
            card.voltage_switched(low);
        }
        let resets = value & clock::RESETS;
        if resets == 0 {
            return;
        }
        if let Some((stuck, _)) = &mut self.resetting {
            *stuck |= resets;
        } else if let Some(strike) = self.faults.strike(Fault::ResetStuck) {
            self.resetting = Some((resets, Until::after(out.now_ns(), strike.ns)));
        } else {
            self.reset_circuits(resets);
        }
    }

    /// Data lines in use.
    pub(crate) fn data_inhibit(&self) -> bool {
        let resetting = self.is_resetting(clock::RESET_DATA);
        resetting || self.data_stuck || self.transfer.is_some() || self.busy_wait.is_some()
    }

    pub(crate) fn command_inhibit(&self) -> bool {
        self.command_stuck || self.is_resetting(clock::RESET_COMMAND)
    }

    /// Whether this reset is under way, or that of everything.
    pub(crate) fn is_resetting(&self, reset: u32) -> bool {
        let under_way = self.resetting.map_or(0, |(resets, _)| resets);
        under_way & (reset | clock::RESET_ALL) != 0
    }

    fn present_state(&self) -> u32 {
        let mut state =
            present::CARD | present::DATA_LEVEL | present::COMMAND_LEVEL | present::DATA_HIGH_LEVEL;
        let mut set = |condition: bool, bits: u32| {
            if condition {
                state |= bits;
            }
        };
        set(self.command_inhibit(), present::COMMAND_INHIBIT);
        set(
            self.data_inhibit(),
            present::DATA_INHIBIT | present::DATA_ACTIVE,
        );
        let reads = self.transfer.as_ref().map(|t| t.read);
        set(reads == Some(true), present::READ_ACTIVE);
        set(reads == Some(false), present::WRITE_ACTIVE);
        set(self.can_read(), present::BUFFER_READ);
        set(self.can_write(), present::BUFFER_WRITE);
        if self.slot.is_busy() {
            state &= !present::DATA0_LEVEL;
        }
        if self.slot.seen().is_some_and(Card::switches_voltage) {
            state &= !present::DATA_LEVEL;
        }
        state
    }

    /// Data lines that the controller uses.
    pub(crate) fn host_width(&self) -> u8 {
        const FOUR: u32 = 1 << 1;
        const EIGHT: u32 = 1 << 5;
        match self.host_control {
            control if control & EIGHT != 0 => 8,
            control if control & FOUR != 0 => 4,
            _ => 1,
        }
    }
}
