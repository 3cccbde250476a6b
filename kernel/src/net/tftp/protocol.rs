// SPDX-License-Identifier: MIT OR Apache-2.0
//! TFTP, the receiving side: what is sent, and what a datagram from the server means.
//!
//! # Theory
//! Each block is acknowledged before the next one comes, so speed is a block a round trip: larger blocks are asked for,
//! which a server may grant or pass over. A block that comes twice is acknowledged twice, or a lost acknowledgement would
//! stop the transfer; one that was acknowledged long ago is not. Block numbers have 16 bits and go on with 0.
//!
//! References: RFC 1350; RFC 2347 (options), 2348 (blksize), 2349 (tsize).
use crate::net::summary::{Bytes, Stop};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Where servers listen.
pub const PORT: u16 = 69;
/// What is asked for: with the headers of UDP and IPv4 it fills an Ethernet frame's 1500 bytes, less 32 for IPv6.
pub const BLOCK_BYTES: usize = 1428;
/// What holds if nothing is granted.
const PLAIN_BLOCK_BYTES: usize = 512;
/// The error code of a datagram that is nobody's.
const UNKNOWN_TRANSFER: u16 = 5;
/// The most bytes of a server's words that are kept.
const MESSAGE_BYTES_MAX: usize = 200;

/// Opcodes.
mod op {
    pub const READ: u16 = 1;
    pub const DATA: u16 = 3;
    pub const ACK: u16 = 4;
    pub const ERROR: u16 = 5;
    pub const OPTIONS: u16 = 6;
}

/// Why there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TftpError {
    /// The server says so.
    Refused {
        /// RFC 1350's code.
        code: u16,
        /// In its words.
        message: String,
    },
    /// The server sent what it may not.
    Protocol(&'static str),
    /// It ended with so many bytes of so many.
    Size(u64, u64),
}

impl fmt::Display for TftpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "the server says: {message} ({code})"),
            Self::Protocol(what) => write!(f, "the server sent {what}"),
            Self::Size(has, promised) => {
                write!(f, "the file ended at byte {has} of {promised}")
            }
        }
    }
}

impl core::error::Error for TftpError {}

impl From<Stop> for TftpError {
    fn from(_: Stop) -> Self {
        Self::Protocol("a message that breaks off")
    }
}

