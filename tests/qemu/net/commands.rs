// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network's commands, as a user types them.

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use qemu_tests::{Machine, case, claim, image};
use station::IP as HOST_IP;
use tempfile::TempDir;

use super::Net;
use super::user::{GATEWAY, NOBODY, PATIENCE, User, told};
use crate::card::sha256;

/// A terminal's width.
const COLUMNS: usize = 80;
/// The port of echo.
const ECHO: u16 = 7;

#[test]
fn dhcp_gives_an_address_and_the_gateway_answers() {
    claim("a lease, the gateway answers over IPv4 and IPv6, a host that is not there does not");
    let mut user = User::start("", &[], None);
    let ping = user
        .console
        .command("ping 10.0.2.2 count 200 interval 0 quiet");
    assert!(
        ping.contains("\n200 sent, 200 answered, 0 lost (0.0%)\n"),
        "{ping}"
    );
    user.until("net", |said| said.contains("fec0::")); // routers advertise it in their own time
    let ping = user
        .console
        .command("ping fec0::2 count 3 interval 10 size 1400");
    assert!(ping.contains("1400 bytes from fec0::2: seq 2, "), "{ping}");
    assert!(
        ping.contains("\n3 sent, 3 answered, 0 lost (0.0%)\n"),
        "{ping}"
    );
    let ping = user.console.command(&format!("ping {NOBODY} count 1"));
    assert!(
        ping.ends_with(&format!("{NOBODY} does not answer")),
        "{ping}"
    );
    let net = user.console.command("net");
    for line in [
        "link      1000 Mbit/s, full duplex, pause both",
        "address   10.0.2.15/24",
        "gateway   10.0.2.2",
        "DNS       10.0.2.3",
    ] {
        assert!(net.contains(line), "{net}");
    }
    assert!(
        net.contains("IPv4      by DHCP: lease of 10.0.2.2, "),
        "{net}"
    );
    let arp = user.console.command("arp");
    let gateway =
        |line: &str| line.starts_with("52:55:0a:00:02:02 ") && line.ends_with(" 10.0.2.2");
    assert!(arp.lines().any(gateway), "{arp}");
    for line in ["net", "net stats", "net service", "arp", "sockets", "ntp"] {
        let said = user.console.command(line);
        let wide = said.lines().find(|line| line.chars().count() > COLUMNS);
        assert_eq!(wide, None, "{line}");
    }
}

#[test]
fn an_address_can_be_fixed_and_changed() {
    claim(
        "ip= of the command line, net ip, net down, net up: net says so, and the gateway answers",
    );
    let mut machine = Machine::new()
        .net("user")
        .cmdline("ip=10.0.2.40/24,gw=10.0.2.2,dns=10.0.2.3");
    machine = machine.deadline(PATIENCE * 10);
    let console = &mut machine.start();
    told(console, "net: link up");
    let net = console.command("net");
    assert!(
        net.contains("IPv4      fixed\naddress   10.0.2.40/24\n"),
        "{net}"
    );
    let ping = console.command("ping 10.0.2.2 count 3 interval 10");
    assert!(ping.contains("\n3 sent, 3 answered, 0 lost"), "{ping}");
    assert_eq!(console.command("net ip off"), "");
    let net = console.command("net");
    assert!(
        net.contains("IPv4      off\n") && !net.contains("10.0.2.40"),
        "{net}"
    );
    let said = console.command("ping 10.0.2.2 count 1");
    assert!(said.ends_with("no route to host"), "{said}");
    console.send_line("net ip dhcp");
    told(console, "net: 10.0.2.15/24 from 10.0.2.2");
    console.send_line("net down");
    told(console, "net: link down");
    let net = console.command("net");
    assert!(
        net.starts_with("link      down: net up starts it\n"),
        "{net}"
    );
    console.send_line("net up");
    // So short a loss keeps the lease.
    told(console, "net: link up");
    let ping = console.command("ping 10.0.2.2 count 3 interval 10");
    assert!(ping.contains("\n3 sent, 3 answered, 0 lost"), "{ping}");
}

