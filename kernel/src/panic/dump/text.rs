// SPDX-License-Identifier: MIT OR Apache-2.0
//! The dump's text, as it grows: in memory that nothing else uses.
//!
//! # Contexts
//! The CPU that panics, alone. A panic within the panic writes to the console only.
use super::format::Sector;
use crate::bio::SECTOR_BYTES;
use crate::console::tty;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The log's ring of 64 KiB, and as much for everything else.
const SECTORS: usize = 256;
const BYTES: usize = SECTORS * SECTOR_BYTES;

struct Memory(UnsafeCell<[Sector; SECTORS]>);
// SAFETY: reached by the one CPU that panics (`panic/machine.rs` lets only the first one in), never twice at a time.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([[0; SECTOR_BYTES]; SECTORS]));
/// Bytes of it that are written. ORDERING: Relaxed: one CPU.
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Text for the dump alone. What finds no room is left out.
pub struct Text;

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = LENGTH.load(Ordering::Relaxed);
        // SAFETY: as for `Memory`; the reference ends with this call.
        let memory = unsafe { &mut *MEMORY.0.get() }.as_flattened_mut();
        let room = &mut memory[length.min(BYTES)..];
        let fits = text.floor_char_boundary(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        LENGTH.store(length + fits, Ordering::Relaxed);
        Ok(())
    }
}

/// Text for the console, by polling, and for the dump.
pub struct Tee;

impl fmt::Write for Tee {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        Text.write_str(text)?;
        tty::write_polled(text.as_bytes());
        Ok(())
    }
}

/// Hands the text over: its sectors, of which the last is filled up with zeroes, and its length in bytes, cut to `most`
/// sectors.
pub fn take(most: usize) -> (&'static mut [Sector], usize) {
    let bytes = LENGTH
        .swap(BYTES, Ordering::Relaxed)
        .min(most * SECTOR_BYTES);
    // SAFETY: as for `Memory`; from now on there is no room, so no one else makes a reference with bytes in it.
    let memory = unsafe { &mut *MEMORY.0.get() };
    let cut = core::str::from_utf8(&memory.as_flattened()[..bytes]);
    let bytes = cut.map_or_else(|error| error.valid_up_to(), str::len);
    (&mut memory[..bytes.div_ceil(SECTOR_BYTES)], bytes)
}
