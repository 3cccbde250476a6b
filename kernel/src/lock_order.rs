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
        /// The threads that `provoke` started.
        Provoke,
        /// Those that its threads get stuck between, and that one keeps.
        ProvokeLeft,
        /// As above.
        ProvokeRight,
        /// As above.
        ProvokeBusy,
        /// What a check or a measurement shares among its threads.
        Trial,
        /// One look at the whole machine at a time.
        Diagnosis,
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
        /// The network is configured, by one at a time.
        NetConfig,
        /// The PHY, which is asked over a slow bus.
        Phy,
        /// TCP/IP: the interface and its sockets.
        NetStack,
        /// Which services are open.
        Services,
        /// What became of datagrams in a measurement.
        Iperf3,
        /// Who is asked for the time.
        Ntp,
        /// The random numbers, and the generator that they are seeded from.
        Random,
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
        /// The Ethernet controller and its rings.
        NetDevice,
        /// Packets on their way to the soft interrupt.
        NetQueue,
        /// Packet buffers that nobody uses.
        NetPool,
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
        /// What a CPU says of a thread that it runs.
        Backtrace,
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
        /// Sockets whose threads forgot them.
        NetAbandoned,
        /// The log's memory.
        Log,
        /// The interrupt distributor.
        Gic,
        /// The allocator.
        Heap,
    }
}
