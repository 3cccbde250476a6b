// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every command: help, wrong arguments, bad numbers, and 80 columns.

use std::time::{Duration, Instant};

use qemu_tests::{Console, Machine, PROMPT, case, claim, reference};
use tools::card::Card;

/// A terminal's width.
const COLUMNS: usize = 80;
/// Words that are no number for any command.
const NO_NUMBERS: [&str; 12] = [
    "''",
    "x",
    "0x",
    "0xg",
    "-1",
    "1.5",
    "1e3",
    "0b2",
    "_1",
    "1_",
    "0x10000000000000000",
    "18446744073709551616",
];

/// Commands whose example is not run, and why.
const NOT_RUN: [(&str, &str); 5] = [
    ("ddb", "the machine stops"),
    ("hang", "a CPU hangs"),
    ("panic", "the machine ends"),
    ("poweroff", "the machine ends"),
    ("reboot", "the machine ends"),
];
/// What puts the machine back after an example, for those that follow.
const AFTER: [(&str, &str); 10] = [
    ("cpu", "cpu on 3"),
    ("lockdebug", "lockdebug off"),
    ("lockstat", "lockstat off"),
    ("log", "log info"),
    ("net", "net up"),
    ("provoke", "provoke stop"),
    ("spl", "spl domain"),
    ("stress", "stress stop"),
    ("trace", "trace off"),
    ("umount", "mount"),
];
/// How long an example may take before it is interrupted, and then to end.
const EXAMPLE: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(60);
/// What no command knows: no file, no number, no host, no word of its own.
const NONSENSE: [&str; 5] = ["/no/where/?*", "--help", "''", "\u{e9}?", "'"];

/// A command as `help` lists it.
struct Listed {
    name: String,
    arguments: String,
    example: String,
}

fn start() -> Console {
    let card = Card::new()
        .file("TEXT.TXT", "some text\n".repeat(100))
        .file("folder/x.txt", "x\n");
    let mut console = Machine::new().card_with(&card).start();
    console.prompt();
    console
}

/// All commands, and their arguments from `help NAME`.
fn listed(console: &mut Console) -> Vec<Listed> {
    let list = console.command("help");
    let names = reference::names(&list);
    assert!(names.len() >= 22, "{list}");
    assert!(names.is_sorted(), "{names:?}");
    let explain = |name: String| {
        let help = console.command(&format!("help {name}"));
        let (first, rest) = help.split_once('\n').unwrap_or((&help, ""));
        let arguments = first
            .strip_prefix(&name)
            .unwrap_or_else(|| panic!("{help}"));
        assert!(
            rest.contains("Example: ") && rest.contains(&name),
            "help {name}:\n{help}"
        );
        let (_, example) = rest.rsplit_once("Example: ").expect("just seen");
        Listed {
            arguments: arguments.trim().to_owned(),
            example: example.trim().to_owned(),
            name,
        }
    };
    names.into_iter().map(explain).collect()
}

#[test]
fn every_command_has_help() {
    claim("help lists the commands in order, and explains each with an example");
    let mut console = start();
    let commands = listed(&mut console);
    let issue =
        "cpus threads mem intr dmesg ls cat hexdump md mw cpu uptime reboot poweroff panic help";
    for name in issue.split(' ') {
        assert!(
            commands.iter().any(|c| c.name == name),
            "there is no {name}"
        );
    }
}

#[test]
fn the_guide_has_every_command() {
    claim("the guide's console reference says what help says, of every command");
    let page = tools::root().join("docs/guide/console.md");
    let committed = std::fs::read_to_string(page).expect("it is committed");
    let now = reference::page(&mut start());
    let differs = committed.lines().zip(now.lines()).find(|(a, b)| a != b);
    assert!(
        committed == now,
        "not current; `make doc` makes it so: {differs:?}"
    );
}

#[test]
fn wrong_arguments_are_answered_with_the_usage() {
    claim("every command with too many words, or too few, answers with its usage");
    let mut console = start();
    for listed in listed(&mut console) {
        let Listed {
            name, arguments, ..
        } = listed;
        let usage = format!("usage: {name} {arguments}");
        if !arguments.ends_with("...") {
            let many = console.command(&format!("{name} 1 2 3 4 5 6"));
            assert_eq!(many.trim_end(), usage.trim_end(), "{name} with six words");
        }
        let takes_none = arguments.is_empty() || arguments.starts_with('[');
        if !takes_none {
            assert_eq!(console.command(&name), usage, "{name} alone");
        }
    }
    for line in [
        "cpu on",
        "cpu 1",
        "cpu sideways 1",
        "stress walk",
        "demo nothing",
        "demo ladder 1",
        "demo storm directly 1",
        "log loud",
        "panic softly",
        "md 0x80000 1 q",
        "mw 0x80000",
    ] {
        let reply = console.command(line);
        assert!(reply.starts_with("usage: "), "{line}: {reply}");
    }
    console.assert_four("2->1", "psci");
}

