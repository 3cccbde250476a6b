// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control connection: what the server says when.
use super::protocol::{
    COOKIE_BYTES, Parameters, Refused, StreamFigures, answer_to_connect, state, write_results,
};
use super::streams::Streams;
use crate::net::services::Service;
use crate::net::services::open::{Opened, POLL_NS};
use crate::net::socket::{IpEndpoint, NetError, TcpListener, TcpStream, UdpSocket};
use crate::thread::{self, ThreadCx, TooManyThreads};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt;
use log::{debug, info};

const SECOND_NS: u64 = 1_000_000_000;
/// How long a client may take to answer.
const PATIENCE_NS: u64 = 10 * SECOND_NS;
/// How much longer than it said a test may take.
const GRACE_S: u64 = 30;
/// The most bytes of JSON that are read: 16 streams' results are a tenth of it.
const JSON_BYTES_MAX: usize = 64 << 10;

/// Why a test ended before its end.
enum Failure {
    Net(NetError),
    Refused(Refused),
    Threads(TooManyThreads),
    /// The client gave up.
    Client,
    /// It named a state that it must not.
    State(i8),
    TooLong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => error.fmt(f),
            Self::Refused(refused) => write!(f, "refused: {refused}"),
            Self::Threads(error) => error.fmt(f),
            Self::Client => f.write_str("the client gave up"),
            Self::State(state) => write!(f, "the client went to state {state}"),
            Self::TooLong => f.write_str("the test did not end"),
        }
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

/// Serves one client after the other until the service is closed.
pub(in super::super) fn serve(cx: &mut ThreadCx, listener: TcpListener, opened: &Opened) {
    while let Ok(stream) = opened.patiently(|| listener.accept(cx, Some(POLL_NS))) {
        opened.count();
        let test = Control {
            listener: &listener,
            stream: &stream,
            opened,
        };
        match test.run(cx) {
            Ok(()) => stream.close(cx),
            Err(failure) => {
                info!(target: "net", "iperf3 for {}: {failure}", stream.peer());
                stream.abort(cx);
            }
        }
    }
    listener.close(cx);
}

/// When a test began to count and when the client ended it, and how busy the CPUs were, in hundredths of a percent of one.
struct Ran {
    start_ns: u64,
    end_ns: u64,
    percent: u64,
}

struct Control<'a> {
    listener: &'a TcpListener,
    stream: &'a TcpStream,
    opened: &'a Opened,
}

