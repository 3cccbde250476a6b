// SPDX-License-Identifier: MIT OR Apache-2.0
//! `provoke`: mistakes on purpose, to be found at the console.
use super::{Command, Outcome};
use crate::console::shell::Call;
use crate::provoke::{self, Mistake};
use crate::thread::ThreadCx;
use core::fmt::Write;

pub const PROVOKE: Command = Command {
    name: "provoke",
    arguments: "deadlock|hog|stop",
    summary: "mistakes with locks, made to be found",
    details: "deadlock: two threads each hold a mutex that the other wants. hog: of three\n\
              threads that share a mutex, one stays inside for 20 ms each time. They are\n\
              less urgent than the console, which goes on; stop ends them. The guide's\n\
              chapter on diagnosing finds both with what the console has.\n\
              Example: provoke hog",
    takes_paths: false,
    run: provoke,
};

fn provoke(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let mistake = match call.word(0)? {
        "deadlock" => Mistake::Deadlock,
        "hog" => Mistake::Hog,
        "stop" => {
            let ended = provoke::stop(cx)?;
            return Ok(writeln!(out, "{ended} threads ended")?);
        }
        _ => return Err(call.usage()),
    };
    Ok(provoke::start(cx, mistake)?)
}
