// SPDX-License-Identifier: MIT OR Apache-2.0
//! The data of a test, and the threads that send or receive it.
use super::protocol::{Datagrams, Parameters, StreamFigures};
use crate::cpu::CpuSet;
use crate::lock_order;
use crate::net::socket::{IpEndpoint, NetError, TcpStream, UdpSocket};
use crate::thread::{self, JoinHandle, PRIORITY_NORMAL, ThreadCx, TooManyThreads};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sync::kmutex::KMutex;

/// How long a thread waits for its peer before it looks whether the test is over.
const POLL_NS: u64 = 100_000_000;
/// What is on its way when the client ends the test is waited for until nothing comes for so long: a client that sends a
/// few bytes ends before most of them have come.
const QUIET_NS: u64 = 500_000_000;
/// But no longer than this.
const DRAIN_NS: u64 = 2_000_000_000;
/// Who is ahead of the wished speed by less than this sends on: sleeping would take longer.
const AHEAD_NS: u64 = 500_000;

/// What the threads of a test share.
struct Shared {
    parameters: Parameters,
    over: AtomicBool,
    /// When something came last.
    last_ns: AtomicU64,
    /// By stream: bytes, and what became of its datagrams.
    bytes: Vec<AtomicU64>,
    datagrams: KMutex<Vec<Datagrams>, lock_order::Iperf3>,
}

/// The streams of a test.
pub(super) struct Streams {
    shared: Arc<Shared>,
    connections: Vec<TcpStream>,
    udp: Option<(Arc<UdpSocket>, Vec<IpEndpoint>)>,
    threads: Vec<JoinHandle>,
}

impl Streams {
    pub(super) fn tcp(parameters: Parameters, connections: Vec<TcpStream>) -> Self {
        Self::new(parameters, connections, None)
    }

    pub(super) fn udp(parameters: Parameters, socket: UdpSocket, peers: Vec<IpEndpoint>) -> Self {
        Self::new(parameters, Vec::new(), Some((Arc::new(socket), peers)))
    }

    fn new(
        parameters: Parameters,
        connections: Vec<TcpStream>,
        udp: Option<(Arc<UdpSocket>, Vec<IpEndpoint>)>,
    ) -> Self {
        let count = parameters.parallel as usize;
        Self {
            shared: Arc::new(Shared {
                parameters,
                over: AtomicBool::new(false),
                last_ns: AtomicU64::new(0),
                bytes: (0..count).map(|_| AtomicU64::new(0)).collect(),
                datagrams: KMutex::new(vec![Datagrams::default(); count]),
            }),
            connections,
            udp,
            threads: Vec::new(),
        }
    }

    pub(super) fn parameters(&self) -> Parameters {
        self.shared.parameters
    }

    /// Lets them run.
    ///
    /// # Errors
    /// There are not enough threads; those that run have to be [ended](Self::end).
    pub(super) fn start(&mut self, cx: &mut ThreadCx) -> Result<(), TooManyThreads> {
        let reverse = self.shared.parameters.reverse;
        for (n, stream) in core::mem::take(&mut self.connections)
            .into_iter()
            .enumerate()
        {
            self.spawn(cx, move |cx, shared| {
                match reverse {
                    true => shared.send(cx, n, &stream),
                    false => shared.receive(cx, n, &stream),
                }
                // What is still on its way is nobody's.
                stream.abort(cx);
            })?;
        }
        if let Some((socket, peers)) = self.udp.clone() {
            if !reverse {
                return self.spawn(cx, move |cx, shared| {
                    shared.receive_datagrams(cx, &socket, &peers)
                });
            }
            for (n, peer) in peers.into_iter().enumerate() {
                let socket = socket.clone();
                self.spawn(cx, move |cx, shared| {
                    shared.send_datagrams(cx, n, &socket, peer)
                })?;
            }
        }
        Ok(())
    }

    fn spawn(
        &mut self,
        cx: &mut ThreadCx,
        work: impl FnOnce(&mut ThreadCx, &Shared) + Send + 'static,
    ) -> Result<(), TooManyThreads> {
        let shared = self.shared.clone();
        let work = move |cx: &mut ThreadCx| work(cx, &shared);
        let thread = thread::spawn(cx, "iperf3/stream", PRIORITY_NORMAL, CpuSet::ALL, work)?;
        self.threads.push(thread);
        Ok(())
    }

    /// What was up to now does not count.
    pub(super) fn forget_figures(&self) {
        for bytes in &self.shared.bytes {
            // ORDERING: with nobody, as for all of these: figures.
            bytes.store(0, Ordering::Relaxed);
        }
    }

