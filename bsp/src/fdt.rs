// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the firmware says about the board: a device tree, an ATAG list, or nothing.
//!
//! Pure: it reads bytes and returns facts, so the host tests it with broken trees. Nothing in a tree can make it
//! panic; what is missing or absurd is left out and [`Board::complaint`] says so.
//!
//! References: Devicetree Specification 0.4; Linux `Documentation/arch/arm64/booting.rst` (spin-table).
use crate::atags::{self, Atag};
use crate::map::{CPUS, SPIN_TABLE};
use core::fmt;
use core::ops::Range;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

/// Largest device tree that is accepted, bytes. The Pi's own is about 60 KiB with overlays applied.
pub const MAX_BYTES: usize = 128 * 1024;
const FDT_MAGIC: u32 = 0xD00D_FEED;
/// Memory that every Pi 4 leaves to the cores, when nothing says how much there is.
const LEAST_MEMORY: Range<usize> = 0..0x3000_0000;

/// How many bytes of the firmware's data to keep, from its first eight bytes (as a little-endian word).
pub const fn bytes_to_copy(head: u64) -> usize {
    let (first, second) = (head as u32, (head >> 32) as u32);
    if first == FDT_MAGIC.swap_bytes() {
        let total = second.swap_bytes() as usize;
        // A length beyond the buffer makes a truncated tree, which the parser then refuses.
        if total > MAX_BYTES {
            MAX_BYTES
        } else {
            total.next_multiple_of(8)
        }
    } else if second == atags::CORE {
        atags::BYTES
    } else {
        0
    }
}

/// The first eight bytes of a copy of `bytes` bytes: a device tree's length becomes that of the copy, for BL31 leaves up
/// to a MiB of room behind the tree and counts it in. A length over 2 MiB, which the arm64 boot protocol forbids, is
/// left as it is, for the parser to refuse.
pub const fn with_length(head: u64, bytes: usize) -> u64 {
    const MOST: u32 = 2 << 20;
    if head as u32 == FDT_MAGIC.swap_bytes() && ((head >> 32) as u32).swap_bytes() <= MOST {
        head & 0xFFFF_FFFF | ((bytes as u32).swap_bytes() as u64) << 32
    } else {
        head
    }
}

/// The instruction that reaches PSCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// Secure monitor call: firmware in EL3.
    Smc,
    /// Hypervisor call.
    Hvc,
}

/// How the other cores are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// PSCI firmware.
    Psci(Conduit),
    /// Each core polls a word for its entry address; physical addresses of the words.
    SpinTable([u64; CPUS]),
}

impl Method {
    /// The method's name, as the device tree spells it.
    pub const fn name(&self) -> &'static str {
        match self {
            Method::Psci(_) => "psci",
            Method::SpinTable(_) => "spin-table",
        }
    }
}

/// A few address ranges; what does not fit is dropped.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    ranges: [Range<usize>; 16],
    len: usize,
}

impl Ranges {
    fn push(&mut self, base: u64, bytes: u64) {
        let end = base.saturating_add(bytes);
        if bytes != 0 && self.len < self.ranges.len() {
            self.ranges[self.len] = base as usize..end as usize;
            self.len += 1;
        }
    }

    /// The ranges, in the order they were found.
    pub fn as_slice(&self) -> &[Range<usize>] {
        &self.ranges[..self.len]
    }
}

/// What is known about the board.
pub struct Board<'a> {
    /// `model` of the device tree.
    pub model: &'a str,
    /// How to start cores; `None`: unknown, stay on one.
    pub method: Option<Method>,
    /// RAM.
    pub memory: Ranges,
    /// Parts of it that are not the kernel's to use.
    pub reserved: Ranges,
    /// Kernel command line.
    pub command_line: &'a str,
    /// Ethernet address that the firmware put into the tree.
    pub mac: Option<[u8; 6]>,
    /// Where EMMC2 sees the first GiB on its own bus; `None`: unknown, no DMA. The BCM2711 B0 adds an offset, C0 none.
    pub emmc2_bus: Option<u32>,
    /// Random bytes that the firmware put into the tree; empty: none.
    pub rng_seed: &'a [u8],
    /// What is wrong with the firmware's data.
    pub complaint: Option<Complaint>,
}

