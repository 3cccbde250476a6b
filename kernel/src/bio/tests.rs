// SPDX-License-Identifier: MIT OR Apache-2.0
//! A disk in memory for the tests of all that lies on one: it fails on demand and keeps a record of what is written.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use super::request::{BlockDevice, Op, Ticket, Transfer, Wait};
use super::*;

/// What a disk was told, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Write(u64, Box<[u8; SECTOR_BYTES]>),
    Flush,
}

/// What can change of a disk.
#[derive(Clone, Default)]
pub(crate) struct State {
    patches: BTreeMap<u64, [u8; SECTOR_BYTES]>,
    pub(crate) log: Vec<Event>,
    pub(crate) keep_log: bool,
    pub(crate) bad: Option<u64>,
    pub(crate) bad_write: Option<u64>,
    pub(crate) bad_flush: bool,
    pub(crate) read_only: bool,
}

/// Shared sectors under private ones, so that a mutant costs only what differs.
#[derive(Default)]
pub(crate) struct MemDisk {
    pub(crate) base: Arc<Vec<u8>>,
    state: Arc<Mutex<State>>,
    /// Read commands and the sectors they moved. ORDERING: statistics of one thread.
    pub(crate) reads: Arc<AtomicU64>,
    pub(crate) moved: Arc<AtomicU64>,
}

impl Clone for MemDisk {
    /// The same contents, counted together, but written each by itself.
    fn clone(&self) -> Self {
        Self {
            state: Arc::new(Mutex::new(self.state().clone())),
            ..self.share()
        }
    }
}

impl MemDisk {
    pub(crate) fn new(base: Vec<u8>) -> Self {
        Self::over(Arc::new(base))
    }

    pub(crate) fn over(base: Arc<Vec<u8>>) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// Another handle on the same disk.
    pub(crate) fn share(&self) -> Self {
        Self {
            base: self.base.clone(),
            state: self.state.clone(),
            reads: self.reads.clone(),
            moved: self.moved.clone(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn sector(&self, lba: u64) -> [u8; SECTOR_BYTES] {
        let at = lba as usize * SECTOR_BYTES;
        let patch = self.state().patches.get(&lba).copied();
        patch.unwrap_or_else(|| self.base[at..at + SECTOR_BYTES].try_into().unwrap())
    }

    pub(crate) fn poke(&mut self, at: u64, bytes: &[u8]) {
        for (at, &byte) in (at..).zip(bytes) {
            let mut sector = self.sector(at / 512);
            sector[(at % 512) as usize] = byte;
            self.state().patches.insert(at / 512, sector);
        }
    }

    /// All of it.
    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut all = (*self.base).clone();
        for (lba, sector) in &self.state().patches {
            all[*lba as usize * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(sector);
        }
        all
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// One command, as long as its neighbours make it.
    fn command(&self, run: &mut [Transfer]) -> Result<(), DiskError> {
        for transfer in run.iter() {
            transfer.check(self.sectors())?;
        }
        if run[0].op == Op::Flush {
            let mut state = self.state();
            let failed = Err(DiskError::Device("cannot flush"));
            state.log.push(Event::Flush);
            return if state.bad_flush { failed } else { Ok(()) };
        }
        if run[0].op == Op::Read {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        for transfer in run.iter_mut() {
            let range = transfer.range.clone();
            match transfer.op {
                Op::Read => transfer.buffer.preread(range.clone()),
                _ => transfer.buffer.prewrite(range.clone()),
            }
            let memory = &mut transfer.buffer.device_bytes()[range.clone()];
            for (lba, sector) in (transfer.lba..).zip(memory.chunks_mut(SECTOR_BYTES)) {
                self.move_sector(transfer.op, lba, sector)?;
            }
            if transfer.op == Op::Read {
                transfer.buffer.postread(range);
            }
        }
        Ok(())
    }

    fn move_sector(&self, op: Op, lba: u64, sector: &mut [u8]) -> Result<(), DiskError> {
        if op == Op::Read {
            self.moved.fetch_add(1, Ordering::Relaxed);
            if self.state().bad == Some(lba) {
                return Err(DiskError::Medium { lba });
            }
            sector.copy_from_slice(&self.sector(lba));
            return Ok(());
        }
        let mut state = self.state();
        if state.read_only {
            return Err(DiskError::ReadOnly);
        }
        if state.bad_write == Some(lba) {
            return Err(DiskError::Unwritable { lba });
        }
        let sector: [u8; SECTOR_BYTES] = (&*sector).try_into().unwrap();
        state.patches.insert(lba, sector);
        if state.keep_log {
            state.log.push(Event::Write(lba, Box::new(sector)));
        }
        Ok(())
    }
}

impl BlockDevice for MemDisk {
    fn sectors(&self) -> u64 {
        (self.base.len() / SECTOR_BYTES) as u64
    }

    fn submit(&self, mut transfers: Vec<Transfer>) -> Vec<Ticket> {
        let joined = |a: &Transfer, b: &Transfer| a.op == b.op && a.end() == b.lba;
        for run in transfers.chunk_by_mut(joined) {
            let result = self.command(run);
            run.iter_mut().for_each(|transfer| transfer.result = result);
        }
        let ended = |transfer| Arc::new(Ended(Mutex::new(Some(transfer)))) as Ticket;
        transfers.into_iter().map(ended).collect()
    }
}

struct Ended(Mutex<Option<Transfer>>);

impl Wait for Ended {
    fn is_done(&self) -> bool {
        true
    }

    fn wait(self: Arc<Self>) -> Transfer {
        self.0.lock().unwrap().take().unwrap()
    }
}

/// Numbers that look random and are the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

#[test]
fn ranges_are_checked_without_overflow() {
    assert_eq!(check_range(0, 1024, 2), Ok(2));
    assert_eq!(check_range(2, 0, 2), Ok(0));
    let bytes = 100;
    assert_eq!(
        check_range(0, bytes, 2),
        Err(DiskError::Misaligned { bytes })
    );
    for lba in [1, 2, 3, u64::MAX] {
        assert!(matches!(
            check_range(lba, 1024, 2),
            Err(DiskError::OutOfRange { count: 2, .. })
        ));
    }
}
