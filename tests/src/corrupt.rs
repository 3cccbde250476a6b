// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cards that are broken, each in one way: what a reader must answer with an error.
//!
//! A corruption is a few patches of a good card ([`good`]), so it costs little to apply to an
//! image in memory or in a file, and a reader's host tests can use it as the QEMU tests do.
//! The noise comes from a seeded generator: a seed that finds a bug finds it again.

mod volume;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;

use fastrand::Rng;
use tools::card::{Card, write_sparse};
use volume::{ENTRY, Volume};

/// Bytes for a place on the card.
pub type Patch = (u64, Vec<u8>);

/// One way in which a card is broken.
#[derive(Clone, Debug)]
pub struct Corruption {
    /// What is broken, in short.
    pub name: &'static str,
    /// What to overwrite.
    pub patches: Vec<Patch>,
}

impl Corruption {
    /// Breaks an image in memory.
    pub fn apply(&self, card: &mut [u8]) {
        for (at, bytes) in &self.patches {
            let at = usize::try_from(*at).expect("the card is in memory");
            card[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Writes a new image file: the good card ([`good_image`]), broken.
    pub fn write(&self, image: &Path) -> io::Result<()> {
        let mut file = File::create(image)?;
        let good = good_image();
        file.set_len(good.len() as u64)?;
        write_sparse(&mut file, 0, good)?;
        for (at, bytes) in &self.patches {
            file.write_all_at(bytes, *at)?;
        }
        Ok(())
    }
}

/// The card that the corruptions are made for: a short file, one of many clusters, one with a
/// long name, and a folder with a file.
pub fn good() -> Card {
    let big: Vec<u8> = (0..64 * 1024_u32).map(|i| (i / 7) as u8).collect();
    Card::new()
        .file("HELLO.TXT", "hello from the card\n")
        .file("BIG.BIN", big)
        .file("a rather long file name.txt", "long\n")
        .file("FOLDER/INNER.TXT", "inner\n")
}

/// The image of [`good`], 128 MiB; made once.
pub fn good_image() -> &'static [u8] {
    static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let image = dir.path().join("card.img");
        good().write(&image, 128).expect("a good card");
        std::fs::read(image).expect("the card that was just written")
    });
    &IMAGE
}

/// Every corruption of the good card.
pub fn corruptions(seed: u64) -> Vec<Corruption> {
    let v = Volume::new(good_image());
    let mut all = Vec::new();
    let mut add = |name, patches| all.push(Corruption { name, patches });
    partition_table(&v, &mut add);
    parameter_block(&v, &mut add);
    chains(&v, &mut add);
    directories(&v, &mut add);
    noise(&v, &mut Rng::with_seed(seed), &mut add);
    all
}

type Add<'a> = dyn FnMut(&'static str, Vec<Patch>) + 'a;

fn partition_table(v: &Volume, add: &mut Add) {
    let n = |value: u32| value.to_le_bytes();
    add("MBR without signature", vec![(510, vec![0, 0])]);
    add("MBR all zero", vec![(0, vec![0; 512])]);
    let beyond = n(v.card_sectors() + 8);
    add("partition beyond the card", vec![v.table(0, 8, &beyond)]);
    add(
        "partition longer than the card",
        vec![v.table(0, 12, &n(u32::MAX))],
    );
    add("partition of no length", vec![v.table(0, 12, &n(0))]);
    add(
        "partition that starts at the MBR",
        vec![v.table(0, 8, &n(0))],
    );
    add(
        "partition whose end wraps around",
        vec![v.table(0, 8, &n(0xffff_fff0)), v.table(0, 12, &n(0x20))],
    );
    add("partitions overlap", vec![v.table(1, 8, &n(8193))]);
    add("partition of another type", vec![v.table(0, 4, &[0x82])]);
    add("partition of type 0", vec![v.table(0, 4, &[0])]);
    add(
        "extended partition that contains itself",
        vec![v.table(0, 4, &[0x05]), v.table(0, 8, &n(0))],
    );
}

