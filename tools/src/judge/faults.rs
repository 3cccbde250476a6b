// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each planned fault shows under Linux where a driver should show it.
//!
//! The plan is changed by QEMU's monitor while the guest runs, traffic is made, and the counter or
//! message that belongs to the fault is looked for. Then the plan is emptied, and a ping
//! must come back: a fault that is over leaves the driver working.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::guest::Guest;

const TIME: Duration = Duration::from_secs(60);
const PING: &str = "ping -q -c 4 -i 0.2 -W 1 10.0.2.2";

/// Where a fault shows.
enum Shows {
    /// A file below the interface's statistics grows.
    Statistic(&'static str),
    /// A counter of `ethtool -S` grows.
    Counter(&'static str),
    /// Echo requests stay without an answer.
    Loss,
    /// An answer takes at least so many milliseconds.
    Late(f64),
    /// After this line, the kernel's log says one of these texts, between bars.
    Log(&'static str, &'static str),
    /// Bytes wait for their completion after they were sent.
    InFlight,
}

const FAULTS: [(&str, &[Shows]); 16] = [
    (
        "rx-crc/2",
        &[Shows::Statistic("rx_crc_errors"), Shows::Counter("rx_fcs")],
    ),
    (
        "rx-align/2",
        &[
            Shows::Statistic("rx_frame_errors"),
            Shows::Counter("rx_align"),
        ],
    ),
    (
        "rx-symbol/2",
        &[Shows::Statistic("rx_errors"), Shows::Counter("rx_code")],
    ),
    (
        "rx-overflow/2",
        &[
            Shows::Statistic("rx_over_errors"),
            Shows::Counter("rbuf_ovflow_cnt"),
        ],
    ),
    (
        "rx-oversize/2",
        &[
            Shows::Statistic("rx_length_errors"),
            Shows::Counter("rx_oversize"),
        ],
    ),
    ("rx-runt/2", &[Shows::Counter("rx_runt_pkts"), Shows::Loss]),
    ("rx-drop/2", &[Shows::Loss]),
    ("rx-delay:400", &[Shows::Late(400.0)]),
    ("tx-delay:3000", &[Shows::InFlight]),
    (
        "tx-underrun/2",
        &[Shows::Counter("tx_fcs_err"), Shows::Loss],
    ),
    ("dma-read/2", &[Shows::Counter("tx_fcs_err"), Shows::Loss]),
    (
        "dma-write/2",
        &[Shows::Counter("rbuf_err_cnt"), Shows::Loss],
    ),
    // The request's completion is signalled first, the answer's arrival second.
    ("irq-lost/2x1", &[Shows::Late(150.0)]),
    (
        "tx-stall/1x1",
        &[Shows::Log(
            "ping -q -c 40 -i 0.1 -s 1400 -W 1 10.0.2.2; sleep 10",
            "timed out",
        )],
    ),
    (
        "link-flap/1x1:1500",
        &[Shows::Log(
            "ip link set eth0 down; ip link set eth0 up; sleep 6",
            "Link is Down",
        )],
    ),
    (
        "phy-dead",
        &[Shows::Log(
            "sleep 3; ip link set eth0 down; ip link set eth0 up; sleep 1",
            "returned: -5|to connect to PHY|attach",
        )],
    ),
];

/// Every fault's name, in the order in which they are tried.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|(fault, _)| *fault)
}

/// Tries one fault; what showed it.
pub fn try_one(guest: &mut Guest, fault: &str) -> Result<String> {
    let shows = FAULTS.iter().find(|(name, _)| *name == fault);
    let mut seen = Vec::new();
    for show in shows.map_or(&[][..], |(_, shows)| shows) {
        guest.ask("dmesg -c >/dev/null")?;
        let before = look(guest, show)?;
        plan(guest, fault)?;
        let outcome = see(guest, show, before);
        plan(guest, "none")?;
        seen.push(outcome?);
    }
    recover(guest)?;
    Ok(seen.join(", "))
}

fn plan(guest: &Guest, plan: &str) -> Result<()> {
    let said = guest.monitor(&format!("qom-set /machine/peripheral/genet faults {plan}"))?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

/// The figure that is to grow, or nothing.
fn look(guest: &mut Guest, show: &Shows) -> Result<u64> {
    let line = match show {
        Shows::Statistic(name) => format!("cat /sys/class/net/eth0/statistics/{name}"),
        Shows::Counter(name) => format!("ethtool -S eth0 | sed -n 's/^ *{name}: //p'"),
        _ => return Ok(0),
    };
    Ok(guest.ask(&line)?.trim().parse()?)
}

fn see(guest: &mut Guest, show: &Shows, before: u64) -> Result<String> {
    let line = if let Shows::Log(line, _) = show {
        line
    } else {
        PING
    };
    let (said, _) = guest.shell(line, TIME)?;
    match show {
        Shows::Statistic(name) | Shows::Counter(name) => {
            let after = look(guest, show)?;
            ensure!(after > before, "{name} stayed at {before}");
            Ok(format!("{name} +{}", after - before))
        }
        Shows::Loss => {
            let lost = said
                .lines()
                .find(|l| l.contains("packet loss"))
                .unwrap_or_default();
            ensure!(
                !lost.is_empty() && !lost.contains(" 0% packet loss"),
                "{said}"
            );
            Ok(lost.rsplit(", ").next().unwrap_or_default().to_owned())
        }
        Shows::Late(least_ms) => {
            let times = said.lines().find(|l| l.contains("min/avg/max"));
            let longest = times.and_then(|l| l.trim_end_matches(" ms").rsplit('/').next());
            let longest: f64 = longest.unwrap_or("0").parse()?;
            ensure!(longest >= *least_ms, "{said}");
            Ok(format!("an answer after {longest} ms"))
        }
        Shows::InFlight => {
            let line = "cat /sys/class/net/eth0/queues/tx-*/byte_queue_limits/inflight";
            let bytes = guest.ask(line)?;
            let bytes: u64 = bytes.lines().flat_map(str::parse::<u64>).sum();
            ensure!(bytes > 0, "nothing is in flight");
            // A frame of the guest's own may be on its way at any one look, not at each of them.
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(500));
                let rest = guest.ask(line)?;
                if rest.lines().flat_map(str::parse::<u64>).sum::<u64>() == 0 {
                    return Ok(format!("{bytes} bytes in flight, 0 later"));
                }
            }
            anyhow::bail!("{bytes} bytes were in flight, and some still are")
        }
        Shows::Log(_, words) => {
            let log = guest.ask("dmesg")?;
            let hit = |line: &&str| words.split('|').any(|word| line.contains(word));
            let found = log.lines().find(hit);
            let text = found.with_context(|| format!("nothing of {words} in the log:\n{log}"))?;
            Ok(text
                .split_once("] ")
                .map_or(text, |(_, text)| text)
                .to_owned())
        }
    }
}

/// Once the plan is empty, the driver works again; at the latest after off and on.
fn recover(guest: &mut Guest) -> Result<()> {
    let again = "ip link set eth0 down; ip link set eth0 up; n=0; until ping -q -c 1 -W 1 10.0.2.2 \
                 >/dev/null || [ $n = 10 ]; do n=$((n+1)); done; [ $n -lt 10 ]";
    if guest.shell("ping -q -c 1 -W 3 10.0.2.2", TIME)?.1 != 0 {
        guest.run(again, TIME)?;
    }
    Ok(())
}
