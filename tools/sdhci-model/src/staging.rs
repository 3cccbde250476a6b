// SPDX-License-Identifier: MIT OR Apache-2.0
//! The staging between card and memory: filled by the one, drained by the other.
//!
//! On the card's side whole blocks pass, and here the faults of the wire strike: a wrong check
//! sequence, a card pulled out. What was good before that reaches the other side. On memory's
//! side bytes pass, wherever `dma` says that they are.

use crate::Sdhci;
use crate::card::Broken;
use crate::dma::{Next, Way};
use crate::fault::Fault;
use crate::outside::Outside;
use crate::regs::{intr, mode};
use crate::slot::Until;

/// How long a table that leads nowhere is left alone.
const LOOP_NS: u64 = 1_000_000;

impl Sdhci {
    /// Reads a slice from the card.
    pub(crate) fn fill_from_card(&mut self, out: &mut dyn Outside) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        (transfer.filled, transfer.done) = (0, 0);
        if transfer.broken.is_some() {
            return;
        }
        let want = transfer.slice_bytes();
        let block_bytes = transfer.block_bytes;
        let blocks = (want / block_bytes) as u32;
        let (mut good, mut broken) = match self.slot.card() {
            Some(card) => card.send(&mut self.staging[..want]),
            None => (0, Some(Broken::Silence)),
        };
        if let Some(strike) = self.faults.strike_in(Fault::ReadCrc, blocks) {
            good = good.min(strike.at as usize * block_bytes);
            broken = Some(Broken::Crc);
        }
        if let Some(strike) = self.faults.strike_in(Fault::Eject, blocks) {
            good = good.min(strike.at as usize * block_bytes);
            broken = Some(Broken::Crc);
            let until = Until::after(out.now_ns(), strike.ns);
            self.slot.eject(until);
        }
        self.counters.blocks_read += (good / block_bytes) as u64;
        let now_ns = out.now_ns();
        if let Some(transfer) = &mut self.transfer {
            transfer.filled = good;
            transfer.broken = broken;
            transfer.next_ns = Some(now_ns);
            transfer.take_blocks(good / block_bytes);
        }
    }

    /// Moves the staging into memory.
    pub(crate) fn drain(&mut self, out: &mut dyn Outside) {
        loop {
            let Some(transfer) = &self.transfer else {
                return;
            };
            let (done, filled) = (transfer.done, transfer.filled);
            if done == filled {
                return self.end_of_read_slice(out);
            }
            match self.next_bytes(out) {
                Next::Here(address, room) => {
                    let bytes = room.min(filled - done);
                    let from = &self.staging[done..done + bytes];
                    if out.dma_write(address.into(), from).is_err() {
                        self.bus_failed();
                    }
                    self.moved(bytes);
                    if let Some(transfer) = &mut self.transfer {
                        transfer.done += bytes;
                    }
                }
                Next::Wait => return self.wait_for_dma(out),
                Next::Again => return self.again(out),
                Next::End => return self.end_of_table(out),
                Next::Broken => return,
            }
        }
    }

    /// The staging of a read is empty: an error, the end, or more.
    pub(crate) fn end_of_read_slice(&mut self, out: &mut dyn Outside) {
        self.count_down();
        let Some(transfer) = &self.transfer else {
            return;
        };
        self.slice_moved(transfer.filled, out);
    }

    /// Fills the staging from memory, and gives it to the card when it is full.
    pub(crate) fn gather(&mut self, out: &mut dyn Outside) {
        loop {
            let Some(transfer) = &self.transfer else {
                return;
            };
            let (filled, want) = (transfer.filled, transfer.slice_bytes());
            if filled == want {
                return self.give_to_card(out);
            }
            match self.next_bytes(out) {
                Next::Here(address, room) => {
                    let bytes = room.min(want - filled);
                    let into = &mut self.staging[filled..filled + bytes];
                    if out.dma_read(address.into(), into).is_err() {
                        into.fill(0);
                        self.bus_failed();
                    }
                    self.moved(bytes);
                    if let Some(transfer) = &mut self.transfer {
                        transfer.filled += bytes;
                    }
                }
                Next::Wait => return self.wait_for_dma(out),
                Next::Again => return self.again(out),
                Next::End => {
                    if !self.hand_over(out) {
                        return;
                    }
                    return self.end_of_table(out);
                }
                Next::Broken => return,
            }
        }
    }

    /// Gives the staging to the card: then comes the end, or more.
    pub(crate) fn give_to_card(&mut self, out: &mut dyn Outside) {
        let bytes = self.transfer.as_ref().map_or(0, |t| t.filled);
        if self.hand_over(out) {
            self.slice_moved(bytes, out);
        }
    }

    /// Gives the staging's whole blocks to the card; false if that ended the transfer.
    pub(crate) fn hand_over(&mut self, out: &mut dyn Outside) -> bool {
        let Some(transfer) = &mut self.transfer else {
            return false;
        };
        let blocks = transfer.filled / transfer.block_bytes;
        let block_bytes = transfer.block_bytes;
        let partial = transfer.filled % block_bytes != 0;
        transfer.filled = 0;
        let mut broken = transfer.broken;
        let mut good = if broken.is_some() { 0 } else { blocks };
        if blocks == 0 {
            if partial {
                self.length_failed();
            }
            return !partial;
        }
        if let Some(strike) = self.faults.strike_in(Fault::WriteCrc, blocks as u32) {
            good = good.min(strike.at as usize);
            broken = Some(Broken::Crc);
        }
        let ejected = self.faults.strike_in(Fault::Eject, blocks as u32);
        if let Some(strike) = ejected {
            good = good.min(strike.at as usize);
            broken = Some(Broken::Crc);
        }
        let bytes = good * block_bytes;
        let taken = match self.slot.card() {
            Some(card) => good == 0 || card.receive(&self.staging[..bytes]),
            None => false,
        };
        if let Some(strike) = ejected {
            let until = Until::after(out.now_ns(), strike.ns);
            self.slot.eject(until);
        }
        if !taken {
            broken = Some(Broken::Silence);
            good = 0;
        }
        self.counters.blocks_written += good as u64;
        if let Some(transfer) = &mut self.transfer {
            transfer.take_blocks(good);
        }
        self.count_down();
        if let Some(broken) = broken {
            self.card_failed(broken, out);
            return false;
        }
        if partial {
            self.length_failed();
        }
        !partial
    }

    /// The table's last descriptor is done while data is left.
    fn end_of_table(&mut self, out: &mut dyn Outside) {
        let Some(transfer) = &self.transfer else {
            return;
        };
        if transfer.counted || transfer.read && transfer.done % transfer.block_bytes != 0 {
            self.length_failed();
        } else {
            self.finish(out);
        }
    }

    /// DMA goes on when the driver or, at a table without data, the time says so.
    fn wait_for_dma(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        if let Some(transfer) = &mut self.transfer
            && matches!(transfer.way, Way::Adma(_))
        {
            transfer.next_ns = Some(now_ns + LOOP_NS);
        } else if let Some(transfer) = &mut self.transfer {
            transfer.next_ns = None;
        }
    }

    /// The count register follows what is left.
    fn count_down(&mut self) {
        let counts = self.transfer_mode() & mode::COUNT != 0;
        if let Some(left) = self
            .transfer
            .as_ref()
            .and_then(|t| t.left)
            .filter(|_| counts)
        {
            self.block = self.block & 0xffff | left << 16;
        }
    }

    pub(crate) fn card_failed(&mut self, broken: Broken, out: &mut dyn Outside) {
        match broken {
            Broken::Crc => self.data_error(intr::DATA_CRC),
            Broken::Silence => {
                let until = Until::after(out.now_ns(), Some(self.timeout_ns()));
                if let Some(transfer) = &mut self.transfer {
                    transfer.silent = Some(until);
                }
            }
        }
    }
}
