// SPDX-License-Identifier: MIT OR Apache-2.0
//! A block device: its queue, the command that is under way, and who waits.
//!
//! # Theory
//! One lock of the Bio domain is around the queue and the device below it. A thread that submits puts its transfers in
//! and, if the device is idle, starts the first command. The device's interrupt ends it, hands the transfers to those
//! who wait, and starts the next: so the device never waits for a thread.
//!
//! A device's registers are slow, slower still in an emulator, and who has the lock may be at them for most of the time. A
//! thread that submits does not wait for that: meanwhile an [`Inbox`] is open, where it leaves its transfers, and whose
//! keeper, before it leaves the lock, puts them into the queue and starts what it can.
//!
//! What takes time happens outside the lock. Buffers are synchronised by who submits and by who waits. And a command
//! that fails, or does not end, is the *steward*'s: a thread, one for each device, that takes the device out of the
//! lock, has it recover, puts it back, and has the command tried again, [`TRIES`] times in all. If several
//! transfers went in one command, each is then tried alone: what one sector spoils is one transfer. While the device is
//! out, transfers wait in the queue.
//!
//! A medium that was taken out and put back is another medium, unless it is back within a second: handles on the old
//! one ([`Medium`]) find it removed.
//!
//! # Contexts
//! [`BlockDevice`], [`Disk::install`]: threads. [`Disk::interrupt`]: the device's threaded handler.
//!
//! # Lock order
//! The queue's lock, then that for ends. The device's own code runs under the first, and takes none of this file's. A
//! transfer has no lock of its own: making and dropping one would cost more than all the rest.
//!
//! # Rejected
//! Spinning for the lock: with four threads, four CPUs spent nearly all of their time so, and two that an emulator has of
//! its host kept from working the one that was waited for. A lock of its own for the queue: a transfer would then go
//! through two more than it needs when nobody else is there.
//!
//! # References
//! NetBSD buf(9), biowait(9), bufq(9).
mod steward;
mod submit;

pub use steward::TRIES;
pub use submit::Medium;

use super::DiskError;
use super::queue::{Batch, Limits, Place, Queue, SLOTS};
use super::request::{Op, Transfer, Wait};
use super::statistics::Statistics;
use crate::cpu::CpuSet;
use crate::lock_order::{BioDone, BioQueue};
use crate::thread::{self, Kernel, PRIORITY_SYSTEM, ThreadCx, TooManyThreads};
use crate::trace::{self, Class, Event};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use sync::domain::{Before, Bio, Cx, MaySleep, MayWake};
use sync::inbox::{Inbox, Link, Linked};
use sync::kcondvar::KCondvar;
use sync::kmutex::{IntrCookie, KMutex};

/// A command, and its transfers in the queue.
pub struct Command<'a> {
    /// What it is.
    pub batch: &'a Batch,
    queue: &'a mut Queue<Arc<Pending>>,
}

impl Command<'_> {
    /// Its transfers, in order.
    pub fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        let pending = self.queue.waiters(self.batch);
        // SAFETY: a command exists under the queue's lock alone, and `self` is borrowed as long.
        pending.filter_map(|pending| unsafe { &*pending.transfer.get() }.as_ref())
    }

    /// Transfer `number` of it.
    pub fn transfer_mut(&mut self, number: usize) -> Option<&mut Transfer> {
        let pending = self.queue.waiters(self.batch).nth(number)?;
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { &mut *pending.transfer.get() }.as_mut()
    }
}

/// How a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As before.
    Nothing,
    /// The device has come further, and works on; an interrupt comes.
    Going,
    /// It has ended.
    Done,
    /// It has failed, and the device wants to recover.
    Failed(DiskError),
}

/// The device below a queue.
///
/// Its interrupt and the steward's look may come at any time while a command is under way; no two calls are at once.
pub trait Strategy: Send {
    /// How many sectors the medium has.
    fn sectors(&self) -> u64;
    /// What it takes in one command.
    fn limits(&self) -> Limits;
    /// Does it move the data itself, past the caches?
    fn has_dma(&self) -> bool;
    /// Must a flush be sent to it?
    fn has_volatile_cache(&self) -> bool;
    /// Starts a command. With the queue's lock held: no waiting.
    fn start(&mut self, command: &mut Command) -> Progress;
    /// Looks how the command stands; after an interrupt, or instead of one. With the queue's lock held.
    fn look(&mut self, command: &mut Command) -> Progress;
    /// It takes too long: what has not ended has failed. With the queue's lock held.
    fn give_up(&mut self, command: &mut Command) -> Progress;
    /// It interrupts with no command under way. With the queue's lock held.
    fn hush(&mut self) {}
    /// Makes the device ready again after a failure. A thread; it may wait.
    ///
    /// # Errors
    /// [`DiskError::Removed`] and others that no retry will mend.
    fn recover(&mut self) -> Result<(), DiskError>;
    /// Has the medium's own cache written. A thread; it may wait.
    ///
    /// # Errors
    /// Any.
    fn flush(&mut self) -> Result<(), DiskError>;
}

