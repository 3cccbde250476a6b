// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command line into words, and words into numbers.
//!
//! # Theory
//!
//! Quoting is the POSIX shell's, without expansion: `'...'` is literal, `"..."` knows `\"` and `\\`, and
//! outside both a backslash makes the next character plain. Numbers follow one rule everywhere, addresses
//! too: decimal unless they begin with `0x` or `0b`. An address without `0x` that happened to be all digits
//! would otherwise change its meaning.
//!
//! # References
//!
//! POSIX.1-2024, Shell Command Language §2.2, Quoting.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::iter::Peekable;
use core::ops::RangeInclusive;
use core::str::CharIndices;

/// What is wrong with the user's words: the caller is to blame in each case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordError {
    /// A quote was opened and not closed.
    Unterminated(char),
    /// The line ends in a backslash.
    TrailingBackslash,
    /// The word is not a number.
    NotANumber(String),
    /// The number does not fit 64 bits.
    TooLarge(String),
    /// The number is outside what the command takes.
    OutOfRange {
        /// As it was typed.
        word: String,
        /// The least that is accepted.
        least: u64,
        /// The most that is accepted.
        most: u64,
    },
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated(quote) => write!(f, "quote {quote} is not closed"),
            Self::TrailingBackslash => f.write_str("the line ends in a backslash"),
            Self::NotANumber(word) => write!(
                f,
                "\"{word}\" is no number (decimal, 0x hex, 0b binary; suffix K, M or G)"
            ),
            Self::TooLarge(word) => write!(f, "number \"{word}\": does not fit 64 bits"),
            Self::OutOfRange { word, least, most } if word.starts_with("0x") => {
                write!(
                    f,
                    "number \"{word}\": out of range ({least:#x} to {most:#x})"
                )
            }
            Self::OutOfRange { word, least, most } => {
                write!(f, "number \"{word}\": out of range ({least} to {most})")
            }
        }
    }
}

impl core::error::Error for WordError {}

/// Splits a line into words.
///
/// # Errors
/// [`WordError::Unterminated`], [`WordError::TrailingBackslash`].
pub fn split(line: &str) -> Result<Vec<String>, WordError> {
    let mut scan = Scan::new(line);
    let words = scan.by_ref().map(|(_, word)| word).collect();
    scan.error.map_or(Ok(words), Err)
}

/// The word that a line ends in, for completion: the byte offset at which it begins (with its quote), and
/// what has been typed of it. Empty after a space. A quote may be still open.
pub fn last_word(line: &str) -> (usize, String) {
    let mut scan = Scan::new(line);
    let last = scan.by_ref().last();
    last.filter(|_| !scan.closed)
        .unwrap_or((line.len(), String::new()))
}

/// The words of a line and where each begins. A last word that breaks off is one, too.
struct Scan<'a> {
    chars: Peekable<CharIndices<'a>>,
    /// A space ended the last word.
    closed: bool,
    error: Option<WordError>,
}

impl<'a> Scan<'a> {
    fn new(line: &'a str) -> Self {
        Self {
            chars: line.char_indices().peekable(),
            closed: false,
            error: None,
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = (usize, String);

    fn next(&mut self) -> Option<Self::Item> {
        let blank = |c| c == ' ' || c == '\t';
        while self.chars.next_if(|&(_, c)| blank(c)).is_some() {}
        let &(start, _) = self.chars.peek()?;
        let (mut text, mut quote) = (String::new(), None);
        self.closed = false;
        while let Some((_, c)) = self.chars.next() {
            match (quote, c) {
                (None, c) if blank(c) => {
                    self.closed = true;
                    break;
                }
                (Some(open), _) if c == open => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '\\') => match self.chars.next() {
                    Some((_, plain)) => text.push(plain),
                    None => self.error = Some(WordError::TrailingBackslash),
                },
                (Some('"'), '\\') => {
                    let escaped = self.chars.next_if(|(_, next)| matches!(next, '"' | '\\'));
                    text.push(escaped.map_or('\\', |(_, plain)| plain));
                }
                _ => text.push(c),
            }
        }
        self.error = self.error.take().or(quote.map(WordError::Unterminated));
        Some((start, text))
    }
}

/// Shows a word so that [`split`] reads it back.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if matches!(c, ' ' | '\t' | '\\' | '\'' | '"') {
                f.write_char('\\')?;
            }
            f.write_char(c)
        })
    }
}

