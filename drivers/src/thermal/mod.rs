// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chip's temperature, from the monitor for adaptive voltage scaling (AVS).
//!
//! # References
//! Not in BCM2711 ARM Peripherals. Facts from Linux `bcm2711_thermal.c` and the line's slope and offset in its device
//! tree.
use crate::{Io, Reg};
use tock_registers::register_bitfields;

register_bitfields! { u32,
    STATUS [
        CODE OFFSET(0) NUMBITS(10) [],
        VALID OFFSET(10) NUMBITS(1) [],
        VALID_TOO OFFSET(16) NUMBITS(1) []
    ]
}

const STATUS: Reg<STATUS::Register> = Reg::at(0x200);
const OFFSET_MILLIDEGREES: i32 = 410_040;
const SLOPE_MILLIDEGREES: i32 = -487;

/// The temperature in thousandths of a degree Celsius; `None` while the sensor is not ready, or where there is none.
pub fn millidegrees(io: &impl Io) -> Option<i32> {
    let status = STATUS.read(io);
    let valid = status.any_matching_bits_set(STATUS::VALID::SET + STATUS::VALID_TOO::SET);
    valid.then(|| OFFSET_MILLIDEGREES + SLOPE_MILLIDEGREES * status.read(STATUS::CODE) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use soc_model::Avs;

    struct Block(RefCell<Avs>);

    impl Io for Block {
        fn read32(&self, offset: usize) -> u32 {
            self.0.borrow_mut().read(offset as u32, 4)
        }
        fn write32(&self, offset: usize, _: u32) {
            panic!("write to {offset:#x}");
        }
    }

    #[test]
    fn temperatures_are_read_to_the_sensors_step() {
        let block = Block(RefCell::default());
        for set in [-10_000, 0, 25_000, 85_000] {
            block.0.borrow_mut().millidegrees = Some(set);
            let read = millidegrees(&block).unwrap();
            assert!((0..487).contains(&(read - set)), "{set}: {read}");
        }
        block.0.borrow_mut().millidegrees = None;
        assert_eq!(millidegrees(&block), None);
    }

    #[test]
    fn either_bit_makes_it_valid() {
        use crate::testing::RegisterFile;
        for (word, read) in [
            (0x1_0000 | 760, Some(39_920)),
            (0x400 | 760, Some(39_920)),
            (760, None),
        ] {
            assert_eq!(millidegrees(&RegisterFile::with(&[(0x200, word)])), read);
        }
    }
}
