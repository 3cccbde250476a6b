// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generic timer of each core: one counter for all, two comparators each (EL1 virtual timer, PPI 27; EL1 physical
//! timer, PPI 30).
//!
//! The virtual timer is the kernel's clock, because it needs nobody's permission: entered at EL1, the physical one may be
//! trapped. Entered at EL2, the kernel has given itself the physical one as well: it is the watchdog's.
//! References: ARM DDI 0487, D12.
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTP_CTL_EL0, CNTP_TVAL_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable,
    Writeable,
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
/// Nanoseconds in a tick, with 58 bits behind the point: a conversion is a multiplication, and exact to a nanosecond
/// for a year and more. Good for 20 MHz and above.
static NS_PER_TICK: AtomicU64 = AtomicU64::new(0);
const NS_PER_TICK_BITS: u32 = 58;
/// Ticks in a nanosecond, with 60 bits behind the point.
static TICKS_PER_NS: AtomicU64 = AtomicU64::new(0);
const TICKS_PER_NS_BITS: u32 = 60;

/// Makes now the origin of [`now_ns`]: once, on the first core.
pub fn start() {
    let hz = u128::from(frequency_hz());
    let store = |to: &AtomicU64, value: u128| {
        // ORDERING: here and below: written before any other core runs.
        to.store(u64::try_from(value).unwrap_or(u64::MAX), Ordering::Relaxed);
    };
    store(&NS_PER_TICK, (1_000_000_000 << NS_PER_TICK_BITS) / hz);
    store(&TICKS_PER_NS, (hz << TICKS_PER_NS_BITS) / 1_000_000_000);
    START.store(ticks(), Ordering::Relaxed);
}

/// Nanoseconds since [`start`].
#[inline]
pub fn now_ns() -> u64 {
    ns_at(ticks())
}

/// What [`now_ns`] was when the counter was at `ticks`.
#[inline]
pub fn ns_at(ticks: u64) -> u64 {
    ticks_to_ns(ticks - START.load(Ordering::Relaxed))
}

/// A difference of [`ticks`] in nanoseconds.
#[inline]
pub fn ticks_to_ns(ticks: u64) -> u64 {
    scale(ticks, &NS_PER_TICK, NS_PER_TICK_BITS)
}

#[inline]
fn scale(value: u64, factor: &AtomicU64, bits: u32) -> u64 {
    ((u128::from(value) * u128::from(factor.load(Ordering::Relaxed))) >> bits) as u64
}

/// Interrupts this core when [`now_ns`] is `deadline_ns` or just past it, at once if that has been; `None` switches off.
pub fn set_deadline(deadline_ns: Option<u64>) {
    match deadline_ns {
        Some(ns) => {
            // Two more: both roundings are down, and an interrupt that is early comes again.
            let ticks = scale(ns, &TICKS_PER_NS, TICKS_PER_NS_BITS) + 2;
            CNTV_CVAL_EL0.set(START.load(Ordering::Relaxed) + ticks);
            CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
        }
        None => CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR),
    }
    barrier::isb(barrier::SY);
}

/// Interrupts this core by the physical timer in `after_ns` (less than 30 s, its width), `None` switches that off. Only on
/// a core that was entered at EL2.
pub fn set_watch(after_ns: Option<u64>) {
    match after_ns {
        Some(ns) => {
            CNTP_TVAL_EL0.set(scale(ns, &TICKS_PER_NS, TICKS_PER_NS_BITS));
            CNTP_CTL_EL0.write(CNTP_CTL_EL0::ENABLE::SET);
        }
        None => CNTP_CTL_EL0.write(CNTP_CTL_EL0::ENABLE::CLEAR),
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
