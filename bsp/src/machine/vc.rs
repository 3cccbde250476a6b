// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that the kernel shares with the VideoCore: the mailbox's request buffer.
use super::cache;
use crate::map::VC_BUS_ALIAS;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use drivers::DmaBuffer;
use drivers::mailbox::BUFFER_WORDS;

/// One cache line in the kernel's data, and so in the first GiB.
#[repr(C, align(64))]
struct Line(UnsafeCell<[u32; BUFFER_WORDS]>);
// SAFETY: reached only through the one `MailboxBuffer`.
unsafe impl Sync for Line {}
static LINE: Line = Line(UnsafeCell::new([0; BUFFER_WORDS]));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The buffer of the mailbox driver.
pub struct MailboxBuffer(());

impl MailboxBuffer {
    /// The one buffer; panics when it is taken twice.
    pub fn take() -> Self {
        assert!(
            !TAKEN.swap(true, Ordering::AcqRel),
            "the mailbox buffer has an owner"
        );
        Self(())
    }
}

impl DmaBuffer for MailboxBuffer {
    fn words(&mut self) -> &mut [u32] {
        // SAFETY: `&mut self` is the only handle.
        unsafe { &mut *LINE.0.get() }
    }

    fn bus_address(&self) -> u32 {
        LINE.0.get() as u32 | VC_BUS_ALIAS
    }

    fn clean(&mut self) {
        cache::clean_invalidate(LINE.0.get() as usize, size_of::<Line>());
    }

    fn invalidate(&mut self) {
        // The line is not dirty: this drops what was fetched while the VideoCore wrote.
        cache::clean_invalidate(LINE.0.get() as usize, size_of::<Line>());
    }
}
