// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is different with eMMC (JESD84-B51): identification by CMD1, settings in EXT_CSD.
//!
//! # Theory
//! A card is addressed by what the host has given it (CMD3), and tells everything in 512 bytes (EXT_CSD), which CMD6
//! writes bytewise. Its cache, if it has one, is turned on: then what was written is safe only after a flush, which the
//! owner's flushes become.
use super::init::{send, send_r1};
use super::registers::{Cid, EmmcCsd, ExtCsd};
use super::{Command, Error, Info, Kind, Pace, ResponseKind, bus};
use crate::sdhci::{Sdhci, Slot, Timing};
use crate::{DmaBuffer, Io};

/// What cards follow that know nothing of high speed.
const DEFAULT_HZ: u32 = 20_000_000;
const HIGH_SPEED_HZ: u32 = 52_000_000;
/// Bytes of EXT_CSD (§7.4).
const FLUSH_CACHE: u8 = 32;
const CACHE_CTRL: u8 = 33;
const BUS_WIDTH: u8 = 183;
const HS_TIMING: u8 = 185;
/// A setting was not taken (§6.13).
const SWITCH_ERROR: u32 = 1 << 7;
/// For a setting; the most that GENERIC_CMD6_TIME can say is 2.55 s.
const SWITCH_US: u32 = 2_550_000;
/// For a flush: the standard names no limit, and Linux waits as long.
const FLUSH_US: u32 = 30_000_000;

/// Writes a byte of EXT_CSD.
fn switch<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    rca: u16,
    byte: u8,
    value: u8,
    busy_us: u32,
) -> Result<(), Error> {
    const WRITE_BYTE: u32 = 3 << 24;
    let argument = WRITE_BYTE | u32::from(byte) << 16 | u32::from(value) << 8;
    let command = Command::new(6, argument, ResponseKind::R1b).busy_for(busy_us);
    send(host, command)?;
    let status = send_r1(host, 13, u32::from(rca) << 16, ResponseKind::R1)?;
    if status & SWITCH_ERROR != 0 {
        return Err(Error::Switch(byte));
    }
    Ok(())
}

/// Sets the bus up for a selected eMMC.
pub(super) fn set_up<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    rca: u16,
    csd: EmmcCsd,
    cid: u128,
    by_block: bool,
    pace: Pace,
) -> Result<Info, Error> {
    let mut info = Info {
        kind: Kind::Emmc { by_block },
        capacity_blocks: csd.capacity_blocks,
        cid: Cid::decode_emmc(cid),
        read_only: csd.read_only,
        timing: Timing::Default,
        clock_hz: host
            .set_clock(DEFAULT_HZ, Timing::Default)
            .map_err(Error::Host)?,
        data_lines: 1,
        volatile_cache: false,
    };
    if !by_block {
        send_r1(host, 16, 512, ResponseKind::R1)?;
    }
    if !csd.has_ext_csd {
        return Ok(info);
    }
    let ext_csd = read_ext_csd(host)?;
    if by_block {
        info.capacity_blocks = ext_csd.capacity_blocks;
    }
    if pace == Pace::Plain {
        return Ok(info);
    }
    if ext_csd.high_speed && host.can(Timing::High) {
        switch(host, rca, HS_TIMING, 1, SWITCH_US)?;
        info.clock_hz = host
            .set_clock(HIGH_SPEED_HZ, Timing::High)
            .map_err(Error::Host)?;
        info.timing = Timing::High;
    }
    switch(host, rca, BUS_WIDTH, 1, SWITCH_US)?;
    host.set_four_lines();
    info.data_lines = 4;
    if ext_csd.has_cache {
        switch(host, rca, CACHE_CTRL, 1, SWITCH_US)?;
        info.volatile_cache = true;
    }
    // It tells itself what it has taken, on the new bus.
    match read_ext_csd(host)? {
        now if info.volatile_cache && !now.cache_on => Err(Error::Switch(CACHE_CTRL)),
        _ => Ok(info),
    }
}

/// Reads EXT_CSD.
fn read_ext_csd<I: Io, B: DmaBuffer, S: Slot>(host: &mut Sdhci<I, B, S>) -> Result<ExtCsd, Error> {
    let command = Command::new(8, 0, ResponseKind::R1);
    let mut bytes = [0; 512];
    host.read_block(command, &mut bytes)
        .map_err(|cause| bus(command, cause))?;
    Ok(ExtCsd::decode(&bytes))
}

/// Empties the card's cache into the medium.
pub(super) fn flush<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    rca: u16,
) -> Result<(), Error> {
    switch(host, rca, FLUSH_CACHE, 1, FLUSH_US)
}