/// Why the board is not known as well as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Neither a device tree nor ATAGs were passed.
    Nothing,
    /// ATAGs were passed: the stub's conventions are assumed.
    Atags,
    /// A device tree was passed that does not parse.
    Broken(dtoolkit::error::FdtParseError),
    /// The tree has no usable `/memory`.
    NoMemory,
    /// The tree has neither `/psci` nor a spin table.
    NoMethod,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Complaint::Nothing => {
                f.write_str("no device tree from the firmware: one CPU, 768 MiB assumed")
            }
            Complaint::Atags => {
                f.write_str("ATAGs instead of a device tree: stock boot stub assumed")
            }
            Complaint::Broken(error) => {
                write!(f, "broken device tree ({error}): one CPU, 768 MiB assumed")
            }
            Complaint::NoMemory => f.write_str("device tree without memory: 768 MiB assumed"),
            Complaint::NoMethod => f.write_str("device tree without psci or spin-table: one CPU"),
        }
    }
}

impl<'a> Board<'a> {
    fn unknown(complaint: Complaint) -> Self {
        let mut memory = Ranges::default();
        memory.push(LEAST_MEMORY.start as u64, LEAST_MEMORY.len() as u64);
        Board {
            model: "unknown board",
            method: None,
            memory,
            reserved: Ranges::default(),
            command_line: "",
            mac: None,
            emmc2_bus: None,
            rng_seed: &[],
            complaint: Some(complaint),
        }
    }

    /// Reads what `bytes_to_copy` kept of the firmware's data.
    pub fn parse(data: &'a [u8]) -> Self {
        if data.len() < 8 {
            return Self::unknown(Complaint::Nothing);
        }
        if data[4..8] == atags::CORE.to_le_bytes() {
            return Self::from_atags(data);
        }
        match Fdt::new(data) {
            Ok(fdt) => Self::from_fdt(fdt),
            Err(error) => Self::unknown(Complaint::Broken(error)),
        }
    }

    fn from_fdt(fdt: Fdt<'a>) -> Self {
        let root = fdt.root();
        let mut board = Self::unknown(Complaint::NoMemory);
        board.complaint = None;
        board.model = text(&root, "model").unwrap_or(board.model);

        let mut memory = Ranges::default();
        for node in root
            .children()
            .filter(|n| n.name_without_address() == "memory")
        {
            push_reg(&mut memory, node);
        }
        if memory.as_slice().is_empty() {
            board.complaint = Some(Complaint::NoMemory);
        } else {
            board.memory = memory;
        }

        for reservation in fdt.memory_reservations() {
            board
                .reserved
                .push(reservation.address(), reservation.size());
        }
        for node in root
            .child("reserved-memory")
            .into_iter()
            .flat_map(|n| n.children())
        {
            push_reg(&mut board.reserved, node);
        }

        if let Some(chosen) = root.child("chosen") {
            board.command_line = text(&chosen, "bootargs").unwrap_or("");
            board.rng_seed = chosen
                .property("rng-seed")
                .and_then(|p| p.value_as().ok())
                .unwrap_or(&[]);
        }
        let ethernet = root.child("aliases").and_then(|n| text(&n, "ethernet0"));
        if let Some(node) = ethernet.and_then(|path| fdt.find_node(path)) {
            let mac = node
                .property("local-mac-address")
                .and_then(|p| p.value().try_into().ok());
            board.mac = mac.filter(|mac: &[u8; 6]| mac != &[0; 6] && mac[0] & 1 == 0);
        }
        let alias = root.child("aliases").and_then(|n| text(&n, "emmc2bus"));
        let bus = fdt.find_node(alias.unwrap_or("/emmc2bus"));
        board.emmc2_bus = bus.and_then(address_of_memory);
        board.method = method(&root);
        if board.method.is_none() && board.complaint.is_none() {
            board.complaint = Some(Complaint::NoMethod);
        }
        board
    }

