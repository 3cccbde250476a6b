// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interface's addresses: by DHCP, fixed, or of IPv6 from the link and its routers.
//!
//! # Theory
//! IPv6 always has the link-local address that the station's number makes, and what routers advertise (SLAAC, `smoltcp`'s). IPv4
//! has what the user wants: a lease, one address, or nothing. Name servers are those that the user named, then
//! those of the lease.
//!
//! # Contexts
//! Inside the stack's lock.
//!
//! References: RFC 2131, 2132, 4291, 4862.
use super::config::{DnsServers, Ip, Static};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use log::{info, warn};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::{dhcpv4, dns};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};

/// A link that is gone for less comes back to the same network, and connections with it.
const SAME_NETWORK_NS: u64 = 5_000_000_000;

/// A DHCP lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// When it was last given, in microseconds since the start.
    pub since_us: i64,
}

/// Where the addresses come from.
pub struct Addresses {
    wish: Ip,
    dhcp: Option<SocketHandle>,
    /// The resolver's socket.
    pub dns: SocketHandle,
    named: DnsServers,
    leased: DnsServers,
    /// The lease, if there is one.
    pub lease: Option<Lease>,
    changed: bool,
    slaac_seen: Instant,
}

/// The link-local address of a station (RFC 4291, appendix A).
pub fn link_local(mac: EthernetAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let half = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        half(a ^ 2, b),
        half(c, 0xff),
        half(0xfe, d),
        half(e, f),
    )
}

impl Addresses {
    /// None yet.
    pub fn new(sockets: &mut SocketSet<'static>) -> Self {
        Self {
            wish: Ip::Off,
            dhcp: None,
            dns: sockets.add(dns::Socket::new(&[], alloc::vec::Vec::new())),
            named: DnsServers::new(),
            leased: DnsServers::new(),
            lease: None,
            changed: true,
            slaac_seen: Instant::ZERO,
        }
    }

    /// What the user wants.
    pub fn wish(&self) -> Ip {
        self.wish
    }

    /// The name servers, in the order in which they are asked.
    pub fn servers(&self) -> impl Iterator<Item = IpAddr> {
        self.named.iter().chain(&self.leased).copied()
    }

    /// Does as the user wants, from now on.
    pub fn configure(
        &mut self,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        wish: Ip,
        named: DnsServers,
    ) {
        if let Some(handle) = self.dhcp.take() {
            sockets.remove(handle);
        }
        (self.wish, self.named) = (wish, named);
        self.lose_lease(iface);
        match wish {
            Ip::Off => {}
            Ip::Dhcp => self.dhcp = Some(sockets.add(dhcpv4::Socket::new())),
            Ip::Static(Static {
                address,
                prefix_bits,
                gateway,
            }) => set_ipv4(iface, Some(Ipv4Cidr::new(address, prefix_bits)), gateway),
        }
        let smoltcp::wire::HardwareAddress::Ethernet(mac) = iface.hardware_addr();
        let local = IpCidr::from(Ipv6Cidr::new(link_local(mac), 64));
        iface.update_ip_addrs(|addresses| {
            if !addresses.contains(&local) {
                let _none_but_it_yet = addresses.push(local);
            }
        });
        self.tell_resolver(sockets);
    }

    /// The link came, after it had been gone for so long: the network may be another one, unless a cable was only moved.
    pub fn link_came(&mut self, sockets: &mut SocketSet<'static>, gone_ns: u64) {
        if self.lease.is_some() && gone_ns < SAME_NETWORK_NS {
            return;
        }
        if let Some(handle) = self.dhcp {
            info!(target: "net", "asking for an address");
            self.lease = None;
            sockets.get_mut::<dhcpv4::Socket>(handle).reset();
        }
    }

    /// Takes what the DHCP server said. True if the interface's addresses have changed since the last look.
    pub fn look(
        &mut self,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        now: Instant,
    ) -> bool {
        let event = self
            .dhcp
            .and_then(|handle| sockets.get_mut::<dhcpv4::Socket>(handle).poll());
        match event {
            None => {}
            Some(dhcpv4::Event::Deconfigured) => {
                if self.lease.is_some() {
                    warn!(target: "net", "the lease is lost");
                }
                self.lose_lease(iface);
                self.tell_resolver(sockets);
            }
            Some(dhcpv4::Event::Configured(given)) => {
                let (address, router) = (given.address, given.router);
                let server = given.server.identifier;
                self.leased = (given.dns_servers.iter())
                    .map(|server| IpAddr::V4(*server))
                    .take(super::config::DNS_MAX)
                    .collect();
                let is_new = iface.ipv4_addr() != Some(address.address());
                set_ipv4(iface, Some(address), router);
                self.lease = Some(Lease {
                    server,
                    since_us: now.total_micros(),
                });
                if is_new {
                    match router {
                        Some(router) => {
                            info!(target: "net", "{address} from {server}, gateway {router}")
                        }
                        None => info!(target: "net", "{address} from {server}, no gateway"),
                    }
                }
                self.changed = true;
                self.tell_resolver(sockets);
            }
        }
        let slaac = iface.slaac_updated_at();
        if slaac != self.slaac_seen {
            self.slaac_seen = slaac;
            self.changed = true;
        }
        core::mem::take(&mut self.changed)
    }

    fn lose_lease(&mut self, iface: &mut Interface) {
        self.lease = None;
        self.leased.clear();
        self.changed = true;
        set_ipv4(iface, None, None);
    }

    fn tell_resolver(&mut self, sockets: &mut SocketSet<'static>) {
        let servers: heapless::Vec<IpAddress, 8> = self.servers().map(IpAddress::from).collect();
        sockets
            .get_mut::<dns::Socket>(self.dns)
            .update_servers(&servers);
    }
}

/// Makes this the one address of IPv4, and the one default route.
fn set_ipv4(iface: &mut Interface, cidr: Option<Ipv4Cidr>, gateway: Option<Ipv4Addr>) {
    iface.update_ip_addrs(|addresses| {
        addresses.retain(|old| matches!(old, IpCidr::Ipv6(_)));
        if let Some(cidr) = cidr {
            let _room_for_eight = addresses.insert(0, IpCidr::Ipv4(cidr));
        }
    });
    iface.routes_mut().remove_default_ipv4_route();
    if let Some(gateway) = gateway {
        let _room_for_eight = iface.routes_mut().add_default_ipv4_route(gateway);
    }
}
