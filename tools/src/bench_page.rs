// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page of `make bench`: ratios first, a picture of each group, and whether a figure is better than it was.
//!
//! # Theory
//! What is compared with the baseline is what repeats: of counted instructions their number, of timed figures the ratio
//! to the peer that was measured in the same run, for the host's mood is in both. Each has the width within which two
//! runs of the same kernel fall ([`COUNTED_NOISE`], [`TIMED_NOISE`]); only what lies beyond is called better or worse.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::figures::Figure;

/// Two runs of one kernel differ by less: counted, as shares of the figure; timed, on a host that does other things, too.
const COUNTED_NOISE: f64 = 0.02;
const TIMED_NOISE: f64 = 0.30;

/// The figures of one measurement.
#[derive(Debug)]
pub struct Group {
    /// Of its files.
    pub name: &'static str,
    /// Of its part of the page.
    pub title: &'static str,
    /// In the order in which they were measured.
    pub figures: Vec<Figure>,
}

/// What of a figure is compared with earlier ones: a value, whether less of it is better, and what is noise.
fn compared(figure: &Figure) -> Option<(f64, bool, f64)> {
    match figure.ratio() {
        _ if figure.counted => Some((figure.ours, figure.less, COUNTED_NOISE)),
        Some(ratio) => Some((ratio, false, TIMED_NOISE)),
        None => None,
    }
}

/// What the figures were when they were last committed, by group and name.
#[derive(Debug, Default)]
pub struct Baseline(BTreeMap<String, f64>);

impl Baseline {
    /// Reads it; there is none before the first `--update`.
    ///
    /// # Errors
    /// It is there and not readable.
    pub fn read(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        Ok(Self(serde_json::from_slice(&crate::read(
            file,
            "it is committed",
        )?)?))
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        crate::write(
            file,
            format!("{}\n", serde_json::to_string_pretty(&self.0)?).as_bytes(),
        )
    }

    /// Takes what was measured now; the rest stays.
    pub fn take(&mut self, groups: &[Group]) {
        for group in groups {
            for figure in &group.figures {
                if let Some((value, ..)) = compared(figure) {
                    let value = (value * 1000.0).round() / 1000.0;
                    self.0.insert(key(group, figure), value);
                }
            }
        }
    }

    /// What was, and what that makes of the figure: `better`, `worse` or `=`.
    fn verdict(&self, group: &Group, figure: &Figure) -> Option<(f64, &'static str)> {
        let (value, less, noise) = compared(figure)?;
        let before = *self.0.get(&key(group, figure))?;
        let change = if less { before / value } else { value / before };
        let word = match change {
            change if change > 1.0 + noise => "better",
            change if change < 1.0 / (1.0 + noise) => "**worse**",
            _ => "=",
        };
        Some((before, word))
    }
}

fn key(group: &Group, figure: &Figure) -> String {
    format!("{}: {}", group.name, figure.name)
}

