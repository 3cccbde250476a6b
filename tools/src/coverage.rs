// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which lines of a package its own host tests reach.
//!
//! # Theory
//! The compiler counts (`-Cinstrument-coverage`), the tests run, and the toolchain's `llvm-profdata` and `llvm-cov` tell
//! for each line how often it ran. Code that only tests have is no merit and no fault: modules declared under
//! `#[cfg(test)]` do not count, nor does what follows `#[cfg(test)]` and a module's brace at the bottom of a file.
//!
//! # References
//! The rustc book, "Instrumentation-based code coverage"; lcov's geninfo(1) for the tracefile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cargo_metadata::Message;

/// How often each line of a file ran, of the lines that have code.
pub type Lines = BTreeMap<usize, u64>;

/// A file's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// With code.
    pub lines: usize,
    /// That ran.
    pub covered: usize,
}

impl Share {
    /// Of these lines.
    pub fn of(lines: &Lines) -> Self {
        Self {
            lines: lines.len(),
            covered: lines.values().filter(|count| **count > 0).count(),
        }
    }

    /// Both together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            lines: self.lines + other.lines,
            covered: self.covered + other.covered,
        }
    }

    /// In percent; of no lines, all.
    pub fn percent(self) -> f64 {
        if self.lines == 0 {
            return 100.0;
        }
        100.0 * self.covered as f64 / self.lines as f64
    }
}

/// Runs `package`'s tests in the workspace at `root`, and tells the lines of its files by path from there.
pub fn measure(root: &Path, package: &str) -> Result<BTreeMap<String, Lines>> {
    let target = root.join("target/coverage");
    let programs = build(root, &target, package)?;
    ensure!(!programs.is_empty(), "{package} has no tests");
    let raw = target.join("profraw");
    if raw.exists() {
        fs::remove_dir_all(&raw)?;
    }
    for (program, folder) in &programs {
        let status = Command::new(program)
            .env("LLVM_PROFILE_FILE", raw.join("%p-%m.profraw"))
            .arg("-q")
            .current_dir(folder)
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        ensure!(status.success(), "a test of {package} failed");
    }
    let tracefile = export(&target, &raw, &programs)?;
    let mut files = parse(&tracefile, root);
    let tests = test_modules(root, files.keys())?;
    files.retain(|file, _| !tests.iter().any(|t| file.starts_with(t.as_str())));
    for (file, lines) in &mut files {
        if let Some(first) = test_line(&fs::read_to_string(root.join(file))?) {
            lines.retain(|line, _| *line < first);
        }
    }
    Ok(files)
}

/// The package's test programs, built to count, and where each wants to run.
fn build(root: &Path, target: &Path, package: &str) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut cargo = Command::new("cargo")
        .args(["test", "-q", "--no-run", "--message-format=json", "-p"])
        .arg(package)
        .env("RUSTFLAGS", "-Cinstrument-coverage")
        .env("CARGO_TARGET_DIR", target)
        // Build scripts count, too.
        .env("LLVM_PROFILE_FILE", target.join("build-%m.profraw"))
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = cargo.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(program) = artifact.executable
        {
            let folder = artifact.manifest_path.parent().context("no folder")?;
            programs.push((program.into(), folder.into()));
        }
    }
    ensure!(cargo.wait()?.success(), "cargo could not build {package}");
    Ok(programs)
}

/// What `llvm-cov` makes of the counts: lcov's tracefile.
fn export(target: &Path, raw: &Path, programs: &[(PathBuf, PathBuf)]) -> Result<String> {
    let merged = target.join("merged.profdata");
    let mut merge = tool("llvm-profdata")?;
    merge.args(["merge", "-sparse", "-o"]).arg(&merged);
    for file in fs::read_dir(raw).context("the tests left no counts")? {
        merge.arg(file?.path());
    }
    ensure!(merge.status()?.success(), "llvm-profdata failed");
    let mut export = tool("llvm-cov")?;
    export.args(["export", "-format=lcov", "-instr-profile"]);
    export.arg(&merged).arg(&programs[0].0);
    for (program, _) in &programs[1..] {
        export.arg("-object").arg(program);
    }
    let output = export.output()?;
    ensure!(output.status.success(), "llvm-cov failed");
    Ok(String::from_utf8(output.stdout)?)
}

/// A program of rustup's component `llvm-tools`.
fn tool(name: &str) -> Result<Command> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .context("cannot start rustc")?;
    let libraries = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let path = libraries.with_file_name("bin").join(name);
    ensure!(path.is_file(), "no {name}; `make setup` installs it");
    Ok(Command::new(path))
}

/// The lines of the files below `root`, of a tracefile.
fn parse(tracefile: &str, root: &Path) -> BTreeMap<String, Lines> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    let mut file = None;
    for record in tracefile.lines() {
        if let Some(path) = record.strip_prefix("SF:") {
            let below = Path::new(path).strip_prefix(root).ok();
            file = below.and_then(|p| p.to_str()).map(str::to_owned);
        } else if let (Some(file), Some(data)) = (&file, record.strip_prefix("DA:"))
            && let Some((line, count)) = data.split_once(',')
            && let (Ok(line), Ok(count)) = (line.parse(), count.parse::<u64>())
        {
            *files
                .entry(file.clone())
                .or_default()
                .entry(line)
                .or_default() += count;
        }
    }
    files
}

/// What the paths of modules begin with that only tests have.
fn test_modules<'a>(
    root: &Path,
    files: impl Iterator<Item = &'a String>,
) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(root.join(file))?;
        let folder = match file.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder,
            _ => file.trim_end_matches(".rs"),
        };
        for module in test_declarations(&text) {
            found.insert(format!("{folder}/{module}.rs"));
            found.insert(format!("{folder}/{module}/"));
        }
    }
    Ok(found)
}

/// The modules in files of their own that `text` declares for tests only.
fn test_declarations(text: &str) -> Vec<&str> {
    let lines = text.lines().zip(text.lines().skip(1));
    let declared = lines.filter(|(first, _)| first.trim() == "#[cfg(test)]");
    declared
        .filter_map(|(_, line)| line.strip_suffix(';')?.rsplit_once("mod "))
        .map(|(_, module)| module)
        .collect()
}

/// The line from which on `text` has tests only.
fn test_line(text: &str) -> Option<usize> {
    let mut lines = (1..).zip(text.lines().zip(text.lines().skip(1)));
    let found = lines.find(|(_, (first, second))| {
        first.trim() == "#[cfg(test)]" && second.contains("mod ") && second.ends_with('{')
    });
    found.map(|(line, _)| line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracefile_is_read_and_foreign_files_are_not() {
        let tracefile = "SF:/w/a/src/x.rs\nFN:1,f\nDA:1,2\nDA:2,0\nDA:1,3\nend_of_record\n\
                         SF:/home/y.rs\nDA:1,1\nend_of_record\n";
        let files = parse(tracefile, Path::new("/w"));
        assert_eq!(files.len(), 1);
        let share = Share::of(&files["a/src/x.rs"]);
        assert_eq!((share.lines, share.covered), (2, 1));
        assert!((share.percent() - 50.0).abs() < 1e-9);
        assert_eq!(files["a/src/x.rs"][&1], 5);
        assert!((Share::default().percent() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn what_only_tests_have_is_found() {
        let text = "mod a;\n#[cfg(test)]\npub(crate) mod bench;\n#[cfg(test)]\nuse x;\nfn f() {}\n\
                    #[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        assert_eq!(test_declarations(text), ["bench"]);
        assert_eq!(test_line(text), Some(7));
        assert_eq!(test_line("#[cfg(test)]\nmod tests;\n"), None);
    }
}
