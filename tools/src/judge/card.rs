// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Linux's `sdhci-iproc` must be able to do on the pack's EMMC2.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::guest::Guest;

const MIB: u64 = 1024 * 1024;
const TIME: Duration = Duration::from_secs(180);
/// Bytes into the card at which the test writes.
const AT_MIB: u64 = 5;

/// A kind of card, and what Linux calls it.
pub struct Kind {
    /// For the verdict.
    pub name: &'static str,
    /// Its size.
    pub mib: u64,
    /// Properties of `pi4-emmc2`.
    pub device: &'static str,
    /// In the kernel's log.
    says: &'static str,
}

/// The kinds that are judged.
pub const KINDS: [Kind; 4] = [
    Kind {
        name: "SDSC",
        mib: 1024,
        device: "medium=sd",
        says: "new high speed SD card",
    },
    Kind {
        name: "SDHC",
        mib: 8 << 10,
        device: "medium=sd",
        says: "new ultra high speed DDR50 SDHC card",
    },
    Kind {
        name: "SDXC",
        mib: 64 << 10,
        device: "medium=sd",
        says: "new ultra high speed DDR50 SDXC card",
    },
    Kind {
        name: "eMMC",
        mib: 8 << 10,
        device: "medium=emmc",
        says: "new DDR MMC card",
    },
];

/// Linux takes it for what it is, and sees all of it.
pub fn is(guest: &mut Guest, kind: &Kind) -> Result<String> {
    let log = guest.ask("dmesg | grep mmc0:")?;
    let line = log.lines().find(|line| line.contains(": new "));
    let line = line.with_context(|| format!("no card: {log}"))?;
    ensure!(line.contains(kind.says), "{log}");
    let sectors = guest.ask("cat /sys/class/block/mmcblk0/size")?;
    ensure!(
        sectors.trim().parse() == Ok(kind.mib << 11),
        "{sectors} sectors"
    );
    Ok(line.rsplit("] ").next().unwrap_or(line).to_owned())
}

/// What is discarded reads as zeros, what is beside it does not.
pub fn discard(guest: &mut Guest) -> Result<String> {
    let (at, bytes) = ((AT_MIB + 32) * MIB, 8 * MIB);
    guest.ask(&format!(
        "tr '\\0' x </dev/zero | dd of=/dev/mmcblk0 bs=1M seek={} count=10 iflag=fullblock oflag=direct 2>&1",
        AT_MIB + 31
    ))?;
    guest.ask(&format!("blkdiscard -o {at} -l {bytes} /dev/mmcblk0"))?;
    let line = format!(
        "dd if=/dev/mmcblk0 bs=1M skip={} count=10 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c",
        AT_MIB + 31
    );
    let left: u64 = guest.ask(&line)?.trim().parse()?;
    ensure!(left == 2 * MIB, "{left} bytes are left of 10 MiB");
    Ok("8 MiB are zeros, what is beside them is not".into())
}

/// `sync` reaches the medium where the card has a cache.
pub fn flush(guest: &mut Guest, kind: &Kind) -> Result<String> {
    let cache = guest.ask("cat /sys/class/block/mmcblk0/queue/write_cache")?;
    let caches = kind.device == "medium=emmc";
    let expected = ["write through", "write back"][usize::from(caches)];
    ensure!(cache.trim() == expected, "{cache}");
    let before = flushes(guest)?;
    guest.ask("dd if=/dev/zero of=/dev/mmcblk0 bs=4k count=1 conv=fsync 2>&1")?;
    let after = flushes(guest)?;
    ensure!((after > before) == caches, "{before} flushes, then {after}");
    Ok(format!("{expected} cache, {} flushes", after - before))
}

fn flushes(guest: &Guest) -> Result<u64> {
    let counters = guest.property("emmc2", "counters")?;
    let number = counters.rsplit("flushes=").next().unwrap_or_default();
    number.parse().with_context(|| counters.clone())
}

/// No complaint from the driver, none from the model.
pub fn silence(guest: &mut Guest) -> Result<String> {
    let log = guest
        .ask("dmesg | grep -iE 'mmc|sdhci' | grep -iE 'error|timeout|fail|warn|cache' || true")?;
    ensure!(log.is_empty(), "{log}");
    let strays = guest.property("emmc2", "strays")?;
    ensure!(strays.is_empty(), "{strays}");
    guest.property("emmc2", "counters")
}

/// The controller is at the board's address, works by ADMA, and the card is on it.
pub fn found(guest: &mut Guest) -> Result<String> {
    let wait = "n=0; until [ -b /dev/mmcblk0 ] || [ $n = 100 ]; do usleep 100000; n=$((n+1)); done";
    guest.run(wait, TIME)?;
    let path = guest.ask("readlink -f /sys/class/block/mmcblk0")?;
    ensure!(path.contains("fe340000.mmc"), "the card is at {path}");
    let log = guest.ask("dmesg | grep 'SDHCI controller'")?;
    let line = log.lines().find(|line| line.contains("fe340000"));
    let line = line.context("no SDHCI controller at fe340000")?;
    ensure!(line.contains("using ADMA"), "{line}");
    Ok(line.rsplit("] ").next().unwrap_or(line).to_owned())
}

/// Writes noise past the page cache, and reads it back: its sum, the same both times.
pub fn write_and_read(guest: &mut Guest, mib: u64) -> Result<String> {
    guest.ask(&format!(
        "dd if=/dev/urandom of=/tmp/noise bs=1M count={mib} 2>&1"
    ))?;
    guest.run(
        &format!("dd if=/tmp/noise of=/dev/mmcblk0 bs=1M seek={AT_MIB} oflag=direct 2>&1"),
        TIME,
    )?;
    let sum = guest.ask("sha256sum </tmp/noise")?;
    let back = guest.run(
        &format!(
            "dd if=/dev/mmcblk0 bs=1M skip={AT_MIB} count={mib} iflag=direct 2>/dev/null | sha256sum"
        ),
        TIME,
    )?;
    ensure!(sum == back, "wrote {sum}, read {back}");
    Ok(sum.split(' ').next().unwrap_or_default().to_owned())
}

/// What the card's image holds, seen from the host, once the guest is gone.
pub fn image_sum(card: &Path, mib: u64, scratch: &Path) -> Result<String> {
    let mut image = std::fs::File::open(card)?;
    image.seek(SeekFrom::Start(AT_MIB * MIB))?;
    let mut bytes = vec![0; usize::try_from(mib * MIB)?];
    image.read_exact(&mut bytes)?;
    let part = scratch.join("part");
    crate::write(&part, &bytes)?;
    super::server::sha256(&part)
}
