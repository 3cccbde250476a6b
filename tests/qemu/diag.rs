// SPDX-License-Identifier: MIT OR Apache-2.0
//! Live diagnostics: `top`, `watch`, `ps`, `stack`, `lockstat` in another order, histograms of latencies.

use std::collections::HashMap;
use std::time::Duration;

use qemu_tests::{Console, Machine, PROMPT, case, claim};

/// How long something that uses all CPUs may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

fn start() -> Console {
    let mut console = Machine::new().deadline(Duration::from_secs(240)).start();
    console.prompt();
    console
}

/// A screen of `top`: each CPU's shares, in tenths of a percent, and who ran.
struct Screen {
    cpus: HashMap<String, Vec<u32>>,
    /// Name, kind, tenths of a percent of one CPU.
    rows: Vec<(String, String, u32)>,
}

fn tenths(word: &str) -> u32 {
    let (whole, tenth) = word.split_once('.').unwrap_or_else(|| panic!("{word}"));
    whole.parse::<u32>().expect(word) * 10 + tenth.parse::<u32>().expect(word)
}

fn screens(text: &str) -> Vec<Screen> {
    let screens = text.split("  CPU  threads%").skip(1);
    screens
        .map(|screen| {
            let (cpus, rows) = screen.split_once("   id  name").expect(screen);
            let cpus = cpus.lines().skip(1).map(|line| {
                let mut words = line.split_whitespace();
                let name = words.next().expect(line).to_owned();
                (name, words.filter(|w| *w != "off").map(tenths).collect())
            });
            let rows = rows
                .lines()
                .skip(1)
                .take_while(|line| !line.contains(" threads; "));
            let rows = rows.map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let n = words.len();
                let name = words[1..n - 4].join(" ");
                (name, words[n - 4].to_owned(), tenths(words[n - 2]))
            });
            Screen {
                cpus: cpus.collect(),
                rows: rows.collect(),
            }
        })
        .collect()
}

#[test]
fn top_divides_the_cpus_time() {
    claim("top: of each CPU's time nothing is missing or counted twice; stress shows, and idling");
    let mut console = start();
    let idle = screens(&console.command("top -n 1"));
    console.command("stress start");
    console.command_within("cpu off 3", PATIENCE);
    let busy = screens(&console.command_within("top -n 3 1", PATIENCE));
    console.command_within("cpu on 3", PATIENCE);
    console.command_within("stress stop", PATIENCE);
    assert_eq!((idle.len(), busy.len()), (1, 3));
    for screen in idle.iter().chain(&busy) {
        for (cpu, shares) in &screen.cpus {
            if !shares.is_empty() {
                assert_eq!(shares.iter().sum::<u32>(), 1000, "CPU {cpu}: {shares:?}");
            }
        }
        assert_eq!(screen.cpus.len(), 5);
    }
    assert!(
        idle[0].cpus["all"][3] > 800,
        "an idle machine: {:?}",
        idle[0].cpus
    );
    assert_eq!(idle[0].cpus["3"].len(), 4);
    for screen in &busy {
        case(&format!("{:?}", screen.cpus["all"]));
        assert!(screen.cpus["all"][3] < 500, "stress: {:?}", screen.cpus);
        assert!(screen.cpus["3"].is_empty(), "CPU 3 is off");
        assert_eq!(screen.cpus["0"].len(), 4);
        // Rows are of one CPU, the total is of the three that are on; rows beyond the screen are small.
        let [threads, interrupts, softints, idle] = screen.cpus["all"][..] else {
            panic!("four shares")
        };
        let rows: u32 = screen.rows.iter().map(|row| row.2).sum();
        let all = 3 * (threads + interrupts + softints);
        assert!(
            rows <= all + 60 && rows + 600 >= all,
            "{rows} of {all}, {idle} idle"
        );
        let stress = screen
            .rows
            .iter()
            .filter(|row| row.0.starts_with("compute/"));
        assert!(stress.count() >= 3, "{:?}", screen.rows);
    }
}

#[test]
fn top_is_redrawn_in_place_until_a_key() {
    claim("top and watch: in place until q or Ctrl-C; then the prompt, and the next command runs");
    let mut console = start();
    console.command("uptime");
    for (line, key) in [
        ("top 1", b"q"),
        ("watch -n 1 cpus", b"\x03"),
        ("lockstat -w", b"q"),
    ] {
        case(line);
        console.send_line(line);
        let title = match line {
            "top 1" => "threads%",
            "lockstat -w" => "spun us",
            _ => "waiting",
        };
        for _ in 0..2 {
            console.expect(title, PATIENCE);
        }
        console.send(key);
        console.expect(PROMPT, PATIENCE);
        let reply = console.command("threads");
        assert!(reply.contains("shell"), "{reply}");
    }
}

#[test]
fn watch_repeats_a_command() {
    claim("watch -c: so many times; a command that fails ends it; what shows itself is refused");
    let mut console = start();
    let text = console.command("watch -n 1 -c 3 uptime");
    assert_eq!(text.matches("command line:").count(), 3, "{text}");
    assert_eq!(
        console.command("watch nosuch"),
        "nosuch: no such command; help lists them"
    );
    assert_eq!(console.command("watch -c 2 cpus 1"), "usage: cpus");
    for line in ["watch", "watch -x uptime", "watch -n 5"] {
        let usage = "usage: watch [-n SECONDS] [-c TIMES] COMMAND...";
        assert_eq!(console.command(line), usage, "{line}");
    }
    let refused = "top is shown again and again by itself";
    assert_eq!(console.command("watch -c 2 top"), refused);
    for line in [
        "watch -n 0 uptime",
        "watch -c x uptime",
        "top 0",
        "top -n 0",
    ] {
        let reply = console.command(line);
        let named = reply.contains("out of range") || reply.contains("is no number");
        assert!(named, "{line}: {reply}");
    }
}

