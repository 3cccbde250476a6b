// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a driver did that nobody knows the sense of: counted and named, never silently right.

use std::collections::BTreeMap;
use std::fmt;

/// One kind of doubtful act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    /// Read a register that is not known, at this offset.
    Read(u32),
    /// Wrote a register that is not known or is read-only, at this offset.
    Write(u32),
    /// Accessed other than as an aligned 32-bit word, at this offset.
    Width(u32),
    /// Wrote a register of PM, at this offset, without the password.
    Password(u32),
    /// Took a word from a FIFO that holds none.
    Empty,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read(at) => write!(f, "read of unknown register {at:#x}"),
            Self::Write(at) => write!(f, "write to unknown register {at:#x}"),
            Self::Width(at) => write!(f, "access of other than 32 bits to {at:#x}"),
            Self::Password(at) => write!(f, "write without password to {at:#x}"),
            Self::Empty => f.write_str("read of an empty FIFO"),
        }
    }
}

/// How often each happened, and who hears of the first of a kind.
#[derive(Default)]
pub struct Strays {
    times: BTreeMap<Stray, u64>,
    listener: Option<Box<dyn FnMut(Stray) + Send>>,
}

impl Strays {
    /// Whom to tell of each kind's first.
    pub fn listen(&mut self, listener: Box<dyn FnMut(Stray) + Send>) {
        self.listener = Some(listener);
    }

    pub(crate) fn count(&mut self, stray: Stray) {
        let times = self.times.entry(stray).or_default();
        *times += 1;
        if let (1, Some(listener)) = (*times, &mut self.listener) {
            listener(stray);
        }
    }

    /// Whether the access at `at` is of a whole word; counted if not.
    pub(crate) fn is_word(&mut self, at: u32, bytes: u32) -> bool {
        let word = bytes == 4 && at.is_multiple_of(4);
        if !word {
            self.count(Stray::Width(at));
        }
        word
    }

    /// All that happened, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Stray, u64)> {
        self.times.iter().map(|(stray, times)| (*stray, *times))
    }
}

impl fmt::Display for Strays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (stray, times)) in self.iter().enumerate() {
            write!(f, "{}{stray} ({times})", if n > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}
