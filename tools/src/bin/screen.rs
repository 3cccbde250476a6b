// SPDX-License-Identifier: MIT OR Apache-2.0
//! Draws captured console text as a picture of a terminal: SVG, for the documents.
//!
//! Presentation attributes only and the generic monospace font, so that it looks the same wherever it is shown;
//! each line is stretched to its cells (`textLength`), whatever font the viewer has.

use std::fmt::Write;
use std::io::Read;
use std::process::ExitCode;

use clap::Parser;

/// Draw console text from standard input as an SVG picture of a terminal
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Text of the title bar
    #[arg(long)]
    title: String,
    /// Width of the terminal; longer lines go on in the next one
    #[arg(long, default_value_t = 80)]
    columns: usize,
    /// What a line begins with where a command was typed
    #[arg(long, default_value = "orthogon>")]
    prompt: String,
}

// A cell is 0.6 em wide in most fonts.
const FONT: f64 = 14.0;
const CELL: f64 = 0.6 * FONT;
const LINE: f64 = 18.0;
const BAR: f64 = 32.0;
const PAD: f64 = 16.0;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    let drawn = read.map(|_| print!("{}", draw(&args, &text)));
    tools::exit("screen", drawn.map_err(Into::into))
}

/// Safe between tags and in attributes. Viewers fold spaces, but not those that do not break.
fn escape(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    escaped.replace('>', "&gt;").replace(' ', "\u{a0}")
}

/// The terminal's rows: no control characters, nothing wider than `columns`, no empty rows at the end.
fn rows(text: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for line in text.trim_end().lines() {
        let cells: Vec<char> = line.chars().filter(|c| !c.is_control()).collect();
        let parts = cells.chunks(columns.max(1)).map(String::from_iter);
        rows.extend(parts);
        if cells.is_empty() {
            rows.push(String::new());
        }
    }
    rows
}

fn draw(args: &Args, text: &str) -> String {
    let rows = rows(text, args.columns);
    let width = args.columns as f64 * CELL + 2.0 * PAD;
    let height = BAR + PAD + rows.len() as f64 * LINE + PAD / 2.0;
    let (title, middle) = (escape(&args.title), width / 2.0);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" role="img" font-family="monospace" font-size="{FONT}">
<title>{title}</title>
<rect x="0.5" y="0.5" width="{:.0}" height="{:.0}" rx="8" fill="#161b22" stroke="#484f58"/>
<path d="M1 {BAR}H{:.0}" stroke="#484f58"/>
<text x="{middle}" y="21" fill="#8b949e" font-size="13" text-anchor="middle">{title}</text>
"##,
        width - 1.0,
        height - 1.0,
        width - 1.0,
    );
    for (n, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
        let y = BAR + PAD + (n as f64 + 0.6) * LINE;
        let length = row.chars().count() as f64 * CELL;
        let prompt = args.prompt.trim_end();
        let body = match row.strip_prefix(prompt) {
            Some(typed) => format!(
                r##"<tspan fill="#7ee787">{}</tspan><tspan fill="#ffffff">{}</tspan>"##,
                escape(prompt),
                escape(typed)
            ),
            None => escape(row),
        };
        let _ = writeln!(
            svg,
            r##"<text x="{PAD}" y="{y:.1}" fill="#c9d1d9" textLength="{length:.1}">{body}</text>"##
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_terminals() {
        let text = "a\r\n\n123456789\n\u{1b}\u{7}b\n\n";
        assert_eq!(rows(text, 4), ["a", "", "1234", "5678", "9", "b"]);
        assert!(rows("", 80).is_empty());
    }

    #[test]
    fn text_is_escaped_and_prompts_are_marked() {
        let args = Args::parse_from(["screen", "--title", "<a&b>"]);
        let svg = draw(&args, "orthogon> cat <x>\nx & y\northogon> \n").replace('\u{a0}', "_");
        assert!(svg.contains("<title>&lt;a&amp;b&gt;</title>"));
        assert!(svg.contains(r##">orthogon&gt;</tspan><tspan fill="#ffffff">_cat_&lt;x&gt;<"##));
        assert!(svg.contains(">x_&amp;_y</text>"));
        assert_eq!(svg.matches(">orthogon&gt;</tspan>").count(), 2);
    }
}
