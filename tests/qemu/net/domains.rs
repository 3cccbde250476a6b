// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disk and network at full load, at once: neither waits for a hold of the other, and no lock of one is entered with one
//! of the other held.
//!
//! What is looked at is the order that the run-time checker saw, by class. An edge leads from a class of which a lock was
//! held to one of which a lock was entered by the same thread. A path leads from Bio to Net, or back, if there are
//! edges, through classes of whichever domain, from any class of the one to any of the other. There may be none. Two
//! classes that are both reached from a third, as from the locks of threads, are not joined by that. By class there
//! are more paths than by lock, so none by class is none by lock.
//!
//! The declared order has no such pair by a check at compile time (`lock_order!`, the arm `@each_apart`).

use std::collections::{BTreeMap, BTreeSet};

use qemu_tests::{Machine, case, claim};
use station::IP;
use tools::card::Card;

use super::{Net, PATIENCE};

/// How often both loads run under each policy, at most.
const ROUNDS: usize = 8;

/// A lock class and its domain.
type Class = (String, String);

/// The edges that `lockdebug order` printed.
fn edges(said: &str) -> Vec<(Class, Class)> {
    let class = |text: &str| -> Option<Class> {
        let (name, domain) = text.split_once(" (")?;
        Some((name.to_owned(), domain.strip_suffix(')')?.to_owned()))
    };
    let lines = said.lines().filter_map(|line| line.split_once(" -> "));
    lines
        .filter_map(|(held, wanted)| Some((class(held)?, class(wanted)?)))
        .collect()
}

/// A path from a lock of one domain to one of the other, by the names of the classes.
fn joined(edges: &[(Class, Class)], from: &str, to: &str) -> Option<Vec<String>> {
    let mut came: BTreeMap<&Class, &Class> = BTreeMap::new();
    let starts: BTreeSet<&Class> = edges
        .iter()
        .map(|(held, _)| held)
        .filter(|class| class.1 == from)
        .collect();
    let mut seen = starts.clone();
    let mut todo: Vec<&Class> = starts.into_iter().collect();
    while let Some(at) = todo.pop() {
        if at.1 == to {
            let back = std::iter::successors(Some(at), |class| came.get(class).copied());
            let mut path: Vec<_> = back.map(|class| class.0.clone()).collect();
            path.reverse();
            return Some(path);
        }
        for (_, wanted) in edges.iter().filter(|(held, _)| held == at) {
            if seen.insert(wanted) {
                came.insert(wanted, at);
                todo.push(wanted);
            }
        }
    }
    None
}

fn orders_both(edges: &[(Class, Class)]) -> Option<Vec<String>> {
    joined(edges, "bio", "net").or_else(|| joined(edges, "net", "bio"))
}

/// The counts behind a policy's name in the second table of `demo devices`: waits of the disk, and of the network.
fn causes(said: &str, policy: &str) -> [u64; 6] {
    let table = said.rsplit_once("policy ").expect("a second table").1;
    let row = table.lines().find(|row| row.starts_with(policy));
    let row = row.unwrap_or_else(|| panic!("no {policy}: {said}"));
    let numbers: Vec<u64> = row
        .split_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or_else(|_| panic!("{row}")))
        .collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{row}"))
}

#[test]
fn disk_and_network_do_not_wait_for_each_other() {
    claim(
        "demo devices, lockdebug on: no interrupt waits for the other domain, and no lock joins the two",
    );
    let machine = Machine::new().card_with(&Card::new());
    let mut net = Net::start(machine, "");
    net.console.command("lockdebug limit 10000000"); // how long a host's pause is, is not the claim
    net.console.command("lockdebug on");
    // Holds are short: that an interrupt comes in the middle of one is a matter of how many come.
    let mut ladders = [0, 0];
    let mut put_aside = 0;
    for round in 0..ROUNDS {
        let said = net
            .console
            .command_within(&format!("demo devices {IP} 2"), PATIENCE);
        case(&said);
        // What the kernel logs meanwhile is not the table's.
        let mut printed = said.lines().filter(|line| !line.starts_with('['));
        assert!(printed.all(|line| line.len() <= 80), "{said}");
        assert!(!said.contains("no flood"), "{said}");
        for (policy, sum) in ["eager", "lazy"].into_iter().zip(&mut ladders) {
            let [_, _, disk_by_net, _, _, net_by_disk] = causes(&said, policy);
            assert_eq!(net_by_disk, 0, "the network is above the disk: {said}");
            *sum += disk_by_net;
        }
        let [disk_own, _, disk_by_net, net_own, _, net_by_disk] = causes(&said, "domain");
        assert_eq!([disk_by_net, net_by_disk], [0, 0], "{said}");
        put_aside += disk_own + net_own;
        if round > 0 && ladders.iter().all(|count| *count > 0) {
            break;
        }
    }
    assert!(
        ladders.iter().all(|count| *count > 0),
        "no ladders: {ladders:?}"
    );
    assert!(put_aside > 0, "nothing was put aside");

    let order = net.console.command("lockdebug order");
    let seen = edges(&order);
    for class in ["BioQueue", "NetDevice", "NetStack"] {
        let with = seen.iter().any(|(held, _)| held.0 == class);
        assert!(with, "{class} was never held: {order}");
    }
    assert_eq!(orders_both(&seen), None, "{order}");
    let findings = net.console.command("lockdebug");
    assert!(findings.contains("; 0 kinds of mistake"), "{findings}");

    case("the same, of an order with a lock of the network entered under one of the disk");
    net.console.command("lockdebug try domains");
    let order = net.console.command("lockdebug order");
    let path = orders_both(&edges(&order)).unwrap_or_else(|| panic!("{order}"));
    assert_eq!(path, ["TrialBio", "TrialNet"], "{order}");
    let findings = net.console.command("lockdebug");
    let finding = "domains: TrialNet entered holding TrialBio: they have no order";
    assert!(findings.contains(finding), "{findings}");
}

#[test]
fn a_path_is_found_through_a_third_lock_and_not_from_one() {
    claim(
        "two domains are joined by a path from one to the other, not by what both are reached from",
    );
    let text = |lines: &[&str]| edges(&lines.join("\n"));
    let apart = text(&[
        "NetStack (thread) -> NetDevice (net)",
        "NetStack (thread) -> BioQueue (bio)",
        "NetDevice (net) -> RunQueue (sched)",
        "BioQueue (bio) -> RunQueue (sched)",
        "4 pairs of classes seen",
    ]);
    assert_eq!(apart.len(), 4);
    assert_eq!(orders_both(&apart), None);
    let back = text(&[
        "NetDevice (net) -> RunQueue (sched)",
        "RunQueue (sched) -> Log (high)",
        "Log (high) -> BioQueue (bio)",
    ]);
    let path = ["NetDevice", "RunQueue", "Log", "BioQueue"];
    assert_eq!(orders_both(&back).unwrap(), path);
}
