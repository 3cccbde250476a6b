// SPDX-License-Identifier: MIT OR Apache-2.0
//! Draws what `demo domains` printed: how long disk and network interrupts wait while something is held. SVG, for the guide.
//!
//! The figures, the length of the hold and the command are read from the console text; on which machine that was
//! is for the caller to say. The same text gives the same picture.

use std::fmt::Write;
use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Draw the table of `demo domains`, in console text from standard input, as an SVG picture
#[derive(Parser)]
#[command(version)]
struct Args {
    /// What it ran on, for the caption
    #[arg(long)]
    machine: String,
}

const PROMPT: &str = "orthogon> ";
/// Of one row of the table, after the policy and what is held: two lines, each handled, in hold, median, worst.
const FIGURES: usize = 8;

/// The waits of one line of interrupts, us.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wait {
    median_us: u32,
    worst_us: u32,
}

/// What waited while one thing was held under one policy.
#[derive(Debug, PartialEq)]
struct Row {
    policy: String,
    held: String,
    disk: Wait,
    network: Wait,
}

#[derive(Debug, PartialEq)]
struct Data {
    command: String,
    hold_us: u32,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    let drawn = read.map_err(Into::into).and_then(|_| parse(&text));
    tools::exit(
        "domains",
        drawn.map(|data| print!("{}", draw(&args.machine, &data))),
    )
}

/// The last run of `demo domains` in a console's text.
fn parse(text: &str) -> Result<Data> {
    let typed = format!("{PROMPT}demo domains");
    let at = text.rfind(&typed);
    let text = &text[at.context("no `demo domains` was typed in what was read")? + PROMPT.len()..];
    let mut lines = text.lines();
    let command = lines.next().unwrap_or_default().trim().to_owned();
    let rest = text.split_once("holds something for ");
    let hold_ms = rest.and_then(|(_, rest)| rest.split_once(" ms")?.0.parse::<u32>().ok());
    let hold_us = 1000 * hold_ms.context("the length of the hold is not there")?;
    let lines = lines.take_while(|line| !line.starts_with(PROMPT.trim_end()));
    let rows: Vec<Row> = lines.filter_map(row).collect();
    ensure!(!rows.is_empty(), "the table has no rows");
    Ok(Data {
        command,
        hold_us,
        rows,
    })
}

