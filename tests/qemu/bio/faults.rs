// SPDX-License-Identifier: MIT OR Apache-2.0
//! A card and a controller that fail: each time a retry mends it, or the caller is told; and the counters show it.

use std::path::Path;
use std::time::Duration;

use qemu_tests::oracle::DiskTest;
use qemu_tests::{Console, Machine, case, claim};
use tempfile::TempDir;

use super::{PATIENCE, area, card, disktest_checked};

/// Of the card's statistics, as `disk` prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    retries: u64,
    errors: u64,
    lost_interrupts: u64,
}

#[track_caller]
fn counters(console: &mut Console) -> Counters {
    let said = console.command("disk");
    let field = |name: &str| {
        let behind = said.split_once(&format!("{name} ")).map(|(_, rest)| rest);
        let number = behind.and_then(|rest| rest.split([',', '\n']).next());
        number
            .and_then(|n| n.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name}: {said}"))
    };
    Counters {
        retries: field("retries"),
        errors: field("errors"),
        lost_interrupts: field("lost interrupts"),
    }
}

/// A machine with this card, whose faults the test plans.
fn start(card: &Path) -> Console {
    let mut console = Machine::new()
        .card(card)
        .monitor()
        .deadline(PATIENCE)
        .start();
    console.prompt();
    console
}

#[test]
fn what_fails_once_is_done_again() {
    claim("faults that pass: all is read and written as it must be, and the counters show them");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let mut console = start(&card);
    let plans = [
        "irq-lostx3",
        "adma-error/40x3",
        "read-crc/300x3",
        "write-crc/300x3",
        "command-crc/40x3",
        "command-timeout/40x3",
        "data-timeout/40x3:50",
        "auto-command/40x3",
        "read-only/40x3",
        "busy/40x3:200",
    ];
    for (seed, plan) in (1..).zip(plans) {
        case(plan);
        let before = counters(&mut console);
        console.fault_card(plan);
        let test = DiskTest {
            seed,
            threads: 4,
            requests: 400,
        };
        disktest_checked(&mut console, &card, &test);
        console.fault_card("none");
        let after = counters(&mut console);
        assert_eq!(after.errors, before.errors, "{plan}: {after:?}");
        let seen = match plan {
            _ if plan.starts_with("irq-lost") => after.lost_interrupts - before.lost_interrupts,
            // A card may be busy for so long.
            _ if plan.starts_with("busy") => continue,
            _ => after.retries - before.retries,
        };
        assert!(seen > 0, "{plan}: {before:?}, {after:?}");
    }
}

#[test]
fn what_fails_again_and_again_is_told() {
    claim("faults that stay: the caller is told which, and afterwards all is well again");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let mut console = start(&card);
    let read = "diskbench card:3 read 4K requests 1";
    let write = "diskbench card:3 write 4K requests 1 scratch";
    let not_written = format!("sector {} cannot be written", area(&card).start / 512);
    // Reading the partition table comes before either.
    for (plan, line, error) in [
        ("read-crc", read, "sector 0 cannot be read"),
        ("data-timeout", read, "sector 0 cannot be read"),
        ("adma-error", read, "the controller does not work"),
        ("write-crc", write, not_written.as_str()),
        ("read-only", write, not_written.as_str()),
        ("auto-command", write, not_written.as_str()),
    ] {
        case(plan);
        let before = counters(&mut console);
        console.fault_card(plan);
        let said = console.command(line);
        console.fault_card("none");
        assert!(said.contains(error), "{plan}: {said}");
        let after = counters(&mut console);
        assert_eq!(after.errors, before.errors + 1, "{plan}: {said}");
        assert_eq!(after.retries, before.retries + 2, "{plan}: {said}");
        let said = console.command(line);
        assert!(said.contains("requests=1 errors=0"), "after {plan}: {said}");
    }
    case("busy");
    // For ever, whatever is planned later: nothing to go on with.
    let before = counters(&mut console);
    console.fault_card("busy");
    let said = console.command(write);
    assert!(said.contains(&not_written), "{said}");
    assert_eq!(counters(&mut console).errors, before.errors + 1, "{said}");
}

#[test]
fn no_interrupt_at_all_is_only_slow() {
    claim("every interrupt of the card's lost: requests end all the same");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let mut console = start(&card);
    console.fault_card("irq-lost");
    let said = console.command("diskbench card:3 write 4K requests 4 scratch");
    assert!(said.contains("requests=4 errors=0"), "{said}");
    assert!(counters(&mut console).lost_interrupts >= 4, "{said}");
}

