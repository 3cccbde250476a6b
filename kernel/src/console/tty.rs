// SPDX-License-Identifier: MIT OR Apache-2.0
//! The serial line: PL011 by interrupt, a ring for each direction.
//!
//! # Contexts
//! [`write`], [`read`]: threads; they sleep while the ring is full or empty. [`write_polled`], [`read_polled`]: the time before
//! there are threads, the panic, and the debugger, when nobody else uses the UART; they take no lock, and writing spins,
//! bounded. The interrupt handler is threaded, and waits for nothing but the lock.
//!
//! A break on the line enters the debugger from wherever the receiver is emptied. Should nobody do that, for the CPU
//! that the interrupt goes to hangs, or the lock is never left, the watchdog's tick on any CPU does ([`take_unserved_break`]):
//! what was typed before the break is then lost.
use crate::intr::{self, Handler, SourceError};
use crate::thread::{Kernel, ThreadCx};
use crate::{ddb, lock_order};
use bsp::map;
use bsp::mmio::Mmio;
use bsp::timer::now_ns;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use drivers::gpio::Gpio;
use drivers::pl011::{Line, Pl011};
use sync::domain::{Before, Cx, MaySleep, Tty as TtyDomain};
use sync::kcondvar::KCondvar;
use sync::kmutex::{KMutex, KMutexGuard};

/// The speed of the line.
const BAUD: u32 = 115_200;
/// The UART's clock unless the firmware says otherwise (`init_uart_clock` of config.txt).
const CLOCK_HZ: u32 = 48_000_000;
/// A character that the UART does not take in this time (11 bits at 1200 baud) is given up.
const STUCK_NS: u64 = 10_000_000;
/// So long a line of the log waits for the end of another line.
const UNFINISHED_NS: u64 = 300_000_000;
/// Interrupt character: Ctrl-C.
const INTR: u8 = 3;

struct Tty {
    uart: Pl011<Mmio>,
    transmit: heapless::Deque<u8, 4096>,
    receive: heapless::Deque<u8, 1024>,
    /// A line was begun that is to go on.
    in_line: bool,
    /// Somebody has a whole line to send as soon as this one ends: the next one waits.
    line_waits: bool,
    /// Somebody sends a whole line: the others wait.
    takes_line: bool,
}

static TTY: KMutex<Tty, lock_order::Tty> = KMutex::new(Tty {
    // SAFETY: the UART's block; this is its only driver.
    uart: Pl011::new(unsafe { Mmio::new(map::UART0) }),
    transmit: heapless::Deque::new(),
    receive: heapless::Deque::new(),
    in_line: false,
    line_waits: false,
    takes_line: false,
});
/// There is room in `transmit`, or a line has ended.
static SPACE: KCondvar<Kernel> = KCondvar::new();
/// There is something in `receive`.
static INPUT: KCondvar<Kernel> = KCondvar::new();
/// A Ctrl-C came that nobody has looked at.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Times that the receiver was emptied.
static SERVED: AtomicU32 = AtomicU32::new(0);
/// It was not emptied, for nobody reads what has come.
static FULL: AtomicBool = AtomicBool::new(false);
/// Since when something waits in the UART, as the watchdog's ticks see it, ns (0: nothing does), and `SERVED` then.
static WAITS_SINCE_NS: AtomicU64 = AtomicU64::new(0);
static WAITS_WITH: AtomicU32 = AtomicU32::new(0);
/// What waits so long in the UART is not served: longer than a tick, so that two have seen it.
const UNSERVED_NS: u64 = 1_500_000_000;
/// The next interrupt is to panic, with the lock held.
static PANICS: AtomicBool = AtomicBool::new(false);
static OVERRUNS: AtomicU32 = AtomicU32::new(0);
static LINE_ERRORS: AtomicU32 = AtomicU32::new(0);

