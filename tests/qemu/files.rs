// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files written at the console: the host's tools see them, and so does the next boot.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use qemu_tests::{Console, Machine, PROMPT, case, claim, image};
use tempfile::TempDir;
use tools::card::Card;

use crate::card::sha256;

/// How long copying may take, on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

fn make(folder: &TempDir, card: &Card) -> PathBuf {
    let path = folder.path().join("card.img");
    card.write(&path, 128).expect("a card for the test");
    path
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    Rng::with_seed(bytes as u64).fill(&mut noise);
    noise
}

/// A file of partition `number`, as mtools reads it.
fn host_file(image: &Path, number: usize, path: &str) -> Vec<u8> {
    let start = image::partition(image, number).expect("a partition").start;
    let output = Command::new("mtype")
        .arg("-i")
        .arg(format!("{}@@{start}", image.display()))
        .arg(format!("::{path}"))
        .output()
        .expect("mtools; `make setup` installs it");
    assert!(
        output.status.success(),
        "{path}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Commands that say nothing when all is well.
#[track_caller]
fn silent(console: &mut Console, lines: &[&str]) {
    for line in lines {
        assert_eq!(console.command(line), "", "{line}");
    }
}

#[track_caller]
fn assert_clean(image: &Path) {
    let (clean, said) = image::fsck(image).expect("fsck.fat");
    assert!(clean, "{said}");
}

#[test]
fn what_was_written_is_there_after_a_power_cut_behind_sync() {
    claim(
        "write, mkdir, cp, mv, rm, sync, power off the hard way: the host and the next boot see it all, fsck.fat is content",
    );
    let folder = TempDir::new().expect("a folder");
    let noise = noise(3 << 20);
    let card = Card::new()
        .file("NOISE.BIN", noise.clone())
        .file("old.txt", "old\n");
    let image = make(&folder, &card);
    let mut console = Machine::new().card(&image).start();
    silent(
        &mut console,
        &[
            "mkdir /boot/made '/boot/made/a long name'",
            "write '/boot/made/Überall.txt' first line",
            "write -a '/boot/made/überall.txt' second line",
            "write /boot/old.txt new",
            "mv /boot/old.txt /boot/made",
            "write /boot/gone.txt nobody sees this",
            "rm /boot/gone.txt",
        ],
    );
    let copied = console.command_within("cp /boot/NOISE.BIN '/boot/made/a long name'", PATIENCE);
    let expected = "/boot/made/a long name/NOISE.BIN: 3145728 bytes in ";
    assert!(copied.starts_with(expected), "{copied}");
    silent(&mut console, &["sync"]);
    drop(console);

    assert_clean(&image);
    let text = b"first line\nsecond line\n";
    assert_eq!(host_file(&image, 1, "/made/Überall.txt"), text);
    assert_eq!(host_file(&image, 1, "/made/old.txt"), b"new\n");
    assert!(host_file(&image, 1, "/made/a long name/NOISE.BIN") == noise);
    let mut console = Machine::new().card(&image).start();
    assert_eq!(
        console.command("cat /boot/made/überall.txt"),
        "first line\nsecond line"
    );
    let shown = console.command("sha256 '/boot/made/a long name/NOISE.BIN'");
    assert!(shown.starts_with(&sha256(&noise)), "{shown}");
    for (path, error) in [
        ("/boot/gone.txt", "no such file"),
        ("/boot/old.txt", "no such file"),
    ] {
        let said = console.command(&format!("cat {path}"));
        assert!(said.contains(error), "{path}: {said}");
    }
}

#[test]
fn poweroff_writes_what_nobody_asked_to_be_written() {
    claim("write, then poweroff at once, without sync: it is on the card, which is clean");
    let folder = TempDir::new().expect("a folder");
    let image = make(&folder, &Card::new());
    let mut console = Machine::new().card(&image).start();
    silent(&mut console, &["write /boot/late.txt just in time"]);
    console.send_line("poweroff");
    assert!(console.wait_exit(PATIENCE).success());
    console.allow_warnings("bcm2835_powermgt_write: ");
    drop(console);
    assert_clean(&image);
    assert_eq!(host_file(&image, 1, "/late.txt"), b"just in time\n");
}

#[test]
fn what_cannot_be_done_is_told_and_changes_nothing() {
    claim("errors of file commands name the path and the reason, and the card stays clean");
    let folder = TempDir::new().expect("a folder");
    let image = make(&folder, &Card::new().file("d/file.txt", "here\n"));
    let mut console = Machine::new().card(&image).start();
    for (line, error) in [
        ("rm /boot/d", "/boot/d: the directory is not empty"),
        ("rm /boot/none", "/boot/none: no such file or directory"),
        ("rm /boot", "/boot: a mounted volume is not removed"),
        ("rm /", "/: only mounted volumes can be written"),
        ("mkdir /boot/D", "/boot/D: exists already"),
        (
            "mkdir /boot/a:b",
            "/boot/a:b: FAT cannot hold the name: it has one of \" * / : < > ? \\ | or a control",
        ),
        ("mkdir /other/x", "/other/x: no such file or directory"),
        ("write /boot/d text", "/boot/d: is a directory"),
        ("write /boot/x", "TEXT is missing; help write"),
        ("write", "usage: write [-a] FILE TEXT..."),
        (
            "write '/boot/ends.' text",
            "/boot/ends.: FAT cannot hold the name: it ends in a dot or a space",
        ),
        (
            "write /boot/d/file.txt/x text",
            "/boot/d/file.txt/x: not a directory",
        ),
        (
            "cp /boot/none /boot/x",
            "/boot/none: no such file or directory",
        ),
        ("cp /boot/d /boot/x", "/boot/d: is a directory"),
        (
            "mv /boot/d /boot/d/e",
            "/boot/d: cannot move a directory into itself",
        ),
        ("mv /boot/d/file.txt /boot/d/file.txt", ""),
        ("umount none", "/none: no such file or directory"),
        ("mount card:9 x", "card: there is no partition 9"),
        ("mount card:1 x", "card:1 is mounted at /boot"),
        (
            "mount card:3 x",
            "/x: no FAT file system: its first sector ends in 00 00, not in 55 aa",
        ),
        ("mount card:3 a/b", "a volume is mounted as /NAME, one name"),
    ] {
        let said = console.command(line);
        assert!(
            said.starts_with(error) && (said.is_empty() == error.is_empty()),
            "{line}: {said}"
        );
    }
    assert_eq!(console.command("cat /boot/d/file.txt"), "here");
    silent(&mut console, &["sync"]);
    drop(console);
    assert_clean(&image);
}

#[test]
fn a_full_card_keeps_what_it_has() {
    claim(
        "cp to a card that is full: an error, the target as before, nothing lost, fsck.fat is content",
    );
    let folder = TempDir::new().expect("a folder");
    let half = noise(34 << 20);
    let image = make(
        &folder,
        &Card::new()
            .file("HALF.BIN", half.clone())
            .file("kept.txt", "kept\n"),
    );
    let mut console = Machine::new().card(&image).deadline(PATIENCE * 2).start();
    let before = console.command("df");
    for target in ["new.bin", "kept.txt"] {
        let said = console.command_within(&format!("cp /boot/HALF.BIN /boot/{target}"), PATIENCE);
        assert_eq!(said, format!("/boot/{target}: no space left on the volume"));
    }
    silent(&mut console, &["sync"]);
    let free = |df: &str| {
        df.lines()
            .nth(1)
            .and_then(|l| l.split_whitespace().nth(3).map(str::to_owned))
    };
    let after = console.command("df");
    assert_eq!(free(&before), free(&after), "{before}\n{after}");
    assert_eq!(console.command("cat /boot/kept.txt"), "kept");
    assert!(
        console
            .command("cat /boot/new.bin")
            .contains("no such file")
    );
    let shown = console.command_within("sha256 /boot/HALF.BIN", PATIENCE);
    assert!(shown.starts_with(&sha256(&half)), "{shown}");
    drop(console);
    assert_clean(&image);
}

#[test]
fn ctrl_c_gives_up_a_copy() {
    claim("Ctrl-C ends cp and sha256 of 24 MiB; the target is not there, the card is clean");
    let folder = TempDir::new().expect("a folder");
    let image = make(&folder, &Card::new().file("LONG.BIN", noise(24 << 20)));
    let mut console = Machine::new().card(&image).start();
    console.prompt();
    for line in ["cp /boot/LONG.BIN /boot/copy.bin", "sha256 /boot/LONG.BIN"] {
        console.send_line(line);
        console.expect(&format!("{line}\n"), PATIENCE);
        console.send(b"\x03");
        console.expect(&format!("interrupted\n{PROMPT}"), PATIENCE);
    }
    assert!(
        console
            .command("cat /boot/copy.bin")
            .contains("no such file")
    );
    silent(&mut console, &["sync"]);
    drop(console);
    assert_clean(&image);
}

#[test]
fn a_second_volume_is_mounted_beside_the_first() {
    claim("mount card:3 as a second volume, copy to it, umount: the host reads it; df shows both");
    let folder = TempDir::new().expect("a folder");
    let noise = noise(1 << 20);
    let image = make(&folder, &Card::new().file("NOISE.BIN", noise.clone()));
    let second = image::partition(&image, 3).expect("a data partition");
    let sectors = (second.end - second.start) / 512;
    let formatted = Command::new("mformat")
        .arg("-i")
        .arg(format!("{}@@{}", image.display(), second.start))
        .args([
            "-T",
            &sectors.to_string(),
            "-h",
            "16",
            "-s",
            "63",
            "-v",
            "DATA",
            "::",
        ])
        .status();
    assert!(formatted.expect("mtools").success());
    let mut console = Machine::new().card(&image).start();
    silent(&mut console, &["mount card:3 data"]);
    let df = console.command("df");
    assert!(
        df.contains("/boot       card:1 ") && df.contains("\n/data       card:3 "),
        "{df}"
    );
    assert!(df.contains("\"DATA\""), "{df}");
    let copied = console.command_within("cp /boot/NOISE.BIN /data", PATIENCE);
    assert!(
        copied.starts_with("/data/NOISE.BIN: 1048576 bytes"),
        "{copied}"
    );
    let moved = console.command("mv /data/NOISE.BIN /boot/x");
    assert_eq!(
        moved,
        "/data/NOISE.BIN: cannot move to another volume: copy and remove"
    );
    silent(&mut console, &["umount /data"]);
    assert!(console.command("ls /data").contains("no such file"));
    drop(console);
    assert!(host_file(&image, 3, "/NOISE.BIN") == noise);
    assert_clean(&image);
}

#[test]
fn a_gpt_card_is_read_also_by_its_copy() {
    claim(
        "a card with a GUID partition table, made by another program, also with its first header destroyed",
    );
    let folder = TempDir::new().expect("a folder");
    let image = make(&folder, &Card::new().file("hello.txt", "hello\n"));
    let boot = image::partition(&image, 1).expect("a boot partition");
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&image)
        .expect("the card");
    let mut gpt = gptman::GPT::new_from(&mut file, 512, [7; 16]).expect("room for a table");
    // Microsoft's basic data: EBD0A0A2-B9E5-4433-87C0-68B6B72699C7.
    let mut mixed = 0xebd0_a0a2_b9e5_4433_87c0_68b6_b726_99c7_u128.to_be_bytes();
    mixed[..4].reverse();
    mixed[4..6].reverse();
    mixed[6..8].reverse();
    gpt[1] = gptman::GPTPartitionEntry {
        partition_type_guid: mixed,
        unique_partition_guid: [1; 16],
        starting_lba: boot.start / 512,
        ending_lba: boot.end / 512 - 1,
        attribute_bits: 0,
        partition_name: "boot".into(),
    };
    gpt.write_into(&mut file).expect("the table");
    gptman::GPT::write_protective_mbr_into(&mut file, 512).expect("the protective MBR");
    for broken in [false, true] {
        case(if broken {
            "by the copy at the end"
        } else {
            "by the table"
        });
        if broken {
            file.write_all_at(&[0xff; 30], 512 + 16).expect("the card");
        }
        let mut console = Machine::new().card(&image).start();
        assert_eq!(console.command("cat /boot/hello.txt"), "hello");
        let disk = console.command("disk");
        assert!(
            disk.contains("  GPT  ") && disk.contains("\"boot\""),
            "{disk}"
        );
        let told =
            "the partition table is bad: its header's checksum does not hold; its copy is used";
        assert_eq!(disk.contains(told), broken, "{disk}");
        if broken {
            assert!(console.command("dmesg").contains(told));
        }
    }
}

/// What `fsck.fat -n` may say after a power cut: each mends without loss.
const MENDABLE: [&str; 9] = [
    "Dirty bit is set",
    "removing dirty bit",
    "Reclaimed ",
    "Free cluster summary wrong",
    "FATs differ",
    "cluster chain length is >",
    "Truncating file to",
    "Orphaned long file name part",
    "Auto-",
];

/// Says what `fsck.fat` finds that no power cut may leave.
fn unforgivable(said: &str) -> Vec<&str> {
    let findings = said
        .lines()
        .skip_while(|line| !line.starts_with("Checking ") || line.contains("bad"));
    let findings = findings.filter(|line| !MENDABLE.iter().any(|known| line.contains(known)));
    let harmless = [
        "Checking ",
        "Leaving filesystem",
        "files, ",
        "Using first FAT",
        "/d/",
        "Reclaiming",
    ];
    findings
        .filter(|line| !line.trim().is_empty() && !harmless.iter().any(|h| line.contains(h)))
        .collect()
}

/// `ORTHOGON_CUTS=200` for what the acceptance wants.
#[test]
fn a_power_cut_in_the_middle_of_writing_loses_nothing_acknowledged() {
    let cuts: u64 = std::env::var("ORTHOGON_CUTS").map_or(5, |n| n.parse().expect("a number"));
    claim(&format!(
        "QEMU killed {cuts} times while files are written: what sync acknowledged is whole, fsck.fat finds only what the design allows, and the next boot mounts the card"
    ));
    let folder = TempDir::new().expect("a folder");
    let noise = noise(300_000);
    let image = make(
        &folder,
        &Card::new()
            .file("NOISE.BIN", noise.clone())
            .file("d/log.txt", ""),
    );
    let mut rng = Rng::with_seed(15);
    let (mut lines, mut findings) = (0, 0);
    for cut in 0..cuts {
        let mut console = Machine::new().card(&image).start();
        assert_eq!(
            console.command("cat /boot/d/log.txt").lines().count(),
            lines,
            "cut {cut}"
        );
        let work = |n: usize| {
            [
                format!("write -a /boot/d/log.txt line {n}"),
                format!("cp /boot/NOISE.BIN /boot/d/copy{}.bin", n % 4),
                format!("write '/boot/d/a rather long name {}.txt' {n}", n % 5),
                format!("rm /boot/d/copy{}.bin", (n + 2) % 4),
                "sync".to_owned(),
            ]
        };
        let acknowledged = lines + rng.usize(1..4);
        for n in lines..acknowledged {
            for line in work(n) {
                let said = console.command(&line);
                assert!(
                    said.is_empty() || !line.starts_with("write") && line != "sync",
                    "{line}: {said}"
                );
            }
        }
        for line in (acknowledged..acknowledged + 4).flat_map(work) {
            console.send_line(&line);
            std::thread::sleep(Duration::from_millis(rng.u64(0..25)));
            if rng.u8(..) < 20 {
                break;
            }
        }
        drop(console);

        let (clean, said) = image::fsck(&image).expect("fsck.fat");
        findings += u32::from(!clean);
        assert_eq!(unforgivable(&said), [""; 0], "cut {cut}: {said}");
        let log = String::from_utf8(host_file(&image, 1, "/d/log.txt")).expect("text");
        lines = log.lines().count();
        let expected: String = (0..lines).map(|n| format!("line {n}\n")).collect();
        assert!(
            log == expected && lines >= acknowledged,
            "cut {cut}: {acknowledged} lines and\n{log}"
        );
        for copy in 0..4 {
            let path = format!("::/d/copy{copy}.bin");
            let start = image::partition(&image, 1).expect("a partition").start;
            let image = format!("{}@@{start}", image.display());
            let output = Command::new("mtype")
                .args(["-i", &image, &path])
                .output()
                .expect("mtools");
            let whole = output.stdout.is_empty() || output.stdout == noise;
            assert!(whole, "cut {cut}: {path}: {} bytes", output.stdout.len());
        }
    }
    case(&format!(
        "{findings} of {cuts} left something for fsck.fat to mend, {lines} lines in the end"
    ));
}
