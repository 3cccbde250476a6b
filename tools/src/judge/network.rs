// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Linux's `bcmgenet` must be able to do on the model.

use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::guest::Guest;
use super::linux::MAC;
use super::peer::{PAYLOAD_MAX, Peer};
use super::server::{Moved, Server};

const MINUTE: Duration = Duration::from_secs(60);
/// The user network's gateway, which answers echo requests itself.
const GATEWAY: &str = "10.0.2.2";
/// Linux's names of counters beside the model's.
const COUNTERS: [(&str, &str); 16] = [
    ("rx_pkts", "RxPackets"),
    ("rx_bytes", "RxBytes"),
    ("rx_good_pkts", "RxGood"),
    ("rx_unicast", "RxUnicast"),
    ("rx_multicast", "RxMulticast"),
    ("rx_broadcast", "RxBroadcast"),
    ("rx_64_octets", "Rx64"),
    ("rx_1024_1518_oct", "Rx1518"),
    ("tx_pkts", "TxPackets"),
    ("tx_bytes", "TxBytes"),
    ("tx_good_pkts", "TxGood"),
    ("tx_unicast", "TxUnicast"),
    ("tx_multicast", "TxMulticast"),
    ("tx_broadcast", "TxBroadcast"),
    ("tx_64_octets", "Tx64"),
    ("tx_1024_1518_oct", "Tx1518"),
];

/// The driver found the device, and the interface exists.
pub fn probe(guest: &mut Guest) -> Result<String> {
    let log = guest.ask("dmesg | grep bcmgenet")?;
    ensure!(log.contains("GENET 5.0 EPHY: 0x0000"), "{log}");
    let driver = guest.ask("basename $(readlink /sys/class/net/eth0/device/driver)")?;
    ensure!(driver.trim() == "bcmgenet", "eth0 is driven by {driver}");
    Ok("GENET 5.0".into())
}

/// The PHY is known by name, and the link comes up as the board's does.
pub fn link(guest: &mut Guest) -> Result<String> {
    guest.ask("ifconfig eth0 up")?;
    let until = Instant::now() + MINUTE;
    let up = loop {
        let log = guest.ask("dmesg | grep -i 'link is up' || true")?;
        if let Some(line) = log.lines().last().filter(|l| l.contains("eth0")) {
            break line.to_owned();
        }
        ensure!(Instant::now() < until, "no link");
        std::thread::sleep(Duration::from_millis(300));
    };
    ensure!(up.contains("1Gbps/Full"), "{up}");
    let phy = guest.ask(
        "basename \"$(readlink /sys/bus/mdio_bus/devices/unimac-mdio*:01/driver)\"; \
         cat /sys/bus/mdio_bus/devices/unimac-mdio*:01/phy_id",
    )?;
    ensure!(
        phy.contains("BCM54213PE") || phy.contains("BCM54210E"),
        "{phy}"
    );
    ensure!(phy.contains("0x600d84a2"), "{phy}");
    let up = up.rsplit("eth0: ").next().unwrap_or_default();
    Ok(format!(
        "{}, {}",
        phy.lines().next().unwrap_or_default(),
        up
    ))
}

/// A lease from the user network's own server.
pub fn dhcp(guest: &mut Guest) -> Result<String> {
    guest.ask(
        "printf '#!/bin/sh\\n[ \"$1\" = bound ] && ifconfig eth0 $ip netmask $subnet && \
         route add default gw $router\\ntrue\\n' >/tmp/dhcp; chmod +x /tmp/dhcp",
    )?;
    let said = guest.run("udhcpc -i eth0 -n -q -t 10 -s /tmp/dhcp 2>&1", MINUTE)?;
    let lease = said.lines().find(|line| line.contains("lease of"));
    let lease = lease.with_context(|| format!("no lease: {said}"))?;
    ensure!(lease.contains("10.0.2.15"), "{lease}");
    Ok(lease.trim().to_owned())
}

