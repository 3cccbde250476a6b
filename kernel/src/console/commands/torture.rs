// SPDX-License-Identifier: MIT OR Apache-2.0
//! `torture`: the locks, as badly treated as can be.
use super::{Command, Outcome};
use crate::console::shell::Call;
use crate::console::words::number_in;
use crate::thread::ThreadCx;
use crate::torture;
use core::fmt::Write;

pub const TORTURE: Command = Command {
    name: "torture",
    arguments: "[broken] [SECONDS]",
    summary: "torture the locks and check that they hold",
    details: "5 s unless told. Threads, interrupts and callouts contend for locks of every\n\
              kind, with deadlines and cancellation, while CPUs go and come and priorities\n\
              change. Checked: nobody is let in beside another, everybody gets on, lockstat\n\
              counts right (its figures begin anew). gave up: waits that a deadline ended.\n\
              caught: times that two were inside. broken: with a lock that is broken on\n\
              purpose; it must fail.\n\
              Example: torture 60",
    takes_paths: false,
    run: torture,
};

fn torture(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let broken = call.words.first().is_some_and(|word| word == "broken");
    call.at_most(1 + usize::from(broken))?;
    let seconds = match call.words.get(usize::from(broken)) {
        Some(word) => number_in(word, 1..=86_400)?,
        None => 5,
    };
    torture::run(cx, out, seconds, broken)
}
