// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a bare program has: console, clock, registers, sleeping CPUs.

use bsp::fdt::{Conduit, Method};
use bsp::mmio::Mmio;
use bsp::trap::Fault;
use bsp::{cpu, map, power};
use core::cell::UnsafeCell;
use core::fmt;
use drivers::Io;

pub use bsp::cpu::wait_for_interrupt;
pub use bsp::start::Boot;
pub use bsp::timer::now_ns;

/// Of the PL011: data, flags; in these, nothing received, no room to send.
const DATA: usize = 0;
const FLAGS: usize = 0x18;
const EMPTY: u32 = 1 << 4;
const FULL: u32 = 1 << 5;

/// The registers of a device, 32 bits each.
pub struct Registers(usize);

impl Registers {
    /// The device at this address of the board's.
    pub const fn new(base: usize) -> Self {
        assert!(base >= map::DEVICES_BASE, "no device");
        Self(base)
    }

    fn io(&self) -> Mmio {
        // SAFETY: a device's block, and a bare program has one thread.
        unsafe { Mmio::new(self.0) }
    }

    /// Reads a register.
    #[inline(always)]
    pub fn read(&self, offset: usize) -> u32 {
        self.io().read32(offset)
    }

    /// Writes a register.
    #[inline(always)]
    pub fn write(&self, offset: usize, value: u32) {
        self.io().write32(offset, value);
    }
}

/// Memory that a device reads and writes, in a `static`; as the emulator has no caches, it needs no maintenance.
#[repr(C, align(4096))]
pub struct Memory<const WORDS: usize>(UnsafeCell<[u32; WORDS]>);
// SAFETY: one thread, and every access is volatile and a word.
unsafe impl<const WORDS: usize> Sync for Memory<WORDS> {}

impl<const WORDS: usize> Memory<WORDS> {
    /// Zeros.
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; WORDS]))
    }

    /// Where it is, for the device.
    pub fn address(&self) -> u32 {
        self.0.get() as usize as u32
    }

    fn word(&self, index: usize) -> *mut u32 {
        assert!(index < WORDS);
        self.0.get().cast::<u32>().wrapping_add(index)
    }

    /// Reads a word.
    pub fn read(&self, index: usize) -> u32 {
        // SAFETY: inside, and nobody holds a reference.
        unsafe { self.word(index).read_volatile() }
    }

    /// Writes a word.
    pub fn write(&self, index: usize, value: u32) {
        // SAFETY: as in `read`.
        unsafe { self.word(index).write_volatile(value) }
    }
}

/// The PL011, as the emulator has it: it needs no setting up.
pub struct Console;

const UART: Registers = Registers::new(map::UART0);

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while UART.read(FLAGS) & FULL != 0 {}
            UART.write(DATA, byte.into());
        }
        Ok(())
    }
}

/// The next line that somebody types; what is too long for `buffer` is lost.
pub fn line(buffer: &mut [u8]) -> &str {
    let mut length = 0;
    loop {
        while UART.read(FLAGS) & EMPTY != 0 {}
        let byte = UART.read(DATA) as u8;
        if matches!(byte, b'\r' | b'\n') {
            break;
        }
        if let Some(free) = buffer.get_mut(length) {
            *free = byte;
            length += 1;
        }
    }
    core::str::from_utf8(&buffer[..length]).unwrap_or("")
}

/// Lets an interrupt line of the devices' wake this CPU from [`wait_for_interrupt`]. It is never taken: the device drops
/// it when it is told.
pub fn wake_on(spi: u32) {
    const DISTRIBUTOR: Registers = Registers::new(map::GICD);
    const INTERFACE: Registers = Registers::new(map::GICC);
    let interrupt = (spi + 32) as usize;
    let target = DISTRIBUTOR.read(0x800 + interrupt / 4 * 4);
    DISTRIBUTOR.write(
        0x800 + interrupt / 4 * 4,
        target | 1 << (8 * (interrupt % 4)),
    );
    DISTRIBUTOR.write(0x100 + interrupt / 32 * 4, 1 << (interrupt % 32));
    DISTRIBUTOR.write(0, 1);
    INTERFACE.write(4, 0xff); // no priority is masked
    INTERFACE.write(0, 1);
}

/// Starts the clock, and sends the other CPUs to sleep.
pub fn start() {
    cpu::set_local(0);
    bsp::timer::start();
    for other in 1..map::CPUS {
        // SAFETY: BL31 has it switched off; its stack is its own.
        let started = unsafe { power::start_cpu(&Method::Psci(Conduit::Smc), other) };
        assert!(started.is_ok(), "CPU {other} does not start");
    }
}

#[unsafe(no_mangle)]
fn kernel_secondary(_: usize, _: u8) -> ! {
    cpu::park()
}

#[unsafe(no_mangle)]
fn kernel_interrupt() {}

#[unsafe(no_mangle)]
fn kernel_fault(fault: &Fault) -> ! {
    crate::say!("FAULT: {} at {:#x}", fault.cause, fault.frame.elr);
    cpu::park()
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo) -> ! {
    crate::say!("PANIC: {}", info.message());
    cpu::park()
}

/// Where a thread would begin.
#[unsafe(no_mangle)]
extern "C" fn kernel_thread() -> ! {
    unreachable!("a bare program has no threads")
}
