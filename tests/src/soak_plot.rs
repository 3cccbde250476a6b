// SPDX-License-Identifier: MIT OR Apache-2.0
//! The samples of a soak as a picture: a panel for each figure, one above the other, over the same time. SVG, for the docs.
//!
//! Each panel begins at zero, so that flat looks flat. The same samples give the same picture.

use std::fmt::Write;

use crate::net_soak::{SETTLED, Sample};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 730.0;
const TOP: f64 = 70.0;
const PANEL: f64 = 64.0;
const GAP: f64 = 16.0;
const STYLE: &str = "text{fill:#1f2328}.faint{fill:#59636e}.page{fill:#fff;stroke:#d1d9e0}.panel{fill:#f6f8fa}\
.line{fill:none;stroke:#0969da;stroke-width:1.5}.settled{stroke:#59636e;stroke-dasharray:3 3}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.faint{fill:#9198a1}.page{fill:#0d1117;stroke:#3d444d}\
.panel{fill:#151b23}.line{stroke:#4493f8}.settled{stroke:#9198a1}}";

/// What the panels show, with where it is in [`Sample::values`].
const PANELS: [(usize, &str); 7] = [
    (1, "heap, KiB"),
    (2, "packet buffers in use"),
    (3, "sockets"),
    (4, "ping, median, µs"),
    (5, "ping, 99th percentile, µs"),
    (7, "TCP echo, MiB/s each way"),
    (8, "disk, requests/s"),
];

/// The picture.
pub fn draw(samples: &[Sample]) -> String {
    let height = TOP + PANELS.len() as f64 * (PANEL + GAP) + 40.0;
    let end_s = samples.last().map_or(1.0, |sample| sample.seconds).max(1.0);
    let x = |seconds: f64| LEFT + (RIGHT - LEFT) * seconds / end_s;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0}" height="{height:.0}" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img" font-family="sans-serif" font-size="13">
<title>Disk and network under load at once: what the kernel holds, and how it serves</title>
<style>{STYLE}</style>
<rect class="page" x="0.5" y="0.5" width="{:.0}" height="{:.0}" rx="8"/>
<text x="24" y="32" font-size="16" font-weight="600">Disk and network under load at once</text>
<text class="faint" x="24" y="52">a sample after each turn; dashed: when it has to have settled</text>
"#,
        WIDTH - 1.0,
        height - 1.0
    );
    for (n, (field, name)) in PANELS.into_iter().enumerate() {
        let top = TOP + n as f64 * (PANEL + GAP);
        let values: Vec<(f64, f64)> = samples
            .iter()
            .map(|sample| (sample.seconds, sample.values()[field]))
            .filter(|(_, value)| value.is_finite())
            .collect();
        let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let scale = if most > 0.0 {
            (PANEL - 8.0) / most
        } else {
            0.0
        };
        let points: Vec<_> = values
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", x(*at), top + PANEL - value * scale))
            .collect();
        let middle = top + PANEL / 2.0;
        let last = values.last().map_or(0.0, |(_, value)| *value);
        // The picture is a string, which always takes more.
        let _ = writeln!(
            svg,
            r#"<rect class="panel" x="{LEFT}" y="{top:.1}" width="{:.1}" height="{PANEL}"/>
<text x="24" y="{middle:.1}">{name}</text>
<text class="faint" x="24" y="{:.1}">at most {most:.0}, at the end {last:.0}</text>
<polyline class="line" points="{}"/>"#,
            RIGHT - LEFT,
            middle + 17.0,
            points.join(" ")
        );
        let settled_s = SETTLED.as_secs_f64();
        if settled_s < end_s {
            let at = x(settled_s);
            let _ = writeln!(
                svg,
                r#"<path class="settled" d="M{at:.1} {top:.1}v{PANEL}"/>"#
            );
        }
    }
    let bottom = TOP + PANELS.len() as f64 * (PANEL + GAP);
    for part in 0..=4 {
        let seconds = end_s * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            r#"<text class="faint" text-anchor="middle" x="{:.1}" y="{bottom:.1}">{:.0} min</text>"#,
            x(seconds),
            seconds / 60.0
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_panel_has_a_line_that_begins_at_zero() {
        let sample = |n: u32| Sample {
            seconds: f64::from(n) * 30.0,
            heap_kib: 100.0,
            ping_p99_us: f64::NAN,
            ..Sample::default()
        };
        let svg = draw(&(0..100).map(sample).collect::<Vec<_>>());
        assert_eq!(svg.matches("<polyline").count(), PANELS.len());
        assert!(svg.contains("at most 100, at the end 100") && !svg.contains("NaN"));
        // The greatest value is eight below the panel's top, nothing is at its bottom.
        assert!(
            svg.contains(&format!("{LEFT:.1},{:.1}", TOP + 8.0)),
            "{svg}"
        );
    }
}
