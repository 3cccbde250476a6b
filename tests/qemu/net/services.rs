// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel offers to others, with clients of the host's.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::process::Command;

use qemu_tests::{case, claim};
use serde_json::Value;

use super::user::{PATIENCE, User};

const ECHO: u16 = 7;
const DISCARD: u16 = 9;
const CHARGEN: u16 = 19;
const IPERF3: u16 = 5201;
/// Connections of a service at a time.
const CONNECTIONS_MAX: usize = 16;

/// What a service's line of `net service` says: state, connections, served, refused.
#[track_caller]
fn standing(user: &mut User, name: &str) -> (String, u64, u64, u64) {
    let said = user.console.command("net service");
    let line = said.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name}: {said}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |n: usize| words[n].parse().unwrap_or_else(|_| panic!("{line}"));
    (words[2].to_owned(), number(3), number(4), number(5))
}

#[test]
fn services_are_closed_until_they_are_opened() {
    claim("echo, discard, chargen over TCP and UDP: refused, then served, then refused again");
    let mut user = User::start("", &[ECHO, DISCARD, CHARGEN, IPERF3], None);
    for port in [ECHO, DISCARD, CHARGEN, IPERF3] {
        user.assert_closed(port);
    }
    for name in ["echo", "discard", "chargen"] {
        let said = user.console.command(&format!("net service {name} start"));
        assert!(!said.contains(&format!("{name}: ")), "{said}");
        let said = user.console.command(&format!("net service {name} start"));
        assert_eq!(said, format!("{name}: it is open"));
    }
    let mut stream = user.connect(ECHO);
    let sent: Vec<u8> = (0..300_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().expect("a second handle");
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).expect("it is sent");
            writer.shutdown(Shutdown::Write).expect("and the end");
        });
        stream.read_to_end(&mut back).expect("it comes back");
    });
    assert!(
        back == sent,
        "{} of {} bytes came back",
        back.len(),
        sent.len()
    );

    let mut stream = user.connect(DISCARD);
    stream.write_all(&sent).expect("it is sent");
    stream.shutdown(Shutdown::Write).expect("and the end");
    assert_eq!(stream.read(&mut [0; 16]).expect("the end comes back"), 0);

    let mut lines = vec![0; 95 * 74 * 3];
    user.connect(CHARGEN)
        .read_exact(&mut lines)
        .expect("characters");
    for (n, line) in lines.chunks(74).enumerate() {
        let first = b' ' + (n % 95) as u8;
        assert_eq!((line[0], &line[72..]), (first, &b"\r\n"[..]), "line {n}");
    }

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut answer = [0; 2048];
    for (port, asked, bytes) in [(ECHO, &b"datagram"[..], 8), (CHARGEN, b"", 74)] {
        socket
            .send_to(asked, user.address(port))
            .expect("it is sent");
        let (came, _) = socket.recv_from(&mut answer).expect("an answer");
        assert_eq!(came, bytes, "port {port}");
        assert!(port != ECHO || answer[..8] == *asked);
    }
    for name in ["echo", "discard", "chargen"] {
        user.until(&format!("net service {name} stop"), |said| {
            !said.contains("as soon as")
        });
        assert_eq!(standing(&mut user, name), ("closed".into(), 0, 0, 0));
    }
    user.assert_closed(ECHO);
}

