// SPDX-License-Identifier: MIT OR Apache-2.0
//! GENET v5's registers, by offset from its window of 64 KiB.
//!
//! Broadcom has published no manual. Names, offsets and bits are those on which Linux (`bcmgenet.h`, `unimac.h`),
//! U-Boot, NetBSD and EDK2 agree.
use crate::Reg;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    /// SYS: who the device is.
    pub REV_CTRL [
        MAJOR OFFSET(24) NUMBITS(4) [ V5 = 6 ]
    ],
    /// SYS: how the port is wired.
    pub PORT_CTRL [
        MODE OFFSET(0) NUMBITS(5) [ ExternalGphy = 3 ]
    ],
    /// SYS: empties the receive buffer, holds the MAC in reset.
    pub RBUF_FLUSH [
        UMAC_RESET OFFSET(1) NUMBITS(1) []
    ],
    /// EXT: the MAC's side of the RGMII.
    pub RGMII_OOB [
        LINK OFFSET(4) NUMBITS(1) [],
        OOB_DISABLE OFFSET(5) NUMBITS(1) [],
        MODE_ENABLE OFFSET(6) NUMBITS(1) [],
        ID_MODE_DISABLE OFFSET(16) NUMBITS(1) []
    ],
    /// INTRL2_0: one layout for its six registers. The rings' bits are those of ring 16.
    pub INTR [
        LINK_UP OFFSET(4) NUMBITS(1) [],
        LINK_DOWN OFFSET(5) NUMBITS(1) [],
        TBUF_UNDERRUN OFFSET(8) NUMBITS(1) [],
        RBUF_OVERFLOW OFFSET(9) NUMBITS(1) [],
        /// Threshold or time-out.
        RX_DONE OFFSET(13) NUMBITS(1) [],
        /// Threshold, or the ring is empty.
        TX_DONE OFFSET(16) NUMBITS(1) []
    ],
    /// RBUF.
    pub RBUF_CTRL [
        STATUS_BLOCK OFFSET(0) NUMBITS(1) [],
        ALIGN_2B OFFSET(1) NUMBITS(1) []
    ],
    /// RBUF: the sums of received frames.
    pub RBUF_CHK_CTRL [
        ENABLE OFFSET(0) NUMBITS(1) [],
        L3_PARSE_DISABLE OFFSET(5) NUMBITS(1) []
    ],
    /// TBUF.
    pub TBUF_CTRL [
        STATUS_BLOCK OFFSET(0) NUMBITS(1) []
    ],
    /// UMAC: the MAC's command register.
    pub CMD [
        TX_ENABLE OFFSET(0) NUMBITS(1) [],
        RX_ENABLE OFFSET(1) NUMBITS(1) [],
        SPEED OFFSET(2) NUMBITS(2) [ M10 = 0, M100 = 1, M1000 = 2 ],
        PROMISCUOUS OFFSET(4) NUMBITS(1) [],
        RX_PAUSE_IGNORE OFFSET(8) NUMBITS(1) [],
        HALF_DUPLEX OFFSET(10) NUMBITS(1) [],
        SW_RESET OFFSET(13) NUMBITS(1) [],
        TX_PAUSE_IGNORE OFFSET(28) NUMBITS(1) []
    ],
    /// UMAC: clears counters.
    pub MIB_CTRL [
        RX OFFSET(0) NUMBITS(1) [],
        RUNT OFFSET(1) NUMBITS(1) [],
        TX OFFSET(2) NUMBITS(1) []
    ],
    /// UMAC: the MDIO master (IEEE 802.3, clause 22).
    pub MDIO_CMD [
        DATA OFFSET(0) NUMBITS(16) [],
        REGISTER OFFSET(16) NUMBITS(5) [],
        PHY OFFSET(21) NUMBITS(5) [],
        OP OFFSET(26) NUMBITS(2) [ Write = 1, Read = 2 ],
        READ_FAIL OFFSET(28) NUMBITS(1) [],
        START_BUSY OFFSET(29) NUMBITS(1) []
    ],
    /// A ring's producer index (RX), which has company.
    pub RX_PRODUCER [
        INDEX OFFSET(0) NUMBITS(16) [],
        /// Frames that found no descriptor.
        DISCARDS OFFSET(16) NUMBITS(16) []
    ],
    /// How many descriptors, and the length of each buffer.
    pub RING_SIZE [
        BUFFER_BYTES OFFSET(0) NUMBITS(16) [],
        DESCRIPTORS OFFSET(16) NUMBITS(16) []
    ],
    /// RX: at so few free descriptors the partner is to pause, at so many it may go on.
    pub XON_XOFF [
        XON OFFSET(0) NUMBITS(16) [],
        XOFF OFFSET(16) NUMBITS(16) []
    ],
    /// A DMA block's CTRL: the enable bit of ring n is bit n + 1.
    pub DMA_CTRL [
        ENABLE OFFSET(0) NUMBITS(1) [],
        RING_16 OFFSET(17) NUMBITS(1) []
    ],
    /// A DMA block's STATUS.
    pub DMA_STATUS [
        DISABLED OFFSET(0) NUMBITS(1) []
    ],
    /// A descriptor's first word, which is also the first of a received frame's status block.
    pub DESCRIPTOR [
        /// RX: the receive buffer overflowed.
        RX_OVERFLOW OFFSET(0) NUMBITS(1) [],
        RX_CRC OFFSET(1) NUMBITS(1) [],
        /// RX: a symbol error.
        RX_ERROR OFFSET(2) NUMBITS(1) [],
        /// RX: ends inside a byte.
        RX_ALIGN OFFSET(3) NUMBITS(1) [],
        /// RX: longer than MAX_FRAME.
        RX_LONG OFFSET(4) NUMBITS(1) [],
        /// TX: puts in the sum that the status block describes.
        TX_CHECKSUM OFFSET(4) NUMBITS(1) [],
        /// TX: the MAC adds the frame check sequence.
        TX_APPEND_CRC OFFSET(6) NUMBITS(1) [],
        /// TX: all ones for a frame that nobody else handles.
        TX_QUEUE_TAG OFFSET(7) NUMBITS(6) [ Default = 0x3f ],
        SOP OFFSET(13) NUMBITS(1) [],
        EOP OFFSET(14) NUMBITS(1) [],
        LENGTH OFFSET(16) NUMBITS(12) []
    ],
    /// Word 12 of a sent frame's status block. Offsets are from the frame's first byte.
    pub TX_CHECKSUM [
        FIELD OFFSET(0) NUMBITS(15) [],
        /// A sum of 0 is sent as 0xffff.
        UDP OFFSET(15) NUMBITS(1) [],
        START OFFSET(16) NUMBITS(15) [],
        VALID OFFSET(31) NUMBITS(1) []
    ]
}

