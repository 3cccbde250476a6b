// SPDX-License-Identifier: MIT OR Apache-2.0
//! CID, CSD, SCR and SD status: what a card says of itself.
//!
//! Physical Layer Simplified Specification, chapters 4.10.2 and 5; JESD84-B51, chapter 7.2 and 7.3.
//! CID and CSD are 128 bits, bit 0 the last on the wire: a check sequence of 7 bits and a one.

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 512;
/// What a standard-capacity card holds at most: 2 GiB.
pub(crate) const STANDARD_MAX: u64 = 2 << 30;
/// Bytes that CSD version 2 counts in.
const HIGH_UNIT: u64 = 512 << 10;

/// Who made it: nobody.
const MAKER: u128 = 0x4f;

/// Puts `value` at bit `at`.
fn field(value: u64, at: u32) -> u128 {
    u128::from(value) << at
}

/// CRC7 of the first 120 bits, and the one.
fn sealed(register: u128) -> u128 {
    let mut crc = 0_u128;
    for n in (8..128).rev() {
        let bit = register >> n & 1;
        let out = crc >> 6 & 1;
        crc = crc << 1 & 0x7f;
        if bit ^ out != 0 {
            crc ^= 0x09;
        }
    }
    register & !0xff | crc << 1 | 1
}

/// An SD card's CID: January 2026.
pub(crate) fn sd_cid(serial: u32) -> u128 {
    let name = name(b"MODEL");
    sealed(
        MAKER << 120
            | field(u16::from_be_bytes(*b"OR").into(), 104)
            | name << 64
            | field(0x10, 56)
            | field(serial.into(), 24)
            | field(26 << 4 | 1, 8),
    )
}

/// An eMMC's CID; a BGA, January 2010 or, as EXT_CSD is newer than 4.41, 2026.
pub(crate) fn emmc_cid(serial: u32) -> u128 {
    sealed(
        MAKER << 120
            | field(1, 112)
            | field(b'O'.into(), 104)
            | name(b"EMODEL") << 56
            | field(0x10, 48)
            | field(serial.into(), 16)
            | field(1 << 4 | 13, 8),
    )
}

fn name(letters: &[u8]) -> u128 {
    letters.iter().fold(0, |name, l| name << 8 | u128::from(*l))
}

/// How CSD version 1 says a size: C_SIZE, C_SIZE_MULT, READ_BL_LEN. What it cannot say is left out.
fn standard_size(bytes: u64) -> (u64, u64, u64) {
    for block_bits in 9..=11 {
        for mult in 0..8 {
            let unit = 1 << (block_bits + mult + 2);
            if bytes.div_ceil(unit) <= 4096 {
                return ((bytes / unit).max(1) - 1, mult, block_bits);
            }
        }
    }
    (4095, 7, 11)
}

/// The bytes that a card of this size can say that it has: one unit at least.
pub(crate) fn usable(bytes: u64, standard: bool) -> u64 {
    if standard {
        let (size, mult, block_bits) = standard_size(bytes);
        (size + 1) << (block_bits + mult + 2)
    } else {
        (bytes / HIGH_UNIT).max(1) * HIGH_UNIT
    }
}

/// What both versions of an SD card's CSD have in common: no misaligned blocks, erasing by block.
fn sd_csd_base(speed: u8) -> u128 {
    const CLASSES: u64 = 0x535; // basic, block read and write, erase, application, switch
    field(speed.into(), 96) | field(CLASSES, 84) | field(1, 46) | field(0x7f, 39) | field(2, 26)
}

/// An SD card's CSD. `speed` is TRAN_SPEED.
pub(crate) fn sd_csd(bytes: u64, standard: bool, speed: u8) -> u128 {
    if !standard {
        let size = bytes / HIGH_UNIT - 1;
        let access = field(0x0e, 112);
        return sealed(
            field(1, 126)
                | access
                | sd_csd_base(speed)
                | field(9, 80)
                | field(size, 48)
                | field(9, 22),
        );
    }
    let (size, mult, block_bits) = standard_size(bytes);
    sealed(
        field(0x26, 112)
            | sd_csd_base(speed)
            | field(block_bits, 80)
            | field(1, 79)
            | field(size, 62)
            | field(0o6666, 50)
            | field(mult, 47)
            | field(block_bits, 22),
    )
}

