// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is traced, and how it is put into words of a record.
use core::fmt::{self, Write};

/// A class of events, which is switched as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// The scheduler.
    Sched = 1,
    /// Waits for locks.
    Lock = 2,
    /// Interrupts, soft ones too, and what CPUs send each other.
    Intr = 4,
    /// Disk requests.
    Bio = 8,
    /// Packets.
    Net = 16,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 5] = [
        Class::Sched,
        Class::Lock,
        Class::Intr,
        Class::Bio,
        Class::Net,
    ];

    /// Its name, as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Sched => "sched",
            Class::Lock => "lock",
            Class::Intr => "intr",
            Class::Bio => "bio",
            Class::Net => "net",
        }
    }

    /// The class of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// Some classes, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(pub u8);

impl Classes {
    /// Every class.
    pub const ALL: Classes = Classes(31);

    /// Is `class` among them?
    pub const fn has(self, class: Class) -> bool {
        self.0 & class as u8 != 0
    }

    /// These, and `class`.
    pub const fn with(self, class: Class) -> Self {
        Classes(self.0 | class as u8)
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut names = Class::ALL.into_iter().filter(|class| self.has(*class));
        match names.next() {
            None => f.write_str("nothing"),
            Some(first) => {
                f.write_str(first.name())?;
                names.try_for_each(|class| write!(f, " {}", class.name()))
            }
        }
    }
}

/// A name that stays: of a lock's class, or of an interrupt. One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(u64);

/// Where its length begins. Addresses of the kernel, and of programs on a host, end below.
const LENGTH_SHIFT: u32 = 48;

impl Name {
    /// That of `name`.
    pub fn of(name: &'static str) -> Self {
        let address = name.as_ptr().expose_provenance() as u64;
        Name(address | (name.len() as u64) << LENGTH_SHIFT)
    }

    /// It.
    pub fn get(self) -> &'static str {
        let address = (self.0 & ((1 << LENGTH_SHIFT) - 1)) as usize;
        let length = (self.0 >> LENGTH_SHIFT) as usize;
        // SAFETY: taken apart as `of` put it together, from a string that stays; a ring gives back only what was put in.
        unsafe {
            let bytes =
                core::slice::from_raw_parts(core::ptr::with_exposed_provenance(address), length);
            core::str::from_utf8_unchecked(bytes)
        }
    }
}

/// What happened. The thread that it happened to, or in, is the record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The thread loses the CPU to thread `to`.
    Switch {
        /// Who runs now.
        to: u32,
    },
    /// The thread makes another one runnable.
    Wake {
        /// Whom.
        thread: u32,
    },
    /// A thread goes from one CPU to another.
    Migrate {
        /// Which.
        thread: u32,
        /// From where.
        from: u8,
        /// To where.
        to: u8,
    },
    /// The thread lends its CPU to an interrupt thread.
    Lend {
        /// Who runs now.
        to: u32,
    },
    /// The thread has its CPU back.
    TakeBack {
        /// From whom.
        from: u32,
    },
    /// The thread begins to spin for a lock.
    Spin {
        /// The lock's class.
        class: Name,
    },
    /// The thread begins to wait for a lock, off the CPU.
    Block {
        /// The lock's class.
        class: Name,
    },
    /// The thread waits for that lock no more: it has it, or has given up.
    EndWait {
        /// The lock's class.
        class: Name,
    },
    /// The thread leaves a lock that it held too long.
    LongHold {
        /// The lock's class.
        class: Name,
        /// How long, us.
        us: u32,
    },
    /// A direct handler begins.
    Interrupt {
        /// Its interrupt.
        intid: u16,
        /// Who established it.
        name: Name,
    },
    /// It ends.
    Return {
        /// Its interrupt.
        intid: u16,
    },
    /// A threaded handler begins; the thread is its own.
    Handler {
        /// Its interrupt.
        intid: u16,
        /// Who established it.
        name: Name,
    },
    /// An interrupt that was held off is about to be handled.
    Deferred {
        /// Its identifier.
        intid: u16,
        /// How long it was, us.
        us: u32,
    },
    /// A soft interrupt's function begins; the thread is that of its class.
    Softint {
        /// Its number among all.
        number: u8,
    },
    /// The CPU interrupts others.
    Ipi {
        /// What it wants of them.
        what: u8,
        /// Which, a bit for each.
        cpus: u8,
    },
    /// A transfer was given to a disk.
    Submit {
        /// Tells those apart that are under way.
        id: u32,
        /// Read, write, write-through, flush.
        op: u8,
        /// The first sector.
        lba: u64,
        /// How many.
        sectors: u32,
    },
    /// A command of one or more transfers starts.
    Start {
        /// As above.
        op: u8,
        /// How many transfers it has.
        transfers: u8,
        /// The first sector.
        lba: u64,
        /// How many.
        sectors: u32,
    },
    /// A transfer has ended.
    Done {
        /// That of its submission.
        id: u32,
        /// Without an error.
        well: bool,
    },
    /// Frames were taken from the controller.
    Receive {
        /// How many.
        frames: u32,
    },
    /// Frames were given to the controller.
    Transmit {
        /// How many.
        frames: u32,
    },
}

