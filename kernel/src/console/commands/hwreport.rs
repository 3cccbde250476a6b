// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hwreport`: what only a board can tell, in a form to be pasted into an issue.
//!
//! The kernel was written from other people's drivers and from documents that leave questions open. Each has its number
//! and a line that says what it is about; below stands what this machine shows. Nothing is written to a register,
//! and nothing is provoked. What cannot be read says why. The serial number and the station's address stay out of it.
use super::board::{Degrees, List, Mhz};
use super::random::write_sources;
use super::{Command, Outcome};
use crate::clock::Utc;
use crate::console::shell::Call;
use crate::cpu::{CPUS, cpu};
use crate::net::frame;
use crate::thread::{ThreadCx, ThreadDelay};
use crate::{board, intr, machine_off, net, storage};
use bsp::fdt::Method;
use bsp::mmu::symbol;
use bsp::{map, power, trap};
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use drivers::mailbox::{BoardRevision, Clock, Throttled};
use embedded_hal::delay::DelayNs;
use sha2::{Digest, Sha256};

pub const HWREPORT: Command = Command {
    name: "hwreport",
    arguments: "",
    summary: "what only a board can tell, for an issue",
    details: "Ten numbered questions that no document settles, and what this machine shows.\n\
              It changes nothing. For 5, run net down, net up and ping first; for 7\n\
              and 10 have some traffic. Example: hwreport",
    takes_paths: false,
    run: hwreport,
};

/// Where what belongs to BL31 ends.
const FIRMWARE_END: usize = map::KERNEL_BASE;

/// A register as it reads, or that it does not.
struct At(usize);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match trap::read(self.0, 4) {
            Ok(value) => write!(f, "{value:08x}"),
            Err(trap::Faulted) => f.write_str("(faults)"),
        }
    }
}

fn hwreport(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    writeln!(out, "```text")?;
    image(out)?;
    identity(cx, out)?;
    entry(out)?;
    gic(out)?;
    emmc2(cx, out)?;
    stepping(out)?;
    ethernet(cx, out)?;
    processors(out)?;
    counters(cx, out)?;
    reservations(out)?;
    card(cx, out)?;
    sums(cx, out)?;
    writeln!(out, "```")?;
    Ok(())
}

/// Code and constants are in memory as they are in the file.
fn image(out: &mut dyn Write) -> Outcome {
    let range = symbol::text_start()..symbol::rodata_end();
    // SAFETY: the kernel's own code and constants, mapped, which nobody writes.
    let bytes = unsafe { core::slice::from_raw_parts(range.start as *const u8, range.len()) };
    writeln!(out, "Orthogon {} hwreport", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "kernel8.img: SHA-256 of its first {} bytes",
        range.len()
    )?;
    write!(out, "  ")?;
    for byte in Sha256::digest(bytes) {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out)?;
    Ok(())
}

fn identity(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    match board::mailbox(cx, |m| m.board_revision()) {
        Some(word) => writeln!(out, "board: {} ({word:#x})", BoardRevision(word))?,
        None => writeln!(out, "board: the firmware does not say")?,
    }
    let seconds = board::firmware_revision();
    let (year, month, day) = Utc(u64::from(seconds) * 1_000_000_000).date();
    match board::is_emulated() {
        true => writeln!(out, "firmware: an emulator's, {seconds}")?,
        false => writeln!(out, "firmware: of {year}-{month:02}-{day:02}, {seconds}")?,
    }
    writeln!(out, "tree: {}", board::get().model)?;
    let sensor = Degrees(board::sensor_millidegrees());
    let told = board::mailbox(cx, |m| m.temperature_millidegrees());
    let told = Degrees(told.map(|t| t as i32));
    writeln!(out, "temperature: {sensor} by AVS, {told} by the firmware")?;
    match board::mailbox(cx, |m| m.throttled()).map(Throttled) {
        Some(word) => writeln!(
            out,
            "slowed down: now {}; ever {}",
            List(word.now()),
            List(word.since_power_up())
        )?,
        None => writeln!(out, "slowed down: the firmware does not say")?,
    }
    let rates = [Clock::Arm, Clock::Core, Clock::Uart]
        .map(|clock| Mhz(board::mailbox(cx, |m| m.clock_rate_hz(clock))));
    let [arm, core, uart] = rates;
    writeln!(out, "clocks: arm {arm}, core {core}, uart {uart}")?;
    let (_, _, was_reset) = machine_off::watchdog();
    writeln!(out, "started by the watchdog: {}", yes(was_reset))?;
    write!(out, "random: ")?;
    write_sources(cx, out)
}