pub const REV_CTRL: Reg<REV_CTRL::Register> = Reg::at(0x000);
pub const PORT_CTRL: Reg<PORT_CTRL::Register> = Reg::at(0x004);
pub const RBUF_FLUSH: Reg<RBUF_FLUSH::Register> = Reg::at(0x008);
pub const RGMII_OOB: Reg<RGMII_OOB::Register> = Reg::at(0x08c);

pub const INTR_STATUS: Reg<INTR::Register> = Reg::at(0x200);
pub const INTR_CLEAR: Reg<INTR::Register> = Reg::at(0x208);
pub const INTR_MASK_SET: Reg<INTR::Register> = Reg::at(0x210);
pub const INTR_MASK_CLEAR: Reg<INTR::Register> = Reg::at(0x214);
/// INTRL2_1: rings 0 to 15, which are not used.
pub const INTR1_CLEAR: Reg = Reg::at(0x248);
pub const INTR1_MASK_SET: Reg = Reg::at(0x250);

pub const RBUF_CTRL: Reg<RBUF_CTRL::Register> = Reg::at(0x300);
pub const RBUF_CHK_CTRL: Reg<RBUF_CHK_CTRL::Register> = Reg::at(0x314);
pub const RBUF_OVERFLOWS: Reg = Reg::at(0x394);
pub const RBUF_ERRORS: Reg = Reg::at(0x398);
pub const RBUF_ENERGY: Reg = Reg::at(0x39c);
pub const TBUF_SIZE_CTRL: Reg = Reg::at(0x3b4);
pub const TBUF_CTRL: Reg<TBUF_CTRL::Register> = Reg::at(0x600);
pub const TBUF_ENERGY: Reg = Reg::at(0x614);

