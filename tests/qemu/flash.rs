// SPDX-License-Identifier: MIT OR Apache-2.0
//! A released image on a card: what is flashed boots, and its data partition grows to the card's end.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fastrand::Rng;
use qemu_tests::{Machine, case, claim, image};
use tempfile::TempDir;
use tools::card::{Card, Layout};
use tools::contents::Contents;
use tools::release::Release;

/// Of a block device: nobody else's.
const O_EXCL: i32 = 0o200;
/// The card that the image is flashed to: longer than the image, and a power of two.
const CARD_BYTES: u64 = 128 << 20;
/// What the kernel says when the partition has grown, from 72 MiB on.
const GREW: &str = "partition 3 grew to the card's end: 56 MiB";

fn contents() -> Contents {
    let out = tools::out_dir();
    Contents {
        kernel: out.join("kernel8.img"),
        dtb: out.join("orthogon-rpi4.dtb"),
        overlay: out.join("disable-bt.dtbo"),
        firmware: None,
        no_firmware: false,
        cmdline: Some("console=ttyAMA0,115200 log=info".to_owned()),
        add: Vec::new(),
    }
}

/// A loop device, where the machine gives one.
struct Loop(String);

impl Loop {
    fn attach(file: &Path, options: &[&str]) -> Option<Self> {
        let mut losetup = losetup(&["--find", "--show"]);
        let output = losetup.args(options).arg(file).output().ok()?;
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !name.is_empty()).then_some(Self(name))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = losetup(&["--detach", &self.0]).status();
    }
}

fn losetup(arguments: &[&str]) -> Command {
    system("losetup", arguments)
}

/// A program that root's path has.
fn system(program: &str, arguments: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap_or_default() + ":/sbin:/usr/sbin";
    let mut command = Command::new(program);
    command.env("PATH", path).args(arguments);
    command
}

/// As `make release` makes it; made once.
static RELEASED: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    let image = release(folder.path());
    (folder, image)
});

fn release(folder: &Path) -> PathBuf {
    let release = Release {
        version: "0".to_owned(),
        date: "2026-11-22".to_owned(),
        url: "https://example.org".to_owned(),
    };
    let files = contents().card().expect("`make image` was run");
    release.make(&files, folder).expect("a release")
}

fn flash(image: &Path, arguments: &[&str]) -> Output {
    let flash = tools::root().join("target/debug/orthogon-flash");
    let mut flash = Command::new(flash);
    let flash = flash.arg("--image").arg(image).args(arguments);
    let output = flash.stdin(Stdio::null()).output();
    output.expect("orthogon-flash; `make image` builds it")
}

/// A card that was used before: noise.
fn used_card(folder: &Path) -> PathBuf {
    let card = folder.join("card");
    let mut noise = vec![0; CARD_BYTES as usize];
    Rng::with_seed(3).fill(&mut noise);
    std::fs::write(&card, noise).expect("a card that was used before");
    card
}

/// A card with the released layout, and behind it nothing.
fn stub(folder: &Path) -> PathBuf {
    let path = folder.join("card.img");
    let card = Card::new().file("HELLO.TXT", "hello\n");
    card.lay_out(&path, &Layout::released()).expect("an image");
    let file = File::options().write(true).open(&path).expect("the image");
    file.set_len(CARD_BYTES).expect("a longer card");
    path
}

fn sector_0(card: &Path) -> Vec<u8> {
    image::read(card, 0..512).expect("the card")
}

/// Boots to the prompt, and says what the log has.
#[track_caller]
fn boot(card: &Path) -> String {
    let mut console = Machine::new().card(card).start();
    console.command("dmesg")
}

