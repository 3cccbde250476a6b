// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows that the checks of `sync` can fail: weakens the locks, one place at a time, and runs what should notice.
//!
//! `sync/mutants/` lists the mutants: each ordering weakened, each second look dropped, each rule of policy changed.
//! Each is applied to a copy of the crate below `target/mutants`, built, and the checks that it names are run until one
//! fails. A check that does not end counts as failed; a mutant that does not build counts as nothing, and ends the run,
//! as does one whose text is not found exactly once.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Message;
use serde::Deserialize;

/// Mutants at work at a time, each in a tree of its own.
const JOBS: usize = 2;
/// How long a check may take before it counts as not ending: several times what the longest takes.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    /// In `sync/src`.
    file: String,
    /// The function's head that the text is in, if it stands in several.
    within: Option<String>,
    text: String,
    put: String,
    /// Checks that should notice, most likely first.
    kill: Vec<String>,
    /// Why none does, if none does.
    survives: Option<String>,
    /// A module of checks of which no other than that one may notice.
    spares: Option<String>,
}

/// A check, as the table writes it: `loom:name`, `shuttle:name`, or for a test without a model checker its program and
/// name: `scenarios:name`, `watchers:name`, `lib:name` (beside the code).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Check {
    build: Build,
    name: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Build {
    Loom,
    Shuttle,
    Scenarios,
    Watchers,
    Lib,
}

impl Check {
    fn parse(text: &str) -> Result<Self> {
        let (build, name) = text.split_once(':').context("a check is BUILD:NAME")?;
        let build = match build {
            "loom" => Build::Loom,
            "shuttle" => Build::Shuttle,
            "scenarios" => Build::Scenarios,
            "watchers" => Build::Watchers,
            "lib" => Build::Lib,
            _ => bail!("{text}: the builds are loom, shuttle, scenarios, watchers, lib"),
        };
        let name = name.to_owned();
        Ok(Self { build, name })
    }
}

impl Build {
    fn name(self) -> &'static str {
        match self {
            Build::Loom => "loom",
            Build::Shuttle => "shuttle",
            Build::Scenarios => "scenarios",
            Build::Watchers => "watchers",
            Build::Lib => "lib",
        }
    }

    fn cargo(self, tree: &Path, target: &Path) -> Command {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(tree)
            .args(["test", "-p", "sync", "--no-run", "--profile", "model"]);
        let target = match self {
            Build::Loom | Build::Shuttle => {
                cargo.args(["--test", "model"]);
                cargo.env("RUSTFLAGS", format!("--cfg {}", self.name()));
                target.join(self.name())
            }
            Build::Lib => {
                cargo.args(["--features", "host", "--lib"]);
                target.join("host")
            }
            Build::Scenarios | Build::Watchers => {
                cargo.args(["--features", "host", "--test", self.name()]);
                target.join("host")
            }
        };
        cargo.env("CARGO_TARGET_DIR", target);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        cargo
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.build.name(), self.name)
    }
}

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NeverEnded,
}

/// A copy of the crate, where it is mutated.
struct Tree {
    root: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Copies the workspace's `sync`, with as much of the workspace as it needs.
    fn new(workspace: &Path, job: usize) -> Result<Self> {
        // Not where others build: cargo takes the copy for the crate itself.
        let target = workspace.join(format!("target/mutants/{job}"));
        let root = target.join("tree");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        copy(&workspace.join("sync"), &root.join("sync"))?;
        fs::copy(workspace.join("Cargo.lock"), root.join("Cargo.lock"))?;
        let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
        let mut manifest: toml::Table = manifest.parse()?;
        let only = |key: &str| (key.to_owned(), toml::Value::from(vec!["sync"]));
        let table = manifest["workspace"].as_table_mut();
        let table = table.context("the workspace's Cargo.toml has no [workspace]")?;
        table.extend([only("members"), only("default-members")]);
        fs::write(root.join("Cargo.toml"), toml::to_string(&manifest)?)?;
        Ok(Self { root, target })
    }

    fn file(&self, mutant: &Mutant) -> PathBuf {
        self.root.join("sync/src").join(&mutant.file)
    }

    /// Builds the program that `check` is in, and says where it is; `None` if it does not build.
    fn build(&self, check: &Check) -> Result<Option<PathBuf>> {
        let output = check
            .build
            .cargo(&self.root, &self.target)
            .stderr(Stdio::null())
            .output()?;
        if !output.status.success() {
            return Ok(None);
        }
        let messages = Message::parse_stream(&*output.stdout);
        let programs = messages.filter_map(|m| match m {
            Ok(Message::CompilerArtifact(artifact)) => artifact.executable,
            _ => None,
        });
        let program = programs.last().context("cargo built no test program")?;
        Ok(Some(program.into()))
    }

