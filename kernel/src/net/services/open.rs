// SPDX-License-Identifier: MIT OR Apache-2.0
//! Services opened and closed: a thread that accepts connections, one for each connection, one for datagrams.
//!
//! # Theory
//! What waits for a peer looks up every [`POLL_NS`] whether the service is being closed. Connections are bounded: who
//! comes when there are [`CONNECTIONS_MAX`] is cut, and counted.
//!
//! # Contexts
//! Threads.
use super::{Service, iperf3, small};
use crate::cpu::CpuSet;
use crate::lock_order;
use crate::net::socket::{EITHER_WAY, NetError, ONE_WAY, TcpListener, TcpStream, UdpSocket};
use crate::thread::{self, JoinHandle, PRIORITY_NORMAL, ThreadCx, TooManyThreads};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use log::{debug, info};
use sync::kmutex::KMutex;

/// How often what waits for a peer looks up.
pub(super) const POLL_NS: u64 = 250_000_000;
/// How long closing waits for the service's threads.
const CLOSE_NS: u64 = 5_000_000_000;
/// Connections of a service at a time.
const CONNECTIONS_MAX: usize = 16;
/// Connections that wait to be accepted.
const BACKLOG: usize = 16;

static OPEN: KMutex<[Option<Running>; Service::ALL.len()], lock_order::Services> =
    KMutex::new([const { None }; Service::ALL.len()]);

struct Running {
    opened: Arc<Opened>,
    threads: Vec<JoinHandle>,
}

/// A service that is open, for its threads.
#[derive(Default)]
pub(super) struct Opened {
    closing: AtomicBool,
    connections: AtomicUsize,
    served: AtomicU64,
    refused: AtomicU64,
}

/// How a service stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is open.
    pub open: bool,
    /// Connections just now.
    pub connections: usize,
    /// Connections and datagrams since it was opened.
    pub served: u64,
    /// Connections that were cut, as there were too many.
    pub refused: u64,
}

/// Why a service cannot be opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceError {
    /// It is.
    Already,
    /// It is not.
    NotOpen,
    /// There is no port for it.
    Net(NetError),
    /// There is no thread for it.
    Threads(TooManyThreads),
    /// A thread of it has not ended.
    Busy,
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Already => f.write_str("it is open"),
            Self::NotOpen => f.write_str("it is not open"),
            Self::Net(error) => error.fmt(f),
            Self::Threads(error) => error.fmt(f),
            Self::Busy => f.write_str("it closes as soon as its connections end"),
        }
    }
}

impl From<NetError> for ServiceError {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl From<TooManyThreads> for ServiceError {
    fn from(error: TooManyThreads) -> Self {
        Self::Threads(error)
    }
}

impl Opened {
    /// The service is being closed.
    pub(super) fn is_closing(&self) -> bool {
        // ORDERING: with nobody; a flag of its own, as are the figures below.
        self.closing.load(Ordering::Relaxed)
    }

