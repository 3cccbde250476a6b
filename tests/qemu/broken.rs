// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cards that are broken: each is an error that names what is wrong, and the kernel goes on.
//!
//! One boot reads them all: the image is broken and repaired under the running QEMU, which
//! keeps nothing of it, and `mount` begins anew.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use qemu_tests::corrupt::{Patch, corruptions, good, good_image};
use qemu_tests::{Console, Machine, case, claim};
use tempfile::TempDir;

/// The seed of the noise whose errors the table knows.
const SEED: u64 = 1;

/// What each corruption makes the kernel say, in the reply to `mount` or to one that reads.
/// `""`: nothing, all is read right.
#[rustfmt::skip]
const SAYS: &[(&str, &str)] = &[
    ("MBR without signature", "no partition table: sector 0 ends in 00 00, not in 55 aa"),
    ("MBR all zero", "no partition table: sector 0 ends in 00 00, not in 55 aa"),
    ("partition beyond the card", "partition 1: it ends at sector 385032, but the disk has 262144"),
    ("partition longer than the card", "partition 1: it ends at sector 4294975487, but the disk has"),
    ("partition of no length", "partition 1: it has a type, but no sectors"),
    ("partition that starts at the MBR", "partition 1: it begins at sector 0, where the table is"),
    ("partition whose end wraps around", "partition 1: it ends at sector 4294967312, but the disk has"),
    ("partitions overlap", "partition 2: it overlaps partition 1"),
    ("partition of another type", ""),
    ("partition of type 0", "there is no partition 1"),
    ("extended partition that contains itself", "partition 1: it begins at sector 0"),
    ("0 bytes a sector", "damaged boot sector: bytes per sector is 0, must be"),
    ("513 bytes a sector", "damaged boot sector: bytes per sector is 513, must be"),
    ("65,535 bytes a sector", "damaged boot sector: bytes per sector is 65535, must be"),
    ("4,096 bytes a sector", "damaged boot sector: total sectors is 122880, must be at most 15360"),
    ("0 sectors a cluster", "damaged boot sector: sectors per cluster is 0, must be"),
    ("3 sectors a cluster", "damaged boot sector: sectors per cluster is 3, must be"),
    ("255 sectors a cluster", "damaged boot sector: sectors per cluster is 255, must be"),
    ("no reserved sector", "damaged boot sector: reserved sectors is 0, must be at least 1"),
    ("65,535 reserved sectors", "damaged: cluster 2 of it is marked free"),
    ("no FAT", "damaged boot sector: number of FATs is 0, must be"),
    ("200 FATs", "damaged boot sector: number of FATs is 200, must be"),
    ("FAT of no length", "damaged boot sector: sectors per FAT is 0, must be"),
    ("FAT of greatest length", "damaged boot sector: total sectors is 122880, must be at least"),
    ("volume of no length", "damaged boot sector: total sectors is 0, must be at least"),
    ("volume of greatest length", "damaged boot sector: total sectors is 4294967295, must be at most"),
    ("root directory at cluster 0", "damaged boot sector: root directory cluster is 0, must be 2 to"),
    ("root directory at cluster 1", "damaged boot sector: root directory cluster is 1, must be 2 to"),
    ("root directory beyond the volume", "damaged boot sector: root directory cluster is 268435200, must"),
    ("boot sector without signature", "no FAT file system: its first sector ends in 00 00, not in 55 aa"),
    ("boot sector all zero", "no FAT file system: its first sector ends in 00 00, not in 55 aa"),
    ("information sector beyond the volume", "damaged boot sector: information sector is 65535, must be"),
    ("root directory in a cycle", "/boot: damaged: its chain of clusters loops at 2"),
    ("chain: a cluster follows itself", "BIG.BIN: damaged: its chain of clusters loops at 5"),
    ("chain: two clusters follow each other", "BIG.BIN: damaged: its chain of clusters loops at 6"),
    ("chain: ends in a free cluster", "BIG.BIN: damaged: cluster 5 of it is marked free"),
    ("chain: next is cluster 1", "BIG.BIN: damaged: cluster 5 leads to 1, which does not exist"),
    ("chain: next is marked bad", "BIG.BIN: damaged: cluster 5 of it is marked bad"),
    ("chain: next is beyond the volume", "BIG.BIN: damaged: cluster 5 leads to 180150000, which does not"),
    ("chain: shorter than the file", "BIG.BIN: damaged: its chain ends at cluster 5, after 2 of 128"),
    ("chain: joins another file's", "BIG.BIN: damaged: its chain ends at cluster 3, after 3 of 128"),
    ("chain: joins the root directory", "BIG.BIN: damaged: its chain ends at cluster 2, after 3 of 128"),
    ("folder in a cycle", "/boot/FOLDER: damaged: its chain of clusters loops at"),
    ("folder that is the root directory", "/boot/FOLDER: damaged: the directory contains itself"),
    ("folder beyond the volume", "/boot/FOLDER: damaged: it begins at cluster 268369920"),
    ("folder without a cluster", "/boot/FOLDER: damaged: it begins at cluster 0"),
    ("folder that says it is a file", "/boot/FOLDER: not a directory"),
    ("file that says it is a folder", "/boot/HELLO.TXT: is a directory"),
    ("file of 4 GiB in one cluster", "HELLO.TXT: damaged: 4294967295 bytes long, on a volume of"),
    ("file longer than its chain", "HELLO.TXT: damaged: its chain ends at cluster 3, after 1 of 2048"),
    ("file with a length and no cluster", "HELLO.TXT: damaged: it begins at cluster 0"),
    ("file at cluster 1", "HELLO.TXT: damaged: it begins at cluster 1"),
    ("file beyond the volume", "HELLO.TXT: damaged: it begins at cluster 268435440"),
    ("name of control characters", "damaged and not shown: 1"),
    ("name with slashes", "damaged and not shown: 1"),
    ("name of spaces", "damaged and not shown: 1"),
    ("long name with a wrong checksum", "  ARATHERL.TXT"),
    ("long name with parts out of order", "  ARATHERL.TXT"),
    ("long name with 63 parts", "  ARATHERL.TXT"),
    ("long name with part number 0", "  ARATHERL.TXT"),
    ("long name of half characters", "  a rather long file name.tx"),
    ("long name with an escape sequence", "damaged and not shown: 1"),
    ("long name without a file", "65556  bytes in 3 entries"),
    ("noise in the MBR's table", "partition 1: its status byte is 0x"),
    ("noise in the parameter block", "damaged boot sector: bytes per sector is"),
    ("noise in the boot sector, signature kept", "damaged boot sector: bytes per sector is"),
    ("noise in the information sector", "damaged: invalid FSInfo signature"),
    ("noise in the FAT", "/boot: damaged: cluster 2 leads to"),
    ("noise in the root directory", "damaged and not shown"),
    ("noise in the folder", "damaged and not shown"),
    ("noise in FAT and root directory", "/boot: damaged: cluster 2 leads to"),
    ("noise everywhere, signature kept", "partition 1: its status byte is 0x"),
    ("noise everywhere", "no partition table: sector 0 ends in"),
];

