// SPDX-License-Identifier: MIT OR Apache-2.0
//! A checker of traces: what the Trace Event Format asks, as types and rules.
//!
//! # Theory
//! Each phase that the kernel writes has a structure with all members that the format has for it there, and no
//! others pass. Beyond the form: slices of a track nest and are all ended, times of a track never go back, a wait or a transfer that
//! ends has begun by the same name, and tracks have names.
//!
//! References: Trace Event Format (Google, 2016), "Duration Events", "Instant Events", "Async Events", "Metadata Events".

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The object form of a trace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// How times are shown: `ms` or `ns`.
    #[serde(rename = "displayTimeUnit")]
    pub unit: String,
    /// Whatever the writer wants to say.
    #[serde(rename = "otherData")]
    pub other: Map<String, Value>,
    /// What happened.
    #[serde(rename = "traceEvents")]
    pub events: Vec<Event>,
}

/// An entry, by its phase.
#[derive(Debug, Deserialize)]
#[serde(tag = "ph")]
pub enum Event {
    /// A slice begins.
    B(Named),
    /// The innermost slice of a track ends.
    E(Track),
    /// Something that takes no time.
    #[serde(rename = "i")]
    Instant(Instant),
    /// Something of its own begins.
    #[serde(rename = "b")]
    Begin(Async),
    /// It ends.
    #[serde(rename = "e")]
    End(Async),
    /// A name of a process or a track.
    M(Metadata),
}

/// Where and when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// Process.
    pub pid: u32,
    /// Track.
    pub tid: u32,
    /// Microseconds.
    pub ts: f64,
}

/// With category and name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Process.
    pub pid: u32,
    /// Track.
    pub tid: u32,
    /// Microseconds.
    pub ts: f64,
    /// Category.
    pub cat: String,
    /// Name.
    pub name: String,
}

/// Also with a scope and arguments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instant {
    /// Process.
    pub pid: u32,
    /// Track.
    pub tid: u32,
    /// Microseconds.
    pub ts: f64,
    /// `t`: of its track.
    pub s: String,
    /// Category.
    pub cat: String,
    /// Name.
    pub name: String,
    /// More about it.
    pub args: Map<String, Value>,
}

/// Also with an identifier.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Async {
    /// Process.
    pub pid: u32,
    /// Track.
    pub tid: u32,
    /// Microseconds.
    pub ts: f64,
    /// Category, which identifiers belong to.
    pub cat: String,
    /// Tells those apart that are under way.
    pub id: String,
    /// Name.
    pub name: String,
}

/// A name of something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Process.
    pub pid: u32,
    /// Track, of its name.
    pub tid: Option<u32>,
    /// `process_name` or `thread_name`.
    pub name: String,
    /// The name.
    pub args: Name,
}

/// The name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// It.
    pub name: String,
}

/// What is open, as the entries are gone through.
#[derive(Default)]
struct Checker {
    last_us: HashMap<(u32, u32), f64>,
    open: HashMap<(u32, u32), Vec<String>>,
    begun: HashMap<(String, String), Vec<String>>,
    processes: HashSet<u32>,
    tracks: HashSet<(u32, u32)>,
}

impl Checker {
    fn time(&mut self, pid: u32, tid: u32, us: f64) -> Result<()> {
        ensure!(us.is_finite() && us >= 0.0, "a time of {us}");
        let last = self.last_us.entry((pid, tid)).or_insert(0.0);
        ensure!(
            us >= *last,
            "track {pid}/{tid} goes from {last} back to {us}"
        );
        *last = us;
        Ok(())
    }