/// What the kernel counts too, each with its class; [`Event::tally`] is a place in here.
pub const TALLIES: [(&str, Class); 6] = [
    ("interrupts handled", Class::Intr),
    ("switches of threads", Class::Sched),
    ("disk commands", Class::Bio),
    ("disk transfers", Class::Bio),
    ("frames received", Class::Net),
    ("frames sent", Class::Net),
];

/// Sectors take the upper 24 bits of a word, their number the rest.
const LBA_BITS: u32 = 40;

fn place(lba: u64, sectors: u32) -> u64 {
    lba & ((1 << LBA_BITS) - 1) | u64::from(sectors) << LBA_BITS
}

impl Event {
    /// Its kind's number, its small arguments (24 bits and 32), and its large one.
    fn parts(self) -> (u8, u32, u32, u64) {
        match self {
            Event::Switch { to } => (0, 0, to, 0),
            Event::Wake { thread } => (1, 0, thread, 0),
            Event::Migrate { thread, from, to } => {
                (2, u32::from(from) | u32::from(to) << 8, thread, 0)
            }
            Event::Lend { to } => (3, 0, to, 0),
            Event::TakeBack { from } => (4, 0, from, 0),
            Event::Spin { class } => (5, 0, 0, class.0),
            Event::Block { class } => (6, 0, 0, class.0),
            Event::EndWait { class } => (7, 0, 0, class.0),
            Event::LongHold { class, us } => (8, 0, us, class.0),
            Event::Interrupt { intid, name } => (9, intid.into(), 0, name.0),
            Event::Return { intid } => (10, intid.into(), 0, 0),
            Event::Handler { intid, name } => (11, intid.into(), 0, name.0),
            Event::Deferred { intid, us } => (12, intid.into(), us, 0),
            Event::Softint { number } => (13, number.into(), 0, 0),
            Event::Ipi { what, cpus } => (14, u32::from(what) | u32::from(cpus) << 8, 0, 0),
            Event::Submit {
                id,
                op,
                lba,
                sectors,
            } => (15, op.into(), id, place(lba, sectors)),
            Event::Start {
                op,
                transfers,
                lba,
                sectors,
            } => (16, op.into(), transfers.into(), place(lba, sectors)),
            Event::Done { id, well } => (17, well.into(), id, 0),
            Event::Receive { frames } => (18, 0, frames, 0),
            Event::Transmit { frames } => (19, 0, frames, 0),
        }
    }

    /// Its kind's number.
    fn kind(self) -> usize {
        self.parts().0.into()
    }

