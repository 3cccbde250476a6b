// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the data of a transfer is in guest memory: the buffer port, SDMA, or an ADMA2 table.
//!
//! # Theory
//! SDMA moves through memory from its address register on and stops at each boundary, with an
//! interrupt, until the driver writes the next address; the end of a transfer at a boundary is no
//! such stop. ADMA2 takes descriptors of 8 bytes from a table: attributes, length, address. What a
//! guest wrote into the table is followed for a bounded number of steps at a time.
//!
//! # References
//! SD Host Controller Simplified Specification 3.00, 1.13 (DMA), 1.13.4 (descriptors), 2.2.29.

use crate::Sdhci;
use crate::outside::Outside;
use crate::regs::{host, intr, mode};
use crate::stray::Stray;

/// Descriptors that are followed before the model looks up again.
pub(crate) const DESCRIPTORS_AT_ONCE: u32 = 1024;
/// ADMA error states: fetching a descriptor, transferring; and a wrong total length.
const FETCHING: u32 = 1;
const TRANSFERRING: u32 = 3;
const LENGTH_MISMATCH: u32 = 1 << 2;

/// How the data moves.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Pio,
    Sdma(Sdma),
    Adma(Adma),
}

/// SDMA's state; its address is in the register.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sdma {
    /// It has reached a boundary.
    at_boundary: bool,
    /// It has said so, and waits for an address.
    pub stopped: bool,
}

/// ADMA's state; the next descriptor's address is in the register.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adma {
    address: u32,
    /// Bytes left of the descriptor that is under way.
    left: u32,
    interrupts: bool,
    /// It was the last.
    ended: bool,
    /// Descriptors fetched in this slice.
    fetched: u32,
    /// Descriptors in a row without data.
    idle: u32,
}

/// Where the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Here, so many at most.
    Here(u32, usize),
    /// Not before something else happens.
    Wait,
    /// In the next slice.
    Again,
    /// The table is at its end.
    End,
    /// The table is broken.
    Broken,
}

impl Way {
    /// As HOST_CONTROL and TRANSFER_MODE choose it.
    pub(crate) fn chosen(transfer_mode: u32, host_control: u32) -> Option<Self> {
        if transfer_mode & mode::DMA == 0 {
            return Some(Self::Pio);
        }
        match host_control & host::DMA_SELECT {
            0 => Some(Self::Sdma(Sdma::default())),
            host::DMA_ADMA2 => Some(Self::Adma(Adma::default())),
            _ => None,
        }
    }
}

impl Sdhci {
    /// Where the transfer's next bytes are.
    pub(crate) fn next_bytes(&mut self, out: &mut dyn Outside) -> Next {
        let Some(transfer) = &mut self.transfer else {
            return Next::Wait;
        };
        match &mut transfer.way {
            Way::Pio => Next::Wait,
            Way::Sdma(sdma) => {
                if sdma.at_boundary && !sdma.stopped {
                    sdma.stopped = true;
                    self.intr.raise(intr::DMA);
                }
                if sdma.stopped {
                    return Next::Wait;
                }
                let boundary = 4096 << (self.block >> 12 & 7);
                let room = boundary - self.sdma_address % boundary;
                Next::Here(self.sdma_address, room as usize)
            }
            Way::Adma(_) => self.next_of_table(out),
        }
    }

    /// A slice begins.
    pub(crate) fn new_budget(&mut self) {
        if let Some(adma) = self.adma() {
            adma.fetched = 0;
        }
    }

    fn adma(&mut self) -> Option<&mut Adma> {
        match self.transfer.as_mut().map(|t| &mut t.way) {
            Some(Way::Adma(adma)) => Some(adma),
            _ => None,
        }
    }

