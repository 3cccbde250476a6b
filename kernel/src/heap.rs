// SPDX-License-Identifier: MIT OR Apache-2.0
//! The heap: `rlsf` (two-level segregated fit: constant time, also with interrupts masked) in the first GiB of RAM,
//! where every device of the board can reach it.
use crate::lock_order;
use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use sync::kmutex::KMutex;

type Tlsf = rlsf::Tlsf<'static, u32, u32, 26, 32>;

struct Heap {
    tlsf: Tlsf,
    used_bytes: usize,
    most_bytes: usize,
    total_bytes: usize,
    allocations: u64,
}

struct Global(KMutex<Heap, lock_order::Heap>);

#[global_allocator]
static HEAP: Global = Global(KMutex::new(Heap {
    tlsf: Tlsf::new(),
    used_bytes: 0,
    most_bytes: 0,
    total_bytes: 0,
    allocations: 0,
}));

// SAFETY: `rlsf` returns blocks that fit the layout and are nobody else's; the lock makes it one caller at a time.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.enter_leaf();
        let Some(block) = heap.tlsf.allocate(layout) else {
            return core::ptr::null_mut();
        };
        heap.used_bytes += layout.size();
        heap.most_bytes = heap.most_bytes.max(heap.used_bytes);
        heap.allocations += 1;
        block.as_ptr()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let mut heap = self.0.enter_leaf();
        heap.used_bytes -= layout.size();
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller returns what `alloc` gave for this layout.
            unsafe { heap.tlsf.deallocate(block, layout.align()) };
        }
    }
}

/// Gives the heap its memory. Once.
pub fn init(memory: &'static mut [MaybeUninit<u8>]) {
    let mut heap = HEAP.0.enter_leaf();
    heap.total_bytes = memory.len();
    heap.tlsf.insert_free_block(memory);
}

/// What the `mem` command shows.
pub struct Usage {
    /// Bytes in use.
    pub used_bytes: usize,
    /// Most bytes that were ever in use.
    pub most_bytes: usize,
    /// Bytes that the heap was given.
    pub total_bytes: usize,
    /// Allocations so far.
    pub allocations: u64,
}

/// The heap's figures now.
pub fn usage() -> Usage {
    let heap = HEAP.0.enter_leaf();
    let Heap {
        used_bytes,
        most_bytes,
        total_bytes,
        allocations,
        ..
    } = *heap;
    Usage {
        used_bytes,
        most_bytes,
        total_bytes,
        allocations,
    }
}
