// SPDX-License-Identifier: MIT OR Apache-2.0
//! A firmware behind a mailbox, for the host tests: with faults on demand, and with memory of its own.
use super::BUFFER_WORDS;
use crate::Io;
use crate::testing::{Memory, TwoCopies};
use core::cell::{Cell, RefCell};
use std::collections::VecDeque;

const BUS_ADDRESS: u32 = 0xc010_0000;

/// What the firmware does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The mailbox to it never has room.
    StaysFull,
    /// It never replies.
    Mute,
    /// Two replies to earlier requests lie in the mailbox.
    StaleReplies,
    /// Another channel's message comes before the reply.
    ForeignReply,
    /// It replies without having touched the buffer.
    EarlyReply,
    ParseError,
    /// The tag's bit 31 stays clear.
    TagIgnored,
    /// The tag's bit 31 is set, and its length is 0.
    TagEmpty,
    /// Two bytes are answered.
    TagShort,
    /// It knows the tag and says no.
    Refuses,
}

/// The firmware, and the memory as it sees it.
pub(super) struct Firmware {
    fault: Fault,
    memory: Memory,
    replies: RefCell<VecDeque<u32>>,
    requests: Cell<u32>,
}

impl Firmware {
    pub(super) fn new(fault: Fault) -> Self {
        let stale = [BUS_ADDRESS | 8, BUS_ADDRESS | 1];
        Self {
            fault,
            memory: Memory::at(BUS_ADDRESS),
            replies: RefCell::new(match fault {
                Fault::StaleReplies => stale.into(),
                _ => VecDeque::new(),
            }),
            requests: Cell::new(0),
        }
    }

    /// A buffer for requests.
    pub(super) fn buffer(&self, words: usize) -> TwoCopies<'_> {
        self.memory.buffer(words)
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests.get()
    }

    fn answer(&self, address: u64) {
        let mut bytes = [0; 4 * BUFFER_WORDS];
        assert!(self.memory.device_reads(address, &mut bytes));
        let (words, _) = bytes.as_chunks();
        let mut memory: [u32; BUFFER_WORDS] =
            core::array::from_fn(|n| u32::from_le_bytes(words[n]));
        assert_eq!(memory[1], 0, "a request's verdict word is zero");
        let end = memory[0] as usize / 4;
        let value_words = memory[3] as usize / 4;
        assert_eq!(end, value_words + 6);
        assert_eq!(memory[end - 1], 0, "the tags end with a zero");
        memory[1] = if self.fault == Fault::ParseError {
            0x8000_0001
        } else {
            0x8000_0000
        };
        let refuses = self.fault == Fault::Refuses;
        let values: &[u32] = match (memory[2], memory[5]) {
            (0x0000_0001, _) => &[0x6650_0000],
            (0x0001_0002, _) => &[0x00b0_3115],
            (0x0001_0003, _) => &[0x0132_a6dc, 0x0000_0302],
            (0x0001_0004, _) => &[0x89ab_cdef, 0x1000_0000],
            (0x0001_0005, _) => &[0, 0x3b40_0000],
            (0x0003_0002, 2) => &[2, 48_000_000],
            (0x0003_0002, clock) => &[clock, 0],
            (0x0003_0004, 3) => &[3, 1_500_000_000],
            (0x0003_0007, 3) => &[3, 600_000_000],
            (0x0003_0006, 0) => &[0, 41_868],
            (0x0003_000a, 0) => &[0, 85_000],
            (0x0003_0046, _) => &[0x5_0005],
            (0x0002_8001, domain) => {
                assert_eq!(memory[6], 3, "on, and wait");
                &[domain, if refuses { 2 } else { 1 }]
            }
            (0x0003_8041, pin) => &[if refuses { pin } else { 0 }, memory[6]],
            (tag, _) => panic!("tag {tag:#x} is not in the model"),
        };
        assert!(values.len() <= value_words);
        memory[4] = match self.fault {
            Fault::TagIgnored => 0,
            Fault::TagEmpty => 0x8000_0000,
            Fault::TagShort => 0x8000_0002,
            _ => 0x8000_0000 | (4 * values.len() as u32),
        };
        memory[5..5 + values.len()].copy_from_slice(values);
        let bytes: std::vec::Vec<u8> = memory.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert!(self.memory.device_writes(address, &bytes));
    }
}

impl Io for Firmware {
    fn read32(&self, offset: usize) -> u32 {
        let empty = self.replies.borrow().is_empty();
        match offset {
            0x00 => self
                .replies
                .borrow_mut()
                .pop_front()
                .expect("reads when there is something"),
            0x18 => u32::from(empty) << 30,
            0x38 => u32::from(self.fault == Fault::StaysFull) << 31,
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        assert_eq!(offset, 0x20, "only mailbox 1 is written");
        assert_eq!(value & 0xf, 8, "the property channel");
        self.requests.set(self.requests.get() + 1);
        match self.fault {
            Fault::Mute => return,
            Fault::EarlyReply => {}
            _ => self.answer((value & !0xf).into()),
        }
        if self.fault == Fault::ForeignReply {
            self.replies.borrow_mut().push_back(BUS_ADDRESS | 1);
        }
        self.replies.borrow_mut().push_back(value);
    }
}
