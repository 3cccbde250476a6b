// SPDX-License-Identifier: MIT OR Apache-2.0
//! DNS and DHCP in words.
use super::{Bytes, Mac, Stop};
use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

/// A name with its dots, at most (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a message's header.
const HEADER_BYTES: usize = 12;

/// Writes the first question, or how many answers there are and the first of them.
pub(super) fn write_dns(out: &mut dyn Write, message: Bytes) -> Result<(), Stop> {
    let (id, flags) = (message.u16(0)?, message.u16(2)?);
    let counts = [
        message.u16(4)?,
        message.u16(6)?,
        message.u16(8)?,
        message.u16(10)?,
    ];
    let [questions, answers, authorities, others] = counts;
    write!(out, "DNS {id}")?;
    let mut at = HEADER_BYTES;
    let is_response = flags & 0x8000 != 0;
    if !is_response {
        out.write_str(if flags & 0x0100 != 0 { "+" } else { "" })?;
        if questions > 0 {
            let after = skip_name(message, at)?;
            write!(out, " {}? ", Type(message.u16(after)?))?;
            write_name(out, message, at)?;
        }
        return Ok(());
    }
    match flags & 0xf {
        0 => {}
        1 => out.write_str(" FormErr")?,
        2 => out.write_str(" ServFail")?,
        3 => out.write_str(" NXDomain")?,
        5 => out.write_str(" Refused")?,
        other => write!(out, " error {other}")?,
    }
    write!(out, " {answers}/{authorities}/{others}")?;
    if answers == 0 {
        return Ok(());
    }
    for _ in 0..questions {
        at = skip_name(message, at)? + 4;
    }
    let at = skip_name(message, at)?;
    let (kind, bytes) = (message.u16(at)?, usize::from(message.u16(at + 8)?));
    write!(out, " {}", Type(kind))?;
    match (kind, bytes) {
        (1, 4) => write!(out, " {}", Ipv4Addr::from(message.array::<4>(at + 10)?))?,
        (28, 16) => write!(out, " {}", Ipv6Addr::from(message.array::<16>(at + 10)?))?,
        (2 | 5 | 12, _) => {
            out.write_char(' ')?;
            write_name(out, message, at + 10)?;
        }
        _ => {}
    }
    Ok(())
}

/// The type of a record.
struct Type(u16);

impl core::fmt::Display for Type {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self.0 {
            1 => "A",
            2 => "NS",
            5 => "CNAME",
            6 => "SOA",
            12 => "PTR",
            15 => "MX",
            16 => "TXT",
            28 => "AAAA",
            33 => "SRV",
            65 => "HTTPS",
            255 => "ANY",
            other => return write!(f, "TYPE{other}"),
        })
    }
}

/// Where what follows the name at `at` begins.
fn skip_name(message: Bytes, mut at: usize) -> Result<usize, Stop> {
    loop {
        match message.u8(at)? {
            0 => return Ok(at + 1),
            0xc0.. => return Ok(at + 2),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return Err(Stop::Bad("bad name")),
        }
    }
}

/// Writes the name at `at`. A pointer leads only to what lies before the part that it ends, so there are no loops.
fn write_name(out: &mut dyn Write, message: Bytes, mut at: usize) -> Result<(), Stop> {
    let (mut part, mut written) = (at, 0);
    loop {
        let length = match message.u8(at)? {
            0 if written == 0 => return Ok(out.write_char('.')?),
            0 => return Ok(()),
            0xc0.. => {
                let target = usize::from(message.u16(at)? & 0x3fff);
                if target >= part {
                    return Err(Stop::Bad("bad name"));
                }
                (at, part) = (target, target);
                continue;
            }
            length @ 1..=63 => usize::from(length),
            _ => return Err(Stop::Bad("bad name")),
        };
        written += length + 1;
        if written > NAME_BYTES_MAX {
            return Err(Stop::Bad("bad name"));
        }
        let label = message.from(at + 1)?;
        for n in 0..length {
            match label.u8(n)? {
                byte @ b'!'..=b'~' => out.write_char(byte.into())?,
                byte => write!(out, "\\{byte:03}")?,
            }
        }
        out.write_char('.')?;
        at += 1 + length;
    }
}

/// The fixed part of DHCP, with the cookie behind which the options begin.
const FIXED_BYTES: usize = 240;
const COOKIE: u32 = 0x6382_5363;

/// Writes the kind of message, for whom it is, and the address that it is about.
pub(super) fn write_dhcp(out: &mut dyn Write, message: Bytes, bytes: usize) -> Result<(), Stop> {
    let names = [
        "discover", "offer", "request", "decline", "ack", "nak", "release", "inform",
    ];
    let name = match option(message, 53) {
        Ok([kind]) => names.get(usize::from(*kind).wrapping_sub(1)),
        _ => None,
    };
    write!(out, "DHCP {}", name.unwrap_or(&"message"))?;
    write!(out, " {}", Mac(message.array(28)?))?;
    let yours = Ipv4Addr::from(message.array::<4>(16)?);
    if !yours.is_unspecified() {
        write!(out, " gets {yours}")?;
    } else if let Ok(&[a, b, c, d]) = option(message, 50) {
        write!(out, " asks for {a}.{b}.{c}.{d}")?;
    }
    write!(out, ", xid {:#x}, length {bytes}", message.u32(4)?)?;
    Ok(())
}

/// The contents of option `wanted`.
fn option(message: Bytes<'_>, wanted: u8) -> Result<&[u8], Stop> {
    if message.u32(FIXED_BYTES - 4)? != COOKIE {
        return Err(Stop::Bad("bad cookie"));
    }
    let mut options = message.from(FIXED_BYTES)?;
    loop {
        match options.u8(0)? {
            0 => options = options.from(1)?, // padding
            255 => return Err(Stop::Short),
            kind => {
                let length = usize::from(options.u8(1)?);
                let value = options.from(2)?;
                if kind == wanted {
                    return value.0.get(..length).ok_or(Stop::Short);
                }
                options = value.from(length)?;
            }
        }
    }
}
