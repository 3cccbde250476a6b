// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random work on a volume beside a table of what must come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use super::super::{Fault, FsError, Mode, Mounts};
use crate::bio::tests::Random;

/// Files and their contents; directories, by path without `/boot`.
pub(super) type Tree = BTreeMap<String, Option<Vec<u8>>>;

const NAMES: [&str; 12] = [
    "A",
    "README.TXT",
    "lower.txt",
    "Mixed.Case",
    "a long name with spaces.text",
    "a long name with space2.text",
    "a long name with space3.text",
    "Überraschung – 日本語.txt",
    ".hidden",
    "two.dots.in.it",
    "sub",
    "a directory with a name that takes three entries",
];

/// A volume at `/boot`, and what must be on it.
pub(super) struct Model {
    pub(super) mounts: Mounts,
    pub(super) tree: Tree,
    pub(super) random: Random,
    /// What each path that was touched since the last flush has been since: gone, or with some contents.
    pub(super) since: BTreeMap<String, Vec<Option<Option<Vec<u8>>>>>,
    /// The largest file.
    pub(super) most_bytes: u64,
    /// What was refused for want of space.
    pub(super) full: usize,
}

impl Model {
    pub(super) fn new(mounts: Mounts, seed: u64, most_bytes: u64) -> Self {
        Self {
            mounts,
            tree: Tree::new(),
            random: Random(seed),
            since: BTreeMap::new(),
            most_bytes,
            full: 0,
        }
    }

    fn pick(&mut self, directory: bool) -> Option<String> {
        let fit = self.tree.iter().filter(|(_, c)| c.is_none() == directory);
        let paths: Vec<String> = fit.map(|(path, _)| path.clone()).collect();
        let index = self.random.below(paths.len().max(1) as u64) as usize;
        paths.get(index).cloned()
    }

    /// A path that need not exist, in a directory that does.
    fn some_path(&mut self) -> String {
        let above = match self.random.below(3) {
            0 => String::new(),
            _ => self.pick(true).unwrap_or_default(),
        };
        let above = if above.matches('/').count() > 2 {
            String::new()
        } else {
            above
        };
        format!("{above}/{}", NAMES[self.random.below(12) as usize])
    }

    fn set(&mut self, path: &str, to: Option<Option<Vec<u8>>>) {
        let now = self.tree.get(path).cloned();
        let versions = self.since.entry(path.into()).or_insert_with(|| vec![now]);
        versions.push(to.clone());
        match to {
            Some(contents) => self.tree.insert(path.into(), contents),
            None => self.tree.remove(path),
        };
    }

    fn has_children(&self, path: &str) -> bool {
        let within = format!("{path}/");
        self.tree.keys().any(|other| other.starts_with(&within))
    }

    /// One random piece of work.
    pub(super) fn step(&mut self) {
        match self.random.below(20) {
            0..8 => self.write_some(),
            8..11 => {
                let path = self.some_path();
                self.make_dir(&path);
            }
            11..15 => self.remove(),
            15..18 => self.rename(),
            18 => self.give_up(),
            _ => self.read_some(),
        }
    }

    fn write_some(&mut self) {
        let again = self.random.below(2) == 0;
        let path = if again { self.pick(false) } else { None };
        let path = path.unwrap_or_else(|| self.some_path());
        let mode = [Mode::Append, Mode::Replace][self.random.below(2) as usize];
        let len = [0, 1, 512, 3000, self.most_bytes][self.random.below(5) as usize];
        let len = len.min(self.random.below(self.most_bytes + 1).max(len.min(600)));
        let bytes = self.random.bytes(len as usize);
        self.write(&path, mode, bytes);
    }

    pub(super) fn write(&mut self, path: &str, mode: Mode, bytes: Vec<u8>) {
        let before = self.tree.get(path).cloned();
        let result = self.write_file(path, mode, &bytes);
        match before {
            Some(None) => return expect(result, Fault::IsADirectory),
            // It is made first, and goes again if it cannot be written.
            None => self.set(path, Some(Some(vec![]))),
            _ => {}
        }
        let old = before.clone().flatten().filter(|_| mode == Mode::Append);
        match result {
            Ok(()) => {
                let all = [old.unwrap_or_default(), bytes].concat();
                self.set(path, Some(Some(all)));
            }
            Err(error) => {
                assert!(
                    matches!(error.fault, Fault::Full | Fault::DirectoryFull),
                    "{error}"
                );
                self.full += 1;
                self.set(path, before);
            }
        }
    }

