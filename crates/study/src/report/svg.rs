//! Plots as SVG, without scripts. Colours of text and lines come from the page, so that they follow light and
//! dark; every mark has a title for who points at it.

use crate::results::Estimate;
use std::fmt::Write;

/// Width of all plots in their own units; the page scales them.
const WIDTH: f64 = 480.0;
/// Room for names on the left.
const NAMES: f64 = 130.0;
/// Height of a row.
const ROW: f64 = 24.0;

/// Colours of series, the first eight told apart also by those who see fewer of them (Okabe and Ito).
const COLOURS: [&str; 16] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a00", "#8c6bb1", "#6f6fd8",
    "#117733", "#b0407a", "#44aa99", "#b8860b", "#aa4499", "#8b4513", "#708090",
];

/// Colour of series `i`.
pub(super) fn colour(i: usize) -> &'static str {
    COLOURS[i % COLOURS.len()]
}

/// Text safe inside HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            _ => out.push(c),
        }
    }
    out
}

/// A number with three significant digits.
pub(super) fn short(v: f64) -> String {
    match v.abs() {
        _ if !v.is_finite() => "–".into(),
        0.0 => "0".into(),
        a if !(1e-4..1e5).contains(&a) => format!("{v:.2e}"),
        a => {
            let digits = (2 - a.log10().floor() as i32).max(0) as usize;
            let text = format!("{v:.digits$}");
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
    }
}

/// Values beyond this are none that anything was measured to be; margins around them would be infinite.
const HUGE: f64 = 1e100;

/// A scale from values to units of the plot.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    log: bool,
    start: f64,
    end: f64,
}

impl Scale {
    /// Covers all values with a margin, from `start` to `end` of the plot.
    fn over(values: impl Iterator<Item = f64>, log: bool, start: f64, end: f64) -> Self {
        let fine = values.filter(|v| v.abs() < HUGE && (!log || *v > 1.0 / HUGE));
        let (mut low, mut high) =
            fine.fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(v), r.1.max(v)));
        if low > high {
            (low, high) = (1.0, 2.0);
        }
        let (mut from, mut to) = if log { (low.ln(), high.ln()) } else { (low, high) };
        let little = if log { 0.05 } else { 1e-3 * to.abs() };
        let margin = ((to - from) * 0.06).max(if little > 0.0 { little } else { 0.5 });
        (from, to) = (from - margin, to + margin);
        Scale { from, to, log, start, end }
    }

    fn at(&self, v: f64) -> f64 {
        let x = if self.log { v.max(f64::MIN_POSITIVE).ln() } else { v };
        let t = ((x - self.from) / (self.to - self.from)).clamp(-0.02, 1.02);
        self.start + t * (self.end - self.start)
    }

    /// Round values inside.
    fn ticks(&self) -> Vec<f64> {
        if self.log && self.to - self.from > 1.5 {
            let mut all = Vec::new();
            let (low, high) = (self.from.exp(), self.to.exp());
            let steps: &[f64] = if high / low > 50.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            for e in (low.log10().floor() as i32)..=(high.log10().ceil() as i32) {
                all.extend(steps.iter().map(|s| s * 10f64.powi(e)).filter(|v| (low..=high).contains(v)));
            }
            return thin(all, 7);
        }
        let (from, to) = if self.log { (self.from.exp(), self.to.exp()) } else { (self.from, self.to) };
        let raw = (to - from) / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * power).into_iter().find(|s| *s >= raw).unwrap_or(raw);
        let first = (from / step).ceil() as i64;
        let last = (to / step).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// A tick's number, with as many digits as tell it from its neighbours.
fn tick(t: f64, all: &[f64]) -> String {
    let step = all.windows(2).map(|w| (w[1] - w[0]).abs()).fold(f64::INFINITY, f64::min);
    // Of a logarithmic axis, neighbours do not tell how many digits a number has.
    let even = all.windows(2).all(|w| (w[1] - w[0] - step).abs() <= 1e-6 * step);
    if !step.is_finite() || t.abs() >= 1e6 || step < 1e-6 || !even {
        return short(t);
    }
    let digits = (-step.log10()).ceil().max(0.0) as usize;
    format!("{:.digits$}", if t.abs() < step / 2.0 { 0.0 } else { t })
}

fn thin(all: Vec<f64>, most: usize) -> Vec<f64> {
    let step = all.len().div_ceil(most).max(1);
    all.into_iter().step_by(step).collect()
}

fn open(height: f64, what: &str) -> String {
    let what = escape(what);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{what}\"><title>{what}</title>"
    )
}

