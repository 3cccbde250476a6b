// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers inside a card: CID, CSD, SCR; an eMMC's EXT_CSD.
//!
//! # Rejected
//! The crate `sdio-host` 0.9 decodes these too. Its CSD tells neither the command classes (CMD6 must not be
//! sent without class 10) nor the write-protect bits, and takes READ_BL_LEN values that the specification forbids.
//!
//! # References
//! SD Specifications Part 1, Physical Layer Simplified Specification 9.10, §5.2 (CID), §5.3 (CSD), §5.6 (SCR).
//! JEDEC JESD84-B51, §7.2 (CID), §7.3 (CSD), §7.4 (EXT_CSD).
use super::error::Error;
use core::fmt;
use tock_registers::{LocalRegisterCopy, register_bitfields};

register_bitfields! { u128,
    CID [
        MDT_MONTH OFFSET(8) NUMBITS(4) [],
        MDT_YEAR OFFSET(12) NUMBITS(8) [],
        PSN OFFSET(24) NUMBITS(32) [],
        PRV OFFSET(56) NUMBITS(8) [],
        PNM OFFSET(64) NUMBITS(40) [],
        OID OFFSET(104) NUMBITS(16) [],
        MID OFFSET(120) NUMBITS(8) []
    ],
    EMMC_CID [
        MDT_YEAR OFFSET(8) NUMBITS(4) [],
        MDT_MONTH OFFSET(12) NUMBITS(4) [],
        PSN OFFSET(16) NUMBITS(32) [],
        PRV OFFSET(48) NUMBITS(8) [],
        PNM OFFSET(56) NUMBITS(48) [],
        OID OFFSET(104) NUMBITS(8) [],
        MID OFFSET(120) NUMBITS(8) []
    ],
    CSD [
        TMP_WRITE_PROTECT OFFSET(12) NUMBITS(1) [],
        PERM_WRITE_PROTECT OFFSET(13) NUMBITS(1) [],
        C_SIZE_MULT OFFSET(47) NUMBITS(3) [],
        V2_C_SIZE OFFSET(48) NUMBITS(22) [],
        V1_C_SIZE OFFSET(62) NUMBITS(12) [],
        READ_BL_LEN OFFSET(80) NUMBITS(4) [],
        CCC OFFSET(84) NUMBITS(12) [],
        EMMC_SPEC_VERS OFFSET(122) NUMBITS(4) [],
        CSD_STRUCTURE OFFSET(126) NUMBITS(2) []
    ]
}

register_bitfields! { u64,
    SCR [
        SD_BUS_WIDTHS OFFSET(48) NUMBITS(4) [],
        SD_SPEC OFFSET(56) NUMBITS(4) []
    ]
}

/// Who made the card, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cid {
    /// The maker's number, given out by the SD-3C.
    pub manufacturer: u8,
    /// The brand: two letters, by custom. Of an eMMC, one byte.
    pub oem: [u8; 2],
    /// The product's name: five characters of ASCII, of an eMMC six.
    pub name: [u8; 6],
    /// The product's revision: major in the high, minor in the low four bits.
    pub revision: u8,
    /// Serial number.
    pub serial: u32,
    /// Year of manufacture.
    pub year: u16,
    /// Month of manufacture, 1 to 12.
    pub month: u8,
}

impl Cid {
    pub(super) fn decode(bits: u128) -> Self {
        let cid = LocalRegisterCopy::<u128, CID::Register>::new(bits);
        let [name @ .., _, _] = ((cid.read(CID::PNM) as u64) << 24).to_be_bytes();
        Self {
            manufacturer: cid.read(CID::MID) as u8,
            oem: (cid.read(CID::OID) as u16).to_be_bytes(),
            name,
            revision: cid.read(CID::PRV) as u8,
            serial: cid.read(CID::PSN) as u32,
            year: 2000 + cid.read(CID::MDT_YEAR) as u16,
            month: cid.read(CID::MDT_MONTH) as u8,
        }
    }