/// 1,234; 12.3; 1.23.
fn rounded(value: f64) -> String {
    match value.abs() {
        value if value >= 100.0 || value.fract() == 0.0 => {
            let (digits, mut text) = (format!("{value:.0}"), String::new());
            for (n, digit) in digits.chars().enumerate() {
                if n > 0 && (digits.len() - n).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// The page.
pub fn page(groups: &[Group], baseline: &Baseline, machine: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# What was measured\n\n\
         A ratio is how many times better the kernel is than its peer in the same run. Times are an emulator's: ratios\n\
         and counts say something, times alone do not. *Before*: what is compared (a count, else the ratio) when the\n\
         baseline was committed; a change within the noise (2 % of a count, 30 % of a ratio of times) is `=`.\n\n",
    );
    for (what, said) in machine {
        let _ = writeln!(text, "- {what}: {said}");
    }
    for group in groups {
        let _ = writeln!(text, "\n## {}\n", group.title);
        if group.figures.iter().any(|figure| figure.ratio().is_some()) {
            let _ = writeln!(text, "![{}]({}.svg)\n", group.title, group.name);
        }
        text +=
            "| | Ratio | Orthogon | Peer | Unit | Before | |\n|---|---:|---:|---:|---|---:|---|\n";
        for figure in &group.figures {
            let or_none = |value: Option<f64>| value.map_or("-".to_owned(), rounded);
            let verdict = baseline.verdict(group, figure);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                figure.name,
                figure
                    .ratio()
                    .map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
                rounded(figure.ours),
                or_none(figure.peer),
                figure.unit,
                or_none(verdict.map(|(before, _)| before)),
                verdict.map_or("new", |(_, word)| word),
            );
        }
    }
    text
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 660.0;
const TOP: f64 = 56.0;
const ROW: f64 = 24.0;
/// The least and the greatest ratio of the axis.
const LEAST: f64 = 0.1;
const MOST: f64 = 10.0;
const STYLE: &str = "text{fill:#1f2328}.faint{fill:#59636e}.page{fill:#fff;stroke:#d1d9e0}.one{stroke:#59636e}\
.better{fill:#1a7f37}.worse{fill:#bc4c00}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.faint{fill:#9198a1}.page{fill:#0d1117;stroke:#3d444d}\
.one{stroke:#9198a1}.better{fill:#3fb950}.worse{fill:#f0883e}}";

fn x(ratio: f64) -> f64 {
    let share = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + (RIGHT - LEFT) * share
}

/// A bar for each ratio, from 1 to the left or to the right, on a logarithmic axis; none without ratios.
pub fn draw(group: &Group) -> Option<String> {
    let rows = group.figures.iter();
    let rows: Vec<_> = rows
        .filter_map(|figure| Some((figure, figure.ratio()?)))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let bottom = TOP + rows.len() as f64 * ROW;
    let (height, one) = (bottom + 40.0, x(1.0));
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0}" height="{height:.0}" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" font-family="sans-serif" font-size="13">
<title>{title}: times better than the peer</title>
<style>{STYLE}</style>
<rect class="page" x="0.5" y="0.5" width="{:.0}" height="{:.0}" rx="8"/>
<text x="24" y="32" font-size="16" font-weight="600">{title}: times better than the peer</text>
"#,
        WIDTH - 1.0,
        height - 1.0,
        title = escape(group.title),
    );
    for (n, (figure, ratio)) in rows.iter().enumerate() {
        let (y, at) = (TOP + n as f64 * ROW, x(*ratio));
        let class = if *ratio >= 1.0 { "better" } else { "worse" };
        // The picture is a string, which always takes more.
        let _ = writeln!(
            svg,
            r#"<text x="24" y="{:.1}">{}</text><rect class="{class}" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/><text x="{:.0}" y="{:.1}">{ratio:.2}</text>"#,
            y + 16.0,
            escape(&figure.name),
            one.min(at),
            y + 4.0,
            (one - at).abs().max(1.0),
            ROW - 8.0,
            RIGHT + 16.0,
            y + 16.0,
        );
    }
    let _ = writeln!(
        svg,
        r#"<path class="one" d="M{one:.1} {TOP}V{bottom:.1}"/>"#
    );
    for ratio in [0.1, 0.3, 1.0, 3.0, 10.0] {
        let _ = writeln!(
            svg,
            r#"<text class="faint" text-anchor="middle" x="{:.1}" y="{:.1}">{ratio}</text>"#,
            x(ratio),
            bottom + 20.0
        );
    }
    Some(svg + "</svg>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(counted: f64, timed: f64) -> [Group; 1] {
        [Group {
            name: "disk",
            title: "Disk",
            figures: vec![
                Figure::instructions("path", counted, None),
                Figure::rate("read <4 KiB>", "MiB/s", timed, Some(10.0)),
            ],
        }]
    }

    #[test]
    fn only_what_is_beyond_the_noise_is_called_so() {
        let mut baseline = Baseline::default();
        baseline.take(&groups(1000.0, 20.0));
        let words = |counted, timed| {
            let groups = groups(counted, timed);
            let [group] = &groups;
            let words = group
                .figures
                .iter()
                .map(|f| baseline.verdict(group, f).unwrap().1);
            words.collect::<Vec<_>>()
        };
        assert_eq!(words(1010.0, 24.0), ["=", "="]);
        assert_eq!(words(1030.0, 14.0), ["**worse**", "**worse**"]);
        assert_eq!(words(900.0, 40.0), ["better", "better"]);
    }

    #[test]
    fn the_page_has_ratios_and_what_is_new() {
        let groups = groups(12_345.0, 20.0);
        let text = page(&groups, &Baseline::default(), &[("Host", "2 CPUs".into())]);
        assert!(text.contains("- Host: 2 CPUs\n"), "{text}");
        assert!(
            text.contains("| read <4 KiB> | 2.00 | 20 | 10 | MiB/s | - | new |"),
            "{text}"
        );
        assert!(
            text.contains("| path | - | 12,345 | - | instructions |"),
            "{text}"
        );
        let svg = draw(&groups[0]).unwrap();
        assert!(
            svg.contains(">2.00</text>") && svg.contains("&lt;4 KiB"),
            "{svg}"
        );
        assert_eq!(svg.matches("class=\"better\"").count(), 1);
        assert!(x(2.0) > x(1.0) && x(0.01) == x(LEAST));
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b.json");
        let mut baseline = Baseline::read(&file).unwrap();
        baseline.take(&groups(7.0, 20.0));
        baseline.write(&file).unwrap();
        assert_eq!(Baseline::read(&file).unwrap().0, baseline.0);
        assert_eq!(baseline.0["disk: read <4 KiB>"], 2.0);
    }
}
