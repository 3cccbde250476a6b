// SPDX-License-Identifier: MIT OR Apache-2.0
//! A station on the emulated Ethernet: the one host that the guest's cable leads to.
//!
//! # Theory
//! It is the other end of the device pack's own cable (`pi4-genet,cable=SOCKET`): a program of this host's, without
//! privileges, without a network of the host's, and with nothing else on the wire, so that nothing that a guest or a
//! fuzzer sends goes anywhere. One thread does all of it: it reads frames, keeps some for itself (echoes that it waits
//! for, datagrams that it only counts), has `smoltcp` see to the others (ARP, NDP, ICMP, TCP), and writes. Whoever uses
//! it asks it things ([`Station::ask`]), which that thread does in its turn.
//!
//! Discard and chargen (ports 9 and 19, TCP and UDP) and echo (7, TCP) are there for load.
//!
//! # Why this one, for measurements
//! The far end must be faster than any guest, or it is what is measured. QEMU's user network does each guest's TCP by
//! its own and the host's once more, in the thread that also serves the card. A `dgram` netdev takes a turn of QEMU's main
//! loop for each frame: it gave a loop that only polls GENET's rings 64,000 small frames a second. A `stream`
//! netdev has a queue without an end in QEMU. A tap takes root on the host, and is read a frame a turn, too.
//!
//! Frames are never lost on the cable: a guest that has no room makes QEMU wait, and QEMU the station.
#![forbid(unsafe_code)]

pub mod cable;
pub mod fuzz;
pub mod path;
mod services;
mod station;
pub mod wire;

pub use station::{Exchanged, Station, World};

use std::net::Ipv4Addr;

/// The station's Ethernet address.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
/// Its IPv4 address, of 24 bits' prefix.
pub const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 77);
/// The guest's, if it is told so: the one that QEMU's user network would give.
pub const GUEST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
