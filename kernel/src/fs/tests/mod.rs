// SPDX-License-Identifier: MIT OR Apache-2.0
//! Good images read right, damaged ones end in an error that says what is damaged, and nothing goes on for
//! ever: every read of the device is counted.

mod check;
mod cuts;
mod damages;
mod image;
mod model;
mod mutants;
mod write;

use self::image::{Image, contents, files};
use super::*;
use crate::bio::tests::MemDisk;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::{eprintln, format, vec};

use sha2::{Digest, Sha256};

/// Of the cache.
const PAGES: usize = 64;

#[derive(Default)]
struct Seen {
    files: BTreeMap<String, Vec<u8>>,
    errors: Vec<String>,
    damaged: usize,
}

/// Mounts, lists and reads all there is.
fn explore(disk: &MemDisk) -> Seen {
    let (mut seen, mut mounts) = (Seen::default(), Mounts::new());
    match mounts.mount("boot", "card:1", Box::new(disk.clone()), PAGES) {
        Ok(()) => {
            let volume = mounts.volume("boot").unwrap();
            let _ = volume.label();
            let _ = volume.free_bytes();
            explore_dir(&mut mounts, "/boot", &mut seen);
        }
        Err(error) => seen.errors.push(error.to_string()),
    }
    seen
}

fn explore_dir(mounts: &mut Mounts, path: &str, seen: &mut Seen) {
    let directory = match mounts.read_dir(path) {
        Ok(directory) => directory,
        Err(error) => return seen.errors.push(error.to_string()),
    };
    seen.damaged += directory.damaged;
    assert!(directory.entries.len() <= 65_536);
    for entry in directory.entries {
        let path = format!("{path}/{}", entry.name);
        if entry.is_dir {
            explore_dir(mounts, &path, seen);
        } else {
            match read(mounts, &path, 8192) {
                Ok(bytes) => {
                    seen.files.insert(path, bytes);
                }
                Err(error) => seen.errors.push(error.to_string()),
            }
        }
    }
}

fn read(mounts: &mut Mounts, path: &str, chunk: usize) -> Result<Vec<u8>, FsError> {
    let mut file = mounts.open(path)?;
    let (mut all, mut buf) = (Vec::new(), vec![0; chunk]);
    loop {
        match mounts.read(&mut file, &mut buf)? {
            0 => break,
            n => all.extend_from_slice(&buf[..n]),
        }
    }
    assert_eq!(all.len() as u64, file.size(), "{path}");
    Ok(all)
}

fn sha256(mounts: &mut Mounts, path: &str) -> Result<[u8; 32], FsError> {
    Ok(Sha256::digest(read(mounts, path, CHUNK_BYTES)?).into())
}

/// The small image as `/boot`.
pub(crate) fn mounted() -> Mounts {
    mounted_as_boot(image::small())
}

fn mounted_as_boot(image: Image) -> Mounts {
    let mut mounts = Mounts::new();
    mounts
        .mount("boot", "card:1", Box::new(image.disk), PAGES)
        .unwrap();
    mounts
}

#[test]
fn all_files_of_a_good_image_read_right() {
    for image in [
        image::small(),
        image::of_kind(fatfs::FatType::Fat16, 40_000),
        image::of_kind(fatfs::FatType::Fat12, 4_000),
    ] {
        let seen = explore(&image.disk);
        assert_eq!(seen.errors, [""; 0]);
        assert_eq!((seen.damaged, seen.files.len()), (0, files().len() + 1));
        for (path, contents) in files() {
            assert_eq!(seen.files[&format!("/boot/{path}")], contents, "{path}");
        }
    }
}

#[test]
fn reads_of_any_size_at_any_place() {
    let mut mounts = mounted();
    for chunk in [1, 100, 511, 512, 513, 4096, 10_000] {
        let bytes = read(&mut mounts, "/boot/fragmented.bin", chunk).unwrap();
        assert_eq!(bytes, contents(7, 16 * 512));
    }
    let mut file = mounts.open("/boot/fragmented.bin").unwrap();
    for at in [5000, 0, 8191, 512, 511, 8192, 9000, 1 << 40] {
        let mut two = [0; 2];
        file.seek(at);
        let n = mounts.read(&mut file, &mut two).unwrap();
        let expected = &contents(7, 16 * 512)[(at as usize).min(8192)..];
        assert_eq!(two[..n], expected[..expected.len().min(2)]);
    }
}

#[test]
fn entries_tell_size_time_and_flags() {
    let mut mounts = mounted();
    let directory = mounts.read_dir("/boot").unwrap();
    let config = &directory.entries[0];
    assert_eq!(
        (&*config.name, config.size, config.is_dir),
        ("CONFIG.TXT", 700, false)
    );
    assert_eq!(config.modified.unwrap().to_string(), "2026-07-31 23:59:58");
    let overlays = directory
        .entries
        .iter()
        .find(|entry| entry.name == "overlays")
        .unwrap();
    assert!(overlays.is_dir);
    let volume = mounts.volume("BOOT").unwrap();
    assert_eq!(volume.label().unwrap(), "ORTHOGON");
    assert_eq!(volume.geometry().width, boot::Width::Fat32);
    assert!(volume.free_bytes().unwrap() > 33_000_000);
}

