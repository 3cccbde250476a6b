// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's Linux for the emulated board: its initrd and its device tree.
//!
//! Nothing of Linux is changed. The initrd holds busybox, ethtool, the modules of the drivers
//! that are judged with all that they depend on, and an init that runs what the console says.
//! The device tree is the board's own, less the nodes that QEMU has no device for, and with
//! what the Pi's firmware would have written into it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection};

use crate::read;

/// The drivers that are judged, those of PHY and card, and what sends frames as fast as a driver takes them.
const MODULES: [&str; 9] = [
    "genet",
    "mdio-bcm-unimac",
    "broadcom",
    "sdhci-iproc",
    "mmc_block",
    "bcm2835-wdt",
    "iproc-rng200",
    "bcm2711-thermal",
    "pktgen",
];
/// Nodes without a device in QEMU's raspi4b, or that stop the boot there. QEMU itself removes those of the
/// generator and of the sensor from a tree that it loads.
const ABSENT: [&str; 13] = [
    "/soc/hvs@7e400000",
    "/soc/avs-monitor@7d5d2000",
    "/soc/clock@7ef00000",
    "/soc/interrupt-controller@7ef00100",
    "/soc/hdmi@7ef00700",
    "/soc/hdmi@7ef05700",
    "/soc/i2c@7ef04500",
    "/soc/i2c@7ef09500",
    "/gpu",
    "/soc/rng@7e104000",
    "/scb/pcie@7d500000",
    "/wifi-pwrseq",
    "/regulator-sd-io-1v8",
];
/// Of these, the pack has devices.
pub const RNG: &str = "/soc/rng@7e104000";
/// As above.
pub const AVS: &str = "/soc/avs-monitor@7d5d2000";
const ETHERNET: &str = "/scb/ethernet@7d580000";
const EMMC2: &str = "/emmc2bus/mmc@7e340000";
const ARASAN: &str = "/soc/mmc@7e300000";
/// What Linux is told: where its console is, and what it runs.
pub const COMMAND_LINE: &str = "console=ttyAMA0,115200 rdinit=/init panic=-1 quiet loglevel=4";
/// The guest's Ethernet address, one of the Pi's maker's.
pub const MAC: [u8; 6] = [0xdc, 0xa6, 0x32, 1, 2, 3];

/// Runs each line that the console hands it, and says how it ended.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /tmp
while read -r m; do insmod "/modules/$m" || echo "judge: no module $m"; done </modules/order
stty -echo
echo "=== READY"
while read -r line; do eval "$line"; echo "=== RC $?"; done
poweroff -f
"#;

/// Where `make setup` puts Linux.
pub fn folder() -> PathBuf {
    crate::root().join(".cache/judge")
}

/// Writes the initrd, with further programs in it, and the device tree to `scratch`.
pub fn prepare(scratch: &Path, programs: &[&Path]) -> Result<(PathBuf, PathBuf)> {
    let from = folder();
    ensure!(
        from.join("complete").exists(),
        "there is no Linux in {}; `tools/setup.sh judge` fetches it",
        from.display()
    );
    fs::create_dir_all(scratch)?;
    let initrd = scratch.join("initrd");
    crate::write(&initrd, &initrd_of(&from, programs)?)?;
    let dtb = scratch.join("linux.dtb");
    fs::copy(from.join("board.dtb"), &dtb).context("the device tree of this Linux")?;
    edit_dtb(&dtb)?;
    Ok((initrd, dtb))
}

fn initrd_of(from: &Path, programs: &[&Path]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "lib", "modules", "proc", "sys", "tmp"] {
        archive.entry(folder, 0o040_755, &[]);
    }
    archive.entry("init", 0o100_755, INIT.as_bytes());
    let own = ["busybox", "ethtool"].map(|program| from.join("bin").join(program));
    for program in own
        .iter()
        .map(PathBuf::as_path)
        .chain(programs.iter().copied())
    {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let bytes = read(program, "tools/setup.sh judge")?;
        archive.entry(&format!("bin/{name}"), 0o100_755, &bytes);
    }
    for library in fs::read_dir(from.join("lib"))? {
        let path = library?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.entry(&format!("lib/{name}"), 0o100_755, &fs::read(&path)?);
    }
    let mut order = String::new();
    for (name, bytes) in modules(&from.join("modules"))? {
        archive.entry(&format!("modules/{name}"), 0o100_644, &bytes);
        order += &format!("{name}\n");
    }
    archive.entry("modules/order", 0o100_644, order.as_bytes());
    Ok(archive.finish())
}