    /// What the kernel counts it as, a place in [`TALLIES`]; and how many it stands for.
    pub fn tally(self) -> Option<(usize, u64)> {
        Some(match self {
            Event::Interrupt { .. } | Event::Handler { .. } => (0, 1),
            Event::Switch { .. } => (1, 1),
            Event::Start { .. } => (2, 1),
            Event::Done { .. } => (3, 1),
            Event::Receive { frames } => (4, frames.into()),
            Event::Transmit { frames } => (5, frames.into()),
            _ => return None,
        })
    }

    /// Two words that say it.
    pub(super) fn encode(self) -> [u64; 2] {
        let (kind, small, middle, large) = self.parts();
        [
            u64::from(kind) | u64::from(small) << 8 | u64::from(middle) << 32,
            large,
        ]
    }

    /// What [`encode`](Event::encode) made two words of.
    ///
    /// # Safety
    /// It did make them.
    pub(super) unsafe fn decode([word, large]: [u64; 2]) -> Option<Self> {
        let (small, middle) = ((word >> 8) as u32 & 0xFF_FFFF, (word >> 32) as u32);
        let (low, high) = (small as u8, (small >> 8) as u8);
        let (lba, sectors) = (large & ((1 << LBA_BITS) - 1), (large >> LBA_BITS) as u32);
        let (intid, name) = (small as u16, Name(large));
        Some(match word as u8 {
            0 => Event::Switch { to: middle },
            1 => Event::Wake { thread: middle },
            2 => Event::Migrate {
                thread: middle,
                from: low,
                to: high,
            },
            3 => Event::Lend { to: middle },
            4 => Event::TakeBack { from: middle },
            5 => Event::Spin { class: name },
            6 => Event::Block { class: name },
            7 => Event::EndWait { class: name },
            8 => Event::LongHold {
                class: name,
                us: middle,
            },
            9 => Event::Interrupt { intid, name },
            10 => Event::Return { intid },
            11 => Event::Handler { intid, name },
            12 => Event::Deferred { intid, us: middle },
            13 => Event::Softint { number: low },
            14 => Event::Ipi {
                what: low,
                cpus: high,
            },
            15 => Event::Submit {
                id: middle,
                op: low,
                lba,
                sectors,
            },
            16 => Event::Start {
                op: low,
                transfers: middle as u8,
                lba,
                sectors,
            },
            17 => Event::Done {
                id: middle,
                well: low != 0,
            },
            18 => Event::Receive { frames: middle },
            19 => Event::Transmit { frames: middle },
            _ => return None,
        })
    }

    /// The class that it belongs to.
    pub fn class(self) -> Class {
        match self.kind() {
            0..=4 => Class::Sched,
            5..=8 => Class::Lock,
            9..=14 => Class::Intr,
            15..=17 => Class::Bio,
            _ => Class::Net,
        }
    }

