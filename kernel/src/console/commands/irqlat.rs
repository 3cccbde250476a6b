// SPDX-License-Identifier: MIT OR Apache-2.0
//! `irqlat`: how far it is from an interrupt to who waits for it.
use super::{Command, Outcome, requires_instructions};
use crate::console::shell::Call;
use crate::thread::ThreadCx;
use crate::{cpu, intr, irqlat};
use core::fmt::Write;

pub const IRQLAT: Command = Command {
    name: "irqlat",
    arguments: "",
    summary: "instructions from interrupt to handler, thread",
    details: "Each path 200 times on one CPU, with nothing held off, under the policy in\n\
              force. The counter's own reading is in the figures. Instructions are counted\n\
              on a board, and in QEMU with -icount: make run ARGS=--icount.\n\
              Example: irqlat",
    takes_paths: false,
    run: irqlat,
};

fn irqlat(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    requires_instructions()?;
    let cpu = cpu::online().iter().last().unwrap_or(0);
    writeln!(
        out,
        "instructions, CPU {cpu}, policy {:<10}  least  median    most   limit",
        intr::policy()
    )?;
    for path in irqlat::measure(cx, cpu)? {
        let counts = &path.counts;
        writeln!(
            out,
            "  {:<36} {:>7} {:>7} {:>7} {:>7}",
            path.name,
            counts[0],
            counts[counts.len() / 2],
            counts[counts.len() - 1],
            path.limit
        )?;
    }
    Ok(())
}
