// SPDX-License-Identifier: MIT OR Apache-2.0
//! The BCM2711 as the ARM cores see it ("low peripheral" mode): addresses and interrupt numbers.
//!
//! References: BCM2711 ARM Peripherals, chapters 1 and 6; the standard device tree `bcm2711.dtsi`.

use arm_gic::IntId;

/// Number of cores: one cluster of four Cortex-A72, MPIDR affinity 0..3.
pub const CPUS: usize = 4;

/// Start of the memory that belongs to the kernel; everything below is the firmware's (TF-A BL31 or the stub).
pub const KERNEL_BASE: usize = 0x8_0000;
/// The kernel with its stacks ends below this; mapped page by page.
pub const KERNEL_LIMIT: usize = 0x80_0000;
/// Everything from here to 4 GiB is device registers.
pub const DEVICES_BASE: usize = 0xFC00_0000;

/// PM block: watchdog, reset, halt.
pub const PM: usize = 0xFE10_0000;
/// VideoCore property mailbox.
pub const MAILBOX: usize = 0xFE00_B880;
/// RNG200, the random number generator.
pub const RNG: usize = 0xFE10_4000;
/// GPIO.
pub const GPIO: usize = 0xFE20_0000;
/// PL011 UART0, the console.
pub const UART0: usize = 0xFE20_1000;
/// Auxiliary block: mini UART, two SPI masters.
pub const AUX: usize = 0xFE21_5000;
/// The old Arasan SDHCI: WiFi on the board, the card slot on QEMU.
pub const SDHCI_ARASAN: usize = 0xFE30_0000;
/// EMMC2, the board's microSD slot.
pub const SDHCI_EMMC2: usize = 0xFE34_0000;
/// GENET, the Ethernet controller.
pub const GENET: usize = 0xFD58_0000;
/// AVS monitor, which measures the temperature.
pub const AVS: usize = 0xFD5D_2000;
/// The chip's revision word.
pub const CHIP_REVISION: usize = 0xFC40_4000;
/// GIC-400 distributor.
pub const GICD: usize = 0xFF84_1000;
/// GIC-400 CPU interface.
pub const GICC: usize = 0xFF84_2000;

/// What the VideoCore adds to an ARM physical address in the first GiB (uncached alias).
pub const VC_BUS_ALIAS: u32 = 0xC000_0000;

/// PPI of the EL1 virtual timer.
pub const IRQ_TIMER: IntId = IntId::ppi(11);
/// PPI of the EL1 physical timer.
pub const IRQ_WATCH: IntId = IntId::ppi(14);
/// SPI 93: the auxiliary block.
pub const IRQ_AUX: IntId = IntId::spi(93);
/// SPI 121: UART0 (and 2 to 5, which stay disabled).
pub const IRQ_UART0: IntId = IntId::spi(121);
/// SPI 126: both SDHCI controllers.
pub const IRQ_EMMC: IntId = IntId::spi(126);
/// SPI 157: GENET, its default rings and the link.
pub const IRQ_GENET: IntId = IntId::spi(157);
/// SPIs that nothing on the board drives: software sets them pending.
pub const IRQ_UNUSED: [IntId; 7] = [
    IntId::spi(189),
    IntId::spi(190),
    IntId::spi(191),
    IntId::spi(185),
    IntId::spi(186),
    IntId::spi(187),
    IntId::spi(188),
];

/// Where the stub's cores 1..3 poll for an entry address when there is no device tree to say so.
pub const SPIN_TABLE: [u64; CPUS] = [0xD8, 0xE0, 0xE8, 0xF0];
