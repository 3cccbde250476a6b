// SPDX-License-Identifier: MIT OR Apache-2.0
//! `netbench` for the Linux that the kernel is compared with: the kernel's own words, far end and line.
//!
//! `linux-net tcp|udp send|receive ADDRESS [port N] [bytes N] [seconds N]`, on Linux for arm64, built for
//! `aarch64-unknown-linux-musl`: the guest has no C library. One system call a datagram, as any program has it; TCP in
//! calls of 64 KiB.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kernel::netload::{Figures, Line, Plan, Protocol, Way};

/// How often chargen is asked until it begins, and how often that is tried.
const ASKS: Duration = Duration::from_millis(200);
const TRIES: u32 = 50;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("linux-net: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan::parse(words.iter().map(String::as_str));
    let plan = plan.map_err(|error| anyhow::anyhow!("{error}"))?;
    let figures = match (plan.protocol, plan.way) {
        (Protocol::Tcp, Way::Send) => tcp_send(&plan),
        (Protocol::Tcp, Way::Receive) => tcp_receive(&plan),
        (Protocol::Udp, Way::Send) => udp_send(&plan),
        (Protocol::Udp, Way::Receive) => udp_receive(&plan),
    }?;
    println!("{}", Line(plan, figures));
    Ok(())
}

/// Figures that grow until the time is over.
struct Meter {
    began: Instant,
    time: Duration,
    figures: Figures,
}

impl Meter {
    fn start(plan: &Plan) -> Self {
        Self {
            began: Instant::now(),
            time: Duration::from_secs(plan.seconds),
            figures: Figures::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= self.time
    }

    fn count(&mut self, bytes: usize) {
        self.figures.calls += 1;
        self.figures.bytes += bytes as u64;
    }

    fn stop(mut self) -> Figures {
        self.figures.ns = self.began.elapsed().as_nanos() as u64;
        self.figures
    }
}

fn tcp_send(plan: &Plan) -> Result<Figures> {
    let mut stream = TcpStream::connect(plan.peer)?;
    let block = vec![0x5a; plan.block_bytes];
    let mut meter = Meter::start(plan);
    while !meter.is_over() {
        meter.count(stream.write(&block)?);
    }
    stream.shutdown(Shutdown::Write)?;
    // The far end closes when it has all.
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(meter.stop())
}

fn tcp_receive(plan: &Plan) -> Result<Figures> {
    let mut stream = TcpStream::connect(plan.peer)?;
    let mut block = vec![0; plan.block_bytes];
    let mut meter = Meter::start(plan);
    while !meter.is_over() {
        match stream.read(&mut block)? {
            0 => bail!("{} has closed", plan.peer),
            bytes => meter.count(bytes),
        }
    }
    Ok(meter.stop())
}

fn udp(plan: &Plan) -> Result<UdpSocket> {
    let any: SocketAddr = match plan.peer {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(plan.peer)?;
    Ok(socket)
}

fn udp_send(plan: &Plan) -> Result<Figures> {
    let socket = udp(plan)?;
    let block = vec![0x5a; plan.block_bytes];
    let mut meter = Meter::start(plan);
    while !meter.is_over() {
        meter.count(socket.send(&block)?);
    }
    Ok(meter.stop())
}

fn udp_receive(plan: &Plan) -> Result<Figures> {
    let socket = udp(plan)?;
    socket.set_read_timeout(Some(ASKS))?;
    let mut block = vec![0; plan.block_bytes + 1];
    let mut first = 0;
    for _ in 0..TRIES {
        socket.send(plan.wish().as_bytes())?;
        match socket.recv(&mut block) {
            Ok(bytes) => {
                first = bytes;
                break;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    if first != plan.block_bytes {
        bail!("{} gives nothing ({first} bytes)", plan.peer);
    }
    let mut meter = Meter::start(plan);
    while !meter.is_over() {
        match socket.recv(&mut block) {
            Ok(bytes) => meter.count(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(meter.stop())
}