    pub(super) fn decode_emmc(bits: u128) -> Self {
        let cid = LocalRegisterCopy::<u128, EMMC_CID::Register>::new(bits);
        let [_, _, name @ ..] = (cid.read(EMMC_CID::PNM) as u64).to_be_bytes();
        // Counted from 1997 on, and for lack of bits from 2013 on again; cards of before 2010 are rare by now.
        let year = cid.read(EMMC_CID::MDT_YEAR) as u16;
        Self {
            manufacturer: cid.read(EMMC_CID::MID) as u8,
            oem: [cid.read(EMMC_CID::OID) as u8, 0],
            name,
            revision: cid.read(EMMC_CID::PRV) as u8,
            serial: cid.read(EMMC_CID::PSN) as u32,
            year: if year < 13 { 2013 + year } else { 1997 + year },
            month: cid.read(EMMC_CID::MDT_MONTH) as u8,
        }
    }
}

/// Maker, brand, name, revision, serial number and date on one line; what is not printable shows as a dot.
impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "maker {:#04x}", self.manufacturer)?;
        for (what, text) in [("OEM", &self.oem[..]), ("name", &self.name[..])] {
            write!(f, ", {what} ")?;
            for &byte in text.strip_suffix(&[0]).unwrap_or(text) {
                // The card's own bytes: anything may stand there.
                let printable = byte.is_ascii_graphic() || byte == b' ';
                write!(f, "{}", if printable { char::from(byte) } else { '.' })?;
            }
        }
        write!(
            f,
            ", revision {}.{}, serial {:08x}, made {}-{:02}",
            self.revision >> 4,
            self.revision & 0xf,
            self.serial,
            self.year,
            self.month
        )
    }
}

/// What of the card's description matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Csd {
    pub capacity_blocks: u64,
    pub read_only: bool,
    /// Command class 10: CMD6.
    pub has_switch: bool,
}

impl Csd {
    pub(super) fn decode(bits: u128) -> Result<Self, Error> {
        let csd = LocalRegisterCopy::<u128, CSD::Register>::new(bits);
        let version = csd.read(CSD::CSD_STRUCTURE) as u8;
        let capacity_blocks = match (version, csd.read(CSD::READ_BL_LEN)) {
            (0, 9..=11) => small_capacity_blocks(&csd),
            // §5.3.3: units of 512 KiB.
            (1, _) => (csd.read(CSD::V2_C_SIZE) as u64 + 1) * 1024,
            _ => return Err(Error::UnknownCsd(version)),
        };
        Ok(Self {
            capacity_blocks,
            read_only: csd.is_set(CSD::TMP_WRITE_PROTECT) || csd.is_set(CSD::PERM_WRITE_PROTECT),
            has_switch: csd.read(CSD::CCC) & 1 << 10 != 0,
        })
    }
}

/// §5.3.2: (C_SIZE + 1) * 2^(C_SIZE_MULT + 2) blocks of 2^READ_BL_LEN bytes, which are 512 to 2048.
fn small_capacity_blocks(csd: &LocalRegisterCopy<u128, CSD::Register>) -> u64 {
    let units = csd.read(CSD::V1_C_SIZE) as u64 + 1;
    units << (csd.read(CSD::C_SIZE_MULT) + 2) << csd.read(CSD::READ_BL_LEN).saturating_sub(9)
}

/// What of an eMMC's description matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EmmcCsd {
    /// Of a card that counts bytes.
    pub capacity_blocks: u64,
    pub read_only: bool,
    /// Made to version 4 or later.
    pub has_ext_csd: bool,
}

impl Csd {
    pub(super) fn decode_emmc(bits: u128) -> EmmcCsd {
        let csd = LocalRegisterCopy::<u128, CSD::Register>::new(bits);
        EmmcCsd {
            // Bytes are counted by 32 bits.
            capacity_blocks: small_capacity_blocks(&csd).min(1 << 23),
            read_only: csd.is_set(CSD::TMP_WRITE_PROTECT) || csd.is_set(CSD::PERM_WRITE_PROTECT),
            has_ext_csd: csd.read(CSD::EMMC_SPEC_VERS) >= 4,
        }
    }
}

/// What of an eMMC's extended description matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExtCsd {
    pub capacity_blocks: u64,
    /// At 52 MHz.
    pub high_speed: bool,
    pub has_cache: bool,
    pub cache_on: bool,
}