    /// Writes it in words. `name` writes a thread's name.
    pub fn write(
        self,
        out: &mut dyn Write,
        name: &dyn Fn(&mut dyn Write, u32) -> fmt::Result,
    ) -> fmt::Result {
        match self {
            Event::Switch { to } => {
                out.write_str("switches to ")?;
                name(out, to)
            }
            Event::Wake { thread } => {
                out.write_str("wakes ")?;
                name(out, thread)
            }
            Event::Migrate { thread, from, to } => {
                write!(out, "CPU {from} to {to}: ")?;
                name(out, thread)
            }
            Event::Lend { to } => {
                out.write_str("lends to ")?;
                name(out, to)
            }
            Event::TakeBack { from } => {
                out.write_str("has back from ")?;
                name(out, from)
            }
            Event::Spin { class } => write!(out, "spins for {}", class.get()),
            Event::Block { class } => write!(out, "blocks for {}", class.get()),
            Event::EndWait { class } => write!(out, "waits no more for {}", class.get()),
            Event::LongHold { class, us } => write!(out, "held {} for {us} us", class.get()),
            Event::Interrupt { intid, name } => write!(out, "interrupt {intid} {}", name.get()),
            Event::Return { intid } => write!(out, "interrupt {intid} ends"),
            Event::Handler { intid, name } => write!(out, "handles {intid} {}", name.get()),
            Event::Deferred { intid, us } => write!(out, "deferred {intid} for {us} us"),
            Event::Softint { number } => write!(out, "soft interrupt {number}"),
            Event::Ipi { what, cpus } => {
                write!(out, "interrupts CPUs {cpus:#06b}: {what}")
            }
            Event::Submit {
                op, lba, sectors, ..
            } => {
                let op = SHORT[usize::from(op).min(3)];
                write!(out, "submits {op} {sectors} at {lba}")
            }
            Event::Start {
                op,
                transfers,
                lba,
                sectors,
            } => {
                let op = SHORT[usize::from(op).min(3)];
                write!(out, "starts {op} {sectors} at {lba}, {transfers}x")
            }
            Event::Done { well: true, .. } => out.write_str("transfer done"),
            Event::Done { well: false, .. } => out.write_str("transfer failed"),
            Event::Receive { frames } => write!(out, "{frames} frames received"),
            Event::Transmit { frames } => write!(out, "{frames} frames sent"),
        }
    }
}

/// What transfers do, for a narrow column.
const SHORT: [&str; 4] = ["read", "write", "wthru", "flush"];

/// What a transfer does.
pub(super) fn operation(op: u8) -> &'static str {
    ["read", "write", "write-through", "flush"]
        .get(usize::from(op))
        .copied()
        .unwrap_or("?")
}

/// An event, and when and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The counter then.
    pub ticks: u64,
    /// Number of the thread that ran.
    pub thread: u32,
    /// What happened.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_back_every_event() {
        let name = Name::of("RunQueue");
        let all = [
            Event::Switch { to: u32::MAX },
            Event::Wake { thread: 7 },
            Event::Migrate {
                thread: 9,
                from: 3,
                to: 1,
            },
            Event::Lend { to: 5 },
            Event::TakeBack { from: 5 },
            Event::Spin { class: name },
            Event::Block { class: name },
            Event::EndWait { class: name },
            Event::LongHold {
                class: name,
                us: u32::MAX,
            },
            Event::Interrupt { intid: 1023, name },
            Event::Return { intid: 1023 },
            Event::Handler { intid: 153, name },
            Event::Deferred {
                intid: 153,
                us: 1_000_000,
            },
            Event::Softint { number: 31 },
            Event::Ipi { what: 5, cpus: 15 },
            Event::Submit {
                id: u32::MAX,
                op: 3,
                lba: (1 << LBA_BITS) - 1,
                sectors: (1 << 24) - 1,
            },
            Event::Start {
                op: 1,
                transfers: 32,
                lba: 1 << 33,
                sectors: 2048,
            },
            Event::Done { id: 1, well: false },
            Event::Receive { frames: 64 },
            Event::Transmit { frames: 1 },
        ];
        for (kind, event) in all.into_iter().enumerate() {
            assert_eq!(event.kind(), kind);
            // SAFETY: encoded here.
            assert_eq!(unsafe { Event::decode(event.encode()) }, Some(event));
        }
        // SAFETY: no kind has that number, so nothing is made of the rest.
        assert_eq!(unsafe { Event::decode([all.len() as u64, 0]) }, None);
        assert_eq!(name.get(), "RunQueue");
    }

    #[test]
    fn classes_are_listed_by_name() {
        let some = Classes::default().with(Class::Lock).with(Class::Net);
        assert_eq!(std::format!("{some}"), "lock net");
        assert_eq!(std::format!("{}", Classes::ALL), "sched lock intr bio net");
        assert_eq!(std::format!("{}", Classes::default()), "nothing");
        assert!(
            Class::ALL
                .into_iter()
                .all(|c| Class::parse(c.name()) == Some(c))
        );
        assert_eq!(Class::parse("all"), None);
    }
}