    fn add(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::B(Named {
                pid,
                tid,
                ts,
                cat,
                name,
            }) => {
                self.time(*pid, *tid, *ts)?;
                ensure!(!cat.is_empty() && !name.is_empty(), "no name");
                self.open
                    .entry((*pid, *tid))
                    .or_default()
                    .push(name.clone());
            }
            Event::E(Track { pid, tid, ts }) => {
                self.time(*pid, *tid, *ts)?;
                let ended = self.open.get_mut(&(*pid, *tid)).and_then(Vec::pop);
                ensure!(
                    ended.is_some(),
                    "a slice ends on {pid}/{tid} that has not begun"
                );
            }
            Event::Instant(instant) => {
                self.time(instant.pid, instant.tid, instant.ts)?;
                ensure!(instant.s == "t", "scope {}", instant.s);
            }
            Event::Begin(one) => {
                self.time(one.pid, one.tid, one.ts)?;
                let key = (one.cat.clone(), one.id.clone());
                self.begun.entry(key).or_default().push(one.name.clone());
            }
            Event::End(one) => {
                self.time(one.pid, one.tid, one.ts)?;
                let key = (one.cat.clone(), one.id.clone());
                let begun = self.begun.get_mut(&key).and_then(Vec::pop);
                ensure!(
                    begun.as_ref() == Some(&one.name),
                    "{} {} ends, begun was {begun:?}",
                    one.name,
                    one.id
                );
            }
            Event::M(Metadata {
                pid,
                tid,
                name,
                args,
            }) => {
                ensure!(!args.name.is_empty(), "an empty name");
                let is_new = match (name.as_str(), tid) {
                    ("process_name", None) => self.processes.insert(*pid),
                    ("thread_name", Some(tid)) => self.tracks.insert((*pid, *tid)),
                    _ => bail!("metadata {name} for {tid:?}"),
                };
                ensure!(is_new, "{pid}/{tid:?} is named twice");
            }
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        for (track, open) in self.open {
            ensure!(open.is_empty(), "{open:?} never end on {track:?}");
        }
        for (id, begun) in self.begun {
            ensure!(begun.is_empty(), "{begun:?} never end: {id:?}");
        }
        for (pid, tid) in self.last_us.keys() {
            ensure!(self.processes.contains(pid), "process {pid} has no name");
            // The track of disk requests is named by each of them.
            let named = self.tracks.contains(&(*pid, *tid)) || *pid == 3;
            ensure!(named, "track {pid}/{tid} has no name");
        }
        Ok(())
    }
}

/// Reads and checks a trace.
///
/// # Errors
/// What is wrong with it, first.
pub fn check(json: &str) -> Result<Trace> {
    let trace: Trace = serde_json::from_str(json).context("not of the format")?;
    ensure!(
        ["ms", "ns"].contains(&trace.unit.as_str()),
        "unit {}",
        trace.unit
    );
    let mut checker = Checker::default();
    for (n, event) in trace.events.iter().enumerate() {
        checker
            .add(event)
            .with_context(|| format!("entry {n}: {event:?}"))?;
    }
    checker.end()?;
    Ok(trace)
}

impl Trace {
    /// Instants whose name begins so; the sum of their argument `weight`, or their number.
    pub fn instants(&self, name: &str, weight: Option<&str>) -> u64 {
        let of = |event: &Event| match event {
            Event::Instant(instant) if instant.name.starts_with(name) => {
                let weight = weight.map_or(Some(1), |weight| instant.args.get(weight)?.as_u64());
                Some(weight.expect("an argument that is a number"))
            }
            _ => None,
        };
        self.events.iter().filter_map(of).sum()
    }

