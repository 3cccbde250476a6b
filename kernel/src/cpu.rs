// SPDX-License-Identifier: MIT OR Apache-2.0
//! Per-CPU state that is not the scheduler's, sets of CPUs, and IRQ masked with a note of where.
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

pub use bsp::map::CPUS;

/// A set of CPUs, bit `n` for CPU `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuSet(pub u8);

impl CpuSet {
    /// Every CPU of the board.
    pub const ALL: CpuSet = CpuSet((1 << CPUS) - 1);

    /// Only `cpu`.
    pub const fn only(cpu: usize) -> Self {
        CpuSet(1 << cpu)
    }

    /// True if `cpu` is in the set.
    pub const fn contains(self, cpu: usize) -> bool {
        self.0 & 1 << cpu != 0
    }

    /// The CPUs in the set, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..CPUS).filter(move |cpu| self.contains(*cpu))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut text = heapless::String::<16>::new();
        for cpu in self.iter() {
            let comma = if text.is_empty() { "" } else { "," };
            fmt::Write::write_fmt(&mut text, format_args!("{comma}{cpu}"))?;
        }
        f.pad(&text)
    }
}

/// Where a CPU is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CpuState {
    /// In the firmware's hands, or switched off by PSCI.
    Off,
    /// In the kernel, out of the scheduler: its interrupts masked, waiting to be taken back.
    Parked,
    /// Runs threads.
    Online,
    /// Stopped by another CPU ([`crate::stop`]).
    Stopped,
}

/// An interrupt, or a loan of a CPU, that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Interruption {
    /// When.
    pub since_ticks: u64,
    /// What there was of them before it.
    before_ticks: u64,
}

/// One CPU. Written by that CPU unless it says otherwise.
pub struct Cpu {
    state: AtomicU8,
    /// Another CPU asks this one, parked, to come back.
    pub wake_request: AtomicBool,
    /// This one, going off, has left the scheduler and handed everything over.
    pub gone: AtomicBool,
    /// A thread that should run before the current one waits in the queue. Set by anyone.
    pub need_resched: AtomicBool,
    /// End of the current thread's time slice, ns; `u64::MAX`: it has no competitor.
    pub slice_end_ns: AtomicU64,
    /// When the timer will interrupt, ns; `u64::MAX`: it is off.
    pub timer_ns: AtomicU64,
    /// Exception level that this CPU was entered at.
    pub entry_el: AtomicU8,
    /// GIC CPU interface, as a target bit.
    pub gic_target: AtomicU8,
    /// MPIDR affinity.
    pub mpidr: AtomicU64,
    /// Times the CPU came online.
    pub starts: AtomicU32,
    /// How long interrupts, and threads that borrowed the CPU, have run on it.
    interrupts_ticks: AtomicU64,
    /// What that was when a thread last got the CPU.
    interrupts_noted_ticks: AtomicU64,
    /// Of them, soft interrupts.
    pub softints_ticks: AtomicU64,
    /// Frame record of the CPU when another stopped it.
    pub stopped_at: AtomicU64,
}

// ORDERING: all fields are statistics or hints except `state`, `wake_request`, `gone` and `need_resched`; those pair a
// Release store with an Acquire load of the same field.
impl Cpu {
    const fn new() -> Self {
        Self {
            state: AtomicU8::new(CpuState::Off as u8),
            wake_request: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            need_resched: AtomicBool::new(false),
            slice_end_ns: AtomicU64::new(u64::MAX),
            timer_ns: AtomicU64::new(u64::MAX),
            entry_el: AtomicU8::new(0),
            gic_target: AtomicU8::new(0),
            mpidr: AtomicU64::new(0),
            starts: AtomicU32::new(0),
            interrupts_ticks: AtomicU64::new(0),
            interrupts_noted_ticks: AtomicU64::new(0),
            softints_ticks: AtomicU64::new(0),
            stopped_at: AtomicU64::new(0),
        }
    }

    /// How long interrupts, and threads that borrowed the CPU, have run on it, ticks; without those that still do.
    #[inline]
    pub fn interrupts_ticks(&self) -> u64 {
        self.interrupts_ticks.load(Ordering::Relaxed)
    }

    /// Of that, what came since [`note_interrupts`](Cpu::note_interrupts).
    #[inline]
    pub fn new_interrupts_ticks(&self) -> u64 {
        self.interrupts_ticks() - self.interrupts_noted_ticks.load(Ordering::Relaxed)
    }

    /// From now on, others are new. On this CPU, as a thread gets it.
    #[inline]
    pub fn note_interrupts(&self) {
        self.interrupts_noted_ticks
            .store(self.interrupts_ticks(), Ordering::Relaxed);
    }

    /// An interrupt, or a loan of this CPU, begins at `now_ticks`.
    #[inline]
    pub fn interrupted(&self, now_ticks: u64) -> Interruption {
        Interruption {
            since_ticks: now_ticks,
            before_ticks: self.interrupts_ticks(),
        }
    }

    /// It ends at `now_ticks`; returns what it had of that for itself, without those that came on top of it.
    #[inline]
    pub fn resumed(&self, interruption: Interruption, now_ticks: u64) -> u64 {
        let Interruption {
            since_ticks,
            before_ticks,
        } = interruption;
        let all = now_ticks - since_ticks;
        let nested = self.interrupts_ticks() - before_ticks;
        self.interrupts_ticks
            .store(before_ticks + all, Ordering::Relaxed);
        all - nested
    }

    /// Where the CPU is in its life.
    pub fn state(&self) -> CpuState {
        match self.state.load(Ordering::Acquire) {
            1 => CpuState::Parked,
            2 => CpuState::Online,
            3 => CpuState::Stopped,
            _ => CpuState::Off,
        }
    }
}

static CPU: [Cpu; CPUS] = [const { Cpu::new() }; CPUS];

/// The CPUs whose state is `Online`, bit by bit: read at each wake-up.
static ONLINE: AtomicU8 = AtomicU8::new(0);

/// Publishes a new state of CPU `n`, and all that was written before.
pub fn set_state(n: usize, state: CpuState) {
    CPU[n].state.store(state as u8, Ordering::Release);
    // ORDERING: a hint; who places a thread looks again with the CPU's queue locked.
    match state {
        CpuState::Online => ONLINE.fetch_or(1 << n, Ordering::Relaxed),
        _ => ONLINE.fetch_and(!(1 << n), Ordering::Relaxed),
    };
}

/// CPU number `n`.
pub fn cpu(n: usize) -> &'static Cpu {
    &CPU[n]
}

/// The CPU that executes this. Meaningful only while the caller cannot migrate: spl raised, or interrupts masked.
pub fn this() -> &'static Cpu {
    &CPU[bsp::cpu::index()]
}

/// Masks IRQ on this CPU, and has the current thread note where, for those who find it hung there
/// ([`crate::stop`]); returns the previous mask, for [`bsp::cpu::irq_restore`].
#[inline]
#[must_use]
pub fn irq_save() -> u64 {
    const DAIF_I: u64 = 1 << 7;
    let daif = bsp::cpu::irq_save();
    if daif & DAIF_I == 0 {
        crate::thread::current().note_masked();
    }
    daif
}

/// CPUs that run threads now.
pub fn online() -> CpuSet {
    CpuSet(ONLINE.load(Ordering::Relaxed))
}
