// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must not compile does not, for the reason that it should, and its twin does.
//!
//! A case is one file in `compile_fail/` that holds two programs: a line that ends in `//~ bad` belongs to the one
//! that the compiler must refuse, `//~ good` to the one that it must take, all others to both. The file names the error
//! code that refuses (`//@ error:`). Each error must have that code and lie on a bad line, or on a common one that ends in
//! `//~ refused`: so that it is this that is refused, and not a spelling mistake elsewhere. The compiler's words change
//! from release to release and are not looked at.
mod rustc;

use rustc::{Error, Rustc};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const BAD: &str = "//~ bad";
const GOOD: &str = "//~ good";
const REFUSED: &str = "//~ refused";

/// The program that is left when `kind`'s lines are taken out; line numbers stay.
fn without(text: &str, kind: &str) -> String {
    let keep = |line: &str| !line.ends_with(kind);
    let lines = text.lines().map(|line| if keep(line) { line } else { "" });
    lines.collect::<Vec<_>>().join("\n")
}

/// What is wrong with the case, if anything.
fn judge(rustc: &Rustc, case: &Path) -> Result<(), String> {
    let name = case.file_stem().unwrap().to_str().unwrap();
    let text = fs::read_to_string(case).unwrap();
    let mut codes = text.lines().filter_map(|l| l.strip_prefix("//@ error: "));
    let code = codes.next().ok_or("it names no error code")?;
    for kind in [BAD, GOOD] {
        if !text.lines().any(|line| line.ends_with(kind)) {
            return Err(format!("it has no line that ends in {kind}"));
        }
    }
    let good = rustc.text(&format!("{name}_good"), &without(&text, BAD));
    if !good.is_empty() {
        return Err(format!("the good twin is refused: {good:?}"));
    }
    let bad = rustc.text(&format!("{name}_bad"), &without(&text, GOOD));
    if bad.is_empty() {
        return Err("the bad twin compiles".to_owned());
    }
    let marked = |line: &str| line.ends_with(BAD) || line.ends_with(REFUSED);
    let expected = |error: &Error| {
        error.code.as_deref() == Some(code) && text.lines().nth(error.line - 1).is_some_and(marked)
    };
    if !bad.iter().all(expected) {
        return Err(format!("expected {code} on a marked line, got {bad:?}"));
    }
    Ok(())
}

#[test]
#[cfg_attr(miri, ignore = "it runs the compiler")]
fn what_must_not_compile_does_not_and_its_twin_does() {
    let rustc = Rustc::new("compile_fail");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let listed = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut cases: Vec<PathBuf> = listed.filter(|path| !path.ends_with("world.rs")).collect();
    cases.sort();
    assert!(cases.len() >= 24, "only {} cases are left", cases.len());

    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|s| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            s.spawn(|| {
                // ORDERING: only distinct numbers are wanted.
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = judge(&rustc, case) {
                        let name = case.file_name().unwrap().display();
                        failures.lock().unwrap().push(format!("{name}: {why}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Not `println!`, which is shown of tests that fail only.
    let mut out = std::io::stdout().lock();
    let n = cases.len();
    let _shown = writeln!(
        out,
        "{n} cases: each refused for its reason, each beside a twin that compiles"
    );
}
