// SPDX-License-Identifier: MIT OR Apache-2.0
//! `diskbench`, `disktest`: loads for a disk, which never touch what somebody may want to keep.
//!
//! Written is only to a disk in memory, and, where the user says `scratch`, to a partition that holds no FAT, or to a
//! disk without a partition table. A partition that may be mounted is out of reach, whatever the user says.
use super::{Command, Outcome};
use crate::bio::load::{Direction, Plan};
use crate::bio::mbr::MbrError;
use crate::bio::script::CHUNK_SECTORS;
use crate::bio::table::{Table, TableError};
use crate::console::shell::{Call, Refusal};
use crate::console::words::number_in;
use crate::diskload::{Area, bench, test};
use crate::storage;
use crate::thread::ThreadCx;
use alloc::format;
use bsp::timer::now_ns;
use core::fmt::Write;

pub const DISKBENCH: Command = Command {
    name: "diskbench",
    arguments: "DISK[:PARTITION] read|write BYTES [OPTION]...",
    summary: "measure a disk's speed",
    details: "Options: random, threads N, requests N or seconds N, seed N, scratch.\n\
              Past every cache; each thread waits for its request before the next one. 2 s\n\
              and one thread unless told. Writing destroys what is there: on a disk in\n\
              memory at once, else where you say scratch, and never on a FAT partition.\n\
              Example: diskbench card read 4K random threads 4 seconds 5",
    takes_paths: false,
    run: diskbench,
};

fn diskbench(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let (scratch, words) = take_flag(call, "scratch");
    let (disk, words) = words.split_first().ok_or_else(|| call.usage())?;
    if !matches!(words.first(), Some(&("read" | "write"))) {
        return Err(call.usage());
    }
    let plan = Plan::parse(words.iter().copied())?;
    let area = area(cx, disk, plan.direction == Direction::Write, scratch)?;
    bench::run(cx, out, area, plan)
}

pub const DISKTEST: Command = Command {
    name: "disktest",
    arguments: "DISK[:PARTITION] [OPTION]...",
    summary: "write, flush and read at random, and check",
    details: "Options: requests N, threads N, sectors N, seed N, log, scratch.\n\
              10000 requests by 4 threads on the first 8 MiB unless told. All that is done\n\
              follows from the seed, so the host can tell what must be on the disk. log:\n\
              tell which of each thread's requests was the last one flushed. It writes: on\n\
              a disk in memory at once, else where you say scratch, never on a FAT\n\
              partition.\n\
              Example: disktest card:3 requests 1000 seed 7 scratch",
    takes_paths: false,
    run: disktest,
};

fn disktest(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let (scratch, words) = take_flag(call, "scratch");
    let (disk, words) = words.split_first().ok_or_else(|| call.usage())?;
    let mut order = test::Order {
        seed: now_ns(),
        threads: 4,
        requests: 10_000,
        log: false,
    };
    let mut sectors = 8 << 20 >> 9;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = |most: u64| {
            let word = words.next().ok_or_else(|| call.usage())?;
            Ok::<_, Refusal>(number_in(word, 1..=most)?)
        };
        match *word {
            "requests" => order.requests = value(u32::MAX.into())? as u32,
            "threads" => order.threads = value(test::THREADS_MAX as u64)? as u32,
            "sectors" => sectors = value(u32::MAX.into())?,
            "seed" => order.seed = value(u64::MAX)?,
            "log" => order.log = true,
            _ => return Err(call.usage()),
        }
    }
    let mut area = area(cx, disk, true, scratch)?;
    area.sectors = area.sectors.min(sectors) / CHUNK_SECTORS * CHUNK_SECTORS;
    test::run(cx, out, area, order)
}

/// Whether a word was among the command's, and the others.
fn take_flag<'a>(call: &'a Call, flag: &str) -> (bool, alloc::vec::Vec<&'a str>) {
    let words = call.words.iter().map(alloc::string::String::as_str);
    let (found, others): (alloc::vec::Vec<_>, _) = words.partition(|word| *word == flag);
    (!found.is_empty(), others)
}

/// The sectors that `DISK[:PARTITION]` names, if they may be used so.
fn area(cx: &mut ThreadCx, name: &str, writes: bool, scratch: bool) -> Result<Area, Refusal> {
    let (disk, partition) = match name.split_once(':') {
        Some((disk, number)) => (disk, Some(number_in(number, 1..=512)? as usize)),
        None => (name, None),
    };
    let medium = storage::medium(cx, disk)?;
    let source = match partition {
        Some(number) => format!("{disk}:{number}"),
        None => disk.into(),
    };
    if writes && let Some(mounted) = storage::mounted_at(cx, &source) {
        return Err(Refusal(format!(
            "{source} is mounted at /{mounted}, in whole or in part"
        )));
    }
    let whole = Area {
        start: 0,
        sectors: medium.sectors(),
        medium,
    };
    let in_memory = disk == "ram";
    if partition.is_none() && (!writes || in_memory) {
        return Ok(whole);
    }
    let table = table(cx, &whole)?;
    let (area, kind) = match (partition, table) {
        (None, None) => (whole, None),
        (None, Some(_)) => {
            return Err(Refusal(format!(
                "{disk} has partitions: name one that may be overwritten, such as {disk}:2"
            )));
        }
        (Some(number), table) => {
            let none = || Refusal(format!("{disk} has no partition table"));
            let table = table.ok_or_else(none)?;
            let refused = |error| Refusal(format!("{disk}: {error}"));
            let entry = table.partition(number).map_err(refused)?;
            let area = Area {
                start: entry.start,
                sectors: entry.sectors,
                ..whole
            };
            (area, Some(entry.kind.clone()))
        }
    };
    match kind {
        Some(kind) if writes && kind.may_be_fat() => {
            let refused = "is never written by a test: it may be mounted";
            Err(Refusal(format!("{name} holds a {kind}, and {refused}")))
        }
        _ if writes && !in_memory && !scratch => Err(Refusal(format!(
            "this destroys what is on {name}: say scratch behind it, if that may be"
        ))),
        _ => Ok(area),
    }
}

/// The partition table, if there is one.
fn table(cx: &mut ThreadCx, whole: &Area) -> Result<Option<Table>, Refusal> {
    match storage::read_table(cx, &whole.medium) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::Mbr(MbrError::NoSignature(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
