// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is typed: every byte once and in order, and whatever it is, an answer.

use std::time::Duration;

use fastrand::Rng;
use qemu_tests::{Boot, Console, Machine, PROMPT, case, claim};
use tools::card::Card;

/// How long a burst of commands may take.
const BURST: Duration = Duration::from_secs(60);

fn start() -> Console {
    let mut console = Machine::new().start();
    console.prompt();
    console
}

#[test]
fn a_line_of_10000_characters_is_refused() {
    claim("a line of 10,000 characters is refused as a whole, and the next one runs");
    let mut console = start();
    for (length, refused) in [(10_000, true), (257, true), (256, false)] {
        let reply = console.command(&"x".repeat(length));
        let expected = if refused {
            format!("line too long ({length} characters, limit 256): ignored")
        } else {
            format!("{}: no such command; help lists them", "x".repeat(length))
        };
        assert_eq!(reply, expected);
    }
    console.assert_four("2->1", "psci");
}

#[test]
fn unknown_commands_and_open_quotes_are_named() {
    claim("unknown commands, open quotes, a last backslash: each is named");
    let mut console = start();
    for (line, reply) in [
        ("nosuch", "nosuch: no such command; help lists them"),
        ("CPUS", "CPUS: no such command; help lists them"),
        ("help nosuch", "nosuch: no such command; help lists them"),
        ("''", ": no such command; help lists them"),
        ("cat '/boot/x", "quote ' is not closed"),
        ("cat \"/boot/x", "quote \" is not closed"),
        ("\"", "quote \" is not closed"),
        ("cat x\\", "the line ends in a backslash"),
        ("", ""),
        ("   ", ""),
    ] {
        assert_eq!(console.command(line), reply, "{line:?}");
    }
}

#[test]
fn a_paste_of_200_commands_runs_each_once_and_in_order() {
    claim("200 commands pasted at once: each runs once, in order");
    for (boot, load) in [
        (Boot::Bl31, false),
        (Boot::Stock, false),
        (Boot::Bl31, true),
    ] {
        let under = if load { " under load" } else { "" };
        case(&format!("{boot:?}{under}"));
        let mut console = Machine::new().boot(boot).start();
        console.prompt();
        if load {
            console.command("stress start");
        }
        let lines: String = (0..200).map(|n| format!("number{n:03}\r")).collect();
        console.send(lines.as_bytes());
        for n in 0..200 {
            let between = console.expect(": no such command; help lists them\n", BURST);
            let answered = between.rsplit('\n').next().unwrap_or("");
            assert_eq!(answered, format!("number{n:03}"), "reply {n}:\n{between}");
        }
        console.expect(PROMPT, BURST);
        assert_eq!(
            console.command("last"),
            "last: no such command; help lists them"
        );
    }
}

#[test]
fn what_is_typed_while_a_command_prints_is_kept() {
    claim("what is typed while commands print much runs after them, in order");
    let mut console = start();
    // More than the kernel's ring holds, and more than the UART's FIFO beside it.
    for n in 0..60 {
        console.send_line("md 0x80000 400");
        console.send_line(&format!("marker{n}"));
    }
    for n in 0..60 {
        console.expect(&format!("\nmarker{n}: no such command"), BURST);
    }
}

#[test]
fn a_line_of_the_log_breaks_no_other() {
    claim("what is logged while a command has begun a line is printed behind that line");
    let mut console = start();
    let reply = console.command("selftest line");
    for end in [" of this one ... ok", ": logged in the middle of a line"] {
        assert!(reply.lines().any(|line| line.ends_with(end)), "{reply}");
    }
    assert_eq!(reply.lines().count(), 3, "{reply}");
}

#[test]
fn every_byte_is_survived() {
    claim("each of the 256 bytes, alone and between letters, then a command: it runs");
    let mut console = start();
    for byte in 0..=255_u8 {
        console.send(&[byte, b'\r', b'a', byte, b'b', 3, 3]);
    }
    marker(&mut console, 1);
    console.assert_four("2->1", "psci");
}

