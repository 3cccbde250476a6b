// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each planned fault of the card shows under Linux where a driver should show it.
//!
//! The plan is changed by QEMU's monitor while the guest runs, the card is read or written past
//! the page cache, and what belongs to the fault is looked for in the kernel's log. Then the plan is
//! emptied, and the card must be read again: a fault that is over leaves the driver working.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::guest::Guest;

const TIME: Duration = Duration::from_secs(120);
const READ: &str = "dd if=/dev/mmcblk0 of=/dev/null bs=64k count=8 iflag=direct";
const WRITE: &str = "dd if=/dev/zero of=/dev/mmcblk0 bs=64k count=8 seek=16 oflag=direct";

/// A plan, what is done meanwhile, and what then is in the kernel's log or says `dd`.
const FAULTS: [(&str, &str, &str); 13] = [
    ("read-crc", READ, "Input/output error"),
    ("write-crc", WRITE, "Input/output error"),
    ("command-crc", READ, "Input/output error"),
    ("command-timeout", READ, "Input/output error"),
    ("data-timeout", READ, "Input/output error"),
    ("adma-error", READ, "ADMA error"),
    ("auto-command", READ, "Input/output error"),
    (
        "irq-lost/1x1",
        READ,
        "Timeout waiting for hardware interrupt",
    ),
    ("busy/1x1:5000", WRITE, "Card stuck being busy"),
    ("busy", WRITE, "Card stuck being busy"),
    ("read-only", WRITE, "Input/output error"),
    ("read-crc/1x1+reset-stuck/1x1:400", READ, "never completed"),
    ("eject/1x1:2000", READ, "removed"),
];

/// Every plan, in the order in which they are tried.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|(plan, ..)| *plan)
}

/// Tries one plan; what showed it.
pub fn try_one(guest: &mut Guest, fault: &str) -> Result<String> {
    let found = FAULTS.iter().find(|(plan, ..)| *plan == fault);
    let (_, line, words) = found.context("no such fault")?;
    guest.ask("dmesg -c >/dev/null")?;
    plan(guest, fault)?;
    let outcome = guest.shell(&format!("{line} 2>&1; sleep 1"), TIME);
    plan(guest, "none")?;
    recover(guest)?;
    let said = outcome?.0 + &guest.ask("dmesg")?;
    let shown = said.lines().find(|line| line.contains(words));
    let shown = shown.with_context(|| format!("nothing of {words}:\n{said}"))?;
    let text = shown.split_once("] ").map_or(shown, |(_, text)| text);
    Ok(text.to_owned())
}

fn plan(guest: &Guest, plan: &str) -> Result<()> {
    let said = guest.monitor(&format!("qom-set /machine/peripheral/emmc2 faults {plan}"))?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

/// Once the plan is empty, the card is there and is read.
fn recover(guest: &mut Guest) -> Result<()> {
    let again = format!(
        "n=0; until {READ} 2>/dev/null || [ $n = 30 ]; do sleep 1; n=$((n+1)); done; [ $n -lt 30 ]"
    );
    guest.run(&again, TIME)?;
    Ok(())
}
