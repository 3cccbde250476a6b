// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own symbol table, which `kimage` appends to the image (layout: `tools/src/ksyms.rs`).
//!
//! A panic reads it: nothing in here allocates, waits or panics, whatever the bytes are.

/// First word of a table; in memory it reads `MYSK`.
const MAGIC: u32 = 0x4B53_594D;

/// A table, found valid as far as its frame goes.
pub struct Symbols<'a> {
    entries: &'a [u8],
    names: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl<'a> Symbols<'a> {
    /// The table at the start of `bytes`; `None` if there is none.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let count = (word(bytes, 0)? == MAGIC)
            .then(|| word(bytes, 4))
            .flatten()? as usize;
        let (entries, names) = bytes.get(8..)?.split_at_checked(count.checked_mul(8)?)?;
        Some(Self { entries, names })
    }

    /// The function that contains the byte `offset` bytes from the image's start, and how far into it that is.
    pub fn lookup(&self, offset: u32) -> Option<(&'a str, u32)> {
        let (mut low, mut high) = (0, self.entries.len() / 8);
        while low < high {
            let middle = (low + high) / 2;
            if word(self.entries, middle * 8)? <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let entry = low.checked_sub(1)? * 8;
        let name = self.names.get(word(self.entries, entry + 4)? as usize..)?;
        let length = u16::from_le_bytes(name.get(..2)?.try_into().ok()?) as usize;
        let name = core::str::from_utf8(name.get(2..2 + length)?).ok()?;
        Some((name, offset - word(self.entries, entry)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn table() -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [MAGIC, 2, 0x40, 0, 0x100, 5] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"\x03\0one\x05\0three");
        bytes
    }

    #[test]
    fn the_function_that_contains_an_address() {
        let bytes = table();
        let symbols = Symbols::new(&bytes).unwrap();
        assert_eq!(symbols.lookup(0x3F), None);
        assert_eq!(symbols.lookup(0x40), Some(("one", 0)));
        assert_eq!(symbols.lookup(0xFF), Some(("one", 0xBF)));
        assert_eq!(symbols.lookup(0x104), Some(("three", 4)));
    }

    #[test]
    fn any_bytes_are_survived() {
        assert!(Symbols::new(&[0; 64]).is_none());
        for cut in 0..table().len() {
            if let Some(symbols) = Symbols::new(&table()[..cut]) {
                let _ = (symbols.lookup(0x50), symbols.lookup(0x200));
            }
        }
        let mut bytes = table();
        for i in 4..bytes.len() {
            bytes[i] ^= 0xFF;
            if let Some(symbols) = Symbols::new(&bytes) {
                let _ = (symbols.lookup(0x50), symbols.lookup(u32::MAX));
            }
            bytes[i] ^= 0xFF;
        }
    }
}
