// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP, UDP and ICMP in words.
use super::names::{write_dhcp, write_dns};
use super::{Bytes, Mac, Stop};
use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Flags of TCP, as tcpdump shows them; `.` is an acknowledgement.
const FLAGS: [(u16, char); 8] = [
    (0x02, 'S'),
    (0x01, 'F'),
    (0x08, 'P'),
    (0x04, 'R'),
    (0x20, 'U'),
    (0x40, 'E'),
    (0x80, 'W'),
    (0x10, '.'),
];
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

pub(super) fn write_tcp(out: &mut dyn Write, segment: Bytes, bytes: usize) -> Result<(), Stop> {
    let word = segment.u16(12)?;
    let header = usize::from(word >> 12) * 4;
    out.write_str("Flags [")?;
    if FLAGS.iter().all(|(bit, _)| word & bit == 0) {
        out.write_str("none")?;
    }
    for (_, name) in FLAGS.iter().filter(|(bit, _)| word & bit != 0) {
        out.write_char(*name)?;
    }
    write!(out, "], seq {}", segment.u32(4)?)?;
    if word & ACK != 0 {
        write!(out, ", ack {}", segment.u32(8)?)?;
    }
    write!(out, ", win {}", segment.u16(14)?)?;
    if header < 20 || header > bytes {
        return Err(Stop::Bad("bad TCP header length"));
    }
    if word & SYN != 0 {
        write_options(out, segment.cut(header).from(20)?)?;
    }
    write!(out, ", length {}", bytes - header)?;
    Ok(())
}

/// What a SYN may carry. Others' lengths are believed only as far as there are bytes.
fn write_options(out: &mut dyn Write, mut options: Bytes) -> Result<(), Stop> {
    let mut before = ", options [";
    while let Ok(kind) = options.u8(0) {
        let length = match kind {
            0 => break,
            1 => 1, // padding
            _ => usize::from(options.u8(1)?),
        };
        if kind > 1 {
            if length < 2 {
                return Err(Stop::Bad("bad TCP option"));
            }
            out.write_str(before)?;
            before = ",";
            match (kind, length) {
                (2, 4) => write!(out, "mss {}", options.u16(2)?)?,
                (3, 3) => write!(out, "wscale {}", options.u8(2)?)?,
                (4, 2) => out.write_str("sackOK")?,
                (8, 10) => out.write_str("TS")?,
                _ => write!(out, "option {kind}")?,
            }
        }
        options = options.from(length)?;
    }
    if before == "," {
        out.write_char(']')?;
    }
    Ok(())
}

pub(super) fn write_udp(out: &mut dyn Write, datagram: Bytes) -> Result<(), Stop> {
    let (from, to) = (datagram.u16(0)?, datagram.u16(2)?);
    let bytes = usize::from(datagram.u16(4)?)
        .checked_sub(8)
        .ok_or(Stop::Bad("bad UDP length"))?;
    let payload = datagram.from(8)?.cut(bytes);
    match (from, to) {
        (53, _) | (_, 53) => write_dns(out, payload)?,
        (67 | 68, 67 | 68) => return write_dhcp(out, payload, bytes),
        (123, _) | (_, 123) => {
            let first = payload.u8(0)?;
            let mode = ["reserved", "active", "passive", "client", "server"];
            let mode = mode.get(usize::from(first & 7)).unwrap_or(&"other");
            write!(out, "NTPv{} {mode}", first >> 3 & 7)?;
        }
        _ => out.write_str("UDP")?,
    }
    write!(out, ", length {bytes}")?;
    Ok(())
}

pub(super) fn write_icmp(out: &mut dyn Write, message: Bytes, bytes: usize) -> Result<(), Stop> {
    let (kind, code) = (message.u8(0)?, message.u8(1)?);
    out.write_str("ICMP ")?;
    match kind {
        0 => write_echo(out, "reply", message)?,
        8 => write_echo(out, "request", message)?,
        3 => {
            let what = [
                "net",
                "host",
                "protocol",
                "port",
                "fragmentation needed for",
            ];
            let what = what.get(usize::from(code)).unwrap_or(&"administratively");
            let to = Ipv4Addr::from(message.array::<4>(8 + 16)?);
            write!(out, "unreachable: {what} {to}")?;
        }
        5 => write!(
            out,
            "redirect to {}",
            Ipv4Addr::from(message.array::<4>(4)?)
        )?,
        11 => out.write_str("time exceeded")?,
        12 => out.write_str("parameter problem")?,
        _ => write!(out, "type {kind}, code {code}")?,
    }
    write!(out, ", length {bytes}")?;
    Ok(())
}

fn write_echo(out: &mut dyn Write, what: &str, message: Bytes) -> Result<(), Stop> {
    let (id, sequence) = (message.u16(4)?, message.u16(6)?);
    write!(out, "echo {what}, id {id}, seq {sequence}")?;
    Ok(())
}

pub(super) fn write_icmpv6(out: &mut dyn Write, message: Bytes, bytes: usize) -> Result<(), Stop> {
    let (kind, code) = (message.u8(0)?, message.u8(1)?);
    out.write_str("ICMP6 ")?;
    match kind {
        128 => write_echo(out, "request", message)?,
        129 => write_echo(out, "reply", message)?,
        1 => write!(out, "unreachable, code {code}")?,
        2 => write!(out, "packet too big, mtu {}", message.u32(4)?)?,
        3 => out.write_str("time exceeded")?,
        133 => out.write_str("router solicitation")?,
        134 => out.write_str("router advertisement")?,
        135 => write!(out, "neighbor solicitation, who has {}", target(message)?)?,
        136 => {
            write!(out, "neighbor advertisement, {}", target(message)?)?;
            // Option 2 of length 1 (times 8 bytes): the link-layer address.
            if let Ok([2, 1]) = message.array(24) {
                write!(out, " is-at {}", Mac(message.array(26)?))?;
            }
        }
        143 => out.write_str("multicast listener report")?,
        _ => write!(out, "type {kind}, code {code}")?,
    }
    write!(out, ", length {bytes}")?;
    Ok(())
}

fn target(message: Bytes) -> Result<Ipv6Addr, Stop> {
    message.array::<16>(8).map(Ipv6Addr::from)
}
