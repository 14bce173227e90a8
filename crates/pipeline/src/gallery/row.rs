//! A case on the page.

use super::escape::{link as relative, text};
use super::{KINDS, Quantity, Row, Status};
use std::fmt::Write as _;

/// Results and warnings of a case that are shown; others are counted.
const QUANTITIES: usize = 8;
const WARNINGS: usize = 6;

/// The card of the case with a number. Tags that HTML closes by itself stay open: the page is smaller.
pub(super) fn write(out: &mut String, number: usize, row: &Row) {
    let kind = KINDS[row.status.kind()];
    let warned = if row.warnings.is_empty() { "" } else { " w" };
    let _ = write!(out, "<article id=c{number} class=\"{kind}{warned}\"");
    if let Some(s) = row.seconds.filter(|s| s.is_finite()) {
        let _ = write!(out, " data-s={s:.3}");
    }
    if !row.warnings.is_empty() {
        let _ = write!(out, " data-w={}", row.warnings.len());
    }
    out.push('>');
    picture(out, row);
    let _ = write!(out, "<h2>{}</h2><p><b class=s>{kind}</b>", text(&row.name));
    if let Some(s) = row.seconds.filter(|s| s.is_finite()) {
        let _ = write!(out, " {}", duration(s));
    }
    if let Status::Failed(why) | Status::Skipped(why) = &row.status {
        let _ = write!(out, "<p class=r>{}", text(why));
    }
    if let Some(class) = &row.class {
        let _ = write!(out, "<p>class <b>{}</b>", text(class));
    }
    quantities(out, &row.quantities);
    for warning in row.warnings.iter().take(WARNINGS) {
        let _ = write!(out, "<p class=a>{}", text(warning));
    }
    more(out, row.warnings.len(), WARNINGS, "warnings");
    out.push_str("</article>\n");
}

/// An item of the list of cases to look at first.
pub(super) fn link(number: usize, row: &Row) -> String {
    let why = match (&row.status, row.warnings.first()) {
        (Status::Failed(why), _) => format!("failed: {why}"),
        (Status::Skipped(why), _) => format!("skipped: {why}"),
        (Status::Done | Status::Kept, Some(warning)) => warning.clone(),
        (Status::Done | Status::Kept, None) => String::new(),
    };
    // A line is enough here; the case has the whole text.
    let short: String = why.chars().take(120).collect();
    let dots = if short.len() < why.len() { " […]" } else { "" };
    format!("<li><a href=#c{number}>{}</a> {}{dots}\n", text(&row.name), text(&short))
}

fn picture(out: &mut String, row: &Row) {
    match row.picture.as_deref().and_then(relative) {
        Some(p) => {
            let shown = row.thumbnail.as_deref().and_then(relative).unwrap_or_else(|| p.clone());
            let _ = write!(
                out,
                "<a href=\"{p}\"><img loading=lazy src=\"{shown}\" alt=\"picture of this case\"></a>"
            );
        }
        None => out.push_str("<div class=e>no picture</div>"),
    }
}

fn quantities(out: &mut String, all: &[Quantity]) {
    if all.is_empty() {
        return;
    }
    out.push_str("<table>");
    for q in all.iter().take(QUANTITIES) {
        let gap = if q.unit.is_empty() { "" } else { " " };
        let _ = write!(out, "<tr><td>{}<td>{}{gap}{}", text(&q.name), number(q.value), text(&q.unit));
    }
    out.push_str("</table>");
    more(out, all.len(), QUANTITIES, "results");
}

fn more(out: &mut String, all: usize, shown: usize, what: &str) {
    if all > shown {
        let _ = write!(out, "<p class=d>+ {} more {what}", all - shown);
    }
}

/// A number with four digits, or all those before the point.
fn number(v: f64) -> String {
    if !v.is_finite() {
        return "not a number".to_owned();
    }
    let before = match v.abs() {
        a if a >= 1e9 || (a > 0.0 && a < 1e-4) => return format!("{v:.3e}"),
        a if a >= 1000.0 => 4,
        a if a >= 100.0 => 3,
        a if a >= 10.0 => 2,
        _ => 1,
    };
    let digits = 4 - before;
    let s = format!("{v:.digits$}");
    if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_owned() } else { s }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        let got = [1432.56, 12.3456, 0.5, 0.0, 123456.7, 1e12, 0.00001, -3.0, f64::NAN].map(number);
        assert_eq!(
            got,
            ["1433", "12.35", "0.5", "0", "123457", "1.000e12", "1.000e-5", "-3", "not a number"]
        );
        assert_eq!([0.25, 12.34, 150.0].map(duration), ["250 ms", "12.3 s", "2 min"]);
    }
}