/// A name, cut where it is too long.
fn label(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return escape(text);
    }
    escape(&(text.chars().take(most - 1).collect::<String>() + "…"))
}

fn vertical_ticks(out: &mut String, x: &Scale, top: f64, bottom: f64) {
    let ticks = x.ticks();
    for &t in &ticks {
        let at = x.at(t);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            tick(t, &ticks)
        );
    }
}

/// Estimates with intervals on a logarithmic axis, and a line at 1.
pub(super) fn forest(what: &str, rows: &[(String, Option<Estimate>, usize)]) -> String {
    let bottom = 8.0 + ROW * rows.len() as f64;
    let values = rows.iter().filter_map(|r| r.1).flat_map(|e| [e.low, e.high]).chain([1.0]);
    let x = Scale::over(values, true, NAMES, WIDTH - 56.0);
    let mut out = open(bottom + 24.0, what);
    vertical_ticks(&mut out, &x, 4.0, bottom);
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"4\" y2=\"{bottom:.1}\"/>",
        x.at(1.0)
    );
    for (i, (name, e, series)) in rows.iter().enumerate() {
        let y = 8.0 + ROW * (i as f64 + 0.5);
        let _ = write!(out, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 4.0, label(name, 18));
        let Some(e) = e else {
            let _ = write!(out, "<text class=\"tick\" x=\"{NAMES}\" y=\"{:.1}\">no numbers</text>", y + 4.0);
            continue;
        };
        let c = colour(*series);
        let _ = write!(
            out,
            "<g><title>{}: {} ({} to {})</title>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{c}\" stroke-width=\"3\"/>\
             <circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{c}\"/></g>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.2}×</text>",
            escape(name),
            short(e.value),
            short(e.low),
            short(e.high),
            x.at(e.low),
            x.at(e.high),
            x.at(e.value),
            WIDTH - 50.0,
            y + 4.0,
            e.value
        );
    }
    out + "</svg>"
}

/// Bars from zero, each with its number.
pub(super) fn bars(what: &str, rows: &[(String, f64, usize)], unit: &str) -> String {
    let bottom = 8.0 + ROW * rows.len() as f64;
    let most = rows.iter().map(|r| r.1).filter(|v| v.is_finite()).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let room = WIDTH - NAMES - 90.0;
    let mut out = open(bottom + 4.0, what);
    for (i, (name, v, series)) in rows.iter().enumerate() {
        let y = 8.0 + ROW * i as f64;
        let width = if v.is_finite() { (v / most * room).max(1.0) } else { 0.0 };
        let _ = write!(
            out,
            "<text x=\"0\" y=\"{:.1}\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}</title></rect>\
             <text x=\"{:.1}\" y=\"{:.1}\">{} {unit}</text>",
            y + 16.0,
            label(name, 18),
            y + 3.0,
            ROW - 8.0,
            colour(*series),
            escape(name),
            NAMES + width + 5.0,
            y + 16.0,
            short(*v)
        );
    }
    out + "</svg>"
}

/// Bars of parts side by side, with a legend.
pub(super) fn stacked(what: &str, rows: &[(String, Vec<(String, f64)>)], unit: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for (_, list) in rows {
        parts.extend(list.iter().map(|p| p.0.as_str()).filter(|p| !parts.contains(p)).collect::<Vec<_>>());
    }
    let total = |list: &[(String, f64)]| list.iter().map(|p| p.1).sum::<f64>();
    let most = rows.iter().map(|r| total(&r.1)).fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - NAMES - 90.0;
    let bottom = 8.0 + ROW * rows.len() as f64;
    let lines = parts.len().div_ceil(3);
    let mut out = open(bottom + 8.0 + 20.0 * lines as f64, what);
    for (i, (name, list)) in rows.iter().enumerate() {
        let y = 8.0 + ROW * i as f64;
        let _ = write!(out, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 16.0, label(name, 18));
        let mut x = NAMES;
        for (part, v) in list {
            let width = v / most * room;
            let series = parts.iter().position(|p| p == part).unwrap_or(0);
            let _ = write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\">\
                 <title>{}: {} {unit}</title></rect>",
                y + 3.0,
                ROW - 8.0,
                colour(series),
                escape(part),
                short(*v)
            );
            x += width;
        }
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\">{} {unit}</text>",
            x + 5.0,
            y + 16.0,
            short(total(list))
        );
    }
    for (i, part) in parts.iter().enumerate() {
        let (x, y) = (160.0 * (i % 3) as f64, bottom + 8.0 + 20.0 * (i / 3) as f64);
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"{y:.1}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"{:.1}\">{}</text>",
            colour(i),
            x + 17.0,
            y + 11.0,
            label(part, 18)
        );
    }
    out + "</svg>"
}

