// SPDX-License-Identifier: MIT OR Apache-2.0
//! From power to the transfer state: identification and bus setting.
//!
//! # References
//! Physical Layer Simplified Specification 9.10: §4.2.3 (initialisation), §4.2.2 (CMD8), §4.2.4 (1.8 V), §4.3.10
//! (switch function), §6.4.1 (power-up: a second for ACMD41). eMMC: JESD84-B51 §6.4.
use super::registers::{Cid, Csd, Scr};
use super::{
    Card, Command, Error, Info, Kind, Loss, Pace, Response, ResponseKind, Stage, bus, emmc,
};
use crate::sdhci::{self, Sdhci, Slot, Timing};
use crate::{DmaBuffer, Io};

/// 2.7 to 3.6 V in CMD8, with a pattern that the card echoes.
const IF_COND: u32 = 0x1aa;
/// 3.2 to 3.4 V in ACMD41, CMD1 and the OCR.
const OCR_3V3: u32 = 0b11 << 20;
/// What an eMMC wants to hear in CMD1: 2.7 to 3.6 V.
const OCR_EMMC: u32 = 0x00ff_8000;
/// The host asks for signals at 1.8 V (ACMD41), the card agrees (OCR).
const OCR_S18: u32 = 1 << 24;
/// The host can do high capacity (ACMD41, CMD1), the card has it (OCR).
const OCR_CCS: u32 = 1 << 30;
/// The card is up.
const OCR_READY: u32 = 1 << 31;
const READY_TIMEOUT_US: u32 = 1_000_000;
const READY_STEP_US: u32 = 10_000;
/// Status: locked with a password.
const CARD_IS_LOCKED: u32 = 1 << 25;
/// The address given to an eMMC. Not 0, which means none.
const EMMC_RCA: u16 = 1;
/// After the first try.
const REPETITIONS: u32 = 2;

/// What was found in the slot.
enum Found {
    Sd { high_capacity: bool, at_1v8: bool },
    Emmc { by_block: bool },
}

impl<I: Io, B: DmaBuffer, S: Slot> Card<I, B, S> {
    /// Brings up the card in `host`'s slot. An empty slot is told within some milliseconds.
    ///
    /// # Errors
    /// With the host, for a later try: the medium's or the device's.
    pub fn init(mut host: Sdhci<I, B, S>) -> Result<Self, (Error, Sdhci<I, B, S>)> {
        let mut pace = Pace::Fastest;
        let found = bring_up_patiently(&mut host, &mut pace);
        Self::with(host, pace, found)
    }

    /// Brings up the card in `host`'s slot as every card can be driven: one data line, 25 MHz, nothing switched in the
    /// card. For who has no time for more, and trusts nothing that an earlier driver has set.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn init_plain(mut host: Sdhci<I, B, S>) -> Result<Self, (Error, Sdhci<I, B, S>)> {
        let mut pace = Pace::Plain;
        let found = bring_up_patiently(&mut host, &mut pace);
        Self::with(host, pace, found)
    }

    fn with(
        host: Sdhci<I, B, S>,
        pace: Pace,
        found: Result<(u16, Info), Error>,
    ) -> Result<Self, (Error, Sdhci<I, B, S>)> {
        match found {
            Ok((rca, info)) => Ok(Self {
                host,
                rca,
                info,
                stage: Stage::Idle,
                pace,
                bad_crcs: 0,
                lost: false,
                unflushed: false,
                loss: Loss::None,
            }),
            Err(error) => Err((error, host)),
        }
    }
}

/// [`bring_up`], repeated after errors of the bus; without 1.8 V once that has failed.
pub(super) fn bring_up_patiently<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    pace: &mut Pace,
) -> Result<(u16, Info), Error> {
    let mut repetitions = 0;
    loop {
        let error = match bring_up(host, *pace) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        match error {
            Error::Host(sdhci::Error::VoltageSwitch | sdhci::Error::Tuning) => *pace = Pace::High,
            error if error.is_transient() && repetitions < REPETITIONS => repetitions += 1,
            error => return Err(error),
        }
    }
}

/// A command to the card.
pub(super) fn send<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    command: Command,
) -> Result<Response, Error> {
    host.command(command).map_err(|cause| bus(command, cause))
}

/// A command to the card, whose response is its status.
pub(super) fn send_r1<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    index: u8,
    argument: u32,
    response: ResponseKind,
) -> Result<u32, Error> {
    Ok(send(host, Command::new(index, argument, response))?.short())
}

