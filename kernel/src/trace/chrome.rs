// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trace as JSON that Perfetto and Chrome's viewer open.
//!
//! # Theory
//! Three processes are shown. *CPUs* has a track for each CPU: who runs there, in it whom it lends the CPU to, and in that the
//! interrupts, as slices that nest (`B`, `E`); what takes no time is an instant (`i`). *Threads* has a track for
//! each thread: when it runs. A wait for a lock may begin while a thread runs and end after it ran elsewhere, so it is no slice of
//! either but one of its own, which need not nest (`b`, `e`); and so is a disk request, in *disks*.
//!
//! A ring begins and ends anywhere. What ends without having begun is left out; what has begun and not ended is ended
//! with the last record. Times on a track never go back.
//!
//! Lines are at most 80 columns, so that the text passes a terminal.
//!
//! # Contexts
//! Threads: it remembers each thread that it met.
//!
//! References: Trace Event Format (Google, 2016); Perfetto's "External trace formats".
use super::event::{Event, Record, operation};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// The processes.
const CPUS: u32 = 1;
const THREADS: u32 = 2;
const DISKS: u32 = 3;
/// Widest line.
const COLUMNS: usize = 80;

/// What is open on the track of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Runs(u32),
    Borrows(u32),
    Interrupt(u16),
}

#[derive(Default)]
struct Thread {
    runs: bool,
    last_ns: u64,
    /// What it waits for: locks, each in an interrupt in the wait for the one before.
    waits: Vec<String>,
}

/// Writes one trace.
pub struct Chrome<'a> {
    name: &'a dyn Fn(u32) -> String,
    cpus: [Vec<Open>; 4],
    threads: BTreeMap<u32, Thread>,
    /// Transfers under way, with their names.
    transfers: BTreeMap<u32, String>,
    last_ns: u64,
    is_first: bool,
}

/// An element of the array, as it is put together.
struct Element<'a> {
    out: &'a mut dyn Write,
    column: usize,
}

impl Element<'_> {
    /// Adds a piece that may begin a new line.
    fn piece(&mut self, text: &str) -> fmt::Result {
        if self.column > 0 && self.column + text.len() > COLUMNS - 2 {
            self.out.write_char('\n')?;
            self.column = 0;
        }
        self.column += text.len();
        self.out.write_str(text)
    }
}

/// Where and when an entry is.
#[derive(Clone, Copy)]
struct Place {
    process: u32,
    track: u32,
    ns: u64,
}

