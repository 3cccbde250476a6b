// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame in a line of text, as tcpdump writes it; and who sent it to whom, for filters.
//!
//! # Theory
//! The bytes come from outside and may be anything. They are read through [`Bytes`] alone, which gives what is there or
//! [`Stop::Short`]; lengths that a frame states only ever shorten what is looked at; what is followed (extension headers,
//! options, a name's pointers) gets nearer to an end with each step. What has been written when a frame breaks off
//! stays, and `[|]` says so.
//!
//! Contexts: any; nothing is allocated.
//!
//! References: RFC 826 (ARP), 791, 8200 (IP), 792, 4443, 4861 (ICMP), 9293 (TCP), 768 (UDP), 1035 (DNS), 2131 (DHCP),
//! IEEE 802.1Q; tcpdump(8), "Output format".
mod bytes;
mod names;
mod transport;

pub use bytes::{Bytes, Stop};

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an Ethernet header.
const ETHERNET_BYTES: usize = 14;
/// Bytes of the fixed header of IPv6.
const IPV6_BYTES: usize = 40;
/// The most extension headers that are followed.
const EXTENSIONS_MAX: usize = 8;

/// EtherTypes.
mod ether_type {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
}

/// Protocols over IP (RFC 5237's registry).
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// The extension headers that have a length of their own, in units of 8 bytes.
    pub const EXTENSIONS: [u8; 4] = [0, 43, 60, 135];
    /// A fragment's extension header.
    pub const FRAGMENT: u8 = 44;
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ARP.
    Arp,
    /// IPv4, and the protocol over it.
    Ipv4(u8),
    /// IPv6, and the protocol over it.
    Ipv6(u8),
    /// Something else.
    Other,
}

/// Who sent a frame to whom, as far as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What it carries.
    pub kind: Kind,
    /// Source and destination, or ARP's sender and target.
    pub hosts: Option<(IpAddr, IpAddr)>,
    /// Source and destination port. Only the first fragment has them.
    pub ports: Option<(u16, u16)>,
}

/// What the header of IP says.
struct Internet<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    fragment: Option<Fragment>,
    /// As far as it was captured.
    payload: Bytes<'a>,
    /// As long as the header says.
    payload_bytes: usize,
}

struct Fragment {
    id: u32,
    offset_bytes: usize,
    more: bool,
}

/// A frame's EtherType, its VLAN if it has one, and what follows.
fn ethernet(frame: &[u8]) -> Result<(u16, Option<u16>, Bytes<'_>), Stop> {
    let frame = Bytes(frame);
    let (kind, rest) = (frame.u16(12)?, frame.from(ETHERNET_BYTES)?);
    if kind != ether_type::VLAN {
        return Ok((kind, None, rest));
    }
    Ok((rest.u16(2)?, Some(rest.u16(0)? & 0xfff), rest.from(4)?))
}

fn ipv4(packet: Bytes) -> Result<Internet, Stop> {
    let first = packet.u8(0)?;
    let (header, total) = (usize::from(first & 0xf) * 4, usize::from(packet.u16(2)?));
    if first >> 4 != 4 || header < 20 || total < header {
        return Err(Stop::Bad("bad IPv4 header"));
    }
    let (id, fragment) = (packet.u16(4)?, packet.u16(6)?);
    let (more, offset_bytes) = (fragment & 0x2000 != 0, usize::from(fragment & 0x1fff) * 8);
    Ok(Internet {
        source: Ipv4Addr::from(packet.array(12)?).into(),
        destination: Ipv4Addr::from(packet.array(16)?).into(),
        protocol: packet.u8(9)?,
        fragment: (more || offset_bytes > 0).then_some(Fragment {
            id: id.into(),
            offset_bytes,
            more,
        }),
        payload: packet.from(header)?.cut(total - header),
        payload_bytes: total - header,
    })
}

fn ipv6(packet: Bytes) -> Result<Internet, Stop> {
    if packet.u8(0)? >> 4 != 6 {
        return Err(Stop::Bad("bad IPv6 header"));
    }
    let bytes = usize::from(packet.u16(4)?);
    let mut found = Internet {
        source: Ipv6Addr::from(packet.array::<16>(8)?).into(),
        destination: Ipv6Addr::from(packet.array::<16>(24)?).into(),
        protocol: packet.u8(6)?,
        fragment: None,
        payload: packet.from(IPV6_BYTES)?.cut(bytes),
        payload_bytes: bytes,
    };
    for _ in 0..EXTENSIONS_MAX {
        let header = found.payload;
        let length = match found.protocol {
            protocol::FRAGMENT => {
                let offset = header.u16(2)?;
                found.fragment = Some(Fragment {
                    id: header.u32(4)?,
                    offset_bytes: usize::from(offset & !7),
                    more: offset & 1 != 0,
                });
                8
            }
            known if protocol::EXTENSIONS.contains(&known) => (usize::from(header.u8(1)?) + 1) * 8,
            _ => return Ok(found),
        };
        found.protocol = header.u8(0)?;
        found.payload = header.from(length)?;
        found.payload_bytes = found.payload_bytes.saturating_sub(length);
        if found.fragment.as_ref().is_some_and(|f| f.offset_bytes > 0) {
            return Ok(found); // what comes next is in the first fragment
        }
    }
    Err(Stop::Bad("too many extension headers"))
}

