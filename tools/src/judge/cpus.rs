// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux switches cores off and on again through Trusted Firmware-A, as on the board.
//!
//! BL31 is the armstub, as `orthogon-run` starts it; behind it Linux finds PSCI. That a core comes
//! back is seen by a program that runs on it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::guest::{Guest, READY, Setup};
use super::linux;
use crate::dtb::{QEMU_MEMORY, as_firmware_would};
use crate::qemu::{DTB_ADDRESS, Qemu, loader};
use crate::{read, write};

const KERNEL_ADDRESS: u64 = 0x20_0000;
const INITRD_ADDRESS: u64 = 0x820_0000;
const BOOT: Duration = Duration::from_secs(180);
const TIME: Duration = Duration::from_secs(120);
/// BL31 calls a core off a moment before it is, and loses one that is asked back in that moment.
const SETTLE: &str = "usleep 200000";

/// Boots Linux to its shell by way of BL31.
pub fn boot(setup: &Setup) -> Result<Guest> {
    let scratch = setup.scratch;
    let (initrd, tree) = linux::prepare(scratch, &[])?;
    for node in [linux::RNG, linux::AVS] {
        linux::fdtput(&tree, &["-t", "s", node, "status", "okay"])?;
    }
    let end = INITRD_ADDRESS + std::fs::metadata(&initrd)?.len();
    for (name, value) in [("start", INITRD_ADDRESS), ("end", end)] {
        let (name, value) = (format!("linux,initrd-{name}"), format!("{value:x}"));
        linux::fdtput(&tree, &["-t", "x", "/chosen", &name, &value])?;
    }
    let bytes = read(&tree, "the tree that was just written")?;
    let bytes = as_firmware_would(&bytes, &QEMU_MEMORY, Some(linux::COMMAND_LINE), linux::MAC)?;
    write(&tree, &bytes)?;
    let firmware = Qemu {
        kernel_addr: KERNEL_ADDRESS,
        ..Qemu::default()
    };
    let bl31 = scratch.join("bl31.bin");
    write(&bl31, &firmware.patched_bl31()?)?;
    let mut q = super::qemu(setup, &[])?;
    // BL31 leaves a GIC without them in a state in which Linux gets no interrupts.
    q.args(["-global", "arm_gic.has-security-extensions=on"]);
    for device in [
        "pi4-cpus",
        "pi4-pm,id=pm",
        "pi4-rng,id=rng",
        "pi4-avs,id=avs",
    ] {
        q.args(["-device", device]);
    }
    for (file, address) in [
        (&bl31, 0),
        (&linux::folder().join("Image"), KERNEL_ADDRESS),
        (&tree, DTB_ADDRESS.into()),
        (&initrd, INITRD_ADDRESS),
    ] {
        q.arg("-device").arg(loader(file, address));
    }
    let mut guest = Guest::start(q, scratch)?;
    guest.expect(READY, BOOT)?;
    Ok(guest)
}

/// PSCI is there, and brought all four cores up.
pub fn firmware(guest: &mut Guest) -> Result<String> {
    let log = guest.ask("dmesg | grep psci:")?;
    let line = log
        .lines()
        .find(|line| line.contains("detected in firmware"));
    let version = line.and_then(|line| line.rsplit("psci: ").next());
    ensure!(version.is_some(), "{log}");
    let online = guest.ask("cat /sys/devices/system/cpu/online")?;
    ensure!(online.trim() == "0-3", "online: {online}");
    Ok(version.unwrap_or_default().to_owned())
}

/// Each core but the first goes off and on, alone and all together.
pub fn off_and_on(guest: &mut Guest, times: u32) -> Result<String> {
    let put = "put() { echo $2 >/sys/devices/system/cpu/cpu$1/online; }";
    let ran = "ran() { taskset $((1 << $1)) true; }";
    let one =
        format!("one() {{ put $1 0 && ! ran $1 2>/dev/null && {SETTLE} && put $1 1 && ran $1; }}");
    let all = format!(
        "all() {{ put 1 0 && put 2 0 && put 3 0 && [ $(cat /sys/devices/system/cpu/online) = 0 ] && \
         {SETTLE} && put 3 1 && put 1 1 && put 2 1 && ran 1 && ran 2 && ran 3; }}"
    );
    for function in [put, ran, &one, &all] {
        guest.ask(function)?;
    }
    let round = "one 1 && one 2 && one 3 && all";
    for n in 0..times {
        let (said, status) = guest.shell(round, TIME)?;
        ensure!(
            status == 0,
            "round {n}: {said}{}",
            guest.ask("dmesg | tail")?
        );
    }
    let killed = guest.ask("dmesg | grep -c 'psci: CPU[123] killed'")?;
    let killed: u32 = killed.trim().parse()?;
    ensure!(killed == 6 * times, "PSCI took cores off {killed} times");
    Ok(format!("{killed} times"))
}