#[test]
fn a_card_that_is_pulled_out_is_told_and_comes_back() {
    claim("a card pulled out in mid-transfer: all that waits fails; put back, it is found again");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let mut console = start(&card);
    console.fault_card("eject/500x1:4000");
    let said = console.command("disktest card:3 requests 2000 scratch");
    assert!(said.contains("the first: the medium was removed"), "{said}");
    assert!(said.contains("mismatches=0"), "{said}");
    let said = console.command("cat /boot/folder/hello.txt");
    assert!(said.contains("the medium was removed"), "{said}");
    std::thread::sleep(Duration::from_millis(4000));
    console.fault_card("none");
    let said = console.command("mount");
    assert!(said.contains("/boot"), "{said}");
    assert_eq!(console.command("cat /boot/folder/hello.txt"), "hello");
    let test = DiskTest {
        seed: 1,
        threads: 4,
        requests: 400,
    };
    disktest_checked(&mut console, &card, &test);
}

#[test]
fn a_card_whose_contacts_bounce_loses_nothing() {
    claim("a card that is away for 300 ms in mid-transfer: all that waits ends well");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let mut console = start(&card);
    console.fault_card("eject/500x1:300");
    let said = console.command("disktest card:3 requests 2000 scratch");
    assert!(said.contains("errors=0 mismatches=0"), "{said}");
    assert_eq!(console.command("cat /boot/folder/hello.txt"), "hello");
}

/// A rule of blkdebug's for a host's error.
fn rule(iotype: &str, sector: Option<u64>, once: bool) -> String {
    let sector = sector.map_or(String::new(), |sector| format!("sector = \"{sector}\"\n"));
    let once = if once { "on" } else { "off" };
    format!(
        "[inject-error]\nevent = \"none\"\niotype = \"{iotype}\"\nerrno = \"5\"\n{sector}once = \"{once}\"\n"
    )
}

#[test]
fn errors_of_the_host_reach_the_caller() {
    claim("EIO for one sector, once and always: a retry mends it, or the error names the sector");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    // The second of three requests.
    let bad = area(&card).start / 512 + 8;
    for (iotype, error) in [("read", "cannot be read"), ("write", "cannot be written")] {
        for once in [true, false] {
            case(&format!("{iotype}, once {once}"));
            let machine = Machine::new()
                .card(&card)
                .blkdebug(&rule(iotype, Some(bad), once));
            let mut console = machine.start();
            let before = counters_at_first(&mut console);
            let line = format!("diskbench card:3 {iotype} 4K requests 3 scratch");
            let said = console.command(&line);
            let after = counters(&mut console);
            let failed = u64::from(!once);
            let outcome = format!("requests={} errors={failed}", 3 - failed);
            assert!(said.contains(&outcome), "{said}");
            assert_eq!(
                said.contains(&format!("sector {bad} {error}")),
                !once,
                "{said}"
            );
            assert_eq!(after.errors - before.errors, failed, "{after:?}");
            assert_eq!(after.retries - before.retries, 1 + failed, "{after:?}");
        }
    }
}

#[track_caller]
fn counters_at_first(console: &mut Console) -> Counters {
    console.prompt();
    counters(console)
}

#[test]
fn a_card_that_cannot_be_read_at_all_is_told() {
    claim("EIO for each read: the boot goes on without /boot, and says why");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let machine = Machine::new()
        .card(&card)
        .blkdebug(&rule("read", None, false));
    let mut console = machine.start();
    let boot = console.prompt();
    assert!(boot.contains("sector 0 cannot be read"), "{boot}");
    let said = console.command("diskbench card read 4K requests 2");
    assert!(said.contains("2 of 2 requests failed"), "{said}");
}

#[test]
fn a_cache_that_is_not_written_is_told() {
    claim("EIO for each flush of a card with a cache: sync says so, and so does who writes a file");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    // SD cards have no cache that is flushed; eMMCs do.
    let emmc = ["-global", "pi4-emmc2.medium=emmc"];
    let machine = Machine::new()
        .card(&card)
        .args(emmc)
        .blkdebug(&rule("flush", None, false));
    let mut console = machine.start();
    let before = counters_at_first(&mut console);
    let said = console.command("disktest card:3 requests 400 seed 1 scratch");
    assert!(said.contains("mismatches=0"), "{said}");
    assert!(said.contains("did not write its cache"), "{said}");
    assert!(counters(&mut console).errors > before.errors, "{said}");
    let written = console.command("write /boot/a.txt something");
    std::thread::sleep(Duration::from_secs(7));
    let said = console.command("sync");
    assert!(
        said.contains("did not write its cache"),
        "{written}{said}{}",
        console.log()
    );
}
