// SPDX-License-Identifier: MIT OR Apache-2.0
//! Between the panics: a running kernel finds the place for the next dump, and reads the last one.
//!
//! # Contexts
//! Threads. [`area`] also the panic.
use super::area::{Area, Doubt, Kept, Place, fingerprint};
use super::format::{self, Header, Sector};
use super::format::{HEADER_SECTOR, TEXT_SECTOR, TOLD_SECTOR};
use crate::bio::disk::Medium;
use crate::bio::request::{Op, Transfer};
use crate::bio::{DiskError, SECTOR_BYTES, card};
use crate::dma::Buffer;
use crate::lock_order::{BioDone, BioQueue};
use alloc::string::{String, ToString};
use drivers::sd::Info;
use log::{info, warn};
use sync::domain::{Before, Cx, MaySleep, MayWake};

static KEPT: Kept = Kept::new();

/// Where a dump would go.
///
/// # Errors
/// Nowhere.
pub fn area() -> Result<Area, Doubt> {
    KEPT.get()
}

/// The card goes: a dump has no place any more.
pub fn forget() {
    KEPT.set(None);
}

/// Finds the place for a dump on the card that has come, and tells in the log if there is one of the last run.
pub fn look<K>(cx: &mut Cx<K>, medium: &Medium, info: &Info)
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let found = find(cx, medium, info);
    KEPT.set(found);
    let Some(area) = found else {
        return info!(target: "panic", "card: no place for a crash dump");
    };
    match tell(cx, medium, &area.place) {
        Ok(true) => warn!(target: "panic", "the last run ended in a panic: lastpanic shows it"),
        Ok(false) => {}
        Err(reason) => warn!(target: "panic", "card: {reason}"),
    }
}

fn find<K>(cx: &mut Cx<K>, medium: &Medium, info: &Info) -> Option<Area>
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    if info.read_only {
        return None;
    }
    let first = read_sector(cx, medium, 0).ok()?;
    let mut places = Place::candidates(&first, medium.sectors());
    let place = places.find(|place| {
        let label = read_sector(cx, medium, u64::from(place.start()));
        label.is_ok_and(|label| format::is_label(&label))
    })?;
    let (controller, clock_hz) = card::in_use();
    Some(Area {
        place,
        controller: u32::try_from(controller).ok()?,
        clock_hz,
        card: fingerprint(&info.cid),
    })
}

/// Is there a dump that no boot has told of? From now on one has.
fn tell<K>(cx: &mut Cx<K>, medium: &Medium, place: &Place) -> Result<bool, String>
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let header = match header(cx, medium, place) {
        Ok(header) => header,
        Err(Unread::Format(format::Error::None)) => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    let lba = |sector| u64::from(place.start()) + u64::from(sector);
    let told = read_sector(cx, medium, lba(TOLD_SECTOR)).map_err(|error| error.to_string())?;
    if told == header.told() {
        return Ok(false);
    }
    let marked = write_sector(cx, medium, lba(TOLD_SECTOR), &header.told());
    marked.map_err(|error| error.to_string())?;
    Ok(true)
}

/// Why the dump cannot be had.
#[derive(Clone, Copy, Debug)]
pub enum Unread {
    /// There is no place.
    Doubt(Doubt),
    /// It is none.
    Format(format::Error),
    /// The card failed.
    Disk(DiskError),
    /// It is too large for the memory there is.
    NoMemory,
}

impl core::fmt::Display for Unread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Doubt(Doubt::NoPlace) => f.write_str("the card has no place for crash dumps"),
            Self::Doubt(doubt) => doubt.fmt(f),
            Self::Format(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::NoMemory => f.write_str("not enough memory for the crash dump"),
        }
    }
}

impl From<DiskError> for Unread {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<format::Error> for Unread {
    fn from(error: format::Error) -> Self {
        Self::Format(error)
    }
}

fn header<K>(cx: &mut Cx<K>, medium: &Medium, place: &Place) -> Result<Header, Unread>
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let lba = u64::from(place.start()) + u64::from(HEADER_SECTOR);
    let sector = read_sector(cx, medium, lba)?;
    Ok(Header::decode(&sector, place.sectors())?)
}

/// The last dump: its header and its text.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn read<K>(cx: &mut Cx<K>, medium: &Medium) -> Result<(Header, String), Unread>
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let place = area().map_err(Unread::Doubt)?.place;
    let header = header(cx, medium, &place)?;
    let lba = u64::from(place.start()) + u64::from(TEXT_SECTOR);
    let bytes = header.text_sectors() as usize * SECTOR_BYTES;
    let buffer = Buffer::new(bytes).map_err(|_| Unread::NoMemory)?;
    let mut text = String::new();
    text.try_reserve(header.text_bytes as usize)
        .map_err(|_| Unread::NoMemory)?;
    let read = medium.transfer(cx, Transfer::new(Op::Read, lba, buffer, 0..bytes));
    read.result?;
    text.push_str(header.check(read.buffer.bytes())?);
    Ok((header, text))
}

/// Forgets the last dump.
///
/// # Errors
/// There is none, or the card failed.
pub fn clear<K>(cx: &mut Cx<K>, medium: &Medium) -> Result<(), Unread>
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let place = area().map_err(Unread::Doubt)?.place;
    let lba = u64::from(place.start()) + u64::from(HEADER_SECTOR);
    let sector = read_sector(cx, medium, lba)?;
    if let Err(format::Error::None) = Header::decode(&sector, place.sectors()) {
        return Err(format::Error::None.into());
    }
    Ok(write_sector(cx, medium, lba, &[0; SECTOR_BYTES])?)
}

fn read_sector<K>(cx: &mut Cx<K>, medium: &Medium, lba: u64) -> Result<Sector, DiskError>
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let buffer = Buffer::new(SECTOR_BYTES)?;
    let read = medium.transfer(cx, Transfer::new(Op::Read, lba, buffer, 0..SECTOR_BYTES));
    read.result?;
    let mut sector = [0; SECTOR_BYTES];
    sector.copy_from_slice(read.buffer.bytes());
    Ok(sector)
}

fn write_sector<K>(
    cx: &mut Cx<K>,
    medium: &Medium,
    lba: u64,
    sector: &Sector,
) -> Result<(), DiskError>
where
    K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake,
{
    let mut buffer = Buffer::new(SECTOR_BYTES)?;
    buffer.bytes_mut().copy_from_slice(sector);
    let write = Transfer::new(Op::WriteThrough, lba, buffer, 0..SECTOR_BYTES);
    medium.transfer(cx, write).result
}
