// SPDX-License-Identifier: MIT OR Apache-2.0
//! CMD6 of an SD card: its functions, of which the first group is the bus speed.
//!
//! Physical Layer Simplified Specification 4.3.10.

/// Speeds at 3.3 V: default and high.
const SPEEDS: u16 = 0x8003;
/// Speeds at 1.8 V: SDR12, SDR25, SDR50, SDR104, DDR50.
const SPEEDS_LOW_VOLTAGE: u16 = 0x801f;
/// The other groups have their default only.
const DEFAULT_ONLY: u16 = 0x8001;
/// "Keep it", and in the answer: "there is no such function".
const NONE: u8 = 0xf;
const SET: u32 = 1 << 31;

/// The 64 bytes that answer; `speed` changes if the command says so and all it asks for exists.
pub(crate) fn switch(argument: u32, low_voltage: bool, speed: &mut u8) -> Vec<u8> {
    let speeds = if low_voltage {
        SPEEDS_LOW_VOLTAGE
    } else {
        SPEEDS
    };
    let mut chosen = [0; 6];
    for (group, chosen) in chosen.iter_mut().enumerate() {
        let (has, now) = match group {
            0 => (speeds, *speed),
            _ => (DEFAULT_ONLY, 0),
        };
        let wanted = (argument >> (4 * group) & 0xf) as u8;
        *chosen = match wanted {
            NONE => now,
            _ if has >> wanted & 1 != 0 => wanted,
            _ => NONE,
        };
    }
    if argument & SET != 0 && !chosen.contains(&NONE) {
        *speed = chosen[0];
    }
    let mut answer = vec![0; 64];
    answer[1] = 100; // mA; 0 would say that the switch cannot be
    for group in 1..6 {
        let at = 12 - 2 * group;
        answer[at..at + 2].copy_from_slice(&DEFAULT_ONLY.to_be_bytes());
    }
    answer[12..14].copy_from_slice(&speeds.to_be_bytes());
    for pair in 0..3 {
        answer[16 - pair] = chosen[2 * pair + 1] << 4 | chosen[2 * pair];
    }
    answer
}

/// TRAN_SPEED of the CSD at this function.
pub(crate) fn csd_speed(function: u8) -> u8 {
    match function {
        1 => 0x5a,     // 50 Mbit/s
        2 | 4 => 0x0b, // 100 Mbit/s
        3 => 0x2b,     // 200 Mbit/s
        _ => 0x32,     // 25 Mbit/s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_set_mode_switches_and_only_to_what_there_is() {
        let mut speed = 0;
        let answer = switch(0x00ff_fff1, false, &mut speed);
        assert_eq!((speed, answer[13], answer[16] & 0xf), (0, 3, 1));
        switch(SET | 0x00ff_fff1, false, &mut speed);
        assert_eq!(speed, 1);
        let answer = switch(SET | 0x00ff_fff4, false, &mut speed);
        assert_eq!((speed, answer[16] & 0xf), (1, NONE));
        switch(SET | 0x00ff_fff4, true, &mut speed);
        assert_eq!(speed, 4);
        // One group that cannot be keeps the others from changing.
        switch(SET | 0x00ff_ff31, true, &mut speed);
        assert_eq!(speed, 4);
    }
}