fn entry(out: &mut dyn Write) -> Outcome {
    let (el, x0) = board::entry();
    let [x1, x2, x3] = board::other_registers();
    writeln!(
        out,
        "entry: EL{el}, x0 {x0:#x}, x1 {x1:#x}, x2 {x2:#x}, x3 {x3:#x}"
    )?;
    writeln!(
        out,
        "CPU: MIDR {:08x}, MPIDR {:08x}, CNTFRQ {} Hz",
        bsp::cpu::midr(),
        bsp::cpu::mpidr(),
        bsp::timer::frequency_hz()
    )?;
    Ok(())
}

fn gic(out: &mut dyn Write) -> Outcome {
    let (d, c) = (map::GICD, map::GICC);
    let summary = intr::summary();
    writeln!(out, "\n1 GIC: RPR when idle, least BPR, lines")?;
    writeln!(
        out,
        "  GICD CTLR {} TYPER {} IIDR {}",
        At(d),
        At(d + 4),
        At(d + 8)
    )?;
    writeln!(
        out,
        "  GICC CTLR {} PMR {} IIDR {}",
        At(c),
        At(c + 4),
        At(c + 0xfc)
    )?;
    writeln!(
        out,
        "  GICC BPR {} (0 was written), RPR {} (a thread runs)",
        At(c + 8),
        At(c + 0x14)
    )?;
    writeln!(
        out,
        "  {} lines, priority bits {:#04x}, two security states: {}",
        summary.lines,
        summary.priority_bits,
        yes(summary.two_security_states)
    )?;
    Ok(())
}

fn emmc2(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    const MUX: usize = map::GPIO + 0xd0;
    let e = map::SDHCI_EMMC2;
    writeln!(out, "\n2 EMMC2: clock by the firmware; GPIO + 0xd0")?;
    let now = Mhz(board::mailbox(cx, |m| m.clock_rate_hz(Clock::Emmc2)));
    let most = Mhz(board::mailbox(cx, |m| m.max_clock_rate_hz(Clock::Emmc2)));
    writeln!(out, "  clock {now}, at most {most}")?;
    writeln!(
        out,
        "  capabilities {} {}, version {}, clock control {}",
        At(e + 0x40),
        At(e + 0x44),
        At(e + 0xfc),
        At(e + 0x2c)
    )?;
    match board::is_emulated() {
        true => writeln!(out, "  GPIO + 0xd0: not read, the emulator has none")?,
        false => writeln!(out, "  GPIO + 0xd0: {}", At(MUX))?,
    }
    Ok(())
}

fn stepping(out: &mut dyn Write) -> Outcome {
    const FIRST_C0: u32 = 0x20;
    writeln!(out, "\n3 EMMC2's dma-ranges and the chip's stepping")?;
    match board::get().emmc2_bus {
        Some(offset) => writeln!(out, "  dma-ranges: bus = physical + {offset:#010x}")?,
        None => writeln!(out, "  dma-ranges: none in the device tree")?,
    }
    match board::chip_revision() {
        Ok(word) => writeln!(
            out,
            "  0xfc404000: {word:08x}, {}",
            match word & 0xff {
                FIRST_C0.. => "C0 or later",
                _ => "before C0",
            }
        )?,
        Err(reason) => writeln!(out, "  0xfc404000: not read, {reason}")?,
    }
    Ok(())
}

fn ethernet(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    let unknowns = net::device::unknowns(cx);
    let phy = net::device::phy(cx);
    let view = net::device::view(cx);
    writeln!(out, "\n4 GENET: ID_MODE_DIS (bit 16) with rgmii-rxid")?;
    match &phy {
        Some(phy) => writeln!(out, "  PHY {:#010x} at {}", phy.id, phy.address)?,
        None => writeln!(out, "  no PHY")?,
    }
    let Some(unknowns) = unknowns else {
        writeln!(out, "  not read, the controller does not run")?;
        writeln!(out, "\n5 GENET: indices when the DMA is disabled")?;
        writeln!(out, "  not read, the controller does not run")?;
        return Ok(());
    };
    write!(out, "  RGMII_OOB_CTRL {:08x}", unknowns.rgmii_oob)?;
    match unknowns.delays {
        Some([misc, clocks]) => {
            writeln!(out, ", PHY delays: misc {misc:04x}, clocks {clocks:04x}")?;
        }
        None => writeln!(out, ", PHY delays: not read, it is not Broadcom's")?,
    }
    if let Some(view) = &view {
        let bad = view.mib.get("rx-fcs").unwrap_or(0);
        match view.link {
            Some(link) => writeln!(out, "  link {link}; {bad} frames with bad check sequence")?,
            None => writeln!(out, "  no link; {bad} frames with bad check sequence")?,
        }
    }
    writeln!(out, "\n5 GENET: indices when the DMA is disabled")?;
    let halted = unknowns.halted;
    if halted.before == [0; 4] {
        writeln!(
            out,
            "  not seen: they were 0 each time (run net down, net up)"
        )?;
    } else {
        writeln!(out, "  RX producer, consumer, TX consumer, producer")?;
        writeln!(
            out,
            "  before {:?}, after {:?}",
            halted.before, halted.after
        )?;
    }
    Ok(())
}

