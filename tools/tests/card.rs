// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card, judged by other people's programs: dosfstools and mtools.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use tools::card::{Card, Layout};

const BOOT_START: usize = 4 << 20;
const BOOT_END: usize = 64 << 20;

fn example() -> Card {
    Card::new()
        .file("config.txt", "arm_64bit=1\n")
        .file("a rather long file name.txt", "long\n")
        .file("overlays/one/two.dtbo", vec![7; 3000])
        .file("big.bin", vec![1; 1 << 20])
        .file("BIG.BIN", vec![2; (1 << 20) + 1])
}

fn run(program: &str, args: &[&OsStr]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new(program);
    let started = command.env("PATH", path).args(args).output();
    started.unwrap_or_else(|e| panic!("cannot start {program} ({e}); `make setup` installs it"))
}

fn read_back(image: &Path, name: &str) -> Vec<u8> {
    let mut part = image.as_os_str().to_owned();
    part.push("@@4M");
    let output = run(
        "mcopy",
        &["-i".as_ref(), &part, name.as_ref(), "-".as_ref()],
    );
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn fsck_finds_nothing_and_mtools_reads_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("card.img");
    example().write(&image, 128).unwrap();

    let volume = dir.path().join("boot.fat");
    let card = std::fs::read(&image).unwrap();
    std::fs::write(&volume, &card[BOOT_START..BOOT_END]).unwrap();
    let fsck = run("fsck.fat", &["-n".as_ref(), volume.as_ref()]);
    assert!(fsck.status.success(), "{fsck:?}");

    assert_eq!(read_back(&image, "::config.txt"), b"arm_64bit=1\n");
    let long = read_back(&image, "::a rather long file name.txt");
    assert_eq!(long, b"long\n");
    assert_eq!(read_back(&image, "::overlays/one/two.dtbo"), [7; 3000]);
    let big = read_back(&image, "::big.bin");
    assert!(big == [2].repeat((1 << 20) + 1), "the later file counts");
}

#[test]
fn the_crash_area_is_labelled_and_every_partition_begins_an_erase_block() {
    let dir = tempfile::tempdir().unwrap();
    for layout in [Layout::full(128).unwrap(), Layout::released()] {
        let image = dir.path().join("card.img");
        example().lay_out(&image, &layout).unwrap();
        let card = std::fs::read(&image).unwrap();
        let crash = &card[layout.crash.start as usize..layout.crash.end as usize];
        assert_eq!(crash.len(), 1 << 20);
        let (label, rest) = crash.split_at(16);
        assert_eq!(label, b"Orthogon crash 1");
        assert!(rest.iter().all(|byte| *byte == 0));

        let table = mbrman::MBR::read_from(&mut std::io::Cursor::new(&card), 512).unwrap();
        let found = [1, 2, 3].map(|n| {
            let entry = table.get(n).unwrap();
            let start = u64::from(entry.starting_lba) * 512;
            (entry.sys, start..start + u64::from(entry.sectors) * 512)
        });
        let Layout { boot, crash, data } = layout;
        for place in [&boot, &crash, &data] {
            assert_eq!(place.start % (4 << 20), 0, "{place:?}");
        }
        assert!(boot.end == crash.start && crash.end <= data.start);
        assert_eq!(data.end, card.len() as u64);
        assert_eq!(found, [(0x0c, boot), (0xda, crash), (0x83, data)]);
        assert!(table.get(4).unwrap().is_unused());
    }
}

#[test]
fn equal_inputs_give_equal_cards() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| {
        let image = dir.path().join(name);
        example().write(&image, 128).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2100)); // FAT counts in 2 s
        std::fs::read(image).unwrap()
    });
    assert!(a == b);
}

#[test]
fn sizes_that_qemu_or_fat32_cannot_take_are_refused() {
    for size in [0, 64, 200, 1 << 30] {
        let error = example().write(Path::new("/nowhere"), size).unwrap_err();
        assert!(error.to_string().contains("power of two"), "{error}");
    }
}

#[test]
fn too_much_for_the_partition_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let card = Card::new().file("huge.bin", vec![1; 61 << 20]);
    let error = card.write(&dir.path().join("card.img"), 128).unwrap_err();
    assert!(error.to_string().contains("huge.bin"), "{error}");
}

#[test]
fn every_option_of_config_txt_has_its_reason() {
    let config = tools::root().join("tools/card/config.txt");
    let config = std::fs::read_to_string(config).unwrap();
    let mut options = 0;
    let mut before = "";
    for line in config.lines() {
        if !line.is_empty() && !line.starts_with('#') {
            assert!(line.contains('='), "{line}: no option");
            assert!(
                before.starts_with("# "),
                "{line}: the line before it is no reason"
            );
            options += 1;
        }
        before = line;
    }
    assert!(options >= 10, "{options} options");
}
