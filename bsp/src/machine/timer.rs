// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generic timer of each core: one counter for all, one comparator each (EL1 virtual timer, PPI 27).
//!
//! The virtual timer, because it needs nobody's permission: entered at EL1, the physical one may be trapped.
//! References: ARM DDI 0487, D12.
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable,
};
use core::sync::atomic::{AtomicU64, Ordering};
use embedded_hal::delay::DelayNs;

/// The Pi's crystal, should firmware have left CNTFRQ_EL0 zero.
const DEFAULT_HZ: u64 = 54_000_000;

/// Counter ticks per second.
pub fn frequency_hz() -> u64 {
    match CNTFRQ_EL0.get() {
        0 => DEFAULT_HZ,
        hz => hz,
    }
}

/// The counter now, in ticks; the same on all cores.
#[inline]
pub fn ticks() -> u64 {
    barrier::isb(barrier::SY); // or the read may be taken early
    CNTVCT_EL0.get()
}

static START: AtomicU64 = AtomicU64::new(0);

/// Makes now the origin of [`now_ns`]: once, on the first core.
pub fn start() {
    // ORDERING: written before any other core runs.
    START.store(ticks(), Ordering::Relaxed);
}

/// Nanoseconds since [`start`].
#[inline]
pub fn now_ns() -> u64 {
    ticks_to_ns(ticks() - START.load(Ordering::Relaxed))
}

fn ticks_to_ns(ticks: u64) -> u64 {
    (u128::from(ticks) * 1_000_000_000 / u128::from(frequency_hz())) as u64
}

/// Interrupts this core at `deadline_ns` ([`now_ns`]'s scale), at once if that has passed; `None` switches off.
pub fn set_deadline(deadline_ns: Option<u64>) {
    match deadline_ns {
        Some(ns) => {
            let ticks =
                (u128::from(ns) * u128::from(frequency_hz())).div_ceil(1_000_000_000) as u64;
            CNTV_CVAL_EL0.set(START.load(Ordering::Relaxed) + ticks);
            CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
        }
        None => CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR),
    }
    barrier::isb(barrier::SY);
}

/// Busy waiting on the counter: any context, and before there are threads.
pub struct Spin;

impl DelayNs for Spin {
    fn delay_ns(&mut self, ns: u32) {
        let end = now_ns() + u64::from(ns);
        while now_ns() < end {
            core::hint::spin_loop();
        }
    }
}
