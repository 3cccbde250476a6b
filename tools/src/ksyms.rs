// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own symbol table, as a panic reads it.
//!
//! Little endian, in this order:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | magic [`MAGIC`]; in memory it reads `MYSK` |
//! | 4 | count *n* of symbols |
//! | 8 *n* | address offset (address − the image's first byte), name offset (into the names); by address |
//! | rest | names: length (2 bytes), then so many bytes of UTF-8 |
//!
//! A function reaches to the next symbol's address. Two symbols never share an address, and
//! equal names share their bytes.

use std::collections::{BTreeMap, HashMap};

/// The first word of the table.
pub const MAGIC: u32 = 0x4B53_594D;
/// A name's greatest length in bytes: a line of a backtrace fits 80 columns.
pub const NAME_MAX: usize = 52;

/// Encodes symbols, given as address offset → readable name.
pub fn encode(symbols: &BTreeMap<u32, String>) -> Vec<u8> {
    let mut names = Vec::new();
    let mut offsets = HashMap::new();
    let mut table = Vec::from(MAGIC.to_le_bytes());
    table.extend(word(symbols.len()));
    for (address, name) in symbols {
        let offset = *offsets.entry(name.as_str()).or_insert_with(|| {
            let at = names.len();
            let length = u16::try_from(name.len()).expect("`readable` bounds the length");
            names.extend(length.to_le_bytes());
            names.extend(name.as_bytes());
            at
        });
        table.extend(address.to_le_bytes());
        table.extend(word(offset));
    }
    table.extend(names);
    table
}

fn word(n: usize) -> [u8; 4] {
    u32::try_from(n)
        .expect("a symbol table is under 4 GiB")
        .to_le_bytes()
}

/// The name as a person writes it, without the compiler's hash. Of one that is too long, the
/// middle is left out: the crate at the front and the method at the end tell the most.
pub fn readable(mangled: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    if name.len() <= NAME_MAX {
        return name;
    }
    const GAP: &str = "..";
    let head = name.floor_char_boundary(NAME_MAX / 2 - GAP.len());
    let tail = name.ceil_char_boundary(name.len() - NAME_MAX / 2);
    format!("{}{GAP}{}", &name[..head], &name[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(table: &[u8], at: usize) -> usize {
        u32::from_le_bytes(table[at..at + 4].try_into().unwrap()) as usize
    }

    fn name(table: &[u8], index: usize) -> &str {
        let at = 8 + 8 * u32_at(table, 4) + u32_at(table, 8 + 8 * index + 4);
        let length = u16::from_le_bytes([table[at], table[at + 1]]) as usize;
        str::from_utf8(&table[at + 2..at + 2 + length]).unwrap()
    }

    #[test]
    fn table_is_sorted_and_names_resolve() {
        let symbols = [(0x40, "b"), (0x10, "a"), (0x80, "b")].map(|(at, n)| (at, n.to_owned()));
        let table = encode(&BTreeMap::from(symbols));
        assert_eq!(&table[..4], b"MYSK");
        assert_eq!(u32_at(&table, 4), 3);
        let addresses: Vec<_> = (0..3).map(|i| u32_at(&table, 8 + 8 * i)).collect();
        assert_eq!(addresses, [0x10, 0x40, 0x80]);
        assert_eq!([0, 1, 2].map(|i| name(&table, i)), ["a", "b", "b"]);
        assert_eq!(
            table.len(),
            8 + 3 * 8 + 3 + 3,
            "equal names are stored once"
        );
    }

    #[test]
    fn empty_table_has_its_header() {
        assert_eq!(encode(&BTreeMap::new()), b"MYSK\0\0\0\0");
    }

    #[test]
    fn names_lose_their_hash() {
        let mangled = "_ZN4core3fmt5write17h0123456789abcdefE";
        assert_eq!(readable(mangled), "core::fmt::write");
        assert_eq!(readable("_start"), "_start");
    }

    #[test]
    fn long_names_keep_both_ends() {
        let name = readable(&format!(
            "start{}é{}finish",
            "x".repeat(300),
            "é".repeat(90)
        ));
        assert!(name.len() <= NAME_MAX, "{} bytes", name.len());
        assert!(name.starts_with("start") && name.ends_with("finish"));
    }
}
