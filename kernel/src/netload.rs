// SPDX-License-Identifier: MIT OR Apache-2.0
//! A load for the network: how much, which way, and the line that says what came out.
//!
//! `netbench` uses it in the kernel, and so does the program in the Linux that the kernel is compared with (`make
//! bench-net`): the same words, the same far end, the same line.
//!
//! The far end is a host with the services discard (port 9) and chargen (port 19; RFC 863, 864). Its UDP chargen gives
//! without an end: a datagram that says [`Plan::wish`] asks it for so many bytes each, for so many seconds.
use crate::console::words::{WordError, number_in};
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// The service that takes what it is given.
pub const DISCARD_PORT: u16 = 9;
/// The service that gives.
pub const CHARGEN_PORT: u16 = 19;
/// The most in a datagram that is not cut into fragments on Ethernet.
pub const DATAGRAM_BYTES_MAX: u64 = 1472;
/// More than a socket takes at a time.
pub const BLOCK_BYTES_MAX: u64 = 1 << 20;

/// By which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Which way, as the one who measures sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Away.
    Send,
    /// Hither.
    Receive,
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By which protocol.
    pub protocol: Protocol,
    /// Which way.
    pub way: Way,
    /// The far end.
    pub peer: SocketAddr,
    /// Bytes of a call, or of a datagram.
    pub block_bytes: usize,
    /// How long.
    pub seconds: u64,
}

/// The caller's words make no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Protocol, direction or address are missing.
    Incomplete,
    /// No address.
    Address(String),
    /// A word that means nothing.
    Unknown(String),
    /// A number.
    Number(WordError),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("tcp or udp, send or receive, and an address"),
            Self::Address(word) => write!(f, "\"{word}\" is no address"),
            Self::Unknown(word) => write!(f, "\"{word}\" is no part of a load"),
            Self::Number(error) => error.fmt(f),
        }
    }
}

impl From<WordError> for PlanError {
    fn from(error: WordError) -> Self {
        Self::Number(error)
    }
}

impl Plan {
    /// Reads `tcp|udp send|receive ADDRESS [port N] [bytes N] [seconds N]`: 64 KiB a call or 64 bytes a datagram, two
    /// seconds, and discard's or chargen's port unless told.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Self, PlanError> {
        let (protocol, mut block_bytes, most) = match words.next() {
            Some("tcp") => (Protocol::Tcp, 1 << 16, BLOCK_BYTES_MAX),
            Some("udp") => (Protocol::Udp, 64, DATAGRAM_BYTES_MAX),
            _ => return Err(PlanError::Incomplete),
        };
        let (way, mut port) = match words.next() {
            Some("send") => (Way::Send, DISCARD_PORT),
            Some("receive") => (Way::Receive, CHARGEN_PORT),
            _ => return Err(PlanError::Incomplete),
        };
        let word = words.next().ok_or(PlanError::Incomplete)?;
        let address: IpAddr = word
            .parse()
            .map_err(|_| PlanError::Address(word.to_string()))?;
        let mut seconds = 2;
        let value = |word: Option<&str>, most| -> Result<u64, PlanError> {
            Ok(number_in(word.ok_or(PlanError::Incomplete)?, 1..=most)?)
        };
        while let Some(word) = words.next() {
            match word {
                "port" => port = value(words.next(), u16::MAX.into())? as u16,
                "bytes" => block_bytes = value(words.next(), most)?,
                "seconds" => seconds = value(words.next(), 86_400)?,
                word => return Err(PlanError::Unknown(word.into())),
            }
        }
        Ok(Self {
            protocol,
            way,
            peer: SocketAddr::new(address, port),
            block_bytes: block_bytes as usize,
            seconds,
        })
    }

    /// What a datagram says that asks UDP's chargen for this load.
    pub fn wish(&self) -> String {
        alloc::format!("{} {}", self.block_bytes, self.seconds)
    }
}

/// The bytes of a datagram, and the seconds, of a [`Plan::wish`]; `None` if it is something else.
pub fn wished(datagram: &[u8]) -> Option<(usize, u64)> {
    let (bytes, seconds) = core::str::from_utf8(datagram).ok()?.split_once(' ')?;
    let bytes = number_in(bytes, 1..=DATAGRAM_BYTES_MAX).ok()?;
    let seconds = number_in(seconds, 1..=86_400).ok()?;
    Some((bytes as usize, seconds))
}

/// What came out of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls that moved something; datagrams, if it is UDP.
    pub calls: u64,
    /// Bytes that moved. Of a TCP that sends: that the far end has taken, which has closed since.
    pub bytes: u64,
    /// How long that took: until the far end has closed, if TCP sends; from the first datagram on, if UDP receives.
    pub ns: u64,
}

/// The line that programs read: `netbench: op=udp-send block=64 calls=1 bytes=64 ns=2`.
pub struct Line(pub Plan, pub Figures);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, figures) = self;
        let protocol = match plan.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let way = match plan.way {
            Way::Send => "send",
            Way::Receive => "receive",
        };
        let Figures { calls, bytes, ns } = figures;
        write!(
            f,
            "netbench: op={protocol}-{way} block={} calls={calls} bytes={bytes} ns={ns}",
            plan.block_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Plan, PlanError> {
        Plan::parse(words.split_whitespace())
    }

    #[test]
    fn words_make_a_plan_and_a_line() {
        let plan = parse("udp receive 10.0.2.77 bytes 1472 seconds 3").unwrap();
        assert_eq!(plan.peer, "10.0.2.77:19".parse().unwrap());
        assert_eq!(wished(plan.wish().as_bytes()), Some((1472, 3)));
        let figures = Figures {
            calls: 2,
            bytes: 2944,
            ns: 7,
        };
        let line = "netbench: op=udp-receive block=1472 calls=2 bytes=2944 ns=7";
        assert_eq!(Line(plan, figures).to_string(), line);
        let plan = parse("tcp send fec0::2 port 5001").unwrap();
        assert_eq!(plan.peer, "[fec0::2]:5001".parse().unwrap());
        assert_eq!((plan.block_bytes, plan.seconds), (65_536, 2));
        assert_eq!(parse("tcp send 10.0.2.77").unwrap().peer.port(), 9);
    }

    #[test]
    fn words_that_make_none_are_refused() {
        for words in [
            "",
            "tcp",
            "udp take 10.0.2.77",
            "tcp send",
            "tcp send 1.2.3.4 port",
        ] {
            assert_eq!(parse(words), Err(PlanError::Incomplete), "{words}");
        }
        let error = PlanError::Address("here".into());
        assert_eq!(parse("tcp send here"), Err(error));
        let error = PlanError::Unknown("fast".into());
        assert_eq!(parse("tcp send 10.0.2.77 fast"), Err(error));
        for words in ["bytes 1473", "bytes 0", "port 65536", "seconds x"] {
            let words = alloc::format!("udp send 10.0.2.77 {words}");
            assert!(
                matches!(parse(&words), Err(PlanError::Number(_))),
                "{words}"
            );
        }
        for wish in [&b""[..], b"64", b"64 0", b"2000 1", b"\xff 1"] {
            assert_eq!(wished(wish), None, "{wish:?}");
        }
    }
}