    pub(super) fn write_file(
        &mut self,
        path: &str,
        mode: Mode,
        bytes: &[u8],
    ) -> Result<(), FsError> {
        let file = self.mounts.create(&format!("/boot{path}"), mode)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + self.random.below(5000) as usize));
            if let Err(error) = self.mounts.write(&file, now) {
                self.mounts.abandon(file).unwrap();
                return Err(error);
            }
            rest = later;
        }
        self.mounts.finish(file)
    }

    pub(super) fn make_dir(&mut self, path: &str) {
        match self.mounts.make_dir(&format!("/boot{path}")) {
            result if self.tree.contains_key(path) => expect(result, Fault::Exists),
            Ok(()) => self.set(path, Some(None)),
            Err(error) => {
                assert!(
                    matches!(error.fault, Fault::Full | Fault::DirectoryFull),
                    "{error}"
                );
                self.full += 1;
            }
        }
    }

    fn remove(&mut self) {
        let which = self.random.below(4) == 0;
        let Some(path) = self.pick(which) else { return };
        let result = self.mounts.remove(&format!("/boot{path}"));
        if self.has_children(&path) {
            return expect(result, Fault::NotEmpty);
        }
        result.unwrap();
        self.set(&path, None);
    }

    fn rename(&mut self) {
        let which = self.random.below(3) == 0;
        let Some(from) = self.pick(which) else { return };
        let to = self.some_path();
        let result = self
            .mounts
            .rename(&format!("/boot{from}"), &format!("/boot{to}"));
        if to != from && self.tree.contains_key(&to) {
            return expect(result, Fault::Exists);
        }
        if to.starts_with(&format!("{from}/")) {
            return assert!(matches!(result.unwrap_err().fault, Fault::Elsewhere(_)));
        }
        if let Err(error) = result {
            assert!(
                matches!(error.fault, Fault::Full | Fault::DirectoryFull),
                "{error}"
            );
            self.full += 1;
            return;
        }
        let within = format!("{from}/");
        let moved: BTreeSet<String> = self
            .tree
            .keys()
            .filter(|p| **p == from || p.starts_with(&within))
            .cloned()
            .collect();
        for path in moved {
            let contents = self.tree.get(&path).cloned();
            self.set(&path, None);
            self.set(&format!("{to}{}", &path[from.len()..]), contents);
        }
    }

    fn give_up(&mut self) {
        let path = self.some_path();
        let bytes = self.random.bytes(2000);
        let before = self.tree.get(&path).cloned();
        let Ok(file) = self.mounts.create(&format!("/boot{path}"), Mode::Replace) else {
            return;
        };
        let _ = self.mounts.write(&file, &bytes);
        expect(
            self.mounts.remove(&format!("/boot{path}")),
            Fault::BeingWritten,
        );
        self.mounts.abandon(file).unwrap();
        if before.is_none() {
            self.set(&path, Some(Some(vec![])));
            self.set(&path, None);
        }
    }

    fn read_some(&mut self) {
        let Some(path) = self.pick(false) else { return };
        let bytes = super::read(&mut self.mounts, &format!("/boot{path}"), 3000).unwrap();
        assert!(Some(&Some(bytes)) == self.tree.get(&path), "{path}");
    }

    /// What the mounted volume shows is what the table has.
    pub(super) fn compare(&mut self) {
        let mut seen = super::Seen::default();
        super::explore_dir(&mut self.mounts, "/boot", &mut seen);
        assert_eq!(seen.errors, [""; 0]);
        let files = self
            .tree
            .iter()
            .filter_map(|(p, c)| Some((format!("/boot{p}"), c.clone()?)));
        assert!(seen.files == files.collect(), "{:?}", seen.files.keys());
    }
}

#[track_caller]
fn expect(result: Result<(), FsError>, fault: Fault) {
    let error = result.unwrap_err();
    assert_eq!(error.fault, fault, "{error}");
}
