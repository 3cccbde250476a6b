// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the kernel's ELF file to `kernel8.img`, what the Pi's firmware and QEMU load.
//!
//! The image is flat: the loadable segments at their distance from the first one, then the
//! symbol table ([`crate::ksyms`]) in the room that the linker script reserves between
//! `__ksyms_start` and `__ksyms_end`, after .data and before .bss. What follows (.bss) is not
//! in the file; `image_size` in the header says that it is needed in memory.
//!
//! References: Linux, Documentation/arch/arm64/booting.rst (the header).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use object::elf::{PT_LOAD, STT_FUNC, STT_NOTYPE};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionKind};

use crate::ksyms;

/// Where the kernel is linked to run, and where the firmware loads it.
pub const LOAD_ADDRESS: u64 = 0x8_0000;
/// The image must stay smaller than this.
pub const SIZE_MAX: usize = 2 << 20;

/// A finished image, and what is worth printing about it.
#[derive(Debug)]
pub struct Image {
    /// The bytes of `kernel8.img`.
    pub bytes: Vec<u8>,
    /// Bytes of memory that it needs, .bss and stacks included: `image_size` of its header.
    pub memory_bytes: u64,
    /// How many functions the symbol table names.
    pub symbols: usize,
    /// Bytes of the symbol table, and bytes that the linker script reserves for it.
    pub ksyms_bytes: (usize, usize),
}

/// Makes the image from an ELF file.
pub fn from_elf(elf: &[u8]) -> Result<Image> {
    let elf = ElfFile64::<Endianness>::parse(elf).context("the kernel is no 64-bit ELF file")?;
    let endian = elf.endian();
    let loads: Vec<_> = elf
        .elf_program_headers()
        .iter()
        .filter(|p| p.p_type(endian) == PT_LOAD && p.p_memsz(endian) > 0)
        .collect();
    let Some(first) = loads.iter().min_by_key(|p| p.p_paddr(endian)) else {
        bail!("the kernel has no loadable segment; was it linked with the board's script?");
    };
    let (base, link_base) = (first.p_paddr(endian), first.p_vaddr(endian));
    ensure!(
        base == LOAD_ADDRESS,
        "the kernel is linked to load at {base:#x}, not at {LOAD_ADDRESS:#x}: see the linker script"
    );

    let mut bytes = Vec::new();
    let mut loaded_bytes = 0;
    for load in loads {
        let at = usize::try_from(load.p_paddr(endian) - base)?;
        loaded_bytes = loaded_bytes.max(at as u64 + load.p_memsz(endian));
        let data = load
            .data(endian, elf.data())
            .ok()
            .context("a segment lies beyond the end of the ELF file")?;
        ensure!(
            at + data.len() <= 16 * SIZE_MAX,
            "a segment is linked {at:#x} bytes after the first one; a flat image cannot hold that"
        );
        if bytes.len() < at + data.len() {
            bytes.resize(at + data.len(), 0);
        }
        bytes[at..at + data.len()].copy_from_slice(data);
    }
    let memory_bytes = check_header(&bytes, loaded_bytes)?;

    let functions = functions(&elf, link_base)?;
    let table = ksyms::encode(&functions);
    let start = usize::try_from(symbol(&elf, "__ksyms_start")? - link_base)?;
    let end = usize::try_from(symbol(&elf, "__ksyms_end")? - link_base)?;
    let room = end.saturating_sub(start);
    ensure!(
        table.len() <= room,
        "the symbol table takes {} bytes and the linker script reserves {room}: raise the \
         reservation between __ksyms_start and __ksyms_end",
        table.len()
    );
    if bytes.len() < start + table.len() {
        bytes.resize(start + table.len(), 0);
    }
    let reserved = &mut bytes[start..start + table.len()];
    ensure!(
        reserved.iter().all(|&b| b == 0),
        "the linker put something between __ksyms_start and __ksyms_end, which the symbol table needs"
    );
    reserved.copy_from_slice(&table);
    ensure!(
        bytes.len() < SIZE_MAX,
        "the image has {} bytes; it must stay under {SIZE_MAX}",
        bytes.len()
    );
    Ok(Image {
        bytes,
        memory_bytes,
        symbols: functions.len(),
        ksyms_bytes: (table.len(), room),
    })
}

