// SPDX-License-Identifier: MIT OR Apache-2.0
//! A good card: what the console shows is what the host's tools show of the image.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use qemu_tests::{Console, Machine, PROMPT, Slot, case, claim};
use tools::card::Card;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the boot partition lies, for mtools.
const BOOT_OFFSET: &str = "@@4M";

/// SHA-256 as coreutils computes it.
pub fn sha256(bytes: &[u8]) -> String {
    let mut sum = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("coreutils");
    sum.stdin
        .take()
        .expect("piped")
        .write_all(bytes)
        .expect("sha256sum reads");
    let output = sum.wait_with_output().expect("sha256sum ends");
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

fn mtools(program: &str, image: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .arg("-i")
        .arg(format!("{}{BOOT_OFFSET}", image.display()))
        .args(arguments)
        .output()
        .expect("mtools; `make setup` installs it");
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("names in UTF-8")
}

/// Names (in lower case, folders with a slash) and sizes, as mdir lists a folder.
fn mdir(image: &Path, path: &str) -> BTreeMap<String, String> {
    let listing = mtools("mdir", image, &["-a", &format!("::{path}")]);
    // NAME~1   EXT      1234 2025-01-01   0:00  long name
    let row = |line: &str| {
        let (short, extension) = (line.get(..8)?.trim_end(), line.get(9..12)?.trim_end());
        let words: Vec<&str> = line.get(12..)?.split_whitespace().collect();
        let [size, _date, _time, ref long @ ..] = words[..] else {
            return None;
        };
        if short.is_empty() {
            return None; // the sums at the end
        }
        let dot = if extension.is_empty() { "" } else { "." };
        let mut name = match long {
            [] => format!("{short}{dot}{extension}"),
            long => long.join(" "),
        };
        let size = match size {
            "<DIR>" => {
                name.push('/');
                "dir"
            }
            bytes => bytes.parse::<u64>().ok().map(|_| bytes)?,
        };
        Some((name.to_lowercase(), size.to_owned()))
    };
    let skipped = ["./", "../"];
    listing
        .lines()
        .filter_map(row)
        .filter(|(name, _)| !skipped.contains(&name.as_str()))
        .collect()
}

/// The same of the console's `ls`.
#[track_caller]
fn ls(console: &mut Console, path: &str) -> BTreeMap<String, String> {
    let listing = console.command(&format!("ls {path}"));
    let (rows, sum) = listing.rsplit_once('\n').unwrap_or(("", &listing));
    let row = |line: &str| {
        let (size, rest) = line.trim_start().split_once("  ")?;
        let (_date, name) = rest.split_once("  ")?;
        Some((name.to_lowercase(), size.to_owned()))
    };
    let entries: BTreeMap<_, _> = rows
        .lines()
        .map(|l| row(l).unwrap_or_else(|| panic!("{l:?}")))
        .collect();
    let bytes: u64 = entries
        .values()
        .filter_map(|size| size.parse::<u64>().ok())
        .sum();
    let sums = sum.trim_start();
    assert!(
        sums.starts_with(&format!("{bytes}  bytes in {} entr", entries.len())),
        "{listing}"
    );
    entries
}

#[test]
fn ls_shows_what_mdir_shows() {
    claim("`ls /boot` and `ls /boot/overlays` show what mdir shows of out/card.img");
    let image = tools::out_dir().join("card.img");
    let mut console = Machine::new().card(&image).args(["-snapshot"]).start();
    let expected = mdir(&image, "/");
    assert!(expected.len() >= 10, "{expected:?}");
    assert_eq!(ls(&mut console, "/boot"), expected);
    assert_eq!(
        ls(&mut console, "/boot/overlays"),
        mdir(&image, "/overlays")
    );
    let root = console.command("ls");
    assert!(root.contains("boot/"), "{root}");
}

#[test]
fn cat_shows_what_mtype_shows() {
    claim("`cat /boot/config.txt` shows what mtype shows of out/card.img");
    let image = tools::out_dir().join("card.img");
    let mut console = Machine::new().card(&image).args(["-snapshot"]).start();
    for file in ["config.txt", "cmdline.txt"] {
        let expected = mtools("mtype", &image, &[&format!("::/{file}")]);
        let shown = console.command(&format!("cat /boot/{file}"));
        assert_eq!(shown, expected.trim_end(), "{file}");
    }
}

#[test]
fn files_hash_as_on_the_host() {
    claim("1 MiB of noise and out/'s own files have the host's SHA-256");
    let mut noise = vec![0; 1 << 20];
    Rng::with_seed(2).fill(&mut noise);
    let kernel = std::fs::read(tools::out_dir().join("kernel8.img")).expect("`make kernel`");
    let files = [
        ("NOISE.BIN", noise.clone()),
        ("kernel8.img", kernel),
        ("empty", Vec::new()),
        ("one byte", vec![7]),
        ("one sector", noise[..512].to_vec()),
        ("one sector and a byte", noise[..513].to_vec()),
        ("one chunk", noise[..64 << 10].to_vec()),
    ];
    let card = files.iter().fold(Card::new(), |card, (name, bytes)| {
        card.file(name, bytes.clone())
    });
    let mut console = Machine::new().card_with(&card).start();
    for (name, bytes) in &files {
        let shown = console.command(&format!("sha256 '/boot/{name}'"));
        let (hash, size) = (sha256(bytes), bytes.len());
        let expected = format!("{hash}\n/boot/{name}: {size} byte");
        assert!(shown.starts_with(&expected), "{name}: {expected}{shown}");
    }
}

#[test]
fn both_controllers_read_both_kinds_of_card() {
    claim("both controllers read SDSC and SDHC cards: 1 MiB of noise has the host's SHA-256");
    let mut noise = vec![0; 1 << 20];
    Rng::with_seed(3).fill(&mut noise);
    let card = Card::new().file("NOISE.BIN", noise.clone());
    let expected = sha256(&noise);
    for slot in [Slot::Arasan, Slot::Emmc2] {
        for (mib, kind) in [(128, "SDSC"), (4096, "SDHC")] {
            case(&format!("{slot:?}, {kind} of {mib} MiB"));
            let mut console = Machine::new().card_sized(&card, mib).slot(slot).start();
            let shown = console.command("sha256 /boot/NOISE.BIN");
            assert!(shown.starts_with(&expected), "{expected}: {shown}");
            let disk = console.command("disk");
            let first = disk.lines().next().unwrap_or("").to_lowercase();
            for word in [format!("{slot:?}"), format!("{mib} MiB"), kind.into()] {
                assert!(first.contains(&word.to_lowercase()), "no {word}:\n{disk}");
            }
        }
    }
}

#[test]
fn hexdump_shows_the_bytes() {
    claim("hexdump shows a file's bytes, from any offset on, and no more than asked for");
    let bytes: Vec<u8> = (0..=255).chain(b"the end".iter().copied()).collect();
    let mut console = Machine::new()
        .card_with(&Card::new().file("BYTES", bytes.clone()))
        .start();
    let dumped = |text: &str| -> Vec<u8> {
        let rows = text
            .lines()
            .map(|row| row.get(10..59).unwrap_or_else(|| panic!("row {row:?}")));
        let words = rows.flat_map(str::split_whitespace);
        words
            .map(|w| u8::from_str_radix(w, 16).unwrap_or_else(|_| panic!("{w:?} in\n{text}")))
            .collect()
    };
    for (arguments, expected) in [
        ("", &bytes[..256]),
        (" 0 1", &bytes[..1]),
        (" 250", &bytes[250..]),
        (" 0x64 32", &bytes[100..132]),
        (" 262 1000", &bytes[262..]),
    ] {
        let shown = console.command(&format!("hexdump /boot/BYTES{arguments}"));
        assert_eq!(dumped(&shown), expected, "hexdump{arguments}:\n{shown}");
    }
    let text = console.command("hexdump /boot/BYTES 256");
    assert!(
        text.starts_with("00000100 ") && text.ends_with(" the end"),
        "{text}"
    );
    let beyond = console.command("hexdump /boot/BYTES 263");
    assert!(beyond.contains("nothing at offset 263"), "{beyond}");
}

#[test]
fn long_names_and_folders_are_found() {
    claim("long names, names in other scripts, spaces, quotes, nested folders: found and listed");
    let deep = "a/b c/Überordner/日本語/d.e.f/file with a very long name indeed.text";
    let names = [
        "Überraschung – 日本語.txt",
        "it's quoted.txt",
        "UPPER.TXT",
        "lower.txt",
        "Mixed.Case.Name",
        deep,
    ];
    let card = names.iter().fold(Card::new(), |card, n| {
        card.file(n, format!("this is {n}\n"))
    });
    let mut console = Machine::new().card_with(&card).start();
    for name in names {
        let shown = console.command(&format!("cat \"/boot/{name}\""));
        // What is no ASCII is shown as dots, one a byte.
        let plain = |c: char| {
            if c.is_ascii() {
                c.to_string()
            } else {
                ".".repeat(c.len_utf8())
            }
        };
        let expected: String = format!("this is {name}").chars().map(plain).collect();
        assert_eq!(shown, expected);
    }
    let listed = ls(&mut console, "/boot");
    for name in &names[..5] {
        assert!(
            listed.contains_key(&name.to_lowercase()),
            "{name}: {listed:?}"
        );
    }
    let folders = ls(&mut console, "'/boot/a/b c'");
    assert_eq!(folders.into_keys().collect::<Vec<_>>(), ["überordner/"]);
    assert_eq!(
        console.command("cat /boot/upper.txt"),
        "this is UPPER.TXT",
        "case does not matter"
    );
    for (line, error) in [
        ("cat /boot/a", "is a directory"),
        ("sha256 /boot/a", "is a directory"),
        ("cat /boot/nothing", "no such file"),
        ("ls /boot/a/nothing", "no such file"),
        ("cat /boot/UPPER.TXT/x", "not a directory"),
        ("cat /elsewhere/x", "no such file"),
        ("ls /boot/../..", ""),
    ] {
        let reply = console.command(line);
        assert!(reply.contains(error), "{line}: {reply}");
    }
}

#[test]
fn a_folder_of_many_clusters_is_listed() {
    claim("a folder of 1,500 files: all are listed, and the last is read");
    let files = (0..1500).map(|n| (format!("many/number {n:04} of them.txt"), format!("{n}\n")));
    let card = files.fold(Card::new(), |card, (name, text)| card.file(&name, text));
    let mut console = Machine::new().card_with(&card).start();
    let listed = ls(&mut console, "/boot/many");
    assert_eq!(listed.len(), 1500);
    assert!(listed.contains_key("number 0777 of them.txt"));
    assert_eq!(
        console.command("cat '/boot/many/number 1499 of them.txt'"),
        "1499"
    );
}

#[test]
fn a_text_without_a_last_newline_leaves_the_prompt_alone() {
    claim("cat of a text that does not end in a newline: the prompt has a row of its own");
    let mut console = Machine::new()
        .card_with(&Card::new().file("A.TXT", "no newline"))
        .start();
    assert_eq!(console.command("cat /boot/A.TXT"), "no newline");
}

#[test]
fn ctrl_c_ends_a_long_output() {
    claim("Ctrl-C ends cat of 1 MiB and drops what was typed before it; what follows runs");
    let text = "all work and no play makes Jack a dull boy\n".repeat(25_000);
    let mut console = Machine::new()
        .card_with(&Card::new().file("LONG.TXT", text))
        .start();
    console.prompt();
    console.send_line("cat /boot/LONG.TXT");
    console.expect("dull boy\n", PATIENCE);
    // What was typed before Ctrl-C is dropped, what comes after it runs.
    console.send(b"dropped\r\x03");
    console.send(b"kept\r");
    console.expect("interrupted\n", PATIENCE);
    let between = console.expect("\nkept: no such command", PATIENCE);
    assert!(!between.contains("dropped: no"), "{between}");
    console.expect(&format!("\n{PROMPT}"), PATIENCE);
    assert!(
        console.log().len() < 900_000,
        "{} bytes were printed",
        console.log().len()
    );
    console.assert_four("2->1", "psci");
}
