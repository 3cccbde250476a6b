// SPDX-License-Identifier: MIT OR Apache-2.0
//! SNTP: what a client sends to a time server, and what it believes of the answer.
//!
//! # Theory
//! The client sends a number that nobody can guess where the protocol has room for its own time, and the server sends it
//! back: so an answer belongs to the question, and nobody off the path can forge one. Of the clock the server learns nothing.
//! With t1 and t4 the times since boot when the question left and the answer came, T2 and T3 the server's times in
//! between, boot was at ((T2 - t1) + (T3 - t4)) / 2, wrong by no more than half of the round trip (t4 - t1) - (T3 - T2).
//! Of several answers the one with the shortest round trip is the best.
//!
//! Seconds of the protocol have 32 bits and begin anew in 2036: those whose first bit is not set are meant to be after
//! that (RFC 4330 §3).
//!
//! # Rejected
//! Steering the clock's rate: nobody here measures over hours, and the log is better served by a step that is told.
//!
//! References: RFC 4330 §5 (checks), RFC 5905 §7.4 (kiss-o'-death) and §8, RFC 8633, RFC 9109 (ports at random).
use super::summary::{Bytes, Stop};
use core::fmt;

/// Where servers listen.
pub const PORT: u16 = 123;
/// Bytes of a message without extensions.
pub const MESSAGE_BYTES: usize = 48;

const VERSION: u8 = 4;
const MODE_CLIENT: u8 = 3;
const MODE_SERVER: u8 = 4;
/// Leap indicator of a clock that is not set.
const NOT_SET: u8 = 3;
/// The greatest distance from a server that is worth asking.
const STRATUM_MAX: u8 = 15;
/// A server that knows its own time no better is not believed: 16 s (RFC 5905's MAXDISP).
const DISTANCE_MAX_NS: u64 = 16_000_000_000;
/// Seconds from 1900 to 1970.
const TO_1970_S: u64 = 2_208_988_800;
const NS_PER_S: u64 = 1_000_000_000;

/// What a server asks for instead of telling the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kiss {
    /// Never to be asked again (DENY, RSTR).
    GoAway,
    /// To be asked less often (RATE).
    SlowDown,
    /// Something else.
    Other([u8; 4]),
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SntpError {
    /// It is too short.
    Short,
    /// It answers no question of ours.
    NotOurs,
    /// It is not a server's.
    NotAServer,
    /// The server says that its own clock is not set.
    NotSet,
    /// The server is this far from a clock.
    Stratum(u8),
    /// The server knows its own time no better than this, in nanoseconds.
    Distance(u64),
    /// Times contradict themselves.
    Times,
    /// The server asks for something.
    Kiss(Kiss),
}

impl fmt::Display for SntpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("an answer that breaks off"),
            Self::NotOurs => f.write_str("an answer to a question that was not asked"),
            Self::NotAServer => f.write_str("an answer that is not a server's"),
            Self::NotSet => f.write_str("the server's clock is not set"),
            Self::Stratum(stratum) => write!(f, "the server is of stratum {stratum}"),
            Self::Distance(ns) => write!(f, "the server's time may be {} s wrong", ns / NS_PER_S),
            Self::Times => f.write_str("the answer's times contradict themselves"),
            Self::Kiss(Kiss::GoAway) => f.write_str("the server does not want to be asked"),
            Self::Kiss(Kiss::SlowDown) => f.write_str("the server was asked too often"),
            Self::Kiss(Kiss::Other(code)) => write!(f, "the server says {}", code.escape_ascii()),
        }
    }
}

impl core::error::Error for SntpError {}

impl From<Stop> for SntpError {
    fn from(_: Stop) -> Self {
        Self::Short
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When this machine was started, in nanoseconds since 1970.
    pub boot_ns: u64,
    /// How long question and answer were on their way, both together.
    pub round_trip_ns: u64,
    /// How many servers there are between this one and a clock, and itself.
    pub stratum: u8,
    /// How wrong the server's own time may be.
    pub distance_ns: u64,
}

/// The question. `nonce` must be hard to guess, and not 0.
pub fn request(nonce: u64) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    message[0] = VERSION << 3 | MODE_CLIENT;
    message[40..].copy_from_slice(&nonce.to_be_bytes());
    message
}

/// Reads an answer to the question with `nonce`, which left `sent_ns` after boot; the answer came at `received_ns`.
///
/// # Errors
/// Why it is not believed. [`SntpError::NotOurs`] may be anybody's: the server's own answer may still come.
pub fn sample(
    answer: &[u8],
    nonce: u64,
    sent_ns: u64,
    received_ns: u64,
) -> Result<Sample, SntpError> {
    let answer = Bytes(answer);
    let (first, stratum) = (answer.u8(0)?, answer.u8(1)?);
    let (leap, version, mode) = (first >> 6, first >> 3 & 7, first & 7);
    let (originate, received) = (timestamp(answer, 24)?, timestamp(answer, 32)?);
    let sent = timestamp(answer, 40)?;
    if originate != nonce {
        return Err(SntpError::NotOurs);
    }
    if mode != MODE_SERVER || !(1..=VERSION).contains(&version) {
        return Err(SntpError::NotAServer);
    }
    if stratum == 0 {
        return Err(SntpError::Kiss(match &answer.array(12)? {
            b"DENY" | b"RSTR" => Kiss::GoAway,
            b"RATE" => Kiss::SlowDown,
            other => Kiss::Other(*other),
        }));
    }
    if leap == NOT_SET {
        return Err(SntpError::NotSet);
    }
    if stratum > STRATUM_MAX {
        return Err(SntpError::Stratum(stratum));
    }
    let short_ns = |at| {
        answer
            .u32(at)
            .map(|value| (u64::from(value) * NS_PER_S) >> 16)
    };
    let distance_ns = short_ns(4)? / 2 + short_ns(8)?;
    if distance_ns > DISTANCE_MAX_NS {
        return Err(SntpError::Distance(distance_ns));
    }
    if received == 0 || sent == 0 {
        return Err(SntpError::Times);
    }
    let (received_at, sent_at) = (unix_ns(received), unix_ns(sent));
    let held_ns = sent_at.checked_sub(received_at).ok_or(SntpError::Times)?;
    let away_ns = received_ns.saturating_sub(sent_ns);
    let round_trip_ns = away_ns.checked_sub(held_ns).ok_or(SntpError::Times)?;
    let boot_ns = received_at
        .checked_sub(sent_ns + round_trip_ns / 2)
        .ok_or(SntpError::Times)?;
    Ok(Sample {
        boot_ns,
        round_trip_ns,
        stratum,
        distance_ns,
    })
}

