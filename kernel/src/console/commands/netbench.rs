// SPDX-License-Identifier: MIT OR Apache-2.0
//! `netbench`: how fast a host takes what is sent to it, and sends.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal, check_interrupt, interrupted};
use crate::net::socket::{IpEndpoint, NetError, ONE_WAY, TcpStream, UdpSocket};
use crate::netload::{Figures, Line, Plan, PlanError, Protocol, Way};
use crate::thread::ThreadCx;
use alloc::vec;
use bsp::timer::now_ns;
use core::fmt::Write;

const SECOND_NS: u64 = 1_000_000_000;
/// How long a connection may take, and the far end to close.
const PATIENCE_NS: u64 = 10 * SECOND_NS;
/// How often Ctrl-C is looked for.
const POLL_NS: u64 = 200_000_000;
/// The same, in calls.
const POLL_CALLS: u64 = 1024;

pub const NETBENCH: Command = Command {
    name: "netbench",
    arguments: "tcp|udp send|receive ADDRESS [OPTION]...",
    summary: "measure the network's speed to a host",
    details: "Options: port N (9 to send, 19 to receive), bytes N (of a call or datagram:\n\
              64K, 64), seconds N (2). The host has discard and chargen; as an iperf3 server\n\
              this machine is measured from outside: net service iperf3 start.\n\
              Example: netbench tcp send 10.0.2.2 seconds 5",
    takes_paths: false,
    run: netbench,
};

fn netbench(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let plan = Plan::parse(call.words.iter().map(alloc::string::String::as_str));
    let plan = match plan {
        Err(PlanError::Incomplete) => return Err(call.usage()),
        plan => plan?,
    };
    let figures = match (plan.protocol, plan.way) {
        (Protocol::Tcp, Way::Send) => tcp_send(cx, &plan)?,
        (Protocol::Tcp, Way::Receive) => tcp_receive(cx, &plan)?,
        (Protocol::Udp, Way::Send) => udp_send(cx, &plan)?,
        (Protocol::Udp, Way::Receive) => udp_receive(cx, &plan)?,
    };
    writeln!(out, "{}", Line(plan, figures))?;
    let per_second = |count: u64| {
        let rate = u128::from(count) * u128::from(SECOND_NS) / u128::from(figures.ns.max(1));
        rate as u64
    };
    let kbit = per_second(figures.bytes * 8) / 1000;
    writeln!(
        out,
        "{}.{:03} Mbit/s, {} calls/s",
        kbit / 1000,
        kbit % 1000,
        per_second(figures.calls)
    )?;
    Ok(())
}

impl Figures {
    fn add(&mut self, bytes: usize) {
        self.calls += 1;
        self.bytes += bytes as u64;
    }
}

fn connect(cx: &mut ThreadCx, plan: &Plan) -> Result<TcpStream, Refusal> {
    Ok(TcpStream::connect(
        cx,
        plan.peer.into(),
        ONE_WAY,
        Some(PATIENCE_NS),
    )?)
}

fn tcp_send(cx: &mut ThreadCx, plan: &Plan) -> Result<Figures, Refusal> {
    let stream = connect(cx, plan)?;
    let block = vec![0; plan.block_bytes];
    let (mut figures, start_ns) = (Figures::default(), now_ns());
    while now_ns() - start_ns < plan.seconds * SECOND_NS {
        match stream.write(cx, &block, Some(POLL_NS)) {
            Ok(bytes) => figures.add(bytes),
            Err(NetError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        if figures.calls % POLL_CALLS == 0 {
            check_interrupt(cx)?;
        }
    }
    stream.shutdown(cx);
    // What it sends back is nobody's; that it closes says that it has taken everything.
    let mut sink = vec![0; 4096];
    let deadline_ns = now_ns() + PATIENCE_NS;
    loop {
        match stream.read(cx, &mut sink, Some(POLL_NS)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(NetError::TimedOut) if now_ns() < deadline_ns => check_interrupt(cx)?,
            Err(error) => return Err(error.into()),
        }
    }
    figures.ns = now_ns() - start_ns;
    stream.close(cx);
    Ok(figures)
}

fn tcp_receive(cx: &mut ThreadCx, plan: &Plan) -> Result<Figures, Refusal> {
    let stream = connect(cx, plan)?;
    let mut block = vec![0; plan.block_bytes];
    let (mut figures, start_ns) = (Figures::default(), now_ns());
    while now_ns() - start_ns < plan.seconds * SECOND_NS {
        match stream.read(cx, &mut block, Some(POLL_NS)) {
            Ok(0) => break,
            Ok(bytes) => figures.add(bytes),
            Err(NetError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        if figures.calls % POLL_CALLS == 0 {
            check_interrupt(cx)?;
        }
    }
    figures.ns = now_ns() - start_ns;
    stream.abort(cx);
    Ok(figures)
}

fn udp_send(cx: &mut ThreadCx, plan: &Plan) -> Result<Figures, Refusal> {
    let socket = UdpSocket::bind(cx, 0)?;
    let (block, to) = (vec![0; plan.block_bytes], IpEndpoint::from(plan.peer));
    let (mut figures, start_ns) = (Figures::default(), now_ns());
    while now_ns() - start_ns < plan.seconds * SECOND_NS {
        socket.send_to(cx, &block, to)?;
        figures.add(block.len());
        if figures.calls % POLL_CALLS == 0 {
            check_interrupt(cx)?;
        }
    }
    figures.ns = now_ns() - start_ns;
    socket.close(cx);
    Ok(figures)
}

fn udp_receive(cx: &mut ThreadCx, plan: &Plan) -> Result<Figures, Refusal> {
    let socket = UdpSocket::bind(cx, 0)?;
    let (mut block, to) = (vec![0; plan.block_bytes], IpEndpoint::from(plan.peer));
    let asked_until_ns = now_ns() + PATIENCE_NS;
    let mut first_ns = None;
    let mut figures = Figures::default();
    loop {
        let now = now_ns();
        match first_ns {
            Some(first_ns) if now - first_ns >= plan.seconds * SECOND_NS => break,
            Some(_) => {}
            None if now > asked_until_ns => return Err(NetError::TimedOut.into()),
            None => socket.send_to(cx, plan.wish().as_bytes(), to)?,
        }
        match socket.receive(cx, &mut block, Some(POLL_NS)) {
            Ok((_, from)) if from.addr != to.addr => {}
            Ok((bytes, _)) => {
                first_ns.get_or_insert_with(now_ns);
                figures.add(bytes);
            }
            Err(NetError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        if figures.calls % POLL_CALLS == 0 && interrupted(cx) {
            return Err(Refusal("interrupted".into()));
        }
    }
    figures.ns = now_ns() - first_ns.unwrap_or_default();
    socket.close(cx);
    Ok(figures)
}
