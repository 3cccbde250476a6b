// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boots the card in QEMU, types each argument at the console, and prints what a person would have seen from the
//! first prompt on. For the pictures in the documents (`make picture`), and with `--icount` first for what is counted in
//! instructions (`make bench-locks`). An argument that is a number is so many seconds of waiting.

use std::time::Duration;

use qemu_tests::{Machine, PROMPT};

/// Before the first command, so that the figures are those of a machine at rest, not of its boot.
const IDLE: Duration = Duration::from_secs(10);
/// How long one command may take, and all of it: some are minutes long where instructions are counted.
const PATIENCE: Duration = Duration::from_secs(300);
const DEADLINE: Duration = Duration::from_secs(900);

fn main() {
    let mut lines = std::env::args().skip(1).peekable();
    let counts = lines.next_if(|first| first == "--icount").is_some();
    let card = tools::out_dir().join("card.img");
    let mut machine = Machine::new().card(card).deadline(DEADLINE);
    if counts {
        machine = machine.icount();
    }
    // -snapshot: the card stays as it is.
    let mut console = machine.args(["-snapshot"]).start();
    let boot = console.prompt().len();
    if !counts {
        std::thread::sleep(IDLE);
    }
    for line in lines {
        if let Ok(seconds) = line.parse() {
            std::thread::sleep(Duration::from_secs(seconds));
            continue;
        }
        console.command_within(&line, PATIENCE);
    }
    let log = console.log();
    let start = log[..boot].rfind("\nOrthogon ").map_or(boot, |at| at + 1);
    println!(
        "{}",
        log[start..]
            .strip_suffix(PROMPT)
            .unwrap_or(&log[start..])
            .trim_end()
    );
    print!("{PROMPT}");
}