/// What a datagram means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing: it is late.
    Ignore,
    /// This is to be sent, again if it was before.
    Acknowledge([u8; 4]),
    /// These bytes of the file came; then the answer is to be sent.
    Data(&'a [u8], [u8; 4]),
    /// As above, and it was the last.
    Last(&'a [u8], [u8; 4]),
}

/// Asks for `file`, byte by byte as it is.
pub fn request(file: &str) -> Vec<u8> {
    let mut message = op::READ.to_be_bytes().to_vec();
    let size = alloc::format!("{BLOCK_BYTES}");
    for word in [file, "octet", "blksize", &size, "tsize", "0"] {
        message.extend(word.as_bytes());
        message.push(0);
    }
    message
}

/// Answers a datagram that belongs to no transfer.
pub fn unknown_transfer() -> Vec<u8> {
    error(UNKNOWN_TRANSFER, "unknown transfer")
}

/// Tells the server that nobody wants the rest.
pub fn give_up() -> Vec<u8> {
    error(0, "given up")
}

fn error(code: u16, words: &str) -> Vec<u8> {
    let mut message = op::ERROR.to_be_bytes().to_vec();
    message.extend(code.to_be_bytes());
    message.extend(words.as_bytes());
    message.push(0);
    message
}

fn acknowledgement(block: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (op::ACK.to_be_bytes(), block.to_be_bytes());
    [a, b, c, d]
}

/// A file on its way.
#[derive(Debug)]
pub struct Receiver {
    block_bytes: usize,
    /// The block that comes next.
    next: u16,
    received_bytes: u64,
    promised_bytes: Option<u64>,
    begun: bool,
}

impl Receiver {
    /// One that has asked.
    pub const fn new() -> Self {
        Self {
            block_bytes: PLAIN_BLOCK_BYTES,
            next: 1,
            received_bytes: 0,
            promised_bytes: None,
            begun: false,
        }
    }

    /// How many bytes came.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// How many there are, if the server said so.
    pub fn promised_bytes(&self) -> Option<u64> {
        self.promised_bytes
    }

    /// Takes a datagram of the server's.
    ///
    /// # Errors
    /// The transfer has failed.
    pub fn take<'a>(&mut self, datagram: &'a [u8]) -> Result<Step<'a>, TftpError> {
        let message = Bytes(datagram);
        match message.u16(0)? {
            op::DATA => self.take_block(message.u16(2)?, message.from(4)?.0),
            op::OPTIONS if !self.begun && self.next == 1 => {
                self.take_options(message.from(2)?)?;
                Ok(Step::Acknowledge(acknowledgement(0)))
            }
            op::OPTIONS => Ok(Step::Ignore),
            op::ERROR => {
                let words = message.from(4)?.0;
                let end = words.iter().position(|byte| *byte == 0);
                let words = &words[..end.unwrap_or(words.len()).min(MESSAGE_BYTES_MAX)];
                Err(TftpError::Refused {
                    code: message.u16(2)?,
                    message: alloc::format!("{}", words.escape_ascii()),
                })
            }
            _ => Err(TftpError::Protocol("a message of no known kind")),
        }
    }

    fn take_block<'a>(&mut self, block: u16, data: &'a [u8]) -> Result<Step<'a>, TftpError> {
        if block != self.next {
            let is_last_one = self.begun && block == self.next.wrapping_sub(1);
            return Ok(if is_last_one {
                Step::Acknowledge(acknowledgement(block))
            } else {
                Step::Ignore
            });
        }
        if data.len() > self.block_bytes {
            return Err(TftpError::Protocol("more than a block"));
        }
        self.begun = true;
        self.next = self.next.wrapping_add(1);
        self.received_bytes += data.len() as u64;
        let answer = acknowledgement(block);
        if data.len() == self.block_bytes {
            return Ok(Step::Data(data, answer));
        }
        match self.promised_bytes {
            Some(promised) if promised != self.received_bytes => {
                Err(TftpError::Size(self.received_bytes, promised))
            }
            _ => Ok(Step::Last(data, answer)),
        }
    }

    fn take_options(&mut self, options: Bytes) -> Result<(), TftpError> {
        let text = core::str::from_utf8(options.0).ok();
        let text = text.and_then(|text| text.strip_suffix('\0'));
        let bad = TftpError::Protocol("options that cannot be read");
        let words: Vec<&str> = text.ok_or(bad.clone())?.split('\0').collect();
        for pair in words.chunks(2) {
            let [name, value] = *pair else {
                return Err(bad);
            };
            if name.eq_ignore_ascii_case("blksize") {
                let bytes = value.parse().ok();
                self.block_bytes = bytes
                    .filter(|bytes| (8..=BLOCK_BYTES).contains(bytes))
                    .ok_or(TftpError::Protocol("a block size that was not asked for"))?;
            } else if name.eq_ignore_ascii_case("tsize") {
                self.promised_bytes = Some(value.parse().map_err(|_| bad.clone())?);
            } else {
                return Err(TftpError::Protocol("an option that was not asked for"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn data(block: u16, bytes: usize) -> Vec<u8> {
        let mut message = op::DATA.to_be_bytes().to_vec();
        message.extend(block.to_be_bytes());
        message.resize(4 + bytes, block as u8);
        message
    }

    fn options(words: &str) -> Vec<u8> {
        let mut message = op::OPTIONS.to_be_bytes().to_vec();
        message.extend(words.replace(' ', "\0").as_bytes());
        message.push(0);
        message
    }

    /// What came of a datagram: how many bytes, which block is acknowledged, and whether it was the last.
    fn take(receiver: &mut Receiver, datagram: &[u8]) -> (usize, Option<u16>, bool) {
        let block = |answer: [u8; 4]| {
            assert_eq!(answer[..2], [0, 4]);
            Some(u16::from_be_bytes([answer[2], answer[3]]))
        };
        match receiver.take(datagram).unwrap() {
            Step::Ignore => (0, None, false),
            Step::Acknowledge(answer) => (0, block(answer), false),
            Step::Data(data, answer) => (data.len(), block(answer), false),
            Step::Last(data, answer) => (data.len(), block(answer), true),
        }
    }

    #[test]
    fn the_request_asks_for_large_blocks_and_the_size() {
        assert_eq!(
            request("a b.bin"),
            b"\0\x01a b.bin\0octet\0blksize\x001428\0tsize\x000\0"
        );
    }

    #[test]
    fn a_plain_server_sends_blocks_of_512() {
        let mut receiver = Receiver::new();
        assert_eq!(take(&mut receiver, &data(1, 512)), (512, Some(1), false));
        assert_eq!(take(&mut receiver, &data(1, 512)), (0, Some(1), false));
        assert_eq!(take(&mut receiver, &data(3, 512)), (0, None, false));
        assert_eq!(take(&mut receiver, &data(2, 512)), (512, Some(2), false));
        assert_eq!(take(&mut receiver, &data(1, 512)), (0, None, false));
        assert_eq!(take(&mut receiver, &options("tsize 1")), (0, None, false));
        assert_eq!(take(&mut receiver, &data(3, 0)), (0, Some(3), true));
        assert_eq!(receiver.received_bytes(), 1024);
        let mut receiver = Receiver::new();
        let long = data(1, 513);
        assert_eq!(
            receiver.take(&long),
            Err(TftpError::Protocol("more than a block"))
        );
    }

    #[test]
    fn options_are_what_the_server_grants() {
        let mut receiver = Receiver::new();
        let granted = options("BLKSIZE 1000 tsize 1001");
        assert_eq!(take(&mut receiver, &granted), (0, Some(0), false));
        assert_eq!(take(&mut receiver, &granted), (0, Some(0), false)); // the answer was lost
        assert_eq!(take(&mut receiver, &data(0, 1000)), (0, None, false));
        assert_eq!(take(&mut receiver, &data(1, 1000)), (1000, Some(1), false));
        assert_eq!(receiver.promised_bytes(), Some(1001));
        assert_eq!(receiver.take(&data(2, 2)), Err(TftpError::Size(1002, 1001)));
    }

    #[test]
    fn more_blocks_than_numbers() {
        let mut receiver = Receiver::new();
        take(&mut receiver, &options("blksize 8"));
        for block in 1..=70_000u32 {
            let block = block as u16;
            let taken = take(&mut receiver, &data(block, 8));
            assert_eq!(taken, (8, Some(block), false));
        }
        assert_eq!(receiver.received_bytes(), 560_000);
    }

    #[test]
    fn what_a_server_must_not_send() {
        for (datagram, said) in [
            (
                b"\0\x05\0\x01File not found\0".to_vec(),
                "the server says: File not found (1)",
            ),
            (
                b"\0\x05\0\x02no\x1b[2J end".to_vec(),
                r"the server says: no\x1b[2J end (2)",
            ),
            (
                options("blksize 1429"),
                "the server sent a block size that was not asked for",
            ),
            (
                options("blksize 7"),
                "the server sent a block size that was not asked for",
            ),
            (
                options("windowsize 4"),
                "the server sent an option that was not asked for",
            ),
            (
                options("tsize"),
                "the server sent options that cannot be read",
            ),
            (
                options("tsize -1"),
                "the server sent options that cannot be read",
            ),
            (
                b"\x00\x06tsize\x001".to_vec(),
                "the server sent options that cannot be read",
            ),
            (
                b"\0\x03\0".to_vec(),
                "the server sent a message that breaks off",
            ),
            (b"\0".to_vec(), "the server sent a message that breaks off"),
            (
                b"\0\x09".to_vec(),
                "the server sent a message of no known kind",
            ),
        ] {
            let error = Receiver::new().take(&datagram).unwrap_err();
            assert_eq!(format!("{error}"), said);
        }
    }
}
