// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user wants of the network: `ip=`, `dns=`, `ntp=` and `services=` of the command line, and of the console.
//!
//! | word | meaning |
//! |---|---|
//! | `ip=dhcp` | the address comes by DHCP; so it does without the word |
//! | `ip=off` | no address of IPv4 |
//! | `ip=ADDRESS/BITS[,gw=ADDRESS][,dns=ADDRESS]...` | a fixed one |
//! | `ip=ADDRESS:SERVER:GATEWAY:NETMASK:NAME:DEVICE:METHOD:DNS:DNS:NTP` | as Linux has it |
//! | `dns=ADDRESS[,ADDRESS]...` | name servers, before those of DHCP |
//! | `ntp=HOST` | the server that the clock is set by |
//! | `services=NAME[,NAME]...` | services that are open from the start |
//!
//! # Theory
//! Of Linux's long form the fields may be left out from the end on. SERVER, NAME and DEVICE mean nothing here: nothing is
//! mounted from a server, and there is one interface. METHOD is `dhcp`, `on`, `any`, or with an ADDRESS also `off`, `none`
//! or nothing. A netmask is required where Linux would take one from the address's class: there have been no classes
//! since 1993, and the guess is mostly wrong.
//!
//! References: Linux, Documentation/admin-guide/nfs/nfsroot.rst, "ip="; RFC 1519 (no classes), RFC 3021 (31 bits).
use super::services::Services;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

/// The most name servers that are kept.
pub const DNS_MAX: usize = 3;
/// Longest name of a host, in bytes (RFC 1035).
pub const NAME_BYTES_MAX: usize = 253;

/// Name servers.
pub type DnsServers = heapless::Vec<IpAddr, DNS_MAX>;

/// Where the interface has its address of IPv4 from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    /// It has none.
    Off,
    /// From a DHCP server.
    Dhcp,
    /// From the user.
    Static(Static),
}

/// A fixed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Static {
    /// The interface's.
    pub address: Ipv4Addr,
    /// How many bits of it are the network's: 1 to 31.
    pub prefix_bits: u8,
    /// Who takes what is for other networks.
    pub gateway: Option<Ipv4Addr>,
}

/// What the command line says of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address.
    pub ip: Ip,
    /// Name servers that the user named.
    pub dns: DnsServers,
    /// The host that the clock is set by.
    pub ntp: Option<String>,
    /// The services that are open from the start.
    pub services: Services,
}

/// What is wrong with the user's word: the caller is to blame in each case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// This is no address of IPv4.
    NoAddress(String),
    /// This is an address that no interface can have.
    NoHost(Ipv4Addr),
    /// This is the network's own address, or its broadcast address.
    Network(Ipv4Addr, u8),
    /// There is no number of bits and no netmask.
    NoMask,
    /// This is no number of bits.
    Bits(String),
    /// This is no netmask.
    Mask(String),
    /// The gateway is not in the network.
    Gateway(Ipv4Addr, Static),
    /// This method there is not.
    Method(String),
    /// This part of the word means nothing.
    Part(String),
    /// There are too many name servers.
    Servers,
    /// This is no host's name.
    Name(String),
    /// This service there is not.
    Service(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(word) => write!(f, "\"{word}\" is no IPv4 address"),
            Self::NoHost(address) => write!(f, "{address} cannot be a host's address"),
            Self::Network(address, bits) => {
                write!(
                    f,
                    "{address}/{bits} is the network or its broadcast address"
                )
            }
            Self::NoMask => f.write_str("the network's bits are missing: ADDRESS/BITS"),
            Self::Bits(word) => write!(f, "\"{word}\" is no number of bits (1 to 31)"),
            Self::Mask(word) => write!(f, "\"{word}\" is no netmask"),
            Self::Gateway(gateway, at) => {
                let Static {
                    address,
                    prefix_bits,
                    ..
                } = at;
                write!(
                    f,
                    "gateway {gateway} is not another host of {address}/{prefix_bits}"
                )
            }
            Self::Method(word) => write!(f, "\"{word}\": the address comes by dhcp, or is given"),
            Self::Part(word) => write!(f, "\"{word}\" means nothing here (gw=, dns=)"),
            Self::Servers => write!(f, "more than {DNS_MAX} name servers"),
            Self::Name(word) => write!(f, "\"{word}\" is no host's name"),
            Self::Service(word) => {
                write!(f, "\"{word}\" is no service (")?;
                Services::ALL.write_names(f)?;
                f.write_str(")")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

impl Default for Config {
    fn default() -> Self {
        Self {
            ip: Ip::Dhcp,
            dns: DnsServers::new(),
            ntp: None,
            services: Services::NONE,
        }
    }
}

impl Config {
    /// Reads a command line; `complain` gets each word that is wrong, and why. Others' words are passed over.
    pub fn parse<'a>(line: &'a str, mut complain: impl FnMut(&'a str, ConfigError)) -> Self {
        let mut config = Self::default();
        for word in line.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let result = match key {
                "ip" => config.set_ip(value),
                "dns" => config.set_dns(value),
                "ntp" => check_name(value).map(|()| config.ntp = Some(value.into())),
                "services" => Services::parse(value).map(|services| config.services = services),
                _ => Ok(()), // another module's, or the firmware's
            };
            if let Err(error) = result {
                complain(word, error);
            }
        }
        config
    }

    /// Takes what stands behind `ip=`.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub fn set_ip(&mut self, value: &str) -> Result<(), ConfigError> {
        let mut new = self.clone();
        // Addresses of IPv6 have colons too, but stand only behind a comma.
        if value
            .split(',')
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            new.set_linux(value)?;
        } else {
            new.set_short(value)?;
        }
        *self = new;
        Ok(())
    }

    fn set_short(&mut self, value: &str) -> Result<(), ConfigError> {
        let mut parts = value.split(',');
        let first = parts.next().unwrap_or_default();
        self.ip = match first {
            "off" | "none" => Ip::Off,
            "dhcp" | "on" | "any" => Ip::Dhcp,
            _ => {
                let (address, bits) = first.split_once('/').unwrap_or((first, ""));
                let address = host(address)?;
                if bits.is_empty() {
                    return Err(ConfigError::NoMask);
                }
                let bits = number_of_bits(bits)?;
                Ip::Static(Static::new(address, bits, None)?)
            }
        };
        for part in parts {
            match (part.split_once('='), &mut self.ip) {
                (Some(("gw", gateway)), Ip::Static(at)) => {
                    *at = Static::new(at.address, at.prefix_bits, Some(host(gateway)?))?;
                }
                (Some(("dns", server)), _) => self.add_dns(server)?,
                _ => return Err(ConfigError::Part(part.into())),
            }
        }
        Ok(())
    }

    fn set_linux(&mut self, value: &str) -> Result<(), ConfigError> {
        let mut fields = [""; 10];
        for (at, field) in value.split(':').enumerate() {
            *fields
                .get_mut(at)
                .ok_or_else(|| ConfigError::Part(field.into()))? = field;
        }
        let [address, _, gateway, mask, _, _, method, dns0, dns1, ntp] = fields;
        self.ip = match (address, method) {
            ("", "off" | "none") => Ip::Off,
            ("", "" | "dhcp" | "on" | "any") => Ip::Dhcp,
            (_, "" | "off" | "none") => {
                let address = host(address)?;
                let gateway = Some(gateway).filter(|gateway| !gateway.is_empty());
                let gateway = gateway.map(host).transpose()?;
                Ip::Static(Static::new(address, mask_bits(mask)?, gateway)?)
            }
            _ => return Err(ConfigError::Method(method.into())),
        };
        for server in [dns0, dns1] {
            if !server.is_empty() {
                self.add_dns(server)?;
            }
        }
        if !ntp.is_empty() {
            check_name(ntp)?;
            self.ntp = Some(ntp.into());
        }
        Ok(())
    }

    fn set_dns(&mut self, value: &str) -> Result<(), ConfigError> {
        let before = self.dns.clone();
        let added = value.split(',').try_for_each(|server| self.add_dns(server));
        if added.is_err() {
            self.dns = before;
        }
        added
    }

    fn add_dns(&mut self, server: &str) -> Result<(), ConfigError> {
        let server: IpAddr = server
            .parse()
            .map_err(|_| ConfigError::NoAddress(server.into()))?;
        if self.dns.contains(&server) {
            return Ok(());
        }
        self.dns.push(server).map_err(|_| ConfigError::Servers)
    }
}

