// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock is set by a time server: at the start, then from four times an hour to once a minute, as the clock needs it.
//!
//! # Contexts
//! Threads. One asks for as long as there is a server.
use super::sntp::{self, Kiss, Sample, SntpError};
use super::socket::{IpAddress, IpEndpoint, NetError, UdpSocket, resolve};
use crate::cpu::CpuSet;
use crate::thread::{self, PRIORITY_NORMAL, ThreadCx};
use crate::{clock, lock_order, random};
use alloc::string::String;
use bsp::timer::now_ns;
use core::fmt;
use log::{info, warn};
use sync::kmutex::KMutex;

const SECOND_NS: u64 = 1_000_000_000;
/// How long an answer may take.
const PATIENCE_NS: u64 = 3 * SECOND_NS;
/// Questions of which the best answer counts.
const QUESTIONS: usize = 4;
/// The first attempt that fails is followed by another so much later, each next one twice as much later.
const RETRY_NS: u64 = 2 * SECOND_NS;
/// How long an answer is good for, at most and at least.
const INTERVAL_NS: u64 = 1024 * SECOND_NS;
const INTERVAL_LEAST_NS: u64 = 64 * SECOND_NS;
/// A clock that was wrong by more than this is looked at sooner (RFC 5905's step threshold): an emulator's may gain
/// seconds in a minute.
const STEP_NS: u64 = 128_000_000;
/// How often the thread looks whether there is still a server.
const POLL_NS: u64 = SECOND_NS;

/// Why the clock was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtpError {
    /// The network.
    Net(NetError),
    /// The server.
    Server(SntpError),
}

impl fmt::Display for NtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NtpError {}

impl From<NetError> for NtpError {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Where it listens.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// How the clock was set last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// By whom.
    pub address: IpAddress,
    /// When, in nanoseconds since boot.
    pub at_ns: u64,
    /// The server's answer.
    pub sample: Sample,
    /// By how much it was ahead of what it said before, in nanoseconds.
    pub ahead_ns: Option<i64>,
}

/// Who is asked, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The server, as the user named it.
    pub server: Option<Server>,
    /// The last answer.
    pub set: Option<Set>,
    /// The last question, if it was in vain.
    pub error: Option<NtpError>,
}

struct State {
    standing: Standing,
    /// There is a thread.
    runs: bool,
}

static STATE: KMutex<State, lock_order::Ntp> = KMutex::new(State {
    standing: Standing {
        server: None,
        set: None,
        error: None,
    },
    runs: false,
});

/// Who is asked, and what came of it.
pub fn standing(cx: &mut ThreadCx) -> Standing {
    STATE.enter(cx).0.standing.clone()
}

/// Has `server` be asked from now on, or nobody.
///
/// # Errors
/// There is no thread to do it.
pub fn follow(cx: &mut ThreadCx, server: Option<Server>) -> Result<(), thread::TooManyThreads> {
    let start = {
        let (mut state, _) = STATE.enter(cx);
        let start = server.is_some() && !state.runs;
        state.standing.server = server;
        state.runs |= start;
        start
    };
    if start && let Err(error) = thread::spawn(cx, "ntp", PRIORITY_NORMAL, CpuSet::ALL, ask_on) {
        STATE.enter(cx).0.runs = false;
        return Err(error);
    }
    Ok(())
}