#[test]
fn bad_numbers_are_named() {
    claim("every command that takes numbers names the one that is none, or out of range");
    let mut console = start();
    let takers = [
        "cpu on {}",
        "cpu off {}",
        "md {}",
        "md 0x80000 {}",
        "mw {} 0",
        "mw 0x50000000 {}",
        "hexdump /boot/TEXT.TXT {}",
        "hexdump /boot/TEXT.TXT 0 {}",
        "demo domains {}",
        "demo devices {}",
        "demo devices 10.0.2.2 {}",
        "demo share 0 0 0 0 {}",
        "demo count {}",
        "demo storm {}",
        "intr move {} 0",
        "intr move 153 {}",
        "random {}",
    ];
    for taker in takers {
        for word in NO_NUMBERS {
            let reply = console.command(&taker.replace("{}", word));
            let quoted = format!("\"{}\"", word.trim_matches('\''));
            let named = reply.contains("is no number") || reply.contains("does not fit 64 bits");
            assert!(named && reply.contains(&quoted), "{taker} {word}: {reply}");
        }
    }
    for line in [
        "cpu on 4",
        "cpu off 0xffffffffffffffff",
        "md 0x80000 0",
        "md 0x80000 65537",
        "mw 0x50000000 256 b",
        "mw 0x50000000 0x10000 h",
        "mw 0x50000000 4G",
        "hexdump /boot/TEXT.TXT 8G",
        "hexdump /boot/TEXT.TXT 0 0",
        "demo domains 0",
        "demo devices 0",
        "demo share 101 0 0 0 1",
        "demo count 8G",
        "intr move 153 4",
    ] {
        let reply = console.command(line);
        assert!(reply.contains(": out of range ("), "{line}: {reply}");
    }
    console.assert_four("2->1", "psci");
}

#[test]
fn no_output_is_wider_than_a_terminal() {
    claim("no line of any command's output is over 80 columns");
    let mut console = start();
    let mut lines: Vec<String> = [
        "stress start",
        "cpus",
        "threads",
        "intr",
        "stress show",
        "stress stop",
        "selftest",
        "intr cpus",
        "spl",
        "demo domains 1",
        "demo ladder",
        "demo count 1000",
        "cpu off 2",
        "cpus",
        "cpu on 2",
        "mem",
        "disk",
        "mount",
        "dmesg",
        "uptime",
        "log",
        "ls",
        "ls /boot",
        "ls /boot/folder",
        "cat /boot/TEXT.TXT",
        "sha256 /boot/TEXT.TXT",
        "hexdump /boot/TEXT.TXT",
        "hexdump /boot/TEXT.TXT 8G",
        "md 0x80000",
        "md 0x80000 32 b",
        "md 0x80000 16 h",
        "md 0x80000 8 d",
        "md 0x7fffffffffffffff",
        "md 0x7ffffffffffffff0 1 d",
        "mw 0x80000 1",
        "selftest nosuch",
        "nosuch",
        "cat '",
        "cat /x",
    ]
    .map(Into::into)
    .to_vec();
    lines.push("help".into());
    lines.extend(
        listed(&mut console)
            .into_iter()
            .map(|c| format!("help {}", c.name)),
    );
    let mut wide = Vec::new();
    for line in lines {
        let output = console.command(&line);
        wide.extend(
            output
                .lines()
                .filter(|l| l.chars().count() > COLUMNS)
                .map(|l| format!("{line}: {l}")),
        );
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

/// Runs a line; one that goes on is interrupted as a user would.
fn interrupted(console: &mut Console, line: &str) -> String {
    console.command("");
    let start = console.log().len();
    console.send_line(line);
    console.expect("\n", END);
    if !console.comes(PROMPT, Instant::now() + EXAMPLE) {
        console.send(b"\x03");
        console.expect(PROMPT, END);
    }
    console.log()[start..].to_owned()
}

#[test]
fn every_example_runs() {
    claim("the example of every command's help is what the command takes, and no line is over 80");
    let file = |text: &str| text.repeat(100);
    let card = Card::new()
        .file("config.txt", file("arm_64bit=1\n"))
        .file("new.txt", file("arm_64bit=1\n"))
        .file("old.txt", file("old\n"))
        .file("kernel8.img", vec![0; 65536]);
    let machine = Machine::new().card_with(&card).net("user");
    let mut console = machine.deadline(Duration::from_secs(900)).start();
    console.prompt();
    let commands = listed(&mut console);
    for (name, _) in NOT_RUN {
        assert!(
            commands.iter().any(|c| c.name == name),
            "no {name} any more"
        );
    }
    let mut wrong = Vec::new();
    for Listed { name, example, .. } in commands {
        if let Some((_, why)) = NOT_RUN.iter().find(|(not, _)| *not == name) {
            case(&format!("{example}: not run: {why}"));
            continue;
        }
        assert_eq!(example.split(' ').next(), Some(&*name), "{example}");
        let said = interrupted(&mut console, &example);
        let (_, reply) = said.split_once('\n').unwrap_or_default();
        case(&format!(
            "{example}: {}",
            reply.lines().next().unwrap_or_default()
        ));
        for refusal in ["usage: ", "no such command", "is no number", "out of range"] {
            if reply.contains(refusal) {
                wrong.push(format!("{example}:\n{reply}"));
            }
        }
        let wide = reply.lines().filter(|line| line.chars().count() > COLUMNS);
        wrong.extend(wide.map(|line| format!("{example}: {line}")));
        if let Some((_, line)) = AFTER.iter().find(|(after, _)| *after == name) {
            console.command(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(console.cpus().iter().all(|cpu| cpu.state == "online"));
}

#[test]
fn nonsense_is_answered() {
    claim(
        "every command answers words that it does not know, in 80 columns, and the machine lives",
    );
    let mut console = start();
    let mut wrong = Vec::new();
    for Listed { name, .. } in listed(&mut console) {
        for word in NONSENSE {
            let line = format!("{name} {word}");
            let said = interrupted(&mut console, &line);
            let (_, reply) = said.split_once('\n').unwrap_or_default();
            let reply = reply
                .trim_end()
                .strip_suffix(PROMPT.trim_end())
                .unwrap_or(reply);
            if reply.trim().is_empty() {
                wrong.push(format!("{line}: no answer"));
            }
            let wide = reply.lines().filter(|line| line.chars().count() > COLUMNS);
            wrong.extend(wide.map(|wide| format!("{line}: {wide}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    console.assert_four("2->1", "psci");
}
