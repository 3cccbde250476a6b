// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PL011 UART: the console.
//!
//! # Theory
//! The transmit interrupt tells of a *fall* of the FIFO through its trigger level, not of its being empty:
//! an idle UART never raises it. So a sender fills the FIFO with [`Pl011::try_write`] first and
//! enables the interrupt for the rest. The receive side asks for two interrupts, the level (half full) and
//! the time-out (32 bit times of silence with something in the FIFO): together no byte waits for ever.
//!
//! The handler calls [`Pl011::take_interrupts`] and *then* empties the FIFO: what comes in between raises the
//! interrupt anew.
//!
//! # Contexts
//! All but [`Pl011::init`] and [`Pl011::flush`] take a fixed, short time and are for interrupt level too. A panic
//! makes a second `Pl011` over the same registers and polls: no operation depends on state outside the device.
//!
//! # References
//! ARM DDI 0183G (PrimeCell UART PL011). BCM2711 ARM Peripherals, chapter 11.
mod regs;

use crate::Io;
use core::fmt;
use regs::{CR, DR, FBRD, FR, IBRD, ICR, IFLS, IMSC, INT, LCRH, MIS, RIS};

/// Reads of FR before a busy transmitter is given up. A read of a device register costs some 50 ns or more, and
/// 16 characters at 9,600 baud need 17 ms.
const BUSY_READS: u32 = 1_000_000;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Caller: this clock cannot be divided to this rate (`clock_hz / (16 * baud)` must lie in 1..=65535).
    Divisor {
        /// UART clock in Hz, as given.
        clock_hz: u32,
        /// Baud rate, as given.
        baud: u32,
    },
    /// Device: the transmitter did not run empty.
    TransmitterStuck,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Divisor { clock_hz, baud } => {
                write!(
                    f,
                    "a UART clock of {clock_hz} Hz cannot be divided to {baud} baud"
                )
            }
            Self::TransmitterStuck => f.write_str("the UART's transmitter does not run empty"),
        }
    }
}

impl core::error::Error for Error {}

/// How the line stood when a character came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A good character.
    Good,
    /// The line was held low for longer than a character: the terminal's break key. The byte is 0.
    Break,
    /// No stop bit where one belongs: wrong baud rate, or noise.
    Framing,
    /// Wrong parity.
    Parity,
}

/// One entry of the receive FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The character's bits, as good as `line` says.
    pub byte: u8,
    /// How the line stood.
    pub line: Line,
    /// The FIFO was full when a later character came in: that one is lost.
    pub overrun: bool,
}

/// The interrupts that were pending and enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// Something is to be read: the FIFO is half full, or has waited, or a receive error came in.
    pub receive: bool,
    /// The transmit FIFO has fallen to two characters.
    pub transmit: bool,
}

/// A PL011 behind its registers.
pub struct Pl011<I: Io> {
    io: I,
}

impl<I: Io> Pl011<I> {
    /// The UART at `io`. Touches nothing: a UART that earlier boot stages left running can be written at once.
    pub const fn new(io: I) -> Self {
        Self { io }
    }

    /// Sets 8N1 at `baud` with FIFOs on and all interrupts off. `clock_hz` is the UART's reference clock (mailbox
    /// clock 2; 48 MHz by default).
    ///
    /// First lets the transmitter run empty, for earlier boot stages print on this UART, too; if it does not,
    /// goes on: what is cut off is not ours.
    ///
    /// # Errors
    /// [`Error::Divisor`], with nothing changed.
    ///
    /// Source: DDI 0183G §3.3.6 (divisor), §3.3.8 (order of programming).
    pub fn init(&mut self, clock_hz: u32, baud: u32) -> Result<(), Error> {
        let (integer, fraction) =
            divisor(clock_hz, baud).ok_or(Error::Divisor { clock_hz, baud })?;
        let _ = self.flush();
        CR.write(&self.io, CR::UARTEN::CLEAR);
        LCRH.write(&self.io, LCRH::FEN::CLEAR); // flushes both FIFOs
        IMSC.write(&self.io, INT::RX::CLEAR);
        self.io.write32(ICR.offset, 0x7ff);
        IBRD.write(&self.io, IBRD::BAUD_DIVINT.val(integer));
        FBRD.write(&self.io, FBRD::BAUD_DIVFRAC.val(fraction));
        // The write to LCRH is what makes the divisor take effect.
        LCRH.write(&self.io, LCRH::WLEN::Bits8 + LCRH::FEN::SET);
        IFLS.write(&self.io, IFLS::RXIFLSEL::Half + IFLS::TXIFLSEL::Eighth);
        CR.write(&self.io, CR::UARTEN::SET + CR::TXE::SET + CR::RXE::SET);
        Ok(())
    }