/// A transfer that was submitted.
pub struct Pending {
    /// Only for who holds the queue's lock, from the submission until `ended`; then for who waits. None when it was given
    /// back.
    transfer: UnsafeCell<Option<Transfer>>,
    /// ORDERING: Relaxed: looked at and set with the lock for ends held.
    ended: AtomicBool,
    changed: KCondvar<Kernel>,
    /// Where it goes, or why nowhere.
    place: Result<Place, DiskError>,
    submitted_ns: u64,
    link: Link<Self>,
    medium: Medium,
    /// The device moves the data itself: the buffer was made ready for it.
    by_dma: bool,
}

// SAFETY: `transfer` is reached by one at a time, as it says; the lock for ends is between the last two.
unsafe impl Sync for Pending {}

impl Pending {
    /// How it went. The queue's lock is held: that is the token. Who waits is told afterwards.
    fn end(&self, _: &mut Cx<BioQueue>, result: Result<(), DiskError>) {
        // SAFETY: the lock is held, and it has not ended.
        if let Some(transfer) = unsafe { &mut *self.transfer.get() } {
            transfer.result = result;
        }
    }

    /// Names it in a trace while it is under way.
    fn trace_id(&self) -> u32 {
        (&raw const *self).addr() as u32
    }

    /// Waits until it has ended. Once.
    fn until_ended<K: Before<BioDone> + MaySleep>(&self, cx: &mut Cx<K>) -> Transfer {
        {
            let (mut done, mut cx) = self.medium.disk.done.enter(cx);
            while !self.ended.load(Ordering::Relaxed) {
                self.changed.wait(&mut done, &mut cx);
            }
        }
        // SAFETY: it has ended.
        let transfer = unsafe { &mut *self.transfer.get() }.take();
        let mut transfer = transfer.expect("a transfer is waited for once");
        if self.by_dma && transfer.op == Op::Read {
            transfer.buffer.postread(transfer.range.clone());
        }
        transfer
    }
}

impl Linked for Pending {
    fn link(&self) -> &Link<Self> {
        &self.link
    }
}

impl Wait for Pending {
    fn is_done(&self) -> bool {
        // SAFETY: it leads to a lock of the Bio domain; whoever waits for a transfer holds none.
        let mut cx = unsafe { thread::boundary() };
        let _held = self.medium.disk.done.enter(&mut cx);
        self.ended.load(Ordering::Relaxed)
    }

    fn wait(self: Arc<Self>) -> Transfer {
        // SAFETY: as above.
        let mut cx = unsafe { thread::boundary() };
        self.until_ended(&mut cx)
    }
}

/// What the steward is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    Recover(DiskError),
    Flush,
}

struct Active {
    batch: Batch,
    started_ns: u64,
    tries: u32,
    /// The device has done its part of a write-through, and its cache is being written.
    moved: bool,
}

/// Transfers that have ended, and whose threads are to be woken. A few, for it is moved about; more are woken at once.
type Ended = heapless::Vec<Arc<Pending>, 4>;

struct State {
    queue: Queue<Arc<Pending>>,
    /// Left in the inbox, and not in the queue yet, which was full.
    late: heapless::Deque<Arc<Pending>, SLOTS>,
    /// Of a command that failed as a whole: to be tried one by one, before all others; last first.
    alone: Vec<Batch>,
    active: Option<Active>,
    chore: Option<Chore>,
    /// To be woken when the lock is left: who wakes up with it held only comes to wait for it.
    ended: Ended,
    /// None while the steward has it, and when there is no medium.
    device: Option<Box<dyn Strategy>>,
    /// The steward has the device.
    out: bool,
    /// Counts media.
    medium: u64,
    /// The steward looks after the running command.
    watched: bool,
    statistics: Statistics,
}

impl State {
    fn new() -> Self {
        Self {
            queue: Queue::new(),
            late: heapless::Deque::new(),
            alone: Vec::new(),
            active: None,
            chore: None,
            ended: Ended::new(),
            device: None,
            out: false,
            medium: 0,
            watched: false,
            statistics: Statistics::new(),
        }
    }
}