#[test]
fn noise_is_survived() {
    claim("noise as input: the console answers");
    for seed in 1..=4 {
        case(&format!("32 KiB, seed {seed}"));
        let mut console = start();
        let mut noise = vec![0; 32 << 10];
        Rng::with_seed(seed).fill(&mut noise);
        console.send(&noise);
        marker(&mut console, seed);
        console.assert_four("2->1", "psci");
    }
}

#[test]
fn escape_sequences_type_nothing() {
    claim("keys that the console does not know, and sequences cut short, type nothing");
    let mut console = start();
    for sequence in [
        &b"\x1b[15~"[..],
        b"\x1b[1;5C",
        b"\x1bOP",
        b"\x1b[[A",
        b"\x1b]0;title\x07",
        b"\x1bPq\x1b\\",
        b"\x1b[200~\x1b[201~",
        b"\x1b[999999999999m",
    ] {
        console.send(sequence);
        assert_eq!(
            console.command("alone"),
            "alone: no such command; help lists them"
        );
    }
}

#[test]
fn ctrl_c_drops_the_line_and_nothing_after_it() {
    claim("Ctrl-C drops what was typed before it, and nothing that follows");
    let mut console = start();
    for n in 0..50 {
        console.send(format!("rubbish\x03after{n}\r").as_bytes());
    }
    // All came before the last Ctrl-C but what the console had read by then.
    console.expect("\nafter49: no such command", BURST);
    console.expect(PROMPT, BURST);
    assert!(!console.log().contains("\nrubbish: no such command"));
}

#[test]
fn lines_are_edited() {
    claim(
        "cursor keys, Home, End, Backspace, Delete, Ctrl-U, Ctrl-W, Ctrl-K: the line runs as edited",
    );
    let mut console = start();
    for (keys, runs) in [
        (&b"bcd\x1b[Ha"[..], "abcd"),
        (b"acd\x1b[D\x1b[Db", "abcd"),
        (b"abXcd\x1b[D\x1b[D\x7f", "abcd"),
        (b"abXcd\x1b[H\x1b[C\x1b[C\x1b[3~\x1b[Fe", "abcde"),
        (b"wrong\x15right", "right"),
        (b"right wrong\x17", "right"),
        (
            b"right wrong\x01\x1b[C\x1b[C\x1b[C\x1b[C\x1b[C\x0b",
            "right",
        ),
    ] {
        console.send(keys);
        console.send(b"\r");
        let until = ": no such command; help lists them\n";
        let printed = console.expect(until, BURST);
        let named = printed.rsplit('\n').next().unwrap_or("");
        assert_eq!(named, runs, "{:?}", String::from_utf8_lossy(keys));
    }
}

#[test]
fn history_and_completion_help() {
    claim("Up brings the last lines back; Tab completes commands and paths");
    let card = Card::new()
        .file("only file.txt", "found\n")
        .file("folder/inner.txt", "inner\n");
    let mut console = Machine::new().card_with(&card).start();
    assert_eq!(
        console.command("first"),
        "first: no such command; help lists them"
    );
    assert_eq!(
        console.command("second"),
        "second: no such command; help lists them"
    );
    assert_eq!(
        console.command("\x1b[A\x1b[A"),
        "first: no such command; help lists them"
    );
    assert_eq!(console.command("cat /boot/on\t"), "found");
    assert_eq!(console.command("cat /boot/fo\tin\t"), "inner");
    assert!(console.command("upt\t").starts_with("up 0 days "));
}

/// Gives up the line being typed and sees that a command is run and answered.
#[track_caller]
fn marker(console: &mut Console, n: u64) {
    console.send(b"\x03");
    console.send_line(&format!("marker{n}"));
    console.expect(&format!("\nmarker{n}: no such command"), BURST);
    console.expect(&format!("\n{PROMPT}"), BURST);
}