fn parameter_block(v: &Volume, add: &mut Add) {
    for (name, at, bytes) in [
        ("0 bytes a sector", 11, &[0, 0][..]),
        ("513 bytes a sector", 11, &[1, 2]),
        ("65,535 bytes a sector", 11, &[255, 255]),
        ("4,096 bytes a sector", 11, &[0, 16]),
        ("0 sectors a cluster", 13, &[0]),
        ("3 sectors a cluster", 13, &[3]),
        ("255 sectors a cluster", 13, &[255]),
        ("no reserved sector", 14, &[0, 0]),
        ("65,535 reserved sectors", 14, &[255, 255]),
        ("no FAT", 16, &[0]),
        ("200 FATs", 16, &[200]),
        ("FAT of no length", 36, &[0; 4]),
        ("FAT of greatest length", 36, &[255; 4]),
        ("volume of no length", 32, &[0; 4]),
        ("volume of greatest length", 32, &[255; 4]),
        ("root directory at cluster 0", 44, &[0; 4]),
        ("root directory at cluster 1", 44, &[1, 0, 0, 0]),
        ("root directory beyond the volume", 44, &[0, 255, 255, 15]),
        ("boot sector without signature", 510, &[0, 0]),
        ("boot sector all zero", 0, &[0; 512]),
        ("information sector beyond the volume", 48, &[255, 255]),
    ] {
        add(name, v.bpb(at, bytes));
    }
    let looping = [v.fat(v.root, v.root), v.no_end_mark(v.root)].concat();
    add("root directory in a cycle", looping);
}

fn chains(v: &Volume, add: &mut Add) {
    let big = v.first_cluster(v.entry(b"BIG     BIN"));
    let (second, third) = (v.next(big), v.next(v.next(big)));
    let hello = v.first_cluster(v.entry(b"HELLO   TXT"));
    add("chain: a cluster follows itself", v.fat(second, second));
    add(
        "chain: two clusters follow each other",
        v.fat(third, second),
    );
    add("chain: ends in a free cluster", v.fat(second, 0));
    add("chain: next is cluster 1", v.fat(second, 1));
    add("chain: next is marked bad", v.fat(second, 0x0fff_fff7));
    add(
        "chain: next is beyond the volume",
        v.fat(second, 0x0abc_def0),
    );
    add("chain: shorter than the file", v.fat(second, 0x0fff_ffff));
    add("chain: joins another file's", v.fat(second, hello));
    add("chain: joins the root directory", v.fat(second, v.root));
}

fn directories(v: &Volume, add: &mut Add) {
    let folder = v.entry(b"FOLDER     ");
    let inside = v.first_cluster(folder);
    let hello = v.entry(b"HELLO   TXT");
    // A long name's parts lie before its short entry; the last part first.
    let long = v.entry(b"HELLO   TXT") + ENTRY * 2;
    let looping = [v.fat(inside, inside), v.no_end_mark(inside)].concat();
    add("folder in a cycle", looping);
    add(
        "folder that is the root directory",
        v.set_first_cluster(folder, v.root),
    );
    add(
        "folder beyond the volume",
        v.set_first_cluster(folder, 0x0fff_0000),
    );
    add("folder without a cluster", v.set_first_cluster(folder, 0));
    add(
        "folder that says it is a file",
        vec![(folder + 11, vec![0x20])],
    );
    add(
        "file that says it is a folder",
        vec![(hello + 11, vec![0x10])],
    );
    add(
        "file of 4 GiB in one cluster",
        vec![(hello + 28, vec![255; 4])],
    );
    add(
        "file longer than its chain",
        vec![(hello + 28, vec![0, 0, 16, 0])],
    );
    add(
        "file with a length and no cluster",
        v.set_first_cluster(hello, 0),
    );
    add("file at cluster 1", v.set_first_cluster(hello, 1));
    add(
        "file beyond the volume",
        v.set_first_cluster(hello, 0x0fff_fff0),
    );
    add(
        "name of control characters",
        vec![(hello, vec![1, 2, 0x1b, b'[', b'2', b'J', 7, 8])],
    );
    add("name with slashes", vec![(hello, b"../../A".to_vec())]);
    add("name of spaces", vec![(hello, vec![b' '; 11])]);
    add(
        "long name with a wrong checksum",
        vec![(long + 13, vec![0xa5])],
    );
    add(
        "long name with parts out of order",
        vec![(long, vec![0x42])],
    );
    add("long name with 63 parts", vec![(long, vec![0x7f])]);
    add("long name with part number 0", vec![(long, vec![0x40])]);
    add(
        "long name of half characters",
        vec![(long + 1, vec![0x00, 0xd8, 0x00, 0xd8])],
    );
    add(
        "long name with an escape sequence",
        vec![(long + 1, b"\x1b\0[\x002\0J\0".to_vec())],
    );
    add(
        "long name without a file",
        vec![(long + ENTRY * 3, vec![0xe5])],
    );
}