/// A block device.
pub struct Disk {
    name: &'static str,
    state: KMutex<State, BioQueue>,
    /// Open while the lock's holder is at the device.
    inbox: Inbox<Pending>,
    /// Left there, and not in the queue yet.
    left: AtomicUsize,
    /// Around the ends of transfers: who waits for one does not wait for the queue.
    done: KMutex<(), BioDone>,
    /// There is room in the queue, or a command has ended, or the steward has put the device back.
    room: KCondvar<Kernel>,
    /// There is work for the steward.
    work: KCondvar<Kernel>,
}

impl Disk {
    /// A device that does not interrupt, without a medium; and its steward.
    ///
    /// # Errors
    /// There is no thread left.
    pub fn new(cx: &mut ThreadCx, name: &'static str) -> Result<Arc<Self>, TooManyThreads> {
        Self::with(cx, name, KMutex::new(State::new()))
    }

    /// A device whose interrupt was established, without a medium; and its steward.
    ///
    /// # Errors
    /// There is no thread left.
    pub fn for_interrupt(
        cx: &mut ThreadCx,
        name: &'static str,
        cookie: &IntrCookie<Bio>,
    ) -> Result<Arc<Self>, TooManyThreads> {
        Self::with(cx, name, KMutex::for_interrupt(State::new(), cookie))
    }

    fn with(
        cx: &mut ThreadCx,
        name: &'static str,
        state: KMutex<State, BioQueue>,
    ) -> Result<Arc<Self>, TooManyThreads> {
        let disk = Arc::new(Self {
            name,
            state,
            inbox: Inbox::new(),
            left: AtomicUsize::new(0),
            done: KMutex::new(()),
            room: KCondvar::new(),
            work: KCondvar::new(),
        });
        let steward = disk.clone();
        thread::spawn(cx, name, PRIORITY_SYSTEM, CpuSet::ALL, move |cx| {
            steward.serve(cx);
        })?;
        Ok(disk)
    }

    /// Takes the medium out: what waits ends with [`DiskError::Removed`].
    pub fn remove<K: Before<BioQueue> + MaySleep>(&self, cx: &mut Cx<K>) {
        let (mut state, mut cx) = self.state.enter(cx);
        state.medium += 1;
        while state.out || state.active.is_some() {
            self.room.wait(&mut state, &mut cx);
        }
        self.fail_all(&mut state, &mut cx, DiskError::Removed);
        self.wake(&mut cx, core::mem::take(&mut state.ended));
        let old = state.device.take();
        drop(state);
        drop(old);
    }

    /// Puts a medium in; there must be none.
    pub fn install<K: Before<BioQueue>>(
        self: &Arc<Self>,
        cx: &mut Cx<K>,
        device: Box<dyn Strategy>,
    ) -> Medium {
        let (sectors, has_dma) = (device.sectors(), device.has_dma());
        let (mut state, _) = self.state.enter(cx);
        assert!(
            state.device.is_none() && !state.out,
            "{}: two media",
            self.name
        );
        state.device = Some(device);
        state.statistics = Statistics::new();
        Medium {
            disk: self.clone(),
            number: state.medium,
            sectors,
            has_dma,
        }
    }

    /// What it did since the medium came.
    pub fn statistics<K: Before<BioQueue>>(&self, cx: &mut Cx<K>) -> Statistics {
        self.state.enter(cx).0.statistics.clone()
    }

    /// Lets `look` see the command under way, if there is one, with the queue locked.
    pub fn with_command<K: Before<BioQueue>>(
        &self,
        cx: &mut Cx<K>,
        look: impl FnOnce(Option<&Batch>),
    ) {
        let (state, _) = self.state.enter(cx);
        look(state.active.as_ref().map(|active| &active.batch));
    }

    /// The device's interrupt. `elsewhere` is called instead if a thread has the device: it comes back only after that. True
    /// if a command has come further.
    pub fn interrupt(&self, cx: &mut ThreadCx, elsewhere: impl FnOnce(&mut Cx<BioQueue>)) -> bool {
        let (told, ended) = {
            let (mut state, mut cx) = self.state.enter(cx);
            let State { active, device, .. } = &mut *state;
            match device {
                None => {
                    elsewhere(&mut cx);
                    return false;
                }
                Some(device) if active.is_none() => device.hush(),
                Some(_) => {}
            }
            self.inbox.open();
            let told = self.look(&mut state, &mut cx, |device, command| device.look(command));
            self.close_inbox(&mut state, &mut cx);
            (told, core::mem::take(&mut state.ended))
        };
        self.wake(cx, ended);
        told
    }

