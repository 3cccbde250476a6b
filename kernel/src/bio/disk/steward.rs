// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steward: the thread of a device that does what takes time, with the device out of the lock.
//!
//! It looks at a running command every [`LOOK_NS`]: an interrupt that was lost is found there, and after [`TIMEOUT_NS`]
//! the command is given up. An idle device costs no look.
//!
//! The rest of the theory, and the lock order, are those of [`super`].
use super::{Chore, Disk, State, Strategy};
use super::{Command, Progress};
use crate::bio::DiskError;
use crate::bio::request::Op;
use crate::lock_order::BioQueue;
use crate::thread::{self, ThreadCx};
use alloc::boxed::Box;
use bsp::timer::now_ns;
use sync::domain::Cx;

/// Times that a command is tried.
pub const TRIES: u32 = 3;
/// How often the steward looks whether a command has ended.
const LOOK_NS: u64 = 500_000_000;
/// After this a command is taken for lost. A card may be busy for 500 ms, and the controller's own time-out is 2.7 s.
const TIMEOUT_NS: u64 = 5_000_000_000;

impl Disk {
    /// The steward.
    pub(super) fn serve(&self, cx: &mut ThreadCx) {
        loop {
            let (chore, mut device) = self.wait_for_work(cx);
            let done = match chore {
                Chore::Recover(_) => recover(cx, device.as_mut()),
                Chore::Flush => device.flush(),
            };
            self.put_back(cx, chore, device, done);
        }
    }

    /// Waits until there is a chore, and takes the device.
    fn wait_for_work(&self, cx: &mut ThreadCx) -> (Chore, Box<dyn Strategy>) {
        let (mut state, mut cx) = self.state.enter(cx);
        loop {
            self.wake(&mut cx, core::mem::take(&mut state.ended));
            if let Some(chore) = state.chore.take()
                && let Some(device) = state.device.take()
            {
                state.out = true;
                return (chore, device);
            }
            let Some(active) = &state.active else {
                state.watched = false;
                self.work.wait(&mut state, &mut cx);
                continue;
            };
            let (started_ns, now) = (active.started_ns, now_ns());
            if now < started_ns + LOOK_NS {
                let _either = (self.work).timed_wait(&mut state, &mut cx, started_ns + LOOK_NS);
                continue;
            }
            if self.look(&mut state, &mut cx, |device, command| device.look(command)) {
                state.statistics.lost_interrupts += 1;
                continue;
            }
            if now > started_ns + TIMEOUT_NS && state.chore.is_none() {
                state.statistics.timeouts += 1;
                self.look(&mut state, &mut cx, |device, command| {
                    device.give_up(command)
                });
            }
            if state.chore.is_none() {
                let _either = (self.work).timed_wait(&mut state, &mut cx, now + LOOK_NS);
            }
        }
    }

    /// Puts the device back, and has it go on.
    fn put_back(
        &self,
        cx: &mut ThreadCx,
        chore: Chore,
        device: Box<dyn Strategy>,
        done: Result<(), DiskError>,
    ) {
        let (mut state, mut cx) = self.state.enter(cx);
        let (state, cx) = (&mut *state, &mut cx);
        state.out = false;
        state.device = Some(device);
        match (chore, done) {
            (Chore::Flush, Ok(())) => self.went(state, cx, Progress::Done),
            (Chore::Flush, Err(error)) => self.went(state, cx, Progress::Failed(error)),
            (Chore::Recover(error), Ok(())) => self.try_again(state, cx, error),
            (Chore::Recover(_), Err(error)) => {
                state.device = None;
                self.fail_all(state, cx, error);
            }
        }
        self.inbox.open();
        self.dispatch(state, cx);
        self.close_inbox(state, cx);
        self.room.broadcast(cx);
    }

    /// Tries the command once more that failed with `error`, or its transfers one by one, or not.
    fn try_again(&self, state: &mut State, cx: &mut Cx<BioQueue>, error: DiskError) {
        let Some(mut active) = state.active.take() else {
            return;
        };
        if active.tries < TRIES && error.may_pass() {
            state.statistics.retries += 1;
            active.tries += 1;
            active.started_ns = now_ns();
            let flush = active.batch.op == Op::Flush || active.moved;
            let progress = match &mut state.device {
                Some(device) if !flush => device.start(&mut Command {
                    batch: &active.batch,
                    queue: &mut state.queue,
                }),
                _ => Progress::Going,
            };
            if flush {
                state.chore = Some(Chore::Flush);
            }
            state.active = Some(active);
            self.went(state, cx, progress);
        } else if active.batch.count() > 1 {
            state.statistics.retries += 1;
            while let Some(part) = state.queue.split_last(&mut active.batch) {
                state.alone.push(part);
            }
        } else {
            self.end(state, cx, active.batch, Err(error));
        }
    }
}

/// Contacts bounce, and cards tidy up: what is not there may be in a moment.
fn recover(cx: &mut ThreadCx, device: &mut dyn Strategy) -> Result<(), DiskError> {
    for _ in 1..TRIES {
        if let Ok(recovered) = device.recover() {
            return Ok(recovered);
        }
        thread::sleep_until(cx, now_ns() + LOOK_NS);
    }
    device.recover()
}
