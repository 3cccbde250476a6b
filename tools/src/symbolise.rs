// SPDX-License-Identifier: MIT OR Apache-2.0
//! Source lines for what a panic says: functions, inlined ones too, with file and line.
//!
//! The text is a crash dump's (`docs/crashdump.5.md`), from a card, its image or a copy of its
//! crash partition, or what the console printed. Addresses mean something to one build alone, so an
//! ELF file of another is refused: a dump's header and the report name the build, and the linker
//! has put the same hash into the ELF file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use addr2line::Loader;
use anyhow::{Context, Result, bail, ensure};
use kernel::panic::dump::area::Place;
use kernel::panic::dump::format::{self, BuildId, Header, Sector};
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol};

/// More text than any console session has.
const TEXT_MAX: u64 = 64 << 20;
const SECTOR: u64 = 512;

/// What is to be symbolised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The dump's header, if it is one.
    pub header: Option<Header>,
    /// The text.
    pub text: String,
}

impl Input {
    /// Text that was copied from a console.
    pub fn text(bytes: &[u8]) -> Self {
        Self {
            header: None,
            text: String::from_utf8_lossy(bytes).replace('\r', ""),
        }
    }

    /// A card, its image, a copy of its crash partition, or a file of text.
    ///
    /// # Errors
    /// It cannot be read, or it is a card without a dump.
    pub fn open(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let mut file = File::open(path).with_context(name)?;
        // A device has no length but the place of its end.
        let bytes = file.seek(SeekFrom::End(0)).with_context(name)?;
        let first = sector(&mut file, 0).unwrap_or([0; SECTOR as usize]);
        if format::is_label(&first) {
            return Self::dump(&mut file, 0..bytes).with_context(name);
        }
        let places = Place::candidates(&first, bytes / SECTOR).map(|place| {
            let start = u64::from(place.start()) * SECTOR;
            start..start + u64::from(place.sectors()) * SECTOR
        });
        for place in places {
            if format::is_label(&sector(&mut file, place.start)?) {
                return Self::dump(&mut file, place).with_context(name);
            }
        }
        ensure!(
            first[510..] != [0x55, 0xaa],
            "{}: a disk without a labelled partition for crash dumps",
            name()
        );
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(TEXT_MAX).read_to_end(&mut text)?;
        Ok(Self::text(&text))
    }

    fn dump(file: &mut File, place: Range<u64>) -> Result<Self> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(place.start))?;
        file.take((place.end - place.start).min(TEXT_MAX))
            .read_to_end(&mut bytes)?;
        let (header, text) = format::read(&bytes)?;
        Ok(Self {
            header: Some(header),
            text: text.to_owned(),
        })
    }

    /// The builds that it names, each once.
    pub fn builds(&self) -> Vec<String> {
        let mut builds: Vec<_> = self.header.iter().map(|h| h.build.to_string()).collect();
        for (_, rest) in self.text.match_indices("build ").map(|(at, what)| {
            let rest = &self.text[at + what.len()..];
            (at, rest)
        }) {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            if digits == 2 * size_of::<BuildId>() {
                builds.push(rest[..digits].to_lowercase());
            }
        }
        builds.sort();
        builds.dedup();
        builds
    }
}

fn sector(file: &mut File, at: u64) -> Result<Sector> {
    let mut sector = [0; SECTOR as usize];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut sector)?;
    Ok(sector)
}

/// A kernel's ELF file, with its line tables.
pub struct Kernel {
    loader: Loader,
    text: Range<u64>,
    build: String,
}

