// SPDX-License-Identifier: MIT OR Apache-2.0
//! The disks that there are, and what of them is mounted: the card's first partition at `/boot`, others as the user says.
//!
//! A thread, the *syncer*, writes what has changed every [`SYNC_NS`]. Only `sync`, `umount`, `reboot` and `poweroff` also
//! have the media say that all is well.
//!
//! # Contexts
//! Threads only: every lock in here is adaptive.
use crate::bio::card::{self, Card};
use crate::bio::disk::{Disk, Medium};
use crate::bio::grow::{self, Grown};
use crate::bio::ramdisk::RamDisk;
use crate::bio::request::{Op, Transfer};
use crate::bio::table::{Table, TableError};
use crate::bio::{DiskError, Partition, SECTOR_BYTES};
use crate::cpu::CpuSet;
use crate::dma::Buffer;
use crate::fs::Mounts;
use crate::lock_order::{self, BioDone, BioQueue};
use crate::panic::dump;
use crate::thread::{self, PRIORITY_SYSTEM, ThreadCx};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use bsp::timer::now_ns;
use drivers::sd::Info;
use log::{info, warn};
use sync::domain::{Before, Cx, MaySleep, MayWake};
use sync::kmutex::KMutex;

/// Name of the boot partition's mount point.
const BOOT: &str = "boot";
/// How often changes are written, if nobody asks for it earlier.
const SYNC_NS: u64 = 5_000_000_000;
/// The most pages of a volume's cache: 8 MiB.
const CACHE_PAGES: usize = 2048;

/// What is mounted.
pub static MOUNTS: KMutex<Mounts, lock_order::Mounts> = KMutex::new(Mounts::new());

static DISKS: KMutex<Disks, lock_order::Disk> = KMutex::new(Disks {
    card: None,
    ram: None,
});

/// The media that there are.
pub struct Disks {
    /// The card.
    pub card: Option<CardDisk>,
    /// The RAM disk.
    pub ram: Option<Medium>,
}

/// The card that was found.
pub struct CardDisk {
    /// Where: the controller's name.
    pub controller: &'static str,
    /// What the card says of itself.
    pub info: Info,
    /// Its sectors.
    pub medium: Medium,
    /// Its partition table, or why there is none.
    pub table: Result<Table, String>,
}

/// Lets `look` see the disks.
pub fn with_disks<R>(
    cx: &mut ThreadCx,
    look: impl FnOnce(&Disks, &mut Cx<lock_order::Disk>) -> R,
) -> R {
    let (disks, mut cx) = DISKS.enter(cx);
    look(&disks, &mut cx)
}

/// Commands that disks were sent, retries not counted, and transfers that have ended, since the media came.
pub fn work_done(cx: &mut ThreadCx) -> (u64, u64) {
    with_disks(cx, |disks, cx| {
        let card = disks.card.as_ref().map(|card| &card.medium);
        let media = card.into_iter().chain(&disks.ram);
        let statistics = media.map(|medium| medium.disk().statistics(cx));
        statistics.fold((0, 0), |sum, s| (sum.0 + s.commands, sum.1 + s.transfers()))
    })
}

/// The medium of the disk of that name: `card`, `ram`.
///
/// # Errors
/// A sentence: there is no such disk.
pub fn medium(cx: &mut ThreadCx, name: &str) -> Result<Medium, String> {
    let (disks, _) = DISKS.enter(cx);
    let (medium, remedy) = match name {
        "card" => (
            disks.card.as_ref().map(|card| &card.medium),
            "mount looks for one",
        ),
        "ram" => (disks.ram.as_ref(), "ramdisk makes one"),
        _ => return Err(format!("{name}: no such disk; there may be card and ram")),
    };
    medium
        .cloned()
        .ok_or_else(|| format!("{name}: none; {remedy}"))
}

