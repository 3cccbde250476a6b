// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of locking(9), of what may be entered and woken where, is what the compiler holds to.
//!
//! Each cell is worked out from the traits, for two classes in every domain, and compared with the page.
use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use sync::domain::*;

#[allow(dead_code, unused_imports)] // its machine is what is wanted
#[path = "compile_fail/world.rs"]
mod world;

mod classes {
    sync::lock_order! {
        machine crate::world::Kernel;
        thread { T1, T2 }
        bio { B1, B2 }
        net { N1, N2 }
        tty { Y1, Y2 }
        vm { V1, V2 }
        sched { S1, S2 }
        high { H1, H2 }
    }
}
use classes::*;

/// True if the type has the trait: the inherent constant exists only then, and hides the other.
macro_rules! is {
    ($type:ty: $($bound:tt)*) => {{
        #[allow(dead_code)] // where the bound holds
        trait Otherwise {
            const IS: bool = false;
        }
        impl<T> Otherwise for T {}
        struct Is<T>(PhantomData<T>);
        #[allow(dead_code)] // where it does not
        impl<T: $($bound)*> Is<T> {
            const IS: bool = true;
        }
        <Is<$type>>::IS
    }};
}

/// A context of a column: its name, the classes that may be entered there, and whether it may wake.
type Context = (&'static str, Vec<(&'static str, bool)>, bool);

macro_rules! contexts {
    ($classes:tt; $($context:ty),*) => {
        [$(contexts!(@one $classes, $context)),*]
    };
    (@one [$($class:ident)*], $context:ty) => {
        (
            stringify!($context),
            vec![$((stringify!($class), is!($context: Before<$class>))),*],
            is!($context: MayWake),
        )
    };
}

/// What the page should say of entering `classes` in the contexts of a column.
fn entering(column: &[Context], classes: &[&str]) -> &'static str {
    let in_order = ["T", "BNY", "V", "S", "H"];
    let rank = |class: &str| {
        in_order
            .iter()
            .position(|d| d.contains(&class[..1]))
            .unwrap()
    };
    let (mut some, mut all) = (false, true);
    for (context, enters, _) in column {
        for (class, may) in enters.iter().filter(|(class, _)| classes.contains(class)) {
            (some, all) = (some | may, all & may);
            if context.len() == 2 {
                // A class, not `Thread` or an interrupt.
                let later =
                    rank(class) > rank(context) || context[..1] == class[..1] && *class > context;
                assert_eq!(*may, later, "{class} in {context}");
            }
        }
    }
    match (some, all) {
        (_, true) => "yes",
        (false, _) => "no",
        _ => "later",
    }
}

#[test]
#[cfg_attr(miri, ignore = "it reads a file")]
fn the_page_says_what_the_compiler_does() {
    macro_rules! column {
        ($($context:ty),*) => {
            contexts!([T1 T2 B1 B2 N1 N2 Y1 Y2 V1 V2 S1 S2 H1 H2]; $($context),*).to_vec()
        };
    }
    let columns: [Vec<Context>; 7] = [
        column!(Thread),
        column!(T1, T2),
        column!(B1, B2, N1, N2, Y1, Y2, V1, V2),
        column!(S1, S2, H1, H2),
        column!(Interrupt<Bio>, Interrupt<Net>, Interrupt<Tty>),
        column!(Interrupt<Sched>),
        column!(Interrupt<High>),
    ];
    let rows = [
        ("enter an adaptive mutex", &["T1", "T2"][..]),
        ("`KRwLock::read`, `write`", &["T1", "T2"]),
        (
            "enter a Bio, Net or Tty mutex",
            &["B1", "B2", "N1", "N2", "Y1", "Y2"],
        ),
        ("enter a Vm mutex", &["V1", "V2"]),
        ("enter a Sched mutex", &["S1", "S2"]),
        ("enter a High mutex", &["H1", "H2"]),
        ("`KCondvar::signal`, `broadcast`", &[]),
        ("`KThread::cancel`, `set_base`", &[]),
    ];
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/locking.9.md");
    let page = fs::read_to_string(page).unwrap();
    for (row, classes) in rows {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("| {row}")));
        let line = line.unwrap_or_else(|| panic!("no row `{row}`"));
        let said: Vec<&str> = line.split('|').skip(2).map(str::trim).collect();
        for (column, said) in columns.iter().zip(said) {
            let holds = if classes.is_empty() {
                let wakes = column.iter().filter(|(_, _, may)| *may).count();
                assert!(wakes == 0 || wakes == column.len(), "{row}: {column:?}");
                if wakes == 0 { "no" } else { "yes" }
            } else {
                entering(column, classes)
            };
            assert_eq!(said, holds, "{row}, in {}", column[0].0);
        }
    }
}

#[test]
fn sleeping_is_for_threads_with_adaptive_locks_at_most() {
    assert!(is!(Thread: MaySleep) && is!(T1: MaySleep) && is!(T2: MaySleep));
    let others = [
        is!(B1: MaySleep),
        is!(N1: MaySleep),
        is!(Y1: MaySleep),
        is!(V1: MaySleep),
        is!(S1: MaySleep),
        is!(H1: MaySleep),
        is!(Interrupt<Bio>: MaySleep),
        is!(Interrupt<Sched>: MaySleep),
        is!(Interrupt<High>: MaySleep),
    ];
    assert_eq!(others, [false; 9]);
}