/// Reads a number: decimal, `0x` hexadecimal or `0b` binary, with `_` between digits, and K, M or G behind
/// it for 2^10, 2^20, 2^30.
///
/// # Errors
/// [`WordError::NotANumber`], [`WordError::TooLarge`].
pub fn number(word: &str) -> Result<u64, WordError> {
    let (radix, digits) = match word.get(..2) {
        Some("0x" | "0X") => (16, &word[2..]),
        Some("0b" | "0B") => (2, &word[2..]),
        _ => (10, word),
    };
    let shift = match digits.bytes().last() {
        Some(b'K' | b'k') => 10,
        Some(b'M' | b'm') => 20,
        Some(b'G' | b'g') => 30,
        _ => 0,
    };
    let digits = if shift > 0 {
        &digits[..digits.len() - 1]
    } else {
        digits
    };
    let underscored = digits.starts_with('_') || digits.ends_with('_');
    if digits.is_empty() || underscored || !digits.chars().all(|c| c == '_' || c.is_digit(radix)) {
        return Err(WordError::NotANumber(word.into()));
    }
    let digits = digits
        .chars()
        .filter_map(|c| c.to_digit(radix))
        .map(u64::from);
    let value = digits.into_iter().try_fold(0u64, |value, digit| {
        value.checked_mul(radix.into())?.checked_add(digit)
    });
    value
        .and_then(|value| value.checked_mul(1 << shift))
        .ok_or_else(|| WordError::TooLarge(word.into()))
}

/// Reads a number that must lie in `range`.
///
/// # Errors
/// As [`number`], and [`WordError::OutOfRange`].
pub fn number_in(word: &str, range: RangeInclusive<u64>) -> Result<u64, WordError> {
    let value = number(word)?;
    range
        .contains(&value)
        .then_some(value)
        .ok_or_else(|| WordError::OutOfRange {
            word: word.into(),
            least: *range.start(),
            most: *range.end(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;

    #[test]
    fn words_and_quotes() {
        for (line, words) in [
            ("", vec![]),
            ("  \t ", vec![]),
            ("ls  /boot\t-l ", vec!["ls", "/boot", "-l"]),
            (r"cat my\ file \\ \'", vec!["cat", "my file", "\\", "'"]),
            (
                r#"echo 'a\b "c"' "d \"e\" \n" '' x"y"z"#,
                vec!["echo", r#"a\b "c""#, r#"d "e" \n"#, "", "xyz"],
            ),
            ("é 'ü ö'", vec!["é", "ü ö"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn broken_lines_say_why() {
        assert_eq!(
            split("cat 'x").unwrap_err().to_string(),
            "quote ' is not closed"
        );
        assert_eq!(
            split("cat \"x'").unwrap_err().to_string(),
            "quote \" is not closed"
        );
        assert_eq!(split("cat \\").unwrap_err(), WordError::TrailingBackslash);
    }

    #[test]
    fn the_last_word_is_found_while_it_is_typed() {
        for (line, start, word) in [
            ("", 0, ""),
            ("ca", 0, "ca"),
            ("cat ", 4, ""),
            ("cat /boot/my\\ f", 4, "/boot/my f"),
            ("cat my\\ ", 4, "my "),
            ("cat my\\\\ ", 9, ""),
            ("cat 'my f", 4, "my f"),
            ("cat 'my ", 4, "my "),
            ("cat \\", 4, ""),
        ] {
            assert_eq!(last_word(line), (start, word.into()), "{line:?}");
        }
    }

    #[test]
    fn quoted_words_read_back() {
        for word in ["plain", "my file", r#"a'b"c\d"#, "tab\there"] {
            assert_eq!(split(&Quoted(word).to_string()).unwrap(), [word]);
        }
    }

    #[test]
    fn numbers() {
        for (word, value) in [
            ("0", 0),
            ("1_000", 1000),
            ("0x80_000", 0x80000),
            ("0XfF", 255),
            ("0b1010", 10),
            ("4K", 4096),
            ("2m", 2 << 20),
            ("0x1G", 1 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(number(word), Ok(value), "{word}");
        }
        for word in [
            "", "12x", "0x", "0b2", "K", "-1", "_1", "1_", "0x_1", "1KK", "ff", "0x1é", "é", "+1",
        ] {
            assert_eq!(number(word), Err(WordError::NotANumber(word.into())));
        }
        for word in [
            "18446744073709551616",
            "0x10000000000000000",
            "17179869184G",
        ] {
            assert_eq!(number(word), Err(WordError::TooLarge(word.into())));
        }
    }

    #[test]
    fn errors_name_the_word_and_what_is_accepted() {
        assert_eq!(
            number("12x").unwrap_err().to_string(),
            "\"12x\" is no number (decimal, 0x hex, 0b binary; suffix K, M or G)"
        );
        assert_eq!(
            number_in("4", 0..=3).unwrap_err().to_string(),
            "number \"4\": out of range (0 to 3)"
        );
        assert_eq!(
            number_in("0x1ff", 0..=255).unwrap_err().to_string(),
            "number \"0x1ff\": out of range (0x0 to 0xff)"
        );
    }
}
