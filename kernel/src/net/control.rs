// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network as a whole: started, configured, listened in on.
//!
//! # Contexts
//! Threads.
use super::config::{Config, DnsServers, Ip};
use super::services::open;
use super::socket::NetError;
use super::tap::{Captured, Tap};
use super::{device, ntp, sntp, stack};
use crate::cpu::CpuSet;
use crate::thread::{self, PRIORITY_SYSTEM, ThreadCx, TooManyThreads};
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use log::{info, warn};

/// Has a thread find the interface and configure it, and look after it from then on: the boot does not wait. Once.
///
/// # Errors
/// There is no thread left.
pub fn start(cx: &mut ThreadCx, config: Config) -> Result<(), TooManyThreads> {
    let keeper = move |cx: &mut ThreadCx| match bring_up(cx, &config) {
        Ok(found) => {
            info!(target: "net", "{found}");
            open_up(cx, config);
            device::keep(cx)
        }
        Err(reason) => warn!(target: "net", "{reason}"),
    };
    thread::spawn(cx, "genet", PRIORITY_SYSTEM, CpuSet::ALL, keeper).map(|_| ())
}

/// What the command line opens and asks for beyond an address.
fn open_up(cx: &mut ThreadCx, config: Config) {
    for service in config.services.iter() {
        if let Err(error) = open::open(cx, service) {
            warn!(target: "net", "{}: {error}", service.name());
        }
    }
    let server = config.ntp.map(|host| ntp::Server {
        host,
        port: sntp::PORT,
    });
    if let Err(error) = ntp::follow(cx, server) {
        warn!(target: "net", "no clock: {error}");
    }
}

fn bring_up(cx: &mut ThreadCx, config: &Config) -> Result<String, String> {
    let mac = device::mac(cx);
    let found = device::attach(cx, mac)?;
    stack::start(cx, mac).map_err(|error| error.to_string())?;
    configure(cx, config.ip, config.dns.clone()).map_err(|error| error.to_string())?;
    Ok(found)
}

/// Gives the interface its IPv4 address in that way from now on, and the resolver these servers to ask first.
///
/// # Errors
/// [`NetError::Down`].
pub fn configure(cx: &mut ThreadCx, ip: Ip, dns: DnsServers) -> Result<(), NetError> {
    stack::with(cx, |stack, cx| {
        let (iface, sockets) = (&mut stack.iface, &mut stack.sockets);
        stack.addresses.configure(iface, sockets, ip, dns);
        stack.send_now(cx);
    })
    .ok_or(NetError::Down)
}

/// Stops the interface, or starts it again; that takes the keeper a moment.
///
/// # Errors
/// [`NetError::Down`]: there is none.
pub fn set_up(cx: &mut ThreadCx, up: bool) -> Result<(), NetError> {
    stack::with(cx, |_, _| ()).ok_or(NetError::Down)?;
    device::set_up(cx, up);
    Ok(())
}

/// Copies of the frames that pass, until it is given up.
pub struct Listening(());

impl Listening {
    /// Keeps the first `snap_bytes` of each frame. One at a time can listen.
    ///
    /// # Errors
    /// [`NetError::InUse`], [`NetError::Down`].
    pub fn start(cx: &mut ThreadCx, snap_bytes: usize) -> Result<Self, NetError> {
        stack::with(cx, |stack, _| {
            let tap = &mut stack.port.sender.tap;
            if tap.is_some() {
                return Err(NetError::InUse);
            }
            *tap = Some(Tap::new(snap_bytes));
            Ok(Self(()))
        })
        .ok_or(NetError::Down)?
    }

    /// What has passed since the last call, at least one frame, and how many were missed in all.
    ///
    /// # Errors
    /// [`NetError::TimedOut`], [`NetError::Cancelled`].
    pub fn next(
        &mut self,
        cx: &mut ThreadCx,
        patience_ns: Option<u64>,
    ) -> Result<(VecDeque<Captured>, u64), NetError> {
        let came = stack::with(cx, |stack, _| stack.tap_came.clone()).ok_or(NetError::Down)?;
        let deadline = patience_ns.map(|patience| bsp::timer::now_ns() + patience);
        let taken = stack::wait(cx, &came, deadline, |stack, _| {
            let tap = stack.port.sender.tap.as_mut()?;
            tap.is_ready().then(|| tap.take())
        });
        Ok(taken?)
    }

    /// Gives it up.
    pub fn stop(self, cx: &mut ThreadCx) {
        stack::with(cx, |stack, _| stack.port.sender.tap = None);
    }
}