/// Looks for a card, reads its partition table and mounts partition 1 at `/boot`; an earlier card is forgotten.
/// Says what was mounted, or what stood in the way.
pub fn mount_boot(cx: &mut ThreadCx) -> Result<String, String> {
    let queue = card::disk(cx).map_err(|error| format!("card: {error}"))?;
    start_syncer(cx);
    let (mut disks, mut cx) = DISKS.enter(cx);
    let_go(&mut MOUNTS.enter(&mut cx).0, "card");
    disks.card = None;
    dump::keep::forget();
    queue.remove(&mut cx);
    let (controller, card) = Card::find(&mut cx)?;
    let info = *card.info();
    let medium = queue.install(&mut cx, Box::new(card));
    grow_data(&mut cx, &medium);
    let table = read_table(&mut cx, &medium).map_err(|error| error.to_string());
    let card = disks.card.insert(CardDisk {
        controller,
        info,
        medium,
        table,
    });
    info!(
        "card on {controller}: {} MiB, {}",
        info.capacity_bytes() >> 20,
        info.kind
    );
    dump::keep::look(&mut cx, &card.medium, &info);
    let table =
        (card.table.as_ref()).map_err(|reason| format!("card on {controller}: {reason}"))?;
    if let Some(damage) = &table.damage {
        warn!("card: {damage}");
    }
    for (number, error) in table.bad() {
        warn!("partition {number}: {error}");
    }
    let entry = table.partition(1)?;
    let partition = Partition::new(card.medium.clone(), entry.start, entry.sectors)
        .map_err(|error| format!("partition 1: {error}"))?;
    mount_on(&mut MOUNTS.enter(&mut cx).0, BOOT, "card:1", partition)?;
    Ok(format!("/boot: partition 1 of the card on {controller}"))
}

/// Mounts `DISK` or `DISK:PARTITION` as `/name`.
///
/// # Errors
/// A sentence: what stood in the way.
pub fn mount(cx: &mut ThreadCx, source: &str, name: &str) -> Result<(), String> {
    let (disk, number) = match source.split_once(':') {
        Some((disk, number)) => (disk, Some(number)),
        None => (source, None),
    };
    let medium = medium(cx, disk)?;
    let mut source = String::from(disk); // in one spelling
    let (start, sectors) = match number {
        None => (0, medium.sectors()),
        Some(number) => {
            let table = read_table(cx, &medium).map_err(|error| format!("{disk}: {error}"))?;
            let number = number
                .parse::<usize>()
                .map_err(|_| format!("{disk}:{number}: no such partition"))?;
            source = format!("{disk}:{number}");
            let entry = table
                .partition(number)
                .map_err(|error| format!("{disk}: {error}"))?;
            (entry.start, entry.sectors)
        }
    };
    let partition = Partition::new(medium, start, sectors).map_err(|error| error.to_string())?;
    start_syncer(cx);
    let (mut mounts, _) = MOUNTS.enter(cx);
    if let Some(other) = place_of(&mounts, &source) {
        return Err(format!("{source} is mounted at /{other}"));
    }
    mount_on(&mut mounts, name, &source, partition)
}

/// Is one of two sources the other, or a part of it?
fn overlaps(a: &str, b: &str) -> bool {
    let holds =
        |whole: &str, part: &str| part.split_once(':').is_some_and(|(disk, _)| disk == whole);
    a == b || holds(a, b) || holds(b, a)
}

/// Where a disk, or a partition of it as `card:3`, is mounted in whole or in part.
pub fn mounted_at(cx: &mut ThreadCx, source: &str) -> Option<String> {
    place_of(&MOUNTS.enter(cx).0, source).map(String::from)
}

fn place_of<'a>(mounts: &'a Mounts, source: &str) -> Option<&'a str> {
    let mut sources = mounts.sources();
    let (name, _) = sources.find(|(_, other)| overlaps(other, source))?;
    Some(name)
}

fn mount_on(
    mounts: &mut Mounts,
    name: &str,
    source: &str,
    device: Partition<Medium>,
) -> Result<(), String> {
    let mounted = mounts.mount(name, source, Box::new(device), CACHE_PAGES);
    mounted.map_err(|error| error.to_string())?;
    if mounts.volume(name).is_some_and(|volume| volume.was_dirty()) {
        warn!("/{name} was not unmounted; fsck.fat finds what it has lost, if anything");
    }
    Ok(())
}