#[test]
fn what_is_flashed_boots_and_its_data_partition_grows_once() {
    claim(
        "a released image, flashed to a loop device, is what QEMU boots from it; the 2nd boot changes nothing",
    );
    let folder = TempDir::new().expect("a folder");
    let released = &RELEASED.1;
    let file = used_card(folder.path());
    let device = Loop::attach(&file, &[]);
    case(
        device
            .as_ref()
            .map_or("a file: no loop device here", |d| &d.0),
    );
    let (card, how) = match &device {
        Some(device) => (PathBuf::from(&device.0), "--force"),
        None => (file.clone(), "--file"),
    };
    let flashed = flash(released, &["--yes", how, &card.to_string_lossy()]);
    assert!(flashed.status.success(), "{flashed:?}");
    check_what_the_board_reads(&card);

    let mut console = Machine::new().card(&card).from_card().start();
    let log = console.command("dmesg");
    assert!(log.contains(GREW), "{log}");
    let disk = console.command("disk");
    assert!(disk.contains("0x83 Linux"), "{disk}");
    let config = console.command("cat /boot/cmdline.txt");
    assert_eq!(config, "console=ttyAMA0,115200 log=info");
    assert_eq!(console.command("umount boot"), "");
    drop(console);
    let data = image::partition(&card, 3).expect("a data partition");
    assert_eq!(data, Layout::released().data.start..CARD_BYTES);
    case("grown");

    let before = sector_0(&card);
    let log = boot(&card);
    assert!(!log.contains("partition 3"), "{log}");
    assert!(sector_0(&card) == before, "the table was changed");
    let (clean, said) = image::fsck(&card).expect("fsck.fat");
    assert!(clean, "{said}");
}

/// The boot EEPROM reads partition 1, config.txt, start4.elf, fixup4.dat; start4.elf the rest.
#[track_caller]
fn check_what_the_board_reads(card: &Path) {
    let verified = system("sfdisk", &["--verify", &card.to_string_lossy()]).output();
    let verified = verified.expect("sfdisk; `make setup` installs it");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(
        verified.status.success() && said.contains("No errors"),
        "{verified:?}"
    );
    let (clean, said) = image::fsck(card).expect("fsck.fat");
    assert!(clean, "{said}");
    let sector = sector_0(card);
    assert_eq!(
        (sector[446], sector[446 + 4]),
        (0x80, 0x0c),
        "active, FAT32"
    );
    let volume = image::Volume::of(card).expect("a boot partition");
    let (out, firmware) = (tools::out_dir(), tools::firmware_dir());
    // What they may be long: BL31 lies below the kernel, the tree in what config.txt gives it.
    for (name, source, most) in [
        (
            "config.txt",
            tools::root().join("tools/card/config.txt"),
            4096,
        ),
        ("start4.elf", firmware.join("start4.elf"), 8 << 20),
        ("fixup4.dat", firmware.join("fixup4.dat"), 1 << 20),
        ("bl31.bin", firmware.join("bl31.bin"), 0x80000),
        ("kernel8.img", out.join("kernel8.img"), 2 << 20),
        (
            "bcm2711-rpi-4-b.dtb",
            out.join("orthogon-rpi4.dtb"),
            0x20_0000,
        ),
        (
            "overlays/disable-bt.dtbo",
            out.join("disable-bt.dtbo"),
            1 << 16,
        ),
    ] {
        let found = volume.file(name).expect("mtools");
        let found = found.unwrap_or_else(|| panic!("no {name}"));
        let source = std::fs::read(source).expect("`make image` was run");
        assert!(found == source, "{name} is another");
        assert!(
            (1..=most).contains(&found.len()),
            "{name}: {} bytes",
            found.len()
        );
    }
    case("what the board reads is there");
}