/// So many echo requests, none lost.
pub fn pings(guest: &mut Guest, count: u32) -> Result<String> {
    let line = format!("ping -q -A -c {count} -W 5 {GATEWAY}");
    let said = guest.run(&line, 3 * MINUTE)?;
    let wanted = format!("{count} packets transmitted, {count} packets received, 0% packet loss");
    ensure!(said.contains(&wanted), "{said}");
    Ok(wanted)
}

/// The server's file comes whole.
pub fn download(guest: &mut Guest, server: &Server) -> Result<String> {
    let moved = fetch_file(guest, server)?;
    Ok(format!(
        "{} bytes, {:.0} Mbit/s",
        moved.bytes,
        moved.mbit_s()
    ))
}

/// Fetches the server's file, which stays in the guest for [`send_file`].
pub fn fetch_file(guest: &mut Guest, server: &Server) -> Result<Moved> {
    let line = format!(
        "wget -q -O /tmp/data http://{GATEWAY}:{}/data && sha256sum /tmp/data",
        server.port
    );
    let said = guest.run(&line, 5 * MINUTE)?;
    ensure!(said.starts_with(&server.sha256), "{said}");
    server.moved()
}

/// The same file goes back whole.
pub fn upload(guest: &mut Guest, server: &Server) -> Result<String> {
    let moved = send_file(guest, server, "")?;
    let taken = server.taken_sha256()?;
    ensure!(
        taken == server.sha256,
        "{} bytes came, sum {taken}",
        moved.bytes
    );
    Ok(format!(
        "{} bytes, {:.0} Mbit/s",
        moved.bytes,
        moved.mbit_s()
    ))
}

/// Sends the file to the server, by a command that `prefix` stands before.
pub fn send_file(guest: &mut Guest, server: &Server, prefix: &str) -> Result<Moved> {
    // busybox's wget posts texts only. nc itself would move the file through a pipe, 1 KiB at a
    // time; what it runs on the connection sends the file straight from the page cache.
    guest.ask(
        "printf '%s\\n' '#!/bin/sh' 'printf \"POST / HTTP/1.0\\r\\nContent-Length: '$(wc -c </tmp/data)'\\r\\n\\r\\n\"' \
         'cat /tmp/data' >/tmp/post; chmod +x /tmp/post",
    )?;
    let line = format!("{prefix} nc {GATEWAY} {} -e /tmp/post", server.port);
    guest.run(&line, 5 * MINUTE)?;
    server.moved()
}