fn processors(out: &mut dyn Write) -> Outcome {
    writeln!(out, "\n6 CPU_ON repeated while it is pending")?;
    writeln!(out, "  not provoked: it might lose a core")?;
    match &board::get().method {
        Some(Method::Psci(conduit)) => match power::psci_version(*conduit) {
            Some((major, minor)) => write!(out, "  PSCI {major}.{minor}")?,
            None => write!(out, "  PSCI without a version")?,
        },
        Some(other) => write!(out, "  {}", other.name())?,
        None => write!(out, "  no way to start CPUs")?,
    }
    write!(out, "; starts")?;
    for n in 0..CPUS {
        write!(out, " {}", cpu(n).starts.load(Ordering::Relaxed))?;
    }
    write!(out, ", entered at")?;
    for n in 0..CPUS {
        write!(out, " EL{}", cpu(n).entry_el.load(Ordering::Relaxed))?;
    }
    writeln!(out)?;
    Ok(())
}

fn counters(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    writeln!(out, "\n7 GENET: where the MAC's counters are")?;
    // What is on its way is counted on one side only.
    ThreadDelay.delay_ms(10);
    let Some(view) = net::device::view(cx) else {
        writeln!(out, "  not read, the controller does not run")?;
        return Ok(());
    };
    let (driver, mac) = (&view.counters, |name| view.mib.get(name).unwrap_or(0));
    writeln!(
        out,
        "  sent: driver {}, in the ring {}, MAC tx-packets {}, tx-good {}",
        driver.tx_frames,
        view.tx_queued,
        mac("tx-packets"),
        mac("tx-good")
    )?;
    writeln!(
        out,
        "  received: driver {}, MAC rx-packets {}, rx-good {}",
        driver.rx_frames,
        mac("rx-packets"),
        mac("rx-good")
    )?;
    Ok(())
}

fn reservations(out: &mut dyn Write) -> Outcome {
    let board = board::get();
    let reserved = board.reserved.as_slice();
    let covers = |range: &core::ops::Range<usize>| range.start == 0 && range.end >= FIRMWARE_END;
    writeln!(out, "\n8 Memory: is BL31's part reserved in the tree")?;
    writeln!(
        out,
        "  0 to {:#x} reserved: {}",
        FIRMWARE_END,
        yes(reserved.iter().any(covers))
    )?;
    for (name, ranges) in [("ram", board.memory.as_slice()), ("reserved", reserved)] {
        for range in ranges {
            writeln!(out, "  {name} {:#x} to {:#x}", range.start, range.end)?;
        }
    }
    if let Some(complaint) = &board.complaint {
        writeln!(out, "  {complaint}")?;
    }
    Ok(())
}

fn card(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    writeln!(out, "\n9 EMMC2: is spacing of writes needed above 400 kHz")?;
    storage::with_disks(cx, |disks, cx| {
        let Some(card) = &disks.card else {
            writeln!(out, "  no card")?;
            return Ok(());
        };
        let (hz, kind) = (card.info.clock_hz, &card.info.kind);
        let s = card.medium.disk().statistics(cx);
        writeln!(out, "  {kind} on {} at {} Hz", card.controller, hz)?;
        writeln!(
            out,
            "  {} commands: {} retries, {} errors, {} time-outs, {} interrupts lost",
            s.commands, s.retries, s.errors, s.timeouts, s.lost_interrupts
        )?;
        Ok(())
    })
}

fn sums(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    writeln!(out, "\n10 GENET: its sums of what it receives")?;
    let Some(status) = net::status(cx) else {
        writeln!(out, "  not seen, there is no network")?;
        return Ok(());
    };
    writeln!(
        out,
        "  {} frames: {} sums wrong and made again, {} segments damaged",
        status.port.received,
        frame::sums_remade(),
        status.port.bad_checksums
    )?;
    Ok(())
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}
