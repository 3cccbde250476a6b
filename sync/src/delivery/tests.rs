// SPDX-License-Identifier: MIT OR Apache-2.0
//! The three policies against a GICv2.
use super::*;
use crate::priority::PriorityMap;
use cpu::Cpu;
use gic::Trigger;
use reference::Ran;
use std::vec::Vec;

mod cpu;
mod gic;
mod reference;
mod sequences;

const LINES: [(Ipl, Trigger); 5] = [
    (Ipl::Bio, Trigger::Edge),
    (Ipl::Net, Trigger::Level),
    (Ipl::Tty, Trigger::Edge),
    (Ipl::Sched, Trigger::Level),
    (Ipl::High, Trigger::Edge),
];
const BIO: usize = 0;
const NET: usize = 1;
const TTY: usize = 2;
const SCHED: usize = 3;

fn start<const N: usize>(policy: Policy) -> Cpu<N> {
    let mut cpu = Cpu::new(&LINES, 0xF0, true);
    cpu.thread.set_eager(policy == Policy::Eager);
    cpu.switch(policy);
    cpu
}

/// The lines whose handlers ran.
fn ran<const N: usize>(cpu: &Cpu<N>) -> Vec<usize> {
    let begin = |ran: &Ran| match ran {
        Ran::Begins(line) => Some(*line),
        Ran::Ends(_) => None,
    };
    cpu.ran.iter().filter_map(begin).collect()
}

#[test]
fn a_policy_is_known_by_its_name() {
    for policy in Policy::ALL {
        assert_eq!(policy.name().parse(), Ok(policy));
    }
    assert_eq!("ladder".parse::<Policy>(), Err(UnknownPolicy));
    assert_eq!(Policy::default(), Policy::Domain);
}

#[test]
fn by_domains_the_others_come() {
    let mut cpu = start::<5>(Policy::Domain);
    cpu.raise("tty");
    [BIO, TTY, NET]
        .into_iter()
        .for_each(|line| cpu.arrive(line));
    assert_eq!(
        (ran(&cpu), cpu.delivery.waiting()),
        (Vec::from([BIO, NET]), 1)
    );
    assert_eq!((cpu.gic.state(TTY), cpu.noted()), ((false, true), true));
    assert_eq!(cpu.gic.masked_up_to(), None);
    cpu.release("tty");
    assert_eq!(
        (ran(&cpu), cpu.noted()),
        (Vec::from([BIO, NET, TTY]), false)
    );
    let Statistics {
        deferred,
        held,
        mask_writes,
        accesses,
    } = cpu.delivery.statistics();
    assert_eq!((deferred, held, mask_writes), (1, 0, 1)); // the write is that of the start
    assert_eq!(accesses, 1 + 3 * 3); // each: taken, ended, and no other is there
}

#[test]
fn on_the_ladder_those_below_wait_in_the_gic() {
    for policy in [Policy::Eager, Policy::Lazy] {
        let mut cpu = start::<5>(policy);
        let before = cpu.delivery.statistics().mask_writes;
        cpu.raise("tty");
        [BIO, SCHED, NET]
            .into_iter()
            .for_each(|line| cpu.arrive(line));
        assert_eq!((ran(&cpu), cpu.delivery.waiting()), (Vec::from([SCHED]), 0));
        assert_eq!(cpu.gic.masked_up_to(), Some(Ipl::Tty));
        assert_eq!(cpu.gic.state(BIO), (true, false));
        cpu.release("tty");
        assert_eq!(
            (ran(&cpu), cpu.noted()),
            (Vec::from([SCHED, NET, BIO]), false)
        );
        assert_eq!(cpu.gic.masked_up_to(), None);
        assert!(cpu.delivery.statistics().mask_writes > before);
    }
}

#[test]
fn raises_alone_write_the_mask_under_eager_only() {
    for (policy, writes) in [(Policy::Eager, 2), (Policy::Lazy, 0), (Policy::Domain, 0)] {
        let mut cpu = start::<5>(policy);
        let before = cpu.delivery.statistics();
        cpu.raise("net");
        cpu.release("net");
        let after = cpu.delivery.statistics();
        assert_eq!(after.mask_writes - before.mask_writes, writes, "{policy}");
        assert_eq!(after.accesses - before.accesses, writes, "{policy}");
    }
}

