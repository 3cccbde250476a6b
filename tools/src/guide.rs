// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guide as a book: pages of `docs/` made ready for mdBook, and the book's links checked.
//!
//! # Theory
//! The pages are read in the repository, too, where they lead to source files beside them. The book stands alone: so a
//! copy of the pages is made in which a link that leaves `docs/` is its text with the file's path behind it, and what is
//! included from a source file is named by its full path. Whether such a file is there is checked, and whether the
//! part that a page shows stands in it between its two marks (mdBook would show nothing in its place); as is, in the
//! HTML that mdBook made of the copy, whether every link and picture leads to a file of the book, and to a place in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag};

/// Copies the pages from `docs` to `copy`, ready for mdBook. Files that they lead to and that are not there are returned.
///
/// # Errors
/// A file cannot be read or written.
pub fn stage(docs: &Path, copy: &Path) -> Result<Vec<String>> {
    if copy.exists() {
        std::fs::remove_dir_all(copy)?;
    }
    let mut missing = Vec::new();
    for file in files(docs)? {
        let inside = file.strip_prefix(docs)?;
        let bytes = crate::read(&file, "it is committed")?;
        if file.extension().is_some_and(|extension| extension == "md") {
            let text = String::from_utf8(bytes).with_context(|| file.display().to_string())?;
            let folder = file.parent().context("a file has a folder")?;
            let (text, lacking) = made_ready(&text, folder, docs);
            missing.extend(
                lacking
                    .iter()
                    .map(|to| format!("{}: {to}", inside.display())),
            );
            crate::write(&copy.join(inside), text.as_bytes())?;
        } else {
            crate::write(&copy.join(inside), &bytes)?;
        }
    }
    Ok(missing)
}

/// Pages that the book's table of contents does not have.
///
/// # Errors
/// A file cannot be read.
pub fn unlisted(docs: &Path) -> Result<Vec<String>> {
    let summary = crate::read(&docs.join("SUMMARY.md"), "it is committed")?;
    let summary = String::from_utf8_lossy(&summary).into_owned();
    let mut missing = Vec::new();
    for file in files(docs)? {
        let path = file.strip_prefix(docs)?.display().to_string();
        let is_page = path.ends_with(".md") && path != "SUMMARY.md";
        if is_page && !summary.contains(&format!("({path})")) {
            missing.push(path);
        }
    }
    Ok(missing)
}

/// The page's text for the book, and where it leads that is not there.
fn made_ready(text: &str, folder: &Path, docs: &Path) -> (String, Vec<String>) {
    let root = docs.parent().unwrap_or(docs);
    let (mut ready, mut missing) = (text.to_owned(), Vec::new());
    let links: Vec<_> = Parser::new_ext(text, Options::ENABLE_TABLES)
        .into_offset_iter()
        .filter_map(|(event, range)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some((dest_url.into_string(), range))
            }
            _ => None,
        })
        .collect();
    for (to, range) in links.into_iter().rev() {
        let file = to.split('#').next().unwrap_or_default();
        if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
            continue;
        }
        let target = normal(&folder.join(file));
        if !target.exists() {
            missing.push(to);
        } else if let (false, Ok(path)) = (target.starts_with(docs), target.strip_prefix(root)) {
            let source = &text[range.clone()];
            let words = source.rfind("](").map_or(source, |end| &source[1..end]);
            let path = format!("`{}`", path.display());
            let said = if words == path {
                path
            } else {
                format!("{words} ({path})")
            };
            ready.replace_range(range, &said);
        }
    }
    for include in text.split(INCLUDE).skip(1) {
        let to = include.split("}}").next().unwrap_or_default();
        if shown(to, folder).is_none() {
            missing.push(to.to_owned());
        }
    }
    let up = format!("{INCLUDE}../../");
    let full = format!("{INCLUDE}{}/", root.display());
    (ready.replace(&up, &full), missing)
}

/// How a page includes a file, `FILE` or `FILE:PART`.
const INCLUDE: &str = "{{#include ";

