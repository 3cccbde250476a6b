// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows the interrupts that the kernel's `irqlat` makes, instruction by instruction, and prints which functions the
//! instructions are in, behind `irqlat`'s own table (`make bench-intr`).
//!
//! QEMU names each instruction in its log, which is a pipe here. What it executes between an interrupt's vector and the
//! end of a path is the path; for the soft interrupt, between the direct handler that schedules it and its own. The last one
//! of each kind is shown: they are all alike.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::Machine;

/// Of the vectors: an IRQ at the kernel's own level.
const IRQ_VECTOR: u64 = 5 * 128;
/// Where each path ends, and what it is called.
const PATHS: [(&str, &str); 4] = [
    ("irqlat_direct", "direct"),
    ("irqlat_threaded", "threaded"),
    ("irqlat_softint", "softint"),
    ("irqlat_woken", "thread"),
];
/// Where the third begins.
const SCHEDULES: &str = "irqlat_schedules";
/// Longer than any path; then it is something else that a CPU does.
const LONGEST: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    tools::exit("irqtrace", run())
}

fn run() -> Result<()> {
    let elf = tools::kernel_elf();
    let elf = std::fs::read(&elf).with_context(|| format!("{}: make image", elf.display()))?;
    let functions = tools::kimage::named_functions(&elf)?;
    let scratch = tempfile::tempdir()?;
    let pipe = scratch.path().join("executed");
    ensure!(
        Command::new("mkfifo").arg(&pipe).status()?.success(),
        "no pipe"
    );
    let tracer = Tracer::new(&functions)?;
    let follower = thread::spawn({
        let pipe = pipe.clone();
        move || tracer.follow(BufReader::with_capacity(1 << 20, File::open(pipe)?))
    });
    let log = pipe.to_str().context("a path that is text")?;
    let machine = Machine::new().icount().deadline(2 * PATIENCE);
    let one_by_one = ["-accel", "tcg,one-insn-per-tb=on"];
    let named = ["-d", "exec,nochain", "-D", log];
    let mut console = machine.args(one_by_one).args(named).start();
    console.prompt();
    println!("{}", console.command_within("irqlat", PATIENCE));
    drop(console);
    let ways = follower.join().expect("the thread that reads the pipe")?;
    print(&functions, &ways)
}

/// The instructions of the last of each of [`PATHS`].
type Ways = [Vec<u64>; PATHS.len()];

struct Tracer {
    vector: u64,
    schedules: u64,
    ends: [u64; PATHS.len()],
}

impl Tracer {
    fn new(functions: &BTreeMap<u64, String>) -> Result<Self> {
        let address = |wanted: &str| {
            let mut found = functions.iter().filter(|(_, name)| *name == wanted);
            match (found.next(), found.next()) {
                (Some((address, _)), None) => Ok(*address),
                _ => bail!("the kernel has not one {wanted}"),
            }
        };
        let mut ends = [0; PATHS.len()];
        for (end, (name, _)) in ends.iter_mut().zip(PATHS) {
            *end = address(name)?;
        }
        Ok(Self {
            vector: address("vectors")? + IRQ_VECTOR,
            schedules: address(SCHEDULES)?,
            ends,
        })
    }

    /// Reads which CPU executes what: `Trace 0: 0x... [flags/.../pc/...]`.
    fn follow(&self, log: impl BufRead) -> Result<Ways> {
        let mut ways = Ways::default();
        // By CPU: since the vector, and from where on it is the soft interrupt's.
        let mut now: HashMap<u8, (Vec<u64>, usize)> = HashMap::new();
        for line in log.split(b'\n') {
            let line = line?;
            let Some((cpu, pc)) = executed(&line) else {
                continue;
            };
            let (way, scheduled) = now.entry(cpu).or_default();
            if pc == self.vector {
                way.clear();
            }
            if pc == self.schedules {
                *scheduled = way.len();
            }
            if let Some(path) = self.ends.iter().position(|end| *end == pc)
                && way.first() == Some(&self.vector)
            {
                let from = if path == 2 { *scheduled } else { 0 };
                ways[path] = way[from..].to_vec();
                way.clear();
            }
            if pc == self.vector || !way.is_empty() && way.len() < LONGEST {
                way.push(pc);
            }
        }
        Ok(ways)
    }
}

/// The CPU, and the address of the instruction.
fn executed(line: &[u8]) -> Option<(u8, u64)> {
    let cpu = line.strip_prefix(b"Trace ")?.first()? - b'0';
    let mut parts = line.split(|byte| *byte == b'/' || *byte == b'[');
    let pc = std::str::from_utf8(parts.nth(2)?).ok()?;
    Some((cpu, u64::from_str_radix(pc, 16).ok()?))
}

fn print(functions: &BTreeMap<u64, String>, ways: &Ways) -> Result<()> {
    let mut names: Vec<&str> = Vec::new();
    let mut counts: HashMap<&str, [usize; PATHS.len()]> = HashMap::new();
    for (path, way) in ways.iter().enumerate() {
        ensure!(!way.is_empty(), "no path to {} was seen", PATHS[path].0);
        for pc in way {
            let below = functions.range(..=pc).next_back();
            let name = below.map_or("?", |(_, name)| name);
            let counts = counts.entry(name).or_insert_with(|| {
                names.push(name);
                [0; PATHS.len()]
            });
            counts[path] += 1;
        }
    }
    println!("\nwhere they go, from the vector (softint: from {SCHEDULES}) on:");
    let heads = PATHS.map(|(_, head)| format!("{head:>9}"));
    println!("{}  function", heads.concat());
    let row = |counts: &[usize; PATHS.len()], name: &str| {
        let cells = counts.map(|count| match count {
            0 => format!("{:>9}", "-"),
            _ => format!("{count:>9}"),
        });
        println!("{}  {name}", cells.concat());
    };
    for name in names {
        row(&counts[name], name);
    }
    row(&ways.each_ref().map(Vec::len), "all");
    Ok(())
}
