// SPDX-License-Identifier: MIT OR Apache-2.0
//! Completion of paths, for [`super::line::Complete`].

use alloc::format;
use alloc::string::ToString;

use super::words::{Quoted, last_word};
use crate::fs::Mounts;

/// Offers what the path at the end of `before` can go on as. Returns where the candidates begin in it: at
/// the last part of the path, or at the whole word if it is quoted. A directory that cannot be read offers
/// nothing.
pub fn complete_path(mounts: &mut Mounts, before: &str, offer: &mut dyn FnMut(&str)) -> usize {
    let (start, word) = last_word(before);
    let (directory, begun) = word
        .rsplit_once('/')
        .map_or(("", &*word), |(directory, begun)| {
            (&word[..directory.len() + 1], begun)
        });
    let plain = before[start..] == *word;
    let (start, shown) = if plain {
        (start + directory.len(), "")
    } else {
        (start, directory)
    };
    let Ok(listed) = mounts.read_dir(directory) else {
        return start;
    };
    for entry in listed.entries {
        if starts_with(&entry.name, begun) {
            let end = if entry.is_dir { "/" } else { "" };
            offer(&Quoted(&format!("{shown}{}{end}", entry.name)).to_string());
        }
    }
    start
}

/// As FAT compares names.
fn starts_with(name: &str, begun: &str) -> bool {
    let mut name = name.chars().flat_map(char::to_uppercase);
    begun
        .chars()
        .flat_map(char::to_uppercase)
        .all(|c| name.next() == Some(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tests::mounted;
    use std::string::String;
    use std::vec::Vec;

    fn complete(before: &str) -> (usize, Vec<String>) {
        let mut offered = Vec::new();
        let start = complete_path(&mut mounted(), before, &mut |name| {
            offered.push(name.into())
        });
        (start, offered)
    }

    #[test]
    fn paths_are_completed_part_by_part() {
        for (before, start, offered) in [
            ("ls ", 3, ["boot/"].as_slice()),
            ("ls /", 4, &["boot/"]),
            ("ls /BO", 4, &["boot/"]),
            ("cat /boot/con", 10, &["CONFIG.TXT"]),
            ("cat /boot/overlays/../e", 22, &["empty"]),
            ("cat /boot/a", 10, &[r"a\ long\ name\ with\ spaces.txt"]),
            (
                r"cat /boot/a\ l",
                4,
                &[r"/boot/a\ long\ name\ with\ spaces.txt"],
            ),
            (
                "cat '/boot/a l",
                4,
                &[r"/boot/a\ long\ name\ with\ spaces.txt"],
            ),
            ("cat /boot/o", 10, &[r"one\ cluster", "overlays/"]),
            ("cat /nope/", 10, &[]),
            ("cat /boot/config.txt/", 21, &[]),
        ] {
            let (at, names) = complete(before);
            assert_eq!(
                (at, names.iter().map(|name| &**name).collect()),
                (start, offered.to_vec()),
                "{before}"
            );
        }
    }
}