/// Checks the Image header; returns its `image_size`.
fn check_header(image: &[u8], loaded_bytes: u64) -> Result<u64> {
    ensure!(
        image.get(0x38..0x3c) == Some(b"ARM\x64"),
        "the kernel does not begin with an arm64 Image header (no \"ARM\\x64\" at 0x38)"
    );
    let field = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().expect("8 bytes"));
    let (text_offset, image_size) = (field(0x08), field(0x10));
    ensure!(
        text_offset == LOAD_ADDRESS,
        "text_offset in the Image header is {text_offset:#x}, not {LOAD_ADDRESS:#x}"
    );
    ensure!(
        image_size >= loaded_bytes,
        "image_size in the Image header is {image_size:#x}, but its segments take {loaded_bytes:#x}"
    );
    Ok(image_size)
}

fn symbol(elf: &ElfFile64<Endianness>, name: &str) -> Result<u64> {
    elf.symbol_by_name(name)
        .map(|s| s.address())
        .with_context(|| format!("the linker script defines no {name}"))
}

/// Every function of the kernel's ELF file: its address, and its readable name.
pub fn named_functions(elf: &[u8]) -> Result<BTreeMap<u64, String>> {
    let elf = ElfFile64::<Endianness>::parse(elf).context("the kernel is no 64-bit ELF file")?;
    let found = functions(&elf, 0)?.into_iter();
    Ok(found.map(|(at, name)| (at.into(), name)).collect())
}

/// Every function's distance from the image's first byte, and its readable name.
fn functions(elf: &ElfFile64<Endianness>, link_base: u64) -> Result<BTreeMap<u32, String>> {
    let mut functions = BTreeMap::new();
    for symbol in elf.symbols() {
        let name = symbol.name().unwrap_or_default();
        // Labels of assembly have no type; `$x` and `.L…` are the tools' own.
        let kind = symbol.elf_symbol().st_type();
        if !(kind == STT_FUNC || kind == STT_NOTYPE) || name.is_empty() {
            continue;
        }
        if name.starts_with(['$', '.']) || (kind == STT_NOTYPE && name.starts_with("__")) {
            continue;
        }
        let Some(section) = symbol.section_index() else {
            continue;
        };
        if elf.section_by_index(section)?.kind() == SectionKind::Text {
            let offset = u32::try_from(symbol.address().wrapping_sub(link_base))
                .with_context(|| format!("function {name} lies outside of the image"))?;
            let known = functions
                .entry(offset)
                .or_insert_with(|| ksyms::readable(name));
            if kind == STT_FUNC && symbol.is_global() {
                *known = ksyms::readable(name);
            }
        }
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text_offset: u64, image_size: u64) -> Vec<u8> {
        let mut image = vec![0; 0x40];
        image[0x08..0x10].copy_from_slice(&text_offset.to_le_bytes());
        image[0x10..0x18].copy_from_slice(&image_size.to_le_bytes());
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        image
    }

    #[test]
    fn header_must_be_the_boards() {
        assert!(check_header(&header(0x8_0000, 0x1000), 0x1000).is_ok());
        assert!(check_header(&header(0, 0x1000), 0x1000).is_err());
        assert!(check_header(&header(0x8_0000, 0xfff), 0x1000).is_err());
        assert!(check_header(&[0; 0x40], 0).is_err());
        assert!(check_header(b"short", 0).is_err());
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        let error = from_elf(b"MZ").unwrap_err().to_string();
        assert!(error.contains("no 64-bit ELF"), "{error}");
    }
}