    /// Slices of category `cat` on tracks of process `pid`.
    pub fn slices(&self, pid: u32, cat: &str) -> impl Iterator<Item = &Named> {
        self.events.iter().filter_map(move |event| match event {
            Event::B(named) if named.pid == pid && named.cat == cat => Some(named),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use kernel::trace::chrome::Chrome;
    use kernel::trace::{Event, Name, Record};

    fn export(records: &[(usize, u64, u32, Event)]) -> String {
        let name = |id: u32| format!("thread \"{id}\"");
        let (mut chrome, mut text) = (Chrome::new(&name), String::new());
        chrome.begin(&mut text, "0.0.0", 7).expect("text");
        for (cpu, ticks, thread, event) in records {
            let record = Record {
                ticks: *ticks,
                thread: *thread,
                event: *event,
            };
            chrome.add(&mut text, *cpu, *ticks, &record).expect("text");
        }
        chrome.end(&mut text).expect("text");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        text
    }

    /// Something of everything, with what a ring cuts off at both ends.
    fn everything() -> Vec<(usize, u64, u32, Event)> {
        let (lock, timer) = (Name::of("RunQueue"), Name::of("timer"));
        vec![
            (0, 1, 9, Event::Return { intid: 27 }), // began before
            (0, 2, 9, Event::EndWait { class: lock }),
            (1, 3, 9, Event::Done { id: 5, well: true }),
            (0, 10, 1, Event::Switch { to: 9 }),
            (
                0,
                11,
                9,
                Event::Interrupt {
                    intid: 27,
                    name: timer,
                },
            ),
            (0, 12, 9, Event::Spin { class: lock }),
            (1, 12, 2, Event::Wake { thread: 8 }),
            (0, 13, 9, Event::EndWait { class: lock }),
            (0, 14, 9, Event::Return { intid: 27 }),
            (0, 15, 9, Event::Lend { to: 20 }),
            (
                0,
                16,
                20,
                Event::Handler {
                    intid: 189,
                    name: timer,
                },
            ),
            (0, 17, 20, Event::Receive { frames: 3 }),
            (0, 18, 20, Event::Spin { class: lock }),
            (0, 19, 20, Event::Block { class: lock }),
            (0, 20, 9, Event::TakeBack { from: 20 }),
            (1, 21, 2, Event::Switch { to: 20 }),
            (1, 22, 20, Event::EndWait { class: lock }),
            (
                1,
                23,
                20,
                Event::Submit {
                    id: 5,
                    op: 0,
                    lba: 8,
                    sectors: 8,
                },
            ),
            (
                1,
                24,
                20,
                Event::Start {
                    op: 0,
                    transfers: 1,
                    lba: 8,
                    sectors: 8,
                },
            ),
            (1, 25, 20, Event::Done { id: 5, well: true }),
            (
                1,
                26,
                20,
                Event::Submit {
                    id: 6,
                    op: 3,
                    lba: 0,
                    sectors: 0,
                },
            ), // never ends
            (1, 27, 20, Event::Block { class: lock }), // nor does this
            (
                1,
                28,
                20,
                Event::Migrate {
                    thread: 9,
                    from: 0,
                    to: 1,
                },
            ),
            (
                2,
                28,
                3,
                Event::LongHold {
                    class: lock,
                    us: 1500,
                },
            ),
            (2, 28, 3, Event::Deferred { intid: 153, us: 4 }),
            (2, 28, 3, Event::Softint { number: 16 }),
            (2, 28, 3, Event::Ipi { what: 5, cpus: 15 }),
            (2, 29, 3, Event::Transmit { frames: 2 }),
            (
                2,
                30,
                3,
                Event::Interrupt {
                    intid: 5,
                    name: timer,
                },
            ), // cut off
        ]
    }

    #[test]
    fn what_the_kernel_writes_is_of_the_format() {
        let trace = check(&export(&everything())).expect("a trace");
        assert_eq!(trace.other["lost"], "7");
        assert_eq!(trace.instants("receive", Some("frames")), 3);
        assert_eq!(trace.instants("transfer done", None), 2);
        assert_eq!(trace.slices(1, "intr").count(), 2);
        let names: Vec<_> = trace.slices(1, "sched").map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["thread \"9\"", "thread \"20\"", "thread \"20\""]);
    }

    #[test]
    fn any_window_of_it_is_too() {
        let all = everything();
        for from in 0..all.len() {
            for to in from..=all.len() {
                check(&export(&all[from..to])).unwrap_or_else(|e| panic!("{from}..{to}: {e:#}"));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_found() {
        let good = export(&everything());
        let wrong = [
            ("\"displayTimeUnit\":\"ns\"", "\"displayTimeUnit\":\"s\""),
            ("\"ph\":\"B\"", "\"ph\":\"Q\""),
            ("\"cat\":\"intr\"", "\"kat\":\"intr\""),
            ("\"s\":\"t\"", "\"s\":\"x\""),
            ("{\"ph\":\"E\",\"pid\":1,\"tid\":1,\"ts\":0.014},", ""),
            ("\"ts\":0.014", "\"ts\":0.001"),
            ("\"ts\":0.014", "\"ts\":\"0.014\""),
            ("\"name\":\"block RunQueue\"", "\"name\":\"block Tty\""),
            ("\"ph\":\"e\"", "\"ph\":\"b\""),
            ("\"name\":\"process_name\"", "\"name\":\"process\""),
            ("\"name\":\"thread_name\"", "\"name\":\"process_name\""),
            ("\n]}", "\n]"),
        ];
        for (from, to) in wrong {
            assert!(good.contains(from), "{from}:\n{good}");
            assert!(
                check(&good.replacen(from, to, 1)).is_err(),
                "{from} -> {to}"
            );
        }
    }
}
