// SPDX-License-Identifier: MIT OR Apache-2.0
//! The instructions of a disk request, from its submission until who waits for it goes on, and the functions that they
//! are in.
//!
//! All CPUs count: the interrupt may come to another one than the thread waits on. What else the kernel does meanwhile is
//! in it, too; the median request of several is shown.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use tools::figures::Figure;

use crate::trace::{Functions, follow};
use crate::{Console, Machine};

/// Requests of each size, and those before that are not counted.
const REQUESTS: usize = 21;
const WARM_UP: usize = 3;
const PATIENCE: Duration = Duration::from_secs(300);
/// Functions with fewer instructions are one row.
const LEAST: usize = 20;

/// The sizes, and the most that their goals allow.
const SIZES: [(&str, u64, usize); 2] = [("4 KiB", 4096, 4_000), ("1 MiB", 1 << 20, 40_000)];

/// Where the requests lie in what is executed.
struct Seen {
    submits: u64,
    ended: u64,
    inside: bool,
    requests: Vec<Vec<u64>>,
}

impl Seen {
    fn see(&mut self, _cpu: u8, pc: u64) {
        if pc == self.submits {
            self.inside = true;
            self.requests.push(Vec::new());
        } else if pc == self.ended {
            self.inside = false;
        } else if self.inside
            && let Some(request) = self.requests.last_mut()
        {
            request.push(pc);
        }
    }
}

/// Reads the card at `image` with requests of each size, and says where the instructions are.
pub fn report(image: &Path) -> Result<(String, Vec<Figure>)> {
    let functions = Functions::of_kernel()?;
    let (mut text, mut figures) = (String::new(), Vec::new());
    for (name, bytes, goal) in SIZES {
        let seen = Seen {
            submits: functions.address("diskbench_submits")?,
            ended: functions.address("diskbench_ended")?,
            inside: false,
            requests: Vec::new(),
        };
        let line = format!(
            "diskbench card read {bytes} requests {}",
            WARM_UP + REQUESTS
        );
        let talk = |console: &mut Console| console.command_within(&line, PATIENCE);
        let machine = Machine::new().card(image).args(["-snapshot"]);
        let (said, seen) = follow(machine, PATIENCE, seen, Seen::see, talk)?;
        ensure!(said.contains("errors=0"), "{said}");
        let mut requests = seen.requests;
        ensure!(
            requests.len() == WARM_UP + REQUESTS,
            "{} requests",
            requests.len()
        );
        requests.drain(..WARM_UP);
        requests.sort_by_key(Vec::len);
        let median = &requests[REQUESTS / 2];
        let (least, most) = (requests[0].len(), requests[REQUESTS - 1].len());
        writeln!(
            text,
            "\nread of {name}: {} instructions (least {least}, most {most}; goal {goal})",
            median.len()
        )?;
        let name = format!("read of {name}");
        figures.push(Figure::instructions(name, median.len() as f64, None));
        let mut counts = functions.counts(median);
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let (large, small): (Vec<_>, Vec<_>) = counts.into_iter().partition(|(_, n)| *n >= LEAST);
        for (function, count) in &large {
            writeln!(text, "{count:>9}  {function}")?;
        }
        let rest: usize = small.iter().map(|(_, count)| count).sum();
        writeln!(text, "{rest:>9}  {} others", small.len())?;
    }
    Ok((text, figures))
}
