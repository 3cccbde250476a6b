// SPDX-License-Identifier: MIT OR Apache-2.0
//! From power to the transfer state: identification and bus setting.
//!
//! # References
//! Physical Layer Simplified Specification 9.10: §4.2.3 (initialisation), §4.2.2 (CMD8), §4.3.10 (switch function),
//! §6.4.1 (power-up: a second for ACMD41).
use super::error::Error;
use super::host::{Command, Host, HostError, Response, ResponseKind, Speed};
use super::registers::{Cid, Csd, Scr};
use super::{Info, Kind};

/// 2.7 to 3.6 V in CMD8, with a pattern that the card echoes.
const IF_COND: u32 = 0x1aa;
/// 3.2 to 3.4 V in ACMD41 and the OCR.
const OCR_3V3: u32 = 0b11 << 20;
/// The host can do high capacity (ACMD41), the card has it (OCR).
const OCR_CCS: u32 = 1 << 30;
/// The card is up.
const OCR_READY: u32 = 1 << 31;
const ACMD41_TIMEOUT_US: u32 = 1_000_000;
const ACMD41_STEP_US: u32 = 10_000;
/// Status: locked with a password.
const CARD_IS_LOCKED: u32 = 1 << 25;

/// A command to the card.
fn send(host: &mut impl Host, command: Command) -> Result<Response, Error> {
    host.command(command).map_err(|cause| Error::Bus {
        command: command.index,
        cause,
    })
}

/// A command to the card, whose response is its status.
fn send_r1(
    host: &mut impl Host,
    index: u8,
    argument: u32,
    response: ResponseKind,
) -> Result<u32, Error> {
    Ok(send(host, Command::new(index, argument, response))?.short())
}

/// A few bytes that the card sends about itself.
fn read<const N: usize>(host: &mut impl Host, index: u8, argument: u32) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let command = Command::new(index, argument, ResponseKind::R1);
    match host.read(command, N, &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(cause) => Err(Error::Bus {
            command: index,
            cause,
        }),
    }
}

/// Brings the card into the transfer state; its address, and what it is.
pub(super) fn bring_up(host: &mut impl Host) -> Result<(u16, Info), Error> {
    host.power_up().map_err(Error::Host)?;
    let high_capacity = identify(host)?;
    let cid = Cid::decode(send(host, Command::new(2, 0, ResponseKind::R2))?.long());
    let rca = (send(host, Command::new(3, 0, ResponseKind::R6))?.short() >> 16) as u16;
    let address = u32::from(rca) << 16;
    let csd = Csd::decode(send(host, Command::new(9, address, ResponseKind::R2))?.long())?;
    if send_r1(host, 7, address, ResponseKind::R1b)? & CARD_IS_LOCKED != 0 {
        return Err(Error::Locked);
    }
    let mut clock_hz = host.set_speed(Speed::Default).map_err(Error::Host)?;
    if !high_capacity {
        send_r1(host, 16, 512, ResponseKind::R1)?;
    }
    send_r1(host, 55, address, ResponseKind::R1)?;
    let scr = Scr::decode(read(host, 51, 0)?);
    if scr.four_lines {
        send_r1(host, 55, address, ResponseKind::R1)?;
        send_r1(host, 6, 0b10, ResponseKind::R1)?;
        host.set_four_lines();
    }
    let mut high_speed = false;
    if scr.since_1_10 && csd.has_switch && host.has_high_speed() {
        high_speed = switch_to_high_speed(host)?;
    }
    if high_speed {
        clock_hz = host.set_speed(Speed::High).map_err(Error::Host)?;
    }
    let kind = match (high_capacity, csd.capacity_blocks) {
        (false, _) => Kind::Sdsc,
        (true, ..=0x400_0000) => Kind::Sdhc,
        (true, _) => Kind::Sdxc,
    };
    let info = Info {
        kind,
        capacity_blocks: csd.capacity_blocks,
        cid,
        read_only: csd.read_only,
        high_speed,
        clock_hz,
        data_lines: if scr.four_lines { 4 } else { 1 },
    };
    Ok((rca, info))
}

/// Finds a card and waits until it is up; is it of high capacity?
fn identify(host: &mut impl Host) -> Result<bool, Error> {
    send(host, Command::new(0, 0, ResponseKind::None))?;
    let since_2_00 = match host.command(Command::new(8, IF_COND, ResponseKind::R7)) {
        Ok(response) if response.short() & 0xfff == IF_COND => true,
        Ok(_) => return Err(Error::WrongVoltage),
        // A card made to version 1 does not know CMD8; nor does an empty slot.
        Err(HostError::NoResponse) => false,
        Err(cause) => return Err(Error::Bus { command: 8, cause }),
    };
    let argument = OCR_3V3 | if since_2_00 { OCR_CCS } else { 0 };
    let mut waited_us = 0;
    loop {
        let ocr = send(host, Command::new(55, 0, ResponseKind::R1))
            .and_then(|_| send(host, Command::new(41, argument, ResponseKind::R3)));
        match ocr {
            Ok(ocr) if ocr.short() & OCR_3V3 == 0 => return Err(Error::WrongVoltage),
            Ok(ocr) if ocr.short() & OCR_READY != 0 => {
                return Ok(since_2_00 && ocr.short() & OCR_CCS != 0);
            }
            Ok(_) if waited_us >= ACMD41_TIMEOUT_US => return Err(Error::NotReady),
            Ok(_) => {}
            Err(Error::Bus {
                cause: HostError::NoResponse,
                ..
            }) if !since_2_00 => {
                return Err(Error::NoCard);
            }
            Err(error) => return Err(error),
        }
        host.delay_us(ACMD41_STEP_US);
        waited_us += ACMD41_STEP_US;
    }
}

/// Asks for function 1 of group 1; did the card take it?
fn switch_to_high_speed(host: &mut impl Host) -> Result<bool, Error> {
    // Of the 512 bits, most significant first: 415:400 what group 1 can do, 379:376 what it will do.
    const ASK: u32 = 0x00ff_fff1;
    const SWITCH: u32 = 0x80ff_fff1;
    let can = read::<64>(host, 6, ASK)?;
    if can[13] & 1 << 1 == 0 || can[16] & 0xf != 1 {
        return Ok(false);
    }
    let does = read::<64>(host, 6, SWITCH)?;
    host.delay_us(10); // eight clocks until it does (§4.3.10.5)
    Ok(does[16] & 0xf == 1)
}
