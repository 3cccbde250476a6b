// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card's ceiling: commands by ADMA2, one behind the other.
//!
//! A line `read|write BYTES sequential|random SECONDS` is an order. Sequential requests go through the card's second
//! partition and begin anew at its end; `write` writes zeros there.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod disk {
    use bare::{Memory, Registers, line, now_ns, say, wait_for_interrupt, wake_on};

    /// EMMC2's interrupt.
    const SPI: u32 = 126;
    const EMMC2: Registers = Registers::new(0xfe34_0000);
    // Offsets of the SD host controller's registers.
    const BLOCKS: usize = 0x04;
    const ARGUMENT: usize = 0x08;
    const COMMAND: usize = 0x0c;
    const RESPONSE: usize = 0x10;
    const HOST_CONTROL: usize = 0x28;
    const CLOCK: usize = 0x2c;
    const STATUS: usize = 0x30;
    const STATUS_ENABLE: usize = 0x34;
    const SIGNAL_ENABLE: usize = 0x38;
    const ADMA: usize = 0x58;
    // Of STATUS.
    const COMMAND_DONE: u32 = 1;
    const TRANSFER_DONE: u32 = 2;
    const ERROR: u32 = 1 << 15;
    // The upper half of COMMAND.
    const R1: u32 = 0x1a;
    const R1B: u32 = 0x1b;
    const R2: u32 = 0x09;
    const R3: u32 = 0x02;
    const WITH_DATA: u32 = 0x20;
    /// Of COMMAND: DMA, a count of blocks, CMD12 behind them, several blocks.
    const MODE: u32 = 0x27;
    const READS: u32 = 0x10;

    const SECTOR: u32 = 512;
    const LARGEST: usize = 1 << 20;
    /// The most that a descriptor may cover, written as 0.
    const PIECE: usize = 1 << 16;
    /// Attributes of a descriptor: valid, transfer; the last one.
    const TRANSFER: u32 = 0x21;
    const END: u32 = 2;

    static BUFFER: Memory<{ LARGEST / 4 }> = Memory::new();
    static TABLE: Memory<{ 2 * LARGEST / PIECE }> = Memory::new();

    fn command(index: u32, flags: u32, argument: u32) -> u32 {
        EMMC2.write(ARGUMENT, argument);
        EMMC2.write(COMMAND, index << 24 | flags << 16);
        finish(COMMAND_DONE);
        EMMC2.read(RESPONSE)
    }

    fn application_command(rca: u32, index: u32, flags: u32, argument: u32) -> u32 {
        command(55, R1, rca);
        command(index, flags, argument)
    }

    #[inline(always)]
    fn finish(wanted: u32) {
        loop {
            let status = EMMC2.read(STATUS);
            assert!(status & ERROR == 0, "status {status:#x}");
            if status & wanted != 0 {
                EMMC2.write(STATUS, status);
                return;
            }
            wait_for_interrupt();
        }
    }

    /// The card, ready for transfers.
    struct Card {
        /// What a sector's number is multiplied by: old cards count bytes.
        unit: u32,
    }

    impl Card {
        fn new() -> Self {
            EMMC2.write(CLOCK, 1 << 24);
            while EMMC2.read(CLOCK) & 1 << 24 != 0 {}
            EMMC2.write(CLOCK, 0xe << 16 | 1);
            while EMMC2.read(CLOCK) & 2 == 0 {}
            EMMC2.write(CLOCK, 0xe << 16 | 5);
            // Power at 3.3 V, 32-bit ADMA2, four lines.
            EMMC2.write(HOST_CONTROL, 0xf << 8 | 2 << 3 | 2);
            EMMC2.write(STATUS_ENABLE, !0);
            EMMC2.write(SIGNAL_ENABLE, ERROR | TRANSFER_DONE | COMMAND_DONE);
            wake_on(SPI);
            command(0, 0, 0);
            command(8, R1, 0x1aa);
            let ocr = loop {
                let ocr = application_command(0, 41, R3, 0x40ff_8000);
                if ocr & 1 << 31 != 0 {
                    break ocr;
                }
            };
            command(2, R2, 0);
            let rca = command(3, R1, 0) & 0xffff_0000;
            command(7, R1B, rca);
            command(16, R1, SECTOR);
            application_command(rca, 6, R1, 2);
            EMMC2.write(STATUS, !0);
            let by_sector = ocr & 1 << 30 != 0;
            let unit = if by_sector { 1 } else { SECTOR };
            Self { unit }
        }

        #[inline(always)]
        fn transfer(&self, write: bool, sector: u32, sectors: u32) {
            EMMC2.write(ADMA, TABLE.address());
            EMMC2.write(BLOCKS, sectors << 16 | SECTOR);
            EMMC2.write(ARGUMENT, sector * self.unit);
            let (index, direction) = if write { (25, 0) } else { (18, READS) };
            EMMC2.write(
                COMMAND,
                index << 24 | (R1 | WITH_DATA) << 16 | MODE | direction,
            );
            finish(TRANSFER_DONE);
        }
    }

    /// The table for so many bytes at the buffer's start.
    fn describe(bytes: usize) {
        let pieces = bytes.div_ceil(PIECE);
        for piece in 0..pieces {
            let length = (bytes - piece * PIECE).min(PIECE) as u32 & 0xffff;
            let end = if piece + 1 == pieces { END } else { 0 };
            TABLE.write(2 * piece, length << 16 | TRANSFER | end);
            TABLE.write(2 * piece + 1, BUFFER.address() + (piece * PIECE) as u32);
        }
    }

    /// First sector and length of the data partition, the third.
    fn partition(card: &Card) -> (u32, u32) {
        describe(SECTOR as usize);
        card.transfer(false, 0, 1);
        // At 446 + 32, fields from its eighth byte on; halfwords, as words are aligned.
        let half = |at: usize| BUFFER.read(at / 4) >> (8 * (at % 4)) & 0xffff;
        let field = |at: usize| half(at) | half(at + 2) << 16;
        (field(446 + 32 + 8), field(446 + 32 + 12))
    }

    /// SplitMix64.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Does what the order says; `None` if it says nothing of use.
    fn obey(card: &Card, (first, length): (u32, u32), order: &str) -> Option<()> {
        let mut words = order.split_whitespace();
        let operation = words.next()?;
        let write = match operation {
            "read" => false,
            "write" => true,
            _ => return None,
        };
        let bytes: usize = words.next()?.parse().ok()?;
        let order = words.next()?;
        let random = order == "random";
        let seconds: u64 = words.next()?.parse().ok()?;
        if bytes == 0 || bytes > LARGEST || !bytes.is_multiple_of(SECTOR as usize) {
            return None;
        }
        describe(bytes);
        let sectors = bytes as u32 / SECTOR;
        let places = length / sectors;
        let (mut requests, mut seed) = (0, 1);
        let began = now_ns();
        let ns = loop {
            let place = match random {
                true => next(&mut seed) % u64::from(places),
                false => requests % u64::from(places),
            };
            card.transfer(write, first + place as u32 * sectors, sectors);
            requests += 1;
            let ns = now_ns() - began;
            if ns >= seconds * 1_000_000_000 {
                break ns;
            }
        };
        say!(
            "diskbench: op={operation} bytes={bytes} order={order} threads=1 requests={requests} ns={ns}"
        );
        Some(())
    }

    pub fn run() -> ! {
        let card = Card::new();
        let partition = partition(&card);
        say!("partition 3: {} sectors from {}", partition.1, partition.0);
        loop {
            say!("ready");
            let mut buffer = [0; 80];
            if obey(&card, partition, line(&mut buffer)).is_none() {
                say!("read|write BYTES sequential|random SECONDS");
            }
        }
    }
}

bare::program!(disk::run);
