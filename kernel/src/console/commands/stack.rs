// SPDX-License-Identifier: MIT OR Apache-2.0
//! `stack`: where a thread is, and how it came there.
//!
//! # Theory
//! Who runs is asked on its own CPU, by a cross-call: there it is interrupted, or under those that it lent the CPU to, and its
//! registers are saved. So are those of who waits for the CPU, or for something else; it stays there while the run queue
//! that guards it is locked.
//!
//! # Lock order
//! `Backtrace`, then the run queue.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal};
use crate::console::words::number_in;
use crate::cpu::CpuSet;
use crate::panic::backtrace;
use crate::thread::{self, Seen, Thread, ThreadCx};
use crate::{lock_order, xcall};
use alloc::format;
use core::fmt::Write;
use sync::domain::{Cx, Interrupt, Sched};
use sync::kmutex::KMutex;

/// Times that a thread is looked for before it is said to run about.
const TRIES: usize = 10;

pub const STACK: Command = Command {
    name: "stack",
    arguments: "THREAD",
    summary: "a thread's calls, innermost first",
    details: "THREAD: its number or its name, as threads shows them. One that runs is\n\
              interrupted to say it: what stands above the vector is that interrupt.\n\
              Example: stack syncer",
    takes_paths: false,
    run: stack,
};

/// What a CPU says: enough for 24 frames.
type Text = heapless::String<3072>;

static SAID: KMutex<Text, lock_order::Backtrace> = KMutex::new(Text::new());

fn stack(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let word = call.word(0)?;
    let t = find(word)?;
    writeln!(out, "thread {} {}, CPU {}:", t.id(), t.name(), t.cpu())?;
    for _ in 0..TRIES {
        SAID.enter(cx).0.clear();
        xcall::call(cx, CpuSet::ALL, say, t.slot().into());
        if SAID.enter(cx).0.is_empty() {
            say_saved(cx, t);
        }
        let said = SAID.enter(cx).0.clone();
        if !said.is_empty() {
            return Ok(out.write_str(&said)?);
        }
    }
    Err(Refusal(format!(
        "{word} ran elsewhere each time; try again"
    )))
}

fn find(word: &str) -> Result<&'static Thread, Refusal> {
    let mut threads = thread::threads();
    let found = match word.starts_with(|c: char| c.is_ascii_digit()) {
        true => {
            let id = number_in(word, 1..=u32::MAX.into())? as u32;
            threads.find(|t| t.id() == id)
        }
        false => threads.find(|t| t.name() == word),
    };
    found.ok_or_else(|| Refusal(format!("{word}: no such thread; threads lists them")))
}

/// This CPU's part: if the thread has this CPU, its calls.
fn say(cx: &mut Cx<Interrupt<Sched>>, slot: usize) {
    let frame = bsp::cpu::frame_pointer();
    let (mut said, _) = SAID.enter(cx);
    let _full = match thread::seen_here(thread::thread(slot as u8)) {
        Seen::Interrupted => backtrace::print_callers(&mut *said, frame),
        Seen::Saved { pc, fp } => backtrace::print(&mut *said, pc, fp),
        Seen::Elsewhere => return,
    };
}

/// Of one that no CPU has.
fn say_saved(cx: &mut ThreadCx, t: &'static Thread) {
    let (mut said, mut cx) = SAID.enter(cx);
    thread::with_saved(&mut cx, t, |pc, fp| {
        let _full = backtrace::print(&mut *said, pc, fp);
    });
}