impl ExtCsd {
    pub(super) fn decode(bytes: &[u8; 512]) -> Self {
        const CACHE_CTRL: usize = 33;
        const DEVICE_TYPE: usize = 196;
        const SEC_COUNT: usize = 212;
        const CACHE_SIZE: usize = 249;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            capacity_blocks: word(SEC_COUNT).into(),
            high_speed: bytes[DEVICE_TYPE] & 1 << 1 != 0,
            has_cache: word(CACHE_SIZE) != 0,
            cache_on: bytes[CACHE_CTRL] & 1 != 0,
        }
    }
}

/// What of the card's configuration matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scr {
    pub four_lines: bool,
    /// Made to version 1.10 or later: CMD6 may be there.
    pub since_1_10: bool,
}

impl Scr {
    pub(super) fn decode(bytes: [u8; 8]) -> Self {
        let scr = LocalRegisterCopy::<u64, SCR::Register>::new(u64::from_be_bytes(bytes));
        Self {
            four_lines: scr.read(SCR::SD_BUS_WIDTHS) & 1 << 2 != 0,
            since_1_10: scr.read(SCR::SD_SPEC) >= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_cid_tells_maker_name_serial_and_date() {
        // A SanDisk card's, as Linux shows it, with the CRC byte cleared.
        let cid = Cid::decode(0x0353_4453_5533_3247_8052_4b5b_3c01_4600);
        assert_eq!(cid.manufacturer, 3);
        assert_eq!(
            cid.to_string(),
            "maker 0x03, OEM SD, name SU32G, revision 8.0, serial 524b5b3c, made 2020-06"
        );
        let odd = Cid::decode(0xff00_0153_5533_3200_0000_0000_0000_0000);
        assert_eq!(
            odd.to_string(),
            "maker 0xff, OEM .., name SU32., revision 0.0, serial 00000000, made 2000-00"
        );
    }

    #[test]
    fn capacities_follow_the_csds_version() {
        // Version 1: C_SIZE 3839, C_SIZE_MULT 7, READ_BL_LEN 10: 2 GB card.
        let v1 = 10 << 80 | 3_839 << 62 | 7 << 47;
        assert_eq!(Csd::decode(v1).unwrap().capacity_blocks, 3_840 * 512 * 2);
        // The smallest and the largest that version 1 can say.
        assert_eq!(Csd::decode(9 << 80).unwrap().capacity_blocks, 4);
        let largest = 11 << 80 | 0xfff << 62 | 7 << 47;
        assert_eq!(Csd::decode(largest).unwrap().capacity_blocks * 512, 4 << 30);
        // Version 2: 32 GB card, C_SIZE 60,873.
        let v2 = 1 << 126 | 9 << 80 | 60_873 << 48;
        assert_eq!(Csd::decode(v2).unwrap().capacity_blocks, 60_874 * 1024);
        let largest = 1 << 126 | 0x3f_ffff << 48;
        assert_eq!(Csd::decode(largest).unwrap().capacity_blocks * 512, 2 << 40);
    }

    #[test]
    fn unknown_csds_are_refused() {
        assert_eq!(Csd::decode(2 << 126), Err(Error::UnknownCsd(2)));
        assert_eq!(Csd::decode(3 << 126), Err(Error::UnknownCsd(3)));
        assert_eq!(Csd::decode(8 << 80), Err(Error::UnknownCsd(0)));
        assert_eq!(Csd::decode(12 << 80), Err(Error::UnknownCsd(0)));
    }

    #[test]
    fn protection_and_classes_are_read() {
        let with = |bits: u128| Csd::decode(1 << 126 | bits).unwrap();
        assert!(!with(0).read_only && !with(0).has_switch);
        assert!(with(1 << 12).read_only && with(1 << 13).read_only);
        assert!(with(1 << 94).has_switch);
    }

    #[test]
    fn an_scr_tells_width_and_version() {
        let new = Scr::decode([0x02, 0x35, 0x80, 0x03, 0, 0, 0, 0]);
        assert_eq!(
            new,
            Scr {
                four_lines: true,
                since_1_10: true
            }
        );
        let old = Scr::decode([0x00, 0x01, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            old,
            Scr {
                four_lines: false,
                since_1_10: false
            }
        );
    }
}
