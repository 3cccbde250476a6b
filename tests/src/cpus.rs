// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's table of CPUs, as the `cpus` command prints it.

use crate::Console;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// `online`, `off`, `parked`.
    pub state: String,
    /// Its affinity register.
    pub mpidr: u64,
    /// Exception level at the entry and now.
    pub el: String,
    /// How CPUs are started here.
    pub boot: String,
    /// How often it came online.
    pub starts: u32,
}

impl Console {
    /// Runs `cpus`. A CPU that never started has only its state.
    #[track_caller]
    pub fn cpus(&mut self) -> Vec<Cpu> {
        let table = self.command("cpus");
        let rows: Vec<_> = table
            .lines()
            .filter(|l| l.split_whitespace().next().is_some_and(is_number))
            .filter(|l| !l.contains(" of "))
            .map(|row| Cpu::parse(row).unwrap_or_else(|| panic!("no row of `cpus`: {row:?}")))
            .collect();
        assert_eq!(rows.len(), 4, "four rows:\n{table}");
        let online = rows.iter().filter(|cpu| cpu.state == "online").count();
        let sum = format!("{online} of 4 online");
        assert!(table.ends_with(&sum), "the table sums up {sum:?}:\n{table}");
        rows
    }

    /// Asserts that all four CPUs are online, in order, each started once.
    #[track_caller]
    pub fn assert_four(&mut self, el: &str, boot: &str) {
        for (n, cpu) in self.cpus().iter().enumerate() {
            let expected = Cpu {
                state: "online".into(),
                mpidr: n as u64,
                el: el.into(),
                boot: boot.into(),
                starts: 1,
            };
            assert_eq!(*cpu, expected, "CPU {n}");
        }
    }
}

impl Cpu {
    fn parse(row: &str) -> Option<Self> {
        let words: Vec<&str> = row.split_whitespace().collect();
        if row.ends_with("never started") {
            return Some(Self {
                state: (*words.get(1)?).into(),
                mpidr: 0,
                el: String::new(),
                boot: String::new(),
                starts: 0,
            });
        }
        let [_, state, mpidr, el, boot, starts, _busy, _waiting] = words[..] else {
            return None;
        };
        Some(Self {
            state: state.into(),
            mpidr: u64::from_str_radix(mpidr.strip_prefix("0x")?, 16).ok()?,
            el: el.into(),
            boot: boot.into(),
            starts: starts.parse().ok()?,
        })
    }
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit())
}
