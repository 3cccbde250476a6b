// SPDX-License-Identifier: MIT OR Apache-2.0
//! `net`, `arp`, `sockets`: how the network stands, and what it is to be.
use super::{Command, Outcome, write_wrapped};
use crate::console::shell::{Call, Refusal};
use crate::net::config::{Config, Ip};
use crate::net::services::{Service, open};
use crate::net::summary::Mac;
use crate::net::{self, Status};
use crate::thread::ThreadCx;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use drivers::genet::RxError;

pub const NET: Command = Command {
    name: "net",
    arguments: "[stats|up|down|ip SETTING|service [NAME start|stop]]",
    summary: "the network: link, addresses, rings, queues",
    details: "stats: every counter that is not 0, from the wire to the sockets.\n\
              ip: dhcp, off, or ADDRESS/BITS[,gw=ADDRESS][,dns=ADDRESS]..., until the next\n\
              start; cmdline.txt has ip= for every start. service: what others can use here;\n\
              nothing is open unless you open it. down: the controller stops.\n\
              Example: net ip 10.0.2.50/24,gw=10.0.2.2,dns=10.0.2.3",
    takes_paths: false,
    run: net,
};

fn net(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let words: Vec<&str> = call.words.iter().map(String::as_str).collect();
    match *words {
        [] => show(cx, out),
        ["stats"] => stats(cx, out),
        ["up"] => Ok(net::set_up(cx, true)?),
        ["down"] => Ok(net::set_up(cx, false)?),
        ["ip", setting] => {
            let mut config = Config::default();
            config.set_ip(setting)?;
            Ok(net::configure(cx, config.ip, config.dns)?)
        }
        ["service"] => services(cx, out),
        ["service", name, verb @ ("start" | "stop")] => {
            let service = Service::parse(name)?;
            let done = match verb {
                "start" => open::open(cx, service),
                _ => open::close(cx, service),
            };
            done.map_err(|error| Refusal(format!("{name}: {error}")))
        }
        _ => Err(call.usage()),
    }
}

/// How the network stands, or a refusal: there is none.
fn status(cx: &mut ThreadCx) -> Result<Status, Refusal> {
    net::status(cx).ok_or_else(|| Refusal("there is no network interface; dmesg says why".into()))
}

fn show(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    let s = status(cx)?;
    write!(out, "link      ")?;
    match s.device.as_ref().map(|device| device.link) {
        _ if !s.up => writeln!(out, "down: net up starts it")?,
        None => writeln!(out, "down: the controller is being reset")?,
        Some(None) => writeln!(out, "down: no cable, or nobody at its other end")?,
        Some(Some(link)) => writeln!(out, "{link}")?,
    }
    writeln!(out, "station   {}", Mac(s.mac))?;
    write!(out, "IPv4      ")?;
    match (s.wish, s.lease) {
        (Ip::Off, _) => writeln!(out, "off")?,
        (Ip::Static(_), _) => writeln!(out, "fixed")?,
        (Ip::Dhcp, None) => writeln!(out, "by DHCP: no lease yet")?,
        (Ip::Dhcp, Some(lease)) => {
            let age_s = (now_ns() / 1000).saturating_sub(lease.since_us as u64) / 1_000_000;
            writeln!(out, "by DHCP: lease of {}, {age_s} s old", lease.server)?;
        }
    }
    list(out, "address", s.addresses.iter())?;
    list(out, "gateway", s.gateways.iter())?;
    list(out, "DNS", s.servers.iter())?;
    if let Some(d) = &s.device {
        let (c, f) = (&d.counters, &d.figures);
        writeln!(
            out,
            "received  {} frames, {} bytes",
            c.rx_frames, c.rx_bytes
        )?;
        let (full, none) = (c.rx_discards, c.rx_no_buffer);
        writeln!(
            out,
            "  lost    {full} in the ring, {none} for want of a buffer"
        )?;
        let (bad, sums) = (c.rx_errors.iter().sum::<u64>(), s.port.bad_checksums);
        writeln!(out, "          {bad} damaged, {sums} with a wrong checksum")?;
        writeln!(
            out,
            "sent      {} frames, {} bytes",
            c.tx_frames, c.tx_bytes
        )?;
        let (linkless, unsent) = (f.dropped_no_link, c.tx_unsent);
        writeln!(out, "  lost    {linkless} without a link, {unsent} unsent")?;
        writeln!(
            out,
            "          {} in the ring, which was full {} times",
            d.tx_queued, f.ring_full
        )?;
    }
    writeln!(out, "queues    CPU     packets    dropped  deepest")?;
    for (cpu, queue) in s
        .queues
        .iter()
        .enumerate()
        .filter(|(_, queue)| queue.packets > 0)
    {
        let (packets, dropped, deepest) = (queue.packets, queue.dropped, queue.deepest);
        writeln!(
            out,
            "          {cpu:>3}  {packets:>10}  {dropped:>9}  {deepest:>7}"
        )?;
    }
    let (p, used) = (&s.pool, s.pool.total - s.pool.free);
    writeln!(
        out,
        "buffers   {used} of {} in use, {} at most, {} times none left",
        p.total,
        p.total - p.least,
        p.misses
    )?;
    Ok(())
}

