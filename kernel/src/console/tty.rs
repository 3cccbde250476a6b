// SPDX-License-Identifier: MIT OR Apache-2.0
//! The serial line: PL011 by interrupt, a ring for each direction.
//!
//! # Contexts
//! [`write`], [`read`]: threads; they sleep while the ring is full or empty. [`write_polled`]: the time before there are
//! threads, and the panic, when nobody else uses the UART; it takes no lock, and spins, bounded. The interrupt
//! handler is threaded, and waits for nothing but the lock.
use crate::intr::{self, Handler, SourceError};
use crate::lock_order;
use crate::thread::{Kernel, ThreadCx};
use bsp::map;
use bsp::mmio::Mmio;
use bsp::timer::now_ns;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use drivers::gpio::Gpio;
use drivers::pl011::{Line, Pl011};
use sync::domain::{Before, Cx, MaySleep, Tty as TtyDomain};
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;

/// The speed of the line.
const BAUD: u32 = 115_200;
/// The UART's clock unless the firmware says otherwise (`init_uart_clock` of config.txt).
const CLOCK_HZ: u32 = 48_000_000;
/// A character that the UART does not take in this time (11 bits at 1200 baud) is given up.
const STUCK_NS: u64 = 10_000_000;
/// Interrupt character: Ctrl-C.
const INTR: u8 = 3;

struct Tty {
    uart: Pl011<Mmio>,
    transmit: heapless::Deque<u8, 4096>,
    receive: heapless::Deque<u8, 1024>,
}

static TTY: KMutex<Tty, lock_order::Tty> = KMutex::new(Tty {
    // SAFETY: the UART's block; this is its only driver.
    uart: Pl011::new(unsafe { Mmio::new(map::UART0) }),
    transmit: heapless::Deque::new(),
    receive: heapless::Deque::new(),
});
/// There is room in `transmit`.
static SPACE: KCondvar<Kernel> = KCondvar::new();
/// There is something in `receive`.
static INPUT: KCondvar<Kernel> = KCondvar::new();
/// A Ctrl-C came that nobody has looked at.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static OVERRUNS: AtomicU32 = AtomicU32::new(0);
static LINE_ERRORS: AtomicU32 = AtomicU32::new(0);

/// Characters that the hardware lost, and characters with a framing or parity error or a break.
pub fn line_statistics() -> (u32, u32) {
    (
        OVERRUNS.load(Ordering::Relaxed),
        LINE_ERRORS.load(Ordering::Relaxed),
    )
}

impl Tty {
    /// Moves what fits from the ring to the UART; the interrupt comes when there is room for the rest.
    fn pump_transmit(&mut self) {
        while let Some(byte) = self.transmit.front() {
            if !self.uart.try_write(*byte) {
                break;
            }
            self.transmit.pop_front();
        }
        self.uart.set_tx_irq(!self.transmit.is_empty());
    }

    /// Notes whether a Ctrl-C is among what has not been read.
    fn note_interrupts(&self) {
        let waits = self.receive.iter().any(|byte| *byte == INTR);
        INTERRUPTED.store(waits, Ordering::Relaxed);
    }

