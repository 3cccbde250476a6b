// SPDX-License-Identifier: MIT OR Apache-2.0
//! The house's rules that no compiler checks: who imports whom, and what every file has.
//!
//! Imports are read from `cargo metadata`: normal dependencies only, as tests may use what they
//! like. `tools`, `qemu-tests` and the device pack run on the host, so nothing on the board may
//! need them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// What a package may import.
enum May {
    /// These and nothing else.
    Only(&'static [&'static str]),
    /// Anything but these.
    AllBut(&'static [&'static str]),
}

const HOST: [&str; 8] = [
    "tools",
    "qemu-tests",
    "genet-model",
    "sdhci-model",
    "soc-model",
    "pi4-devices",
    "bare",
    "station",
];
const RULES: [(&str, May); 9] = [
    // The model checkers, each in its own build only.
    ("sync", May::Only(&["loom", "shuttle"])),
    ("drivers", May::Only(&["embedded-hal", "tock-registers"])),
    (
        "bsp",
        May::AllBut(&[
            "kernel", HOST[0], HOST[1], HOST[2], HOST[3], HOST[4], HOST[5], HOST[6], HOST[7],
        ]),
    ),
    ("kernel", May::AllBut(&HOST)),
    // The emptiest programs: nothing of the kernel that they are the measure of.
    ("bare", May::Only(&["bsp", "drivers"])),
    // Models that a test or any emulator can drive.
    ("genet-model", May::Only(&[])),
    ("sdhci-model", May::Only(&[])),
    ("soc-model", May::Only(&[])),
    // Under another licence, so nothing else may import it either.
    (
        "pi4-devices",
        May::Only(&["genet-model", "sdhci-model", "soc-model"]),
    ),
];
/// Folders where `unsafe` has a reason to be.
const UNSAFE_IN: [&str; 5] = [
    "sync/",
    "bsp/",
    "kernel/",
    "tools/pi4-devices/",
    "tools/bare/",
];
/// A file's greatest length; most are far shorter.
const LINES_MAX: usize = 800;
const CHECKED: [&str; 7] = ["rs", "S", "s", "sh", "ld", "dts", "toml"];

/// Every breach of a rule, one a line, below `root`.
pub fn breaches(root: &Path) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    let mut found = Vec::new();
    for (name, may) in &RULES {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == *name);
        let package = package.with_context(|| format!("the workspace has no package {name}"))?;
        found.extend(imports(package, may));
    }
    for file in files(root)? {
        let text = fs::read_to_string(root.join(&file)).with_context(|| file.clone())?;
        found.extend(file_breaches(&file, &text));
    }
    Ok(found)
}

fn imports(package: &Package, may: &May) -> Vec<String> {
    let normal = package
        .dependencies
        .iter()
        .filter(|d| d.kind == DependencyKind::Normal);
    let refused = normal.filter(|d| match may {
        May::Only(names) => !names.contains(&d.name.as_str()),
        May::AllBut(names) => names.contains(&d.name.as_str()),
    });
    refused
        .map(|d| format!("{}/Cargo.toml: may not import {}", package.name, d.name))
        .collect()
}

/// What git knows or would add, with a kind that the rules are about.
fn files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot start git")?;
    ensure!(output.status.success(), "git ls-files failed");
    let listed = String::from_utf8(output.stdout)?;
    let checked = listed.lines().filter(|f| {
        let path = PathBuf::from(f);
        let kind = path.extension().and_then(|e| e.to_str());
        kind.is_some_and(|k| CHECKED.contains(&k)) && root.join(f).is_file()
    });
    Ok(checked.map(str::to_owned).collect())
}

fn file_breaches(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Cargo.toml files of the packages are cargo's own form; the workspace's carries reasons.
    let needs_spdx = !file.ends_with("/Cargo.toml");
    if needs_spdx
        && !text
            .lines()
            .take(2)
            .any(|l| l.contains("SPDX-License-Identifier:"))
    {
        found.push(format!("{file}:1: does not open with an SPDX line"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!(
            "{file}: {lines} lines, {LINES_MAX} at most; split it"
        ));
    }
    if file.ends_with(".rs") && !UNSAFE_IN.iter().any(|dir| file.starts_with(dir)) {
        for (index, line) in text.lines().enumerate().filter(|(_, l)| is_unsafe(l)) {
            let line = line.trim();
            found.push(format!(
                "{file}:{}: unsafe has no place here: {line}",
                index + 1
            ));
        }
    }
    found
}

/// Whether code (not a comment, a string or an attribute's `unsafe_code`) says `unsafe`.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut outside = code.split('"').step_by(2);
    outside.any(|part| {
        part.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe")
    })
}

/// Fails with every breach.
pub fn check(root: &Path) -> Result<()> {
    let found = breaches(root)?;
    if !found.is_empty() {
        bail!("{} breaches\n{}", found.len(), found.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_need_a_licence_line() {
        assert!(file_breaches("a.rs", "// SPDX-License-Identifier: MIT\n").is_empty());
        let script = "#!/bin/sh\n# SPDX-License-Identifier: MIT\n";
        assert!(file_breaches("a.sh", script).is_empty());
        assert_eq!(file_breaches("a.rs", "//! late\n//!\n// SPDX-").len(), 1);
    }

    #[test]
    fn long_files_are_refused() {
        let text = "// SPDX-License-Identifier: MIT\n".to_owned() + &"\n".repeat(LINES_MAX);
        assert_eq!(file_breaches("a.rs", &text).len(), 1);
    }

    #[test]
    fn unsafe_stays_in_its_rooms() {
        let text = "// SPDX-License-Identifier: MIT\nlet x = unsafe { *p };\n";
        assert_eq!(file_breaches("drivers/src/a.rs", text).len(), 1);
        assert!(file_breaches("bsp/src/a.rs", text).is_empty());
        assert!(is_unsafe("    unsafe impl Send for X {}"));
        assert!(!is_unsafe("#![forbid(unsafe_code)] // no unsafe"));
    }
}
