// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of a line, and numbers, without a heap: for the debugger.

/// Most words of a line.
const MOST: usize = 6;

/// The words of `line`, as far as they are commands' words.
pub fn split(line: &str) -> heapless::Vec<&str, MOST> {
    line.split_ascii_whitespace().take(MOST).collect()
}

/// A number: decimal, or hexadecimal with `0x`.
pub fn number(word: &str) -> Option<usize> {
    match word.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers() {
        assert_eq!(split("  md 0x10\t4 "), ["md", "0x10", "4"]);
        assert_eq!(split("a b c d e f g").len(), MOST);
        assert_eq!(number("0xfe201018"), Some(0xfe20_1018));
        assert_eq!(number("42"), Some(42));
        for word in ["", "0x", "12x", "0x1_0", "-1", "99999999999999999999"] {
            assert_eq!(number(word), None, "{word}");
        }
    }
}