/// `text` between quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('?'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl<'a> Chrome<'a> {
    /// `name` names threads.
    pub fn new(name: &'a dyn Fn(u32) -> String) -> Self {
        Self {
            name,
            cpus: [const { Vec::new() }; 4],
            threads: BTreeMap::new(),
            transfers: BTreeMap::new(),
            last_ns: 0,
            is_first: true,
        }
    }

    /// What comes first: `lost` records were overwritten.
    pub fn begin(&mut self, out: &mut dyn Write, version: &str, lost: u64) -> fmt::Result {
        writeln!(out, "{{\"displayTimeUnit\":\"ns\",")?;
        writeln!(
            out,
            "\"otherData\":{{\"kernel\":\"Orthogon {version}\",\"lost\":\"{lost}\"}},"
        )?;
        out.write_str("\"traceEvents\":[")?;
        for (process, name) in [(CPUS, "CPUs"), (THREADS, "threads"), (DISKS, "disks")] {
            self.metadata(out, "process_name", process, None, name)?;
        }
        for cpu in 0..self.cpus.len() as u32 {
            let name = format!("CPU {cpu}");
            self.metadata(out, "thread_name", CPUS, Some(cpu + 1), &name)?;
        }
        Ok(())
    }

    /// What comes last.
    pub fn end(mut self, out: &mut dyn Write) -> fmt::Result {
        let ns = self.last_ns;
        for cpu in 0..self.cpus.len() {
            self.close(out, cpu, 0, ns)?;
        }
        let threads = core::mem::take(&mut self.threads);
        for (id, thread) in threads {
            let at = Place {
                process: THREADS,
                track: id,
                ns: ns.max(thread.last_ns),
            };
            if thread.runs {
                self.entry(out, "E", at, &[])?;
            }
            for wait in thread.waits.iter().rev() {
                self.wait(out, "e", at, wait)?;
            }
        }
        for (id, name) in core::mem::take(&mut self.transfers) {
            self.transfer(out, "e", id, &name, ns)?;
        }
        out.write_str("\n]}\n")
    }

    fn metadata(
        &mut self,
        out: &mut dyn Write,
        what: &str,
        process: u32,
        track: Option<u32>,
        name: &str,
    ) -> fmt::Result {
        self.separate(out)?;
        let track = track.map_or(String::new(), |track| format!("\"tid\":{track},"));
        let mut entry = Element { out, column: 0 };
        entry.piece(&format!("{{\"ph\":\"M\",\"name\":\"{what}\","))?;
        entry.piece(&format!("\"pid\":{process},{track}"))?;
        entry.piece(&format!("\"args\":{{\"name\":{}}}}}", quoted(name)))
    }

    fn separate(&mut self, out: &mut dyn Write) -> fmt::Result {
        let is_first = core::mem::replace(&mut self.is_first, false);
        out.write_str(if is_first { "\n" } else { ",\n" })
    }

    /// An entry of phase `phase`, with further members.
    fn entry(
        &mut self,
        out: &mut dyn Write,
        phase: &str,
        at: Place,
        members: &[(&str, &str)],
    ) -> fmt::Result {
        self.separate(out)?;
        let Place { process, track, ns } = at;
        let mut entry = Element { out, column: 0 };
        entry.piece(&format!(
            "{{\"ph\":\"{phase}\",\"pid\":{process},\"tid\":{track},\"ts\":{}.{:03}",
            ns / 1000,
            ns % 1000
        ))?;
        for (name, value) in members {
            entry.piece(&format!(",\"{name}\":{value}"))?;
        }
        entry.piece("}")
    }

    /// A slice begins.
    fn slice(&mut self, out: &mut dyn Write, at: Place, category: &str, name: &str) -> fmt::Result {
        let (category, name) = (quoted(category), quoted(name));
        self.entry(out, "B", at, &[("cat", &category), ("name", &name)])
    }

    /// Something that takes no time; `args` is an object.
    fn instant(
        &mut self,
        out: &mut dyn Write,
        at: Place,
        category: &str,
        name: &str,
        args: &str,
    ) -> fmt::Result {
        let (category, name) = (quoted(category), quoted(name));
        let members = [
            ("s", "\"t\""),
            ("cat", category.as_str()),
            ("name", &name),
            ("args", args),
        ];
        self.entry(out, "i", at, &members)
    }

    /// A wait begins or ends.
    fn wait(&mut self, out: &mut dyn Write, phase: &str, at: Place, name: &str) -> fmt::Result {
        let (id, name) = (format!("\"{:#x}\"", at.track), quoted(name));
        let members = [("cat", "\"lock\""), ("id", id.as_str()), ("name", &name)];
        self.entry(out, phase, at, &members)
    }

    /// A transfer begins or ends.
    fn transfer(
        &mut self,
        out: &mut dyn Write,
        phase: &str,
        id: u32,
        name: &str,
        ns: u64,
    ) -> fmt::Result {
        let at = Place {
            process: DISKS,
            track: 1,
            ns,
        };
        let (id, name) = (format!("\"{id:#x}\""), quoted(name));
        let members = [("cat", "\"bio\""), ("id", id.as_str()), ("name", &name)];
        self.entry(out, phase, at, &members)
    }

    /// Ends what is open on a CPU's track, down to `depth`.
    fn close(&mut self, out: &mut dyn Write, cpu: usize, depth: usize, ns: u64) -> fmt::Result {
        while self.cpus[cpu].len() > depth {
            self.cpus[cpu].pop();
            let at = Place {
                process: CPUS,
                track: cpu as u32 + 1,
                ns,
            };
            self.entry(out, "E", at, &[])?;
        }
        Ok(())
    }

    /// Ends `open` on a CPU's track, and what is in it; nothing if it was not seen to begin.
    fn close_one(&mut self, out: &mut dyn Write, cpu: usize, open: Open, ns: u64) -> fmt::Result {
        let depth = self.cpus[cpu].iter().rposition(|one| *one == open);
        depth.map_or(Ok(()), |depth| self.close(out, cpu, depth, ns))
    }

    /// Begins `open` on a CPU's track.
    fn open(
        &mut self,
        out: &mut dyn Write,
        cpu: usize,
        open: Open,
        ns: u64,
        name: &str,
    ) -> fmt::Result {
        let at = Place {
            process: CPUS,
            track: cpu as u32 + 1,
            ns,
        };
        let category = match open {
            Open::Interrupt(_) => "intr",
            Open::Runs(_) | Open::Borrows(_) => "sched",
        };
        self.cpus[cpu].push(open);
        self.slice(out, at, category, name)
    }

    /// The track of a thread, at a time that is not before its last; named the first time.
    fn track(&mut self, out: &mut dyn Write, id: u32, ns: u64) -> Result<Place, fmt::Error> {
        if let Entry::Vacant(new) = self.threads.entry(id) {
            new.insert(Thread::default());
            let name = (self.name)(id);
            self.metadata(out, "thread_name", THREADS, Some(id), &name)?;
        }
        let thread = self.threads.entry(id).or_default();
        thread.last_ns = thread.last_ns.max(ns);
        Ok(Place {
            process: THREADS,
            track: id,
            ns: thread.last_ns,
        })
    }

    /// A thread begins or ceases to run.
    fn runs(
        &mut self,
        out: &mut dyn Write,
        id: u32,
        runs: bool,
        ns: u64,
        cpu: usize,
    ) -> fmt::Result {
        let at = self.track(out, id, ns)?;
        let thread = self.threads.entry(id).or_default();
        let ran = core::mem::replace(&mut thread.runs, runs);
        if ran {
            self.entry(out, "E", at, &[])?;
        }
        if runs {
            self.slice(out, at, "sched", &format!("on CPU {cpu}"))?;
        }
        Ok(())
    }

    /// Adds a record of `cpu`, of time `ns`. Records of a CPU come in the order of time.
    pub fn add(
        &mut self,
        out: &mut dyn Write,
        cpu: usize,
        ns: u64,
        record: &Record,
    ) -> fmt::Result {
        self.last_ns = self.last_ns.max(ns);
        let me = record.thread;
        let here = Place {
            process: CPUS,
            track: cpu as u32 + 1,
            ns,
        };
        match record.event {
            Event::Switch { to } => {
                self.close(out, cpu, 0, ns)?;
                let name = (self.name)(to);
                self.open(out, cpu, Open::Runs(to), ns, &name)?;
                self.runs(out, me, false, ns, cpu)?;
                self.runs(out, to, true, ns, cpu)
            }
            Event::Lend { to } => {
                let name = (self.name)(to);
                self.open(out, cpu, Open::Borrows(to), ns, &name)?;
                self.runs(out, to, true, ns, cpu)
            }
            Event::TakeBack { from } => {
                self.close_one(out, cpu, Open::Borrows(from), ns)?;
                self.runs(out, from, false, ns, cpu)
            }
            Event::Interrupt { intid, name } => {
                self.open(out, cpu, Open::Interrupt(intid), ns, name.get())
            }
            Event::Return { intid } => self.close_one(out, cpu, Open::Interrupt(intid), ns),
            Event::Spin { class } | Event::Block { class } => {
                let at = self.track(out, me, ns)?;
                let is_spin = matches!(record.event, Event::Spin { .. });
                let spin = format!("spin {}", class.get());
                let thread = self.threads.entry(me).or_default();
                if !is_spin && thread.waits.pop_if(|wait| *wait == spin).is_some() {
                    self.wait(out, "e", at, &spin)?;
                }
                let name = if is_spin {
                    spin
                } else {
                    format!("block {}", class.get())
                };
                self.wait(out, "b", at, &name)?;
                self.threads.entry(me).or_default().waits.push(name);
                Ok(())
            }
            Event::EndWait { class } => {
                let at = self.track(out, me, ns)?;
                let thread = self.threads.entry(me).or_default();
                let ended = |wait: &mut String| wait.ends_with(class.get());
                match thread.waits.pop_if(ended) {
                    Some(name) => self.wait(out, "e", at, &name),
                    None => Ok(()),
                }
            }
            Event::Submit {
                id,
                op,
                lba,
                sectors,
            } => {
                // An identifier is used again when its transfer has ended.
                if let Some(name) = self.transfers.remove(&id) {
                    self.transfer(out, "e", id, &name, ns)?;
                }
                let name = format!("{} {sectors} at {lba}", operation(op));
                self.transfer(out, "b", id, &name, ns)?;
                self.transfers.insert(id, name);
                Ok(())
            }
            Event::Done { id, well } => {
                if let Some(name) = self.transfers.remove(&id) {
                    self.transfer(out, "e", id, &name, ns)?;
                }
                let name = if well {
                    "transfer done"
                } else {
                    "transfer failed"
                };
                self.instant(out, here, "bio", name, &format!("{{\"id\":\"{id:#x}\"}}"))
            }
            Event::Start {
                op,
                transfers,
                lba,
                sectors,
            } => {
                let name = format!("start {}", operation(op));
                let args =
                    format!("{{\"lba\":{lba},\"sectors\":{sectors},\"transfers\":{transfers}}}");
                self.instant(out, here, "bio", &name, &args)
            }
            Event::Wake { thread } => {
                let name = format!("wake {}", (self.name)(thread));
                self.instant(
                    out,
                    here,
                    "sched",
                    &name,
                    &format!("{{\"thread\":{thread}}}"),
                )
            }
            Event::Migrate { thread, from, to } => {
                let args = format!("{{\"thread\":{thread},\"from\":{from},\"to\":{to}}}");
                self.instant(out, here, "sched", "migrate", &args)
            }
            Event::LongHold { class, us } => {
                let name = format!("long hold {}", class.get());
                self.instant(out, here, "lock", &name, &format!("{{\"us\":{us}}}"))
            }
            Event::Handler { intid, name } => {
                let args = format!("{{\"intid\":{intid}}}");
                self.instant(out, here, "intr", name.get(), &args)
            }
            Event::Deferred { intid, us } => {
                let args = format!("{{\"intid\":{intid},\"us\":{us}}}");
                self.instant(out, here, "intr", "deferred", &args)
            }
            Event::Softint { number } => {
                let args = format!("{{\"number\":{number}}}");
                self.instant(out, here, "intr", "soft interrupt", &args)
            }
            Event::Ipi { what, cpus } => {
                let args = format!("{{\"what\":{what},\"cpus\":{cpus}}}");
                self.instant(out, here, "intr", "interrupt CPUs", &args)
            }
            Event::Receive { frames } => {
                let args = format!("{{\"frames\":{frames}}}");
                self.instant(out, here, "net", "receive", &args)
            }
            Event::Transmit { frames } => {
                let args = format!("{{\"frames\":{frames}}}");
                self.instant(out, here, "net", "transmit", &args)
            }
        }
    }
}
