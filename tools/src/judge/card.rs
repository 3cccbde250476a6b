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
