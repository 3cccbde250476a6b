// SPDX-License-Identifier: MIT OR Apache-2.0
//! `demo`: what spl does, shown.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal};
use crate::console::words::number_in;
use crate::cpu::CPUS;
use crate::demo::{count, devices, domains, ladder, share, storm};
use crate::thread::ThreadCx;
use core::fmt::Write;

pub const DEMO: Command = Command {
    name: "demo",
    arguments: "domains [N]|devices [HOST] [S]|ladder|count [N]|storm [threaded] [S]",
    summary: "show what spl holds off; nothing gets lost",
    details: "domains: what disk and network wait while the other is held off. devices:\n\
              the card and the network at full load, alone and together, S seconds each;\n\
              HOST has chargen and answers pings (the gateway unless told). ladder: what\n\
              comes through at each level. All under each policy. count: send N\n\
              interrupts, and see that each is handled once. storm: an interrupt line that\n\
              is stuck, and how the machine lives with it. share P... S: use up P % of\n\
              each CPU, in the background. Ctrl-C ends each. Example: demo domains 50",
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
        "devices" => {
            let mut words = &call.words[1..];
            let mut peer = None;
            if let Some((first, rest)) = words.split_first()
                && let Ok(address) = first.parse::<core::net::IpAddr>()
            {
                (peer, words) = (Some(address.into()), rest);
            }
            most(call.words.len() - words.len() + 1)?;
            let seconds = match words.first() {
                Some(word) => number_in(word, 1..=devices::MAX_SECONDS)?,
                None => devices::SECONDS,
            };
            devices::run(cx, out, peer, seconds)
        }
        "share" => {
            most(CPUS + 2)?;
            let mut percent = [0; CPUS];
            for (n, percent) in percent.iter_mut().enumerate() {
                *percent = number_in(call.word(1 + n)?, 0..=100)?;
            }
            let seconds = number_in(call.word(CPUS + 1)?, 1..=share::MAX_SECONDS)?;
            share::run(cx, &percent, seconds)
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
