// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which frames the MAC lets in (MDF): 17 exact addresses, or all.
use super::regs::{CMD, MDF_ADDRESS, MDF_CTRL};
use super::{FrameBuffer, Genet};
use crate::{Io, Reg};

/// Address filters. The first two are broadcast and the station's own.
const FILTERS: usize = 17;
const OTHERS: usize = FILTERS - 2;
const BROADCAST: [u8; 6] = [0xff; 6];

/// What is to be let in beside broadcast and the station's own address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    addresses: [[u8; 6]; OTHERS],
    count: usize,
    promiscuous: bool,
}

impl Filter {
    pub(super) const fn new() -> Self {
        Self {
            addresses: [[0; 6]; OTHERS],
            count: 0,
            promiscuous: false,
        }
    }
}

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// Lets in frames for these addresses, too; or all, if so told, or if there are more than 15 of them. It outlasts a
    /// reset. The filters are changed one by one: a frame that comes meanwhile may be lost.
    pub fn set_filter(&mut self, addresses: &[[u8; 6]], promiscuous: bool) {
        self.filter.promiscuous = promiscuous || addresses.len() > OTHERS;
        self.filter.count = addresses.len().min(OTHERS);
        self.filter.addresses[..self.filter.count].copy_from_slice(&addresses[..self.filter.count]);
        if self.was_reset {
            self.apply_filter();
        }
    }

    /// Is every frame let in?
    pub const fn is_promiscuous(&self) -> bool {
        self.filter.promiscuous
    }

    pub(super) fn apply_filter(&mut self) {
        if self.filter.promiscuous {
            CMD.modify(&self.io, CMD::PROMISCUOUS::SET);
            self.io.write32(MDF_CTRL.offset, 0);
            return;
        }
        let others = &self.filter.addresses[..self.filter.count];
        let all = [BROADCAST, self.mac]
            .into_iter()
            .chain(others.iter().copied());
        let mut enabled = 0;
        for (i, [a, b, c, d, e, f]) in all.enumerate() {
            let at: Reg = Reg::at(MDF_ADDRESS + 8 * i);
            self.io.write32(at.offset, u32::from_be_bytes([0, 0, a, b]));
            self.io
                .write32(at.offset + 4, u32::from_be_bytes([c, d, e, f]));
            enabled |= 1 << (FILTERS - 1 - i);
        }
        self.io.write32(MDF_CTRL.offset, enabled);
        CMD.modify(&self.io, CMD::PROMISCUOUS::CLEAR);
    }
}