    fn run(&self, check: &Check) -> Result<Option<Outcome>> {
        let Some(program) = self.build(check)? else {
            return Ok(None);
        };
        let listed = Command::new(&program).arg("--list").output()?.stdout;
        let listed = String::from_utf8(listed)?;
        let mut tests = listed.lines().filter_map(|l| l.strip_suffix(": test"));
        let test = tests
            .find(|t| t.rsplit("::").next() == Some(&check.name))
            .with_context(|| format!("there is no check {check}"))?;
        let mut child = Command::new(&program)
            .args(["--exact", test])
            .current_dir(self.root.join("sync"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(if status.success() {
                    Outcome::Passed
                } else {
                    Outcome::Failed
                }));
            }
            thread::sleep(Duration::from_millis(20));
        }
        child.kill()?;
        child.wait()?;
        Ok(Some(Outcome::NeverEnded))
    }
}

impl Tree {
    /// Runs all checks of `module` but `check`, in the program that is built: they must pass.
    fn run_others(&self, check: &Check, module: &str) -> Result<()> {
        let program = self.build(check)?.context("it does not build any more")?;
        let output = Command::new(&program)
            .args([module, "--skip", &check.name])
            .current_dir(self.root.join("sync"))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && !text.contains("running 0 tests"),
            "{check} is not the only check of {module} that notices:\n{text}"
        );
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

impl Mutant {
    /// The file's text with the mutation in.
    fn apply(&self, source: &str) -> Result<String> {
        let (start, end) = match &self.within {
            None => (0, source.len()),
            Some(head) => function(source, head)?,
        };
        let body = &source[start..end];
        let times = body.matches(&self.text).count();
        ensure!(
            times == 1,
            "its text stands in {} {times} times, not once",
            self.file
        );
        let body = body.replacen(&self.text, &self.put, 1);
        Ok([&source[..start], &body, &source[end..]].concat())
    }
}

/// Where the function with this head begins and ends, in a source that rustfmt has formatted.
fn function(source: &str, head: &str) -> Result<(usize, usize)> {
    let heads: Vec<_> = source.match_indices(head).collect();
    ensure!(
        heads.len() == 1,
        "{head:?} stands there {} times, not once",
        heads.len()
    );
    let start = source[..heads[0].0].rfind('\n').map_or(0, |n| n + 1);
    let line = &source[start..];
    let indent = &line[..line.len() - line.trim_start().len()];
    let end = source[start..].find(&format!("\n{indent}}}"));
    let end = end.with_context(|| format!("{head:?} has no end"))?;
    Ok((start, start + end + 1))
}

/// Runs the mutants whose names contain one of `names` (no names: all), and says how many a check has noticed.
pub fn run(workspace: &Path, names: &[String]) -> Result<()> {
    let mut mutants = tables(&workspace.join("sync/mutants"))?;
    if !names.is_empty() {
        mutants.retain(|m| names.iter().any(|n| m.name.contains(n)));
    }
    let checks = mutants.iter().flat_map(|m| &m.kill);
    let checks: BTreeSet<Check> = checks.map(|c| Check::parse(c)).collect::<Result<_>>()?;
    let checks = Vec::from_iter(checks);
    let trees = (0..JOBS).map(|job| Tree::new(workspace, job));
    let trees: Vec<_> = trees.collect::<Result<_>>()?;
    for mutant in &mutants {
        let source = fs::read_to_string(trees[0].file(mutant))?;
        mutant.apply(&source).with_context(|| mutant.name.clone())?;
    }
    share(&trees, &checks, |tree, check| {
        let passed = tree.run(check)? == Some(Outcome::Passed);
        ensure!(passed, "{check} fails without any mutant");
        Ok(())
    })?;
    println!("{} checks pass without a mutant", checks.len());
    let verdicts = share(&trees, &mutants, |tree, mutant| {
        verdict(tree, mutant).with_context(|| mutant.name.clone())
    })?;
    let count = |verdict| verdicts.iter().filter(|v| **v == verdict).count();
    let (killed, explained) = (count(Verdict::Killed), count(Verdict::Explained));
    let wrong = count(Verdict::Survived) + count(Verdict::Overexplained);
    println!("{killed}/{} killed, {explained} explained", mutants.len());
    ensure!(wrong == 0, "{wrong} not as the table says");
    Ok(())
}

/// The mutants of all tables in `dir`.
fn tables(dir: &Path) -> Result<Vec<Mutant>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<_> = paths.collect::<Result<_>>()?;
    paths.sort();
    let mut mutants = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let table = toml::from_str::<Table>(&text);
        mutants.extend(table.with_context(|| path.display().to_string())?.mutant);
    }
    Ok(mutants)
}

