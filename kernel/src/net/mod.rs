// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network: GENET at Net level, TCP/IP above it, and sockets for the kernel's threads.
//!
//! # Theory
//! A frame's way in: the controller writes it into a buffer ([`mbuf`]); its interrupt, of class Net, takes it from the ring
//! ([`device`]) and puts it into the queue of its CPU ([`queue`]); the soft interrupt, of class SoftNet, hands it to `smoltcp`
//! ([`stack`], [`port`]); a thread reads it at its socket ([`socket`]). It is copied once, there. The way out is the same,
//! backwards. While frames keep coming, the soft interrupt asks the controller for them, and the interrupt stays
//! quiet.
//!
//! # Lock order
//! NetStack, a thread's; inside it those of the Net domain: NetDevice, NetQueue, NetPool. None of the Bio domain, here
//! or in any caller.
pub mod address;
pub mod config;
pub mod filter;
pub mod frame;
pub mod mbuf;
pub mod pcap;
pub mod port;
pub mod queue;
pub mod rest;
pub mod services;
pub mod sntp;
pub mod summary;
pub mod tap;
pub mod tftp;

#[cfg(target_os = "none")]
mod control;
#[cfg(target_os = "none")]
pub mod device;
#[cfg(target_os = "none")]
pub mod ntp;
#[cfg(target_os = "none")]
pub mod socket;
#[cfg(target_os = "none")]
pub mod stack;
#[cfg(target_os = "none")]
mod status;

#[cfg(target_os = "none")]
pub use control::{Listening, configure, set_up, start};
#[cfg(target_os = "none")]
pub use status::{Row, Status, status};
