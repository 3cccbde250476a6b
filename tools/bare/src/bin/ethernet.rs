// SPDX-License-Identifier: MIT OR Apache-2.0
//! GENET's ceiling: frames as fast as the registers take and give them, by polling.
//!
//! A line `send BYTES SECONDS` or `receive BYTES FRAMES` is an order; the answer is how many frames went, or that so many
//! came, those of another length left out. The buffers stay where they are, so a frame costs what no driver can leave out: one
//! word of its descriptor, and its share of an index.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod ethernet {
    use bare::{Memory, Registers, line, now_ns, say};

    const GENET: Registers = Registers::new(0xfd58_0000);
    // Offsets of its registers.
    const PORT_CONTROL: usize = 0x04;
    const RGMII_CONTROL: usize = 0x8c;
    const UMAC_COMMAND: usize = 0x808;
    const UMAC_MAX_FRAME: usize = 0x814;
    const MDIO: usize = 0xe14;
    const RX: usize = 0x2000;
    const TX: usize = 0x4000;
    /// The default ring, behind the descriptors and the other rings.
    const RING: usize = 0xc00 + 16 * 0x40;
    // Of a ring.
    const DEVICE_INDEX: usize = 0x08;
    const DRIVER_INDEX: usize = 0x0c;
    const SIZES: usize = 0x10;
    const START: usize = 0x14;
    const END: usize = 0x1c;
    const RING_CONFIG: usize = 0x1040;
    const DMA_CONTROL: usize = 0x1044;

    /// The port is the external one, by RGMII.
    const EXTERNAL: u32 = 3;
    const RGMII_ON: u32 = 1 << 6;
    /// 1 Gbit/s, for all addresses, receiver and transmitter on.
    const RUN: u32 = 2 << 2 | 1 << 4 | 3;
    /// A read of the PHY's status by MDIO, and its answer's bits.
    const READ_STATUS: u32 = 1 << 29 | 2 << 26 | 1 << 21 | 1 << 16;
    const BUSY: u32 = 1 << 29;
    const LINK: u32 = 1 << 2;
    /// A frame in one buffer, its check sequence left to the MAC.
    const FRAME: u32 = 1 << 14 | 1 << 13 | 1 << 6;

    const DESCRIPTORS: usize = 256;
    const DESCRIPTOR_BYTES: usize = 12;
    const BUFFER_BYTES: usize = 2048;
    const FCS_BYTES: u32 = 4;
    /// How many frames share a write of the index.
    const BATCH: usize = 64;

    static BUFFERS: Memory<{ DESCRIPTORS * BUFFER_BYTES / 4 }> = Memory::new();

    fn descriptor(dma: usize, n: usize) -> usize {
        dma + n % DESCRIPTORS * DESCRIPTOR_BYTES
    }

    /// One ring with all descriptors, each with its buffer.
    fn start_ring(dma: usize) {
        for n in 0..DESCRIPTORS {
            let buffer = BUFFERS.address() + (n * BUFFER_BYTES) as u32;
            GENET.write(descriptor(dma, n) + 4, buffer);
            GENET.write(descriptor(dma, n) + 8, 0);
        }
        let ring = dma + RING;
        GENET.write(ring + SIZES, (DESCRIPTORS << 16 | BUFFER_BYTES) as u32);
        GENET.write(ring + START, 0);
        GENET.write(ring + END, (DESCRIPTORS * 3 - 1) as u32);
        GENET.write(ring + DEVICE_INDEX, 0);
        GENET.write(ring + DRIVER_INDEX, 0);
        GENET.write(dma + RING_CONFIG, 1 << 16);
        GENET.write(dma + DMA_CONTROL, 2 << 16 | 1);
    }

    fn wait_for_link() {
        loop {
            GENET.write(MDIO, READ_STATUS);
            let answer = loop {
                let answer = GENET.read(MDIO);
                if answer & BUSY == 0 {
                    break answer;
                }
            };
            if answer & LINK != 0 {
                return;
            }
        }
    }

    /// How far the device's index is ahead of ours.
    fn ahead(device: u32, driver: usize) -> usize {
        usize::from((device as u16).wrapping_sub(driver as u16))
    }

    fn send(produced: &mut usize, bytes: u32, end_ns: u64) -> u64 {
        let start = *produced;
        while now_ns() < end_ns {
            // The consumer's index is behind, so what it is behind by is ours to count.
            let consumed = GENET.read(TX + RING + DEVICE_INDEX);
            let queued = usize::from((*produced as u16).wrapping_sub(consumed as u16));
            for _ in 0..BATCH.min(DESCRIPTORS - queued) {
                GENET.write(descriptor(TX, *produced), bytes << 16 | FRAME);
                *produced += 1;
            }
            GENET.write(TX + RING + DRIVER_INDEX, *produced as u32 & 0xffff);
        }
        (*produced - start) as u64
    }

    fn receive(consumed: &mut usize, bytes: u32, wanted: u64) -> u64 {
        let mut frames = 0;
        while frames < wanted {
            let there = ahead(GENET.read(RX + RING + DEVICE_INDEX), *consumed);
            for _ in 0..there {
                let length = GENET.read(descriptor(RX, *consumed)) >> 16;
                frames += u64::from(length == bytes);
                *consumed += 1;
            }
            if there > 0 {
                GENET.write(RX + RING + DRIVER_INDEX, *consumed as u32 & 0xffff);
            }
        }
        frames
    }

    pub fn work() -> ! {
        GENET.write(PORT_CONTROL, EXTERNAL);
        GENET.write(RGMII_CONTROL, RGMII_ON);
        GENET.write(UMAC_MAX_FRAME, 1536);
        GENET.write(UMAC_COMMAND, RUN);
        start_ring(RX);
        start_ring(TX);
        wait_for_link();
        let (mut produced, mut consumed) = (0, 0);
        let mut buffer = [0; 64];
        loop {
            say!("ready");
            let mut words = line(&mut buffer).split(' ');
            let what = words.next().unwrap_or_default();
            let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
            let (Some(bytes), Some(amount)) = (number(), number().map(u64::from)) else {
                say!("send BYTES SECONDS, receive BYTES FRAMES");
                continue;
            };
            // Lengths are Ethernet's, with the check sequence, which stays with the MAC.
            let bytes = bytes.saturating_sub(FCS_BYTES);
            let frames = match what {
                "send" => send(&mut produced, bytes, now_ns() + amount * 1_000_000_000),
                _ => receive(&mut consumed, bytes, amount),
            };
            say!("{frames} frames");
        }
    }
}

bare::program!(ethernet::work);
