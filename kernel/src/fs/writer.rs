// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file being written.
//!
//! # Theory
//!
//! What is written goes to clusters that nothing leads to. When all of it is there, the file is given them at
//! once: they are joined to the file's end, or replace what the file had, by one write of its directory entry. So a
//! file is what it was before or what it was to become, also after a power cut and when the volume is full; and only
//! then are clusters freed. A file that replaces another needs room for both.

use super::boot::Geometry;
use super::error::Fault;
use super::fat::Volume;
use super::io::{Doing, When};
use super::slot::Slot;
use super::table::{self, END};
use crate::bio::BlockDevice;

/// What becomes of what a file holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It goes.
    Replace,
    /// What is written is added to it.
    Append,
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) id: u64,
    pub(super) slot: Slot,
    mode: Mode,
    /// It was made to be written, and goes if it is given up.
    made: bool,
    /// Its size when it is finished.
    size: u64,
    /// The first and the last new cluster.
    new: Option<(u32, u32)>,
    /// The cluster of the file that the first new one is joined to.
    tail: Option<u32>,
    /// Where the next byte goes, in bytes from the volume's start, and for how many bytes there is room there.
    at: u64,
    room: u64,
}

/// What a file being written is given up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// It was made to be written: nobody needs it.
    pub made: bool,
}

impl<D: BlockDevice> Volume<D> {
    /// Begins to write a file, and makes it if it is not there. Returns a number for it.
    ///
    /// # Errors
    /// [`Fault::BeingWritten`], those of [`Self::open`] and [`Self::make_dir`].
    pub fn create(&mut self, path: &[&str], mode: Mode) -> Result<u64, Fault> {
        let (slot, made) = match self.find(path) {
            Ok(Some(entry)) if !entry.is_directory() => (self.slot(path, &entry)?, false),
            Ok(_) => return Err(Fault::IsADirectory),
            Err(Fault::NotFound) => (self.make_file(path)?, true),
            Err(error) => return Err(error),
        };
        if self.writers.iter().any(|writer| writer.slot.at == slot.at) {
            return Err(Fault::BeingWritten);
        }
        self.written += 1;
        let mut writer = Writer {
            id: self.written,
            slot,
            mode,
            made,
            size: 0,
            new: None,
            tail: None,
            at: 0,
            room: 0,
        };
        if mode == Mode::Append && slot.size > 0 {
            self.go_to_the_end(&mut writer)?;
        }
        self.writers.push(writer);
        Ok(self.written)
    }

    fn go_to_the_end(&mut self, writer: &mut Writer) -> Result<(), Fault> {
        let Slot { size, first, .. } = writer.slot;
        self.check_contents(size, first)?;
        let cluster_bytes = u64::from(self.geometry.cluster_bytes);
        let length = size.div_ceil(cluster_bytes);
        let tail = table::nth(&self.io, &self.geometry, first, length as u32)?;
        self.cut(tail)?;
        writer.size = size;
        writer.tail = Some(tail);
        writer.room = length * cluster_bytes - size;
        writer.at = self.geometry.offset(tail) + cluster_bytes - writer.room;
        Ok(())
    }

    /// Ends a chain behind `cluster`. Only after a power cut is there more of it than its file needs.
    fn cut(&mut self, cluster: u32) -> Result<(), Fault> {
        if let Some(rest) = self.next(cluster).unwrap_or(Some(0)) {
            self.begin(Doing::Shrinking)?;
            self.shrunk += 1;
            self.io.set_entry(cluster, END, When::Link)?;
            table::free(&self.io, &self.geometry, rest)?;
        }
        Ok(())
    }

    /// Writes on in a file.
    ///
    /// # Errors
    /// [`Fault::Full`], [`Fault::TooLong`], [`Fault::Disk`]; the file must then be given up.
    pub fn write(&mut self, id: u64, buf: &[u8]) -> Result<(), Fault> {
        let mut writer = self.take_writer(id)?;
        let result = self.write_on(&mut writer, buf);
        self.writers.push(writer);
        result
    }

