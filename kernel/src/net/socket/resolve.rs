// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names to addresses.
use super::{IpAddress, NetError, deadline};
use crate::net::stack::{self, Ended};
use crate::thread::ThreadCx;
use alloc::vec::Vec;
use smoltcp::socket::dns::{GetQueryResultError, QueryHandle, Socket, StartQueryError};
use smoltcp::wire::DnsQueryType;

/// The addresses of a name, those of IPv4 first; of an address in digits, itself.
///
/// # Errors
/// [`NetError::NoSuchName`], [`NetError::NoServer`], [`NetError::TimedOut`], [`NetError::Cancelled`].
pub fn resolve(
    cx: &mut ThreadCx,
    name: &str,
    patience_ns: u64,
) -> Result<Vec<IpAddress>, NetError> {
    if let Ok(address) = name.parse::<core::net::IpAddr>() {
        return Ok(alloc::vec![address.into()]);
    }
    let until_ns = deadline(Some(patience_ns));
    let (mut found, mut last) = (Vec::new(), NetError::NoSuchName);
    for kind in [DnsQueryType::A, DnsQueryType::Aaaa] {
        match ask(cx, name, kind, until_ns) {
            Ok(addresses) => found.extend(addresses),
            Err(error @ (NetError::Cancelled | NetError::Down | NetError::NoServer)) => {
                return Err(error);
            }
            Err(error) => last = error,
        }
    }
    if found.is_empty() {
        Err(last)
    } else {
        Ok(found)
    }
}

fn ask(
    cx: &mut ThreadCx,
    name: &str,
    kind: DnsQueryType,
    until_ns: Option<u64>,
) -> Result<Vec<IpAddress>, NetError> {
    let begun = stack::with(cx, |stack, cx| {
        if stack.addresses.servers().next().is_none() {
            return Err(NetError::NoServer);
        }
        let socket = stack.sockets.get_mut::<Socket>(stack.addresses.dns);
        let query = socket.start_query(stack.iface.context(), name, kind);
        let query = query.map_err(|error| match error {
            StartQueryError::NoFreeSlot => NetError::NoMemory,
            StartQueryError::InvalidName | StartQueryError::NameTooLong => NetError::NoSuchName,
        })?;
        stack.send_now(cx);
        Ok((query, stack.answered.clone()))
    });
    let (query, answered) = begun.ok_or(NetError::Down)??;
    let result = stack::wait(cx, &answered, until_ns, |stack, _| {
        let socket = stack.sockets.get_mut::<Socket>(stack.addresses.dns);
        match socket.get_query_result(query) {
            Ok(addresses) => Some(Ok(addresses.iter().copied().collect())),
            Err(GetQueryResultError::Pending) => {
                stack.asking = true;
                None
            }
            Err(GetQueryResultError::Failed) => Some(Err(NetError::NoSuchName)),
        }
    });
    match result {
        Ok(result) => result,
        Err(ended) => {
            give_up(cx, query);
            Err(match ended {
                Ended::TimedOut => NetError::TimedOut,
                other => other.into(),
            })
        }
    }
}

fn give_up(cx: &mut ThreadCx, query: QueryHandle) {
    stack::with(cx, |stack, _| {
        let socket = stack.sockets.get_mut::<Socket>(stack.addresses.dns);
        socket.cancel_query(query);
    });
}
