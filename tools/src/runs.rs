// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the console said in the last runs: numbered files, of which the latest are kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Logs that stay, the next one included.
const KEPT: usize = 20;
/// A link to the latest.
const LAST: &str = "last.log";

/// Makes the next log's file in `folder`, has `last.log` lead to it, and removes the oldest.
///
/// # Errors
/// The folder or a file in it cannot be written.
pub fn next(folder: &Path) -> Result<PathBuf> {
    let made = || -> std::io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let mut numbers: Vec<u32> = fs::read_dir(folder)?
            .filter_map(|entry| number(&entry.ok()?.path()))
            .collect();
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last + 1);
        let name = |number: u32| folder.join(format!("{number:04}.log"));
        for old in numbers.iter().rev().skip(KEPT - 1) {
            fs::remove_file(name(*old))?;
        }
        // Whoever comes at the same time gets another number, or an error.
        fs::File::create_new(name(next))?;
        let last = folder.join(LAST);
        if last.symlink_metadata().is_ok() {
            fs::remove_file(&last)?;
        }
        std::os::unix::fs::symlink(format!("{next:04}.log"), last)?;
        Ok(name(next))
    };
    made().with_context(|| format!("cannot keep a log in {}", folder.display()))
}

/// The number of a log.
fn number(path: &Path) -> Option<u32> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".log")?;
    let digits = stem.len() >= 4 && stem.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| stem.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_are_kept_and_others_files_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        for n in 1..=23 {
            let log = next(&runs).unwrap();
            assert_eq!(log, runs.join(format!("{n:04}.log")));
            fs::write(&log, n.to_string()).unwrap();
            fs::write(runs.join("mine.log"), "mine").unwrap();
        }
        let logs = fs::read_dir(&runs).unwrap();
        let mut logs: Vec<u32> = logs.filter_map(|e| number(&e.unwrap().path())).collect();
        logs.sort_unstable();
        assert_eq!(logs, (4..=23).collect::<Vec<_>>());
        assert_eq!(fs::read_to_string(runs.join(LAST)).unwrap(), "23");
        assert_eq!(fs::read_to_string(runs.join("mine.log")).unwrap(), "mine");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let said = next(Path::new("/dev/null/runs")).unwrap_err().to_string();
        assert!(said.contains("/dev/null/runs"), "{said}");
    }
}
