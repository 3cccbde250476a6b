// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Debian's U-Boot must be able to do with its own `bcmgenet` and its own SDHCI driver.
//!
//! It polls where Linux takes interrupts, takes ring 16 with all descriptors, leaves the
//! indices as it finds them, and moves the card's data by SDMA.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::guest::{Guest, Setup};

const PROMPT: &str = "U-Boot> ";
const START: Duration = Duration::from_secs(60);
const TIME: Duration = Duration::from_secs(60);
/// 8 MiB in blocks, behind what else is on the card.
const BLOCKS: u32 = 0x4000;
const AT_BLOCK: u32 = 0x14000;

/// Starts U-Boot, and stops it from booting.
pub fn boot(setup: &Setup) -> Result<Guest> {
    let (_, dtb) = super::linux::prepare(setup.scratch, &[])?;
    let image = super::linux::folder().join("u-boot.bin");
    let mut q = super::qemu(setup, &["-kernel".as_ref(), image.as_os_str()])?;
    q.arg("-dtb").arg(dtb);
    let mut guest = Guest::start(q, setup.scratch)?;
    guest.expect("Hit any key", START)?;
    guest.type_line("")?;
    guest.expect(PROMPT, START)?;
    // The Enter that stopped it may have been read as a line of its own.
    run(&mut guest, "setenv autoload no")?;
    Ok(guest)
}

/// Types a command, and returns what it said.
fn run(guest: &mut Guest, command: &str) -> Result<String> {
    let end = "the command is over";
    // The console echoes what is typed: the mark is put together only when it is printed.
    guest.type_line(&format!(
        "{command}; setenv a over; echo the command is ${{a}}"
    ))?;
    guest.expect(end, TIME)
}

/// A lease from the user network's server.
pub fn dhcp(guest: &mut Guest) -> Result<String> {
    let said = run(guest, "dhcp")?;
    let line = said.lines().find(|line| line.contains("bound to address"));
    let line = line.with_context(|| format!("no lease: {said}"))?;
    ensure!(line.contains("10.0.2.15"), "{line}");
    Ok(line.trim().to_owned())
}

/// The gateway answers.
pub fn ping(guest: &mut Guest) -> Result<String> {
    let said = run(guest, "ping 10.0.2.2")?;
    ensure!(said.contains("host 10.0.2.2 is alive"), "{said}");
    Ok("host 10.0.2.2 is alive".into())
}

/// A file comes by TFTP, with the sum that the host computed.
pub fn tftp(guest: &mut Guest, file: &str, bytes: u64, crc32: u32) -> Result<String> {
    let said = run(guest, &format!("tftpboot 1000000 10.0.2.2:{file}"))?;
    ensure!(
        said.contains(&format!("Bytes transferred = {bytes}")),
        "{said}"
    );
    let sum = run(guest, &format!("crc32 1000000 {bytes:x}"))?;
    ensure!(
        sum.contains(&format!("==> {crc32:08x}")),
        "{crc32:08x} wanted: {sum}"
    );
    Ok(format!("{bytes} bytes, CRC-32 {crc32:08x}"))
}

/// 8 MiB that came by TFTP go to the card and come back: SDMA over many boundaries.
pub fn card(guest: &mut Guest, crc32: u32) -> Result<String> {
    let range = format!("{AT_BLOCK:x} {BLOCKS:x}");
    let said = run(guest, &format!("mmc dev 0; mmc write 1000000 {range}"))?;
    ensure!(said.contains("blocks written: OK"), "{said}");
    let said = run(
        guest,
        &format!("mw.b 2000000 33 800000; mmc read 2000000 {range}"),
    )?;
    ensure!(said.contains("blocks read: OK"), "{said}");
    let sum = run(guest, "crc32 2000000 800000")?;
    ensure!(
        sum.contains(&format!("==> {crc32:08x}")),
        "{crc32:08x} wanted: {sum}"
    );
    Ok(format!("{BLOCKS} blocks, CRC-32 {crc32:08x}"))
}

/// CRC-32 as U-Boot, zip and Ethernet compute it.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