fn timestamp(answer: Bytes, at: usize) -> Result<u64, SntpError> {
    Ok(u64::from_be_bytes(answer.array(at)?))
}

/// A timestamp of the protocol in nanoseconds since 1970.
fn unix_ns(timestamp: u64) -> u64 {
    let (s, fraction) = (timestamp >> 32, timestamp & u64::from(u32::MAX));
    let era = if s >> 31 == 1 { 0 } else { 1 << 32 };
    // In era 0 the first bit makes it 1968 or later; before 1970 is as good as 1970.
    let s = (s + era).saturating_sub(TO_1970_S);
    s * NS_PER_S + ((fraction * NS_PER_S) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: u64 = 0x0123_4567_89ab_cdef;
    /// 2026-11-22 17:15:05.5
    const RECEIVED: u64 = (1_795_367_705 + TO_1970_S) << 32 | 1 << 31;

    /// An answer of stratum 2, held for 1/4 s.
    fn answer() -> [u8; MESSAGE_BYTES] {
        let mut message = [0; MESSAGE_BYTES];
        (message[0], message[1]) = (0x24, 2);
        message[4..8].copy_from_slice(&0x8000_u32.to_be_bytes()); // root delay 1/2 s
        message[8..12].copy_from_slice(&0x4000_u32.to_be_bytes()); // dispersion 1/4 s
        message[24..32].copy_from_slice(&NONCE.to_be_bytes());
        message[32..40].copy_from_slice(&RECEIVED.to_be_bytes());
        message[40..].copy_from_slice(&(RECEIVED + (1 << 30)).to_be_bytes());
        message
    }

    #[test]
    fn the_question_says_nothing_but_its_number() {
        let message = request(NONCE);
        assert_eq!(
            (message[0], &message[40..]),
            (0x23, &NONCE.to_be_bytes()[..])
        );
        assert!(message[1..40].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn half_of_the_round_trip_is_taken_off() {
        let second = NS_PER_S;
        let read = sample(&answer(), NONCE, 10 * second, 11 * second).unwrap();
        assert_eq!(
            read,
            Sample {
                boot_ns: 1_795_367_705 * second + second / 2 - 10 * second - second * 3 / 8,
                round_trip_ns: second * 3 / 4,
                stratum: 2,
                distance_ns: second / 2,
            }
        );
    }

    #[test]
    fn seconds_begin_anew_in_2036() {
        assert_eq!(unix_ns(u64::from(u32::MAX) << 32), 2_085_978_495 * NS_PER_S);
        assert_eq!(unix_ns(0), 2_085_978_496 * NS_PER_S);
    }

    #[test]
    fn every_check_refuses() {
        let changed = |at: usize, bytes: &[u8]| {
            let mut message = answer();
            message[at..at + bytes.len()].copy_from_slice(bytes);
            sample(&message, NONCE, 0, NS_PER_S)
        };
        for (at, bytes, error) in [
            (24, &[9][..], SntpError::NotOurs),
            (0, &[0x23], SntpError::NotAServer),
            (0, &[0x3c], SntpError::NotAServer),
            (0, &[0xe4], SntpError::NotSet),
            (1, &[16], SntpError::Stratum(16)),
            (4, &[0, 33], SntpError::Distance(17_000_000_000)),
            (32, &[0; 8], SntpError::Times),
            (40, &[0; 8], SntpError::Times),
            (32, &[0xff; 8], SntpError::Times),
            (40, &(RECEIVED + (2 << 32)).to_be_bytes(), SntpError::Times),
            (1, &[0], SntpError::Kiss(Kiss::Other([0; 4]))),
        ] {
            assert_eq!(changed(at, bytes), Err(error), "{at} {bytes:x?}");
        }
        for (code, kiss) in [
            (b"DENY", Kiss::GoAway),
            (b"RSTR", Kiss::GoAway),
            (b"RATE", Kiss::SlowDown),
            (b"INIT", Kiss::Other(*b"INIT")),
        ] {
            let mut message = answer();
            message[1] = 0;
            message[12..16].copy_from_slice(code);
            let read = sample(&message, NONCE, 0, NS_PER_S);
            assert_eq!(read, Err(SntpError::Kiss(kiss)));
        }
        for end in 0..MESSAGE_BYTES {
            assert_eq!(
                sample(&answer()[..end], NONCE, 0, NS_PER_S),
                Err(SntpError::Short)
            );
        }
    }
}
