// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows the interrupts that the kernel's `irqlat` makes, instruction by instruction, and prints which functions the
//! instructions are in, behind `irqlat`'s own table (`make bench-intr`).
//!
//! What is executed between an interrupt's vector and the end of a path is the path; for the soft interrupt, between
//! the direct handler that schedules it and its own. The last one of each kind is shown: they are all alike.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use qemu_tests::trace::{Functions, follow};
use qemu_tests::{Console, Machine};
use tools::figures::{Figure, Json};

/// Follow interrupts to their handlers, and count the instructions by function
#[derive(Parser)]
#[command(version, name = "irqtrace")]
struct Args {
    #[command(flatten)]
    json: Json,
}

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
    tools::exit("irqtrace", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let functions = Functions::of_kernel()?;
    let tracer = Tracer::new(&functions)?;
    let talk = |console: &mut Console| console.command_within("irqlat", PATIENCE);
    let (said, tracer) = follow(Machine::new(), PATIENCE, tracer, Tracer::see, talk)?;
    println!("{said}");
    print(&functions, &tracer.ways)?;
    let ways = PATHS.iter().zip(&tracer.ways);
    let figure = |((_, to), way): (&(_, &str), &Vec<_>)| {
        Figure::instructions(format!("interrupt to {to}"), way.len() as f64, None)
    };
    args.json.write(&ways.map(figure).collect::<Vec<_>>())
}

/// The instructions of the last of each of [`PATHS`].
type Ways = [Vec<u64>; PATHS.len()];

struct Tracer {
    vector: u64,
    schedules: u64,
    ends: [u64; PATHS.len()],
    ways: Ways,
    /// By CPU: since the vector, and from where on it is the soft interrupt's.
    now: HashMap<u8, (Vec<u64>, usize)>,
}

impl Tracer {
    fn new(functions: &Functions) -> Result<Self> {
        let mut ends = [0; PATHS.len()];
        for (end, (name, _)) in ends.iter_mut().zip(PATHS) {
            *end = functions.address(name)?;
        }
        Ok(Self {
            vector: functions.address("vectors")? + IRQ_VECTOR,
            schedules: functions.address(SCHEDULES)?,
            ends,
            ways: Ways::default(),
            now: HashMap::new(),
        })
    }

    fn see(&mut self, cpu: u8, pc: u64) {
        let (way, scheduled) = self.now.entry(cpu).or_default();
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
            self.ways[path] = way[from..].to_vec();
            way.clear();
        }
        if pc == self.vector || !way.is_empty() && way.len() < LONGEST {
            way.push(pc);
        }
    }
}

fn print(functions: &Functions, ways: &Ways) -> Result<()> {
    let mut names: Vec<&str> = Vec::new();
    let mut counts: HashMap<&str, [usize; PATHS.len()]> = HashMap::new();
    for (path, way) in ways.iter().enumerate() {
        ensure!(!way.is_empty(), "no path to {} was seen", PATHS[path].0);
        for (name, count) in functions.counts(way) {
            let counts = counts.entry(name).or_insert_with(|| {
                names.push(name);
                [0; PATHS.len()]
            });
            counts[path] = count;
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
