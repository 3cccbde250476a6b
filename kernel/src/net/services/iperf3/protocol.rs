// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an `iperf3` client and its server say to each other, as far as it is bytes.
//!
//! # Theory
//! The client opens a control connection and sends a cookie. From then on the server names the states, a byte each, and
//! the client follows; only the ends of the test are the client's to name. Parameters and results are JSON behind a length
//! of four bytes. Data go over connections of their own, which begin with the cookie, or over UDP, where a datagram asks
//! for a stream and another answers; then each datagram carries when it was sent and its number, from 1.
//!
//! References: <https://github.com/esnet/iperf>, `iperf_api.h` (states), `iperf_udp.c`; RFC 3550 §A.8 (jitter).
use crate::net::summary::{Bytes, Stop};
use core::fmt::{self, Write};
use serde::Deserialize;

/// Bytes of a cookie, with the 0 at its end.
pub const COOKIE_BYTES: usize = 37;
/// The most streams of a test.
pub const STREAMS_MAX: u64 = 16;
/// The most bytes that are sent at once.
pub const BLOCK_BYTES_MAX: u64 = 1 << 20;
/// The most bytes of a datagram.
pub const DATAGRAM_BYTES_MAX: u64 = 65_507;
/// The fewest: the header with a number of 64 bits.
const DATAGRAM_BYTES_MIN: u64 = 16;

/// States that a server names.
pub mod state {
    /// The streams may begin.
    pub const TEST_START: i8 = 1;
    /// They do.
    pub const TEST_RUNNING: i8 = 2;
    /// The client's: the test is over.
    pub const TEST_END: i8 = 4;
    /// Parameters are wanted.
    pub const PARAM_EXCHANGE: i8 = 9;
    /// Streams are wanted.
    pub const CREATE_STREAMS: i8 = 10;
    /// The client's: it gives up.
    pub const CLIENT_TERMINATE: i8 = 12;
    /// Results are wanted.
    pub const EXCHANGE_RESULTS: i8 = 13;
    /// They are there.
    pub const DISPLAY_RESULTS: i8 = 14;
    /// The client's: good-bye.
    pub const IPERF_DONE: i8 = 16;
    /// Another test is running.
    pub const ACCESS_DENIED: i8 = -1;
    /// Two numbers follow, the program's error and the system's.
    pub const SERVER_ERROR: i8 = -2;
}

/// What a test is refused for, by the client's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many streams.
    Streams = 6,
    /// Blocks too large or too small.
    Block = 7,
    /// What is not known here.
    Unknown = 13,
    /// Parameters that cannot be read.
    Parameters = 114,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Streams => write!(f, "more than {STREAMS_MAX} streams"),
            Self::Block => f.write_str("a block size that cannot be"),
            Self::Unknown => f.write_str("both ways at once"),
            Self::Parameters => f.write_str("parameters that cannot be read"),
        }
    }
}

/// What the client wants. It says more, which is its own business or means nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// Datagrams.
    pub udp: bool,
    /// The server sends.
    pub reverse: bool,
    bidirectional: bool,
    /// Seconds at the beginning that do not count.
    pub omit: u64,
    /// Seconds; 0 if something else ends the test.
    pub time: u64,
    /// How many streams.
    pub parallel: u64,
    /// Bytes of a block or datagram.
    pub len: u64,
    /// Bits a second and stream; 0: as fast as it goes.
    pub bandwidth: u64,
    udp_counters_64bit: u64,
}

impl Parameters {
    /// Reads the client's JSON.
    ///
    /// # Errors
    /// Why there is no such test.
    pub fn parse(json: &[u8]) -> Result<Self, Refused> {
        let mut read: Self = serde_json::from_slice(json).map_err(|_| Refused::Parameters)?;
        read.parallel = read.parallel.max(1);
        let lengths = if read.udp {
            DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX
        } else {
            1..=BLOCK_BYTES_MAX
        };
        if read.bidirectional {
            return Err(Refused::Unknown);
        }
        if read.parallel > STREAMS_MAX {
            return Err(Refused::Streams);
        }
        if !lengths.contains(&read.len) {
            return Err(Refused::Block);
        }
        Ok(read)
    }

    /// When a stream may have sent so many bytes, in nanoseconds from its start.
    pub fn due_ns(&self, bytes: u64) -> u64 {
        let bits = u128::from(bytes) * 8 * 1_000_000_000;
        bits.checked_div(self.bandwidth.into()).unwrap_or(0) as u64
    }

