// SPDX-License-Identifier: MIT OR Apache-2.0
//! What measurements come to, for `make bench`: each program of a measurement writes its figures to a file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A figure, and its peer's if it has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured; the same in every run.
    pub name: String,
    /// Of `ours` and `peer`.
    pub unit: String,
    /// The kernel's.
    pub ours: f64,
    /// The same of somebody else, measured in the same run.
    pub peer: Option<f64>,
    /// Less is better.
    pub less: bool,
    /// Counted, not timed: it repeats.
    pub counted: bool,
}

impl Figure {
    /// Instructions of a path, counted.
    pub fn instructions(name: impl Into<String>, ours: f64, peer: Option<f64>) -> Self {
        let (name, unit) = (name.into(), "instructions".to_owned());
        Self {
            name,
            unit,
            ours,
            peer,
            less: true,
            counted: true,
        }
    }

    /// A rate that was timed.
    pub fn rate(name: impl Into<String>, unit: &str, ours: f64, peer: Option<f64>) -> Self {
        let (name, unit) = (name.into(), unit.to_owned());
        Self {
            name,
            unit,
            ours,
            peer,
            less: false,
            counted: false,
        }
    }

    /// How many times better than the peer.
    pub fn ratio(&self) -> Option<f64> {
        let peer = self.peer?;
        let ratio = if self.less {
            peer / self.ours
        } else {
            self.ours / peer
        };
        ratio.is_finite().then_some(ratio)
    }
}

/// Where a program's figures go, if anywhere.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Json {
    /// Write the figures to this file, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Json {
    /// Writes them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, figures: &[Figure]) -> Result<()> {
        match &self.json {
            Some(file) => crate::write(file, &serde_json::to_vec_pretty(figures)?),
            None => Ok(()),
        }
    }
}

/// Reads what a program wrote.
///
/// # Errors
/// There is no such file, or it holds something else.
pub fn read(file: &Path) -> Result<Vec<Figure>> {
    let bytes = crate::read(file, "a measurement writes it")?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_how_many_times_better() {
        let less = Figure::instructions("a", 100.0, Some(200.0));
        assert_eq!(less.ratio(), Some(2.0));
        let more = Figure::rate("a", "MiB/s", 100.0, Some(200.0));
        assert_eq!(more.ratio(), Some(0.5));
        assert_eq!(Figure::rate("a", "x", 1.0, None).ratio(), None);
        assert_eq!(Figure::rate("a", "x", 1.0, Some(0.0)).ratio(), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let json = Json {
            json: Some(folder.path().join("sub/x.json")),
        };
        let figures = [Figure::rate("a, b", "MiB/s", 1.5, Some(2.0))];
        json.write(&figures).unwrap();
        assert_eq!(read(json.json.as_deref().unwrap()).unwrap(), figures);
        assert!(Json::default().write(&figures).is_ok());
    }
}
