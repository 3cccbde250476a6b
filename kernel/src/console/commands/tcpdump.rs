// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tcpdump`: the frames that pass, in words or into a file.
use super::change::write_file;
use super::{Command, Outcome, write_wrapped};
use crate::clock;
use crate::console::shell::{Call, Refusal, interrupted};
use crate::console::words::number_in;
use crate::fs::{CHUNK_BYTES, Mode};
use crate::net::filter::Filter;
use crate::net::socket::NetError;
use crate::net::tap::{Captured, Direction};
use crate::net::{Listening, pcap, summary};
use crate::storage::MOUNTS;
use crate::thread::ThreadCx;
use alloc::string::String;
use core::fmt::{self, Write};

/// Bytes of a frame that the words are made from.
const SNAP_BYTES: usize = 256;
/// How often Ctrl-C is looked for.
const POLL_NS: u64 = 200_000_000;

pub const TCPDUMP: Command = Command {
    name: "tcpdump",
    arguments: "[-c COUNT] [-w FILE] [FILTER]...",
    summary: "show frames that pass, or write them to a file",
    details: "Until COUNT frames were seen, or Ctrl-C. FILTER: host ADDRESS, port NUMBER,\n\
              arp, ip, ip6, icmp, tcp, udp, each also with not before it; all must hold.\n\
              FILE is what tcpdump and Wireshark read. Times: seconds since the start, or\n\
              of the day, once the clock is set.\n\
              Example: tcpdump -c 10 host 10.0.2.2 not port 80",
    takes_paths: true,
    run: tcpdump,
};

fn tcpdump(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let (mut most, mut file, mut rest) = (u64::MAX, None, call.words);
    loop {
        rest = match rest {
            [option, value, more @ ..] if option == "-c" => {
                most = number_in(value, 1..=u64::MAX)?;
                more
            }
            [option, value, more @ ..] if option == "-w" => {
                file = Some(value);
                more
            }
            [option, ..] if option.starts_with('-') => return Err(call.usage()),
            _ => break,
        };
    }
    let filter = Filter::parse(rest.iter().map(String::as_str))?;
    let mut tally = Tally::default();
    let Some(path) = file else {
        let show = |_: &mut ThreadCx, frame: &Captured| Ok(write_frame(out, frame)?);
        listen(cx, SNAP_BYTES, most, &filter, &mut tally, show)?;
        return Ok(tally.write(out)?);
    };
    write_file(cx, path, Mode::Replace, |cx, opened| {
        let mut chunk = pcap::file_header().to_vec();
        let add = |cx: &mut ThreadCx, frame: &Captured| {
            let at_ns = frame.at_us as u64 * 1000;
            let at_ns = clock::utc_ns(at_ns).unwrap_or(at_ns);
            let data = &frame.data;
            chunk.extend(pcap::record_header(at_ns, data.len(), frame.bytes));
            chunk.extend(data);
            if chunk.len() > CHUNK_BYTES {
                MOUNTS.enter(cx).0.write(opened, &chunk)?;
                chunk.clear();
            }
            Ok(())
        };
        listen(cx, pcap::SNAPLEN, most, &filter, &mut tally, add)?;
        Ok(MOUNTS.enter(cx).0.write(opened, &chunk)?)
    })?;
    write!(out, "{path}: ")?;
    Ok(tally.write(out)?)
}

/// What was seen.
#[derive(Default)]
struct Tally {
    admitted: u64,
    seen: u64,
    missed: u64,
}

impl Tally {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let Self {
            admitted,
            seen,
            missed,
        } = self;
        writeln!(
            out,
            "{admitted} frames of {seen}, {missed} more were missed"
        )
    }
}

/// Hands frames to `take` until there were enough of them, or Ctrl-C.
fn listen(
    cx: &mut ThreadCx,
    snap_bytes: usize,
    most: u64,
    filter: &Filter,
    tally: &mut Tally,
    mut take: impl FnMut(&mut ThreadCx, &Captured) -> Outcome,
) -> Outcome {
    let mut listening = Listening::start(cx, snap_bytes).map_err(|error| match error {
        NetError::InUse => Refusal("somebody listens already".into()),
        error => error.into(),
    })?;
    let mut result = Ok(());
    'all: while result.is_ok() && tally.admitted < most && !interrupted(cx) {
        let frames = match listening.next(cx, Some(POLL_NS)) {
            Ok((frames, missed)) => {
                tally.missed = missed;
                frames
            }
            Err(NetError::TimedOut) => continue,
            Err(error) => {
                result = Err(error.into());
                break;
            }
        };
        for frame in &frames {
            tally.seen += 1;
            if !filter.admits(&summary::flow(&frame.data)) {
                continue;
            }
            tally.admitted += 1;
            result = take(cx, frame);
            if result.is_err() || tally.admitted == most {
                break 'all;
            }
        }
    }
    listening.stop(cx);
    result
}

/// Writes when a frame passed, which way, and what it is about, in lines of a terminal's width.
fn write_frame(out: &mut dyn Write, frame: &Captured) -> fmt::Result {
    let mut line = String::new();
    let us = frame.at_us as u64;
    let day_us = clock::utc_ns(us * 1000).map(|ns| ns / 1000 % 86_400_000_000);
    match day_us {
        Some(us) => {
            let s = us / 1_000_000;
            let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
            write!(
                line,
                "{hour:02}:{minute:02}:{second:02}.{:06}",
                us % 1_000_000
            )?;
        }
        None => write!(line, "{}.{:06}", us / 1_000_000, us % 1_000_000)?,
    }
    line.push_str(match frame.direction {
        Direction::In => " < ",
        Direction::Out => " > ",
    });
    summary::write(&mut line, &frame.data)?;
    write_wrapped(out, &line)
}
