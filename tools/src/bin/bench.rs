// SPDX-License-Identifier: MIT OR Apache-2.0
//! One page of all that was measured (`make bench`): Markdown and pictures, compared with what was last committed.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use clap::Parser;
use tools::bench_page::{Baseline, Group, draw, page};
use tools::figures;

/// Make the page of `make bench` from the figures that the measurements wrote
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The folder with the figures, where the page goes
    #[arg(long, default_value_os_t = tools::out_dir().join("bench"))]
    folder: PathBuf,
    /// What was measured when it was last committed
    #[arg(long, default_value_os_t = tools::root().join("tests/bench-baseline.json"))]
    baseline: PathBuf,
    /// Make these figures the baseline, beside those of measurements that were not made
    #[arg(long)]
    update: bool,
}

/// File and title of each measurement.
const GROUPS: [(&str, &str); 5] = [
    ("domains", "Disk and network beside each other"),
    ("net", "Network, beside Linux"),
    ("disk", "Disk, beside Linux"),
    ("locks", "Locks"),
    ("intr", "Interrupts"),
];

fn main() -> ExitCode {
    tools::exit("bench", make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    let mut groups = Vec::new();
    for (name, title) in GROUPS {
        let file = args.folder.join(format!("{name}.json"));
        if file.exists() {
            let figures = figures::read(&file)?;
            groups.push(Group {
                name,
                title,
                figures,
            });
        }
    }
    ensure!(
        !groups.is_empty(),
        "{} has no figures",
        args.folder.display()
    );
    let mut baseline = Baseline::read(&args.baseline)?;
    for group in &groups {
        if let Some(svg) = draw(group) {
            tools::write(
                &args.folder.join(format!("{}.svg", group.name)),
                svg.as_bytes(),
            )?;
        }
    }
    let text = page(&groups, &baseline, &machine());
    let index = args.folder.join("index.md");
    tools::write(&index, text.as_bytes())?;
    if args.update {
        baseline.take(&groups);
        baseline.write(&args.baseline)?;
    }
    print!("{text}");
    println!("bench   {}", index.display());
    Ok(())
}

/// What the figures are of: programs and their versions, the host's CPUs, the commit.
fn machine() -> Vec<(&'static str, String)> {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let said = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let line = said
            .ok()
            .and_then(|said| said.lines().next().map(str::to_owned));
        line.filter(|line| !line.is_empty())
            .unwrap_or_else(|| "unknown".into())
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |line| line.trim_start_matches(['\t', ' ', ':']));
    vec![
        (
            "Commit",
            first_line("git", &["describe", "--always", "--dirty"]),
        ),
        (
            "Emulator",
            first_line("qemu-system-aarch64", &["--version"]),
        ),
        ("Compiler", first_line("rustc", &["--version"])),
        ("Host", format!("{cpus} CPUs {model}").trim_end().to_owned()),
    ]
}
