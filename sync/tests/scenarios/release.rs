// SPDX-License-Identifier: MIT OR Apache-2.0
//! Releasing interrupt-safe locks in any order leaves exactly the union of what is still held masked.
use crate::sim::{Sim, role, scenario};
use sync::ipl::Ipl;
use sync::kmutex::KMutex;
use sync::machine::Machine;
use sync::spl::Mask;

sync::lock_order! {
    machine Sim;
    thread {}
    bio { Bio1, Bio2 }
    net { Net1, Net2 }
    tty { Tty1, Tty2 }
    vm { Vm1 }
    sched { Sched1 }
    high { High1 }
}

const DEVICES: [Ipl; 3] = [Ipl::Bio, Ipl::Net, Ipl::Tty];

/// What a lock of each kind masks, said once more and differently than in the source.
fn masked_by(kind: &str) -> Vec<Ipl> {
    match kind {
        "bio" => vec![Ipl::Bio],
        "net" => vec![Ipl::Net],
        "tty" => vec![Ipl::Tty],
        "vm" => DEVICES.to_vec(),
        "sched" => [&DEVICES[..], &[Ipl::Sched]].concat(),
        "high" => Ipl::HARDWARE.to_vec(),
        other => unreachable!("{other}"),
    }
}

fn check(held: &[&str]) {
    let mask = Sim::current().mask();
    for class in Ipl::HARDWARE {
        let expected = held.iter().any(|kind| masked_by(kind).contains(&class));
        assert_eq!(mask.masks(class), expected, "{class} with {held:?} held");
    }
    assert_eq!(mask.is_open(), held.is_empty());
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(n - 1);
    let insert = |p: &Vec<usize>| {
        (0..n)
            .map(|at| [&p[..at], &[n - 1], &p[at..]].concat())
            .collect::<Vec<_>>()
    };
    shorter.iter().flat_map(insert).collect()
}

macro_rules! all_orders {
    ($name:ident: $a:ident $ka:literal, $b:ident $kb:literal, $c:ident $kc:literal, $d:ident $kd:literal) => {
        #[test]
        fn $name() {
            scenario(vec![role("thread", 1, |cx| {
                let (la, lb) = (KMutex::<_, $a>::new(0), KMutex::<_, $b>::new(0));
                let (lc, ld) = (KMutex::<_, $c>::new(0), KMutex::<_, $d>::new(0));
                let orders = permutations(4);
                assert_eq!(orders.len(), 24);
                for order in orders {
                    let mut held = vec![$ka, $kb, $kc, $kd];
                    check(&[]);
                    let (a, mut cxa) = la.enter(cx);
                    check(&held[..1]);
                    let (b, mut cxb) = lb.enter(&mut cxa);
                    check(&held[..2]);
                    let (c, mut cxc) = lc.enter(&mut cxb);
                    check(&held[..3]);
                    let (d, _) = ld.enter(&mut cxc);
                    check(&held);
                    let (mut a, mut b, mut c, mut d) = (Some(a), Some(b), Some(c), Some(d));
                    let mut left = vec![0, 1, 2, 3];
                    for which in order {
                        match which {
                            0 => drop(a.take()),
                            1 => drop(b.take()),
                            2 => drop(c.take()),
                            _ => drop(d.take()),
                        }
                        let place = left.iter().position(|w| *w == which).unwrap();
                        left.remove(place);
                        held.remove(place);
                        check(&held);
                    }
                    assert_eq!(Sim::current().mask(), Mask::OPEN);
                }
            })]);
        }
    };
}

all_orders!(all_orders_of_two_bio_sched_high: Bio1 "bio", Bio2 "bio", Sched1 "sched", High1 "high");
all_orders!(all_orders_of_net_vm_sched_high: Net1 "net", Vm1 "vm", Sched1 "sched", High1 "high");
all_orders!(all_orders_of_two_net_vm_high: Net1 "net", Net2 "net", Vm1 "vm", High1 "high");
all_orders!(all_orders_of_two_tty_vm_sched: Tty1 "tty", Tty2 "tty", Vm1 "vm", Sched1 "sched");
