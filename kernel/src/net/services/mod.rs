// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine offers to others: nothing, until `services=` or `net service` opens it.
pub mod iperf3;

#[cfg(target_os = "none")]
pub mod open;
#[cfg(target_os = "none")]
mod small;

use super::config::ConfigError;
use core::fmt::{self, Write};

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Sends back what it gets (RFC 862), port 7.
    Echo,
    /// Throws away what it gets (RFC 863), port 9.
    Discard,
    /// Sends characters (RFC 864), port 19.
    Chargen,
    /// Measures with an `iperf3` client, port 5201.
    Iperf3,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Echo, Self::Discard, Self::Chargen, Self::Iperf3];

    /// What the user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Iperf3 => "iperf3",
        }
    }

    /// Its port, of TCP and of UDP.
    pub fn port(self) -> u16 {
        match self {
            Self::Echo => 7,
            Self::Discard => 9,
            Self::Chargen => 19,
            Self::Iperf3 => 5201,
        }
    }

    /// The service of that name.
    ///
    /// # Errors
    /// [`ConfigError::Service`].
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        let mut all = Self::ALL.into_iter();
        all.find(|service| service.name() == name)
            .ok_or_else(|| ConfigError::Service(name.into()))
    }
}

/// A set of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services(u8);

impl Services {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self((1 << Service::ALL.len()) - 1);

    /// Reads names with commas between them.
    ///
    /// # Errors
    /// [`ConfigError::Service`].
    pub fn parse(names: &str) -> Result<Self, ConfigError> {
        names.split(',').try_fold(Self::NONE, |set, name| {
            Ok(Self(set.0 | 1 << Service::parse(name)? as u8))
        })
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Service> {
        Service::ALL
            .into_iter()
            .filter(move |service| self.0 & 1 << *service as u8 != 0)
    }

    /// Writes their names, with commas between them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_names(self, out: &mut dyn Write) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(n, service)| {
            out.write_str(if n > 0 { ", " } else { "" })?;
            out.write_str(service.name())
        })
    }
}