#[test]
fn wrong_words_of_the_network_are_named() {
    claim("wrong words of the command line are named in the log, at the console in the answer");
    let words = "ip=10.0.2.15/33 ntp=a/b services=echo,finger";
    let mut user = User::start(words, &[], None);
    let log = user.console.command("dmesg");
    for said in [
        "command line: ip=10.0.2.15/33: \"33\" is no number of bits (1 to 31)",
        "command line: ntp=a/b: \"a/b\" is no host's name",
        "command line: services=echo,finger: \"finger\" is no service",
    ] {
        assert!(log.contains(said), "{log}");
    }
    for (line, said) in [
        (
            "net ip 10.0.2.15",
            "the network's bits are missing: ADDRESS/BITS",
        ),
        (
            "net service finger start",
            "\"finger\" is no service (echo, discard, chargen, iperf3)",
        ),
        ("net service echo stop", "echo: it is not open"),
        ("net service echo", "usage: net "),
        ("ping", "usage: ping HOST [OPTION]..."),
        ("ping 10.0.2.2 count", "usage: ping HOST [OPTION]..."),
        (
            "ping 10.0.2.2 count 0",
            "number \"0\": out of range (1 to 1000000)",
        ),
        ("tcpdump -x", "usage: tcpdump "),
        ("tcpdump tcp or udp", "\"or\" is no filter"),
        ("tcpdump -c 0", "number \"0\": out of range"),
        ("ntp a/b", "\"a/b\" is no host's name"),
        ("tftp 10.0.2.2", "usage: tftp HOST FILE [TARGET]"),
        ("netbench tcp", "usage: netbench "),
        ("netbench tcp send here", "\"here\" is no address"),
        ("netbench tcp send 10.0.2.2 port 1", "connection refused"),
    ] {
        let answer = user.console.command(line);
        assert!(answer.starts_with(said), "{line}: {answer}");
    }
}

#[test]
fn files_come_by_tftp_whole() {
    claim(
        "tftp: files of lengths around the block's, SHA-256 as on the host; one that is not there leaves none",
    );
    let folder = TempDir::new().expect("a folder");
    let mut noise = vec![0; 1 << 20];
    Rng::with_seed(3).fill(&mut noise);
    let lengths = [0, 1, 1427, 1428, 1429, 2856, 1 << 20];
    for length in lengths {
        fs::write(
            folder.path().join(format!("{length}.bin")),
            &noise[..length],
        )
        .expect("a file");
    }
    let mut user = User::start("", &[], Some(folder.path()));
    for length in lengths {
        let got = user
            .console
            .command(&format!("tftp {GATEWAY} {length}.bin"));
        assert!(
            got.starts_with(&format!("/boot/{length}.bin: {length} bytes in ")),
            "{got}"
        );
        let sum = user.console.command(&format!("sha256 /boot/{length}.bin"));
        assert!(
            sum.starts_with(&sha256(&noise[..length])),
            "{length}: {sum}"
        );
    }
    let said = user
        .console
        .command(&format!("tftp {GATEWAY} none.bin /boot/kept.txt"));
    assert!(said.starts_with("none.bin: the server says: "), "{said}");
    let said = user.console.command("cat /boot/kept.txt");
    assert!(said.contains("no such file"), "{said}");
    let said = user
        .console
        .command(&format!("tftp {NOBODY} 1.bin /nowhere/1.bin"));
    assert!(said.starts_with("/nowhere/1.bin: "), "{said}");
    user.console.send_line(&format!("tftp {NOBODY} 1.bin"));
    user.console.expect("1.bin\n", PATIENCE);
    user.console.send(b"\x03");
    user.console.expect("interrupted", PATIENCE);
}

/// A time server that is ahead by `ahead`; it answers so often, and says `DENY` instead if it is told to.
fn time_server(ahead: Duration, denies: bool) -> u16 {
    /// From 1900 to 1970.
    const TO_1970_S: u64 = 2_208_988_800;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("its port").port();
    std::thread::spawn(move || {
        let mut question = [0; 128];
        while let Ok((48, from)) = socket.recv_from(&mut question) {
            assert_eq!(question[0], 0x23, "version 4, a client");
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("after 1970")
                + ahead;
            let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
            let stamp = ((now.as_secs() + TO_1970_S) << 32 | fraction).to_be_bytes();
            let mut answer = [0; 48];
            (answer[0], answer[1]) = if denies { (0xe4, 0) } else { (0x24, 1) };
            answer[12..16].copy_from_slice(if denies { b"DENY" } else { b"GPS\0" });
            answer[24..32].copy_from_slice(&question[40..48]);
            answer[32..40].copy_from_slice(&stamp);
            answer[40..48].copy_from_slice(&stamp);
            socket.send_to(&answer, from).expect("an answer leaves");
        }
    });
    port
}

/// Two days: that it is the server's time is beyond doubt.
const AHEAD: Duration = Duration::from_secs(2 * 86_400);