/// Commands that read, what each must print of the good card, and the path that an error names.
static READERS: LazyLock<Vec<(&str, String, &str)>> = LazyLock::new(|| {
    let hash = crate::card::sha256(&good_file("BIG.BIN"));
    let text = |file| {
        String::from_utf8(good_file(file))
            .expect("a text")
            .trim_end()
            .to_owned()
    };
    let (long, inner) = ("a rather long file name.txt", "FOLDER/INNER.TXT");
    vec![
        (
            "cat /boot/HELLO.TXT",
            text("HELLO.TXT"),
            "/boot/HELLO.TXT: ",
        ),
        ("sha256 /boot/BIG.BIN", hash, "/boot/BIG.BIN: "),
        (
            "cat '/boot/a rather long file name.txt'",
            text(long),
            "/boot/a rather long file name.txt: ",
        ),
        (
            "cat /boot/FOLDER/INNER.TXT",
            text(inner),
            "/boot/FOLDER/INNER.TXT: ",
        ),
    ]
});

fn good_file(name: &str) -> Vec<u8> {
    good().get(name).expect("a file of the good card").to_vec()
}

/// A running kernel whose card is broken and repaired.
struct Patient {
    console: Console,
    image: std::fs::File,
    dir: TempDir,
}

impl Patient {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("card.img");
        std::fs::write(&path, good_image()).expect("a card");
        let image = OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the card");
        let mut console = Machine::new().card(&path).start();
        console.prompt();
        Self {
            console,
            image,
            dir,
        }
    }

    /// The replies to `mount`, to both `ls`, and to the readers, which are judged: each is right
    /// or an error.
    fn examine(&mut self, what: &str, patches: &[Patch]) -> Vec<String> {
        for (at, bytes) in patches {
            self.image.write_all_at(bytes, *at).expect("the card");
        }
        let lists = ["mount", "ls /boot", "ls /boot/FOLDER"];
        let mut replies = lists.map(|line| self.console.command(line)).to_vec();
        for (line, right, path) in READERS.iter() {
            let reply = self.console.command(line);
            let is_right = reply == *right || reply.starts_with(&format!("{right}\n"));
            let is_error = reply.starts_with(path);
            assert!(
                is_right || is_error,
                "{what}: {line}: neither right nor an error:\n{reply}"
            );
            replies.push(reply);
        }
        for (at, bytes) in patches {
            let good = &good_image()[usize::try_from(*at).expect("a small card")..][..bytes.len()];
            self.image.write_all_at(good, *at).expect("the card");
        }
        replies
    }

    /// The card is what it was, and the kernel alive.
    fn dismiss(mut self) {
        assert!(
            self.examine("no corruption", &[])
                .iter()
                .all(|r| !r.contains("damaged"))
        );
        let cpus = self.console.cpus();
        assert!(cpus.iter().all(|cpu| cpu.state == "online"), "{cpus:?}");
        drop(self.console);
        let image = std::fs::read(self.dir.path().join("card.img")).expect("the card");
        assert!(image == good_image(), "the kernel wrote to the card");
    }
}

