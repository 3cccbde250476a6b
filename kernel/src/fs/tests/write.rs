// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written can be read, by this kernel and by others, and what is refused leaves no trace.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{eprintln, format, vec};

use super::super::{Fault, Mode, Mounts};
use super::PAGES;
use super::check::check;
use super::image;
use super::model::Model;
use crate::bio::BlockDevice;
use crate::bio::tests::MemDisk;

/// An empty volume, as mkfs.fat makes it.
pub(super) fn formatted(sectors: u64, arguments: &[&str]) -> MemDisk {
    let path = scratch("mkfs");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(sectors * 512).unwrap();
    let made = Command::new("/usr/sbin/mkfs.fat")
        .args(arguments)
        .arg(&path)
        .output();
    assert!(
        made.expect("dosfstools; `make setup` installs it")
            .status
            .success()
    );
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    MemDisk::new(bytes)
}

/// A path for a file of this process and thread.
pub(super) fn scratch(what: &str) -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    std::env::temp_dir().join(format!("orthogon-{}-{number}-{what}", std::process::id()))
}

/// What fsck.fat says, and its exit code.
pub(super) fn fsck(disk: &MemDisk, arguments: &[&str]) -> (String, i32, MemDisk) {
    let path = scratch("fsck");
    std::fs::write(&path, disk.contents()).unwrap();
    let ran = Command::new("/usr/sbin/fsck.fat")
        .args(arguments)
        .arg(&path)
        .output();
    let ran = ran.expect("dosfstools; `make setup` installs it");
    let after = MemDisk::new(std::fs::read(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    (said, ran.status.code().unwrap_or(-1), after)
}

pub(super) fn mounted(disk: &MemDisk) -> Mounts {
    let mut mounts = Mounts::new();
    mounts
        .mount("boot", "card:1", std::boxed::Box::new(disk.share()), PAGES)
        .unwrap();
    mounts
}

/// The volumes that all is tried on: what they are, and files of up to how many bytes.
pub(super) fn volumes() -> [(&'static str, MemDisk, u64); 4] {
    [
        ("FAT12", formatted(1440, &["-F", "12", "-s", "2"]), 20_000),
        (
            "FAT16",
            formatted(9000, &["-F", "16", "-s", "1", "-r", "64"]),
            50_000,
        ),
        ("FAT32", formatted(67_000, &["-F", "32", "-s", "1"]), 60_000),
        (
            "FAT16 of 4 KiB clusters",
            formatted(40_000, &["-F", "16", "-s", "8"]),
            200_000,
        ),
    ]
}

#[test]
fn thousands_of_random_changes_agree_with_the_model_and_with_fsck() {
    for (name, disk, most) in volumes() {
        let mut model = Model::new(mounted(&disk), 3, most);
        for round in 0..8 {
            for _ in 0..150 {
                model.step();
            }
            model.compare();
            if round % 3 == 0 {
                model.mounts.flush(true).unwrap();
            } else {
                model.mounts.unmount("boot").unwrap();
                model.mounts = mounted(&disk);
                model.compare();
            }
            let checked = check(&disk);
            assert!(checked.is_clean(), "{name}: {checked:?}");
            assert!(checked.files == model.tree, "{name}");
            if round % 2 == 1 {
                let (said, code, _) = fsck(&disk, &["-n"]);
                assert_eq!(code, 0, "{name}: {said}");
            }
        }
        read_by_another(&disk, &model);
        eprintln!(
            "{name}: {} paths, {} refused for want of space",
            model.tree.len(),
            model.full
        );
    }
}

/// The same files as another implementation reads them.
fn read_by_another(disk: &MemDisk, model: &Model) {
    let volume = fatfs::FileSystem::new(
        std::io::Cursor::new(disk.contents()),
        fatfs::FsOptions::new(),
    )
    .unwrap();
    for (path, contents) in &model.tree {
        let Some(contents) = contents else {
            volume.root_dir().open_dir(path).unwrap();
            continue;
        };
        let mut read = vec![];
        volume
            .root_dir()
            .open_file(path)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(read == *contents, "{path}");
    }
}

#[test]
fn a_full_volume_refuses_and_keeps_what_it_has() {
    for (name, disk, _) in volumes().into_iter().take(3) {
        let mut model = Model::new(mounted(&disk), 9, 400_000);
        let most = disk.sectors() * 512;
        model
            .write_file("/kept", Mode::Replace, &[7; 70_000])
            .unwrap();
        let error = model
            .write_file("/kept", Mode::Replace, &vec![8; most as usize])
            .unwrap_err();
        assert_eq!(error.to_string(), "/boot/kept: no space left on the volume");
        let error = model
            .write_file("/kept", Mode::Append, &vec![8; most as usize])
            .unwrap_err();
        assert_eq!(error.fault, Fault::Full, "{name}");
        model
            .write_file("/new", Mode::Replace, &vec![8; most as usize])
            .unwrap_err();
        // To the last cluster, and with nothing to spare.
        let free = model.mounts.volume("boot").unwrap().free_bytes().unwrap();
        model
            .write_file("/all", Mode::Replace, &vec![9; free as usize])
            .unwrap();
        assert_eq!(model.mounts.volume("boot").unwrap().free_bytes(), Ok(0));
        let error = model.mounts.make_dir("/boot/d").unwrap_err();
        assert_eq!(error.fault, Fault::Full, "{name}");
        model.write_file("/kept", Mode::Append, &[1]).unwrap();
        assert!(model.write_file("/one", Mode::Append, &[1]).is_err());
        model.mounts.unmount("boot").unwrap();
        let checked = check(&disk);
        assert!(checked.is_clean(), "{name}: {checked:?}");
        assert_eq!(checked.files.keys().collect::<Vec<_>>(), ["/all", "/kept"]);
        let (said, code, _) = fsck(&disk, &["-n"]);
        assert_eq!(code, 0, "{name}: {said}");
    }
}

#[test]
fn names_that_fat_cannot_hold_are_refused_and_others_get_an_alias() {
    let disk = formatted(9000, &["-F", "16", "-s", "1"]);
    let mut mounts = mounted(&disk);
    let long = "x".repeat(255);
    for (name, why) in [
        ("a:b", "it has one of"),
        ("what?", "it has one of"),
        ("tab\there", "it has one of"),
        ("dot.", "it ends in a dot or a space"),
        ("space ", "it ends in a dot or a space"),
        (&format!("{long}x"), "it has more than 255 characters"),
    ] {
        let error = mounts.make_dir(&format!("/boot/{name}")).unwrap_err();
        let told = format!("FAT cannot hold the name: {why}");
        assert!(error.to_string().contains(&told), "{error}");
        assert!(
            mounts
                .create(&format!("/boot/{name}"), Mode::Replace)
                .is_err()
        );
    }
    mounts.make_dir(&format!("/boot/{long}")).unwrap();
    mounts.make_dir("/boot/d").unwrap();
    for number in 0..400 {
        mounts
            .make_dir(&format!("/boot/d/the same beginning {number}"))
            .unwrap();
    }
    let error = mounts.make_dir("/boot/d/The Same beginning 7").unwrap_err();
    assert_eq!(error.fault, Fault::Exists);
    mounts
        .rename(
            "/boot/d/the same beginning 7",
            "/boot/d/The Same Beginning 7",
        )
        .unwrap();
    mounts.flush(true).unwrap();
    let (said, code, _) = fsck(&disk, &["-n"]);
    assert_eq!(code, 0, "{said}");
    let checked = check(&disk);
    assert_eq!(checked.files.len(), 402);
    assert!(checked.files.contains_key("/d/The Same Beginning 7"));
}

#[test]
fn who_reads_a_file_that_changes_is_told() {
    let mut model = Model::new(mounted(&formatted(9000, &["-F", "16", "-s", "1"])), 1, 1000);
    for change in ["replace", "remove", "rename"] {
        model
            .write_file("/file", Mode::Replace, &[1; 5000])
            .unwrap();
        model
            .write_file("/other", Mode::Replace, &[2; 5000])
            .unwrap();
        let mut file = model.mounts.open("/boot/file").unwrap();
        let mut buf = [0; 1000];
        assert_eq!(model.mounts.read(&mut file, &mut buf), Ok(1000));
        model.mounts.remove("/boot/other").unwrap();
        assert_eq!(
            model.mounts.read(&mut file, &mut buf),
            Ok(1000),
            "not its business"
        );
        assert_eq!(buf, [1; 1000]);
        match change {
            "replace" => model.write_file("/file", Mode::Replace, &[3; 100]).unwrap(),
            "remove" => model.mounts.remove("/boot/file").unwrap(),
            _ => model.mounts.rename("/boot/file", "/boot/moved").unwrap(),
        }
        let error = model.mounts.read(&mut file, &mut buf).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/boot/file: was changed meanwhile by somebody else"
        );
    }
}

#[test]
fn who_writes_a_file_whose_volume_goes_is_told_and_nothing_is_lost() {
    let disk = formatted(9000, &["-F", "16", "-s", "1"]);
    let mut mounts = mounted(&disk);
    let file = mounts.create("/boot/half", Mode::Replace).unwrap();
    mounts.write(&file, &[1; 5000]).unwrap();
    let again = mounts.create("/boot/half", Mode::Append).unwrap_err();
    assert_eq!(again.fault, Fault::BeingWritten);
    mounts.unmount("boot").unwrap();
    let error = mounts.write(&file, &[1]).unwrap_err();
    assert_eq!(error.fault, Fault::Unmounted);
    assert_eq!(mounts.finish(file).unwrap_err().fault, Fault::Unmounted);
    let checked = check(&disk);
    assert!(checked.is_clean(), "{checked:?}");
    assert_eq!(checked.files["/half"], Some(vec![]));
}

#[test]
fn the_mark_is_there_from_the_first_change_to_the_sync() {
    for (_, disk, _) in volumes().into_iter().take(3) {
        let mut mounts = mounted(&disk);
        let state = |disk: &MemDisk| {
            if disk.sector(0)[22] == 0 {
                disk.sector(0)[65]
            } else {
                disk.sector(0)[37]
            }
        };
        assert_eq!(state(&disk), 0);
        mounts.make_dir("/boot/d").unwrap();
        assert_eq!(state(&disk), 1);
        mounts.flush(false).unwrap();
        assert_eq!(state(&disk), 1);
        let mut crashed = mounted(&disk.clone());
        assert!(crashed.volume("boot").unwrap().was_dirty());
        mounts.flush(true).unwrap();
        assert_eq!(state(&disk), 0);
        assert!(!mounted(&disk).volume("boot").unwrap().was_dirty());
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_reported_by_every_flush_until_it_can() {
    let disk = formatted(9000, &["-F", "16", "-s", "1"]);
    let mut model = Model::new(mounted(&disk), 1, 1000);
    model.write_file("/a", Mode::Replace, &[1; 5000]).unwrap();
    disk.state().bad_write = Some(1);
    for _ in 0..2 {
        let error = model.mounts.flush(true).unwrap_err();
        assert_eq!(error.to_string(), "/boot: sector 1 cannot be written");
        assert!(model.mounts.unmount("boot").is_err());
    }
    assert!(!check(&disk).files.contains_key("/a"));
    disk.state().bad_write = None;
    model.mounts.unmount("boot").unwrap();
    assert_eq!(check(&disk).files["/a"], Some(vec![1; 5000]));
}

#[test]
fn a_disk_that_is_write_protected_says_so_and_can_be_unmounted() {
    let disk = formatted(9000, &["-F", "16", "-s", "1"]);
    disk.state().read_only = true;
    let mut mounts = mounted(&disk);
    for _ in 0..2 {
        let error = mounts.make_dir("/boot/d").unwrap_err();
        assert_eq!(error.to_string(), "/boot/d: the medium is write-protected");
    }
    assert_eq!(mounts.read_dir("/boot").unwrap().entries, []);
    mounts.unmount("boot").unwrap();
}

#[test]
fn a_directory_does_not_become_longer_than_one_may_be() {
    let mut image = image::small();
    let first = image.first("OVERLAYS");
    let most = 65_536 * 32 / 512;
    image.set_fat(first, 50_000);
    (50_000..50_000 + most - 2).for_each(|n| image.set_fat(n, n + 1));
    image.set_fat(50_000 + most - 2, 0x0fff_ffff);
    let mut mounts = mounted(&image.disk);
    let error = mounts.make_dir("/boot/overlays/d").unwrap_err();
    assert_eq!(error.fault, Fault::DirectoryFull);
    image.set_fat(50_000 + most - 3, 0x0fff_ffff);
    let mut mounts = self::mounted(&image.disk);
    mounts.make_dir("/boot/overlays/d").unwrap();
}

#[test]
fn a_cache_of_the_device_that_is_not_written_is_reported_until_it_is() {
    let disk = formatted(9000, &["-F", "16", "-s", "1"]);
    let mut model = Model::new(mounted(&disk), 1, 1000);
    disk.state().bad_flush = true;
    assert!(model.write_file("/a", Mode::Replace, &[1; 5000]).is_err());
    for done in [false, true, true] {
        let error = model.mounts.flush(done).unwrap_err();
        assert_eq!(error.to_string(), "/boot: the disk failed: cannot flush");
    }
    disk.state().bad_flush = false;
    model.mounts.flush(true).unwrap();
    model.write_file("/a", Mode::Replace, &[1; 5000]).unwrap();
    model.mounts.unmount("boot").unwrap();
    assert!(check(&disk).is_clean());
}

#[test]
fn a_file_that_was_longer_on_the_medium_is_appended_to_at_its_end() {
    // What a power cut leaves: the chain has grown, the size has not.
    let mut image = image::small();
    image.link(&[image.first("ONECLU~1"), 60_000, 60_001, 0x0fff_ffff]);
    let mut model = Model::new(mounted(&image.disk), 1, 1000);
    model
        .write_file("/one cluster", Mode::Append, b"the end")
        .unwrap();
    model.mounts.unmount("boot").unwrap();
    let checked = check(&image.disk);
    let expected = [image::contents(4, 512), b"the end".to_vec()].concat();
    assert_eq!(checked.files["/one cluster"], Some(expected));
    assert_eq!((checked.lost, checked.excess), (0, 0));
}
