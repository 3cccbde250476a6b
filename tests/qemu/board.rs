// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the board says of itself: `board`, `random`, `hwreport`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use qemu_tests::{Boot, Console, Machine, case, claim};

const COLUMNS: usize = 80;

/// With the pack's devices, and without.
const KINDS: [bool; 2] = [true, false];

fn start(pack: bool) -> Console {
    case(if pack { "with the pack" } else { "without" });
    let machine = Machine::new().cmdline("ip=10.0.2.15/24").monitor();
    let machine = match pack {
        true => machine.net("user"),
        false => machine.no_pack(),
    };
    let mut console = machine.start();
    console.prompt();
    console
}

/// The rest of the line that begins so.
#[track_caller]
fn row<'a>(text: &'a str, label: &str) -> &'a str {
    let mut rows = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(label));
    rows.next()
        .unwrap_or_else(|| panic!("no {label:?} in\n{text}"))
        .trim()
}

fn narrow(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= COLUMNS, "too wide: {line}");
    }
}

#[test]
fn the_board_says_what_it_is() {
    claim(
        "board: model, temperature and supply are the machine's; a sensor that is absent is no fault",
    );
    for pack in KINDS {
        let mut console = start(pack);
        let said = console.command("board");
        narrow(&said);
        let model = "Raspberry Pi 4 Model B rev 1.5, 2 GiB, Sony UK (0xb03115)";
        assert_eq!(row(&said, "model"), model);
        assert_eq!(row(&said, "power now"), "nothing");
        let temperature = row(&said, "temperature");
        if !pack {
            assert!(
                temperature.starts_with("unknown by its sensor, 25.0 C"),
                "{said}"
            );
            assert_eq!(row(&said, "watchdog"), "not used here");
            continue;
        }
        assert_ne!(row(&said, "watchdog"), "not used here");
        for (set, shown) in [
            ("61000", "61.3 C"),
            ("-5000", "-4.8 C"),
            ("none", "unknown"),
        ] {
            let property = "/machine/peripheral/avs millidegrees";
            assert_eq!(console.monitor(&format!("qom-set {property} {set}")), "");
            let said = console.command("board");
            let temperature = row(&said, "temperature");
            assert!(
                temperature.starts_with(&format!("{shown} by its sensor")),
                "{said}"
            );
        }
    }
}

#[test]
fn random_numbers_come_from_the_boards_generator() {
    claim(
        "random: no two alike; the key is made from RNG200, whose failures a reset ends; without it that is said",
    );
    for pack in KINDS {
        let mut console = start(pack);
        let rows = |said: String| said.lines().map(str::to_owned).collect::<Vec<_>>();
        let first = rows(console.command("random 48"));
        let second = rows(console.command("random 48"));
        assert_eq!(first.len(), 4, "{first:?}");
        assert!(
            (0..3).all(|n| first[n] != second[n]),
            "{first:?}, {second:?}"
        );
        let there = first[3].starts_with("RNG200 (0 restarts); ");
        let absent = first[3].starts_with("no RNG200; ");
        assert_eq!((there, absent), (pack, !pack), "{first:?}");
        if pack {
            let counters = |console: &Console| {
                let said = console.monitor("qom-get /machine/peripheral/rng counters");
                said.trim_matches('"').to_owned()
            };
            let before = counters(&console);
            assert_eq!(before, "words=32 recoveries=0");
            console.monitor("qom-set /machine/peripheral/rng failure nist");
            let said = console.command("random reseed");
            assert_eq!(
                said,
                "RNG200 (1 restarts); none from the firmware; timer; keys made: 2"
            );
            assert_eq!(counters(&console), "words=64 recoveries=1");
        }
    }
}

#[test]
fn keys_differ_from_boot_to_boot() {
    claim("random: two boots do not begin with the same numbers, with the pack and without");
    for pack in KINDS {
        let [first, second] = [(), ()].map(|()| start(pack).command("random 32"));
        let (a, b) = (first.lines().next(), second.lines().next());
        assert!(a.is_some() && a != b, "{first}\n{second}");
    }
}

