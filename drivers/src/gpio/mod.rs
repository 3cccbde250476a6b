// SPDX-License-Identifier: MIT OR Apache-2.0
//! GPIO pins of the BCM2711: which function a pin has, and its pull resistor.
//!
//! # References
//! BCM2711 ARM Peripherals, chapter 5. The pull registers are the BCM2711's own; those of its predecessors
//! (GPPUD and its clock) are gone.
use crate::Io;
use core::fmt;

/// GPFSEL0; ten pins of three bits a register (§5.2).
const GPFSEL0: usize = 0x00;
/// GPIO_PUP_PDN_CNTRL_REG0; sixteen pins of two bits a register (§5.2).
const GPIO_PUP_PDN_CNTRL_REG0: usize = 0xe4;

/// One of the BCM2711's pins, 0 to 57.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(u8);

/// Caller: there is no such pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchPin(u8);

impl fmt::Display for NoSuchPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no GPIO {}: the BCM2711 has 0 to 57", self.0)
    }
}

impl core::error::Error for NoSuchPin {}

impl Pin {
    /// TXD0 as [`Function::Alt0`], TXD1 as [`Function::Alt5`].
    pub const GPIO14: Self = Self(14);
    /// RXD0 as [`Function::Alt0`], RXD1 as [`Function::Alt5`].
    pub const GPIO15: Self = Self(15);

    /// GPIO `number`.
    ///
    /// # Errors
    /// [`NoSuchPin`] above 57.
    pub const fn new(number: u8) -> Result<Self, NoSuchPin> {
        if number < 58 {
            Ok(Self(number))
        } else {
            Err(NoSuchPin(number))
        }
    }
}

/// What a pin does; the alternatives' meaning is in §5.3's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)] // the datasheet's own words
pub enum Function {
    Input = 0,
    Output = 1,
    Alt0 = 4,
    Alt1 = 5,
    Alt2 = 6,
    Alt3 = 7,
    Alt4 = 3,
    Alt5 = 2,
}

/// A pin's pull resistor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Pull {
    None = 0,
    Up = 1,
    Down = 2,
}

/// The GPIO block behind its registers.
pub struct Gpio<I: Io> {
    io: I,
}

impl<I: Io> Gpio<I> {
    /// The block at `io`.
    pub const fn new(io: I) -> Self {
        Self { io }
    }

    /// Gives `pin` a function.
    pub fn set_function(&mut self, pin: Pin, function: Function) {
        self.set_field(GPFSEL0, 10, 3, pin, function as u32);
    }

    /// Sets the pull resistor of `pin`.
    pub fn set_pull(&mut self, pin: Pin, pull: Pull) {
        self.set_field(GPIO_PUP_PDN_CNTRL_REG0, 16, 2, pin, pull as u32);
    }

    /// The PL011 on the header: GPIO14 sends, GPIO15 receives, and a line with nothing on it reads idle.
    pub fn route_uart0_to_header(&mut self) {
        self.set_function(Pin::GPIO14, Function::Alt0);
        self.set_function(Pin::GPIO15, Function::Alt0);
        self.set_pull(Pin::GPIO14, Pull::None);
        self.set_pull(Pin::GPIO15, Pull::Up);
    }

    fn set_field(&mut self, first: usize, pins_a_register: u8, bits: u8, pin: Pin, value: u32) {
        let offset = first + 4 * usize::from(pin.0 / pins_a_register);
        let shift = pin.0 % pins_a_register * bits;
        let mask = ((1 << bits) - 1) << shift;
        self.io
            .write32(offset, self.io.read32(offset) & !mask | value << shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RegisterFile;
    use std::string::ToString;
    use std::vec;

    #[test]
    fn the_uart_is_routed_and_the_neighbours_keep_what_they_have() {
        let io = RegisterFile::with(&[(0x04, 0xffff_ffff), (0xe4, 0xffff_ffff)]);
        Gpio::new(&io).route_uart0_to_header();
        assert_eq!(io.read32(0x04), !(0o33 << 12)); // fields 111 111 become 100 100
        assert_eq!(io.read32(0xe4), 0x4fff_ffff); // GPIO15 01, GPIO14 00
    }

    #[test]
    fn the_last_pin_lies_in_the_last_registers() {
        let io = RegisterFile::default();
        let mut gpio = Gpio::new(&io);
        let last = Pin::new(57).unwrap();
        gpio.set_function(last, Function::Output);
        gpio.set_pull(last, Pull::Down);
        assert_eq!(io.writes(), vec![(0x14, 1 << 21), (0xf0, 2 << 18)]);
        let error = Pin::new(58).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no GPIO 58: the BCM2711 has 0 to 57"
        );
    }
}