/// The thread: asks again and again, until there is no server.
fn ask_on(cx: &mut ThreadCx) {
    let (mut asked, mut next_ns) = (None, 0);
    let (mut retry_ns, mut interval_ns) = (RETRY_NS, INTERVAL_LEAST_NS);
    loop {
        let server = {
            let (mut state, _) = STATE.enter(cx);
            state.runs = state.standing.server.is_some();
            state.standing.server.clone()
        };
        let Some(server) = server else {
            return;
        };
        if asked.as_ref() != Some(&server) {
            (next_ns, retry_ns) = (0, RETRY_NS);
        }
        if now_ns() >= next_ns {
            let wait_ns = match set_clock(cx, &server) {
                Ok(set) => {
                    retry_ns = RETRY_NS;
                    let ahead_ns = set.ahead_ns.unwrap_or_default().unsigned_abs();
                    interval_ns = match ahead_ns {
                        STEP_NS.. => INTERVAL_LEAST_NS.max(interval_ns / 2),
                        _ => INTERVAL_NS.min(interval_ns * 2),
                    };
                    interval_ns
                }
                Err(NtpError::Server(SntpError::Kiss(Kiss::GoAway))) => {
                    warn!(target: "net", "{server} does not want to be asked for the time: it will not be");
                    let (mut state, _) = STATE.enter(cx);
                    if state.standing.server.as_ref() == Some(&server) {
                        state.standing.server = None;
                    }
                    INTERVAL_NS
                }
                Err(NtpError::Server(SntpError::Kiss(_))) => 2 * INTERVAL_NS,
                Err(_) => {
                    retry_ns = (2 * retry_ns).min(INTERVAL_NS);
                    retry_ns / 2
                }
            };
            next_ns = now_ns() + wait_ns;
            asked = Some(server);
        }
        thread::sleep_until(cx, now_ns() + POLL_NS);
    }
}

/// Asks `server` and sets the clock.
///
/// # Errors
/// Why it is not set.
pub fn set_clock(cx: &mut ThreadCx, server: &Server) -> Result<Set, NtpError> {
    let result = ask(cx, server);
    let (first, result) = {
        let (mut state, _) = STATE.enter(cx);
        let result = result.map(|(address, sample)| {
            let before_ns = clock::boot_ns();
            clock::set_boot_ns(sample.boot_ns);
            Set {
                address,
                at_ns: now_ns(),
                sample,
                ahead_ns: before_ns.map(|before_ns| before_ns.wrapping_sub(sample.boot_ns) as i64),
            }
        });
        state.standing.error = result.err();
        if let Ok(set) = result {
            state.standing.set = Some(set);
        }
        (result.is_ok_and(|set| set.ahead_ns.is_none()), result)
    };
    if first && let Some(boot_ns) = clock::boot_ns() {
        info!(target: "net", "time by {server}; started {}", clock::Utc(boot_ns));
    }
    result
}

/// Asks a few times: the answer that was the shortest time on its way.
fn ask(cx: &mut ThreadCx, server: &Server) -> Result<(IpAddress, Sample), NtpError> {
    let addresses = resolve(cx, &server.host, PATIENCE_NS)?;
    let mut last = NtpError::Net(NetError::NoSuchName);
    for address in addresses {
        let socket = UdpSocket::bind(cx, 0)?;
        let to = IpEndpoint::new(address, server.port);
        let mut best: Option<Sample> = None;
        for _ in 0..QUESTIONS {
            match ask_once(cx, &socket, to) {
                Ok(sample) if best.is_none_or(|best| sample.round_trip_ns < best.round_trip_ns) => {
                    best = Some(sample);
                }
                Ok(_) => {}
                Err(error) => {
                    last = error;
                    break; // it would only be asked in vain again, or must not be
                }
            }
        }
        socket.close(cx);
        if let Some(best) = best {
            return Ok((address, best));
        }
        if matches!(last, NtpError::Server(SntpError::Kiss(_))) {
            break;
        }
    }
    Err(last)
}

fn ask_once(cx: &mut ThreadCx, socket: &UdpSocket, to: IpEndpoint) -> Result<Sample, NtpError> {
    let (nonce, sent_ns) = (random::number(cx) | 1, now_ns());
    socket.send_to(cx, &sntp::request(nonce), to)?;
    let (mut answer, deadline_ns) = ([0; 128], sent_ns + PATIENCE_NS);
    loop {
        let left_ns = deadline_ns.saturating_sub(now_ns());
        let (bytes, from) = socket.receive(cx, &mut answer, Some(left_ns))?;
        let received_ns = now_ns();
        if from != to {
            continue;
        }
        match sntp::sample(&answer[..bytes], nonce, sent_ns, received_ns) {
            Err(SntpError::NotOurs | SntpError::Short) => {} // anybody's; the server's may still come
            result => return result.map_err(NtpError::Server),
        }
    }
}
