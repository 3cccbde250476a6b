// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MDIO master: one register, which is busy while 64 bits go over two wires (IEEE 802.3, clause 22).
//!
//! Its interrupt was found not to come on boards, so it is asked.
use super::Error;
use super::regs::MDIO_CMD;
use crate::Io;
use crate::wait::wait_until;
use embedded_hal::delay::DelayNs;

/// A transfer takes 26 us at 2.5 MHz.
const TIMEOUT_US: u32 = 20_000;
const STEP_US: u32 = 30;
/// The first read after a reset may fail.
const TRIES: u32 = 3;

/// The bus, and the PHY on it that is talked to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mdio<I: Io> {
    io: I,
    pub(super) address: u8,
}

impl<I: Io> Mdio<I> {
    pub(super) const fn new(io: I, address: u8) -> Self {
        Self { io, address }
    }

    /// Reads a register of the PHY.
    pub(super) fn read(&self, register: u8, delay: &mut impl DelayNs) -> Result<u16, Error> {
        for _ in 0..TRIES {
            let result = self.transfer(MDIO_CMD::OP::Read, register, 0, delay)?;
            if !result.is_set(MDIO_CMD::READ_FAIL) {
                return Ok(result.read(MDIO_CMD::DATA) as u16);
            }
        }
        Err(Error::NoAnswer(self.address))
    }

    /// Writes a register of the PHY. Nobody answers to that: a PHY that is gone is found by the next read.
    pub(super) fn write(
        &self,
        register: u8,
        value: u16,
        delay: &mut impl DelayNs,
    ) -> Result<(), Error> {
        self.transfer(MDIO_CMD::OP::Write, register, value, delay)?;
        Ok(())
    }

    fn transfer(
        &self,
        op: tock_registers::fields::FieldValue<u32, MDIO_CMD::Register>,
        register: u8,
        value: u16,
        delay: &mut impl DelayNs,
    ) -> Result<tock_registers::LocalRegisterCopy<u32, MDIO_CMD::Register>, Error> {
        self.wait(delay)?;
        let command = op
            + MDIO_CMD::PHY.val(self.address.into())
            + MDIO_CMD::REGISTER.val(register.into())
            + MDIO_CMD::DATA.val(value.into());
        // The fields first, then the start, as in every driver.
        MDIO_CMD.write(&self.io, command);
        MDIO_CMD.write(&self.io, command + MDIO_CMD::START_BUSY::SET);
        self.wait(delay)?;
        Ok(MDIO_CMD.read(&self.io))
    }

    fn wait(&self, delay: &mut impl DelayNs) -> Result<(), Error> {
        let free = wait_until(delay, TIMEOUT_US, STEP_US, || {
            !MDIO_CMD.read(&self.io).is_set(MDIO_CMD::START_BUSY)
        });
        if free { Ok(()) } else { Err(Error::MdioStuck) }
    }
}
