// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tagged list that firmware passes instead of a device tree: {words, tag, payload} until tag 0.
//!
//! Reference: Linux `Documentation/arch/arm/booting.rst` and `setup.h` of that architecture.

/// Second word of a list: its first tag.
pub const CORE: u32 = 0x5441_0001;
const MEM: u32 = 0x5441_0002;
const CMDLINE: u32 = 0x5441_0009;
/// Bytes of a list that are looked at.
pub const BYTES: usize = 4096;

/// A tag that the kernel can use.
#[derive(Debug, PartialEq, Eq)]
pub enum Atag<'a> {
    /// RAM.
    Memory {
        /// Physical address.
        base: u64,
        /// Length.
        bytes: u64,
    },
    /// The command line.
    CommandLine(&'a str),
}

/// The usable tags of the list in `data`; ends where the list does, or breaks off.
pub fn read(data: &[u8]) -> impl Iterator<Item = Atag<'_>> {
    let word = |at: usize| {
        let bytes = data.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let mut at = 0;
    let tags = core::iter::from_fn(move || {
        let (start, words) = (at, word(at)? as usize);
        let tag = word(start + 4).filter(|tag| *tag != 0)?;
        at += 4 * words.max(2);
        Some(match tag {
            MEM => Some(Atag::Memory {
                bytes: word(start + 8)?.into(),
                base: word(start + 12)?.into(),
            }),
            CMDLINE => {
                let text = data.get(start + 8..start + 4 * words).unwrap_or(&[]);
                let text = text.split(|byte| *byte == 0).next().unwrap_or(&[]);
                core::str::from_utf8(text).ok().map(Atag::CommandLine)
            }
            _ => None,
        })
    });
    tags.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdt::{Board, Complaint, Method, bytes_to_copy};
    use crate::map::SPIN_TABLE;
    use std::vec::Vec;

    fn list() -> Vec<u8> {
        let text = [u32::from_le_bytes(*b"pani"), u32::from_le_bytes(*b"c=\0\0")];
        let head = [2, CORE, 4, MEM, 0x8000_0000, 0, 4, CMDLINE];
        let words = head.into_iter().chain(text).chain([0, 0]);
        let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        bytes.resize(BYTES, 0);
        bytes
    }

    #[test]
    fn a_list_means_the_stock_stub() {
        let bytes = list();
        assert_eq!(
            bytes_to_copy(u64::from_le_bytes(bytes[..8].try_into().unwrap())),
            BYTES
        );
        let board = Board::parse(&bytes);
        assert_eq!(board.method, Some(Method::SpinTable(SPIN_TABLE)));
        assert_eq!(board.command_line, "panic=");
        assert_eq!(
            board.memory.as_slice(),
            core::slice::from_ref(&(0..0x3000_0000))
        );
        assert_eq!(board.complaint, Some(Complaint::Atags));
    }

    #[test]
    fn a_broken_list_ends() {
        let good = list();
        for cut in 0..64 {
            assert!(read(&good[..cut]).count() <= 2);
        }
        let mut endless = good.clone();
        endless[8..12].fill(0); // a tag of no words
        assert!(read(&endless).count() <= BYTES / 8);
        let mut huge = good;
        huge[8..12].fill(0xFF);
        assert_eq!(read(&huge).count(), 1);
    }
}