#[test]
fn the_clock_is_set_by_a_server_and_the_log_shows_it() {
    claim(
        "ntp: the server's day is on the clock, in the log and on files; one that wants not to be asked is not believed",
    );
    let mut user = User::start("", &[], None);
    assert_eq!(
        user.console.command("ntp"),
        "the clock is not set\nno server is asked"
    );
    let day = |after: Duration| {
        let seconds = (SystemTime::now() + after)
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let date = Command::new("date")
            .args(["-u", "+%F", "-d", &format!("@{}", seconds.as_secs())])
            .output();
        String::from_utf8(date.expect("date").stdout)
            .expect("text")
            .trim()
            .to_owned()
    };
    let denying = time_server(AHEAD, true);
    let said = user.console.command(&format!("ntp {GATEWAY} {denying}"));
    assert_eq!(
        said,
        format!("{GATEWAY}: the server does not want to be asked")
    );
    assert!(
        user.console
            .command("ntp")
            .starts_with("the clock is not set\n")
    );
    let (before, port) = (day(AHEAD), time_server(AHEAD, false));
    let said = user.console.command(&format!("ntp {GATEWAY} {port}"));
    let days = [before, day(AHEAD)];
    let shows = |line: &str| days.iter().any(|day| line.contains(&format!("{day} ")));
    assert!(
        shows(said.lines().next().unwrap_or("")),
        "{said}, not {days:?}"
    );
    assert!(said.contains(", stratum 1\n"), "{said}");
    assert_eq!(user.console.command("write /boot/dated.txt now"), "");
    assert_eq!(user.console.command("sync"), "");
    let listing = mtools(user.console.scratch(), "mdir", "::/dated.txt");
    let listing = String::from_utf8_lossy(&listing);
    assert!(shows(&listing), "{listing}, not {days:?}");
    let log = user.console.command("dmesg");
    let first = log.lines().next().unwrap_or("");
    let last = log.lines().last().unwrap_or("");
    assert!(first.starts_with("[    0."), "{first}");
    assert!(
        last.contains("time by 10.0.2.2; started ") && shows(last),
        "{last}"
    );
}

#[test]
fn tcpdump_shows_frames_and_writes_what_others_read() {
    claim(
        "tcpdump shows a connection's frames, by its filter; its file holds the same, in pcap's format",
    );
    let mut user = User::start("services=echo", &[ECHO], None);
    for line in [
        "tcpdump -c 4 port 7",
        "tcpdump -c 4 -w /boot/seen.pcap tcp port 7",
    ] {
        case(line);
        user.console.send_line(line);
        user.console.expect(&format!("{line}\n"), PATIENCE);
        // It may not listen yet.
        while !user.console.comes(
            "4 frames of ",
            std::time::Instant::now() + Duration::from_secs(1),
        ) {
            let mut stream = user.connect(ECHO);
            stream.write_all(b"seen").expect("it is sent");
            let mut back = [0; 4];
            stream.read_exact(&mut back).expect("it comes back");
        }
        user.console.prompt();
    }
    let shown = user.console.log().to_owned();
    assert!(shown.contains("> 10.0.2.15.7: Flags [S], seq "), "{shown}");
    assert!(shown.contains("> IP 10.0.2.15.7 > 10.0.2.2."), "{shown}");
    assert_eq!(user.console.command("sync"), "");
    let file = pcap_file(user.console.scratch());
    assert_eq!(file[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let (mut at, mut frames) = (24, 0);
    while let Some(header) = file.get(at..at + 16) {
        let word = |n: usize| {
            let bytes = header[4 * n..4 * n + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        assert_eq!(word(2), word(3), "short frames are whole");
        let frame = &file[at + 16..at + 16 + word(2)];
        assert_eq!(
            (&frame[12..14], frame[23]),
            (&[8, 0][..], 6),
            "TCP over IPv4"
        );
        (at, frames) = (at + 16 + word(2), frames + 1);
    }
    assert_eq!((frames, at), (4, file.len()));
}

#[test]
fn netbench_measures_all_four_ways() {
    claim(
        "netbench, TCP and UDP, both ways, to a host with discard and chargen: calls and bytes that fit together",
    );
    let mut net = Net::start(Machine::new(), "");
    for (words, block) in [
        ("tcp send", 65_536),
        ("tcp receive bytes 4096", 4096),
        ("udp send bytes 1472", 1472),
        ("udp receive", 64),
    ] {
        case(words);
        let mut words = words.split(' ');
        let (protocol, way) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let rest: Vec<&str> = words.collect();
        let line = format!(
            "netbench {protocol} {way} {HOST_IP} seconds 1 {}",
            rest.join(" ")
        );
        let said = net.console.command(line.trim_end());
        let number = |key: &str| {
            let mut words = said.split_whitespace();
            let word = words.find_map(|word| word.strip_prefix(key));
            word.and_then(|n| n.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("{key}{said}"))
        };
        assert!(
            said.starts_with(&format!("netbench: op={protocol}-{way} block={block} ")),
            "{said}"
        );
        let (calls, bytes) = (number("calls="), number("bytes="));
        assert!(calls > 100 && number("ns=") >= 900_000_000, "{said}");
        match protocol {
            "tcp" => assert!(bytes >= calls && bytes <= calls * block, "{said}"),
            _ => assert_eq!(bytes, calls * block, "{said}"),
        }
    }
}

/// The file that the kernel wrote to its card.
fn pcap_file(scratch: &std::path::Path) -> Vec<u8> {
    mtools(scratch, "mtype", "::/seen.pcap")
}

/// What a program of mtools' says about a file of the card's.
fn mtools(scratch: &std::path::Path, program: &str, file: &str) -> Vec<u8> {
    let card = scratch.join("card.img");
    let start = image::partition(&card, 1).expect("a partition").start;
    let output = Command::new(program)
        .args(["-i", &format!("{}@@{start}", card.display()), file])
        .output()
        .expect("mtools; `make setup` installs it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
