// SPDX-License-Identifier: MIT OR Apache-2.0
//! What no good controller or card does.

/// A word that reads otherwise than it is: `word & keep | set`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lie {
    /// Only after this command.
    pub after: Option<u8>,
    pub offset: usize,
    /// Of the buffer port: which word since the command.
    pub nth: u32,
    pub keep: u32,
    pub set: u32,
    /// How often it is told.
    pub times: u32,
}

impl Lie {
    /// `offset` reads as `word & keep | set` from now on.
    pub(crate) const fn of(offset: usize, keep: u32, set: u32) -> Self {
        Self {
            after: None,
            offset,
            nth: 0,
            keep,
            set,
            times: u32::MAX,
        }
    }

    /// The short response to command `index` reads so.
    pub(crate) const fn response(index: u8, keep: u32, set: u32) -> Self {
        Self {
            after: Some(index),
            ..Self::of(0x10, keep, set)
        }
    }

    /// Word `nth` of the data of command `index` reads so.
    pub(crate) const fn data(index: u8, nth: u32, keep: u32, set: u32) -> Self {
        Self {
            after: Some(index),
            nth,
            ..Self::of(0x20, keep, set)
        }
    }

    /// So often only.
    pub(crate) const fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
}

/// Instead of being sent, or after, a command sets bits of INT_STATUS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub command: u8,
    /// The card does not hear the command.
    pub deaf: bool,
    /// Error bits of INT_STATUS; none: silence.
    pub bits: u32,
    /// So many of the command pass before.
    pub skip: u32,
    pub times: u32,
}

impl Event {
    /// The card does not hear command `command`, and the controller tells `bits`.
    pub(crate) const fn instead_of(command: u8, bits: u32) -> Self {
        Self {
            command,
            deaf: true,
            bits,
            skip: 0,
            times: 1,
        }
    }

    /// Command `command` is followed by `bits`.
    pub(crate) const fn after(command: u8, bits: u32) -> Self {
        Self {
            deaf: false,
            ..Self::instead_of(command, bits)
        }
    }

    pub(crate) const fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    pub(crate) const fn skipping(self, skip: u32) -> Self {
        Self { skip, ..self }
    }
}