    fn next_of_table(&mut self, out: &mut dyn Outside) -> Next {
        loop {
            let Some(adma) = self.adma() else {
                return Next::Wait;
            };
            if adma.left > 0 {
                adma.idle = 0;
                return Next::Here(adma.address, adma.left as usize);
            }
            if adma.ended {
                return Next::End;
            }
            if adma.fetched == DESCRIPTORS_AT_ONCE {
                if adma.idle < DESCRIPTORS_AT_ONCE {
                    return Next::Again;
                }
                adma.idle = 0;
                self.note(Stray::AdmaLoop);
                return Next::Wait;
            }
            adma.fetched += 1;
            adma.idle += 1;
            if !self.fetch_descriptor(out) {
                return Next::Broken;
            }
        }
    }

    /// Takes the next descriptor; false if it is none.
    fn fetch_descriptor(&mut self, out: &mut dyn Outside) -> bool {
        let at = self.adma_address;
        let mut bytes = [0; 8];
        if out.dma_read(at.into(), &mut bytes).is_err() {
            self.note(Stray::DmaAddress);
            self.adma_failed(FETCHING);
            return false;
        }
        let attributes = u16::from_le_bytes([bytes[0], bytes[1]]);
        let length = u16::from_le_bytes([bytes[2], bytes[3]]);
        let address = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if attributes & 1 == 0 {
            self.adma_failed(FETCHING);
            return false;
        }
        self.counters.descriptors += 1;
        self.adma_address = at.wrapping_add(8);
        let interrupts = attributes & 4 != 0;
        let act = attributes >> 4 & 3;
        let moves = act == 2;
        match act {
            1 => self.note(Stray::AdmaReserved),
            3 => self.adma_address = address & !3,
            _ => {}
        }
        if act >= 2 && address & 3 != 0 {
            self.note(Stray::AdmaAlignment);
        }
        if let Some(adma) = self.adma() {
            adma.ended = attributes & 2 != 0;
            adma.interrupts = interrupts;
            if moves {
                adma.address = address & !3;
                adma.left = match length {
                    0 => 0x1_0000,
                    length => length.into(),
                };
            }
        }
        if interrupts && !moves {
            self.intr.raise(intr::DMA);
        }
        true
    }

    /// So many bytes were moved where `next_bytes` said.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let boundary = 4096 << (self.block >> 12 & 7);
        match self.transfer.as_mut().map(|t| &mut t.way) {
            Some(Way::Sdma(sdma)) => {
                self.sdma_address = self.sdma_address.wrapping_add(bytes as u32);
                sdma.at_boundary = self.sdma_address.is_multiple_of(boundary);
            }
            Some(Way::Adma(adma)) => {
                adma.address = adma.address.wrapping_add(bytes as u32);
                adma.left -= bytes as u32;
                if adma.left == 0 && adma.interrupts {
                    self.intr.raise(intr::DMA);
                }
            }
            _ => {}
        }
    }

    /// Whether the table holds more bytes than the block count: the rest of the last descriptor.
    pub(crate) fn table_is_too_long(&mut self) -> bool {
        self.adma().is_some_and(|adma| adma.left > 0)
    }

    /// The bus refused data. SDMA has no way to say so.
    pub(crate) fn bus_failed(&mut self) {
        self.note(Stray::DmaAddress);
        if self.adma().is_some() {
            self.adma_failed(TRANSFERRING);
        }
    }

    /// The table's length is not that of the blocks.
    pub(crate) fn length_failed(&mut self) {
        self.adma_failed(TRANSFERRING | LENGTH_MISMATCH);
    }

    /// ADMA's table cannot be used: what the fault does.
    pub(crate) fn table_failed(&mut self) {
        self.adma_failed(FETCHING);
    }

    fn adma_failed(&mut self, error: u32) {
        self.adma_error = error;
        self.data_error(intr::ADMA);
    }

    /// The driver wrote SDMA's address: whether a stop ends.
    pub(crate) fn sdma_continues(&mut self) -> bool {
        match self.transfer.as_mut().map(|t| &mut t.way) {
            Some(Way::Sdma(sdma)) if sdma.stopped => {
                *sdma = Sdma::default();
                true
            }
            _ => false,
        }
    }
}
