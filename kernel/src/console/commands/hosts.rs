// SPDX-License-Identifier: MIT OR Apache-2.0
//! `dns`, `ntp`, `tftp`: what other hosts know, say and have.
use super::change::write_file;
use super::ping::host;
use super::{Command, Outcome};
use crate::clock::{self, Utc};
use crate::console::shell::{Call, Refusal, check_interrupt};
use crate::console::words::number_in;
use crate::fs::{CHUNK_BYTES, Mode};
use crate::net::{self, config, ntp, sntp, tftp};
use crate::storage::MOUNTS;
use crate::thread::ThreadCx;
use alloc::format;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::Write;

pub const DNS: Command = Command {
    name: "dns",
    arguments: "[NAME]",
    summary: "the addresses of a name",
    details: "Without NAME: the servers that are asked. Example: dns example.org",
    takes_paths: false,
    run: dns,
};

fn dns(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let Some(name) = call.words.first() else {
        let status = net::status(cx);
        let servers = status.map(|status| status.servers).unwrap_or_default();
        if servers.is_empty() {
            return Err(Refusal("no name server is known".into()));
        }
        for server in servers {
            writeln!(out, "{server}")?;
        }
        return Ok(());
    };
    for address in host(cx, name)? {
        writeln!(out, "{address}")?;
    }
    Ok(())
}

pub const NTP: Command = Command {
    name: "ntp",
    arguments: "[HOST [PORT]|off]",
    summary: "the time of day, and the server it is from",
    details: "With HOST: set the clock by it now and from time to time; ntp= of cmdline.txt\n\
              does so at every start. Times are UTC, also those of the log, once the clock\n\
              is set. Example: ntp pool.ntp.org",
    takes_paths: false,
    run: ntp,
};

fn ntp(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    match call.words {
        [] => {}
        [off] if off == "off" => return Ok(ntp::follow(cx, None)?),
        [host, port @ ..] if port.len() <= 1 => {
            config::check_name(host)?;
            let port = port
                .first()
                .map_or(Ok(sntp::PORT.into()), |word| number_in(word, 1..=65_535))?;
            let server = ntp::Server {
                host: host.clone(),
                port: port as u16,
            };
            let set = ntp::set_clock(cx, &server);
            set.map_err(|error| Refusal(format!("{server}: {error}")))?;
            ntp::follow(cx, Some(server))?;
        }
        _ => return Err(call.usage()),
    }
    let standing = ntp::standing(cx);
    match clock::utc_ns(now_ns()) {
        Some(utc_ns) => writeln!(out, "{} UTC", Utc(utc_ns))?,
        None => writeln!(out, "the clock is not set")?,
    }
    match &standing.server {
        Some(server) => writeln!(out, "server {server}")?,
        None => writeln!(out, "no server is asked")?,
    }
    if let Some(set) = standing.set {
        let (s, age_s) = (set.sample, (now_ns() - set.at_ns) / 1_000_000_000);
        writeln!(
            out,
            "set {age_s} s ago by {}, stratum {}",
            set.address, s.stratum
        )?;
        writeln!(
            out,
            "round trip {} us, the server's own error at most {} us",
            s.round_trip_ns / 1000,
            s.distance_ns / 1000
        )?;
        if let Some(ahead_ns) = set.ahead_ns {
            let (us, way) = (
                ahead_ns.unsigned_abs() / 1000,
                if ahead_ns < 0 { "behind" } else { "ahead" },
            );
            writeln!(out, "the clock was {us} us {way}")?;
        }
    }
    if let Some(error) = standing.error {
        writeln!(out, "the last answer: {error}")?;
    }
    Ok(())
}

pub const TFTP: Command = Command {
    name: "tftp",
    arguments: "HOST FILE [TARGET]",
    summary: "get a file from a TFTP server",
    details: "To TARGET, a file or a directory; to /boot unless told. A file that is there\n\
              is replaced when all of it has come. Ctrl-C gives up, nothing has changed.\n\
              Example: tftp 10.0.2.2 kernel8.img /boot",
    takes_paths: true,
    run: tftp,
};

fn tftp(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(3)?;
    let (server, file) = (call.word(0)?, call.word(1)?);
    let target = call.words.get(2).map_or("/boot", |word| word);
    let target = super::change::target(cx, file, target);
    let addresses = host(cx, server)?;
    let address = *addresses.first().ok_or_else(|| call.usage())?;
    let (start_ns, mut bytes) = (now_ns(), 0);
    write_file(cx, &target, Mode::Replace, |cx, opened| {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let take = |cx: &mut ThreadCx, data: &[u8]| {
            check_interrupt(cx)?;
            if chunk.len() + data.len() > CHUNK_BYTES {
                MOUNTS.enter(cx).0.write(opened, &chunk)?;
                chunk.clear();
            }
            chunk.extend_from_slice(data);
            Ok(())
        };
        bytes = tftp::get::<Refusal>(cx, address, file, take)
            .map_err(|Refusal(error)| Refusal(format!("{file}: {error}")))?;
        Ok(MOUNTS.enter(cx).0.write(opened, &chunk)?)
    })?;
    let ms = ((now_ns() - start_ns) / 1_000_000).max(1);
    writeln!(out, "{target}: {bytes} bytes in {ms} ms")?;
    Ok(())
}