    /// Ends them, and says what they did, and when something came last.
    pub(super) fn end(self, cx: &mut ThreadCx) -> (Vec<StreamFigures>, u64) {
        // ORDERING: with nobody; a flag of its own. The figures are read when the threads have ended.
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in &self.threads {
            thread.join(cx);
        }
        for stream in self.connections {
            stream.abort(cx);
        }
        if let Some(socket) = self.udp.and_then(|(socket, _)| Arc::into_inner(socket)) {
            socket.close(cx);
        }
        let (datagrams, _) = self.shared.datagrams.enter(cx);
        let figures = self.shared.bytes.iter().zip(datagrams.iter());
        let figures = figures.map(|(bytes, datagrams)| StreamFigures {
            bytes: bytes.load(Ordering::Relaxed),
            datagrams: *datagrams,
        });
        (
            figures.collect(),
            self.shared.last_ns.load(Ordering::Relaxed),
        )
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Has `receive` take what comes until the test is over and nothing comes any more. It returns the stream and how many
    /// bytes there were; none at the stream's end.
    fn drain(&self, mut receive: impl FnMut(u64) -> Result<Option<(usize, usize)>, NetError>) {
        let mut deadline_ns = None;
        loop {
            let is_over = self.is_over();
            if is_over && now_ns() > *deadline_ns.get_or_insert_with(|| now_ns() + DRAIN_NS) {
                return;
            }
            match receive(if is_over { QUIET_NS } else { POLL_NS }) {
                Ok(Some((n, bytes))) => {
                    self.bytes[n].fetch_add(bytes as u64, Ordering::Relaxed);
                    if is_over {
                        self.last_ns.fetch_max(now_ns(), Ordering::Relaxed);
                    }
                }
                Err(NetError::TimedOut) if !is_over => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn receive(&self, cx: &mut ThreadCx, n: usize, stream: &TcpStream) {
        let mut buffer = vec![0; self.parameters.len as usize];
        self.drain(|patience_ns| {
            let bytes = stream.read(cx, &mut buffer, Some(patience_ns))?;
            Ok((bytes > 0).then_some((n, bytes)))
        });
    }

    fn send(&self, cx: &mut ThreadCx, n: usize, stream: &TcpStream) {
        let buffer = vec![0; self.parameters.len as usize];
        let (start_ns, mut sent, mut at) = (now_ns(), 0, 0);
        while !self.is_over() {
            match stream.write(cx, &buffer[at..], Some(POLL_NS)) {
                Ok(bytes) => {
                    at = (at + bytes) % buffer.len();
                    sent += bytes as u64;
                    self.bytes[n].fetch_add(bytes as u64, Ordering::Relaxed);
                    self.pace(cx, start_ns, sent);
                }
                Err(NetError::TimedOut) => {}
                Err(_) => return,
            }
        }
    }

    /// Waits while more is sent than the client wants.
    fn pace(&self, cx: &mut ThreadCx, start_ns: u64, sent: u64) {
        let due_ns = start_ns + self.parameters.due_ns(sent);
        while due_ns > now_ns() + AHEAD_NS && !self.is_over() {
            thread::sleep_until(cx, due_ns.min(now_ns() + POLL_NS));
        }
    }

    fn receive_datagrams(&self, cx: &mut ThreadCx, socket: &UdpSocket, peers: &[IpEndpoint]) {
        let mut buffer = vec![0; self.parameters.len as usize];
        self.drain(|patience_ns| {
            loop {
                let (bytes, from) = socket.receive(cx, &mut buffer, Some(patience_ns))?;
                let n = peers.iter().position(|peer| *peer == from);
                let header = self.parameters.read_header(&buffer[..bytes]);
                // Whoever else sends here is no part of the test.
                if let (Some(n), Ok((number, sent_ns))) = (n, header) {
                    self.datagrams.enter(cx).0[n].take(number, sent_ns, now_ns());
                    return Ok(Some((n, bytes)));
                }
            }
        });
    }

    fn send_datagrams(&self, cx: &mut ThreadCx, n: usize, socket: &UdpSocket, peer: IpEndpoint) {
        let mut buffer = vec![0; self.parameters.len as usize];
        let (start_ns, mut number) = (now_ns(), 0);
        while !self.is_over() {
            number += 1;
            self.parameters.write_header(&mut buffer, number, now_ns());
            if socket.send_to(cx, &buffer, peer).is_err() {
                break;
            }
            self.bytes[n].fetch_add(buffer.len() as u64, Ordering::Relaxed);
            self.pace(cx, start_ns, number * buffer.len() as u64);
        }
        self.datagrams.enter(cx).0[n].greatest = number;
    }
}
