// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the Pi's firmware writes into the device tree before the kernel sees it.
//!
//! QEMU's raspi4b has no such firmware, so where BL31 is booted this module stands in for it:
//! memory, command line and MAC address.

use anyhow::{Context, Result, anyhow};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

/// QEMU's raspi4b has 2 GiB; as on the board the top of the first GiB is the video core's.
pub const QEMU_MEMORY: [(u64, u64); 2] = [(0, 0x3c00_0000), (0x4000_0000, 0x4000_0000)];
/// So much memory EMMC2 reaches on a stepping that reaches all.
const EMMC2_REACH: u64 = 0xfc00_0000;
/// Room that is left for BL31, which adds nodes in place.
const PADDING: usize = 0x2000;

/// Sets /memory@0, /chosen/bootargs (if given) and the Ethernet address, and adds room.
pub fn as_firmware_would(
    dtb: &[u8],
    memory: &[(u64, u64)],
    bootargs: Option<&str>,
    mac: [u8; 6],
) -> Result<Vec<u8>> {
    let fdt = Fdt::new(dtb).map_err(|e| anyhow!("the device tree is damaged: {e}"))?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    let (address_cells, size_cells) = (
        cells(&tree.root, "#address-cells", 2),
        cells(&tree.root, "#size-cells", 1),
    );
    let mut reg = Vec::new();
    for &(start, size) in memory {
        reg.extend(number(start, address_cells));
        reg.extend(number(size, size_cells));
    }
    let node = child(&mut tree.root, "memory@0")?;
    set(node, "device_type", b"memory\0".to_vec())?;
    set(node, "reg", reg)?;
    if let Some(bootargs) = bootargs {
        let mut text = bootargs.as_bytes().to_vec();
        text.push(0);
        set(child(&mut tree.root, "chosen")?, "bootargs", text)?;
    }
    if let Some(path) = string(&tree, "/aliases", "ethernet0")
        && let Some(ethernet) = tree.find_node_mut(&path)
    {
        set(ethernet, "local-mac-address", mac.to_vec())?;
    }
    let emmc2bus = string(&tree, "/aliases", "emmc2bus").unwrap_or("/emmc2bus".into());
    if let Some(bus) = tree.find_node_mut(&emmc2bus) {
        // As on a BCM2711 of stepping C0: EMMC2 sees memory where the cores do.
        let (bus_cells, size_cells) = (
            cells(bus, "#address-cells", 2),
            cells(bus, "#size-cells", 1),
        );
        let from_zero = number(0, bus_cells + address_cells);
        let all = number(EMMC2_REACH, size_cells);
        set(bus, "dma-ranges", [from_zero, all].concat())?;
    }
    Ok(pad(tree.to_dtb()))
}

fn cells(node: &DeviceTreeNode, name: &str, default: usize) -> usize {
    (&node)
        .property(name)
        .and_then(|p| p.value().last().copied())
        .map_or(default, usize::from)
}

fn number(n: u64, cells: usize) -> Vec<u8> {
    u128::from(n).to_be_bytes()[16 - 4 * cells.min(4)..].to_vec()
}

fn string(tree: &DeviceTree, path: &str, name: &str) -> Option<String> {
    let node = tree.find_node(path)?;
    let value = node.property(name)?.value().to_vec();
    String::from_utf8(value)
        .ok()
        .map(|s| s.trim_end_matches('\0').to_owned())
}

fn child<'a>(parent: &'a mut DeviceTreeNode, name: &str) -> Result<&'a mut DeviceTreeNode> {
    if parent.child_mut(name).is_none() {
        let node = DeviceTreeNode::new(name).map_err(|e| anyhow!("node {name}: {e}"))?;
        parent.add_child(node);
    }
    parent.child_mut(name).context("a node that was just added")
}

fn set(node: &mut DeviceTreeNode, name: &str, value: Vec<u8>) -> Result<()> {
    let property =
        DeviceTreeProperty::new(name, value).map_err(|e| anyhow!("property {name}: {e}"))?;
    node.remove_property(name);
    node.add_property(property);
    Ok(())
}

/// Grows the blob by [`PADDING`] and says so in its `totalsize`.
fn pad(mut dtb: Vec<u8>) -> Vec<u8> {
    dtb.resize(dtb.len() + PADDING, 0);
    let total = u32::try_from(dtb.len()).expect("a device tree is small");
    dtb[4..8].copy_from_slice(&total.to_be_bytes());
    dtb
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(dtb: &[u8], path: &str, name: &str) -> Vec<u8> {
        let tree = DeviceTree::from_fdt(&Fdt::new(dtb).unwrap());
        let node = tree.find_node(path).unwrap();
        node.property(name).unwrap().value().to_vec()
    }

    #[test]
    fn memory_follows_the_trees_cells() {
        let mut tree = DeviceTree::new();
        set(&mut tree.root, "#address-cells", vec![0, 0, 0, 2]).unwrap();
        set(&mut tree.root, "#size-cells", vec![0, 0, 0, 1]).unwrap();
        let memory = [(0x1_0000_0000, 0x4000_0000)];
        let dtb = as_firmware_would(&tree.to_dtb(), &memory, Some("a=1"), [0; 6]).unwrap();
        let reg = property(&dtb, "/memory@0", "reg");
        assert_eq!(reg, [0, 0, 0, 1, 0, 0, 0, 0, 0x40, 0, 0, 0]);
        assert_eq!(property(&dtb, "/chosen", "bootargs"), b"a=1\0");
    }

    #[test]
    fn ethernet_is_found_by_its_alias() {
        let mut tree = DeviceTree::new();
        child(&mut tree.root, "ethernet@1").unwrap();
        let aliases = child(&mut tree.root, "aliases").unwrap();
        set(aliases, "ethernet0", b"/ethernet@1\0".to_vec()).unwrap();
        let dtb = as_firmware_would(&tree.to_dtb(), &[], None, [2, 0, 0, 0, 0, 7]).unwrap();
        let mac = property(&dtb, "/ethernet@1", "local-mac-address");
        assert_eq!(mac, [2, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn emmc2_sees_memory_where_the_cores_do() {
        let mut tree = DeviceTree::new();
        let bus = child(&mut tree.root, "emmc2bus").unwrap();
        set(bus, "dma-ranges", vec![1; 20]).unwrap();
        let dtb = as_firmware_would(&tree.to_dtb(), &[], None, [0; 6]).unwrap();
        let ranges = property(&dtb, "/emmc2bus", "dma-ranges");
        assert_eq!(ranges, [vec![0; 16], vec![0xfc, 0, 0, 0]].concat());
    }

    #[test]
    fn there_is_room_for_bl31() {
        let dtb = as_firmware_would(&DeviceTree::new().to_dtb(), &[], None, [0; 6]).unwrap();
        let total = u32::from_be_bytes(dtb[4..8].try_into().unwrap());
        assert_eq!(total as usize, dtb.len());
        assert!(dtb[dtb.len() - PADDING..].iter().all(|&b| b == 0));
    }

    #[test]
    fn damaged_trees_are_refused() {
        assert!(as_firmware_would(b"no tree", &[], None, [0; 6]).is_err());
    }
}