/// Characters that the hardware lost, and characters with a framing or parity error.
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
            if received.line == Line::Break {
                // With the lock held; the debugger does not ask for it.
                ddb::enter("break on the line");
                continue;
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
        SERVED.fetch_add(1, Ordering::Relaxed);
        FULL.store(self.receive.is_full(), Ordering::Relaxed);
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

/// Has the handler of the next interrupt panic, for the console's `panic` command.
pub fn panic_at_next_interrupt() {
    PANICS.store(true, Ordering::Relaxed);
}

fn interrupt(cx: &mut ThreadCx, _: usize) {
    let (mut tty, mut cx) = TTY.enter(cx);
    let _both = tty.uart.take_interrupts();
    assert!(
        !PANICS.load(Ordering::Relaxed),
        "asked for in the console's driver"
    );
    tty.pump_transmit();
    tty.pump_receive();
    if !tty.transmit.is_full() {
        SPACE.broadcast(&mut cx);
    }
    if !tty.receive.is_empty() {
        INPUT.signal(&mut cx);
    }
}

/// Sends `bytes` as they are, of a line that goes on (`in_line`) or ends with them; sleeps while the ring is full.
pub fn write<K>(cx: &mut Cx<K>, bytes: &[u8], in_line: bool)
where
    K: Before<lock_order::Tty> + MaySleep,
{
    let (mut tty, mut cx) = TTY.enter(cx);
    while tty.takes_line || tty.line_waits && !tty.in_line {
        SPACE.wait(&mut tty, &mut cx);
    }
    push(&mut tty, &mut cx, bytes);
    tty.in_line = in_line;
    if !in_line {
        SPACE.broadcast(&mut cx);
    }
}

/// Sends a line and its end, in one piece: not into a line that was begun, if that ends soon. One at a time.
pub fn write_line<K: Before<lock_order::Tty> + MaySleep>(cx: &mut Cx<K>, line: &[u8]) {
    let (mut tty, mut cx) = TTY.enter(cx);
    let deadline_ns = now_ns() + UNFINISHED_NS;
    tty.line_waits = true;
    while tty.in_line && now_ns() < deadline_ns {
        let _ended = SPACE.timed_wait(&mut tty, &mut cx, deadline_ns);
    }
    (tty.line_waits, tty.takes_line) = (false, true);
    if tty.in_line {
        push(&mut tty, &mut cx, b"\r\n");
    }
    push(&mut tty, &mut cx, line);
    push(&mut tty, &mut cx, b"\r\n");
    (tty.in_line, tty.takes_line) = (false, false);
    SPACE.broadcast(&mut cx);
}

/// Into the ring, as there is room.
fn push<K: MaySleep>(
    tty: &mut KMutexGuard<Tty, lock_order::Tty, K>,
    cx: &mut Cx<lock_order::Tty>,
    mut bytes: &[u8],
) {
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
            SPACE.wait(tty, cx);
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

/// The next character that was typed, if there is one; a Ctrl-C among them is thereby taken.
pub fn take_key<K: Before<lock_order::Tty>>(cx: &mut Cx<K>) -> Option<u8> {
    let (mut tty, _) = TTY.enter(cx);
    tty.pump_receive();
    let key = tty.receive.pop_front();
    tty.note_interrupts();
    key
}

/// A Ctrl-C was [`read`] and has had its effect.
pub fn acknowledge_interrupt<K: Before<lock_order::Tty>>(cx: &mut Cx<K>) {
    TTY.enter(cx).0.note_interrupts();
}

/// The UART, past its lock.
fn polled() -> Pl011<Mmio> {
    // SAFETY: before there are threads, or with all other CPUs stopped, this CPU alone uses it; or for a look by the watchdog,
    // and to empty a receiver that nobody else empties.
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

/// As above, without carriage returns.
pub fn write_polled_raw(text: &[u8]) {
    text.iter().for_each(|byte| put_polled(*byte));
}

/// Prints by polling, for who has no other way.
pub fn tell_polled(text: fmt::Arguments) {
    let _ = fmt::Write::write_fmt(&mut Polled, text);
}

fn put_polled(byte: u8) {
    let end = now_ns() + STUCK_NS;
    while !polled().try_write(byte) {
        if now_ns() > end {
            return;
        }
    }
}

/// Waits for a character, by polling. What is none is passed over.
pub fn read_polled() -> u8 {
    loop {
        match polled().try_read() {
            Some(received) if received.line == Line::Good => return received.byte,
            Some(_) => {}
            None => bsp::cpu::relax(),
        }
    }
}

/// True if a break has waited in the UART, and nobody took it out for longer than a tick. The watchdog's tick.
pub fn take_unserved_break() -> bool {
    let mut uart = polled();
    if !uart.has_received() {
        WAITS_SINCE_NS.store(0, Ordering::Relaxed);
        return false;
    }
    let (served, now) = (SERVED.load(Ordering::Relaxed), now_ns());
    let since = WAITS_SINCE_NS.load(Ordering::Relaxed);
    if since == 0 || WAITS_WITH.swap(served, Ordering::Relaxed) != served {
        WAITS_SINCE_NS.store(now, Ordering::Relaxed);
        return false;
    }
    // What finds no room may stay where it is, unless the UART says that a break is among it.
    let is_patient = FULL.load(Ordering::Relaxed) && !uart.has_break();
    if now.saturating_sub(since) < UNSERVED_NS || is_patient {
        return false;
    }
    core::iter::from_fn(|| uart.try_read()).any(|received| received.line == Line::Break)
}

/// Polled text, for the panic and the debugger.
pub struct Polled;

impl fmt::Write for Polled {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_polled(text.as_bytes());
        Ok(())
    }
}