    /// Moves what came from the UART to the ring. What finds no room stays in the UART until the ring is read.
    fn pump_receive(&mut self) {
        while !self.receive.is_full()
            && let Some(received) = self.uart.try_read()
        {
            if received.overrun {
                OVERRUNS.fetch_add(1, Ordering::Relaxed);
            }
            if received.line != Line::Good {
                LINE_ERRORS.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if received.byte == INTR {
                INTERRUPTED.store(true, Ordering::Relaxed);
            }
            let _ = self.receive.push_back(received.byte);
        }
    }
}

/// Sets the pins and the UART up, for polled output. First CPU, first of all.
pub fn init() {
    // SAFETY: the GPIO block; nobody else drives it yet.
    Gpio::new(unsafe { Mmio::new(map::GPIO) }).route_uart0_to_header();
    let _impossible = polled().init(CLOCK_HZ, BAUD);
}

/// Tells the UART its real clock; before [`start`].
pub fn set_clock<K: Before<lock_order::Tty>>(cx: &mut Cx<K>, clock_hz: u32) {
    if clock_hz != CLOCK_HZ
        && let Err(error) = TTY.enter(cx).0.uart.init(clock_hz, BAUD)
    {
        log::warn!("console: {error}");
    }
}

/// From now on by interrupt.
pub fn start(cx: &mut ThreadCx) -> Result<(), SourceError> {
    let handler = Handler::<TtyDomain>::Threaded(interrupt);
    let _cookie = intr::establish(cx, map::IRQ_UART0, "uart0", handler, 0)?; // TTY, a static, names the domain itself
    TTY.enter(cx).0.uart.enable_rx_irq();
    Ok(())
}

fn interrupt(cx: &mut ThreadCx, _: usize) {
    let (mut tty, mut cx) = TTY.enter(cx);
    let _both = tty.uart.take_interrupts();
    tty.pump_transmit();
    tty.pump_receive();
    if !tty.transmit.is_full() {
        SPACE.broadcast(&mut cx);
    }
    if !tty.receive.is_empty() {
        INPUT.signal(&mut cx);
    }
}

/// Sends `bytes` as they are; sleeps while the ring is full.
pub fn write<K: Before<lock_order::Tty> + MaySleep>(cx: &mut Cx<K>, mut bytes: &[u8]) {
    let (mut tty, mut cx) = TTY.enter(cx);
    loop {
        let room = tty.transmit.capacity() - tty.transmit.len();
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        for byte in now {
            let _ = tty.transmit.push_back(*byte);
        }
        tty.pump_transmit();
        if later.is_empty() {
            return;
        }
        bytes = later;
        while tty.transmit.is_full() {
            SPACE.wait(&mut tty, &mut cx);
        }
    }
}

/// Waits until all is sent, or a second has passed.
pub fn flush<K: Before<lock_order::Tty> + MaySleep>(cx: &mut Cx<K>) {
    let end = now_ns() + 1_000_000_000;
    while now_ns() < end && !TTY.enter(cx).0.transmit.is_empty() {
        crate::thread::sleep_until(cx, now_ns() + 1_000_000);
    }
    let _stuck = TTY.enter(cx).0.uart.flush();
}

/// Waits for input, and returns a character.
pub fn read<K: Before<lock_order::Tty> + MaySleep>(cx: &mut Cx<K>) -> u8 {
    let (mut tty, mut cx) = TTY.enter(cx);
    loop {
        tty.pump_receive();
        if let Some(byte) = tty.receive.pop_front() {
            tty.pump_receive(); // there is room again
            return byte;
        }
        INPUT.wait(&mut tty, &mut cx);
    }
}

/// True once for each Ctrl-C typed; drops what was typed before it.
pub fn take_interrupt<K: Before<lock_order::Tty>>(cx: &mut Cx<K>) -> bool {
    let (mut tty, _) = TTY.enter(cx);
    tty.pump_receive();
    if !INTERRUPTED.load(Ordering::Relaxed) {
        return false;
    }
    while tty.receive.pop_front().is_some_and(|byte| byte != INTR) {}
    tty.note_interrupts();
    true
}

/// A Ctrl-C was [`read`] and has had its effect.
pub fn acknowledge_interrupt<K: Before<lock_order::Tty>>(cx: &mut Cx<K>) {
    TTY.enter(cx).0.note_interrupts();
}

/// The UART, past its lock.
fn polled() -> Pl011<Mmio> {
    // SAFETY: before there are threads, or with all other CPUs stopped for good: this CPU alone uses it.
    Pl011::new(unsafe { Mmio::new(map::UART0) })
}

/// Sends text by polling, with carriage returns. A stuck UART loses characters, never time without bound.
pub fn write_polled(text: &[u8]) {
    for byte in text {
        if *byte == b'\n' {
            put_polled(b'\r');
        }
        put_polled(*byte);
    }
}

fn put_polled(byte: u8) {
    let end = now_ns() + STUCK_NS;
    while !polled().try_write(byte) {
        if now_ns() > end {
            return;
        }
    }
}

/// Polled text, for the panic.
pub struct Polled;

impl fmt::Write for Polled {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_polled(text.as_bytes());
        Ok(())
    }
}