    /// Looks by `ask` how the running command stands, and goes on. True if there was something new.
    fn look(
        &self,
        state: &mut State,
        cx: &mut Cx<BioQueue>,
        ask: impl FnOnce(&mut dyn Strategy, &mut Command) -> Progress,
    ) -> bool {
        let (Some(device), Some(active), None) =
            (&mut state.device, &mut state.active, state.chore)
        else {
            return false;
        };
        let mut command = Command {
            batch: &active.batch,
            queue: &mut state.queue,
        };
        let progress = ask(device.as_mut(), &mut command);
        self.went(state, cx, progress);
        self.dispatch(state, cx);
        progress != Progress::Nothing
    }

    /// Draws the consequences of what the device says of the running command.
    fn went(&self, state: &mut State, cx: &mut Cx<BioQueue>, progress: Progress) {
        match progress {
            Progress::Nothing | Progress::Going => {}
            Progress::Done => {
                if let (Some(active), Some(device)) = (&mut state.active, &state.device)
                    && active.batch.op == Op::WriteThrough
                    && device.has_volatile_cache()
                    && !core::mem::replace(&mut active.moved, true)
                {
                    state.chore = Some(Chore::Flush);
                    self.work.signal(cx);
                } else if let Some(active) = state.active.take() {
                    self.end(state, cx, active.batch, Ok(()));
                    self.room.broadcast(cx);
                }
            }
            Progress::Failed(error) => {
                state.chore = Some(Chore::Recover(error));
                self.work.signal(cx);
            }
        }
    }

    /// Hands the transfers of a command to those who wait.
    fn end(
        &self,
        state: &mut State,
        cx: &mut Cx<BioQueue>,
        mut batch: Batch,
        result: Result<(), DiskError>,
    ) {
        let now = now_ns();
        while let Some(entry) = state.queue.take_last(&mut batch) {
            trace::event(Class::Bio, || Event::Done {
                id: entry.waiter.trace_id(),
                well: result.is_ok(),
            });
            (state.statistics).ended(entry.place, result, now - entry.submitted_ns);
            // An error that has a place has this one's.
            let result = result.map_err(|error| error.at(entry.place.lba));
            self.ended(state, cx, entry.waiter, result);
        }
    }

    fn ended(
        &self,
        state: &mut State,
        cx: &mut Cx<BioQueue>,
        pending: Arc<Pending>,
        result: Result<(), DiskError>,
    ) {
        pending.end(cx, result);
        if state.ended.is_full() {
            self.wake(cx, core::mem::take(&mut state.ended));
        }
        let _ = state.ended.push(pending); // there is room
    }

    /// Tells those who wait for these.
    fn wake<K: Before<BioDone> + MayWake>(&self, cx: &mut Cx<K>, ended: Ended) {
        if ended.is_empty() {
            return;
        }
        {
            let _held = self.done.enter(cx);
            for pending in &ended {
                pending.ended.store(true, Ordering::Relaxed);
            }
        }
        for pending in &ended {
            pending.changed.signal(cx);
        }
    }

    /// Starts commands until one is under way or nothing waits.
    fn dispatch(&self, state: &mut State, cx: &mut Cx<BioQueue>) {
        if !state.late.is_empty() {
            self.admit_late(state, cx);
        }
        while state.active.is_none() && !state.out {
            let Some(device) = &mut state.device else {
                return;
            };
            let next = state.alone.pop();
            let Some(batch) = next.or_else(|| state.queue.next(device.limits())) else {
                return;
            };
            state.statistics.started(&batch);
            trace::event(Class::Bio, || Event::Start {
                op: batch.op as u8,
                transfers: batch.count() as u8,
                lba: batch.lba,
                sectors: batch.sectors as u32,
            });
            let progress = match batch.op {
                Op::Flush if device.has_volatile_cache() => {
                    state.chore = Some(Chore::Flush);
                    self.work.signal(cx);
                    Progress::Going
                }
                Op::Flush => Progress::Done,
                _ => device.start(&mut Command {
                    batch: &batch,
                    queue: &mut state.queue,
                }),
            };
            state.active = Some(Active {
                batch,
                started_ns: now_ns(),
                tries: 1,
                moved: false,
            });
            if progress == Progress::Going && !state.watched {
                state.watched = true;
                self.work.signal(cx);
            }
            self.went(state, cx, progress);
        }
    }

    /// Ends all that waits or is under way.
    fn fail_all(&self, state: &mut State, cx: &mut Cx<BioQueue>, error: DiskError) {
        const ALL: Limits = Limits {
            sectors: u64::MAX,
            segments: usize::MAX,
        };
        state.chore = None;
        if let Some(active) = state.active.take() {
            self.end(state, cx, active.batch, Err(error));
        }
        while let Some(batch) = state.alone.pop().or_else(|| state.queue.next(ALL)) {
            self.end(state, cx, batch, Err(error));
        }
        self.admit_late(state, cx); // to no medium
        self.room.broadcast(cx);
    }
}
