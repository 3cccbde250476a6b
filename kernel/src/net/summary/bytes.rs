// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes that came from outside, read by offset, big end first.
use core::fmt;

/// Why a frame is not followed further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ends before.
    Short,
    /// It contradicts itself.
    Bad(&'static str),
    /// There is nowhere to write.
    Output(fmt::Error),
}

impl From<fmt::Error> for Stop {
    fn from(error: fmt::Error) -> Self {
        Self::Output(error)
    }
}

/// Some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// `N` bytes from offset `at` on.
    ///
    /// # Errors
    /// [`Stop::Short`], as for all the others.
    pub fn array<const N: usize>(self, at: usize) -> Result<[u8; N], Stop> {
        let found = self.0.get(at..).and_then(|rest| rest.first_chunk());
        found.copied().ok_or(Stop::Short)
    }

    /// The byte at `at`.
    pub fn u8(self, at: usize) -> Result<u8, Stop> {
        self.0.get(at).copied().ok_or(Stop::Short)
    }

    /// The two bytes at `at`.
    pub fn u16(self, at: usize) -> Result<u16, Stop> {
        self.array(at).map(u16::from_be_bytes)
    }

    /// The four bytes at `at`.
    pub fn u32(self, at: usize) -> Result<u32, Stop> {
        self.array(at).map(u32::from_be_bytes)
    }

    /// All from `at` on.
    pub fn from(self, at: usize) -> Result<Bytes<'a>, Stop> {
        self.0.get(at..).map(Bytes).ok_or(Stop::Short)
    }

    /// No more than the first `most`.
    pub fn cut(self, most: usize) -> Bytes<'a> {
        Bytes(&self.0[..most.min(self.0.len())])
    }
}