    fn write_on(&mut self, writer: &mut Writer, mut buf: &[u8]) -> Result<(), Fault> {
        if writer.size + buf.len() as u64 > u64::from(u32::MAX) {
            return Err(Fault::TooLong);
        }
        self.begin(Doing::Growing)?;
        while !buf.is_empty() {
            if writer.room == 0 {
                self.extend(writer, buf.len() as u64)?;
            }
            let (now, later) = buf.split_at(buf.len().min(writer.room as usize));
            self.io.write_at(writer.at, now, When::Contents)?;
            writer.at += now.len() as u64;
            writer.room -= now.len() as u64;
            writer.size += now.len() as u64;
            buf = later;
        }
        Ok(())
    }

    /// Takes clusters for `bytes` more, or as many as there are in one piece.
    fn extend(&mut self, writer: &mut Writer, bytes: u64) -> Result<(), Fault> {
        let Geometry { cluster_bytes, .. } = self.geometry;
        let most = bytes.div_ceil(cluster_bytes.into()) as u32;
        let (first, count) = table::take(&self.io, &self.geometry, self.hint, most)?;
        self.hint = first + count;
        writer.at = self.geometry.offset(first);
        writer.room = u64::from(count) * u64::from(cluster_bytes);
        let last = first + count - 1;
        writer.new = match writer.new {
            None => Some((first, last)),
            Some((begin, end)) => {
                self.io.set_entry(end, first, When::NewChain)?;
                Some((begin, last))
            }
        };
        Ok(())
    }

    /// Gives a file what was written.
    ///
    /// # Errors
    /// [`Fault::Disk`], [`Fault::Changed`]; the file is then as it was before, but clusters may be left that belong to
    /// nobody.
    pub fn finish(&mut self, id: u64) -> Result<(), Fault> {
        let writer = self.take_writer(id)?;
        match self.slot_again(&writer.slot) {
            Ok(now) => self.hand_over(&writer, now.first),
            Err(fault) => {
                self.give_back(&writer)?;
                Err(fault)
            }
        }
    }

    /// If it fails half-way, the new clusters are lost: something may lead to them.
    fn hand_over(&mut self, writer: &Writer, old: u32) -> Result<(), Fault> {
        let new = writer.new.map(|(first, _)| first);
        self.begin(Doing::Growing)?;
        let first = match (writer.mode, writer.tail) {
            (Mode::Append, Some(tail)) => {
                if let Some(new) = new {
                    self.io.set_entry(tail, new, When::Link)?;
                }
                old
            }
            _ => new.unwrap_or(0),
        };
        self.set_slot(&writer.slot, first, writer.size)?;
        if first != old && old != 0 {
            self.begin(Doing::Shrinking)?;
            self.shrunk += 1;
            table::free(&self.io, &self.geometry, old)?;
        }
        Ok(())
    }

    /// Gives up a file: it is as it was before. Says whether it was made to be written.
    ///
    /// # Errors
    /// [`Fault::Disk`]; then clusters may be left that belong to nobody.
    pub fn abandon(&mut self, id: u64) -> Result<GivenUp, Fault> {
        let writer = self.take_writer(id)?;
        self.give_back(&writer)?;
        Ok(GivenUp { made: writer.made })
    }

    /// Frees the clusters that nothing leads to yet.
    fn give_back(&mut self, writer: &Writer) -> Result<(), Fault> {
        if let Some((first, _)) = writer.new {
            self.begin(Doing::Shrinking)?;
            table::free(&self.io, &self.geometry, first)?;
        }
        Ok(())
    }

    fn take_writer(&mut self, id: u64) -> Result<Writer, Fault> {
        let found = self.writers.iter().position(|writer| writer.id == id);
        found
            .map(|at| self.writers.swap_remove(at))
            .ok_or(Fault::Unmounted)
    }
}