impl Static {
    fn new(
        address: Ipv4Addr,
        prefix_bits: u8,
        gateway: Option<Ipv4Addr>,
    ) -> Result<Self, ConfigError> {
        let at = Self {
            address,
            prefix_bits,
            gateway,
        };
        if !at.is_host_here(address) {
            return Err(ConfigError::Network(address, prefix_bits));
        }
        match gateway {
            Some(gateway) if gateway == address || !at.is_host_here(gateway) => {
                Err(ConfigError::Gateway(gateway, at))
            }
            _ => Ok(at),
        }
    }

    /// Is it in this network, and a host's? A network of two has no address of its own, and no broadcast.
    fn is_host_here(&self, other: Ipv4Addr) -> bool {
        let host_mask = u32::MAX >> self.prefix_bits;
        let (here, other) = (self.address.to_bits(), other.to_bits());
        let number = other & host_mask;
        here & !host_mask == other & !host_mask
            && (host_mask == 1 || (number != 0 && number != host_mask))
    }
}

/// An address that an interface can have.
fn host(word: &str) -> Result<Ipv4Addr, ConfigError> {
    let address: Ipv4Addr = word
        .parse()
        .map_err(|_| ConfigError::NoAddress(word.into()))?;
    let [first, ..] = address.octets();
    // 0 is "this network", 127 this host, 224 and above groups and what is reserved (RFC 1112, RFC 6890).
    if first == 0 || first == 127 || first >= 224 {
        return Err(ConfigError::NoHost(address));
    }
    Ok(address)
}

fn number_of_bits(word: &str) -> Result<u8, ConfigError> {
    let plain = !word.starts_with('+');
    let bits = word
        .parse()
        .ok()
        .filter(|bits| plain && (1..=31).contains(bits));
    bits.ok_or_else(|| ConfigError::Bits(word.into()))
}

fn mask_bits(word: &str) -> Result<u8, ConfigError> {
    if word.is_empty() {
        return Err(ConfigError::NoMask);
    }
    let wrong = || ConfigError::Mask(word.into());
    let mask = word.parse::<Ipv4Addr>().map_err(|_| wrong())?.to_bits();
    let bits = mask.leading_ones();
    if bits + mask.trailing_zeros() != 32 || !(1..=31).contains(&bits) {
        return Err(wrong());
    }
    Ok(bits as u8)
}

/// Is it a host's name, or an address? Letters, digits, `-`, `.`, and `:` of IPv6.
///
/// # Errors
/// [`ConfigError::Name`].
pub fn check_name(word: &str) -> Result<(), ConfigError> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    if word.is_empty() || word.len() > NAME_BYTES_MAX || !word.chars().all(is_good) {
        return Err(ConfigError::Name(word.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