/// UMAC begins here; the counters' offsets are from it.
pub const UMAC: usize = 0x800;
pub const CMD: Reg<CMD::Register> = Reg::at(UMAC + 0x008);
/// The station's address: bytes 0 to 3, the first on top; then bytes 4 and 5 in the lower half.
pub const MAC_ADDRESS: [Reg; 2] = [Reg::at(UMAC + 0x00c), Reg::at(UMAC + 0x010)];
pub const MAX_FRAME: Reg = Reg::at(UMAC + 0x014);
pub const PAUSE_QUANTA: Reg = Reg::at(UMAC + 0x018);
pub const EEE_CTRL: Reg = Reg::at(UMAC + 0x064);
pub const TX_FLUSH: Reg = Reg::at(UMAC + 0x334);
pub const MIB_CTRL: Reg<MIB_CTRL::Register> = Reg::at(UMAC + 0x580);
pub const MDIO_CMD: Reg<MDIO_CMD::Register> = Reg::at(UMAC + 0x614);
pub const MPD_CTRL: Reg = Reg::at(UMAC + 0x620);
/// Enables address filter i by bit 16 - i.
pub const MDF_CTRL: Reg = Reg::at(UMAC + 0x650);
/// Address filter i: two words from here + 8i, two bytes and four.
pub const MDF_ADDRESS: usize = UMAC + 0x654;

/// The filter block that steers frames to rings: not used, but firmware may have.
pub const HFB_CTRL: Reg = Reg::at(0xfc00);
pub const HFB_ENABLE: [Reg; 2] = [Reg::at(0xfc04), Reg::at(0xfc08)];

/// One direction's DMA block: its descriptors, its ring 16, and what rings share.
pub struct Dma {
    /// Descriptor 0; each takes 12 bytes.
    pub descriptors: usize,
    /// RX: where the device writes. TX: where it reads.
    pub device_pointer: [Reg; 2],
    /// RX: producer. TX: consumer.
    pub device_index: Reg<RX_PRODUCER::Register>,
    /// RX: consumer. TX: producer.
    pub driver_index: Reg,
    pub size: Reg<RING_SIZE::Register>,
    pub start: [Reg; 2],
    pub end: [Reg; 2],
    /// Frames that are done before there is an interrupt.
    pub threshold: Reg,
    /// RX: XON and XOFF. TX: flow period.
    pub flow: Reg<XON_XOFF::Register>,
    pub driver_pointer: [Reg; 2],
    /// Which rings are configured.
    pub ring_cfg: Reg,
    pub ctrl: Reg<DMA_CTRL::Register>,
    pub status: Reg<DMA_STATUS::Register>,
    pub burst: Reg,
}

/// Bytes of a descriptor: length and status, address low, address high.
pub const DESCRIPTOR_BYTES: usize = 12;
/// RDMA and TDMA from the start of their blocks.
const RING_16: usize = 0xc00 + 16 * 0x40;
const COMMON: usize = 0xc00 + 17 * 0x40;

const fn dma(base: usize) -> Dma {
    let (ring, common) = (base + RING_16, base + COMMON);
    Dma {
        descriptors: base,
        device_pointer: [Reg::at(ring), Reg::at(ring + 0x04)],
        device_index: Reg::at(ring + 0x08),
        driver_index: Reg::at(ring + 0x0c),
        size: Reg::at(ring + 0x10),
        start: [Reg::at(ring + 0x14), Reg::at(ring + 0x18)],
        end: [Reg::at(ring + 0x1c), Reg::at(ring + 0x20)],
        threshold: Reg::at(ring + 0x24),
        flow: Reg::at(ring + 0x28),
        driver_pointer: [Reg::at(ring + 0x2c), Reg::at(ring + 0x30)],
        ring_cfg: Reg::at(common),
        ctrl: Reg::at(common + 0x04),
        status: Reg::at(common + 0x08),
        burst: Reg::at(common + 0x0c),
    }
}

pub const RDMA: Dma = dma(0x2000);
pub const TDMA: Dma = dma(0x4000);
const _: () = assert!(RDMA.ring_cfg.offset == 0x3040 && TDMA.ring_cfg.offset == 0x5040);
/// TX: how rings take turns.
pub const TDMA_ARBITER: Reg = Reg::at(0x4000 + COMMON + 0x2c);
/// RX: how long ring 16 may keep finished frames to itself, in units of 8.192 us.
pub const RX_TIMEOUT: Reg = Reg::at(0x2000 + COMMON + 0x2c + 4 * 16);