/// A few bytes that the card sends about itself.
fn read<const N: usize, I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    index: u8,
    argument: u32,
) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let command = Command::new(index, argument, ResponseKind::R1);
    match host.read_block(command, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(cause) => Err(bus(command, cause)),
    }
}

/// Brings the card into the transfer state; its address, and what it is.
fn bring_up<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    pace: Pace,
) -> Result<(u16, Info), Error> {
    host.power_up().map_err(Error::Host)?;
    let found = identify(host, pace)?;
    let cid = send(host, Command::new(2, 0, ResponseKind::R2))?.long();
    let rca = match found {
        Found::Sd { .. } => {
            (send(host, Command::new(3, 0, ResponseKind::R6))?.short() >> 16) as u16
        }
        Found::Emmc { .. } => {
            send_r1(host, 3, u32::from(EMMC_RCA) << 16, ResponseKind::R1)?;
            EMMC_RCA
        }
    };
    let address = u32::from(rca) << 16;
    let csd = send(host, Command::new(9, address, ResponseKind::R2))?.long();
    if send_r1(host, 7, address, ResponseKind::R1b)? & CARD_IS_LOCKED != 0 {
        return Err(Error::Locked);
    }
    let mut info = match found {
        Found::Sd {
            high_capacity,
            at_1v8,
        } => {
            let info = set_up_sd(host, Csd::decode(csd)?, cid, high_capacity)?;
            match pace {
                Pace::Plain => info,
                Pace::High | Pace::Fastest => speed_up_sd(host, address, csd, at_1v8, info)?,
            }
        }
        Found::Emmc { by_block } => {
            emmc::set_up(host, rca, Csd::decode_emmc(csd), cid, by_block, pace)?
        }
    };
    info.read_only |= host.is_write_protected();
    Ok((rca, info))
}

/// Finds a card and waits until it is up.
fn identify<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    pace: Pace,
) -> Result<Found, Error> {
    send(host, Command::new(0, 0, ResponseKind::None))?;
    let since_2_00 = match host.command(Command::new(8, IF_COND, ResponseKind::R7)) {
        Ok(response) if response.short() & 0xfff == IF_COND => true,
        Ok(_) => return Err(Error::WrongVoltage),
        // A card made to version 1 does not know CMD8; nor does an eMMC, or an empty slot.
        Err(sdhci::Error::NoResponse) => false,
        Err(cause) => return Err(Error::Bus { command: 8, cause }),
    };
    let can_1v8 = pace == Pace::Fastest && (host.can(Timing::Ddr50) || host.can(Timing::Sdr50));
    let mut argument = OCR_3V3;
    if since_2_00 {
        argument |= OCR_CCS | if can_1v8 { OCR_S18 } else { 0 };
    }
    let asked = wait_ready(host, |host| {
        send(host, Command::new(55, 0, ResponseKind::R1))?;
        send(host, Command::new(41, argument, ResponseKind::R3))
    });
    let ocr = match asked {
        Err(Error::Bus {
            cause: sdhci::Error::NoResponse,
            ..
        }) if !since_2_00 => return identify_emmc(host),
        asked => asked?,
    };
    let at_1v8 = argument & ocr & OCR_S18 != 0;
    if at_1v8 {
        send(host, Command::new(11, 0, ResponseKind::R1))?;
        host.lower_signal_voltage().map_err(Error::Host)?;
    }
    Ok(Found::Sd {
        high_capacity: argument & ocr & OCR_CCS != 0,
        at_1v8,
    })
}

/// There is no SD card; is there an eMMC?
fn identify_emmc<I: Io, B: DmaBuffer, S: Slot>(host: &mut Sdhci<I, B, S>) -> Result<Found, Error> {
    send(host, Command::new(0, 0, ResponseKind::None))?;
    let command = Command::new(1, OCR_CCS | OCR_EMMC, ResponseKind::R3);
    match wait_ready(host, |host| send(host, command)) {
        Ok(ocr) => Ok(Found::Emmc {
            by_block: ocr & OCR_CCS != 0,
        }),
        Err(Error::Bus {
            cause: sdhci::Error::NoResponse,
            ..
        }) => Err(Error::NoCard),
        Err(error) => Err(error),
    }
}