    /// The number of a datagram and when it was sent, in nanoseconds of the sender's clock.
    ///
    /// # Errors
    /// It is too short.
    pub fn read_header(&self, datagram: &[u8]) -> Result<(u64, u64), Stop> {
        let bytes = Bytes(datagram);
        let (s, us) = (u64::from(bytes.u32(0)?), u64::from(bytes.u32(4)?));
        let number = match self.udp_counters_64bit {
            0 => bytes.u32(8)?.into(),
            _ => u64::from_be_bytes(bytes.array(8)?),
        };
        Ok((number, s * 1_000_000_000 + us * 1000))
    }

    /// Writes such a header at the start of a datagram, which has room for it.
    pub fn write_header(&self, datagram: &mut [u8], number: u64, now_ns: u64) {
        let (s, us) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000 / 1000);
        datagram[..4].copy_from_slice(&(s as u32).to_be_bytes());
        datagram[4..8].copy_from_slice(&(us as u32).to_be_bytes());
        match self.udp_counters_64bit {
            0 => datagram[8..12].copy_from_slice(&(number as u32).to_be_bytes()),
            _ => datagram[8..16].copy_from_slice(&number.to_be_bytes()),
        }
    }
}

/// Answers a datagram that asks for a stream; the client's byte order is not the network's but its machine's.
pub fn answer_to_connect(datagram: &[u8]) -> Option<[u8; 4]> {
    /// Question and answer, of 3.10 and of what was before.
    const WORDS: [(u32, u32); 2] = [(0x3637_3839, 0x3938_3736), (123_456_789, 987_654_321)];
    let question: [u8; 4] = datagram.try_into().ok()?;
    WORDS.into_iter().find_map(|(asked, answer)| {
        if question == asked.to_le_bytes() {
            return Some(answer.to_le_bytes());
        }
        (question == asked.to_be_bytes()).then_some(answer.to_be_bytes())
    })
}

/// The number by which both ends know stream `n` (from 0). There is no 2.
pub fn stream_id(n: usize) -> usize {
    if n == 0 { 1 } else { n + 2 }
}

/// What became of the datagrams of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// The greatest number that came.
    pub greatest: u64,
    /// Numbers that did not come.
    pub lost: u64,
    /// Numbers that came after a greater one.
    pub late: u64,
    /// How much the time on the way varies.
    pub jitter_ns: u64,
    on_the_way_ns: Option<i64>,
}

impl Datagrams {
    /// Takes the header of a datagram that came at `now_ns`. The two clocks need not agree.
    pub fn take(&mut self, number: u64, sent_ns: u64, now_ns: u64) {
        if number > self.greatest {
            self.lost += number - self.greatest - 1;
            self.greatest = number;
        } else {
            self.late += 1;
            self.lost = self.lost.saturating_sub(1);
        }
        let on_the_way = now_ns.wrapping_sub(sent_ns) as i64;
        let before = self.on_the_way_ns.replace(on_the_way).unwrap_or(on_the_way);
        let change = on_the_way.wrapping_sub(before).unsigned_abs();
        self.jitter_ns = self.jitter_ns - self.jitter_ns / 16 + change / 16;
    }
}

/// What one stream did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamFigures {
    /// Bytes sent or received.
    pub bytes: u64,
    /// Of UDP: what became of the datagrams; of a sender, only how many.
    pub datagrams: Datagrams,
}

