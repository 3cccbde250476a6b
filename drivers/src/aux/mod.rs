// SPDX-License-Identifier: MIT OR Apache-2.0
//! The auxiliary block's mini UART, as far as its interrupt line: software can have it asserted for as long as it likes.
//!
//! # Theory
//! The transmitter asks for an interrupt while its FIFO is empty and the interrupt is enabled, and nothing but a
//! character to send, or disabling it, ends that. So with nothing to send the line is stuck: a level that no handler
//! quietens.
//!
//! # References
//! BCM2711 ARM Peripherals, 2.1 (AUX_ENABLES, AUX_MU_IER_REG; which of the latter's two bits is whose is swapped there:
//! Linux `8250_bcm2835aux.c` and QEMU `bcm2835_aux.c` have transmit at bit 1).
use crate::Io;

const ENABLES: usize = 0x04;
const ENABLES_MINI_UART: u32 = 1 << 0;
const MU_IER: usize = 0x44;
const MU_IER_TRANSMIT: u32 = 1 << 1;

/// The mini UART behind its registers.
pub struct MiniUart<I: Io> {
    io: I,
}

impl<I: Io> MiniUart<I> {
    /// The auxiliary block at `io`.
    pub const fn new(io: I) -> Self {
        Self { io }
    }

    /// Asserts the interrupt line, for as long as nothing is sent.
    pub fn assert_line(&mut self) {
        let enables = self.io.read32(ENABLES);
        if enables & ENABLES_MINI_UART == 0 {
            self.io.write32(ENABLES, enables | ENABLES_MINI_UART); // or its registers are not there
        }
        let enabled = self.io.read32(MU_IER);
        self.io.write32(MU_IER, enabled | MU_IER_TRANSMIT);
    }

    /// Lets the line go. The mini UART stays as it is else: it may be the firmware's console.
    pub fn release_line(&mut self) {
        let enabled = self.io.read32(MU_IER);
        self.io.write32(MU_IER, enabled & !MU_IER_TRANSMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RegisterFile;

    #[test]
    fn the_line_is_asserted_and_let_go_with_all_else_as_it_was() {
        let io = RegisterFile::with(&[(ENABLES, 0b110), (MU_IER, 0b1)]);
        let mut uart = MiniUart::new(&io);
        uart.assert_line();
        uart.release_line();
        assert_eq!(
            io.writes(),
            [(ENABLES, 0b111), (MU_IER, 0b11), (MU_IER, 0b1)]
        );
    }

    #[test]
    fn a_block_that_is_on_is_not_switched_on() {
        let io = RegisterFile::with(&[(ENABLES, 1)]);
        MiniUart::new(&io).assert_line();
        assert_eq!(io.writes(), [(MU_IER, 0b10)]);
    }
}