/// Asks for the OCR until it says that the card is up.
fn wait_ready<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    mut ask: impl FnMut(&mut Sdhci<I, B, S>) -> Result<Response, Error>,
) -> Result<u32, Error> {
    let (mut waited_us, timeout_us) = (0, host.patience_us(READY_TIMEOUT_US));
    loop {
        let ocr = ask(host)?.short();
        if ocr & OCR_3V3 == 0 {
            return Err(Error::WrongVoltage);
        }
        if ocr & OCR_READY != 0 {
            return Ok(ocr);
        }
        if waited_us >= timeout_us {
            return Err(Error::NotReady);
        }
        host.delay_us(READY_STEP_US);
        waited_us += READY_STEP_US;
    }
}

/// Sets the bus up for a selected SD card, as every card follows.
fn set_up_sd<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    csd: Csd,
    cid: u128,
    high_capacity: bool,
) -> Result<Info, Error> {
    let clock_hz = host.set_clock(25_000_000, Timing::Default);
    let clock_hz = clock_hz.map_err(Error::Host)?;
    if !high_capacity {
        send_r1(host, 16, 512, ResponseKind::R1)?;
    }
    Ok(Info {
        kind: match (high_capacity, csd.capacity_blocks) {
            (false, _) => Kind::Sdsc,
            (true, ..=0x400_0000) => Kind::Sdhc,
            (true, _) => Kind::Sdxc,
        },
        capacity_blocks: csd.capacity_blocks,
        cid: Cid::decode(cid),
        read_only: csd.read_only,
        timing: Timing::Default,
        clock_hz,
        data_lines: 1,
        volatile_cache: false,
    })
}

/// The best that card, controller and board can.
fn speed_up_sd<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    address: u32,
    csd: u128,
    at_1v8: bool,
    mut info: Info,
) -> Result<Info, Error> {
    send_r1(host, 55, address, ResponseKind::R1)?;
    let scr = Scr::decode(read(host, 51, 0)?);
    if scr.four_lines {
        send_r1(host, 55, address, ResponseKind::R1)?;
        send_r1(host, 6, 0b10, ResponseKind::R1)?;
        host.set_four_lines();
        info.data_lines = 4;
    }
    if scr.since_1_10
        && Csd::decode(csd)?.has_switch
        && let Some(speed) = set_speed(host, at_1v8)?
    {
        (info.timing, info.clock_hz) = speed;
    }
    Ok(info)
}

/// A way to drive the bus.
struct Mode {
    timing: Timing,
    limit_hz: u32,
    /// CMD6's function of group 1.
    function: u32,
}

impl Mode {
    const fn new(timing: Timing, limit_hz: u32, function: u32) -> Self {
        Self {
            timing,
            limit_hz,
            function,
        }
    }
}

/// At 3.3 V.
const MODES_3V3: [Mode; 1] = [Mode::new(Timing::High, 50_000_000, 1)];
/// At 1.8 V, the best first: DDR50 moves as much as SDR50 and needs no tuning.
const MODES_1V8: [Mode; 3] = [
    Mode::new(Timing::Ddr50, 50_000_000, 4),
    Mode::new(Timing::Sdr50, 100_000_000, 2),
    Mode::new(Timing::Sdr25, 50_000_000, 1),
];

/// Switches card and controller to the fastest mode that both can; and to which, if one was.
fn set_speed<I: Io, B: DmaBuffer, S: Slot>(
    host: &mut Sdhci<I, B, S>,
    at_1v8: bool,
) -> Result<Option<(Timing, u32)>, Error> {
    // Of the 512 bits, most significant first: 415:400 what group 1 can do, 379:376 what it will do.
    const ASK: u32 = 0x00ff_ffff;
    const SWITCH: u32 = 0x80ff_fff0;
    let can = read::<64, _, _, _>(host, 6, ASK)?;
    let modes: &[Mode] = if at_1v8 { &MODES_1V8 } else { &MODES_3V3 };
    for mode in modes {
        if can[13] & 1 << mode.function == 0 || !host.can(mode.timing) {
            continue;
        }
        let does = read::<64, _, _, _>(host, 6, SWITCH | mode.function)?;
        host.delay_us(10); // eight clocks until it does (§4.3.10.5)
        if u32::from(does[16]) & 0xf != mode.function {
            continue;
        }
        let hz = host.set_clock(mode.limit_hz, mode.timing);
        let hz = hz.map_err(Error::Host)?;
        if host.needs_tuning(mode.timing) {
            host.tune().map_err(Error::Host)?;
        }
        if at_1v8 {
            // A block at the new speed, before anything depends on it.
            match read::<64, _, _, _>(host, 6, ASK) {
                Ok(_) => {}
                Err(_) => return Err(Error::Host(sdhci::Error::Tuning)),
            }
        }
        return Ok(Some((mode.timing, hz)));
    }
    Ok(None)
}