#[test]
fn paths_match_in_any_case_and_errors_repeat_them() {
    let mut mounts = mounted();
    for path in [
        "/boot/config.txt",
        "BOOT/Config.TXT",
        "/boot/überraschung – 日本語.TXT",
        "/boot/overlays/../empty",
        "/boot/ALONGN~1.TXT",
    ] {
        assert!(mounts.open(path).is_ok(), "{path}");
    }
    for (path, error) in [
        ("/boot/nope", "/boot/nope: no such file or directory"),
        ("/nope/x", "/nope/x: no such file or directory"),
        ("/boot/config.txt/x", "/boot/config.txt/x: not a directory"),
        ("/boot/overlays", "/boot/overlays: is a directory"),
        ("/boot", "/boot: is a directory"),
        ("/", "/: is a directory"),
    ] {
        assert_eq!(mounts.open(path).err().unwrap().to_string(), error);
    }
    let error = mounts.read_dir("/boot/config.txt").unwrap_err();
    assert_eq!(error.to_string(), "/boot/config.txt: not a directory");
    assert_eq!(mounts.read_dir("/").unwrap().entries[0].name, "boot");
}

#[test]
fn the_table_can_be_shared_between_threads() {
    fn can_be_sent<T: Send>() {}
    can_be_sent::<Mounts>();
}

#[test]
fn a_file_does_not_survive_its_volume() {
    let mut mounts = mounted();
    let mut file = mounts.open("/boot/config.txt").unwrap();
    let again = mounts
        .mount("Boot", "ram", Box::new(image::small().disk), PAGES)
        .unwrap_err();
    assert_eq!(again.fault, Fault::Busy);
    mounts.unmount("boot").unwrap();
    mounts
        .mount("boot", "card:1", Box::new(image::small().disk), PAGES)
        .unwrap();
    assert_eq!(
        mounts.read(&mut file, &mut [0; 4]).unwrap_err().fault,
        Fault::Unmounted
    );
}

#[test]
fn sha256_is_of_the_contents() {
    let mut mounts = mounted();
    let hash = sha256(&mut mounts, "/boot/empty").unwrap();
    assert_eq!(hash[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    let hash = sha256(&mut mounts, "/boot/fragmented.bin").unwrap();
    assert_eq!(hash[..], Sha256::digest(contents(7, 16 * 512))[..]);
}

#[test]
fn a_bad_sector_is_named_and_the_rest_reads() {
    let image = image::small();
    let bad = image.cluster_at(image.first("ONECLU~1")) / 512;
    image.disk.state().bad = Some(bad);
    let mut mounts = mounted_as_boot(image);
    let error = sha256(&mut mounts, "/boot/one cluster")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("/boot/one cluster: sector {bad} cannot be read")
    );
    let bytes = read(&mut mounts, "/boot/overlays/vc4-kms-v3d.dtbo", 512).unwrap();
    assert_eq!(bytes, contents(6, 2000));
}

/// The cost in commands to the device, which `fat.rs` and the issue speak of.
#[test]
fn commands_for_a_listing_and_for_a_mebibyte() {
    let image = image::large();
    let disk = image.disk.clone();
    let mut mounts = Mounts::new();
    mounts
        .mount("boot", "card:1", Box::new(image.disk), 1024)
        .unwrap();
    let mut last = disk.reads();
    let mut cost = |what: &str| {
        let now = disk.reads();
        eprintln!("{what}: {} read commands", now - last);
        now - core::mem::replace(&mut last, now)
    };
    assert!(disk.reads() <= 2, "mount: {}", disk.reads());
    mounts.read_dir("/boot").unwrap();
    assert!(cost("ls") <= 3);
    let expected = contents(9, 1 << 20);
    assert_eq!(
        read(&mut mounts, "/boot/million.bin", 1 << 20).unwrap(),
        expected
    );
    assert!(cost("1 MiB in one read") <= 8);
    sha256(&mut mounts, "/boot/million.bin").unwrap();
    mounts.unmount("boot").unwrap();
    mounts
        .mount("boot", "card:1", Box::new(disk.share()), 64)
        .unwrap();
    mounts.read_dir("/boot").unwrap();
    cost("again, with little memory");
    sha256(&mut mounts, "/boot/million.bin").unwrap();
    assert!(cost("sha256 of 1 MiB") <= 30);
    read(&mut mounts, "/boot/million.bin", 4096).unwrap();
    assert!(cost("1 MiB in reads of 4 KiB") <= 30);
}