#[test]
fn under_splsched_the_devices_and_the_clock_wait_in_memory() {
    let mut cpu = start::<5>(Policy::Domain);
    let before = cpu.delivery.statistics().mask_writes;
    cpu.raise("sched");
    [BIO, SCHED, NET]
        .into_iter()
        .for_each(|line| cpu.arrive(line));
    assert_eq!((ran(&cpu), cpu.delivery.waiting()), (Vec::new(), 3));
    cpu.release("sched");
    assert_eq!(ran(&cpu), [SCHED, NET, BIO]);
    assert_eq!(cpu.delivery.statistics().mask_writes, before);
}

#[test]
fn what_a_handler_held_off_comes_without_another_exception() {
    for policy in Policy::ALL {
        let mut cpu = start::<5>(policy);
        cpu.inside[NET] = Some(BIO);
        cpu.arrive(NET);
        assert_eq!(ran(&cpu), [NET, BIO]);
        assert_eq!(cpu.exceptions, 2, "{policy}"); // both arrivals
    }
}

#[test]
fn without_room_what_is_masked_waits_in_the_gic() {
    let mut cpu = start::<1>(Policy::Domain);
    cpu.raise("tty");
    cpu.raise("bio");
    [BIO, TTY].into_iter().for_each(|line| cpu.arrive(line));
    assert_eq!(
        (cpu.delivery.waiting(), cpu.delivery.statistics().held),
        (1, 1)
    );
    assert_eq!(cpu.gic.masked_up_to(), Some(Ipl::Tty));
    assert_eq!(cpu.gic.state(TTY), (true, false));
    cpu.release("bio");
    // The list has room, the GIC gives what it has, and that takes the room.
    assert_eq!(
        (ran(&cpu), cpu.gic.state(TTY)),
        (Vec::from([BIO]), (false, true))
    );
    cpu.release("tty");
    assert_eq!((ran(&cpu), cpu.noted()), (Vec::from([BIO, TTY]), false));
}

#[test]
fn a_cpu_that_starts_again_has_nothing_waiting() {
    let mut cpu = start::<5>(Policy::Domain);
    cpu.raise("bio");
    cpu.arrive(BIO);
    assert_eq!(cpu.delivery.waiting(), 1);
    cpu.delivery.reset(&cpu.gic);
    assert_eq!(cpu.delivery.waiting(), 0);
    cpu.gic.deactivate(BIO);
    cpu.release("bio");
    assert!(ran(&cpu).is_empty());
    cpu.arrive(BIO);
    assert_eq!(ran(&cpu), [BIO]);
}

/// As many bits as a GIC may have: each class outranks the one below, and the PMR tells them apart.
#[test]
fn a_gic_with_few_priority_bits_tells_the_classes_apart() {
    for bits in [3, 4, 5, 8] {
        let gic = gic::Gic::new(&LINES, !0 << (8 - bits));
        let lines = || 0..LINES.len(); // the lowest class first
        for up_to in [None].into_iter().chain(Ipl::HARDWARE.map(Some)) {
            gic.set_mask(up_to);
            lines().for_each(|line| gic.arrive(line));
            let mut came = Vec::new();
            while let Some(line) = gic.acknowledge() {
                gic.end(line);
                came.push(line);
            }
            let above = lines().rev().filter(|line| Some(LINES[*line].0) > up_to);
            assert_eq!(came, Vec::from_iter(above), "{bits} bits, {up_to:?}");
            came.into_iter().for_each(|line| gic.deactivate(line));
        }
        for (first, second) in lines().flat_map(|a| lines().map(move |b| (a, b))) {
            let gic = gic::Gic::new(&LINES, !0 << (8 - bits));
            gic.set_mask(None);
            gic.arrive(first);
            assert_eq!(gic.acknowledge(), Some(first));
            gic.arrive(second);
            let preempts = (second > first).then_some(second);
            assert_eq!(gic.acknowledge(), preempts, "{bits} bits, {first}");
        }
    }
}
