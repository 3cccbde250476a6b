// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults on purpose, for the console's `panic` command: they show that each ends in a report that names it.
use crate::bio::request::{BlockDevice, Op, Transfer};
use crate::callout;
use crate::dma::Buffer;
use crate::storage;
use crate::thread::ThreadCx;
use alloc::string::{String, ToString};
use alloc::vec;
use bsp::timer::now_ns;
use core::hint::black_box;

/// Recurses until the stack is used up.
#[inline(never)]
pub fn stack_overflow(depth: u64) -> u64 {
    let mut local = [depth; 64];
    black_box(&mut local);
    if depth == u64::MAX {
        0
    } else {
        stack_overflow(depth + 1) + local[black_box(7)]
    }
}

/// Reads through a null pointer.
#[inline(never)]
pub fn null_dereference() -> u64 {
    // SAFETY: unsound on purpose; nothing is mapped there, so it traps.
    unsafe { core::ptr::without_provenance::<u64>(black_box(8)).read_volatile() }
}

/// Writes to the kernel's text.
#[inline(never)]
pub fn write_text() {
    let text = bsp::mmu::symbol::text_start() as *mut u32;
    // SAFETY: unsound on purpose; text is mapped read-only, so it traps.
    unsafe { black_box(text).write_volatile(0) };
}

/// Jumps to a word of data.
#[inline(never)]
pub fn jump_to_data() {
    static DATA: [u32; 2] = [0xD65F_03C0; 2]; // `ret`, were it executable
    // SAFETY: unsound on purpose; constants are mapped execute-never, so it traps.
    let function: extern "C" fn() = unsafe { core::mem::transmute(black_box(DATA.as_ptr())) };
    function();
}

/// Panics in `ms` milliseconds, from the timer's interrupt.
pub fn later(cx: &mut ThreadCx, ms: u64) {
    let at_ns = now_ns() + ms * 1_000_000;
    callout::schedule(
        cx,
        at_ns,
        |_, ms| panic!("asked for {ms} ms before"),
        ms as usize,
    );
}

/// Panics with the card's queue locked and a command under way.
///
/// # Errors
/// A sentence: there is no card, or it is done before anybody can look.
pub fn in_card_driver(cx: &mut ThreadCx) -> Result<(), String> {
    const TRIES: usize = 1000;
    const BYTES: usize = 512 * 1024;
    let medium = storage::medium(cx, "card")?;
    for _ in 0..TRIES {
        let buffer = Buffer::new(BYTES).map_err(|_| "there is no memory for it")?;
        let tickets = medium.submit(vec![Transfer::new(Op::Read, 0, buffer, 0..BYTES)]);
        medium.disk().with_command(cx, |batch| {
            if let Some(batch) = batch {
                let (sectors, lba) = (batch.sectors, batch.lba);
                panic!("in the card's driver, {sectors} sectors from {lba} under way");
            }
        });
        for ticket in tickets {
            ticket.wait();
        }
    }
    Err("the card was too fast".to_string())
}