/// What a page in `folder` shows of a file: all of it, or the part between two marks.
fn shown(include: &str, folder: &Path) -> Option<String> {
    let (file, part) = include.split_once(':').unwrap_or((include, ""));
    let text = std::fs::read_to_string(normal(&folder.join(file))).ok()?;
    if part.is_empty() {
        return Some(text);
    }
    let (_, behind) = text.split_once(&format!("// ANCHOR: {part}\n"))?;
    let (inside, _) = behind.split_once(&format!("// ANCHOR_END: {part}\n"))?;
    Some(inside.to_owned())
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            all.extend(files(&path)?);
        } else {
            all.push(path);
        }
    }
    Ok(all)
}

/// A page of the book: the places in it, and where it leads.
#[derive(Debug, Default)]
struct Page {
    places: BTreeSet<String>,
    links: BTreeSet<String>,
}

impl Page {
    fn of(html: &str) -> Self {
        let values = |name: &str| -> BTreeSet<String> {
            let start = format!(" {name}=\"");
            let parts = html.split(&*start).skip(1);
            parts
                .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
                .collect()
        };
        let mut links = values("href");
        links.extend(values("src"));
        Self {
            places: values("id"),
            links,
        }
    }
}

/// Where pages of the book lead to nothing, each with its page; and how many links were looked at.
///
/// # Errors
/// A page cannot be read, or there is none.
pub fn broken_links(book: &Path) -> Result<(Vec<String>, usize)> {
    let mut pages = BTreeMap::new();
    for file in files(book)? {
        let page = file
            .extension()
            .is_some_and(|extension| extension == "html");
        if page
            && file
                .file_name()
                .is_some_and(|name| name != "print.html" && name != "404.html")
        {
            let html = String::from_utf8(crate::read(&file, "mdBook made it")?)?;
            pages.insert(file, Page::of(&html));
        }
    }
    ensure!(!pages.is_empty(), "{} has no pages", book.display());
    let (mut broken, mut count) = (Vec::new(), 0);
    for (file, page) in &pages {
        for link in &page.links {
            if link.contains("://") || link.starts_with("data:") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.clone(),
                path => normal(&file.with_file_name("").join(path)),
            };
            let place_is_there = |page: &Page| place.is_empty() || page.places.contains(place);
            let whole = match pages.get(&target) {
                Some(page) => place_is_there(page),
                None => target.exists() && place.is_empty() || path.ends_with("print.html"),
            };
            if !whole {
                let page = file.strip_prefix(book).unwrap_or(file);
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    Ok((broken, count))
}

/// The console reference, from what `help` and `help NAME` print.
pub fn reference(list: &str, explain: &[(String, String)]) -> String {
    let mut page = String::from(REFERENCE);
    page += "```text\n";
    page += list.trim_end();
    page += "\n```\n";
    for (name, help) in explain {
        page += &format!("\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
    }
    page
}

const REFERENCE: &str = "\
# The console's commands

Made by `make doc` from what `help` and `help NAME` print on the running kernel; a test sees that it is current.

Tab completes, the arrows recall, Ctrl-C interrupts. Words are quoted as in the shell. Numbers are decimal,
`0x` hexadecimal or `0b` binary, and K, M and G behind them multiply by 1024s.

";

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        crate::write(&folder.join(name), text.as_bytes()).unwrap();
    }

    #[test]
    fn links_that_leave_the_book_become_words() {
        let root = tempfile::tempdir().unwrap();
        let docs = root.path().join("docs");
        let source = "// ANCHOR: part\nfn f() {}\n// ANCHOR_END: part\n";
        write(root.path(), "src/lib.rs", source);
        write(&docs, "a.9.md", "# A\n");
        let page = "see [a](../a.9.md), [the *code*](../../src/lib.rs#L3), [b](b.md) and\n\n    x[0](../../no)\n\n\
                    {{#include ../../src/lib.rs:part}}\n";
        write(&docs, "guide/p.md", page);
        write(&docs, "guide/p.svg", "<svg/>");
        write(&docs, "SUMMARY.md", "[p](guide/p.md)");
        assert_eq!(unlisted(&docs).unwrap(), ["a.9.md"]);
        let copy = root.path().join("copy");
        assert_eq!(stage(&docs, &copy).unwrap(), ["guide/p.md: b.md"]);
        let ready = std::fs::read_to_string(copy.join("guide/p.md")).unwrap();
        assert!(
            ready.contains("[a](../a.9.md), the *code* (`src/lib.rs`), [b](b.md)"),
            "{ready}"
        );
        assert!(ready.contains("x[0](../../no)"), "{ready}");
        let full = format!("#include {}/src/lib.rs:part", root.path().display());
        assert!(ready.contains(&full), "{ready}");
        assert!(copy.join("guide/p.svg").exists());
    }

    #[test]
    fn parts_that_are_not_there_are_named() {
        let root = tempfile::tempdir().unwrap();
        let docs = root.path().join("docs");
        let source =
            "// ANCHOR: a\nx\n// ANCHOR_END: a\n// ANCHOR: open\ny\n// ANCHOR_END: other\n";
        write(root.path(), "lib.rs", source);
        let page = ["lib.rs", "lib.rs:a", "lib.rs:no", "lib.rs:open", "no.rs"]
            .map(|to| format!("{{{{#include ../../{to}}}}}\n"));
        write(&docs, "guide/p.md", &page.concat());
        let missing = stage(&docs, &root.path().join("copy")).unwrap();
        let named = ["lib.rs:no", "lib.rs:open", "no.rs"];
        assert_eq!(missing, named.map(|to| format!("guide/p.md: ../../{to}")));
    }

    /// The page has no copy of the driver: it is the self-test's own text, and says what that prints.
    #[test]
    fn the_drivers_page_shows_the_self_test() {
        let docs = crate::root().join("docs");
        let page = std::fs::read_to_string(docs.join("guide/driver.md")).unwrap();
        let (_, include) = page.split_once(INCLUDE).expect("an include");
        let (include, _) = include.split_once("}}").unwrap();
        let source = "../../kernel/src/selftest/example.rs";
        assert_eq!(include, format!("{source}:driver"));
        let code = shown(include, &docs.join("guide")).expect("the marks");
        let statements = code.lines().map(str::trim).filter(|line| {
            !(line.is_empty() || line.starts_with("//") || line.starts_with("use "))
        });
        let count = statements.count();
        assert!(page.contains(&format!("{count} lines of code")), "{count}");
        let checks = crate::root().join("kernel/src/selftest/mod.rs");
        let checks = std::fs::read_to_string(checks).unwrap();
        let (_, check) = checks.split_once("name: \"example\",").unwrap();
        let (_, claim) = check.split_once("claim: \"").unwrap();
        let (claim, _) = claim.split_once('"').unwrap();
        assert!(
            page.contains(&format!("\n    example   {claim} ... ok\n")),
            "{claim}"
        );
    }

    #[test]
    fn links_to_nothing_are_named() {
        let book = tempfile::tempdir().unwrap();
        let page = r##"<h1 id="top">T</h1><a href="#top">t</a> <a href="#no">n</a> <img src="x.svg">
            <a href="sub/b.html#there">b</a> <a href="sub/b.html#gone">b</a> <a href="https://a.b/c#d">w</a>"##;
        write(book.path(), "a.html", page);
        write(
            book.path(),
            "sub/b.html",
            r#"<p id="there"><a href="../a.html">a</a>"#,
        );
        let (broken, count) = broken_links(book.path()).unwrap();
        assert_eq!(
            broken,
            ["a.html: #no", "a.html: sub/b.html#gone", "a.html: x.svg"]
        );
        assert_eq!(count, 6);
    }

    #[test]
    fn the_reference_has_a_part_for_each_command() {
        let explain = [("md".to_owned(), "md ADDRESS\n  show\n".to_owned())];
        let page = reference("  md  show\n", &explain);
        assert!(
            page.contains("\n## md\n\n```text\nmd ADDRESS\n  show\n```\n"),
            "{page}"
        );
    }
}
