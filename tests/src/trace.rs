// SPDX-License-Identifier: MIT OR Apache-2.0
//! A run of the kernel, instruction by instruction: QEMU names each in its log, which is a pipe here.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{Console, Machine};

/// The kernel's functions, by address.
#[derive(Clone)]
pub struct Functions(BTreeMap<u64, String>);

impl Functions {
    /// Of the kernel that `make image` built.
    pub fn of_kernel() -> Result<Self> {
        let elf = tools::kernel_elf();
        let elf = std::fs::read(&elf).with_context(|| format!("{}: make image", elf.display()))?;
        Ok(Self(tools::kimage::named_functions(&elf)?))
    }

    /// Where the only function of this name begins.
    pub fn address(&self, wanted: &str) -> Result<u64> {
        let mut found = self.0.iter().filter(|(_, name)| *name == wanted);
        match (found.next(), found.next()) {
            (Some((address, _)), None) => Ok(*address),
            _ => bail!("the kernel has not one {wanted}"),
        }
    }

    /// The function that an instruction is in.
    pub fn name(&self, pc: u64) -> &str {
        let below = self.0.range(..=pc).next_back();
        below.map_or("?", |(_, name)| name)
    }

    /// How many of these instructions are in which function, in the order in which they come up.
    pub fn counts<'a>(&'a self, pcs: &[u64]) -> Vec<(&'a str, usize)> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut counts = Vec::new();
        for pc in pcs {
            let name = self.name(*pc);
            let place = *places.entry(name).or_insert_with(|| {
                counts.push((name, 0));
                counts.len() - 1
            });
            counts[place].1 += 1;
        }
        counts
    }
}

/// Boots `machine` with instructions counted, has `talk` use its console, and shows each instruction to `see`: the CPU and
/// the address. Returns what `talk` and `see` come to.
pub fn follow<T, S: Send + 'static>(
    machine: Machine,
    patience: Duration,
    mut seen: S,
    see: impl Fn(&mut S, u8, u64) + Send + 'static,
    talk: impl FnOnce(&mut Console) -> T,
) -> Result<(T, S)> {
    let scratch = tempfile::tempdir()?;
    let pipe = scratch.path().join("executed");
    let made = Command::new("mkfifo").arg(&pipe).status()?;
    ensure!(made.success(), "no pipe");
    let log = pipe.to_str().context("a path that is text")?.to_owned();
    let follower = thread::spawn(move || -> Result<S> {
        let log = BufReader::with_capacity(1 << 20, File::open(pipe)?);
        for line in log.split(b'\n') {
            if let Some((cpu, pc)) = executed(&line?) {
                see(&mut seen, cpu, pc);
            }
        }
        Ok(seen)
    });
    let one_by_one = ["-accel", "tcg,one-insn-per-tb=on"];
    let named = ["-d", "exec,nochain", "-D", &log];
    let machine = machine.icount().deadline(2 * patience);
    let mut console = machine.args(one_by_one).args(named).start();
    console.prompt();
    let said = talk(&mut console);
    drop(console);
    let seen = follower.join().expect("the thread that reads the pipe")?;
    Ok((said, seen))
}

/// The CPU, and the address of the instruction: `Trace 0: 0x... [flags/.../pc/...]`.
fn executed(line: &[u8]) -> Option<(u8, u64)> {
    let cpu = line.strip_prefix(b"Trace ")?.first()? - b'0';
    let mut parts = line.split(|byte| *byte == b'/' || *byte == b'[');
    let pc = std::str::from_utf8(parts.nth(2)?).ok()?;
    Some((cpu, u64::from_str_radix(pc, 16).ok()?))
}
