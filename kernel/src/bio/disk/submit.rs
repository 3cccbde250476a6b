// SPDX-License-Identifier: MIT OR Apache-2.0
//! How transfers come to a device: a medium's handle, the inbox, the queue.
//!
//! Theory and lock order are those of [`super`].
use super::{Disk, Pending, State};
use crate::bio::DiskError;
use crate::bio::queue::{Place, SLOTS};
use crate::bio::request::{BlockDevice, Op, Ticket, Transfer};
use crate::lock_order::{BioDone, BioQueue};
use crate::thread;
use crate::trace::{self, Class, Event};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use sync::domain::{Before, Cx, MaySleep, MayWake};
use sync::inbox::Link;
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutexGuard;

/// How often the keeper of the inbox opens it again before it leaves, at most: others may feed it for ever.
const ROUNDS: usize = 8;

impl Disk {
    /// Leaves a transfer in the inbox. It comes back if that is closed, or has enough.
    #[inline]
    fn leave(&self, pending: Arc<Pending>) -> Result<(), Arc<Pending>> {
        if !self.inbox.is_open() {
            return Err(pending);
        }
        // ORDERING: Relaxed: a count, which bounds memory.
        if self.left.fetch_add(1, Ordering::Relaxed) < SLOTS {
            let thing = NonNull::new(Arc::as_ptr(&pending).cast_mut());
            // SAFETY: it is there as long as its reference, which is given up if it was left.
            if thing.is_some_and(|thing| unsafe { self.inbox.leave(thing) }) {
                core::mem::forget(pending);
                return Ok(());
            }
        }
        self.left.fetch_sub(1, Ordering::Relaxed);
        Err(pending)
    }

    /// Closes the inbox, and sees to what was left there.
    pub(super) fn close_inbox(&self, state: &mut State, cx: &mut Cx<BioQueue>) {
        for round in 1.. {
            let mut came = false;
            for pending in self.inbox.close() {
                // SAFETY: its reference was given up by `leave`, and it is handed over once.
                let pending = unsafe { Arc::from_raw(pending.as_ptr()) };
                came = true;
                let _ = state.late.push_back(pending); // there is room: `left` counts them
            }
            if !came {
                return;
            }
            self.admit_late(state, cx);
            let depth = state.queue.len();
            state.statistics.depth(depth);
            if state.active.is_some() {
                return;
            }
            if round < ROUNDS {
                self.inbox.open();
            }
            self.dispatch(state, cx);
        }
    }

    /// Puts into the queue what there is room for now.
    pub(super) fn admit_late(&self, state: &mut State, cx: &mut Cx<BioQueue>) {
        while !state.queue.is_full()
            && let Some(pending) = state.late.pop_front()
        {
            self.left.fetch_sub(1, Ordering::Relaxed);
            self.admit(state, cx, pending);
        }
    }

    /// Puts a transfer into the queue, which has room, or ends it.
    fn admit(&self, state: &mut State, cx: &mut Cx<BioQueue>, pending: Arc<Pending>) {
        let there = state.medium == pending.medium.number && (state.device.is_some() || state.out);
        match pending.place {
            Ok(place) if there => {
                trace::event(Class::Bio, || Event::Submit {
                    id: pending.trace_id(),
                    op: place.op as u8,
                    lba: place.lba,
                    sectors: place.sectors as u32,
                });
                let submitted_ns = pending.submitted_ns;
                if state.queue.push(place, pending, submitted_ns).is_err() {
                    unreachable!("there was room");
                }
            }
            Ok(_) => self.ended(state, cx, pending, Err(DiskError::Removed)),
            Err(error) => self.ended(state, cx, pending, Err(error)),
        }
    }

    fn submit<K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake>(
        &self,
        cx: &mut Cx<K>,
        transfers: &mut dyn Iterator<Item = Arc<Pending>>,
    ) {
        let first = loop {
            let Some(pending) = transfers.next() else {
                return;
            };
            if let Err(pending) = self.leave(pending) {
                break pending;
            }
        };
        let ended = {
            let (mut state, mut cx) = self.state.enter(cx);
            let mut next = Some(first);
            while let Some(pending) = next {
                self.wait_for_room(&mut state, &mut cx, pending.medium.number);
                self.admit(&mut state, &mut cx, pending);
                next = transfers.next();
            }
            let depth = state.queue.len();
            state.statistics.depth(depth);
            if state.active.is_none() {
                self.inbox.open();
                self.dispatch(&mut state, &mut cx);
                self.close_inbox(&mut state, &mut cx);
            }
            core::mem::take(&mut state.ended)
        };
        self.wake(cx, ended);
    }

    /// Waits until there is room in the queue, behind what came before, or the medium is gone.
    fn wait_for_room<K: MaySleep>(
        &self,
        state: &mut KMutexGuard<State, BioQueue, K>,
        cx: &mut Cx<BioQueue>,
        medium: u64,
    ) {
        let full = |state: &State| state.queue.is_full() || !state.late.is_empty();
        while full(state) && state.medium == medium {
            self.dispatch(state, cx);
            if full(state) {
                self.wake(cx, core::mem::take(&mut state.ended));
                self.room.wait(state, cx);
            }
        }
    }
}

/// A medium in a device: transfers end with [`DiskError::Removed`] when it is there no more.
#[derive(Clone)]
pub struct Medium {
    pub(super) disk: Arc<Disk>,
    pub(super) number: u64,
    pub(super) sectors: u64,
    pub(super) has_dma: bool,
}

impl Medium {
    /// The device that it is in.
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// How many sectors there are.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Does the device move the data itself?
    pub fn has_dma(&self) -> bool {
        self.has_dma
    }

    /// Does `transfer`, and waits until it has ended.
    pub fn transfer<K: Before<BioQueue> + Before<BioDone> + MaySleep + MayWake>(
        &self,
        cx: &mut Cx<K>,
        transfer: Transfer,
    ) -> Transfer {
        let pending = self.prepare(transfer);
        let mut one = Some(pending.clone()).into_iter();
        self.disk.submit(cx, &mut one);
        pending.until_ended(cx)
    }

    /// Makes the buffer ready for the device, if its place is right.
    fn prepare(&self, mut transfer: Transfer) -> Arc<Pending> {
        let checked = transfer.check(self.sectors);
        let by_dma = self.has_dma && checked.is_ok();
        if by_dma {
            let range = transfer.range.clone();
            match transfer.op {
                Op::Read => transfer.buffer.preread(range),
                Op::Write | Op::WriteThrough => transfer.buffer.prewrite(range),
                Op::Flush => {}
            }
        }
        let place = checked.map(|()| Place::of(&transfer));
        Arc::new(Pending {
            transfer: UnsafeCell::new(Some(transfer)),
            ended: AtomicBool::new(false),
            changed: KCondvar::new(),
            place,
            submitted_ns: now_ns(),
            link: Link::new(),
            medium: self.clone(),
            by_dma,
        })
    }
}

impl BlockDevice for Medium {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn submit(&self, transfers: Vec<Transfer>) -> Vec<Ticket> {
        // All of them before the queue is locked: this may take long.
        let prepared = transfers.into_iter().map(|t| self.prepare(t));
        let prepared: Vec<_> = prepared.collect();
        let tickets = prepared.iter().map(|pending| pending.clone() as Ticket);
        let tickets = tickets.collect();
        // SAFETY: it leads to the queue's lock, of the Bio domain; who may wait holds none of it.
        let mut cx = unsafe { thread::boundary() };
        self.disk.submit(&mut cx, &mut prepared.into_iter());
        tickets
    }
}
