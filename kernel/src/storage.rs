// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SD card: found on one of the two controllers, read by polling in thread context, mounted at `/boot`.
//!
//! # Contexts
//! Threads only: every lock in here is adaptive.
use crate::board;
use crate::disk::mbr::{self, Table};
use crate::disk::{BlockDevice, DiskError, Partition, SECTOR_BYTES};
use crate::fs::Mounts;
use crate::lock_order;
use crate::thread::{self, ThreadCx, ThreadDelay};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::timer::now_ns;
use drivers::mailbox::{Clock, ExpanderPin, PowerDomain};
use drivers::sd::{self, Card, Info};
use drivers::sdhci::Sdhci;
use log::{debug, info, warn};
use sync::domain::{Before, Cx, MaySleep};
use sync::kmutex::KMutex;

type SdCard = Card<Sdhci<Mmio, ThreadDelay>>;

/// How long the signals' regulator takes to settle (device tree: `regulator-settling-time-us`).
const IO_VOLTAGE_NS: u64 = 5_000_000;
/// Name of the boot partition's mount point.
const BOOT: &str = "boot";

/// What is mounted.
pub static MOUNTS: KMutex<Mounts, lock_order::Mounts> = KMutex::new(Mounts::new());

static DISK: KMutex<Option<Disk>, lock_order::Disk> = KMutex::new(None);

/// The card that was found.
pub struct Disk {
    /// Where: the controller's name.
    pub controller: &'static str,
    /// What the card says of itself.
    pub info: Info,
    /// Its partition table, or why there is none.
    pub table: Result<Table, String>,
}

/// A handle on the card; reads take turns.
struct Handle {
    card: Arc<KMutex<SdCard, lock_order::Card>>,
    sectors: u64,
}

impl BlockDevice for Handle {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        // SAFETY: it leads to the card's lock; who reads a block device holds no more than the mounted volumes.
        let mut cx = unsafe { thread::boundary() };
        let (mut card, _) = self.card.enter(&mut cx);
        card.read_blocks(lba, buf).map_err(|error| match error {
            sd::Error::OutOfRange {
                lba,
                blocks,
                capacity_blocks,
            } => DiskError::OutOfRange {
                lba,
                count: blocks,
                sectors: capacity_blocks,
            },
            sd::Error::PartialBlock { bytes } => DiskError::Misaligned { bytes },
            sd::Error::NoCard => DiskError::Removed,
            error => {
                warn!("card: {error}");
                match error.blame() {
                    sd::Blame::Medium => DiskError::Medium { lba },
                    _ => DiskError::Device("the controller does not work; see dmesg"),
                }
            }
        })
    }
}

/// The two controllers: the board's slot first, for there the other is the WiFi's.
fn controllers() -> [(&'static str, usize, Clock); 2] {
    [
        ("EMMC2", map::SDHCI_EMMC2, Clock::Emmc2),
        ("Arasan", map::SDHCI_ARASAN, Clock::Emmc),
    ]
}

/// The slot's supply on, and its signals at 3.3 V. The firmware left it so, unless another system ran since.
fn power_slot<K: Before<lock_order::Mailbox> + MaySleep>(cx: &mut Cx<K>) {
    board::mailbox(cx, |m| m.power_on(PowerDomain::SdCard));
    if !board::is_emulated() {
        // QEMU's firmware has no expander. Not every board can switch the supply: a refusal is no reason to stop.
        board::mailbox(cx, |m| m.set_expander_pin(ExpanderPin::SdIoSel1V8, false));
        board::mailbox(cx, |m| m.set_expander_pin(ExpanderPin::SdPowerOn, true));
        thread::sleep_until(cx, now_ns() + IO_VOLTAGE_NS);
    }
}

fn find_card<K: Before<lock_order::Mailbox> + MaySleep>(
    cx: &mut Cx<K>,
) -> Result<(&'static str, SdCard), String> {
    power_slot(cx);
    for (name, base, clock) in controllers() {
        let hz = board::mailbox(cx, |m| m.clock_rate_hz(clock)).filter(|hz| *hz != 0);
        // SAFETY: the controller's block; `DISK`'s lock is held, and an earlier card's driver was dropped.
        let host = Sdhci::new(unsafe { Mmio::new(base) }, ThreadDelay, hz);
        match Card::init(host) {
            Ok(card) => return Ok((name, card)),
            Err((sd::Error::NoCard, _)) => debug!("{name}: no card"),
            Err((error, _)) => return Err(format!("card on {name}: {error}")),
        }
    }
    Err("no card in either slot (EMMC2, Arasan)".to_string())
}

/// Looks for a card, reads its partition table and mounts partition 1 at `/boot`; an earlier card is forgotten.
/// Says what was mounted, or what stood in the way.
pub fn mount_boot(cx: &mut ThreadCx) -> Result<String, String> {
    let (mut disk, mut cx) = DISK.enter(cx);
    MOUNTS.enter(&mut cx).0.unmount(BOOT);
    *disk = None;
    let (controller, card) = find_card(&mut cx)?;
    let info = *card.info();
    let sectors = info.capacity_blocks;
    let card = Arc::new(KMutex::new(card));
    let handle = || Handle {
        card: card.clone(),
        sectors,
    };

    let mut sector = [0; SECTOR_BYTES];
    let read = handle()
        .read(0, &mut sector)
        .map_err(|error| error.to_string());
    let table = read.and_then(|()| mbr::parse(&sector, sectors).map_err(|error| error.to_string()));
    let disk = disk.insert(Disk {
        controller,
        info,
        table,
    });
    info!(
        "card on {controller}: {} MiB, {}",
        info.capacity_bytes() >> 20,
        info.kind
    );

    let table = disk
        .table
        .as_ref()
        .map_err(|reason| format!("card on {controller}: {reason}"))?;
    for (number, error) in table.bad() {
        warn!("partition {number}: {error}");
    }
    let entry = match &table.0[0] {
        Some(Ok(entry)) => entry,
        Some(Err(error)) => return Err(format!("partition 1: {error}")),
        None => return Err("the card has no partition 1".to_string()),
    };
    let partition = Partition::new(handle(), entry.start, entry.sectors)
        .map_err(|error| format!("partition 1: {error}"))?;
    MOUNTS
        .enter(&mut cx)
        .0
        .mount(BOOT, Box::new(partition))
        .map_err(|error| error.to_string())?;
    Ok(format!("/boot: partition 1 of the card on {controller}"))
}

/// Lets `look` see the card, if there is one.
pub fn with_disk<R>(cx: &mut ThreadCx, look: impl FnOnce(Option<&Disk>) -> R) -> R {
    look(DISK.enter(cx).0.as_ref())
}