/// SHA-256 of the kernel image's first bytes.
fn sha256_of_image(bytes: usize) -> String {
    let image = std::fs::read(tools::out_dir().join("kernel8.img")).expect("the image");
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&image[..bytes]).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

#[test]
fn hwreport_has_an_answer_to_every_question() {
    claim(
        "hwreport: a fence, 80 columns, the image's hash, ten questions with what this machine is known to have",
    );
    let mut console = start(true);
    // Some traffic, and a DMA that is disabled in mid-count.
    console.command("ping 10.0.2.2 count 3");
    console.command("net down");
    console.expect("link down", Duration::from_secs(30));
    console.command("net up");
    console.expect("link up", Duration::from_secs(30));
    console.prompt();
    let said = console.command("hwreport");
    narrow(&said);
    assert!(
        said.starts_with("```text\nOrthogon ") && said.ends_with("\n```"),
        "{said}"
    );
    let hashed = row(&said, "kernel8.img: SHA-256 of its first ");
    let bytes = hashed.trim_end_matches(" bytes").parse().expect(hashed);
    assert!(said.contains(&sha256_of_image(bytes)), "{said}");
    let part = |n: usize| {
        let begin = said
            .find(&format!("\n{n} "))
            .unwrap_or_else(|| panic!("no {n} in\n{said}"));
        let rest = &said[begin + 1..];
        rest[..rest.find("\n\n").unwrap_or(rest.len())].to_owned()
    };
    for (n, facts) in [
        (
            1,
            &[
                "TYPER 00000466",
                "224 lines, priority bits 0xf0, two security states: yes",
                "RPR 000000f",
            ][..],
        ),
        (
            2,
            &["capabilities 45ee6432 0000a525", "GPIO + 0xd0: not read"],
        ),
        (3, &["bus = physical + 0x00000000", "0xfc404000: not read"]),
        (
            4,
            &[
                "PHY 0x600d84a2 at 1",
                "misc 0107, clocks 0000",
                "link 1000 Mbit/s",
            ],
        ),
        (5, &["before [", "after ["]),
        (
            6,
            &[
                "not provoked",
                "PSCI 1.1; starts 1 1 1 1, entered at EL2 EL2 EL2 EL2",
            ],
        ),
        (7, &["sent: driver", "received: driver"]),
        (8, &["0 to 0x80000 reserved: yes", "ram 0x0 to 0x3c000000"]),
        (9, &["no card"]),
        (10, &[" 0 sums wrong and made again, 0 segments damaged"]),
    ] {
        let part = part(n);
        for fact in facts {
            assert!(part.contains(fact), "{n} lacks {fact:?}:\n{part}");
        }
    }
    // The MAC counts where the driver looks for it.
    let numbers = |label: &str| -> Vec<u64> {
        let line = row(&said, label);
        let words = line.split(|c: char| !c.is_ascii_digit());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let sent = numbers("sent: driver");
    assert!(
        sent[0] >= 3 && sent[1] == 0 && sent[2] == sent[0] && sent[3] == sent[0],
        "{sent:?}"
    );
    let received = numbers("received: driver");
    assert!(
        received[0] >= 3 && received.iter().all(|n| *n == received[0]),
        "{received:?}"
    );
}

#[test]
fn hwreport_says_why_it_cannot_read() {
    claim(
        "hwreport: without the pack and without BL31 each question has a line all the same, and nothing faults",
    );
    let mut console = Machine::new().no_pack().boot(Boot::Stock).start();
    console.prompt();
    let said = console.command("hwreport");
    narrow(&said);
    for n in 1..=10 {
        let (_, part) = said.split_once(&format!("\n{n} ")).expect("the question");
        let lines = part.lines().take_while(|line| !line.is_empty());
        assert!(lines.count() >= 2, "{n} has no answer:\n{said}");
    }
    assert!(
        said.contains("not read, the controller does not run"),
        "{said}"
    );
    assert!(said.contains("spin-table; starts 1 1 1 1"), "{said}");
}