    /// Somebody was served.
    pub(super) fn count(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody was turned away.
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Has `act` try again until it does not time out, or the service is closed.
    ///
    /// # Errors
    /// [`NetError::Cancelled`] when it is closed; those of `act`.
    pub(super) fn patiently<R>(
        &self,
        mut act: impl FnMut() -> Result<R, NetError>,
    ) -> Result<R, NetError> {
        loop {
            if self.is_closing() {
                return Err(NetError::Cancelled);
            }
            match act() {
                Err(NetError::TimedOut) => {}
                result => return result,
            }
        }
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// As for [`Self::patiently`].
    pub(super) fn read(
        &self,
        cx: &mut ThreadCx,
        stream: &TcpStream,
        into: &mut [u8],
    ) -> Result<usize, NetError> {
        self.patiently(|| stream.read(cx, into, Some(POLL_NS)))
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As for [`Self::patiently`].
    pub(super) fn write_all(
        &self,
        cx: &mut ThreadCx,
        stream: &TcpStream,
        mut from: &[u8],
    ) -> Result<(), NetError> {
        while !from.is_empty() {
            let written = self.patiently(|| stream.write(cx, from, Some(POLL_NS)))?;
            from = &from[written..];
        }
        Ok(())
    }
}

/// Opens a service.
///
/// # Errors
/// Why it is not open.
pub fn open(cx: &mut ThreadCx, service: Service) -> Result<(), ServiceError> {
    if OPEN.enter(cx).0[service as usize].is_some() {
        return Err(ServiceError::Already);
    }
    let opened = Arc::new(Opened::default());
    let mut threads = Vec::new();
    let started = start(cx, service, &opened, &mut threads);
    let running = Running { opened, threads };
    match started {
        Ok(()) => {
            OPEN.enter(cx).0[service as usize] = Some(running);
            info!(target: "net", "{} is open at port {}", service.name(), service.port());
            Ok(())
        }
        Err(error) => {
            running.end(cx);
            Err(error)
        }
    }
}

fn start(
    cx: &mut ThreadCx,
    service: Service,
    opened: &Arc<Opened>,
    threads: &mut Vec<JoinHandle>,
) -> Result<(), ServiceError> {
    let (name, port) = (service.name(), service.port());
    let buffers = match service {
        Service::Echo => EITHER_WAY,
        Service::Discard | Service::Chargen | Service::Iperf3 => ONE_WAY,
    };
    let socket = match service {
        Service::Iperf3 => None, // by test
        _ => Some(UdpSocket::bind(cx, port)?),
    };
    // Last, as it is not given up by being dropped.
    let listener = TcpListener::bind(cx, port, BACKLOG, buffers)?;
    let mine = opened.clone();
    let accept = move |cx: &mut ThreadCx| match service {
        Service::Iperf3 => iperf3::serve(cx, listener, &mine),
        _ => accept(cx, service, listener, &mine),
    };
    let name_tcp = format!("{name}/tcp");
    threads.push(thread::spawn(
        cx,
        &name_tcp,
        PRIORITY_NORMAL,
        CpuSet::ALL,
        accept,
    )?);
    if let Some(socket) = socket {
        let mine = opened.clone();
        let answer = move |cx: &mut ThreadCx| {
            if let Err(error) = small::answer(cx, service, &socket, &mine) {
                debug!(target: "net", "{}: {error}", service.name());
            }
            socket.close(cx);
        };
        let name = format!("{name}/udp");
        threads.push(thread::spawn(
            cx,
            &name,
            PRIORITY_NORMAL,
            CpuSet::ALL,
            answer,
        )?);
    }
    Ok(())
}

/// Accepts connections until the service is closed, then waits for them to end.
fn accept(cx: &mut ThreadCx, service: Service, listener: TcpListener, opened: &Arc<Opened>) {
    while let Ok(stream) = opened.patiently(|| listener.accept(cx, Some(POLL_NS))) {
        if opened.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            opened.connections.fetch_sub(1, Ordering::Relaxed);
            opened.count_refused();
            stream.abort(cx);
            continue;
        }
        opened.count();
        let mine = opened.clone();
        let serve = move |cx: &mut ThreadCx| {
            match small::serve(cx, service, &stream, &mine) {
                Ok(()) => stream.close(cx),
                Err(error) => {
                    debug!(target: "net", "{} for {}: {error}", service.name(), stream.peer());
                    stream.abort(cx);
                }
            }
            mine.connections.fetch_sub(1, Ordering::Relaxed);
        };
        let name = service.name();
        if thread::spawn(cx, name, PRIORITY_NORMAL, CpuSet::ALL, serve).is_err() {
            // The connection went with the thread that it was for.
            opened.connections.fetch_sub(1, Ordering::Relaxed);
            opened.count_refused();
        }
    }
    listener.close(cx);
    while opened.connections.load(Ordering::Relaxed) > 0 {
        thread::sleep_until(cx, now_ns() + POLL_NS / 10);
    }
}

impl Running {
    /// Has all threads end; true if they have in time.
    fn end(self, cx: &mut ThreadCx) -> bool {
        self.opened.closing.store(true, Ordering::Relaxed);
        let deadline_ns = now_ns() + CLOSE_NS;
        let mut threads = self.threads.into_iter();
        threads.all(|thread| thread.join_until(cx, deadline_ns))
    }
}

/// Closes a service: its connections are cut.
///
/// # Errors
/// [`ServiceError::NotOpen`], [`ServiceError::Busy`].
pub fn close(cx: &mut ThreadCx, service: Service) -> Result<(), ServiceError> {
    let running = OPEN.enter(cx).0[service as usize].take();
    let running = running.ok_or(ServiceError::NotOpen)?;
    if running.end(cx) {
        info!(target: "net", "{} is closed", service.name());
        return Ok(());
    }
    Err(ServiceError::Busy)
}

/// How a service stands.
pub fn standing(cx: &mut ThreadCx, service: Service) -> Standing {
    let (open, _) = OPEN.enter(cx);
    open[service as usize]
        .as_ref()
        .map_or(Standing::default(), |running| {
            let opened = &running.opened;
            Standing {
                open: true,
                connections: opened.connections.load(Ordering::Relaxed),
                served: opened.served.load(Ordering::Relaxed),
                refused: opened.refused.load(Ordering::Relaxed),
            }
        })
}
