// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiler, run on small programs that use `sync` and `world.rs`, the machine and the locks of all of them.
//!
//! It is the one that builds this test. Nothing is linked: types and borrows are what is looked at.
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An error of the compiler.
#[derive(Debug)]
#[allow(dead_code)] // each test looks at a part
pub struct Error {
    /// `E0277`, if it has one.
    pub code: Option<String>,
    /// Where its first span begins, from 1.
    pub line: usize,
    /// Its first line.
    pub message: String,
}

/// A folder with `sync` and `world` as libraries; goes with this.
pub struct Rustc(PathBuf);

impl Drop for Rustc {
    fn drop(&mut self) {
        let _leftovers_are_harmless = fs::remove_dir_all(&self.0);
    }
}

impl Rustc {
    /// `test` tells apart what runs at the same time.
    pub fn new(test: &str) -> Self {
        let rustc = Self(env::temp_dir().join(format!("{test}-{}", std::process::id())));
        fs::create_dir_all(&rustc.0).unwrap();
        let sync = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, file) in [
            ("sync", "src/lib.rs"),
            ("world", "tests/compile_fail/world.rs"),
        ] {
            let errors = rustc.file(name, &sync.join(file));
            assert!(errors.is_empty(), "{file}: {errors:?}");
        }
        rustc
    }

    /// Compiles the library `name` from `text`.
    pub fn text(&self, name: &str, text: &str) -> Vec<Error> {
        let source = self.0.join(name).with_extension("rs");
        fs::write(&source, text).unwrap();
        self.file(name, &source)
    }

    fn file(&self, name: &str, source: &Path) -> Vec<Error> {
        let folder = self.0.as_path();
        let output = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata"])
            .args(["--cap-lints=allow", "--error-format=short", "--color=never"])
            .args(["--extern=sync", "--extern=world", "--crate-name", name])
            .args([Path::new("--out-dir"), folder, Path::new("-L"), folder])
            .arg(source)
            .output()
            .expect("rustc starts");
        let said = String::from_utf8(output.stderr).expect("rustc writes UTF-8");
        let errors: Vec<Error> = said.lines().filter_map(parse).collect();
        let consistent = output.status.success() == errors.is_empty();
        assert!(consistent, "{name}: {}: {said}", output.status);
        errors
    }
}

/// Reads `path:line:column: error[code]: message`.
fn parse(text: &str) -> Option<Error> {
    let (place, error) = text.split_once(": error")?;
    let (code, message) = error.split_once(": ")?;
    let code = code.strip_prefix('[').and_then(|c| c.strip_suffix(']'));
    Some(Error {
        code: code.map(str::to_owned),
        line: place.rsplit(':').nth(1)?.parse().ok()?,
        message: message.to_owned(),
    })
}
