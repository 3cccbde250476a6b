// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words that are right, and words that are wrong.
use super::*;
use std::format;
use std::string::ToString;
use std::vec::Vec;

fn config(line: &str) -> Config {
    Config::parse(line, |word, error| panic!("{word}: {error}"))
}

fn fixed(address: [u8; 4], prefix_bits: u8, gateway: Option<[u8; 4]>) -> Ip {
    Ip::Static(Static {
        address: address.into(),
        prefix_bits,
        gateway: gateway.map(Ipv4Addr::from),
    })
}

#[test]
fn every_form_of_an_address() {
    let (here, gateway) = ([10, 0, 2, 15], Some([10, 0, 2, 2]));
    for (value, ip) in [
        ("dhcp", Ip::Dhcp),
        ("on", Ip::Dhcp),
        ("off", Ip::Off),
        ("none", Ip::Off),
        ("10.0.2.15/24", fixed(here, 24, None)),
        ("10.0.2.15/24,gw=10.0.2.2", fixed(here, 24, gateway)),
        (
            "10.0.2.0/31,gw=10.0.2.1",
            fixed([10, 0, 2, 0], 31, Some([10, 0, 2, 1])),
        ),
        ("10.0.2.15:::255.255.255.0", fixed(here, 24, None)),
        (
            "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off",
            fixed(here, 24, gateway),
        ),
        (":::::eth0:dhcp", Ip::Dhcp),
        ("::::::none", Ip::Off),
    ] {
        assert_eq!(config(&format!("ip={value}")).ip, ip, "{value}");
    }
}

#[test]
fn servers_are_kept_in_order_and_once() {
    let line = "ip=10.0.2.15/24,dns=10.0.2.3,dns=fec0::3 dns=10.0.2.3,1.1.1.1 ntp=time.example";
    let config = config(line);
    let dns: Vec<_> = config.dns.iter().map(ToString::to_string).collect();
    assert_eq!(dns, ["10.0.2.3", "fec0::3", "1.1.1.1"]);
    assert_eq!(config.ntp.as_deref(), Some("time.example"));
    let long = "ip=10.0.2.15::10.0.2.2:255.255.0.0:pi:eth0:off:10.0.2.3:10.0.2.4:10.0.2.5";
    let config = self::config(long);
    assert_eq!(config.ip, fixed([10, 0, 2, 15], 16, Some([10, 0, 2, 2])));
    assert_eq!(
        (config.dns.len(), config.ntp.as_deref()),
        (2, Some("10.0.2.5"))
    );
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    for (word, reason) in [
        ("ip=", "\"\" is no IPv4 address"),
        ("ip=bootp", "\"bootp\" is no IPv4 address"),
        ("ip=10.0.2", "\"10.0.2\" is no IPv4 address"),
        (
            "ip=10.0.2.15",
            "the network's bits are missing: ADDRESS/BITS",
        ),
        (
            "ip=10.0.2.15/",
            "the network's bits are missing: ADDRESS/BITS",
        ),
        ("ip=10.0.2.15/0", "\"0\" is no number of bits (1 to 31)"),
        ("ip=10.0.2.15/32", "\"32\" is no number of bits (1 to 31)"),
        ("ip=10.0.2.15/+8", "\"+8\" is no number of bits (1 to 31)"),
        ("ip=127.0.0.1/8", "127.0.0.1 cannot be a host's address"),
        ("ip=0.0.0.0/8", "0.0.0.0 cannot be a host's address"),
        ("ip=224.0.0.1/8", "224.0.0.1 cannot be a host's address"),
        (
            "ip=10.0.2.0/24",
            "10.0.2.0/24 is the network or its broadcast address",
        ),
        (
            "ip=10.0.2.255/24",
            "10.0.2.255/24 is the network or its broadcast address",
        ),
        (
            "ip=10.0.2.15/24,gw=10.0.3.1",
            "gateway 10.0.3.1 is not another host of 10.0.2.15/24",
        ),
        (
            "ip=10.0.2.15/24,gw=10.0.2.15",
            "gateway 10.0.2.15 is not another host of 10.0.2.15/24",
        ),
        (
            "ip=10.0.2.15/24,mtu=9000",
            "\"mtu=9000\" means nothing here (gw=, dns=)",
        ),
        (
            "ip=dhcp,gw=10.0.2.2",
            "\"gw=10.0.2.2\" means nothing here (gw=, dns=)",
        ),
        (
            "ip=10.0.2.15::",
            "the network's bits are missing: ADDRESS/BITS",
        ),
        (
            "ip=10.0.2.15:::255.0.255.0",
            "\"255.0.255.0\" is no netmask",
        ),
        ("ip=10.0.2.15:::0.0.0.0", "\"0.0.0.0\" is no netmask"),
        (
            "ip=::::::bootp",
            "\"bootp\": the address comes by dhcp, or is given",
        ),
        (
            "ip=10.0.2.15:::255.0.0.0:::dhcp",
            "\"dhcp\": the address comes by dhcp, or is given",
        ),
        ("ip=::::::::::x", "\"x\" means nothing here (gw=, dns=)"),
        ("dns=1.1.1.1,none", "\"none\" is no IPv4 address"),
        (
            "dns=1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4",
            "more than 3 name servers",
        ),
        ("ntp=", "\"\" is no host's name"),
        ("ntp=a/b", "\"a/b\" is no host's name"),
        (
            "services=echo,finger",
            "\"finger\" is no service (echo, discard, chargen, iperf3)",
        ),
    ] {
        let mut complaints = Vec::new();
        let config = Config::parse(word, |word, error| {
            complaints.push((word, error.to_string()))
        });
        assert_eq!(complaints, [(word, reason.to_string())]);
        assert_eq!(config, Config::default(), "{word}");
    }
}
