// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device pack, as QEMU's command line sees it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// The object that is preloaded into QEMU.
pub fn object() -> Result<PathBuf> {
    // The loader wants a path with a slash in it; an absolute one suits every folder.
    let object = crate::root().join("target/debug/libpi4_devices.so");
    ensure!(
        object.exists(),
        "there is no device pack {}; `cargo build -p pi4-devices` builds it",
        object.display()
    );
    Ok(object)
}

/// The argument of `-drive` for the card in the board's slot.
pub fn drive(card: &Path) -> OsString {
    let mut drive = OsString::from("if=sd,format=raw,file=");
    // QEMU's option lists end at a comma; two stand for one.
    drive.push(card.to_string_lossy().replace(',', ",,"));
    drive
}
