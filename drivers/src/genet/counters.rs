// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver counts itself.
use super::regs::DESCRIPTOR;
use tock_registers::LocalRegisterCopy;

/// Why a received frame was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxError {
    /// The receive buffer overflowed.
    Overflow,
    /// It ends inside a byte.
    Align,
    /// Wrong check sequence.
    Crc,
    /// A symbol error.
    Symbol,
    /// Longer than [`MAX_FRAME`](super::MAX_FRAME).
    TooLong,
    /// Not in one buffer.
    Fragment,
    /// A length that no frame has.
    Length,
}

impl RxError {
    /// All of them, in the order of [`Counters::rx_errors`], with their names.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Overflow, "overflow"),
        (Self::Align, "align"),
        (Self::Crc, "crc"),
        (Self::Symbol, "symbol"),
        (Self::TooLong, "too-long"),
        (Self::Fragment, "fragment"),
        (Self::Length, "length"),
    ];

    /// What a received frame's status tells of. A frame that ends inside a byte has a wrong check sequence, too.
    pub(super) fn of(status: LocalRegisterCopy<u32, DESCRIPTOR::Register>) -> Option<Self> {
        let whole = DESCRIPTOR::SOP::SET + DESCRIPTOR::EOP::SET;
        let bad = DESCRIPTOR::RX_OVERFLOW::SET
            + DESCRIPTOR::RX_CRC::SET
            + DESCRIPTOR::RX_ERROR::SET
            + DESCRIPTOR::RX_ALIGN::SET
            + DESCRIPTOR::RX_LONG::SET;
        if status.get() & (whole.value | bad.value) == whole.value {
            return None;
        }
        Some(if !status.matches_all(whole) {
            Self::Fragment
        } else if status.is_set(DESCRIPTOR::RX_OVERFLOW) {
            Self::Overflow
        } else if status.is_set(DESCRIPTOR::RX_LONG) {
            Self::TooLong
        } else if status.is_set(DESCRIPTOR::RX_ALIGN) {
            Self::Align
        } else if status.is_set(DESCRIPTOR::RX_CRC) {
            Self::Crc
        } else {
            Self::Symbol
        })
    }
}

/// Counts since the driver was made. Bytes are without check sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed to the owner.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames thrown away, by [`RxError::ALL`].
    pub rx_errors: [u64; RxError::ALL.len()],
    /// Good frames thrown away since there was no fresh buffer.
    pub rx_no_buffer: u64,
    /// Frames that found the ring full, as the device tells.
    pub rx_discards: u64,
    /// Frames queued.
    pub tx_frames: u64,
    /// Their bytes, with the padding of short ones.
    pub tx_bytes: u64,
    /// Frames given back unsent when the rings were stopped.
    pub tx_unsent: u64,
    /// Times that the transmit buffer ran empty in a frame.
    pub tx_underruns: u64,
    /// Interrupts of GENET's.
    pub interrupts: u64,
    /// Interrupts that did not come.
    pub interrupts_lost: u64,
    /// Stalls that asked for a recovery.
    pub stalls: u64,
    /// Recoveries that brought the rings back.
    pub recoveries: u64,
}

impl Counters {
    pub(super) const fn new() -> Self {
        Self {
            rx_frames: 0,
            rx_bytes: 0,
            rx_errors: [0; RxError::ALL.len()],
            rx_no_buffer: 0,
            rx_discards: 0,
            tx_frames: 0,
            tx_bytes: 0,
            tx_unsent: 0,
            tx_underruns: 0,
            interrupts: 0,
            interrupts_lost: 0,
            stalls: 0,
            recoveries: 0,
        }
    }

    #[cold]
    pub(super) fn bad_frame(&mut self, error: RxError) {
        self.rx_errors[error as usize] += 1;
    }

    /// How many frames were thrown away for this.
    pub const fn of(&self, error: RxError) -> u64 {
        self.rx_errors[error as usize]
    }
}