/// A row of the table; `None` if the line is none.
fn row(line: &str) -> Option<Row> {
    let mut words = line.split_whitespace();
    let (policy, held) = (words.next()?.to_owned(), words.next()?.to_owned());
    let figures: Vec<u32> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let figures: [u32; FIGURES] = figures.try_into().ok()?;
    let wait = |at: usize| Wait {
        median_us: figures[at],
        worst_us: figures[at + 1],
    };
    Some(Row {
        policy,
        held,
        disk: wait(2),
        network: wait(6),
    })
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 164.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 104.0;
const ROW: f64 = 26.0;
const GAP: f64 = 16.0;
/// The two lines of a row, above and below its middle.
const LANE: f64 = 5.0;
/// The decades of the axis, us.
const DECADES: [u32; 5] = [1, 10, 100, 1000, 10_000];
/// Where the axis ends.
const END_US: f64 = 20_000.0;

const STYLE: &str = "\
text{fill:#24292f}.faint{fill:#57606a}.page{fill:#ffffff;stroke:#d0d7de}.panel{fill:#f6f8fa}\
.grid{stroke:#d0d7de}.hold{stroke:#cf222e;stroke-dasharray:5 3}\
.disk{fill:#0969da;stroke:#0969da}.net{fill:#bc4c00;stroke:#bc4c00}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}.faint{fill:#9198a1}.page{fill:#0d1117;stroke:#3d444d}.panel{fill:#161b22}\
.grid{stroke:#3d444d}.hold{stroke:#ff7b72}\
.disk{fill:#58a6ff;stroke:#58a6ff}.net{fill:#f0883e;stroke:#f0883e}}\
text.num{stroke:none}";

fn x(us: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * us.max(1.0).log10() / END_US.log10()
}

/// 12,345.
fn grouped(n: u32) -> String {
    if n < 1000 {
        format!("{n}")
    } else {
        format!("{},{:03}", grouped(n / 1000), n % 1000)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn text(svg: &mut String, [x, y]: [f64; 2], attributes: &str, text: &str) {
    let text = escape(text);
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{text}</text>"#
    );
}

/// The mark of a median: round for the disk, square for the network.
fn mark(svg: &mut String, class: &str, x: f64, y: f64) {
    let _ = if class == "disk" {
        writeln!(
            svg,
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="4"/>"#
        )
    } else {
        let (x, y) = (x - 3.5, y - 3.5);
        writeln!(
            svg,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="7" height="7"/>"#
        )
    };
}

/// A stem to the median with its mark, and a tick at the worst.
fn draw_wait(svg: &mut String, class: &str, y: f64, wait: Wait) {
    let (median, worst) = (x(wait.median_us.into()), x(wait.worst_us.into()));
    let _ = writeln!(
        svg,
        r#"<path class="{class}" stroke-width="2" d="M{LEFT} {y:.1}H{median:.1}"/>
<path class="{class}" stroke-width="1.5" d="M{median:.1} {y:.1}H{worst:.1}M{worst:.1} {:.1}v7"/>"#,
        y - 3.5
    );
    mark(svg, class, median, y);
}

/// Title and legend.
fn head(svg: &mut String, data: &Data) {
    let title = format!(
        "How long interrupts wait while something is held for {} ms",
        data.hold_us / 1000
    );
    let middle = r#"font-size="16" font-weight="600""#;
    text(svg, [24.0, 32.0], middle, &title);
    let faint = r#"class="faint""#;
    text(
        svg,
        [24.0, 52.0],
        faint,
        "from being sent to the first instruction of a direct handler; microseconds, logarithmic",
    );
    for (at, class, name) in [
        (24.0, "disk", "disk (bio): median, worst"),
        (230.0, "net", "network (net): median, worst"),
    ] {
        let _ = writeln!(
            svg,
            r#"<path class="{class}" stroke-width="1.5" d="M{:.1} 72H{:.1}M{:.1} 68.5v7"/>"#,
            at + 4.0,
            at + 24.0,
            at + 24.0
        );
        mark(svg, class, at + 4.0, 72.0);
        text(svg, [at + 32.0, 76.0], "", name);
    }
    let _ = writeln!(svg, r#"<path class="hold" d="M464 72H488"/>"#);
    text(svg, [496.0, 76.0], "", "length of the hold");
    let heads = [(645.0, "disk"), (736.0, "network")];
    for (at, name) in heads {
        let end = r#"class="faint" text-anchor="end""#;
        text(svg, [at, TOP - 8.0], end, name);
    }
    let end = r#"class="faint" text-anchor="end""#;
    text(svg, [RIGHT + 6.0, TOP - 8.0], end, "worst, µs:");
}

fn draw(machine: &str, data: &Data) -> String {
    let mut policies: Vec<&[Row]> = Vec::new();
    policies.extend(data.rows.chunk_by(|a, b| a.policy == b.policy));
    let rows = data.rows.len() as f64;
    let bottom = TOP + rows * ROW + (policies.len() as f64 - 1.0) * GAP;
    let height = bottom + 66.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0}" height="{height:.0}" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" font-family="sans-serif" font-size="13">
<title>What disk and network interrupts wait, under each policy, by what is held</title>
<style>{STYLE}</style>
<rect class="page" x="0.5" y="0.5" width="{:.0}" height="{:.0}" rx="8"/>
"#,
        WIDTH - 1.0,
        height - 1.0
    );
    head(&mut svg, data);
    let mut y = TOP;
    for rows in policies {
        let tall = rows.len() as f64 * ROW;
        let _ = writeln!(
            svg,
            r#"<rect class="panel" x="{LEFT}" y="{y:.1}" width="{:.1}" height="{tall:.1}"/>"#,
            RIGHT - LEFT
        );
        for us in DECADES {
            let at = x(us.into());
            let _ = writeln!(svg, r#"<path class="grid" d="M{at:.1} {y:.1}v{tall:.1}"/>"#);
        }
        let at = x(data.hold_us.into());
        let _ = writeln!(svg, r#"<path class="hold" d="M{at:.1} {y:.1}v{tall:.1}"/>"#);
        let bold = r#"font-weight="600""#;
        text(&mut svg, [24.0, y + 18.0], bold, &rows[0].policy);
        for row in rows {
            let middle = y + ROW / 2.0;
            let end = r#"class="faint" text-anchor="end" font-family="monospace""#;
            text(&mut svg, [LEFT - 8.0, middle + 4.5], end, &row.held);
            draw_wait(&mut svg, "disk", middle - LANE, row.disk);
            draw_wait(&mut svg, "net", middle + LANE, row.network);
            for (at, class, wait) in [(645.0, "disk", row.disk), (736.0, "net", row.network)] {
                let attributes = format!(r#"class="{class} num" text-anchor="end""#);
                let worst = grouped(wait.worst_us);
                text(&mut svg, [at, middle + 4.5], &attributes, &worst);
            }
            y += ROW;
        }
        y += GAP;
    }
    for us in DECADES {
        let middle = r#"class="faint" text-anchor="middle""#;
        text(
            &mut svg,
            [x(us.into()), bottom + 18.0],
            middle,
            &grouped(us),
        );
    }
    let source = format!("Printed by `{}` on {machine}", data.command);
    text(&mut svg, [24.0, bottom + 46.0], r#"class="faint""#, &source);
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "orthogon> demo domains 3\n\
        CPU 2 holds something for 10 ms, 3 times; CPU 3 sends it a disk and a\n\
        policy  held      handled in hold median  worst  handled in hold median  worst\n\
        eager   nothing         3       3      4      5        3       3      6      7\n\
        eager   splnet          3       0   8123  10301        3       0   8000  10000\n\
        domain  splnet          3       3      4      5        3       0   8000  10000\n\
        domain  splnet held: the disk does not wait: 1.0 times the wait with nothing held\n\
        18 interrupts sent, 18 handled\n\
        orthogon> ";

    #[test]
    fn all_is_read_from_the_text() {
        let data = parse(SAID).unwrap();
        assert_eq!((&*data.command, data.hold_us), ("demo domains 3", 10_000));
        assert_eq!(data.rows.len(), 3);
        let wait = |median_us, worst_us| Wait {
            median_us,
            worst_us,
        };
        let expected = Row {
            policy: "eager".into(),
            held: "splnet".into(),
            disk: wait(8123, 10_301),
            network: wait(8000, 10_000),
        };
        assert_eq!(data.rows[1], expected);
        assert!(parse("orthogon> threads\n").is_err());
        assert!(parse("orthogon> demo domains\nFAILED\n").is_err());
    }

    #[test]
    fn the_picture_shows_each_figure_in_its_place() {
        let svg = draw("paper", &parse(SAID).unwrap());
        assert_eq!(svg.matches(">10,301</text>").count(), 1);
        assert_eq!(svg.matches("<rect class=\"panel\"").count(), 2);
        assert!(svg.contains("`demo domains 3` on paper<"));
        // Later on the axis, and the hold between.
        assert!(x(5.0) < x(8123.0) && x(8123.0) < x(10_000.0) && x(10_000.0) < RIGHT);
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