impl Kernel {
    /// Opens it.
    ///
    /// # Errors
    /// It is no ELF file of this kernel.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = crate::read(path, "`make kernel` builds it")?;
        let what = || format!("{}: no ELF file of the kernel", path.display());
        let elf = ElfFile64::<Endianness>::parse(&*bytes).with_context(what)?;
        let address = |name| elf.symbol_by_name(name).map(|symbol| symbol.address());
        let (Some(start), Some(end)) = (address("__text_start"), address("__text_end")) else {
            bail!(what());
        };
        let build = elf.build_id()?.with_context(|| {
            let path = path.display();
            format!("{path}: it bears no build id, so nobody knows what it fits")
        })?;
        let loader = Loader::new(path);
        let loader = loader.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        Ok(Self {
            loader,
            text: start..end,
            build: build.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// Which build it is.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// Is it the kernel that `input` is of? Whether the input says so at all.
    ///
    /// # Errors
    /// It is another one.
    pub fn fits(&self, input: &Input) -> Result<bool> {
        let builds = input.builds();
        for build in &builds {
            ensure!(
                *build == self.build,
                "this is of build {build}, and the ELF file is build {}: give the ELF file that \
                 was built with that kernel (--elf)",
                self.build
            );
        }
        Ok(!builds.is_empty())
    }

    /// The text, with what each address in it stands for below its line.
    pub fn symbolise(&self, text: &str) -> String {
        let mut shown = String::new();
        for line in text.lines() {
            shown += line;
            shown.push('\n');
            for address in addresses(line).filter(|address| self.text.contains(address)) {
                for place in self.places(address) {
                    shown += &format!("        {place}\n");
                }
            }
        }
        shown
    }

    /// The symbol that an address lies behind, where the line tables name no function.
    fn symbol(&self, address: u64) -> String {
        let name = self.loader.find_symbol(address).unwrap_or("?");
        plain(&format!("{:#}", rustc_demangle::demangle(name))).to_owned()
    }

    /// Function, file and line of an address: of inlined functions, the innermost first.
    fn places(&self, address: u64) -> Vec<String> {
        let Ok(mut frames) = self.loader.find_frames(address) else {
            return Vec::new();
        };
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let function = frame.function.as_ref().and_then(|f| f.demangle().ok());
            let function = function.map_or_else(|| self.symbol(address), |f| plain(&f).to_owned());
            let place = frame.location.and_then(|at| {
                let file = short(at.file?).to_owned();
                Some(format!("{file}:{}", at.line.unwrap_or(0)))
            });
            places.push(match place {
                Some(place) => format!("{function}  {place}"),
                None => function,
            });
        }
        places
    }
}

/// The numbers in a line that may be addresses: `0x` and hexadecimal digits.
fn addresses(line: &str) -> impl Iterator<Item = u64> {
    line.match_indices("0x").filter_map(|(at, _)| {
        let digits = &line[at + 2..];
        let end = digits.find(|c: char| !c.is_ascii_hexdigit());
        // `+0x1c` is a distance.
        let is_offset = line[..at].ends_with('+');
        u64::from_str_radix(&digits[..end.unwrap_or(digits.len())], 16)
            .ok()
            .filter(|_| !is_offset)
    })
}

/// A function's name without the types that it was made for.
fn plain(name: &str) -> &str {
    match name.find('<') {
        None | Some(0) => name,
        Some(at) => name[..at].trim_end_matches(':'),
    }
}

/// A source file's path without where the workspace, the registry or the compiler's library lie.
fn short(file: &str) -> &str {
    let root = crate::root().to_str().unwrap_or_default();
    let ours = file
        .strip_prefix(root)
        .map(|rest| rest.trim_start_matches('/'));
    let of_crate = || {
        let (_, rest) = file.split_once("/registry/src/")?;
        Some(rest.split_once('/')?.1)
    };
    let of_library = || Some(&file[file.find("/library/")? + 1..]);
    ours.or_else(of_crate).or_else(of_library).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_and_distances_are_none() {
        let line = "   4  0x0012a96c  kernel::console::shell::run+0x221c";
        assert_eq!(addresses(line).collect::<Vec<_>>(), [0x12a96c]);
        let line = "    at 0x80fec, lr 0xffffffffffffffff 0x 0xzz 0x10000000000000000";
        assert_eq!(addresses(line).collect::<Vec<_>>(), [0x80fec, u64::MAX]);
    }

    #[test]
    fn the_builds_that_a_text_names_are_found() {
        let (one, two) = ("ab".repeat(20), "CD".repeat(20));
        let text =
            format!("kernel 0.1.0, build {one}\nbuild {two}\nbuild {one}\nbuild abcd\nbuild");
        let builds = Input::text(text.as_bytes()).builds();
        assert_eq!(builds, [one, two.to_lowercase()]);
        assert!(Input::text(b"rebuild it").builds().is_empty());
    }

    #[test]
    fn what_is_no_dump_is_text_and_a_disk_without_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "*** PANIC\r\n").unwrap();
        let input = Input::open(&path).unwrap();
        assert_eq!((input.header, &*input.text), (None, "*** PANIC\n"));
        let mut disk = vec![0; 4096];
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&path, &disk).unwrap();
        let error = Input::open(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("without a labelled partition for crash dumps"),
            "{error}"
        );
        disk[..512].fill(0);
        disk[..16].copy_from_slice(format::LABEL);
        std::fs::write(&path, &disk).unwrap();
        let error = format!("{:#}", Input::open(&path).unwrap_err());
        assert!(
            error.ends_with("there is no crash dump on the card"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let program = std::env::current_exe().unwrap();
        let error = Kernel::open(&program).err().unwrap().to_string();
        assert!(error.ends_with("no ELF file of the kernel"), "{error}");
    }

    #[test]
    fn names_and_paths_are_short() {
        assert_eq!(plain("call_once<fn(), (&mut Cx<Thread>)>"), "call_once");
        assert_eq!(plain("<Cx as Clone>::clone"), "<Cx as Clone>::clone");
        assert_eq!(plain("core::fmt::write"), "core::fmt::write");
        let registry = "/x/registry/src/index-1/spin-0.12.0/src/once.rs";
        assert_eq!(short(registry), "spin-0.12.0/src/once.rs");
        assert_eq!(
            short("/rustc/12ab/library/core/src/a.rs"),
            "library/core/src/a.rs"
        );
        assert_eq!(short("kernel/src/main.rs"), "kernel/src/main.rs");
    }
}
