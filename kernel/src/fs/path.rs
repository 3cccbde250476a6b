// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths: `/` separates, `.` is here, `..` is up. There is no current directory: all begin at the root.

use alloc::vec::Vec;

use super::error::Fault;

/// The most parts that a path may have.
pub const MAX_DEPTH: usize = 32;

/// A path's parts from the root on, without `.` and `..`. Above the root is the root.
///
/// # Errors
/// [`Fault::TooDeep`].
pub fn parts(path: &str) -> Result<Vec<&str>, Fault> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ if parts.len() == MAX_DEPTH => return Err(Fault::TooDeep),
            _ => parts.push(part),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_normalised() {
        for path in [
            "/a/b",
            "a/b",
            "//a/./b/",
            "/x/../a/b",
            "/../../a/b",
            "a/b/c/..",
        ] {
            assert_eq!(parts(path), Ok(["a", "b"].to_vec()), "{path}");
        }
        for path in ["", "/", ".", "..", "a/.."] {
            assert_eq!(parts(path), Ok([].to_vec()), "{path}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parts(&"d/".repeat(MAX_DEPTH)).is_ok());
        assert_eq!(parts(&"d/".repeat(MAX_DEPTH + 1)), Err(Fault::TooDeep));
    }
}
