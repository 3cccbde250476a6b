// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the manual pages show compiles, and what they say that the compiler refuses it does refuse, in those words.
//!
//! A block of `rust` must compile, with `compile_fail/world.rs` at hand: the table of lock classes that
//! locking(9) shows, and a lock of each. One of `rust,E0277` must be refused with that code; the block of `text` after it
//! shows the compiler's answer, of which the first line must be true.
mod rustc;

use rustc::Rustc;
use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block: what its fence says, and its text.
type Block<'a> = (&'a str, String);

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(info) if !inside => {
                found.push((info, String::new()));
                inside = true;
            }
            Some(_) => inside = false,
            None if inside => {
                let (_, text) = found.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    found
}

fn pages() -> Vec<(String, String)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let listed = fs::read_dir(docs).unwrap().map(|e| e.unwrap().path());
    let mut pages: Vec<PathBuf> = listed
        .filter(|p| p.to_string_lossy().ends_with(".9.md"))
        .collect();
    pages.sort();
    let read = |p: PathBuf| {
        let name = p.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(p).unwrap())
    };
    pages.into_iter().map(read).collect()
}

#[test]
#[cfg_attr(miri, ignore = "it runs the compiler")]
fn the_examples_of_the_manual_compile_and_its_errors_are_real() {
    let rustc = Rustc::new("manual");
    let (mut compiled, mut refused) = (0, 0);
    for (page, text) in pages() {
        let blocks = blocks(&text);
        for (i, (info, code)) in blocks.iter().enumerate() {
            let program = format!("use world::*;\n{code}");
            let name = format!("{}_{i}", page.replace('.', "_"));
            if *info == "rust" {
                let errors = rustc.text(&name, &program);
                assert!(errors.is_empty(), "{page}: {errors:#?} in\n{code}");
                compiled += 1;
            } else if let Some(expected) = info.strip_prefix("rust,") {
                let errors = rustc.text(&name, &program);
                assert_eq!(errors.len(), 1, "{page}: {errors:#?} in\n{code}");
                assert_eq!(errors[0].code.as_deref(), Some(expected), "{page}:\n{code}");
                let said = format!("error[{expected}]: {}", errors[0].message);
                let said = said.replace("world::", ""); // which it says or not, as names are ambiguous or not
                let answer = blocks.get(i + 1).filter(|(info, _)| *info == "text");
                let shown = answer.and_then(|(_, text)| text.lines().next());
                let shown = shown.unwrap_or_else(|| panic!("{page}: no answer follows\n{code}"));
                assert!(said.starts_with(shown), "{page}: {shown}\nit says: {said}");
                refused += 1;
            }
        }
    }
    assert!(compiled > 0 && refused > 0, "no examples found");
}

#[test]
#[cfg_attr(miri, ignore = "it reads files")]
fn the_table_that_locking_shows_is_that_of_the_examples() {
    let world = include_str!("compile_fail/world.rs");
    let (start, end) = ("sync::lock_order! {", "\n}\n");
    let from = world.find(start).expect("world.rs has a table");
    let table = &world[from..from + world[from..].find(end).unwrap() + end.len()];
    let pages = pages();
    let locking = pages.iter().find(|(name, _)| name == "locking.9.md");
    assert!(
        locking.expect("locking(9)").1.contains(table),
        "shown: another than\n{table}"
    );
}
