// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices: the card streams and packets flood, alone and at once, under each policy.
//!
//! # Theory
//! Both devices interrupt one CPU, where they could be in each other's way. [`READERS`] threads read blocks of the card
//! anywhere, each when it has its last one: its wait is from the submission to the end. A peer is asked for datagrams as fast as
//! it can send them (chargen, by UDP), and for echoes, one after the other: the wait of the network is the round trip.
//! With a peer that sends none the echoes are the load, and it is said.
//!
//! How often an interrupt of one device waited, and for what, is counted where that is decided
//! ([`causes`](crate::intr::causes)). A wait for a running handler is no wait for a hold: the CPU is in use by the more
//! urgent class, which is the same under each policy. That the other domain's holds are waited for is what a ladder adds.
//!
//! Rates and times are an emulator's, and its host's: two loads share its processors, and the busy share says how much of
//! them each has. The counts are exact.
use crate::bio::SECTOR_BYTES;
use crate::bio::load::{Direction, Order, Plan, Until};
use crate::bio::request::Op;
use crate::console::shell::Refusal;
use crate::cpu;
use crate::diskload::{Area, in_threads};
use crate::dma::Buffer;
use crate::intr::{self, causes};
use crate::net::socket::{IpAddress, IpEndpoint, NetError, Ping, UdpSocket};
use crate::netload::CHARGEN_PORT;
use crate::thread::{self, ThreadCx};
use crate::{net, storage};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use sync::delivery::Policy;

/// Seconds of each measurement unless told otherwise, and most.
pub const SECONDS: u64 = 2;
pub const MAX_SECONDS: u64 = 600;
/// Threads that read, and what each reads at once.
const READERS: usize = 4;
const BLOCK_BYTES: usize = 4096;
/// Bytes of a datagram, and of an echo's payload.
const DATAGRAM_BYTES: usize = 64;
/// How long an echo may take, and how often the peer is asked for datagrams until the first one comes.
const PATIENCE_NS: u64 = 200_000_000;
/// What is on its way when a measurement ends has arrived by then.
const SETTLE_NS: u64 = 500_000_000;

/// What one thread did.
#[derive(Default)]
struct Share {
    done: u64,
    waits_ns: Vec<u64>,
    trouble: Option<String>,
}

/// What came of one load.
#[derive(Default)]
struct Figures {
    per_second: u64,
    median_ns: u64,
    late_ns: u64,
}

impl Figures {
    fn of<'a>(shares: impl Iterator<Item = &'a Share>, seconds: u64) -> Self {
        let (mut done, mut waits_ns) = (0, Vec::new());
        for share in shares {
            done += share.done;
            waits_ns.extend_from_slice(&share.waits_ns);
        }
        waits_ns.sort_unstable();
        let at = |percent| waits_ns.get(waits_ns.len() * percent / 100).copied();
        Self {
            per_second: done / seconds,
            median_ns: at(50).unwrap_or(0),
            late_ns: at(99).unwrap_or(0),
        }
    }
}

/// What came of a measurement.
#[derive(Default)]
struct Row {
    disk: Option<Figures>,
    net: Option<Figures>,
    busy_percent: u64,
    flooded: bool,
    causes: causes::Counts,
}

/// Who does what, and how long.
#[derive(Clone)]
struct Loads {
    area: Area,
    peer: IpAddress,
    seconds: u64,
}

impl Loads {
    fn read(&self, cx: &mut ThreadCx, number: usize, over: impl Fn() -> bool) -> Share {
        let mut share = Share::default();
        let plan = Plan {
            direction: Direction::Read,
            block_bytes: BLOCK_BYTES,
            order: Order::Random,
            threads: READERS,
            until: Until::Seconds(self.seconds),
            seed: 1,
        };
        let Ok(mut buffer) = Buffer::new(BLOCK_BYTES) else {
            share.trouble = Some("no memory".into());
            return share;
        };
        for place in plan.places(number, self.area.sectors * SECTOR_BYTES as u64) {
            if over() {
                break;
            }
            let lba = place * (BLOCK_BYTES / SECTOR_BYTES) as u64;
            let transfer = self.area.transfer(Op::Read, lba, buffer);
            let submitted_ns = now_ns();
            let transfer = self.area.medium.transfer(cx, transfer);
            share.waits_ns.push(now_ns() - submitted_ns);
            buffer = transfer.buffer;
            if let Err(error) = transfer.result {
                share.trouble = Some(error.to_string());
                break;
            }
            share.done += 1;
        }
        share
    }

