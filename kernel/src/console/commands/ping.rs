// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ping`: is a host there, and how far away?
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal, check_interrupt, interrupted};
use crate::console::words::number_in;
use crate::net::socket::{Echo, IpAddress, NetError, Ping, resolve};
use crate::thread::ThreadCx;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};

const MS_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// How long a name server may take.
const RESOLVE_NS: u64 = 10 * SECOND_NS;
/// How long the last answers are waited for, and with interval 0 each of them: longer than a request waits at most until
/// its neighbour is asked for, as the stack asks for one a second.
const PATIENCE_NS: u64 = 2 * SECOND_NS;
/// How often Ctrl-C is looked for.
const POLL_NS: u64 = 200 * MS_NS;
/// Requests that may be unanswered at a time.
const OUTSTANDING: usize = 1024;
/// The most requests: their times are kept.
const COUNT_MAX: u64 = 1_000_000;
const SIZE_MAX: u64 = 8000;

pub const PING: Command = Command {
    name: "ping",
    arguments: "HOST [OPTION]...",
    summary: "ask a host for echoes, and measure the time",
    details: "Options: count N (4 unless told), size BYTES (56), interval MS (1000; 0: the\n\
              next one when the answer has come), quiet (only the summary). HOST is a name\n\
              or an address, also of IPv6.\n\
              Example: ping 10.0.2.2 count 1000 interval 0 quiet",
    takes_paths: false,
    run: ping,
};

/// The addresses of a host that the user named; the first is the one to use.
pub(super) fn host(cx: &mut ThreadCx, name: &str) -> Result<Vec<IpAddress>, Refusal> {
    resolve(cx, name, RESOLVE_NS).map_err(|error| Refusal(format!("{name}: {error}")))
}

struct Plan {
    to: IpAddress,
    count: u64,
    size: usize,
    interval_ns: u64,
    quiet: bool,
}

fn ping(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let (name, mut words) = (call.word(0)?, call.words[1..].iter());
    let (mut count, mut size, mut interval_ms, mut quiet) = (4, 56, 1000, false);
    while let Some(word) = words.next() {
        let mut value = |range| {
            let word = words.next().ok_or_else(|| call.usage())?;
            Ok::<_, Refusal>(number_in(word, range)?)
        };
        match word.as_str() {
            "count" => count = value(1..=COUNT_MAX)?,
            "size" => size = value(0..=SIZE_MAX)? as usize,
            "interval" => interval_ms = value(0..=3_600_000)?,
            "quiet" => quiet = true,
            _ => return Err(call.usage()),
        }
    }
    let to = *host(cx, name)?
        .first()
        .ok_or_else(|| Refusal(format!("{name}: {}", NetError::NoSuchName)))?;
    let plan = Plan {
        to,
        count,
        size,
        interval_ns: interval_ms * MS_NS,
        quiet,
    };
    writeln!(out, "{size} bytes to {to}")?;
    let socket = Ping::new(cx)?;
    let mut run = Run::new(&plan, &socket);
    let result = run.all(cx, out);
    let tally = run.tally;
    socket.close(cx);
    tally.write(out)?;
    result?;
    match tally.times_ns.len() {
        0 => Err(Refusal(format!("{to} does not answer"))),
        _ => Ok(()),
    }
}

/// What came of it.
#[derive(Default)]
struct Tally {
    sent: u64,
    times_ns: Vec<u64>,
    twice: u64,
    damaged: u64,
}

impl Tally {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let (sent, received) = (self.sent, self.times_ns.len() as u64);
        let lost = sent - received;
        let percent = lost * 1000 / sent.max(1);
        write!(
            out,
            "{sent} sent, {received} answered, {lost} lost ({}.{}%)",
            percent / 10,
            percent % 10
        )?;
        for (count, what) in [(self.twice, "twice or late"), (self.damaged, "damaged")] {
            if count > 0 {
                write!(out, ", {count} {what}")?;
            }
        }
        out.write_char('\n')?;
        let mut sorted = self.times_ns.clone();
        sorted.sort_unstable();
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return Ok(());
        };
        let at = |percent: usize| Ms(sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]);
        let mean = sorted.iter().sum::<u64>() / received;
        writeln!(
            out,
            "round trip ms: min {}, p50 {}, p99 {}, max {}, avg {}",
            Ms(*least),
            at(50),
            at(99),
            Ms(*most),
            Ms(mean)
        )
    }
}

/// Nanoseconds as milliseconds.
struct Ms(u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0 / 1000;
        write!(f, "{}.{:03}", us / 1000, us % 1000)
    }
}

struct Run<'a> {
    plan: &'a Plan,
    socket: &'a Ping,
    payload: Vec<u8>,
    /// When the last requests left; none of those that were answered.
    left_ns: Vec<Option<u64>>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, socket: &'a Ping) -> Self {
        Self {
            plan,
            socket,
            payload: (0..plan.size).map(|n| n as u8).collect(),
            left_ns: vec![None; OUTSTANDING],
            buffer: vec![0; plan.size + 1],
            tally: Tally::default(),
        }
    }

    fn all(&mut self, cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
        let start_ns = now_ns();
        while self.tally.sent < self.plan.count {
            let n = self.tally.sent as usize;
            let left_ns = now_ns();
            self.left_ns[n % OUTSTANDING] = Some(left_ns);
            self.socket
                .send(cx, self.plan.to, n as u16, &self.payload)?;
            self.tally.sent += 1;
            let is_last = self.tally.sent == self.plan.count;
            let until_ns = match self.plan.interval_ns {
                0 => left_ns + PATIENCE_NS,
                _ if is_last => now_ns() + PATIENCE_NS,
                interval_ns => start_ns + interval_ns * self.tally.sent,
            };
            // With an interval, the next one leaves when it is over; else when nothing is awaited.
            let early = self.plan.interval_ns == 0 || is_last;
            while !(early && self.left_ns[n % OUTSTANDING].is_none()) {
                let wait_ns = until_ns.saturating_sub(now_ns());
                if wait_ns == 0 {
                    break;
                }
                match self
                    .socket
                    .receive(cx, &mut self.buffer, Some(wait_ns.min(POLL_NS)))
                {
                    Ok(echo) => self.note(out, &echo)?,
                    Err(NetError::TimedOut) => check_interrupt(cx)?,
                    Err(error) => return Err(error.into()),
                }
            }
            if n % 64 == 63 && interrupted(cx) {
                return Err(Refusal("interrupted".into()));
            }
        }
        Ok(())
    }

    fn note(&mut self, out: &mut dyn Write, echo: &Echo) -> fmt::Result {
        let now_ns = now_ns();
        let last = (self.tally.sent - 1) as usize;
        let behind = (last as u16).wrapping_sub(echo.sequence) as usize;
        let at = last.checked_sub(behind).filter(|_| behind < OUTSTANDING);
        let Some(left_ns) = at.and_then(|n| self.left_ns[n % OUTSTANDING].take()) else {
            self.tally.twice += 1;
            return Ok(());
        };
        if echo.bytes != self.plan.size || self.buffer[..echo.bytes] != self.payload[..] {
            self.tally.damaged += 1;
        }
        let time_ns = now_ns.saturating_sub(left_ns);
        self.tally.times_ns.push(time_ns);
        if !self.plan.quiet {
            let Echo {
                from,
                sequence,
                bytes,
            } = echo;
            writeln!(
                out,
                "{bytes} bytes from {from}: seq {sequence}, {} ms",
                Ms(time_ns)
            )?;
        }
        Ok(())
    }
}