#[test]
fn each_corruption_is_named() {
    let all = corruptions(SEED);
    claim(&format!(
        "each of {} broken cards: an error that names it, or right data",
        all.len()
    ));
    let mut patient = Patient::new();
    for corruption in &all {
        let name = corruption.name;
        let known = SAYS.iter().find(|(n, _)| *n == name);
        let says = known
            .unwrap_or_else(|| panic!("{name} is not in the table"))
            .1;
        let replies = patient.examine(name, &corruption.patches);
        let said = replies.iter().any(|r| r.contains(says));
        assert!(said, "{name}: no {says:?} in\n{}", replies.join("\n"));
        if says.is_empty() {
            for (reply, (line, right, _)) in replies[3..].iter().zip(READERS.iter()) {
                assert!(reply.starts_with(right), "{name}: {line}:\n{reply}");
            }
        }
    }
    assert_eq!(all.len(), SAYS.len(), "corruptions and table");
    patient.dismiss();
}

#[test]
fn more_noise_is_survived() {
    claim("noise from 12 more seeds: right data or errors, and the card is read again after");
    let mut patient = Patient::new();
    for seed in 2..14 {
        for corruption in corruptions(seed) {
            if corruption.name.starts_with("noise") {
                let what = format!("{}, seed {seed}", corruption.name);
                patient.examine(&what, &corruption.patches);
            }
        }
    }
    patient.dismiss();
}

#[test]
fn broken_cards_do_not_stop_the_boot() {
    claim("a broken card does not stop the boot: an error, and a prompt with four CPUs");
    for name in [
        "MBR all zero",
        "root directory in a cycle",
        "boot sector all zero",
        "noise everywhere",
    ] {
        case(name);
        let all = corruptions(SEED);
        let corruption = all.iter().find(|c| c.name == name).expect("a corruption");
        let (_, says) = SAYS.iter().find(|(n, _)| *n == name).expect("in the table");
        let mut console = Machine::new().card_broken(corruption).start();
        let mut said = console.prompt();
        said.push_str(&console.command("ls /boot"));
        assert!(said.contains(says), "{name}: no {says:?}:\n{said}");
        console.assert_four("2->1", "psci");
    }
}

#[test]
fn no_card_is_said() {
    claim("no card: said at boot, by ls, disk and mount; the kernel goes on");
    let mut console = Machine::new().start();
    let boot = console.prompt();
    assert!(boot.contains("no card"), "{boot}");
    for line in ["mount", "disk"] {
        let reply = console.command(line);
        assert!(
            reply.contains("no card") || reply.contains("card: none"),
            "{line}: {reply}"
        );
    }
    for line in [
        "ls /boot",
        "cat /boot/config.txt",
        "sha256 /boot/x",
        "hexdump /boot/x",
    ] {
        let reply = console.command(line);
        let named = reply.contains("nothing is mounted") || reply.contains("no such file");
        assert!(named, "{line}: {reply}");
    }
    console.assert_four("2->1", "psci");
}