impl Internet<'_> {
    fn is_first(&self) -> bool {
        self.fragment.as_ref().is_none_or(|f| f.offset_bytes == 0)
    }

    fn ports(&self) -> Option<(u16, u16)> {
        let has_ports = matches!(self.protocol, protocol::TCP | protocol::UDP) && self.is_first();
        let ports = || Some((self.payload.u16(0).ok()?, self.payload.u16(2).ok()?));
        has_ports.then(ports).flatten()
    }
}

/// Says who sent `frame`, an Ethernet frame without its check sequence, to whom.
pub fn flow(frame: &[u8]) -> Flow {
    let none = |kind| Flow {
        kind,
        hosts: None,
        ports: None,
    };
    let Ok((kind, _, payload)) = ethernet(frame) else {
        return none(Kind::Other);
    };
    let (read, kind): (_, fn(u8) -> Kind) = match kind {
        ether_type::IPV4 => (ipv4(payload), Kind::Ipv4),
        ether_type::IPV6 => (ipv6(payload), Kind::Ipv6),
        ether_type::ARP => {
            let address = |at| {
                payload
                    .array(at)
                    .map(|a| IpAddr::V4(Ipv4Addr::from(a)))
                    .ok()
            };
            return Flow {
                kind: Kind::Arp,
                hosts: address(14).zip(address(24)),
                ports: None,
            };
        }
        _ => return none(Kind::Other),
    };
    match read {
        Ok(ip) => Flow {
            kind: kind(ip.protocol),
            hosts: Some((ip.source, ip.destination)),
            ports: ip.ports(),
        },
        Err(_) => none(kind(u8::MAX)), // 255: reserved
    }
}

/// Writes what `frame`, an Ethernet frame without its check sequence, is about. It may have been cut off at any byte.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn Write, frame: &[u8]) -> fmt::Result {
    match write_frame(out, frame) {
        Ok(()) => Ok(()),
        Err(Stop::Short) => out.write_str(" [|]"),
        Err(Stop::Bad(what)) => write!(out, " [{what}]"),
        Err(Stop::Output(error)) => Err(error),
    }
}

fn write_frame(out: &mut dyn Write, frame: &[u8]) -> Result<(), Stop> {
    let (kind, vlan, payload) = ethernet(frame)?;
    if let Some(vlan) = vlan {
        write!(out, "vlan {vlan}, ")?;
    }
    match kind {
        ether_type::ARP => write_arp(out, payload),
        ether_type::IPV4 => {
            out.write_str("IP")?;
            write_internet(out, &ipv4(payload)?)
        }
        ether_type::IPV6 => {
            out.write_str("IP6")?;
            write_internet(out, &ipv6(payload)?)
        }
        _ => {
            let (to, from) = (Mac(Bytes(frame).array(0)?), Mac(Bytes(frame).array(6)?));
            write!(
                out,
                "{from} > {to}, type {kind:#06x}, length {}",
                payload.0.len()
            )?;
            Ok(())
        }
    }
}

fn write_arp(out: &mut dyn Write, packet: Bytes) -> Result<(), Stop> {
    out.write_str("ARP")?;
    // Ethernet addresses of 6 bytes, IPv4 addresses of 4.
    if packet.array(0)? != [0, 1, 8, 0, 6, 4] {
        return Err(Stop::Bad("not of IPv4 over Ethernet"));
    }
    let (sender, target) = (packet.array::<4>(14)?, packet.array::<4>(24)?);
    let (sender, target) = (Ipv4Addr::from(sender), Ipv4Addr::from(target));
    match packet.u16(6)? {
        1 if sender == target => write!(out, " announcement {sender}")?,
        1 => write!(out, " who-has {target} tell {sender}")?,
        2 => write!(out, " reply {sender} is-at {}", Mac(packet.array(8)?))?,
        other => write!(out, " operation {other}")?,
    }
    Ok(())
}

fn write_internet(out: &mut dyn Write, ip: &Internet) -> Result<(), Stop> {
    match ip.ports() {
        Some((from, to)) => write!(out, " {}.{from} > {}.{to}: ", ip.source, ip.destination)?,
        None => write!(out, " {} > {}: ", ip.source, ip.destination)?,
    }
    if let Some(fragment) = &ip.fragment {
        let (from, more) = (fragment.offset_bytes, if fragment.more { "+" } else { "" });
        let (id, bytes) = (fragment.id, ip.payload_bytes);
        write!(out, "fragment {id:#x} ({from}, {bytes} bytes{more}) ")?;
    }
    if !ip.is_first() {
        write!(out, "protocol {}", ip.protocol)?;
        return Ok(());
    }
    let (payload, bytes) = (ip.payload, ip.payload_bytes);
    match ip.protocol {
        protocol::TCP => transport::write_tcp(out, payload, bytes),
        protocol::UDP => transport::write_udp(out, payload),
        protocol::ICMP => transport::write_icmp(out, payload, bytes),
        protocol::ICMPV6 => transport::write_icmpv6(out, payload, bytes),
        other => Ok(write!(out, "protocol {other}, length {bytes}")?),
    }
}

/// An Ethernet address.
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests;