    /// What the stock firmware and QEMU's loader pass without a device tree.
    fn from_atags(data: &'a [u8]) -> Self {
        let mut board = Self::unknown(Complaint::Atags);
        board.method = Some(Method::SpinTable(SPIN_TABLE));
        let mut memory = Ranges::default();
        for tag in atags::read(data) {
            match tag {
                Atag::Memory { base, bytes } => {
                    // QEMU counts the VideoCore's part of the first GiB and may name the device window.
                    let end = (base + bytes).min(LEAST_MEMORY.end as u64);
                    memory.push(base, end.saturating_sub(base));
                }
                Atag::CommandLine(line) => board.command_line = line,
            }
        }
        if !memory.as_slice().is_empty() {
            board.memory = memory;
        }
        board
    }
}

fn text<'a>(node: &FdtNode<'a>, name: &str) -> Option<&'a str> {
    node.property(name)?.value_as::<&str>().ok()
}

/// What the devices of a bus add to a physical address of the first GiB.
fn address_of_memory(bus: FdtNode) -> Option<u32> {
    let mut ranges = bus.dma_ranges().ok()??;
    let from_zero = ranges.find(|range| range.parent_bus_address::<u64>() == Ok(0))?;
    (from_zero.length::<u64>().ok()? >= 1 << 30)
        .then(|| from_zero.child_bus_address::<u64>().ok()?.try_into().ok())?
}

fn push_reg(ranges: &mut Ranges, node: FdtNode) {
    for reg in node.reg().ok().flatten().into_iter().flatten() {
        if let (Ok(base), Ok(bytes)) = (reg.address::<u64>(), reg.size::<u64>()) {
            ranges.push(base, bytes);
        }
    }
}