fn list<T: fmt::Display>(
    out: &mut dyn Write,
    what: &str,
    items: impl ExactSizeIterator<Item = T>,
) -> fmt::Result {
    if items.len() == 0 {
        return writeln!(out, "{what:<9} none");
    }
    items.enumerate().try_for_each(|(n, item)| {
        let what = if n == 0 { what } else { "" };
        writeln!(out, "{what:<9} {item}")
    })
}

/// Counters in two columns, those that are 0 left out.
struct Columns<'a> {
    out: &'a mut dyn Write,
    left: bool,
}

impl Columns<'_> {
    fn heading(&mut self, what: &str) -> fmt::Result {
        self.end()?;
        writeln!(self.out, "{what}")
    }

    fn add(&mut self, name: &str, value: u64) -> fmt::Result {
        if value == 0 {
            return Ok(());
        }
        let (gap, end) = if self.left { ("  ", "\n") } else { ("", "") };
        self.left = !self.left;
        write!(self.out, "{gap}  {name:<20} {value:>14}{end}")
    }

    fn end(&mut self) -> fmt::Result {
        if core::mem::take(&mut self.left) {
            self.out.write_char('\n')?;
        }
        Ok(())
    }
}

fn stats(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    let s = status(cx)?;
    if let Some(phy) = &s.phy {
        let (id, address, losses) = (phy.id, phy.address, phy.losses);
        let eee = if phy.eee { "on" } else { "off" };
        writeln!(
            out,
            "PHY {id:#x} at {address}, EEE {eee}, link lost {losses} times"
        )?;
        write_wrapped(out, &format!("  offers   {}", phy.advertised))?;
        write_wrapped(out, &format!("  is told  {}", phy.partner))?;
    }
    let mut columns = Columns { out, left: false };
    if let Some(d) = &s.device {
        columns.heading("MAC (its own counters, with check sequences)")?;
        for (name, value) in d.mib.values() {
            columns.add(name, value)?;
        }
        columns.heading("driver")?;
        let c = &d.counters;
        for (name, value) in [
            ("rx-frames", c.rx_frames),
            ("rx-bytes", c.rx_bytes),
            ("rx-no-buffer", c.rx_no_buffer),
            ("rx-discards", c.rx_discards),
            ("tx-frames", c.tx_frames),
            ("tx-bytes", c.tx_bytes),
            ("tx-unsent", c.tx_unsent),
            ("tx-underruns", c.tx_underruns),
            ("interrupts", c.interrupts),
            ("interrupts-lost", c.interrupts_lost),
            ("stalls", c.stalls),
            ("recoveries", c.recoveries),
        ] {
            columns.add(name, value)?;
        }
        for (error, name) in RxError::ALL {
            columns.add(&format!("rx-error-{name}"), c.of(error))?;
        }
        columns.heading("kernel")?;
        let f = &d.figures;
        for (name, value) in [
            ("interrupts", f.interrupts),
            ("dropped-no-link", f.dropped_no_link),
            ("ring-full", f.ring_full),
            ("restarts", f.restarts),
            ("link-changes", f.link_changes),
        ] {
            columns.add(name, value)?;
        }
    } else {
        columns.heading("kernel")?;
    }
    for (cpu, queue) in s.queues.iter().enumerate() {
        columns.add(&format!("queue-{cpu}-packets"), queue.packets)?;
        columns.add(&format!("queue-{cpu}-dropped"), queue.dropped)?;
    }
    for (name, value) in [
        ("buffers", s.pool.total as u64),
        ("buffers-in-use", (s.pool.total - s.pool.free) as u64),
        ("buffers-of-stack", s.stack_buffers as u64),
        ("buffers-none-left", s.pool.misses),
    ] {
        columns.add(name, value)?;
    }
    columns.heading("TCP/IP")?;
    for (name, value) in [
        ("received", s.port.received),
        ("sent", s.port.sent),
        ("looped", s.port.looped),
        ("bad-checksums", s.port.bad_checksums),
        ("stalls", s.port.stalls),
        ("turns", s.turns),
        ("half-open-given-up", s.given_up),
        ("not-accepted", s.refused),
    ] {
        columns.add(name, value)?;
    }
    Ok(columns.end()?)
}

