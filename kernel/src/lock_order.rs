// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order of the kernel's locks, all of it: a lock may be taken where those that stand before it are held.
//!
//! The domains come in the order `thread`; `bio`, `net`, `tty`, which are unordered between themselves; `vm`; `sched`;
//! `high`. Below `high` stand the locks that must work anywhere, taken without a token.
use crate::thread::Kernel;

sync::lock_order! {
    machine Kernel;
    thread {
        /// The load that `stress` runs.
        Stress,
        /// What a check or a measurement shares among its threads.
        Trial,
        /// CPUs come and go.
        Change,
        /// Interrupts are established and moved.
        Sources,
        /// Soft interrupts are established.
        Softints,
        /// One cross-call at a time.
        Xcall,
        /// Who prints the log.
        Printing,
        /// The line being edited.
        Terminal,
        /// The torture's, in the order in which it nests them.
        TorturePlain,
        /// As above.
        TortureOuter,
        /// As above.
        TortureInner,
        /// As above.
        TortureShared,
        /// As above.
        TortureSharedToo,
        /// As above.
        TortureRing,
        /// As above.
        TortureBell,
        /// As above.
        TortureNever,
        /// The card that was found.
        Disk,
        /// Mounted volumes.
        Mounts,
        /// The card itself, while a command runs.
        Card,
        /// The VideoCore's mailbox.
        Mailbox,
        /// The end of a thread, for those who wait for it.
        Join,
    }
    bio {
        /// One legacy handler of the domain at a time.
        LegacyBio,
        /// A block device's queue and the device.
        BioQueue,
        /// The ends of a device's transfers.
        BioDone,
        /// That the card's controller has interrupted, for who waits for that.
        CardEvent,
        /// What a check shares among threads.
        TrialBio,
        /// The torture's.
        TortureBio,
    }
    net {
        /// As for disks.
        LegacyNet,
        /// What a check shares with a handler.
        TrialNet,
        /// The torture's.
        TortureNet,
    }
    tty {
        /// As for disks.
        LegacyTty,
        /// The serial line's rings and its UART.
        Tty,
        /// The torture's.
        TortureTty,
    }
    vm {
        /// The torture's.
        TortureVm,
    }
    sched {
        /// The cross-call that is made.
        XcallSlot,
        /// What the CPUs say that they did about interrupts.
        Figures,
        /// What checks share with callouts.
        TrialSched,
        /// The torture's.
        TortureSched,
        /// What waits for the timer of a CPU.
        Callouts,
        /// Who waits for a CPU, and how every thread stands.
        RunQueue,
    }
    high {
        /// What a check shares among threads.
        TrialHigh,
        /// The torture's.
        TortureHigh,
        /// The log's memory.
        Log,
        /// The interrupt distributor.
        Gic,
        /// The allocator.
        Heap,
    }
}
