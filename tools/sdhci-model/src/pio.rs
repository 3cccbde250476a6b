// SPDX-License-Identifier: MIT OR Apache-2.0
//! The buffer port: a block at a time, word by word.
//!
//! A block that can be read or written is announced once. Of a block whose length is no multiple of
//! the access's, the last access holds what is left.

use crate::Sdhci;
use crate::dma::Way;
use crate::outside::Outside;
use crate::regs::intr;
use crate::stray::Stray;

impl Sdhci {
    /// Bytes of the staging that the driver can read now: the block under way.
    fn readable(&self) -> usize {
        match &self.transfer {
            Some(t) if t.read && matches!(t.way, Way::Pio) && !t.gap && t.done < t.filled => {
                t.block_bytes - t.done % t.block_bytes
            }
            _ => 0,
        }
    }

    /// Bytes that the driver can write now.
    fn writable(&self) -> usize {
        match &self.transfer {
            Some(t) if !t.read && matches!(t.way, Way::Pio) && t.wants_block() => {
                t.block_bytes - t.filled % t.block_bytes
            }
            _ => 0,
        }
    }

    pub(crate) fn can_read(&self) -> bool {
        self.readable() > 0
    }

    pub(crate) fn can_write(&self) -> bool {
        self.writable() > 0
    }

    /// A slice is here: its first block is announced.
    pub(crate) fn offer_block(&mut self, out: &mut dyn Outside) {
        if let Some(transfer) = &mut self.transfer {
            transfer.rest();
        }
        match self.can_read() {
            true => self.intr.raise(intr::BUFFER_READ),
            false => self.end_of_read_slice(out),
        }
    }

    /// There is room for a block: that is announced.
    pub(crate) fn want_block(&mut self) {
        if let Some(transfer) = &mut self.transfer {
            transfer.rest();
        }
        self.intr.raise(intr::BUFFER_WRITE);
    }

    pub(crate) fn read_port(&mut self, bytes: u32, out: &mut dyn Outside) -> u32 {
        let take = self.readable().min(bytes as usize);
        if take == 0 {
            self.note(Stray::BufferEmpty);
            return 0;
        }
        let Some(transfer) = &mut self.transfer else {
            return 0;
        };
        let mut word = [0; 4];
        word[..take].copy_from_slice(&self.staging[transfer.done..transfer.done + take]);
        transfer.done += take;
        if transfer.done == transfer.filled {
            self.end_of_read_slice(out);
            self.run_transfer(out);
        } else if transfer.done % transfer.block_bytes == 0 {
            self.intr.raise(intr::BUFFER_READ);
        }
        u32::from_le_bytes(word)
    }

    pub(crate) fn write_port(&mut self, value: u32, out: &mut dyn Outside) {
        let take = self.writable().min(4);
        if take == 0 {
            return self.note(Stray::BufferFull);
        }
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let at = transfer.filled;
        self.staging[at..at + take].copy_from_slice(&value.to_le_bytes()[..take]);
        transfer.filled += take;
        if transfer.is_full() {
            self.give_to_card(out);
            self.run_transfer(out);
        } else if transfer.filled % transfer.block_bytes == 0 {
            self.intr.raise(intr::BUFFER_WRITE);
        }
    }
}