#[test]
fn stack_tells_where_a_thread_is() {
    claim(
        "stack: of a thread that waits, one that runs on another CPU, one that stands by, itself",
    );
    let mut console = start();
    let functions = |console: &mut Console, line: &str| -> Vec<String> {
        let reply = console.command(line);
        assert!(reply.starts_with("thread "), "{line}: {reply}");
        let frames = reply.lines().skip(1);
        let name = |line: &str| line.split_whitespace().nth(2).unwrap_or("").to_owned();
        frames.map(name).collect()
    };
    let has = |frames: &[String], name: &str| {
        assert!(
            frames.iter().any(|f| f.contains(name)),
            "no {name}: {frames:#?}"
        );
    };
    let syncer = functions(&mut console, "stack syncer");
    has(&syncer[..1], "switch_away");
    has(&syncer, "kernel_thread");
    let shell = functions(&mut console, "stack shell");
    has(&shell, "commands::stack");
    has(&functions(&mut console, "stack uart0"), "kernel_thread");
    // By number; the idle thread of a CPU that sleeps, or that of the shell.
    has(&functions(&mut console, "stack 2"), "idle_loop");
    let ps = console.command("ps");
    assert!(console.command("threads").lines().count() >= 10, "{ps}");
    let row = ps.lines().find(|row| row.contains(" syncer ")).expect(&ps);
    let id = row.split_whitespace().next().expect(row);
    assert_eq!(functions(&mut console, &format!("stack {id}")), syncer);
    console.command("stress start");
    let ps = console.command_within("ps", PATIENCE);
    let runs = |row: &&str| row.contains("compute/") && row.contains(" running ");
    let id = |row: &str| row.split_whitespace().next().unwrap_or("").to_owned();
    let running: Vec<_> = ps.lines().filter(runs).map(id).collect();
    let any = ps
        .lines()
        .filter(|row| row.contains("pass/"))
        .map(id)
        .next();
    for id in running.into_iter().chain(any) {
        has(
            &functions(&mut console, &format!("stack {id}")),
            "kernel_thread",
        );
    }
    console.command_within("stress stop", PATIENCE);
    for line in ["stack nosuch", "stack 9999"] {
        let word = line.trim_start_matches("stack ");
        let expected = format!("{word}: no such thread; threads lists them");
        assert_eq!(console.command(line), expected);
    }
    assert_eq!(console.command("stack"), "usage: stack THREAD");
}

#[test]
fn lockstat_is_sorted_as_asked() {
    claim("lockstat: by contention, time spun, time blocked, longest hold; the worst first");
    let mut console = start();
    console.command("lockstat on");
    console.command("stress start");
    std::thread::sleep(Duration::from_secs(2));
    console.command_within("stress stop", PATIENCE);
    for (word, column) in [("contention", 4), ("spin", 5), ("block", 6), ("hold", 7)] {
        let table = console.command(&format!("lockstat all {word}"));
        let rows = table
            .lines()
            .skip(1)
            .filter(|row| !row.starts_with("lockstat is"));
        let values: Vec<u64> = rows
            .map(|row| {
                let value = row.split_whitespace().nth(column).expect(row);
                value.parse().unwrap_or_else(|_| panic!("{row}"))
            })
            .collect();
        assert!(values.len() > 5, "{table}");
        assert!(values.is_sorted_by(|a, b| a >= b), "{word}: {table}");
        assert!(word != "hold" || values[0] > 0, "{word}: {table}");
    }
}

#[test]
fn latencies_are_drawn_as_bars() {
    claim(
        "irqlat hist: from when an interrupt was taken to its handler, and how late the timer is",
    );
    let mut console = start();
    let first = console.command("irqlat hist");
    assert!(first.starts_with("counting from now on"), "{first}");
    console.command("sha256 /boot/config.txt");
    console.command("stress start");
    std::thread::sleep(Duration::from_secs(2));
    console.command_within("stress stop", PATIENCE);
    let text = console.command("irqlat hist");
    for title in ["timer, from due", "sched, from taken", "tty, from taken"] {
        assert!(text.contains(title), "no {title}:\n{text}");
    }
    let (mut told, mut sum) = (0_u64, 0);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(line.chars().count() <= 80, "{line}");
        if let Some((_, rest)) = line.split_once("to handler: ") {
            assert_eq!(told, sum, "bars and number:\n{text}");
            told = rest
                .split(',')
                .next()
                .and_then(|n| n.parse().ok())
                .expect(line);
            sum = 0;
        } else {
            let count: u64 = words.iter().rev().find_map(|w| w.parse().ok()).expect(line);
            assert_eq!(line.ends_with('#'), count > 0, "{line}");
            sum += count;
        }
    }
    assert_eq!(told, sum, "{text}");
    assert!(told > 10, "{text}");
    console.command("irqlat off");
    console.command("irqlat clear");
    let text = console.command("irqlat hist");
    assert_eq!(
        text.lines().filter(|line| line.contains('#')).count(),
        0,
        "{text}"
    );
}