/// A connection to the host's port is one to the guest's.
pub fn forwarding(guest: &mut Guest, port: u16) -> Result<String> {
    const GREETING: &str = "hello from the guest";
    guest.ask(&format!("echo {GREETING} | nc -l -p 8080 >/dev/null &"))?;
    let until = Instant::now() + MINUTE;
    loop {
        let mut said = String::new();
        // QEMU listens from the start; until the guest does, the connection is closed at once.
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            stream.set_read_timeout(Some(MINUTE))?;
            stream.shutdown(Shutdown::Write)?;
            if stream.read_to_string(&mut said).is_ok() && said.trim() == GREETING {
                return Ok(said.trim().to_owned());
            }
        }
        ensure!(Instant::now() < until, "the guest said {said:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Linux reads from the registers what the model counted. Frames may pass between the two
/// looks, so a difference is looked at again; one that stays is wrong.
pub fn counters(guest: &mut Guest) -> Result<String> {
    let mut wrong = Vec::new();
    for _ in 0..5 {
        let linux = guest.ask("ethtool -S eth0")?;
        let model = guest.property("genet", "counters")?;
        wrong.clear();
        for (of_linux, of_model) in COUNTERS {
            let one = value(&linux, of_linux);
            let other = model
                .split(' ')
                .find_map(|word| word.strip_prefix(of_model)?.strip_prefix('='));
            // The model lists only what is not zero.
            let other = other.unwrap_or("0");
            if one != Some(other) {
                wrong.push(format!("{of_linux} {one:?} {of_model} {other}"));
            }
        }
        if wrong.is_empty() {
            let packets = |name| value(&linux, name).unwrap_or_default();
            return Ok(format!(
                "{} agree; {} frames in, {} out",
                COUNTERS.len(),
                packets("rx_pkts"),
                packets("tx_pkts")
            ));
        }
    }
    anyhow::bail!("{}", wrong.join(", "))
}

/// What follows this name. The last one counts: Linux lists its own count of bytes first, and the
/// MAC's under the same name.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.rfind(&format!(" {name}: "))?;
    text[at..].split_whitespace().nth(1)
}

/// The interface goes off and on, and passes frames after each time.
pub fn flap(guest: &mut Guest, times: u32) -> Result<String> {
    let wait = "n=0; until [ \"$(cat /sys/class/net/eth0/carrier 2>/dev/null)\" = 1 ] || \
                [ $n = 200 ]; do usleep 50000; n=$((n+1)); done";
    let line = format!(
        "i=0; lost=0; while [ $i -lt {times} ]; do ip link set eth0 down; ip link set eth0 up; \
         {wait}; ping -q -c 1 -W 2 {GATEWAY} >/dev/null || lost=$((lost+1)); i=$((i+1)); done; \
         echo \"$i times, $lost without an answer\"; [ $lost = 0 ]"
    );
    let said = guest.run(&line, 10 * MINUTE)?;
    Ok(said.trim().to_owned())
}

/// Echoes of every kind of length, held byte by byte against what was sent.
pub fn frames(guest: &mut Guest, peer: &Peer, count: u16) -> Result<String> {
    guest.ask("ifconfig eth0 10.0.2.15 netmask 255.255.255.0")?;
    let payload = super::server::noise(PAYLOAD_MAX);
    let mut sequence = 0;
    let mut echo = |bytes: usize| {
        sequence += 1;
        peer.echo(MAC, sequence, &payload[..bytes])
    };
    for bytes in (0..=64).chain(PAYLOAD_MAX - 64..=PAYLOAD_MAX) {
        echo(bytes)?;
    }
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..count {
        echo(random.usize(0..=PAYLOAD_MAX))?;
    }
    // Frames shorter than Ethernet's least must do no harm; nobody answers them.
    for bytes in 14..60 {
        let mut tiny = MAC.to_vec();
        tiny.extend([2, 0, 0, 0, 0, 0x77, 0x88, 0xb5]);
        tiny.resize(bytes, 0);
        peer.send(&tiny)?;
    }
    echo(PAYLOAD_MAX)?;
    Ok(format!("{sequence} echoes came back unchanged"))
}

/// What the drivers complained of in the kernel's log.
pub fn complaints(guest: &mut Guest) -> Result<Vec<String>> {
    // `-r` shows the level: up to 4 is a warning or worse.
    let log = guest.ask("dmesg -r | grep -E '^<[0-4]>' || true")?;
    let ours = [
        "genet", "eth0", "mdio", "mmc", "sdhci", "NETDEV", "phy", "WARNING", "BUG", "hung",
    ];
    let mine = |line: &&str| ours.iter().any(|word| line.contains(word));
    Ok(log.lines().filter(mine).map(str::to_owned).collect())
}

/// Nothing in the log, and nothing that the model does not know.
pub fn silence(guest: &mut Guest) -> Result<String> {
    let complaints = complaints(guest)?;
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    let strays = guest.property("genet", "strays")?;
    // Frames that come while the interface is down are lost on a board, too.
    let strays: Vec<_> = strays
        .split("; ")
        .filter(|s| !s.is_empty() && !s.starts_with("RX frame lost: receiver off"))
        .collect();
    ensure!(strays.is_empty(), "{}", strays.join("; "));
    Ok("no warning, no unknown register".into())
}