    /// Puts one byte into the transmit FIFO; false if it is full.
    pub fn try_write(&mut self, byte: u8) -> bool {
        if FR.read(&self.io).is_set(FR::TXFF) {
            return false;
        }
        DR.write(&self.io, DR::DATA.val(byte.into()));
        true
    }

    /// Takes one entry from the receive FIFO, if there is one.
    pub fn try_read(&mut self) -> Option<Received> {
        if FR.read(&self.io).is_set(FR::RXFE) {
            return None;
        }
        let entry = DR.read(&self.io);
        // A break has no stop bit either, so it comes before framing.
        let line = if entry.is_set(DR::BE) {
            Line::Break
        } else if entry.is_set(DR::FE) {
            Line::Framing
        } else if entry.is_set(DR::PE) {
            Line::Parity
        } else {
            Line::Good
        };
        Some(Received {
            byte: entry.read(DR::DATA) as u8,
            line,
            overrun: entry.is_set(DR::OE),
        })
    }

    /// True if there is something to read.
    pub fn has_received(&self) -> bool {
        !FR.read(&self.io).is_set(FR::RXFE)
    }

    /// True if a break has come since [`Pl011::take_interrupts`] cleared that. (QEMU's UART tells of breaks only where they
    /// are read.)
    pub fn has_break(&self) -> bool {
        RIS.read(&self.io).is_set(INT::BE)
    }

    /// Lets the receive side interrupt: data, silence after data, and every receive error.
    pub fn enable_rx_irq(&mut self) {
        IMSC.modify(
            &self.io,
            INT::RX::SET + INT::RT::SET + INT::FE::SET + INT::PE::SET + INT::BE::SET + INT::OE::SET,
        );
    }

    /// Lets the transmit side interrupt, or not. See Theory: fill the FIFO first.
    pub fn set_tx_irq(&mut self, on: bool) {
        IMSC.modify(&self.io, INT::TX.val(on.into()));
    }

    /// Tells and clears what is pending and enabled. Call it before the FIFOs are served.
    pub fn take_interrupts(&mut self) -> Interrupts {
        let pending = MIS.read(&self.io);
        self.io.write32(ICR.offset, pending.get());
        Interrupts {
            receive: pending.any_matching_bits_set(
                INT::RX::SET
                    + INT::RT::SET
                    + INT::FE::SET
                    + INT::PE::SET
                    + INT::BE::SET
                    + INT::OE::SET,
            ),
            transmit: pending.is_set(INT::TX),
        }
    }