impl Control<'_> {
    fn run(&self, cx: &mut ThreadCx) -> Result<(), Failure> {
        let cookie = self.read_cookie(cx, self.stream)?;
        self.say(cx, state::PARAM_EXCHANGE)?;
        let parameters = match Parameters::parse(&self.read_json(cx)?) {
            Ok(parameters) => parameters,
            Err(refused) => {
                self.refuse(cx, refused)?;
                return Err(Failure::Refused(refused));
            }
        };
        let mut streams = self.create_streams(cx, &cookie, parameters)?;
        let result = self.run_streams(cx, &mut streams);
        let (figures, last_ns) = streams.end(cx);
        let Ran {
            start_ns,
            end_ns,
            percent,
        } = result?;
        let ns = end_ns.max(last_ns).saturating_sub(start_ns);
        self.say(cx, state::EXCHANGE_RESULTS)?;
        let _the_clients = self.read_json(cx)?;
        self.send_results(cx, &parameters, &figures, ns, percent)?;
        self.say(cx, state::DISPLAY_RESULTS)?;
        match self.read_state(cx, PATIENCE_NS)? {
            state::IPERF_DONE => Ok(()),
            other => Err(Failure::State(other)),
        }
    }

    /// Has the client open its streams, and tells them from others' by the cookie.
    fn create_streams(
        &self,
        cx: &mut ThreadCx,
        cookie: &[u8; COOKIE_BYTES],
        parameters: Parameters,
    ) -> Result<Streams, Failure> {
        let deadline_ns = now_ns() + PATIENCE_NS;
        let port = Service::Iperf3.port();
        let socket = parameters.udp.then(|| UdpSocket::bind(cx, port));
        let socket = socket.transpose()?;
        self.say(cx, state::CREATE_STREAMS)?;
        if let Some(socket) = socket {
            let mut peers: Vec<IpEndpoint> = Vec::new();
            let mut datagram = [0; 8];
            while (peers.len() as u64) < parameters.parallel {
                let left_ns = deadline_ns.saturating_sub(now_ns());
                let (bytes, from) = socket.receive(cx, &mut datagram, Some(left_ns))?;
                let Some(answer) = answer_to_connect(&datagram[..bytes]) else {
                    continue;
                };
                if !peers.contains(&from) {
                    peers.push(from);
                }
                socket.send_to(cx, &answer, from)?;
            }
            return Ok(Streams::udp(parameters, socket, peers));
        }
        let mut connections = Vec::new();
        while (connections.len() as u64) < parameters.parallel {
            let left_ns = deadline_ns.saturating_sub(now_ns());
            let stream = self.listener.accept(cx, Some(left_ns))?;
            match self.read_cookie(cx, &stream) {
                Ok(its) if its == *cookie => connections.push(stream),
                Ok(_) => self.deny(cx, stream),
                Err(_) => stream.abort(cx),
            }
        }
        Ok(Streams::tcp(parameters, connections))
    }

    /// Lets them run until the client says that it is enough.
    fn run_streams(&self, cx: &mut ThreadCx, streams: &mut Streams) -> Result<Ran, Failure> {
        self.say(cx, state::TEST_START)?;
        streams.start(cx).map_err(Failure::Threads)?;
        self.say(cx, state::TEST_RUNNING)?;
        let parameters = streams.parameters();
        let (start_ns, idle_ns) = (now_ns(), idle_ns(cx));
        let omit_ns = parameters.omit.saturating_mul(SECOND_NS);
        let limit_ns = match parameters.time {
            0 => u64::MAX, // a number of bytes ends it
            time => {
                (time.saturating_add(GRACE_S).saturating_mul(SECOND_NS)).saturating_add(omit_ns)
            }
        };
        let mut omitting = omit_ns > 0;
        loop {
            match self.read_state(cx, POLL_NS) {
                Ok(state::TEST_END) => break,
                Ok(state::CLIENT_TERMINATE) => return Err(Failure::Client),
                Ok(other) => return Err(Failure::State(other)),
                Err(Failure::Net(NetError::TimedOut)) => {}
                Err(failure) => return Err(failure),
            }
            let ran_ns = now_ns() - start_ns;
            if omitting && ran_ns >= omit_ns {
                streams.forget_figures();
                omitting = false;
            }
            if ran_ns > limit_ns {
                return Err(Failure::TooLong);
            }
            if let Ok(other) = self.listener.accept(cx, Some(0)) {
                self.deny(cx, other);
            }
        }
        let end_ns = now_ns();
        let (ns, idle_ns) = (end_ns - start_ns, self::idle_ns(cx) - idle_ns);
        let cpus = crate::cpu::online().iter().count() as u64;
        let busy_ns = (ns * cpus).saturating_sub(idle_ns);
        Ok(Ran {
            start_ns: start_ns.saturating_add(omit_ns),
            end_ns,
            percent: busy_ns * 10_000 / ns.max(1),
        })
    }

    fn send_results(
        &self,
        cx: &mut ThreadCx,
        parameters: &Parameters,
        figures: &[StreamFigures],
        ns: u64,
        percent: u64,
    ) -> Result<(), NetError> {
        let mut json = String::new();
        // A string has no end.
        let _never = write_results(&mut json, parameters, figures, ns, percent);
        debug!(target: "net", "iperf3 for {}: {json}", self.stream.peer());
        let length = (json.len() as u32).to_be_bytes();
        self.opened.write_all(cx, self.stream, &length)?;
        self.opened.write_all(cx, self.stream, json.as_bytes())
    }

    fn say(&self, cx: &mut ThreadCx, state: i8) -> Result<(), NetError> {
        self.opened.write_all(cx, self.stream, &state.to_be_bytes())
    }

    fn refuse(&self, cx: &mut ThreadCx, refused: Refused) -> Result<(), NetError> {
        self.say(cx, state::SERVER_ERROR)?;
        let mut numbers = [0; 8];
        numbers[..4].copy_from_slice(&(refused as u32).to_be_bytes());
        self.opened.write_all(cx, self.stream, &numbers)?;
        self.stream.shutdown(cx);
        // The client closes when it has read it: cut before, it would see nothing.
        self.read(cx, self.stream, &mut [0], PATIENCE_NS).or(Ok(()))
    }

    /// Tells another client that there is a test already.
    fn deny(&self, cx: &mut ThreadCx, other: TcpStream) {
        self.opened.count_refused();
        let denied = state::ACCESS_DENIED.to_be_bytes();
        let _it_sees_the_end = other.write_all(cx, &denied, Some(POLL_NS));
        other.close(cx);
    }

    /// Fills `into`.
    fn read(
        &self,
        cx: &mut ThreadCx,
        stream: &TcpStream,
        into: &mut [u8],
        patience_ns: u64,
    ) -> Result<(), NetError> {
        let deadline_ns = now_ns() + patience_ns;
        let mut filled = 0;
        while filled < into.len() {
            if self.opened.is_closing() {
                return Err(NetError::Cancelled);
            }
            let left_ns = deadline_ns.saturating_sub(now_ns()).min(POLL_NS);
            match stream.read(cx, &mut into[filled..], Some(left_ns)) {
                Ok(0) => return Err(NetError::Reset),
                Ok(bytes) => filled += bytes,
                Err(NetError::TimedOut) if now_ns() < deadline_ns => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_cookie(
        &self,
        cx: &mut ThreadCx,
        stream: &TcpStream,
    ) -> Result<[u8; COOKIE_BYTES], NetError> {
        let mut cookie = [0; COOKIE_BYTES];
        self.read(cx, stream, &mut cookie, PATIENCE_NS)?;
        Ok(cookie)
    }

    fn read_state(&self, cx: &mut ThreadCx, patience_ns: u64) -> Result<i8, Failure> {
        let mut state = [0];
        self.read(cx, self.stream, &mut state, patience_ns)?;
        Ok(i8::from_be_bytes(state))
    }

    fn read_json(&self, cx: &mut ThreadCx) -> Result<Vec<u8>, Failure> {
        let mut length = [0; 4];
        self.read(cx, self.stream, &mut length, PATIENCE_NS)?;
        let bytes = u32::from_be_bytes(length) as usize;
        if bytes > JSON_BYTES_MAX {
            return Err(Failure::Refused(Refused::Parameters));
        }
        let mut json = vec![0; bytes];
        self.read(cx, self.stream, &mut json, PATIENCE_NS)?;
        Ok(json)
    }
}

/// How long all CPUs together had nothing to do.
fn idle_ns(cx: &mut ThreadCx) -> u64 {
    let idle = thread::threads().filter(|thread| thread.is_idle());
    idle.map(|thread| thread::cpu_time_ns(cx, thread)).sum()
}