/// Writes the results as the client reads them: `percent` of a CPU were busy in all, in hundredths.
///
/// # Errors
/// Those of `out`.
pub fn write_results(
    out: &mut dyn Write,
    parameters: &Parameters,
    streams: &[StreamFigures],
    ns: u64,
    percent: u64,
) -> fmt::Result {
    let (whole, hundredths) = (percent / 100, percent % 100);
    write!(
        out,
        "{{\"cpu_util_total\":{whole}.{hundredths:02},\"cpu_util_user\":0,\
         \"cpu_util_system\":{whole}.{hundredths:02},\"sender_has_retransmits\":{},\"streams\":[",
        // Who receives cannot know; who sends could, and does not.
        if parameters.reverse { 0 } else { -1 }
    )?;
    for (n, stream) in streams.iter().enumerate() {
        let (id, bytes, sent) = (stream_id(n), stream.bytes, stream.datagrams);
        let comma = if n > 0 { "," } else { "" };
        write!(
            out,
            "{comma}{{\"id\":{id},\"bytes\":{bytes},\"retransmits\":-1,\"jitter\":{}.{:09},\
             \"errors\":{},\"packets\":{},\"start_time\":0,\"end_time\":{}.{:09}}}",
            sent.jitter_ns / 1_000_000_000,
            sent.jitter_ns % 1_000_000_000,
            sent.lost,
            sent.greatest,
            ns / 1_000_000_000,
            ns % 1_000_000_000,
        )?;
    }
    out.write_str("]}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    /// What iperf 3.12 sends for `-c HOST`, `-c HOST -u -R -P 4 -b 10M`.
    const PLAIN: &[u8] = br#"{"tcp":true,"omit":0,"time":10,"num":0,"blockcount":0,"parallel":1,
        "len":131072,"pacing_timer":1000,"client_version":"3.12"}"#;
    const UDP: &[u8] = br#"{"udp":true,"omit":1,"time":2,"num":0,"blockcount":0,"parallel":4,
        "reverse":true,"len":1460,"bandwidth":10000000,"pacing_timer":1000,
        "udp_counters_64bit":1,"client_version":"3.12"}"#;

    #[test]
    fn a_clients_parameters() {
        let plain = Parameters::parse(PLAIN).unwrap();
        assert_eq!((plain.udp, plain.reverse, plain.time), (false, false, 10));
        assert_eq!(
            (plain.parallel, plain.len, plain.due_ns(1 << 40)),
            (1, 131_072, 0)
        );
        let udp = Parameters::parse(UDP).unwrap();
        assert_eq!(
            (udp.udp, udp.reverse, udp.omit, udp.parallel),
            (true, true, 1, 4)
        );
        assert_eq!(udp.due_ns(1_250_000), 1_000_000_000);
        for (json, refused) in [
            ("", Refused::Parameters),
            ("{", Refused::Parameters),
            (r#"{"tcp":true}"#, Refused::Block),
            (r#"{"tcp":true,"len":-1}"#, Refused::Parameters),
            (r#"{"len":2000000}"#, Refused::Block),
            (r#"{"udp":true,"len":15}"#, Refused::Block),
            (r#"{"len":1,"parallel":17}"#, Refused::Streams),
            (r#"{"len":1,"bidirectional":true}"#, Refused::Unknown),
        ] {
            assert_eq!(Parameters::parse(json.as_bytes()), Err(refused), "{json}");
        }
    }

    #[test]
    fn nesting_without_an_end_is_refused() {
        let deep = "[".repeat(100_000);
        assert_eq!(Parameters::parse(deep.as_bytes()), Err(Refused::Parameters));
    }

    #[test]
    fn datagrams_carry_time_and_number() {
        for json in [UDP, br#"{"udp":true,"len":16}"#] {
            let parameters = Parameters::parse(json).unwrap();
            let mut datagram = [0; 16];
            parameters.write_header(&mut datagram, 7, 3_000_005_000);
            assert_eq!(parameters.read_header(&datagram), Ok((7, 3_000_005_000)));
            assert!(parameters.read_header(&datagram[..11]).is_err());
        }
    }

    #[test]
    fn a_stream_is_asked_for_in_either_byte_order() {
        for (asked, answer) in [
            (b"9876", Some(*b"6789")),
            (b"6789", Some(*b"9876")),
            (
                &123_456_789_u32.to_le_bytes(),
                Some(987_654_321_u32.to_le_bytes()),
            ),
            (b"what", None),
        ] {
            assert_eq!(answer_to_connect(asked), answer);
        }
        assert_eq!(answer_to_connect(b"98765"), None);
        assert_eq!([0, 1, 2].map(stream_id), [1, 3, 4]);
    }

    #[test]
    fn lost_and_late_datagrams_are_told_apart() {
        let mut datagrams = Datagrams::default();
        for number in [1, 2, 5, 3, 6] {
            datagrams.take(number, number * 1000, number * 1000 + 50);
        }
        assert_eq!(
            (datagrams.greatest, datagrams.lost, datagrams.late),
            (6, 1, 1)
        );
        assert_eq!(datagrams.jitter_ns, 0, "all took as long");
        datagrams.take(7, 7000, 7000 + 50 + 1600);
        assert_eq!(datagrams.jitter_ns, 100);
    }

    #[test]
    fn results_are_json_that_says_what_was_seen() {
        let mut json = String::new();
        let parameters = Parameters::parse(UDP).unwrap();
        let datagrams = Datagrams {
            greatest: 10,
            lost: 2,
            jitter_ns: 1_500,
            ..Datagrams::default()
        };
        let stream = StreamFigures {
            bytes: 14_600,
            datagrams,
        };
        write_results(&mut json, &parameters, &[stream; 2], 2_000_000_001, 1234).unwrap();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["cpu_util_total"], 12.34);
        assert_eq!(read["streams"][1]["id"], 3);
        assert_eq!(read["streams"][0]["bytes"], 14_600);
        assert_eq!(read["streams"][0]["jitter"], 1.5e-6);
        assert_eq!(read["streams"][0]["end_time"], 2.000000001);
    }
}