fn services(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    writeln!(
        out,
        "service   port  state   connections      served  refused"
    )?;
    for service in Service::ALL {
        let s = open::standing(cx, service);
        let (name, port) = (service.name(), service.port());
        let state = if s.open { "open" } else { "closed" };
        let (now, served, refused) = (s.connections, s.served, s.refused);
        writeln!(
            out,
            "{name:<8}  {port:>4}  {state:<6}  {now:>11}  {served:>10}  {refused:>7}"
        )?;
    }
    Ok(())
}

pub const ARP: Command = Command {
    name: "arp",
    arguments: "",
    summary: "neighbours that were heard of, and when",
    details: "Those of IPv4 by ARP, those of IPv6 by neighbour discovery. Example: arp",
    takes_paths: false,
    run: arp,
};

fn arp(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    let s = status(cx)?;
    writeln!(out, "station            heard s ago  address")?;
    for neighbour in &s.neighbours {
        let age_s = (now_ns() / 1000).saturating_sub(neighbour.heard_us as u64) / 1_000_000;
        let (mac, address) = (Mac(neighbour.mac.0).to_string(), neighbour.address);
        writeln!(out, "{mac}  {age_s:>11}  {address}")?;
    }
    Ok(())
}

pub const SOCKETS: Command = Command {
    name: "sockets",
    arguments: "",
    summary: "sockets: both ends, state, bytes that wait",
    details: "to read: came, and nobody has read it; to send: not acknowledged yet.\n\
              Example: sockets",
    takes_paths: false,
    run: sockets,
};

fn sockets(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    writeln!(
        out,
        "kind  state         to read  to send  this end, other end"
    )?;
    for row in status(cx)?.sockets {
        let state = row.state.map_or("-".into(), |state| state.to_string());
        let (kind, (read, send)) = (row.kind, row.waiting);
        let end = |end: Option<_>| end.map_or("-".into(), |end| format!("{end}"));
        let (local, peer) = (end(row.local), end(row.peer));
        // Two addresses of IPv6 are more than a line.
        let gap = match 38 + local.len() + peer.len() {
            ..=80 => "  ".into(),
            _ => format!("\n{:36}", ""),
        };
        writeln!(
            out,
            "{kind:<4}  {state:<12}  {read:>7}  {send:>7}  {local}{gap}{peer}"
        )?;
    }
    Ok(())
}
