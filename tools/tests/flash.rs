// SPDX-License-Identifier: MIT OR Apache-2.0
//! The released image and the program that writes it, as a user runs it.
//!
//! Wrong disks that take a real machine to be wrong are in `src/flash/target/tests.rs`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tools::bmap::{Bmap, sha256};
use tools::card::{Card, Layout};
use tools::release::Release;

const PACKED: &str = "orthogon-9.9-rpi4.img.xz";
const SUMS: &str = "orthogon-9.9-rpi4.img.xz.sha256";
const MAP: &str = "orthogon-9.9-rpi4.img.bmap";
const IMAGE_BYTES: usize = 76 << 20;

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut noise);
    noise
}

fn make(folder: &Path, url: &str) -> PathBuf {
    let card = Card::new()
        .file("config.txt", "arm_64bit=1\n")
        .file("kernel8.img", noise(3 << 20, 1));
    let release = Release {
        version: "9.9".to_owned(),
        date: "2026-11-22".to_owned(),
        url: url.to_owned(),
    };
    release.make(&card, folder).unwrap()
}

/// A release that all tests share and none changes.
static RELEASE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    make(folder.path(), "https://example.org");
    folder
});

/// A copy of it.
fn copy() -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in [PACKED, SUMS, MAP] {
        fs::copy(RELEASE.path().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn flash(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orthogon-flash"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Flashes and expects a refusal that says `why`.
#[track_caller]
fn refused(mut command: Command, why: &str) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(!status.success(), "{command:?} did it");
    assert!(said.contains(why), "{why:?} is not in: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// A target of so many bytes, full of noise.
fn target(folder: &Path, bytes: usize) -> (PathBuf, Vec<u8>) {
    let path = folder.join("target");
    let content = noise(bytes, 2);
    fs::write(&path, &content).unwrap();
    (path, content)
}

/// Every byte that the map names is the image's, and every other the target's own.
#[track_caller]
fn assert_flashed(release: &Path, target: &Path, before: &[u8]) {
    let map = Bmap::parse(&fs::read_to_string(release.join(MAP)).unwrap()).unwrap();
    let after = fs::read(target).unwrap();
    let mut at = 0;
    for extent in &map.extents {
        let (start, end) = (extent.bytes.start as usize, extent.bytes.end as usize);
        assert!(
            after[at..start] == before[at..start],
            "written before {start}"
        );
        assert_eq!(sha256(&after[start..end]), extent.sha256);
        at = end;
    }
    assert!(after[at..] == before[at..], "written behind the image");
}

#[test]
fn a_file_is_flashed_and_read_back() {
    let folder = TempDir::new().unwrap();
    let (path, before) = target(folder.path(), IMAGE_BYTES + 4096 * 3);
    let image = RELEASE.path().join(PACKED);
    let image = image.to_str().unwrap();
    let target = path.to_str().unwrap();
    let done = flash(&["--file", "--yes", "--image", image, target]).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("Checked all of it is there"), "{said}");
    assert_flashed(RELEASE.path(), &path, &before);
}

#[test]
fn a_broken_image_is_refused_and_nothing_is_written() {
    let target_folder = TempDir::new().unwrap();
    let (path, before) = target(target_folder.path(), IMAGE_BYTES);
    let target = path.to_str().unwrap();
    let edit = |name: &'static str, change: fn(&mut Vec<u8>)| {
        move |folder: &Path| {
            let mut bytes = fs::read(folder.join(name)).unwrap();
            change(&mut bytes);
            fs::write(folder.join(name), bytes).unwrap();
        }
    };
    let remove =
        |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
    // The sum made right again: what is behind it must notice.
    fn summed(folder: &Path, packed: &[u8]) {
        fs::write(folder.join(PACKED), packed).unwrap();
        fs::write(folder.join(SUMS), format!("{}  {PACKED}\n", sha256(packed))).unwrap();
    }
    fn packed(folder: &Path, image: &[u8]) {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(image).unwrap();
        summed(folder, &xz.finish().unwrap());
    }
    fn image(folder: &Path, change: fn(&mut Vec<u8>)) {
        let layout = Layout::released();
        let raw = folder.join("raw");
        Card::new().lay_out(&raw, &layout).unwrap();
        let mut bytes = fs::read(&raw).unwrap();
        change(&mut bytes);
        packed(folder, &bytes);
        let all = 0..bytes.len() as u64;
        let map = Bmap::of(&bytes, std::slice::from_ref(&all));
        fs::write(folder.join(MAP), map.to_xml()).unwrap();
    }
    type Break = Box<dyn Fn(&Path)>;
    let broken: Vec<(&str, Break)> = vec![
        ("cannot read", Box::new(remove(PACKED))),
        ("cannot read", Box::new(remove(SUMS))),
        ("cannot read", Box::new(remove(MAP))),
        (
            "damaged, or cut off",
            Box::new(edit(PACKED, |b| b.truncate(b.len() / 2))),
        ),
        (
            "damaged, or cut off",
            Box::new(edit(PACKED, |b| b[5000] ^= 1)),
        ),
        ("damaged, or cut off", Box::new(edit(PACKED, Vec::clear))),
        ("damaged, or cut off", Box::new(edit(SUMS, |b| b[0] ^= 1))),
        ("has no sum of", Box::new(edit(SUMS, |b| b.truncate(70)))),
        (
            "is damaged: it is no XML",
            Box::new(edit(MAP, |b| b.truncate(200))),
        ),
        (
            "its own checksum",
            Box::new(edit(MAP, |b| {
                let at = b.windows(7).position(|w| w == b"chksum=").unwrap();
                b[at + 9] ^= 1;
            })),
        ),
        ("is damaged: it is no XML", Box::new(edit(MAP, Vec::clear))),
        ("no text", Box::new(edit(MAP, |b| b[10] = 0xff))),
        (
            "cannot be unpacked",
            Box::new(|folder| {
                let bytes = fs::read(folder.join(PACKED)).unwrap();
                summed(folder, &bytes[..bytes.len() / 2]);
            }),
        ),
        (
            "cannot be unpacked",
            Box::new(|folder| {
                let mut bytes = fs::read(folder.join(PACKED)).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
                summed(folder, &bytes);
            }),
        ),
        (
            "cannot be unpacked",
            Box::new(|folder| summed(folder, b"no xz at all")),
        ),
        (
            "another sum",
            Box::new(|folder| packed(folder, &vec![7; IMAGE_BYTES])),
        ),
        (
            "is not of this image",
            Box::new(|folder| packed(folder, &vec![7; 1 << 20])),
        ),
        (
            "is not of this image",
            Box::new(|folder| packed(folder, &vec![7; IMAGE_BYTES + 1])),
        ),
        (
            "table is another's",
            Box::new(|folder| image(folder, |b| b[440] ^= 1)),
        ),
        (
            "table is another's",
            Box::new(|folder| image(folder, |b| b[510] = 0)),
        ),
        (
            "table is another's",
            Box::new(|folder| image(folder, |b| b[446 + 36] = 0x0c)),
        ),
        (
            "released ones have",
            Box::new(|folder| image(folder, |b| b.truncate(70 << 20))),
        ),
        (
            "leaves out the partition table",
            Box::new(|folder| {
                image(folder, |_| {});
                let layout = Layout::released();
                let raw = fs::read(folder.join("raw")).unwrap();
                let map = Bmap::of(&raw, std::slice::from_ref(&layout.boot));
                fs::write(folder.join(MAP), map.to_xml()).unwrap();
            }),
        ),
        (
            "its map is empty",
            Box::new(|folder| {
                image(folder, |_| {});
                let raw = fs::read(folder.join("raw")).unwrap();
                fs::write(folder.join(MAP), Bmap::of(&raw, &[]).to_xml()).unwrap();
            }),
        ),
    ];
    for (why, break_it) in &broken {
        let folder = copy();
        break_it(folder.path());
        let image = folder.path().join(PACKED);
        let image = image.to_str().unwrap();
        refused(flash(&["--file", "--yes", "--image", image, target]), why);
        assert!(fs::read(&path).unwrap() == before, "{why}: written");
    }
    for (image, why) in [
        (target, "is no .img.xz"),
        ("/dev/null", "is no .img.xz"),
        ("none.img.xz", "cannot read none.img.xz"),
    ] {
        refused(flash(&["--file", "--yes", "--image", image, target]), why);
        assert!(fs::read(&path).unwrap() == before, "{why}: written");
    }
}

#[test]
fn a_wrong_target_is_refused_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let (path, before) = target(folder.path(), IMAGE_BYTES);
    let (target, dir) = (path.to_str().unwrap(), folder.path().to_str().unwrap());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let small = folder.path().join("small");
    let one_sector_less = &before[..IMAGE_BYTES - 512];
    fs::write(&small, one_sector_less).unwrap();
    let none = folder.path().join("none");
    let image = RELEASE.path().join(PACKED);
    let image = ["--image", image.to_str().unwrap()];
    for (arguments, why) in [
        (&["--yes", ""][..], "say which device"),
        (&["--yes"], "<DEVICE>"),
        (&["--yes", none.to_str().unwrap()], "there is no "),
        (&["--yes", "--file", none.to_str().unwrap()], "there is no "),
        (&["--yes", link.to_str().unwrap()], "there is no "),
        (&["--yes", dir], "is no disk"),
        (&["--yes", "--file", dir], "is no file"),
        (&["--yes", "--force", "/dev/null"], "is no disk"),
        (&["--yes", "--file", "/dev/null"], "is no file"),
        (&["--yes", "--force", target], "say --file"),
        (
            &["--yes", "--file", small.to_str().unwrap()],
            "is too small",
        ),
        (&["--yes", "--file", target, target], "unexpected argument"),
        (&["--file", target], "not confirmed: nothing was written"),
    ] {
        let mut command = flash(&image);
        command.args(arguments);
        refused(command, why);
    }
    assert!(!none.exists(), "made a file");
    assert!(fs::read(&path).unwrap() == before, "written");
    assert!(fs::read(&small).unwrap() == one_sector_less, "written");
}

#[test]
fn it_asks_and_takes_only_the_name_for_a_yes() {
    let folder = TempDir::new().unwrap();
    let (path, before) = target(folder.path(), IMAGE_BYTES);
    let image = RELEASE.path().join(PACKED);
    let answer = |text: &str| {
        let mut command = flash(&["--file", "--image", image.to_str().unwrap()]);
        let command = command.arg(&path).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    for text in ["", "\n", "y\n", "yes\n", "targe\n", "targett\n"] {
        assert!(!answer(text).status.success(), "{text:?}");
        assert!(fs::read(&path).unwrap() == before, "{text:?}: written");
    }
    let done = answer("target\n");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("WILL BE LOST"),
        "{said}"
    );
    assert_flashed(RELEASE.path(), &path, &before);
}

/// Starts it, and kills it as soon as the partition table is gone and something else is there.
fn killed_while_it_writes(path: &Path, before: &[u8]) -> bool {
    let image = RELEASE.path().join(PACKED);
    let mut command = flash(&["--file", "--yes", "--image", image.to_str().unwrap()]);
    let command = command.arg(path).stdout(Stdio::null());
    let mut child: Child = command.spawn().unwrap();
    let mut sector = [0; 512];
    let file = fs::File::open(path).unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(60) {
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut sector, 0).unwrap();
        if sector == [0; 512] {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let after = fs::read(path).unwrap();
    let tail = Layout::released().data.start as usize;
    after[..512] == [0; 512] && after[tail..] == before[tail..]
}

#[test]
fn killed_in_the_middle_it_leaves_no_table_and_run_again_ends_right() {
    let folder = TempDir::new().unwrap();
    let (path, before) = target(folder.path(), IMAGE_BYTES);
    // Which of its flushes the kill comes in between is chance; that it was in the middle is looked at.
    let mut halfway = 0;
    for _ in 0..5 {
        fs::write(&path, &before).unwrap();
        halfway += u32::from(killed_while_it_writes(&path, &before));
    }
    assert!(halfway > 0, "5 kills, and none while it wrote");
    let image = RELEASE.path().join(PACKED);
    let again = ["--file", "--yes", "--image", image.to_str().unwrap()];
    let again = flash(&again).arg(&path).output().unwrap();
    assert!(again.status.success(), "{again:?}");
    assert_flashed(RELEASE.path(), &path, &before);
}

#[test]
fn equal_inputs_give_equal_releases() {
    let folder = TempDir::new().unwrap();
    std::thread::sleep(Duration::from_millis(2100)); // FAT counts in 2 s
    make(folder.path(), "https://example.org");
    for name in [PACKED, SUMS, MAP, "os_list.json", "icon.svg"] {
        let [a, b] = [RELEASE.path(), folder.path()].map(|f| fs::read(f.join(name)).unwrap());
        assert!(!a.is_empty() && a == b, "{name}");
    }
}

#[test]
fn the_list_for_imager_says_what_the_files_are() {
    let list = fs::read(RELEASE.path().join("os_list.json")).unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let entry = &list["os_list"][0];
    let packed = fs::read(RELEASE.path().join(PACKED)).unwrap();
    let unpacked = Command::new("xz")
        .arg("-dc")
        .arg(RELEASE.path().join(PACKED))
        .output();
    let unpacked = unpacked.expect("xz").stdout;
    assert_eq!(entry["url"], format!("https://example.org/{PACKED}"));
    assert_eq!(entry["icon"], "https://example.org/icon.svg");
    assert_eq!(entry["extract_size"], unpacked.len());
    assert_eq!(entry["extract_sha256"], sha256(&unpacked));
    assert_eq!(entry["image_download_size"], packed.len());
    assert_eq!(entry["image_download_sha256"], sha256(&packed));
    assert_eq!(entry["release_date"], "2026-11-22");
    assert_eq!(entry["devices"], serde_json::json!(["pi4-64bit"]));
    for key in ["name", "description"] {
        assert!(
            entry[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}"
        );
    }
    let mut check = Command::new("sha256sum");
    let check = check.args(["-c", SUMS]).current_dir(RELEASE.path());
    assert!(check.status().unwrap().success());
}