/// Unmounts what is on the disk of that name; what can be written is.
fn let_go(mounts: &mut Mounts, disk: &str) {
    let on_it = |(name, source): (&str, &str)| overlaps(source, disk).then(|| name.to_string());
    let names: alloc::vec::Vec<_> = mounts.sources().filter_map(on_it).collect();
    for name in names {
        if let Err(error) = mounts.unmount(&name) {
            warn!("{error}");
            let lost = mounts.forget(&name).unwrap_or(0);
            warn!("/{name}: {lost} sectors were changed and never written");
        }
    }
}

/// Gives a new card's data partition the room behind it: see [`grow`].
fn grow_data<K>(cx: &mut Cx<K>, medium: &Medium)
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let mut transfer = |op, buffer: Buffer| {
        let all = 0..buffer.len();
        let done = medium.transfer(cx, Transfer::new(op, 0, buffer, all));
        done.result.map(|()| done.buffer)
    };
    let mut grow = || -> Result<Option<Grown>, DiskError> {
        let Ok(mut buffer) = transfer(Op::Read, Buffer::new(SECTOR_BYTES)?) else {
            return Ok(None); // who reads the table next says so
        };
        let sector = buffer.bytes().first_chunk();
        let Some(grown) = sector.and_then(|sector| grow::grown(sector, medium.sectors())) else {
            return Ok(None);
        };
        buffer.bytes_mut().copy_from_slice(&grown.sector);
        transfer(Op::WriteThrough, buffer)?;
        transfer(Op::Flush, Buffer::new(0)?)?;
        Ok(Some(grown))
    };
    match grow() {
        Ok(Some(grown)) => info!(
            "partition 3 grew to the card's end: {} MiB",
            (grown.sectors * SECTOR_BYTES as u64) >> 20
        ),
        Ok(None) => {}
        Err(error) => warn!("partition 3 did not grow to the card's end: {error}"),
    }
}

/// Reads a disk's partition table.
///
/// # Errors
/// [`TableError`].
pub fn read_table<K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake>(
    cx: &mut Cx<K>,
    medium: &Medium,
) -> Result<Table, TableError> {
    Table::read(medium.sectors(), |lba, buf| {
        let read = Transfer::new(Op::Read, lba, Buffer::new(buf.len())?, 0..buf.len());
        let read = medium.transfer(cx, read);
        read.result?;
        buf.copy_from_slice(read.buffer.bytes());
        Ok(())
    })
}

/// Has all changes written, and the media say that all is well, before the machine goes.
pub fn shut_down(cx: &mut ThreadCx) -> Result<(), String> {
    let flushed = MOUNTS.enter(cx).0.flush(true);
    flushed.map_err(|error| error.to_string())
}

fn start_syncer(cx: &mut ThreadCx) {
    static STARTED: spin::Once<()> = spin::Once::new();
    STARTED.call_once(|| {
        let syncer = thread::spawn(cx, "syncer", PRIORITY_SYSTEM, CpuSet::ALL, |cx| {
            let mut told = None;
            loop {
                thread::sleep_until(cx, now_ns() + SYNC_NS);
                let failed = MOUNTS.enter(cx).0.flush(false).err();
                if let (true, Some(error)) = (failed != told, &failed) {
                    warn!("{error}; what has changed there is kept in memory");
                }
                told = failed;
            }
        });
        if syncer.is_err() {
            warn!("no thread for the syncer: changes are written by sync alone");
        }
    });
}

/// Makes the RAM disk, of `sectors` zeroed sectors; an earlier one is forgotten. 0: none.
///
/// # Errors
/// A sentence: there is no memory, or no thread.
pub fn set_ramdisk(cx: &mut ThreadCx, sectors: usize) -> Result<(), String> {
    static RAM: spin::Once<Arc<Disk>> = spin::Once::new();
    let queue = match RAM.get() {
        Some(queue) => queue,
        None => {
            let disk = Disk::new(cx, "ram").map_err(|error| error.to_string())?;
            RAM.call_once(|| disk)
        }
    };
    let (mut disks, mut cx) = DISKS.enter(cx);
    let_go(&mut MOUNTS.enter(&mut cx).0, "ram");
    disks.ram = None;
    queue.remove(&mut cx);
    if sectors > 0 {
        let ram = RamDisk::new(sectors).map_err(|error| error.to_string())?;
        disks.ram = Some(queue.install(&mut cx, Box::new(ram)));
    }
    Ok(())
}
