// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with disks of every kind, none of them real.
//!
//! sda: the system, on LVM. sdb: a card reader with a card. sdc: one that is mounted. And so on: see
//! [`machine`].

use super::*;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const CARD_SECTORS: u64 = 62_521_344;

struct Machine {
    folder: TempDir,
    next: u32,
}

impl Machine {
    fn sys(&self) -> PathBuf {
        self.folder.path().join("sys")
    }

    fn set(&self, place: &Path, attributes: &[(&str, &str)]) {
        for (name, value) in attributes {
            let file = place.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{value}\n")).unwrap();
        }
    }

    /// A block device; its number's minor counts up.
    fn device(&mut self, inside: &Path, name: &str, attributes: &[(&str, &str)]) -> PathBuf {
        let place = inside.join(name);
        self.set(&place, &[("ro", "0"), ("size", "62521344")]);
        self.set(&place, attributes);
        self.next += 1;
        let number = format!("dev/block/8:{}", self.next);
        for link in [number, format!("class/block/{name}")] {
            let link = self.sys().join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(&place, link).unwrap();
        }
        place
    }

    fn disk(&mut self, name: &str, attributes: &[(&str, &str)]) -> PathBuf {
        let devices = self.sys().join("devices");
        let place = self.device(&devices, name, &[("removable", "1"), ("device/type", "0")]);
        self.set(&place, attributes);
        self.device(&place, &format!("{name}1"), &[("partition", "1")]);
        place
    }

    /// `upper` is made of `lower`, a disk or a partition.
    fn stack(&mut self, upper: &str, lower: &str, attributes: &[(&str, &str)]) {
        let virt = self.sys().join("devices/virtual");
        let place = self.device(&virt, upper, attributes);
        let below = fs::canonicalize(self.sys().join("class/block").join(lower)).unwrap();
        for (folder, name, to) in [
            (below.join("holders"), upper, &place),
            (place.join("slaves"), lower, &below),
        ] {
            fs::create_dir_all(&folder).unwrap();
            symlink(to, folder.join(name)).unwrap();
        }
    }

    fn number(&self, name: &str) -> (u32, u32) {
        let wanted = fs::canonicalize(self.sys().join("class/block").join(name)).unwrap();
        for link in list(&self.sys().join("dev/block")).unwrap() {
            if fs::canonicalize(&link).unwrap() == wanted {
                return (8, base(&link)[2..].parse().unwrap());
            }
        }
        panic!("no number of {name}")
    }

    fn judge(&self, name: &str, force: bool) -> Result<Disk> {
        let host = Host {
            sys: self.sys(),
            proc: self.folder.path().join("proc"),
        };
        host.judge(self.number(name), force)
    }

    fn refusal(&self, name: &str) -> String {
        format!("{:#}", self.judge(name, true).unwrap_err())
    }
}

fn machine() -> Machine {
    let folder = TempDir::new().unwrap();
    let mut m = Machine { folder, next: 0 };
    m.disk("sda", &[("removable", "0")]);
    m.stack("dm-0", "sda1", &[("dm/name", "vg-root")]);
    m.disk(
        "sdb",
        &[("device/vendor", "Generic"), ("device/model", "SD/MMC  ")],
    );
    m.disk("sdc", &[]);
    m.disk("sdd", &[]);
    m.stack("dm-1", "sdd1", &[("dm/name", "vault")]);
    m.disk("sde", &[("ro", "1")]);
    m.disk("sdf", &[("size", "0")]);
    m.disk("sdg", &[("removable", "0"), ("device/model", "Backup 4T")]);
    m.disk("sdh", &[]);
    m.disk("sr0", &[("device/type", "5")]);
    m.disk(
        "mmcblk0",
        &[
            ("removable", "0"),
            ("device/type", "SD"),
            ("device/name", "SC32G"),
        ],
    );
    m.disk("mmcblk1", &[("removable", "0"), ("device/type", "MMC")]);
    m.disk("sdi", &[]);
    m.stack("md0", "sdi", &[]);
    m.disk("sdj", &[]);
    let (root, card) = (m.number("dm-0").1, m.number("sdc1").1);
    let proc = m.folder.path().join("proc");
    fs::create_dir_all(proc.join("self")).unwrap();
    // Of btrfs (/pool) mountinfo has a number that no device has; only the source tells.
    let mounts = format!(
        "22 1 0:21 / /proc rw - proc proc rw\n\
         23 1 8:{root} / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n\
         24 23 8:{card} / /media/my\\040card rw - vfat /dev/sdc1 rw\n\
         25 23 0:44 / /pool rw - btrfs /dev/sdj1 rw\n"
    );
    fs::write(proc.join("self/mountinfo"), mounts).unwrap();
    let swaps =
        "Filename Type Size Used Priority\n/dev/sdh1 partition 99 0 -2\n/swapfile file 9 0 -3\n";
    fs::write(proc.join("swaps"), swaps).unwrap();
    m
}

#[test]
fn cards_are_taken() {
    let m = machine();
    let expected = |name: &str, model: &str| Disk {
        name: name.to_owned(),
        model: model.to_owned(),
        bytes: CARD_SECTORS * 512,
        removable: true,
    };
    let reader = m.judge("sdb", false).unwrap();
    assert_eq!(reader, expected("sdb", "Generic SD/MMC"));
    let slot = m.judge("mmcblk0", false).unwrap();
    assert_eq!(slot, expected("mmcblk0", "SC32G"));
}

#[test]
fn what_is_not_removable_takes_force() {
    let m = machine();
    for name in ["sdg", "mmcblk1"] {
        let refused = format!("{:#}", m.judge(name, false).unwrap_err());
        assert!(refused.contains("not removable"), "{refused}");
        assert!(!m.judge(name, true).unwrap().removable);
    }
    assert!(
        m.judge("sdg", false)
            .unwrap_err()
            .to_string()
            .contains("Backup 4T")
    );
}

#[test]
fn what_is_used_is_refused_with_force_too() {
    let m = machine();
    for (name, why) in [
        ("sda", "it has the running system: / is mounted from dm-0"),
        ("dm-0", "it has the running system: / is mounted from dm-0"),
        ("sda1", "it is partition 1 of sda: give the disk, /dev/sda"),
        ("sdc", "/media/my card is mounted from sdc1; unmount it"),
        ("sdd", "it is a part of dm-1 (vault)"),
        ("dm-1", "made of others: sdd1"),
        ("sde", "write-protected"),
        ("sdf", "there is no card in it"),
        ("sdh", "/dev/sdh1 is swap space"),
        ("sr0", "it is no disk (SCSI type 5)"),
        ("sdi", "it is a part of md0"),
        ("sdj", "/pool is mounted from sdj1"),
    ] {
        let refusal = m.refusal(name);
        assert!(refusal.contains(why), "{name}: {refusal}");
    }
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let m = machine();
    let host = Host {
        sys: m.sys(),
        proc: m.folder.path().join("proc"),
    };
    let error = host.judge((250, 1), true).unwrap_err();
    assert!(error.to_string().contains("no device 250:1"), "{error}");
}

#[test]
fn without_the_list_of_mounts_nothing_is_written() {
    let m = machine();
    fs::remove_file(m.folder.path().join("proc/self/mountinfo")).unwrap();
    assert!(m.refusal("sdb").contains("cannot read what is mounted"));
}