fn noise(v: &Volume, rng: &mut Rng, add: &mut Add) {
    let mut random = |n: usize| -> Vec<u8> { (0..n).map(|_| rng.u8(..)).collect() };
    let root = v.cluster(v.root);
    add("noise in the MBR's table", vec![v.table(0, 0, &random(64))]);
    add("noise in the parameter block", v.bpb(11, &random(79)));
    add(
        "noise in the boot sector, signature kept",
        v.bpb(0, &random(510)),
    );
    add("noise in the information sector", v.bpb(512, &random(512)));
    add("noise in the FAT", v.fats_at(8, &random(4096)));
    add(
        "noise in the root directory",
        vec![(root, random(v.cluster_bytes as usize))],
    );
    add(
        "noise in the folder",
        vec![{
            let folder = v.first_cluster(v.entry(b"FOLDER     "));
            (v.cluster(folder), random(v.cluster_bytes as usize))
        }],
    );
    add("noise in FAT and root directory", {
        let mut patches = v.fats_at(8, &random(4096));
        patches.push((root, random(v.cluster_bytes as usize)));
        patches
    });
    add(
        "noise everywhere, signature kept",
        vec![(0, random(510)), (512, random(8 << 20))],
    );
    add("noise everywhere", vec![(0, random(8 << 20))]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_a_name_and_changes_the_card() {
        let card = good_image();
        let all = corruptions(1);
        let names: BTreeSet<_> = all.iter().map(|c| c.name).collect();
        assert_eq!(names.len(), all.len(), "two bear the same name");
        assert!(all.len() >= 24, "{} corruptions", all.len());
        for c in &all {
            let changes = c.patches.iter().any(|(at, bytes)| {
                let at = *at as usize;
                card[at..at + bytes.len()] != bytes[..]
            });
            assert!(changes, "{} changes nothing", c.name);
        }
    }

    #[test]
    fn written_card_is_the_good_one_but_for_its_patches() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("card.img");
        let last = corruptions(3).pop().unwrap();
        last.write(&image).unwrap();
        let mut expected = good_image().to_vec();
        last.apply(&mut expected);
        assert!(std::fs::read(&image).unwrap() == expected);
    }

    #[test]
    fn equal_seeds_give_equal_noise() {
        let patches = |seed| corruptions(seed).pop().unwrap().patches;
        assert!(patches(7) == patches(7) && patches(7) != patches(8));
    }

    #[test]
    fn aims_at_what_it_names() {
        let mut card = good_image().to_vec();
        let v = Volume::new(&card);
        let long = v.entry(b"HELLO   TXT") + ENTRY * 2;
        assert_eq!(
            card[long as usize], 0x43,
            "the last of three parts of the long name"
        );
        let all = corruptions(1);
        let bad = all
            .iter()
            .find(|c| c.name == "chain: ends in a free cluster");
        bad.unwrap().apply(&mut card);
        let v = Volume::new(&card);
        let big = v.first_cluster(v.entry(b"BIG     BIN"));
        assert_eq!(v.next(v.next(big)), 0);
    }
}