#[test]
fn a_wrong_loop_device_is_refused_and_not_written() {
    claim(
        "loop devices: not removable, a partition, mounted, write-protected, claimed, a sector too short: refused",
    );
    let folder = TempDir::new().expect("a folder");
    let released = &RELEASED.1;
    let file = used_card(folder.path());
    let made = flash(released, &["--yes", "--file", &file.to_string_lossy()]);
    assert!(made.status.success(), "{made:?}");
    let before = std::fs::read(&file).expect("the card");
    let refused = |options: &[&str], device: &str, why: &str| {
        let output = flash(released, &[options, &["--yes", device]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(why),
            "{why}: {said}"
        );
        assert!(
            std::fs::read(&file).expect("the card") == before,
            "{why}: written"
        );
        case(why);
    };
    let Some(device) = Loop::attach(&file, &["--partscan"]) else {
        return case("no loop device here");
    };
    let card = &device.0;
    refused(&[], card, "not removable");
    let part = format!("{card}p1");
    if Path::new(&part).exists() {
        refused(&["--force"], &part, "it is partition 1 of");
        let point = folder.path().join("a mount point");
        std::fs::create_dir(&point).expect("a folder");
        let mut mount = system("mount", &["-o", "ro", &part]);
        if mount
            .arg(&point)
            .status()
            .is_ok_and(|status| status.success())
        {
            refused(&["--force"], card, "a mount point is mounted from");
            let unmounted = system("umount", &[]).arg(&point).status();
            assert!(unmounted.expect("umount").success());
        }
    }
    {
        let claimed = File::options().write(true).custom_flags(O_EXCL).open(card);
        let _claimed = claimed.expect("the device");
        refused(&["--force"], card, "somebody has it in use");
    }
    drop(device);
    let device = Loop::attach(&file, &["--read-only"]).expect("there was one");
    refused(&["--force"], &device.0, "write-protected");
    drop(device);
    let short = (Layout::released().data.end - 512).to_string();
    let device = Loop::attach(&file, &["--sizelimit", &short]).expect("there was one");
    refused(&["--force"], &device.0, "is too small");
}

#[test]
fn a_card_with_another_table_is_not_touched() {
    claim(
        "another disk signature, a fourth partition, one made shorter: sector 0 stays, the card is mounted",
    );
    let folder = TempDir::new().expect("a folder");
    for (what, at, byte) in [
        ("signature", 440, b'X'),
        ("fourth partition", 446 + 48 + 4, 0x83),
        ("shorter", 446 + 32 + 13, 0x10),
    ] {
        let card = stub(folder.path());
        let file = File::options().write(true).open(&card).expect("the card");
        file.write_all_at(&[byte], at).expect("the card");
        let before = sector_0(&card);
        let log = boot(&card);
        assert!(log.contains("/boot: partition 1"), "{log}");
        assert!(!log.contains("grew"), "{log}");
        assert!(sector_0(&card) == before, "{what}: the table was changed");
        case(what);
    }
}

#[test]
fn a_power_cut_leaves_the_old_table_or_the_new() {
    claim(
        "power cut at any time of the first boot: the table is the old or the new one, and the next boot goes on",
    );
    let folder = TempDir::new().expect("a folder");
    let card = stub(folder.path());
    let began = Instant::now();
    let mut console = Machine::new().card(&card).start();
    console.expect(GREW, Duration::from_secs(60));
    let to_the_line = began.elapsed();
    drop(console);
    let new = sector_0(&card);
    let mut rng = Rng::with_seed(4);
    for _ in 0..8 {
        let card = stub(folder.path());
        let old = sector_0(&card);
        assert!(old != new);
        let console = Machine::new().card(&card).start();
        std::thread::sleep(to_the_line.mul_f64(0.6 + 0.5 * rng.f64()));
        console.cut();
        let cut = sector_0(&card);
        assert!(cut == old || cut == new, "neither");
        assert_eq!(boot(&card).contains(GREW), cut == old);
        assert!(sector_0(&card) == new, "the next boot did not end it");
        case(if cut == old { "old" } else { "new" });
    }
}

#[test]
fn a_card_that_cannot_be_written_is_mounted_all_the_same() {
    claim("sector 0 cannot be written: a warning, the old table, /boot is there");
    let folder = TempDir::new().expect("a folder");
    let card = stub(folder.path());
    let before = sector_0(&card);
    let rule = "[inject-error]\nevent = \"none\"\niotype = \"write\"\nerrno = \"5\"\n";
    let mut console = Machine::new().card(&card).blkdebug(rule).start();
    let log = console.command("dmesg");
    assert!(log.contains("partition 3 did not grow"), "{log}");
    assert_eq!(console.command("cat /boot/HELLO.TXT"), "hello");
    drop(console);
    assert!(sector_0(&card) == before);
}