/// An eMMC's CSD; above 2 GiB the size is in EXT_CSD only.
pub(crate) fn emmc_csd(bytes: u64, standard: bool) -> u128 {
    let (size, mult, block_bits) = match standard {
        true => standard_size(bytes),
        false => (4095, 7, 9),
    };
    sealed(
        field(3, 126)
            | field(4, 122)
            | field(0x27, 112)
            | field(0x32, 96)
            | field(0x035, 84)
            | field(block_bits, 80)
            | field(size, 62)
            | field(0o6666, 50)
            | field(mult, 47)
            | field(31, 42)
            | field(15, 37)
            | field(2, 26)
            | field(block_bits, 22),
    )
}

/// SCR: version 3.0, 1 and 4 bits, CMD23; erased blocks read as zeros.
pub(crate) fn scr() -> [u8; 8] {
    (2_u64 << 56 | 3 << 52 | 5 << 48 | 1 << 47 | 1 << 33).to_be_bytes()
}

/// SD status: class 10, allocation units of 4 MiB.
pub(crate) fn sd_status(four_bits: bool) -> Vec<u8> {
    let mut status = vec![0; 64];
    status[0] = if four_bits { 2 << 6 } else { 0 };
    status[8] = 4;
    status[10] = 9 << 4;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(register: u128, high: u32, low: u32) -> u64 {
        (register >> low & ((1 << (high - low + 1)) - 1)) as u64
    }

    /// As a driver computes it.
    fn bytes_of(csd: u128) -> u64 {
        if bits(csd, 127, 126) == 1 {
            (bits(csd, 69, 48) + 1) * HIGH_UNIT
        } else {
            let blocks = (bits(csd, 73, 62) + 1) << (bits(csd, 49, 47) + 2);
            blocks << bits(csd, 83, 80)
        }
    }

    #[test]
    fn the_csd_says_the_size_that_is_usable() {
        for mib in [1, 8, 64, 250, 256, 1000, 1024, 2047, 2048] {
            let bytes = usable(mib << 20, true);
            assert_eq!(bytes, mib << 20, "{mib} MiB");
            assert_eq!(bytes_of(sd_csd(bytes, true, 0x32)), bytes);
            assert_eq!(bytes_of(emmc_csd(bytes, true)), bytes);
        }
        for gib in [1, 4, 32, 64, 512] {
            let bytes = gib << 30;
            assert_eq!(bytes_of(sd_csd(bytes, false, 0x32)), bytes);
        }
        assert_eq!(usable((3 << 30) + 1000, false), 3 << 30);
        assert_eq!(usable(2_000_000, true) % BLOCK, 0);
        assert!(usable(2_000_000, true) <= 2_000_000);
    }

    #[test]
    fn the_check_sequence_is_that_of_the_specification() {
        // CMD17's frame of 40 bits: leading zeros change nothing.
        assert_eq!(sealed(0x51 << 40) >> 1 & 0x7f, 0x2a);
        assert_eq!(crc7(&[0x40, 0, 0, 0, 0]), 0x4a);
        assert_eq!(crc7(&[0x51, 0, 0, 0, 0]), 0x2a);
    }

    /// Another way to the same remainder.
    fn crc7(bytes: &[u8]) -> u128 {
        let mut crc = 0_u8;
        for byte in bytes {
            crc ^= byte;
            for _ in 0..8 {
                crc = if crc & 0x80 != 0 {
                    crc << 1 ^ 0x12
                } else {
                    crc << 1
                };
            }
        }
        u128::from(crc >> 1)
    }

    #[test]
    fn the_scr_promises_what_there_is() {
        assert_eq!(scr(), [0x02, 0x35, 0x80, 0x02, 0, 0, 0, 0]);
    }
}