    /// Takes datagrams that the peer is asked for.
    fn take(&self, cx: &mut ThreadCx, over: impl Fn() -> bool) -> Result<Share, NetError> {
        let mut share = Share::default();
        let socket = UdpSocket::bind(cx, 0)?;
        let wish = format!("{DATAGRAM_BYTES} {}", self.seconds);
        let chargen = IpEndpoint::new(self.peer, CHARGEN_PORT);
        let mut block = vec![0; DATAGRAM_BYTES];
        while !over() {
            if share.done == 0 {
                socket.send_to(cx, wish.as_bytes(), chargen)?;
            }
            match socket.receive(cx, &mut block, Some(PATIENCE_NS)) {
                Ok(_) => share.done += 1,
                Err(NetError::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        socket.close(cx);
        Ok(share)
    }

    /// Asks the peer for echoes.
    fn ping(&self, cx: &mut ThreadCx, over: impl Fn() -> bool) -> Result<Share, NetError> {
        let mut share = Share::default();
        let socket = Ping::new(cx)?;
        let mut into = [0; DATAGRAM_BYTES];
        let mut sequence = 0;
        while !over() {
            sequence += 1;
            let sent_ns = now_ns();
            socket.send(cx, self.peer, sequence, &[0; DATAGRAM_BYTES])?;
            loop {
                match socket.receive(cx, &mut into, Some(PATIENCE_NS)) {
                    Ok(echo) if echo.sequence != sequence => continue,
                    Ok(_) => {
                        share.done += 1;
                        share.waits_ns.push(now_ns() - sent_ns);
                    }
                    // Lost in the flood.
                    Err(NetError::TimedOut) => {}
                    Err(error) => return Err(error),
                }
                break;
            }
        }
        socket.close(cx);
        Ok(share)
    }

    /// The part of thread `number`: the first read, the last two are the network's.
    fn part(&self, cx: &mut ThreadCx, number: usize, reads: bool, stop: &AtomicBool) -> Share {
        let end_ns = now_ns() + self.seconds * 1_000_000_000;
        let over = || now_ns() >= end_ns || stop.load(Ordering::Relaxed);
        let readers = if reads { READERS } else { 0 };
        let done = match number.checked_sub(readers) {
            None => return self.read(cx, number, over),
            Some(0) => self.take(cx, over),
            Some(_) => self.ping(cx, over),
        };
        done.unwrap_or_else(|error| Share {
            trouble: Some(error.to_string()),
            ..Share::default()
        })
    }

    /// Runs what is wanted of the two for the time.
    fn run(&self, cx: &mut ThreadCx, disk: bool, net: bool) -> Result<Row, Refusal> {
        let readers = if disk { READERS } else { 0 };
        let all = readers + if net { 2 } else { 0 };
        let loads = self.clone();
        let work =
            move |cx: &mut ThreadCx, number, stop: &AtomicBool| loads.part(cx, number, disk, stop);
        let (began_ns, slept_before_ns, before) = (now_ns(), slept_ns(), causes::counts());
        let shares = in_threads(cx, all, work, || Ok(()))?;
        let mut causes = causes::counts();
        let elapsed_ns = (now_ns() - began_ns) * cpu::online().iter().count() as u64;
        let idled_ns = slept_ns().saturating_sub(slept_before_ns);
        if let Some(trouble) = shares.iter().find_map(|share| share.trouble.clone()) {
            return Err(Refusal(format!("demo: {trouble}")));
        }
        for (now, before) in causes.iter_mut().flatten().zip(before.iter().flatten()) {
            *now -= before;
        }
        let (read, of_net) = shares.split_at(readers);
        thread::sleep_until(cx, now_ns() + SETTLE_NS);
        Ok(Row {
            disk: disk.then(|| Figures::of(read.iter(), self.seconds)),
            net: net.then(|| Figures::of(of_net.iter(), self.seconds)),
            busy_percent: 100 - (idled_ns * 100 / elapsed_ns.max(1)).min(100),
            flooded: of_net.first().is_some_and(|share| share.done > 0),
            causes,
        })
    }
}

/// How long the CPUs have slept, together.
fn slept_ns() -> u64 {
    cpu::online().iter().map(intr::slept_ns).sum()
}

/// Loads both devices under each policy, with `peer` at the other end, or the gateway.
pub fn run(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    peer: Option<IpAddress>,
    seconds: u64,
) -> Result<(), Refusal> {
    let medium = storage::medium(cx, "card")?;
    let gateway = || net::status(cx)?.gateways.first().copied();
    let peer = peer.or_else(gateway);
    let peer = peer.ok_or_else(|| Refusal("there is no gateway: say which host".into()))?;
    let loads = Loads {
        area: Area {
            start: 0,
            sectors: medium.sectors(),
            medium,
        },
        peer,
        seconds,
    };
    let cpu = cpu::online().iter().last().unwrap_or(0);
    let policy = intr::policy();
    let homes = homes(cx);
    let went = (homes.iter())
        .try_for_each(|(intid, _)| intr::move_to(cx, *intid, cpu))
        .map_err(Refusal::from)
        .and_then(|()| {
            causes::count(true);
            show(cx, out, &loads, cpu)
        });
    causes::count(false);
    intr::set_policy(cx, policy);
    for (intid, home) in homes {
        intr::move_to(cx, intid, home)?;
    }
    went
}

/// Where the devices' interrupts go.
fn homes(cx: &mut ThreadCx) -> Vec<(u32, usize)> {
    let lines = intr::lines(cx);
    let sources = causes::SOURCES.iter();
    let line = |intid: u32| lines.iter().find(|line| line.intid == intid);
    sources
        .filter_map(|(intid, _)| {
            let intid = u32::from(*intid);
            Some((intid, line(intid)?.cpu?))
        })
        .collect()
}

fn show(cx: &mut ThreadCx, out: &mut dyn Write, loads: &Loads, cpu: usize) -> Result<(), Refusal> {
    writeln!(
        out,
        "The card is read at random, {BLOCK_BYTES} bytes at once, by {READERS} threads; {} is asked\n\
         for datagrams and echoes; {} s each. Both interrupt CPU {cpu}. Times: us.\n\
         \x20               ------ disk (bio) ------  ----- network (net) -----\n\
         policy  load    reads/s  median    99 %  packets/s  median    99 %  busy",
        loads.peer, loads.seconds
    )?;
    let (mut table, mut told) = (String::new(), String::new());
    let mut crossed = 0;
    let mut flooded = true;
    for policy in Policy::ALL {
        intr::set_policy(cx, policy);
        let mut rows = Vec::new();
        for (name, disk, net) in [
            ("disk", true, false),
            ("net", false, true),
            ("both", true, true),
        ] {
            let row = loads.run(cx, disk, net)?;
            flooded &= row.flooded || !net;
            write!(out, "{policy:<6}  {name:<5}")?;
            write_figures(out, 9, row.disk.as_ref())?;
            write_figures(out, 11, row.net.as_ref())?;
            writeln!(out, "  {:>3}%", row.busy_percent)?;
            rows.push(row);
        }
        if policy == Policy::Domain {
            crossed = rows
                .iter()
                .map(|row| row.causes[0][2] + row.causes[1][2])
                .sum();
        }
        conclude(&mut table, &mut told, policy, &rows)?;
    }
    write!(
        out,
        "\nInterrupts that waited, with both loads, and for what: a hold of their domain,\n\
         a running handler of a more urgent class, a hold of the other domain.\n\
         \x20       ---------- disk ----------  -------- network ---------\n\
         policy       own  handler    other       own  handler    other\n\
         {table}{told}"
    )?;
    if !flooded {
        writeln!(
            out,
            "{} sends no datagrams: no flood but the echoes",
            loads.peer
        )?;
    }
    match crossed {
        0 => Ok(writeln!(
            out,
            "under domain no interrupt of one waited for a hold of the other"
        )?),
        n => Err(Refusal(format!(
            "demo: FAILED: under domain {n} interrupts waited for the other domain"
        ))),
    }
}

fn write_figures(out: &mut dyn Write, width: usize, figures: Option<&Figures>) -> fmt::Result {
    match figures {
        Some(Figures {
            per_second,
            median_ns,
            late_ns,
        }) => write!(
            out,
            "{per_second:>width$} {:>7} {:>7}",
            median_ns.div_ceil(1000),
            late_ns.div_ceil(1000)
        ),
        None => write!(out, "{:>width$} {:>7} {:>7}", "-", "-", "-"),
    }
}

/// The row of causes, and what the figures say.
fn conclude(
    table: &mut dyn Write,
    told: &mut dyn Write,
    policy: Policy,
    rows: &[Row],
) -> fmt::Result {
    let [disk, net, both] = rows else {
        return Ok(());
    };
    let [[a, b, c], [d, e, f]] = both.causes;
    writeln!(
        table,
        "{policy:<6}  {a:>8} {b:>8} {c:>8}  {d:>8} {e:>8} {f:>8}"
    )?;
    let share = |alone: &Option<Figures>, together: &Option<Figures>| {
        let rate = |figures: &Option<Figures>| figures.as_ref().map_or(0, |f| f.per_second);
        rate(together) * 100 / rate(alone).max(1)
    };
    writeln!(
        told,
        "{policy}: together the disk has {} %, the network {} % of what each has alone",
        share(&disk.disk, &both.disk),
        share(&net.net, &both.net)
    )
}