    /// Waits until the last bit is on the line.
    ///
    /// # Errors
    /// [`Error::TransmitterStuck`] after about a million reads of the flag register (50 ms or more on the board).
    pub fn flush(&mut self) -> Result<(), Error> {
        for _ in 0..BUSY_READS {
            let flags = FR.read(&self.io);
            if !flags.is_set(FR::BUSY) && flags.is_set(FR::TXFE) {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(Error::TransmitterStuck)
    }
}

/// IBRD and FBRD (64ths), rounded to the nearest; none if out of the registers' range.
fn divisor(clock_hz: u32, baud: u32) -> Option<(u32, u32)> {
    let (clock, baud) = (u64::from(clock_hz), u64::from(baud));
    let in_64ths = (clock * 4 + baud / 2).checked_div(baud)?;
    // 65535 is the largest integer part, and then the fraction must be zero.
    if !(64..=65_535 * 64).contains(&in_64ths) {
        return None;
    }
    Some(((in_64ths / 64) as u32, (in_64ths % 64) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RegisterFile;
    use std::string::ToString;
    use std::vec;

    const IDLE: u32 = 1 << 7 | 1 << 4; // TXFE, RXFE

    #[test]
    fn divisors_round_to_the_nearest_64th() {
        assert_eq!(divisor(48_000_000, 115_200), Some((26, 3)));
        assert_eq!(divisor(3_000_000, 115_200), Some((1, 40)));
        assert_eq!(divisor(4_000_000, 230_400), Some((1, 5))); // the manual's own example
        assert_eq!(divisor(16 * 115_200, 115_200), Some((1, 0)));
        assert_eq!(divisor(104_856_000, 100), Some((65_535, 0)));
        assert_eq!(divisor(u32::MAX, 4_096), None); // 65,535.99998 rounds to 65,536
    }

    #[test]
    fn divisors_out_of_range_are_refused_and_nothing_is_written() {
        for (clock_hz, baud) in [
            (48_000_000, 0),
            (1_000_000, 115_200),
            (u32::MAX, 300),
            (0, 9_600),
        ] {
            let io = RegisterFile::with(&[(FR.offset, IDLE)]);
            let error = Pl011::new(&io).init(clock_hz, baud).unwrap_err();
            assert_eq!(error, Error::Divisor { clock_hz, baud });
            assert!(error.to_string().contains("baud"));
            assert!(io.writes().is_empty());
        }
    }

    #[test]
    fn init_programs_in_the_manuals_order() {
        let io = RegisterFile::with(&[(FR.offset, IDLE)]);
        Pl011::new(&io).init(48_000_000, 115_200).unwrap();
        assert_eq!(
            io.writes(),
            vec![
                (0x30, 0),
                (0x2c, 0),
                (0x38, 0),
                (0x44, 0x7ff),
                (0x24, 26),
                (0x28, 3),
                (0x2c, 0x70),
                (0x34, 0x10),
                (0x30, 0x301),
            ]
        );
    }

    #[test]
    fn a_transmitter_that_stays_busy_is_reported_by_flush_and_survived_by_init() {
        let io = RegisterFile::with(&[(FR.offset, IDLE | 1 << 3)]);
        let mut uart = Pl011::new(&io);
        assert_eq!(uart.flush(), Err(Error::TransmitterStuck));
        assert!(Error::TransmitterStuck.to_string().contains("transmitter"));
        assert_eq!(uart.init(48_000_000, 115_200), Ok(()));
        assert_eq!(io.writes().last(), Some(&(0x30, 0x301)));
    }

    #[test]
    fn a_full_fifo_takes_nothing() {
        let io = RegisterFile::with(&[(FR.offset, 1 << 5)]);
        assert!(!Pl011::new(&io).try_write(b'x'));
        assert!(io.writes().is_empty());
        io.write32(FR.offset, IDLE);
        assert!(Pl011::new(&io).try_write(b'x'));
        assert_eq!(io.writes().last(), Some(&(0, b'x'.into())));
    }

    #[test]
    fn receive_errors_are_told_apart_and_break_wins() {
        let read = |entry| {
            Pl011::new(RegisterFile::with(&[(FR.offset, 0), (DR.offset, entry)])).try_read()
        };
        let got = |byte, line, overrun| {
            Some(Received {
                byte,
                line,
                overrun,
            })
        };
        assert_eq!(read(0x41), got(0x41, Line::Good, false));
        assert_eq!(read(0x800 | 0x41), got(0x41, Line::Good, true));
        assert_eq!(read(0x141), got(0x41, Line::Framing, false));
        assert_eq!(read(0x241), got(0x41, Line::Parity, false));
        assert_eq!(read(0x500), got(0, Line::Break, false));
        assert_eq!(
            Pl011::new(RegisterFile::with(&[(FR.offset, IDLE)])).try_read(),
            None
        );
    }

    #[test]
    fn a_break_is_seen_without_reading_it() {
        let io = RegisterFile::with(&[(FR.offset, 0), (RIS.offset, 1 << 9)]);
        let uart = Pl011::new(&io);
        assert!(uart.has_received() && uart.has_break());
        io.write32(FR.offset, IDLE);
        io.write32(RIS.offset, 1 << 10 | 1 << 8);
        assert!(!uart.has_received() && !uart.has_break());
    }

    #[test]
    fn interrupts_are_told_cleared_and_masked() {
        let io = RegisterFile::with(&[(MIS.offset, 1 << 6 | 1 << 5)]);
        let mut uart = Pl011::new(&io);
        uart.enable_rx_irq();
        uart.set_tx_irq(true);
        assert_eq!(
            uart.take_interrupts(),
            Interrupts {
                receive: true,
                transmit: true
            }
        );
        uart.set_tx_irq(false);
        assert_eq!(
            io.writes(),
            vec![(0x38, 0x7d0), (0x38, 0x7f0), (0x44, 0x60), (0x38, 0x7d0)]
        );
        for receive_bit in [4, 6, 7, 8, 9, 10] {
            let io = RegisterFile::with(&[(MIS.offset, 1 << receive_bit)]);
            let told = Pl011::new(&io).take_interrupts();
            assert_eq!(
                told,
                Interrupts {
                    receive: true,
                    transmit: false
                }
            );
        }
    }
}
