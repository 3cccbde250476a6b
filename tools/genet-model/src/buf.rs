// SPDX-License-Identifier: MIT OR Apache-2.0
//! RBUF and TBUF: the buffers between MAC and DMA, and what they put before a frame.

const RBUF_CTRL: u32 = 0x00;
const RBUF_STATUS: u32 = 0x0c;
const RBUF_CHK_CTRL: u32 = 0x14;
const RBUF_OVFL_CNT: u32 = 0x94;
const RBUF_ERR_CNT: u32 = 0x98;
const RBUF_ENERGY: u32 = 0x9c;
const TBUF_SIZE_CTRL: u32 = 0xb4;
const CTRL_64B: u32 = 1 << 0;
const CTRL_ALIGN_2B: u32 = 1 << 1;
const CTRL_BAD_DISCARD: u32 = 1 << 2;
const CHK_EN: u32 = 1 << 0;
const CHK_SKIP_FCS: u32 = 1 << 4;
const CHK_L3_PARSE_DIS: u32 = 1 << 5;

const TBUF_CTRL: u32 = 0x00;
const TBUF_BP_MC: u32 = 0x0c;
const TBUF_ENERGY: u32 = 0x14;

/// Bytes of the status block before a frame.
pub const STATUS_BLOCK: usize = 64;

/// RBUF.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rbuf {
    ctrl: u32,
    chk_ctrl: u32,
    energy: u32,
    tbuf_size: u32,
    /// Frames that overflowed it.
    pub(crate) overflows: u32,
    /// Frames with errors that it threw away.
    pub(crate) errors: u32,
}

/// What the receiver puts into the status about a frame's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RxCheck {
    /// The sum leaves out the frame check sequence.
    pub(crate) skip_fcs: bool,
    /// Headers are parsed, and the outcome is a bit in the status.
    pub(crate) parse: bool,
}

impl Rbuf {
    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        match register {
            RBUF_CTRL => Some(self.ctrl),
            RBUF_STATUS => Some(0),
            RBUF_CHK_CTRL => Some(self.chk_ctrl),
            RBUF_OVFL_CNT => Some(self.overflows),
            RBUF_ERR_CNT => Some(self.errors),
            RBUF_ENERGY => Some(self.energy),
            TBUF_SIZE_CTRL => Some(self.tbuf_size),
            _ => None,
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<()> {
        match register {
            RBUF_CTRL => self.ctrl = value,
            RBUF_CHK_CTRL => self.chk_ctrl = value,
            RBUF_OVFL_CNT => self.overflows = value,
            RBUF_ERR_CNT => self.errors = value,
            RBUF_ENERGY => self.energy = value,
            TBUF_SIZE_CTRL => self.tbuf_size = value,
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn status_block(&self) -> bool {
        self.ctrl & CTRL_64B != 0
    }

    /// Bytes before the frame: the status block, and two that align the network header.
    pub(crate) fn lead_bytes(&self) -> usize {
        let block = if self.status_block() { STATUS_BLOCK } else { 0 };
        block + if self.ctrl & CTRL_ALIGN_2B != 0 { 2 } else { 0 }
    }

    /// Whether frames with errors end here.
    pub(crate) fn discards_bad(&self) -> bool {
        self.ctrl & CTRL_BAD_DISCARD != 0
    }

    pub(crate) fn check(&self) -> Option<RxCheck> {
        (self.chk_ctrl & CHK_EN != 0).then_some(RxCheck {
            skip_fcs: self.chk_ctrl & CHK_SKIP_FCS != 0,
            parse: self.chk_ctrl & CHK_L3_PARSE_DIS == 0,
        })
    }
}

/// TBUF.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tbuf {
    ctrl: u32,
    bp_mc: u32,
    energy: u32,
}

impl Tbuf {
    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        match register {
            TBUF_CTRL => Some(self.ctrl),
            TBUF_BP_MC => Some(self.bp_mc),
            TBUF_ENERGY => Some(self.energy),
            _ => None,
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<()> {
        match register {
            TBUF_CTRL => self.ctrl = value,
            TBUF_BP_MC => self.bp_mc = value,
            TBUF_ENERGY => self.energy = value,
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn status_block(&self) -> bool {
        self.ctrl & CTRL_64B != 0
    }
}
