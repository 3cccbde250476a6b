// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mount`, `umount`, `sync`, `df`: volumes.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal};
use crate::fs::FsError;
use crate::storage::{self, MOUNTS};
use crate::thread::ThreadCx;
use core::fmt::Write;

pub const MOUNT: Command = Command {
    name: "mount",
    arguments: "[DISK[:PARTITION] NAME]",
    summary: "look for a card and mount its boot partition",
    details: "An earlier card is unmounted first. With arguments: mount a partition, or a\n\
              disk that is one FAT volume, as /NAME. df lists what is mounted.\n\
              Example: mount card:3 data",
    takes_paths: false,
    run: mount,
};

fn mount(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(2)?;
    let Some(source) = call.words.first() else {
        let mounted = storage::mount_boot(cx).map_err(Refusal)?;
        writeln!(out, "{mounted}")?;
        return Ok(());
    };
    let name = call.word(1)?.trim_matches('/');
    if name.is_empty() || name.contains('/') {
        return Err(Refusal("a volume is mounted as /NAME, one name".into()));
    }
    storage::mount(cx, source, name).map_err(Refusal)
}

pub const UMOUNT: Command = Command {
    name: "umount",
    arguments: "NAME",
    summary: "write a volume's changes and let it go",
    details: "If that fails it stays mounted; mount then forgets it. Example: umount /boot",
    takes_paths: true,
    run: umount,
};

fn umount(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let name = call.word(0)?.trim_matches('/');
    Ok(MOUNTS.enter(cx).0.unmount(name)?)
}

pub const SYNC: Command = Command {
    name: "sync",
    arguments: "",
    summary: "write what has changed to the media",
    details: "When it has ended, a power cut loses nothing written before. Example: sync",
    takes_paths: false,
    run: sync,
};

fn sync(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    Ok(MOUNTS.enter(cx).0.flush(true)?)
}

pub const DF: Command = Command {
    name: "df",
    arguments: "",
    summary: "volumes: where, size, free space, cache",
    details: "dirty: what waits in memory to be written. Reads and writes of the cache are\n\
              runs of sectors; ahead: read before anybody asked. Example: df",
    takes_paths: false,
    run: df,
};

fn df(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    let (mut mounts, _) = MOUNTS.enter(cx);
    let mounted: alloc::vec::Vec<_> = mounts
        .sources()
        .map(|(name, source)| {
            (
                alloc::format!("/{name}"),
                alloc::string::String::from(source),
            )
        })
        .collect();
    if mounted.is_empty() {
        return Err(Refusal("nothing is mounted; mount looks for a card".into()));
    }
    writeln!(
        out,
        "volume      on            size KiB    free KiB   dirty KiB  kind, label"
    )?;
    for (name, source) in mounted {
        let Some(volume) = mounts.volume(&name[1..]) else {
            continue;
        };
        let at = |fault| FsError {
            path: name.clone(),
            fault,
        };
        let (g, s) = (volume.geometry(), volume.stats());
        let size = (u64::from(g.clusters) * u64::from(g.cluster_bytes)) >> 10;
        let free = volume.free_bytes().map_err(at)? >> 10;
        let (dirty, label) = (volume.dirty_kib(), volume.label().map_err(at)?);
        let kind = g.width;
        writeln!(
            out,
            "{name:<10}  {source:<8}  {size:>12}  {free:>10}  {dirty:>10}  {kind} \"{label}\""
        )?;
        writeln!(
            out,
            "  cache: {} reads of {} sectors, {} ahead; {} hits",
            s.reads, s.sectors_read, s.sectors_ahead, s.hits
        )?;
        writeln!(
            out,
            "         {} writes of {} sectors, {} flushes; {} errors",
            s.writes, s.sectors_written, s.flushes, s.errors
        )?;
    }
    Ok(())
}
