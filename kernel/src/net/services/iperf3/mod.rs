// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server for `iperf3` clients: a test at a time, TCP and UDP, both ways, several streams. Not both ways at once.
//!
//! One thread talks with the client; each stream has one of its own, but datagrams that come in have one for all, as they
//! come in at one port.
pub mod protocol;

#[cfg(target_os = "none")]
mod server;
#[cfg(target_os = "none")]
mod streams;

#[cfg(target_os = "none")]
pub(super) use server::serve;
