// SPDX-License-Identifier: MIT OR Apache-2.0
//! One function for each path through a lock whose instructions `make bench-locks` counts, linked as the kernel is.
//!
//! What is counted is what the compiler puts where a lock is used: the operations are inlined here as they are there,
//! from the same source, by the same profile. The program is never run. A lock comes in a register, as it does where a
//! structure contains it.
//!
//! `twin_NAME_with` and `twin_NAME_without` do the same, with tokens passed along and without; their code must be equal.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("nothing to run: `make bench-locks` counts its instructions");
}

#[cfg(target_os = "none")]
mod probes {
    use bsp::start::Boot;
    use bsp::trap::Fault;
    use core::hint::black_box;
    use core::mem::forget;
    use kernel::thread::Kernel;
    use sync::domain::{Before, Bio, Cx, Interrupt, Thread};
    use sync::kmutex::{KMutex, KMutexGuard};
    use sync::krwlock::{KRwLock, ReadGuard, WriteGuard};
    use sync::spl::{splbio, splx};

    sync::lock_order! {
        machine Kernel;
        thread { Adaptive }
        bio { Device }
        net {}
        tty {}
        vm {}
        sched { Queue }
        high { Leaf }
    }

    type Spin = KMutex<u32, Device>;

    /// The token of a probe.
    #[inline(always)]
    fn token<K>() -> Cx<'static, K> {
        // SAFETY: the program is never run.
        unsafe { Cx::assume() }
    }

    /// A lock of each kind.
    pub struct Locks {
        adaptive: KMutex<u32, Adaptive>,
        device: Spin,
        queue: KMutex<u32, Queue>,
    }

    // The same nested three deep, inlined, with tokens passed along and without.

    #[inline(always)]
    fn outer<K: Before<Adaptive>>(locks: &'static Locks, cx: &mut Cx<K>) {
        let (adaptive, mut cx) = locks.adaptive.enter(cx);
        middle(*adaptive, locks, &mut cx);
    }

    #[inline(always)]
    fn middle<K: Before<Device>>(add: u32, locks: &'static Locks, cx: &mut Cx<K>) {
        let (mut device, mut cx) = locks.device.enter(cx);
        *device += add;
        inner(*device, locks, &mut cx);
    }

    #[inline(always)]
    fn inner<K: Before<Queue>>(add: u32, locks: &'static Locks, cx: &mut Cx<K>) {
        *locks.queue.enter(cx).0 += add;
    }

    #[inline(always)]
    fn outer_without(locks: &'static Locks) {
        let mut cx = token::<Thread>();
        let (adaptive, _) = locks.adaptive.enter(&mut cx);
        middle_without(*adaptive, locks);
    }

    #[inline(always)]
    fn middle_without(add: u32, locks: &'static Locks) {
        let mut cx = token::<Thread>();
        let (mut device, _) = locks.device.enter(&mut cx);
        *device += add;
        inner_without(*device, locks);
    }

    #[inline(always)]
    fn inner_without(add: u32, locks: &'static Locks) {
        *locks.queue.enter(&mut token::<Thread>()).0 += add;
    }

    // The same by closures.

    fn with_device(
        device: &'static Spin,
        cx: &mut Cx<Thread>,
        f: impl FnOnce(u32, &mut Cx<Device>),
    ) {
        let (device, mut cx) = device.enter(cx);
        f(*device, &mut cx);
    }

    fn with_queue(
        queue: &'static KMutex<u32, Queue>,
        cx: &mut Cx<Device>,
        f: impl FnOnce(&mut u32),
    ) {
        f(&mut queue.enter(cx).0);
    }

    fn with_device_without(device: &'static Spin, f: impl FnOnce(u32)) {
        f(*device.enter(&mut token::<Thread>()).0);
    }

    fn with_queue_without(queue: &'static KMutex<u32, Queue>, f: impl FnOnce(&mut u32)) {
        f(&mut queue.enter(&mut token::<Thread>()).0);
    }

    // The same by a function that is called, not inlined.

    #[inline(never)]
    fn called(add: u32, locks: &'static Locks, cx: &mut Cx<Adaptive>) {
        middle(add, locks, cx);
    }

    #[inline(never)]
    fn called_without(add: u32, locks: &'static Locks) {
        middle_without(add, locks);
    }

    /// Declares the probes, and `keep`, which refers to them all so that they are linked.
    macro_rules! probes {
        ($(fn $name:ident($($arg:ident: $type:ty),*) $body:block)*) => {
            $(#[unsafe(no_mangle)] fn $name($($arg: $type),*) $body)*
            fn keep() {
                $(black_box($name as *const ());)*
            }
        };
    }

    probes! {
        fn probe_adaptive_enter(lock: &'static KMutex<u32, Adaptive>) {
            forget(lock.enter(&mut token::<Thread>()));
        }
        fn probe_adaptive_exit(guard: KMutexGuard<'static, u32, Adaptive, Thread>) {
            drop(guard);
        }
        fn probe_read_enter(lock: &'static KRwLock<u32, Adaptive>) {
            forget(lock.read(&mut token::<Thread>()));
        }
        fn probe_read_exit(guard: ReadGuard<'static, u32, Adaptive>) {
            drop(guard);
        }
        fn probe_write_enter(lock: &'static KRwLock<u32, Adaptive>) {
            forget(lock.write(&mut token::<Thread>()));
        }
        fn probe_write_exit(guard: WriteGuard<'static, u32, Adaptive>) {
            drop(guard);
        }
        fn probe_spin_pair(lock: &'static Spin) {
            drop(lock.enter(&mut token::<Thread>()));
        }
        fn probe_spl_pair() {
            splx::<_, Kernel>(splbio::<Kernel>());
        }

        fn twin_leaf_with(lock: &'static KMutex<u32, Leaf>) {
            *lock.enter(&mut token::<Interrupt<Bio>>()).0 += 1;
        }
        fn twin_leaf_without(lock: &'static KMutex<u32, Leaf>) {
            *lock.enter_leaf() += 1;
        }
        fn twin_nested_with(locks: &'static Locks) {
            outer(locks, &mut token::<Thread>());
        }
        fn twin_nested_without(locks: &'static Locks) {
            outer_without(locks);
        }
        fn twin_closure_with(locks: &'static Locks) {
            with_device(&locks.device, &mut token(), |device, cx| {
                with_queue(&locks.queue, cx, |queue| *queue += device);
            });
        }
        fn twin_closure_without(locks: &'static Locks) {
            with_device_without(&locks.device, |device| {
                with_queue_without(&locks.queue, |queue| *queue += device);
            });
        }
        fn twin_call_with(locks: &'static Locks) {
            let mut cx = token::<Thread>();
            let (adaptive, mut cx) = locks.adaptive.enter(&mut cx);
            called(*adaptive, locks, &mut cx);
        }
        fn twin_call_without(locks: &'static Locks) {
            let mut cx = token::<Thread>();
            let (adaptive, _) = locks.adaptive.enter(&mut cx);
            called_without(*adaptive, locks);
        }
    }

    // What the board's start refers to.

    fn never() -> ! {
        unreachable!("the program is never run")
    }

    #[unsafe(no_mangle)]
    fn kernel_main(_: Boot) -> ! {
        keep();
        never()
    }

    #[unsafe(no_mangle)]
    fn kernel_secondary(_: usize, _: u8) -> ! {
        never()
    }

    #[unsafe(no_mangle)]
    fn kernel_interrupt() {}

    #[unsafe(no_mangle)]
    fn kernel_fault(_: &Fault) -> ! {
        never()
    }
}
