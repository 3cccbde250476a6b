// SPDX-License-Identifier: MIT OR Apache-2.0
//! `disk`, `ramdisk`: the block devices, their partitions, and what they did.
use super::{Command, Outcome};
use crate::bio::SECTOR_BYTES;
use crate::bio::disk::Medium;
use crate::bio::statistics::Latencies;
use crate::console::shell::{Call, Refusal};
use crate::console::words::number_in;
use crate::lock_order;
use crate::storage::{self, CardDisk};
use crate::thread::ThreadCx;
use core::fmt::{self, Write};
use drivers::sd::Timing;
use sync::domain::Cx;

pub const DISK: Command = Command {
    name: "disk",
    arguments: "",
    summary: "disks: what they are, partitions, statistics",
    details: "Latencies are from submission to end; half and 99% of the transfers took no\n\
              longer than p50 and p99. merged: transfers that went with another's command.\n\
              lost interrupts: commands that had ended without one. Since the medium came.\n\
              Example: disk",
    takes_paths: false,
    run: disk,
};

fn disk(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    storage::with_disks(cx, |disks, cx| {
        match &disks.card {
            Some(card) => {
                print_card(out, card)?;
                print_statistics(cx, out, &card.medium)?;
            }
            None => writeln!(out, "card: none; mount looks for one")?,
        }
        if let Some(ram) = &disks.ram {
            writeln!(out, "ram: {} KiB", ram.sectors() / 2)?;
            print_statistics(cx, out, ram)?;
        }
        Ok(())
    })
}

fn print_card(out: &mut dyn Write, card: &CardDisk) -> fmt::Result {
    let (info, name) = (&card.info, card.controller);
    let mib = info.capacity_bytes() >> 20;
    writeln!(out, "card on {name}: {mib} MiB, {}", info.kind)?;
    writeln!(out, "  {}", info.cid)?;
    writeln!(
        out,
        "  {} kHz, {} data lines{}{}, {}",
        info.clock_hz / 1000,
        info.data_lines,
        match info.timing {
            Timing::Default => "",
            Timing::High => ", high speed",
            Timing::Sdr25 => ", SDR25",
            Timing::Sdr50 => ", SDR50",
            Timing::Ddr50 => ", DDR50",
        },
        if info.read_only { ", read-only" } else { "" },
        if card.medium.has_dma() {
            "ADMA2"
        } else {
            "no DMA"
        },
    )?;
    let table = match &card.table {
        Err(reason) => return writeln!(out, "  partition table: {reason}"),
        Ok(table) => table,
    };
    if let Some(damage) = &table.damage {
        writeln!(out, "  {damage}")?;
    }
    let scheme = table.scheme;
    writeln!(
        out,
        "  {scheme}             first     sectors       MiB  type"
    )?;
    for (n, e) in table.good() {
        let (mib, kind) = (e.sectors >> 11, &e.kind);
        let (start, sectors) = (e.start, e.sectors);
        writeln!(
            out,
            "  {n:<9}  {start:>10}  {sectors:>10}  {mib:>8}  {kind}"
        )?;
    }
    for (n, error) in table.bad() {
        writeln!(out, "  {n:<9}  {error}")?;
    }
    Ok(())
}

fn print_statistics(
    cx: &mut Cx<lock_order::Disk>,
    out: &mut dyn Write,
    medium: &Medium,
) -> Outcome {
    let s = medium.disk().statistics(cx);
    writeln!(
        out,
        "             transfers     sectors    p50 us    p99 us  worst us"
    )?;
    print_latencies(out, "reads", &s.reads, s.sectors_read)?;
    print_latencies(out, "writes", &s.writes, s.sectors_written)?;
    print_latencies(out, "flushes", &s.flushes, 0)?;
    writeln!(
        out,
        "  commands {}, merged {}, deepest queue {}",
        s.commands, s.merged, s.deepest
    )?;
    writeln!(
        out,
        "  retries {}, errors {}, lost interrupts {}, time-outs {}",
        s.retries, s.errors, s.lost_interrupts, s.timeouts
    )?;
    Ok(())
}

fn print_latencies(
    out: &mut dyn Write,
    what: &str,
    latencies: &Latencies,
    sectors: u64,
) -> fmt::Result {
    write!(out, "  {what:<9} {:>10}  {sectors:>10}", latencies.count())?;
    match (latencies.percentile_us(50), latencies.percentile_us(99)) {
        (Some(half), Some(most)) => {
            let worst_us = latencies.worst_ns / 1_000;
            writeln!(out, "  {half:>8}  {most:>8}  {worst_us:>8}")
        }
        _ => writeln!(out, "  {0:>8}  {0:>8}  {0:>8}", "-"),
    }
}

pub const RAMDISK: Command = Command {
    name: "ramdisk",
    arguments: "BYTES",
    summary: "make a disk in memory, or with 0 give it up",
    details: "What an earlier one held is lost. Example: ramdisk 16M",
    takes_paths: false,
    run: ramdisk,
};

fn ramdisk(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let bytes = number_in(call.word(0)?, 0..=512 << 20)?;
    if !bytes.is_multiple_of(SECTOR_BYTES as u64) {
        return Err(Refusal(alloc::format!(
            "{bytes} bytes are not whole sectors of {SECTOR_BYTES}"
        )));
    }
    storage::set_ramdisk(cx, bytes as usize / SECTOR_BYTES).map_err(Refusal)
}

/// In the kernel for tests alone.
#[cfg(feature = "dma-truth")]
pub const DMAOMIT: Command = Command {
    name: "dmaomit",
    arguments: "CALL",
    summary: "leave out cache maintenance, to see it missed",
    details: "CALL is nothing, prewrite, preread, postread or words. Example: dmaomit postread",
    takes_paths: false,
    run: dmaomit,
};

#[cfg(feature = "dma-truth")]
fn dmaomit(_: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    use crate::dma::truth::{Omit, omit};
    call.at_most(1)?;
    let call = call.word(0)?;
    let found = Omit::ALL.iter().find(|(name, _)| *name == call);
    let (_, what) = found.ok_or_else(|| Refusal(alloc::format!("{call}: no such call")))?;
    omit(*what);
    Ok(())
}
