// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which frames `tcpdump` shows: a few words that must all hold.
//!
//! `[not] host ADDRESS`, `[not] port NUMBER`, `[not] arp|ip|ip6|icmp|tcp|udp`, `and` between them or not.
//!
//! # Rejected
//! The language of pcap-filter(7): with `or` and parentheses it needs a parser and a tree, for a tool that writes files
//! which another program filters better.
use super::summary::{Flow, Kind, protocol};
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

/// The most words that must hold.
const TERMS_MAX: usize = 8;

/// What is wrong with the user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// This word there is not.
    Unknown(String),
    /// Something must follow this word.
    Missing(&'static str),
    /// This is no address.
    Address(String),
    /// This is no port.
    Port(String),
    /// There are too many.
    TooMany,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(
                f,
                "\"{word}\" is no filter (host, port, arp, ip, ip6, icmp, tcp, udp, not)"
            ),
            Self::Missing(word) => write!(f, "something must follow \"{word}\""),
            Self::Address(word) => write!(f, "\"{word}\" is no IP address"),
            Self::Port(word) => write!(f, "\"{word}\" is no port (0 to 65535)"),
            Self::TooMany => write!(f, "more than {TERMS_MAX} conditions"),
        }
    }
}

impl core::error::Error for FilterError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Host(IpAddr),
    Port(u16),
    Arp,
    Ipv4,
    Ipv6,
    Protocols(u8, u8),
}

/// What must hold of a frame, and what must not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    terms: heapless::Vec<(Is, bool), TERMS_MAX>,
}

impl Filter {
    /// Reads the words.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, FilterError> {
        let (mut filter, mut words) = (Self::default(), words.into_iter());
        while let Some(mut word) = words.next() {
            if word == "and" && !filter.terms.is_empty() {
                word = words.next().ok_or(FilterError::Missing("and"))?;
            }
            let holds = word != "not";
            if !holds {
                word = words.next().ok_or(FilterError::Missing("not"))?;
            }
            let is = match word {
                "host" => {
                    let word = words.next().ok_or(FilterError::Missing("host"))?;
                    Is::Host(
                        word.parse()
                            .map_err(|_| FilterError::Address(word.into()))?,
                    )
                }
                "port" => {
                    let word = words.next().ok_or(FilterError::Missing("port"))?;
                    Is::Port(word.parse().map_err(|_| FilterError::Port(word.into()))?)
                }
                "arp" => Is::Arp,
                "ip" => Is::Ipv4,
                "ip6" => Is::Ipv6,
                "icmp" => Is::Protocols(protocol::ICMP, protocol::ICMPV6),
                "tcp" => Is::Protocols(protocol::TCP, protocol::TCP),
                "udp" => Is::Protocols(protocol::UDP, protocol::UDP),
                other => return Err(FilterError::Unknown(other.into())),
            };
            let added = filter.terms.push((is, holds));
            added.map_err(|_| FilterError::TooMany)?;
        }
        Ok(filter)
    }

    /// Does it let a frame of this flow through?
    pub fn admits(&self, flow: &Flow) -> bool {
        self.terms
            .iter()
            .all(|(is, holds)| is.true_of(flow) == *holds)
    }
}

impl Is {
    fn true_of(self, flow: &Flow) -> bool {
        match self {
            Self::Host(host) => flow.hosts.is_some_and(|(a, b)| a == host || b == host),
            Self::Port(port) => flow.ports.is_some_and(|(a, b)| a == port || b == port),
            Self::Arp => flow.kind == Kind::Arp,
            Self::Ipv4 => matches!(flow.kind, Kind::Ipv4(_)),
            Self::Ipv6 => matches!(flow.kind, Kind::Ipv6(_)),
            Self::Protocols(one, other) => match flow.kind {
                Kind::Ipv4(found) | Kind::Ipv6(found) => found == one || found == other,
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn filter(words: &str) -> Result<Filter, FilterError> {
        Filter::parse(words.split_whitespace())
    }

    #[test]
    fn all_words_must_hold() {
        let flow = |kind, ports| Flow {
            kind,
            hosts: Some(("10.0.2.15".parse().unwrap(), "10.0.2.2".parse().unwrap())),
            ports,
        };
        let flows = [
            flow(Kind::Ipv4(6), Some((49152, 80))),
            flow(Kind::Ipv4(17), Some((4000, 53))),
            flow(Kind::Ipv4(1), None),
            flow(Kind::Arp, None),
            Flow {
                kind: Kind::Ipv6(58),
                hosts: Some(("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap())),
                ports: None,
            },
        ];
        for (words, admitted) in [
            ("", [0, 1, 2, 3, 4].as_slice()),
            ("tcp", &[0]),
            ("udp and port 53", &[1]),
            ("port 80", &[0]),
            ("icmp", &[2, 4]),
            ("ip6", &[4]),
            ("arp", &[3]),
            ("ip not tcp", &[1, 2]),
            ("host 10.0.2.2 and not port 80", &[1, 2, 3]),
            ("host 10.0.2.3", &[]),
            ("host fe80::1", &[4]),
            ("tcp udp", &[]),
        ] {
            let filter = filter(words).unwrap();
            let found: Vec<_> = (0..flows.len())
                .filter(|n| filter.admits(&flows[*n]))
                .collect();
            assert_eq!(found, admitted, "{words}");
        }
    }

    #[test]
    fn wrong_words_are_named() {
        let list = "\"or\" is no filter (host, port, arp, ip, ip6, icmp, tcp, udp, not)";
        for (words, reason) in [
            ("tcp or udp", list),
            ("host", "something must follow \"host\""),
            ("tcp and", "something must follow \"and\""),
            ("not", "something must follow \"not\""),
            ("host ten", "\"ten\" is no IP address"),
            ("port 65536", "\"65536\" is no port (0 to 65535)"),
            ("ip ip ip ip ip ip ip ip ip", "more than 8 conditions"),
        ] {
            assert_eq!(filter(words).unwrap_err().to_string(), reason, "{words}");
        }
    }
}
