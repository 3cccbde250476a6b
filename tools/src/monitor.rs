// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's monitor on a socket: one command a connection.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

const PROMPT: &str = "(qemu) ";
const PATIENCE: Duration = Duration::from_secs(20);

/// The argument of `-monitor` for a socket.
pub fn argument(socket: &Path) -> OsString {
    let mut argument = OsString::from("unix:");
    argument.push(socket);
    argument.push(",server=on,wait=off");
    argument
}

/// Gives a command, and returns the answer.
///
/// # Errors
/// QEMU does not listen, or does not answer.
pub fn ask(socket: &Path, command: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket).context("QEMU's monitor")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    read_answer(&mut stream)?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let answer = read_answer(&mut stream)?;
    stream.shutdown(Shutdown::Both)?;
    // The monitor echoes the command, letter by letter, and the last line is its prompt.
    let lines: Vec<_> = answer.lines().skip(1).collect();
    let lines = &lines[..lines.len().saturating_sub(1)];
    Ok(lines.join("\n").trim().to_owned())
}

fn read_answer(stream: &mut UnixStream) -> Result<String> {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(PROMPT.as_bytes()) {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
