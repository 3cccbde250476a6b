// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the compiler checks weighs nothing: tokens have no size, and a guard is a reference.
use core::mem::{needs_drop, size_of};

#[allow(dead_code, unused_imports)] // what only the cases use
#[path = "compile_fail/world.rs"]
mod world;
use sync::krwlock::{ReadGuard, WriteGuard};
use world::*;

#[test]
fn tokens_have_no_size_and_need_no_drop() {
    macro_rules! weightless {
        ($($token:ty),*) => {$(
            assert_eq!(size_of::<$token>(), 0, stringify!($token));
            assert!(!needs_drop::<$token>(), stringify!($token));
        )*};
    }
    weightless!(
        Cx<Thread>,
        Cx<Interrupt<Bio>>,
        Cx<Volume>,
        Cx<Disk>,
        Cx<Log>
    );
    weightless!(Spl<Bio>, Spl<High>);
}

#[test]
fn a_guard_is_a_reference_whatever_it_was_entered_in() {
    const REFERENCE: usize = size_of::<&KMutex<u32, Disk>>();
    assert_eq!(size_of::<KMutexGuard<u32, Disk, Thread>>(), REFERENCE);
    assert_eq!(
        size_of::<KMutexGuard<u32, Disk, Interrupt<Bio>>>(),
        REFERENCE
    );
    assert_eq!(size_of::<KMutexGuard<u32, Volume, Mounts>>(), REFERENCE);
    assert_eq!(
        size_of::<(KMutexGuard<u32, Disk, Thread>, Cx<Disk>)>(),
        REFERENCE
    );
    assert_eq!(size_of::<ReadGuard<u32, Volume>>(), REFERENCE);
    assert_eq!(size_of::<WriteGuard<u32, Volume>>(), REFERENCE);
    assert_eq!(size_of::<(ReadGuard<u32, Volume>, Cx<Volume>)>(), REFERENCE);
    // `None` of a try costs nothing either.
    assert_eq!(
        size_of::<Option<KMutexGuard<u32, Disk, Thread>>>(),
        REFERENCE
    );
}