fn method(root: &FdtNode) -> Option<Method> {
    // The node, not the CPUs' enable-method, decides: only who adds a `/psci` node answers an SMC.
    if let Some(psci) = root.child("psci") {
        return match text(&psci, "method") {
            Some("smc") => Some(Method::Psci(Conduit::Smc)),
            Some("hvc") => Some(Method::Psci(Conduit::Hvc)),
            _ => None,
        };
    }
    let mut release = [0; CPUS];
    for node in root
        .child("cpus")?
        .children()
        .filter(|n| n.name_without_address() == "cpu")
    {
        let cpu = node.reg().ok()??.next()?.address::<u64>().ok()? as usize;
        if text(&node, "enable-method") == Some("spin-table") && cpu < CPUS {
            release[cpu] = match node.property("cpu-release-addr")?.value() {
                value if value.len() == 4 => u64::from(u32::from_be_bytes(value.try_into().ok()?)),
                value => u64::from_be_bytes(value.try_into().ok()?),
            };
        }
    }
    release[1..]
        .iter()
        .all(|at| *at != 0 && *at < 0x4000_0000 && at % 8 == 0)
        .then_some(Method::SpinTable(release))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
    use std::vec::Vec;

    #[test]
    fn nothing_and_rubbish_leave_one_cpu() {
        assert_eq!(bytes_to_copy(0), 0);
        let board = Board::parse(&[]);
        assert_eq!(
            (board.method, board.complaint),
            (None, Some(Complaint::Nothing))
        );
        let board = Board::parse(&[0xD0, 0x0D, 0xFE, 0xED, 0, 0, 1, 0]);
        assert!(board.method.is_none());
        assert!(matches!(board.complaint, Some(Complaint::Broken(_))));
    }

    #[test]
    fn a_length_beyond_the_buffer_is_cut_and_an_absurd_one_refused() {
        let head =
            |bytes: u32| u64::from(FDT_MAGIC.swap_bytes()) | u64::from(bytes.swap_bytes()) << 32;
        assert_eq!(bytes_to_copy(head(0x11_0000)), MAX_BYTES);
        assert_eq!(
            with_length(head(0x11_0000), MAX_BYTES),
            head(MAX_BYTES as u32)
        );
        assert_eq!(with_length(head(0x7FFF_FFFF), MAX_BYTES), head(0x7FFF_FFFF));
    }

    /// A tree as TF-A leaves it: psci, memory in two parts, reservations, a MAC address.
    fn tree() -> Vec<u8> {
        let node = |name: &str, properties: &[(&str, &[u8])]| {
            let mut builder = DeviceTreeNode::builder(name).unwrap();
            for (name, value) in properties {
                builder = builder.property(DeviceTreeProperty::new(*name, *value).unwrap());
            }
            builder
        };
        let words = |words: &[u32]| {
            words
                .iter()
                .flat_map(|w| w.to_be_bytes())
                .collect::<Vec<u8>>()
        };
        let (one, two) = (words(&[1]), words(&[2]));
        let root_cells: [(&str, &[u8]); 2] = [("#address-cells", &two), ("#size-cells", &one)];
        let memory = words(&[0, 0, 0x3B40_0000, 0, 0x4000_0000, 0xBC00_0000]);
        let mut tree = DeviceTree::new();
        for (name, value) in root_cells.iter().chain(&[("model", b"Pi\0" as &[u8])]) {
            tree.root
                .add_property(DeviceTreeProperty::new(*name, *value).unwrap());
        }
        let atf = node("atf@0", &[("reg", &words(&[0, 0, 0x8_0000]))]).build();
        let ranges = words(&[0, 0xC000_0000, 0, 0, 0x4000_0000]);
        for child in [
            node("aliases", &[("ethernet0", b"/ethernet@1\0")]),
            node("emmc2bus", &root_cells)
                .property(DeviceTreeProperty::new("dma-ranges", ranges).unwrap()),
            node(
                "chosen",
                &[
                    ("bootargs", b"panic=halt log=info\0"),
                    ("rng-seed", b"seed"),
                ],
            ),
            node("memory@0", &[("reg", &memory)]),
            node("psci", &[("method", b"smc\0")]),
            node(
                "ethernet@1",
                &[("local-mac-address", &[0xDC, 0xA6, 0x32, 1, 2, 3])],
            ),
            node("reserved-memory", &root_cells).child(atf),
        ] {
            tree.root.add_child(child.build());
        }
        tree.to_dtb()
    }

    #[test]
    fn a_whole_tree_is_read() {
        let bytes = tree();
        let board = Board::parse(&bytes);
        assert_eq!(board.complaint, None);
        assert_eq!(board.method, Some(Method::Psci(Conduit::Smc)));
        assert_eq!(
            board.memory.as_slice(),
            &[0..0x3B40_0000, 0x4000_0000..0xFC00_0000]
        );
        assert_eq!(
            board.reserved.as_slice(),
            core::slice::from_ref(&(0..0x8_0000))
        );
        assert_eq!(
            (board.model, board.command_line),
            ("Pi", "panic=halt log=info")
        );
        assert_eq!(board.mac, Some([0xDC, 0xA6, 0x32, 1, 2, 3]));
        assert_eq!(board.emmc2_bus, Some(0xC000_0000));
        assert_eq!(board.rng_seed, b"seed");
    }

    /// Every prefix, its length corrected as the boot copy's is; then 50,000 trees with a few bytes changed.
    #[test]
    fn no_tree_can_make_it_panic() {
        let good = tree();
        for length in 0..good.len() {
            let mut cut = good[..length].to_vec();
            if length >= 8 {
                cut[4..8].copy_from_slice(&(length as u32).to_be_bytes());
            }
            assert!(Board::parse(&cut).complaint.is_some(), "cut to {length}");
        }
        let mut seed = 7u64;
        let mut random = move |below: usize| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as usize % below
        };
        for _ in 0..50_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + random(4) {
                let at = random(bytes.len());
                bytes[at] = [0, 0xFF, bytes[at] ^ 1 << random(8), random(256) as u8][random(4)];
            }
            let _ = Board::parse(&bytes);
        }
    }
}
