//! The verdict in words, the same wherever it is said.

use super::{CaseClaim, Finding, Method, Verdict};
use crate::paired::MetricComparison;

/// A share in percent, short.
pub(crate) fn percent(share: f64) -> String {
    let p = 100.0 * share;
    let text = if p < 10.0 { format!("{p:.2}") } else { format!("{p:.1}") };
    let short = text.trim_end_matches('0').trim_end_matches('.');
    format!("{short} %")
}

/// Four digits behind the point, without zeros at the end.
fn short(x: f64) -> String {
    let text = format!("{x:.4}");
    let cut = text.trim_end_matches('0').trim_end_matches('.');
    if cut == "-0" { "0".into() } else { cut.into() }
}

/// One sentence on a metric: the verdict, what it is of, and both claims with their bounds and limits.
pub(crate) fn sentence(m: &MetricComparison) -> String {
    let units = if m.groups < m.n { "groups" } else { "cases" };
    let sample = match m.groups < m.n {
        true => format!("{} cases in {} groups", m.n, m.groups),
        false => format!("{} case{}", m.n, if m.n == 1 { "" } else { "s" }),
    };
    let why = match m.verdict {
        Verdict::NonInferior | Verdict::Inferior => String::new(),
        Verdict::NotEstablished => match m.needed() {
            Some(n) => format!(" ({n} {units} like these would)"),
            None => format!(" (no number of {units} like these would)"),
        },
    };
    let title = crate::metric::title(&m.metric, m.class);
    let values = format!("{:.4} before, {:.4} after, {sample}", m.baseline, m.variant);
    format!("{title}: {}{why}: {values}; {}; {}", m.verdict.name(), mean(m), cases(&m.case_claim, units))
}

fn mean(m: &MetricComparison) -> String {
    let Some(c) = &m.mean_claim else { return "no mean loss can be computed".into() };
    let how = match (c.method, c.most) {
        (Method::Betting, Some(most)) => format!("counting none for more than {}", short(most)),
        (Method::Betting | Method::Tango, _) => "score interval".into(),
        (Method::TangoByClass, _) => "score intervals by class".into(),
        (Method::Delong, _) => "DeLong".into(),
        (Method::Groups, _) => "by groups".into(),
    };
    // Up, so that what is said is not less than the bound.
    let bound = (c.bounds[1] * 1e4).ceil() / 1e4;
    let word = mark(c.finding);
    format!("mean loss at most {bound:.4} (97.5 %, {how}), margin {} {word}", short(c.limit))
}

fn cases(c: &CaseClaim, units: &str) -> String {
    format!(
        "{} lost more than {}, so at most {} of all {units} do (97.5 %), limit {} {}",
        c.lost,
        short(c.loss),
        percent(c.share[1]),
        percent(c.limit),
        mark(c.finding)
    )
}

fn mark(finding: Finding) -> &'static str {
    match finding {
        Finding::Established => "met",
        Finding::Refuted => "NOT met",
        Finding::NotEstablished => "not shown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.088, 0.1, 0.0106, 0.459, 1.0].map(percent),
            ["8.8 %", "10 %", "1.06 %", "45.9 %", "100 %"]
        );
        assert_eq!([0.05, 1.0, -0.00001, 0.12345].map(short), ["0.05", "1", "0", "0.1235"]);
    }
}
