// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the instructions of the locks' fast paths, and fails if one is too long, or longer than it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tools::figures::{Figure, Json};
use tools::paths::Function;

/// Count the instructions of the locks' fast paths in the probes (kernel/src/bin/probes.rs)
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The linked probes
    elf: PathBuf,
    /// What was counted when it was last committed
    #[arg(long, default_value_os_t = tools::root().join("tools/bench-locks.txt"))]
    baseline: PathBuf,
    /// Write the baseline instead of comparing with it
    #[arg(long)]
    update: bool,
    /// List the instructions
    #[arg(long)]
    verbose: bool,
    /// What `bench cv` printed on the console, under --icount
    #[arg(long)]
    console: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// A path that has a limit: its probe, most instructions, and what it is measured by.
const LIMITS: [(&str, Option<u64>, &str); 8] = [
    (
        "adaptive_enter",
        Some(6),
        "NetBSD, illumos: 6 (hand-written)",
    ),
    (
        "adaptive_exit",
        Some(7),
        "NetBSD, illumos: 7 (hand-written)",
    ),
    ("read_enter", Some(10), "illumos: 10"),
    ("read_exit", Some(9), "illumos: 9"),
    (
        "spin_pair",
        Some(28),
        "Linux irqsave: 28, masks all; NetBSD: 80",
    ),
    ("spl_pair", Some(12), "NetBSD: 45"),
    ("write_enter", None, ""),
    ("write_exit", None, ""),
];

fn main() -> ExitCode {
    tools::exit("bench-locks", bench(&Args::parse()))
}

fn bench(args: &Args) -> Result<()> {
    let elf = tools::read(&args.elf, "`make bench-locks` builds it")?;
    let probes: BTreeMap<_, _> = Function::named(&elf, "probe_")?.into_iter().collect();
    let mut counts = BTreeMap::new();
    println!("Instructions executed, uncontended, without frame and return (in brackets):");
    for (name, _, _) in LIMITS {
        let probe = probes
            .get(name)
            .with_context(|| format!("no probe_{name}"))?;
        let path = probe.path().with_context(|| format!("probe_{name}"))?;
        counts.insert(name, (path.counted() as u64, path));
    }
    ensure!(
        probes.len() == LIMITS.len(),
        "a probe has no line in the table"
    );
    let baseline = if args.update {
        BTreeMap::new()
    } else {
        read_baseline(&args.baseline)?
    };
    let (mut complaints, mut figures) = (Vec::new(), Vec::new());
    println!(
        "  {:16}{:>10}{:>8}{:>10}  others",
        "path", "counted", "limit", "baseline"
    );
    for (name, limit, others) in LIMITS {
        let (counted, path) = &counts[name];
        figures.push(Figure::instructions(name, *counted as f64, None));
        let before = baseline.get(name).copied();
        let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        let counted_and_frame = format!("{counted} (+{})", path.frame());
        println!(
            "  {name:16}{counted_and_frame:>10}{:>8}{:>10}  {others}",
            number(limit),
            number(before),
        );
        if args.verbose {
            print!("{}", path.listing());
        }
        if limit.is_some_and(|limit| *counted > limit) {
            complaints.push(format!("{name}: {counted} exceed the limit"));
        }
        match before {
            Some(before) if *counted > before => {
                complaints.push(format!("{name}: {counted}, was {before}"));
            }
            None if !args.update => complaints.push(format!("{name}: not in the baseline")),
            _ => {}
        }
    }
    complaints.extend(twins(&elf)?);
    if let Some(console) = &args.console {
        complaints.extend(round_trips(console, &mut figures)?);
    }
    args.json.write(&figures)?;
    if !complaints.is_empty() {
        bail!("{}", complaints.join("; "));
    }
    if args.update {
        let mut text = String::new();
        for (name, (counted, _)) in &counts {
            writeln!(text, "{name} {counted}").expect("a String takes all");
        }
        tools::write(&args.baseline, text.as_bytes())?;
    }
    Ok(())
}

fn read_baseline(file: &Path) -> Result<BTreeMap<String, u64>> {
    let text = tools::read(file, "--update writes it")?;
    let text = String::from_utf8(text)?;
    let line = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    let parsed = text
        .lines()
        .map(|l| line(l).with_context(|| format!("not `NAME COUNT`: {l}")));
    parsed.collect()
}

/// Compares what does the same with tokens and without.
fn twins(elf: &[u8]) -> Result<Vec<String>> {
    let functions: BTreeMap<_, _> = Function::named(elf, "twin_")?.into_iter().collect();
    let mut complaints = Vec::new();
    println!("With tokens and without:");
    let with = functions
        .iter()
        .filter_map(|(n, f)| Some((n.strip_suffix("_with")?, f)));
    for (name, with) in with {
        let without = functions.get(&format!("{name}_without"));
        let without = without.with_context(|| format!("no twin_{name}_without"))?;
        match with.difference(without) {
            None => {
                let one = with.address == without.address;
                let how = if one {
                    "equal: the compiler made one of the two"
                } else {
                    "equal"
                };
                println!("  {name:16}{:>10}  instructions, {how}", with.words.len());
            }
            Some(index) => complaints.push(format!("twins {name} differ at instruction {index}")),
        }
    }
    ensure!(functions.len() >= 2, "no twins");
    Ok(complaints)
}

/// Most instructions of a round trip by condition variable: on one CPU, and across two.
const ROUND_TRIPS: [(&str, u64, &str); 2] = [
    (
        "one CPU",
        1_000,
        "Linux's futex in the same emulator: 8,224",
    ),
    (
        "two CPUs",
        2_500,
        "Linux's futex in the same emulator: 15,440",
    ),
];

/// Judges the table that `bench cv` printed: CPUs, then instructions.
fn round_trips(console: &Path, figures: &mut Vec<Figure>) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(&tools::read(console, "`make bench-locks` writes it")?)
        .into_owned();
    let rows = text
        .lines()
        .skip_while(|l| !l.contains("instructions a round trip"));
    let mut rows = rows.skip(1);
    let mut complaints = Vec::new();
    println!("Round trip by condition variable, counted by QEMU:");
    for (name, limit, others) in ROUND_TRIPS {
        let row = rows.next().unwrap_or_default();
        let count = row
            .split_whitespace()
            .last()
            .and_then(|n| n.parse::<u64>().ok());
        let count =
            count.with_context(|| format!("`bench cv` has no count for {name}: `{row}`"))?;
        println!("  {name:16}{count:>10}{limit:>8}            {others}");
        let figure = Figure::instructions(format!("round trip, {name}"), count as f64, None);
        figures.push(figure);
        if count > limit {
            complaints.push(format!("round trip, {name}: {count} exceed the limit"));
        }
    }
    Ok(complaints)
}
