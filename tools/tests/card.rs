// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card, judged by other people's programs: dosfstools and mtools.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use tools::card::Card;

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
