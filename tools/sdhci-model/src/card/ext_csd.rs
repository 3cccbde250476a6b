// SPDX-License-Identifier: MIT OR Apache-2.0
//! EXT_CSD, the 512 bytes in which an eMMC says what it can do and hears what it shall.
//!
//! JESD84-B51, 7.4. Only the bytes below 192 can be written, and of those only what is here.

/// Writes back what the cache holds.
pub(crate) const FLUSH_CACHE: u8 = 32;
/// Switches the cache on.
pub(crate) const CACHE_CTRL: u8 = 33;
const POWER_OFF_NOTIFICATION: u8 = 34;
const ERASE_GROUP_DEF: u8 = 175;
const PARTITION_CONFIG: u8 = 179;
/// 0, 1, 2: 1, 4, 8 bits; 5, 6: 4, 8 bits at double rate.
pub(crate) const BUS_WIDTH: u8 = 183;
/// 0: backwards compatible, 1: high speed, 2: HS200, 3: HS400.
const HS_TIMING: u8 = 185;
const POWER_CLASS: u8 = 187;
const CMD_SET: u8 = 191;
/// Sizes of erase and write-protect groups, in 512 KiB.
const HC_GROUP: u8 = 1;
/// High speed at 26 and 52 MHz, double rate at 1.8 or 3 V, HS200 at 1.8 V.
const DEVICE_TYPE: u8 = 0x17;
/// KiB.
const CACHE_KIB: u32 = 512;

/// The bytes, and what can be written to them.
#[derive(Clone)]
pub(crate) struct ExtCsd(Box<[u8; 512]>);

impl ExtCsd {
    /// As an eMMC of this size has it after a reset.
    pub(crate) fn new(bytes: u64) -> Self {
        let mut e = Box::new([0; 512]);
        let sectors = u32::try_from(bytes / 512).unwrap_or(u32::MAX);
        e[160] = 0; // no partitioning
        e[174] = 0; // no boot bus conditions
        e[181] = 0; // erased memory reads as zeros
        e[184] = 0; // no enhanced strobe
        e[192] = 8; // revision 1.8: version 5.1
        e[194] = 2; // CSD version 1.2
        e[196] = DEVICE_TYPE;
        e[197] = 1; // drive strength: the default
        e[198] = 5; // out of interrupt: 50 ms
        e[199] = 5; // partition switch: 50 ms
        e[212..216].copy_from_slice(&sectors.to_le_bytes());
        e[217] = 0x13; // sleep and awake
        e[221] = HC_GROUP;
        e[222] = 1; // reliable writes of one block
        e[223] = 1; // erase time-out: 300 ms
        e[224] = HC_GROUP;
        e[228] = 1; // alternative boot
        e[231] = 1 << 4 | 1 << 6; // TRIM and sanitise
        e[232] = 1; // TRIM time-out: 300 ms
        e[241] = 10; // initialisation: 1 s
        e[248] = 10; // CMD6: 100 ms
        e[249..253].copy_from_slice(&(CACHE_KIB * 8).to_le_bytes());
        e[268] = 1; // life time: up to a tenth used
        e[269] = 1;
        e[504] = 1; // the standard command set
        Self(e)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    pub(crate) fn get(&self, index: u8) -> u8 {
        self.0[usize::from(index)]
    }

    /// Whether the byte takes this value.
    pub(crate) fn set(&mut self, index: u8, value: u8) -> bool {
        let takes = match index {
            FLUSH_CACHE => return value & !3 == 0, // it has no memory
            CACHE_CTRL | ERASE_GROUP_DEF => value <= 1,
            POWER_OFF_NOTIFICATION => value <= 4,
            PARTITION_CONFIG => value & 7 == 0, // the user's area is the only one
            BUS_WIDTH => matches!(value, 0 | 1 | 2 | 5 | 6),
            HS_TIMING => value & 0xf <= 2,
            POWER_CLASS | CMD_SET => value == 0,
            _ => false,
        };
        if takes {
            self.0[usize::from(index)] = value;
        }
        takes
    }
}
