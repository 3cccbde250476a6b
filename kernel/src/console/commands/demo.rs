// SPDX-License-Identifier: MIT OR Apache-2.0
//! `demo`: what spl does, shown.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal};
use crate::console::words::number_in;
use crate::demo::{count, domains, ladder, storm};
use crate::thread::ThreadCx;
use core::fmt::Write;

pub const DEMO: Command = Command {
    name: "demo",
    arguments: "domains [HOLDS]|ladder|count [N]|storm [threaded] [SECONDS]",
    summary: "show what spl holds off; nothing gets lost",
    details: "domains: what disk and network wait while the other is held off. ladder: what\n\
              comes through at each level. Both under each policy. count: send N interrupts,\n\
              and see that each is handled once. storm: an interrupt line that is stuck, and\n\
              how the machine lives with it. Ctrl-C ends each. Example: demo domains 50",
    takes_paths: false,
    run: demo,
};

fn demo(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let most = |n: usize| call.at_most(n);
    let number = |at: usize, default: u64, most: u64| match call.words.get(at) {
        Some(word) => number_in(word, 1..=most).map_err(Refusal::from),
        None => Ok(default),
    };
    match call.word(0)? {
        "domains" => {
            most(2)?;
            let holds = number(1, domains::HOLDS_EACH, domains::MAX_HOLDS)?;
            domains::run(cx, out, holds)
        }
        "ladder" => {
            most(1)?;
            ladder::run(cx, out)
        }
        "count" => {
            most(2)?;
            let interrupts = number(1, count::INTERRUPTS, count::MAX_INTERRUPTS)?;
            count::run(cx, out, interrupts)
        }
        "storm" => {
            let threaded = call.words.get(1).is_some_and(|word| word == "threaded");
            let at = 1 + usize::from(threaded);
            most(at + 1)?;
            let seconds = number(at, storm::SECONDS, storm::MAX_SECONDS)?;
            storm::run(cx, out, threaded, seconds)
        }
        _ => Err(call.usage()),
    }
}