#[test]
fn a_service_has_so_many_connections_and_no_more() {
    claim(
        "of 17 connections to echo 16 are served and the other one is cut and counted; stop cuts all",
    );
    let mut user = User::start("services=echo", &[ECHO], None);
    let mut streams = Vec::new();
    for n in 0..CONNECTIONS_MAX {
        let mut stream = user.connect(ECHO);
        stream.write_all(&[n as u8]).expect("it is sent");
        let mut back = [0];
        stream.read_exact(&mut back).expect("it comes back");
        assert_eq!(back[0], n as u8);
        streams.push(stream);
    }
    user.assert_closed(ECHO);
    let most = CONNECTIONS_MAX as u64;
    assert_eq!(standing(&mut user, "echo"), ("open".into(), most, most, 1));
    let said = user.console.command("net service echo stop");
    assert!(!said.contains("echo: "), "{said}");
    for stream in &mut streams {
        let read = stream.read(&mut [0]);
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    let sockets = user.until("sockets", |said| !said.contains("10.0.2.15:7 "));
    assert!(!sockets.contains("0.0.0.0:7 "), "{sockets}");
}

/// What a stock client says of a test.
#[track_caller]
fn iperf3(server: SocketAddr, arguments: &str) -> Value {
    let port = server.port().to_string();
    let output = Command::new("iperf3")
        .args(["-c", "127.0.0.1", "-J", "-p", &port])
        .args(arguments.split_whitespace())
        .output()
        .expect("iperf3; `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments}: {error}: {said}"))
}

#[test]
fn a_stock_iperf3_client_measures() {
    claim(
        "iperf3: TCP and UDP, both ways, several streams, a warm-up; both ends' figures fit together",
    );
    let mut user = User::start("services=iperf3", &[IPERF3], None);
    let server = user.address(IPERF3);
    for (arguments, streams, udp) in [
        ("-t 1", 1, false),
        ("-t 1 -R", 1, false),
        ("-t 1 -P 3", 3, false),
        ("-t 2 -O 1 -R -P 2", 2, false),
        ("-n 2M", 1, false),
        ("-t 1 -u -b 2M -l 1400", 1, true),
        ("-t 1 -u -b 2M -l 1400 -R -P 2", 2, true),
    ] {
        case(arguments);
        let said = iperf3(server, arguments);
        assert_eq!(said["error"], Value::Null, "{said}");
        let end = &said["end"];
        let of = |what: &str| end["streams"].as_array().expect(what).len();
        assert_eq!(of("streams"), streams, "{said}");
        if udp {
            let (packets, lost) = (&end["sum"]["packets"], &end["sum"]["lost_packets"]);
            assert!(packets.as_u64() > Some(100), "{end}");
            assert!(lost.as_u64() < packets.as_u64().map(|n| n / 2), "{end}");
            continue;
        }
        let bytes = |what: &str| end[what]["bytes"].as_u64().unwrap_or_default();
        let (sent, received) = (bytes("sum_sent"), bytes("sum_received"));
        assert!(received > 100_000, "{end}");
        // Nobody receives what was not sent. With -R the client stops before the kernel does; with -O both forget.
        assert!(received <= sent || arguments.contains("-O"), "{end}");
        if arguments.contains("-n") {
            assert_eq!((sent, received), (2 << 20, 2 << 20), "{end}");
        }
    }
    let said = iperf3(server, "-t 1 --bidir");
    assert!(
        said["error"]
            .as_str()
            .is_some_and(|e| e.contains("not implemented")),
        "{said}"
    );
    let said = iperf3(server, "-t 1 -P 17");
    assert!(
        said["error"]
            .as_str()
            .is_some_and(|e| e.contains("parallel streams")),
        "{said}"
    );
    user.until("sockets", |said| said.matches(":5201").count() == 1);
    let (state, _, served, refused) = standing(&mut user, "iperf3");
    assert_eq!((state.as_str(), served, refused), ("open", 9, 0));
}

#[test]
fn a_second_iperf3_client_is_told_that_the_server_is_busy() {
    claim(
        "iperf3: during a test another client hears that the server is busy, and the test goes on",
    );
    let mut user = User::start("services=iperf3", &[IPERF3], None);
    let server = user.address(IPERF3);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| iperf3(server, "-t 6"));
        std::thread::sleep(std::time::Duration::from_secs(2));
        let second = iperf3(server, "-t 1");
        let error = second["error"].as_str().unwrap_or_default();
        assert!(error.contains("busy"), "{second}");
        let first = first.join().expect("the first client");
        assert_eq!(first["error"], Value::Null, "{first}");
    });
    assert_eq!(standing(&mut user, "iperf3").3, 1);
}