/// Does `each` to every item, in all trees at once.
fn share<T: Sync, R: Send>(
    trees: &[Tree],
    items: &[T],
    each: impl Fn(&Tree, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let work = |tree| {
        let mut done = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            // After an error nobody begins another.
            let result =
                each(tree, item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed));
            done.push(result?);
        }
        Ok(done)
    };
    thread::scope(|scope| {
        let workers = trees.iter().map(|tree| scope.spawn(|| work(tree)));
        let workers: Vec<_> = workers.collect();
        let mut all = Vec::new();
        for worker in workers {
            let done: Result<Vec<R>> = worker.join().expect("a worker panicked");
            all.extend(done?);
        }
        Ok(all)
    })
}

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Killed,
    Survived,
    Explained,
    /// The table says why it survives, and it does not.
    Overexplained,
}

fn verdict(tree: &Tree, mutant: &Mutant) -> Result<Verdict> {
    let start = Instant::now();
    let noticed = noticed(tree, mutant)?;
    let seconds = start.elapsed().as_secs_f32();
    let (verdict, word, detail) = match (&noticed, &mutant.survives) {
        (Some(by), None) => (Verdict::Killed, "killed", by.as_str()),
        (None, Some(why)) => (Verdict::Explained, "explained", why.as_str()),
        (Some(by), Some(_)) => (Verdict::Overexplained, "KILLED", by.as_str()),
        (None, None) => (Verdict::Survived, "SURVIVED", "no check noticed"),
    };
    println!("{word:9} {} ({seconds:.0} s): {detail}", mutant.name);
    Ok(verdict)
}

/// The check that noticed the mutant, if one did.
fn noticed(tree: &Tree, mutant: &Mutant) -> Result<Option<String>> {
    let path = tree.file(mutant);
    let source = fs::read_to_string(&path)?;
    fs::write(&path, mutant.apply(&source)?)?;
    let mut noticed = None;
    for check in &mutant.kill {
        let check = Check::parse(check)?;
        match tree.run(&check)?.context("it does not build")? {
            Outcome::Passed => {}
            Outcome::Failed => noticed = Some(check.to_string()),
            Outcome::NeverEnded => noticed = Some(format!("{check} does not end")),
        }
        if noticed.is_some() {
            if let Some(module) = &mutant.spares {
                tree.run_others(&check, module)?;
            }
            break;
        }
    }
    fs::write(&path, source)?;
    Ok(noticed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "impl A {\n    fn a() {\n        x.load();\n    }\n\n    fn b() {\n        x.load();\n    }\n}\n";

    fn mutant(within: Option<&str>, text: &str) -> Mutant {
        Mutant {
            name: String::new(),
            file: String::new(),
            within: within.map(str::to_owned),
            text: text.to_owned(),
            put: "y".to_owned(),
            kill: Vec::new(),
            survives: None,
            spares: None,
        }
    }

    #[test]
    fn a_text_is_replaced_in_its_function_alone() {
        let mutated = mutant(Some("fn b("), "x.load()").apply(SOURCE).unwrap();
        assert_eq!(mutated.matches("x.load()").count(), 1);
        assert!(mutated.find("x.load()") < mutated.find("y;"));
    }

    #[test]
    fn a_text_that_is_missing_or_repeated_is_refused() {
        assert!(mutant(None, "x.load()").apply(SOURCE).is_err());
        assert!(mutant(None, "x.store()").apply(SOURCE).is_err());
        assert!(mutant(Some("fn c("), "x.load()").apply(SOURCE).is_err());
    }

    /// `make mutants` takes minutes; that the tables still fit the sources shows here.
    #[test]
    fn every_mutant_of_the_tables_applies() {
        let sync = crate::root().join("sync");
        let mutants = tables(&sync.join("mutants")).unwrap();
        assert!(mutants.len() >= 30);
        for mutant in mutants {
            let source = fs::read_to_string(sync.join("src").join(&mutant.file)).unwrap();
            let applied = mutant
                .apply(&source)
                .unwrap_or_else(|e| panic!("{}: {e}", mutant.name));
            assert_ne!(applied, source, "{}", mutant.name);
            assert!(
                mutant.kill.iter().all(|check| Check::parse(check).is_ok()),
                "{}",
                mutant.name
            );
        }
    }
}