/// What else is drawn into a scatter plot.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Lines<'a> {
    None,
    /// Where both values are equal.
    Diagonal,
    /// Across, at values with names.
    Levels(&'a [(f64, &'a str)]),
}

/// Points `(x, y, title, series)`.
pub(super) fn scatter(
    what: &str,
    points: &[(f64, f64, String, usize)],
    names: [&str; 2],
    log: bool,
    lines: Lines,
) -> String {
    const HEIGHT: f64 = 300.0;
    let (left, right, top, bottom) = (62.0, WIDTH - 12.0, 12.0, HEIGHT - 44.0);
    let levels: &[(f64, &str)] = if let Lines::Levels(l) = lines { l } else { &[] };
    let xs = points.iter().map(|p| p.0);
    let ys = points.iter().map(|p| p.1).chain(levels.iter().map(|l| l.0));
    let (x, y) = match lines {
        Lines::Diagonal => {
            let all = || points.iter().flat_map(|p| [p.0, p.1]);
            (Scale::over(all(), false, left, right), Scale::over(all(), false, bottom, top))
        }
        Lines::None | Lines::Levels(_) => {
            (Scale::over(xs, log, left, right), Scale::over(ys, false, bottom, top))
        }
    };
    let mut out = open(HEIGHT, what);
    vertical_ticks(&mut out, &x, top, bottom);
    let ticks = y.ticks();
    for &t in &ticks {
        let at = y.at(t);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 5.0,
            at + 4.0,
            tick(t, &ticks)
        );
    }
    if lines == Lines::Diagonal {
        let (a, b) = (x.from, x.to);
        let _ = write!(
            out,
            "<line class=\"axis\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
            x.at(a),
            x.at(b),
            y.at(a),
            y.at(b)
        );
    }
    for (v, name) in levels {
        let at = y.at(*v);
        let _ = write!(
            out,
            "<line class=\"axis\" stroke-dasharray=\"5 4\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            at - 4.0,
            escape(name)
        );
    }
    for (px, py, title, series) in points.iter().filter(|p| p.0.is_finite() && p.1.is_finite()) {
        let _ = write!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"{}\" fill-opacity=\"0.8\"><title>{}</title></circle>",
            x.at(*px),
            y.at(*py),
            colour(*series),
            escape(title)
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text></svg>",
        (left + right) / 2.0,
        HEIGHT - 6.0,
        escape(names[0]),
        (top + bottom) / 2.0,
        escape(names[1])
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (v, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (123.4, "123"),
            (0.01234, "0.0123"),
            (1e6, "1.00e6"),
            (-2.0, "-2"),
            (100.0, "100"),
        ] {
            assert_eq!(short(v), text);
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let s = Scale::over([0.5, 8.0].into_iter(), true, 0.0, 100.0);
        assert_eq!(s.ticks(), [0.5, 1.0, 2.0, 5.0]);
        let shown = |all: &[f64]| all.iter().map(|t| tick(*t, all)).collect::<Vec<_>>();
        assert_eq!(shown(&[0.5, 1.0, 2.0, 5.0]), ["0.5", "1", "2", "5"]);
        assert_eq!(shown(&[1.0, 10.0, 100.0, 1000.0]), ["1", "10", "100", "1000"]);
        assert_eq!(shown(&[-0.5, 0.0, 0.5]), ["-0.5", "0.0", "0.5"]);
        let s = Scale::over([0.0, 10.0].into_iter(), false, 0.0, 100.0);
        assert!(s.ticks() == [0.0, 5.0, 10.0]);
        // Nothing, or all the same, is no reason to fail.
        for values in [vec![], vec![3.0], vec![f64::NAN]] {
            assert!(Scale::over(values.into_iter(), false, 0.0, 1.0).ticks().len() < 20);
        }
        // Values that no study measures, up to the largest there is, do not take all memory.
        for values in [[1.0, 1e300], [1e-300, 1.0], [f64::MAX, f64::MIN], [0.0, f64::INFINITY]] {
            for log in [false, true] {
                assert!(Scale::over(values.into_iter(), log, 0.0, 1.0).ticks().len() < 20, "{values:?}");
            }
        }
    }

    #[test]
    fn names_cannot_break_out() {
        let page = bars("<x>", &[("<script>".into(), 1.0, 0)], "ms");
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
    }
}