/// The modules with all that they need, in an order in which they can be loaded.
fn modules(tree: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    walk(tree, &mut files)?;
    let mut loaded = Vec::new();
    let mut seen = BTreeSet::new();
    for module in MODULES {
        load(module, &files, &mut seen, &mut loaded)?;
    }
    Ok(loaded)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Module names are the same with a hyphen and with an underscore.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

fn load(
    module: &str,
    files: &[PathBuf],
    seen: &mut BTreeSet<String>,
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if !seen.insert(plain(module)) {
        return Ok(());
    }
    let wanted = plain(module) + ".ko";
    let is_it = |file: &&PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        plain(name.trim_end_matches(".xz")) == wanted
    };
    let Some(file) = files.iter().find(is_it) else {
        return Ok(()); // built into the kernel
    };
    let bytes = if file.extension().is_some_and(|e| e == "xz") {
        let output = Command::new("xz").arg("-dc").arg(file).output();
        let output = output.context("cannot start xz")?;
        ensure!(output.status.success(), "xz -dc {} failed", file.display());
        output.stdout
    } else {
        fs::read(file)?
    };
    for need in needs(&bytes)? {
        load(&need, files, seen, loaded)?;
    }
    loaded.push((wanted, bytes));
    Ok(())
}

/// What a module says that it needs.
fn needs(module: &[u8]) -> Result<Vec<String>> {
    let elf = object::File::parse(module)?;
    let info = elf.section_by_name(".modinfo").context("no .modinfo")?;
    let data = info.data()?;
    let depends = data
        .split(|byte| *byte == 0)
        .find_map(|line| line.strip_prefix(b"depends="))
        .unwrap_or_default();
    let names = String::from_utf8_lossy(depends);
    let names = names.split(',').filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

/// A cpio archive in the "newc" form.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.inode += 1;
        let fields = [
            self.inode,
            mode,
            0,
            0,
            1,
            0,
            data.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

/// Runs `fdtput` on a tree: options, then node, property and values.
pub fn fdtput(dtb: &Path, arguments: &[&str]) -> Result<()> {
    // Options go before the file, node, property and values behind it.
    let options = arguments
        .iter()
        .take_while(|a| a.starts_with('-') || !a.starts_with('/'))
        .count();
    let mut command = Command::new("fdtput");
    command.args(&arguments[..options]).arg(dtb);
    let output = command.args(&arguments[options..]).output();
    let output = output.context("cannot start fdtput (device-tree-compiler)")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("fdtput {arguments:?}: {why}");
    }
    Ok(())
}

fn edit_dtb(dtb: &Path) -> Result<()> {
    let put = |arguments: &[&str]| fdtput(dtb, arguments);
    for node in ABSENT {
        put(&["-t", "s", node, "status", "disabled"])?;
    }
    // The 1.8 V regulators hang on the firmware's GPIO expander, which QEMU has not.
    for supply in ["vqmmc-supply", "vmmc-supply"] {
        put(&["-d", EMMC2, supply])?;
    }
    // As the firmware sets it on the newer stepping: EMMC2 sees memory where the cores do.
    put(&[
        "-t",
        "x",
        "/emmc2bus",
        "dma-ranges",
        "0",
        "0",
        "0",
        "0",
        "fc000000",
    ])?;
    // No Wi-Fi on the older controller.
    put(&["-t", "s", ARASAN, "status", "disabled"])?;
    // A serial port with a Bluetooth chip on it is no terminal.
    put(&["-r", "/soc/serial@7e201000/bluetooth"])?;
    // QEMU removes nodes that say they are a BCM2711's GENET; the driver takes the older name, too.
    put(&["-t", "s", ETHERNET, "compatible", "brcm,genet-v5"])?;
    put(&["-t", "s", ETHERNET, "status", "okay"])?;
    let mac: Vec<String> = MAC.iter().map(|byte| format!("{byte:x}")).collect();
    let mut address = vec!["-t", "bx", ETHERNET, "local-mac-address"];
    address.extend(mac.iter().map(String::as_str));
    put(&address)?;
    // A fixed seed on purpose: runs repeat.
    put(&[
        "-t", "x", "/chosen", "rng-seed", "5eed1", "5eed2", "5eed3", "5eed4", "5eed5", "5eed6",
        "5eed7", "5eed8",
    ])?;
    put(&["-t", "s", "/chosen", "stdout-path", "serial0:115200n8"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_the_archive_has_an_end() {
        let mut archive = Archive::default();
        archive.entry("a", 0o100_644, b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 2);
        // 6 + 13 * 8 bytes of header, a name of two bytes.
        assert_eq!(&text[112..117], "12345");
        assert!(text.contains("TRAILER!!!"));
    }
}
