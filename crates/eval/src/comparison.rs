//! What came of comparing two models by one metric, in numbers and in one sentence.

use crate::evidence::{CaseClaim, Finding, MeanClaim, Method, Verdict};
use crate::metric::title;
use crate::statistics::Estimate;
use serde::{Deserialize, Serialize};

/// One metric of a variant compared with the baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MetricComparison {
    /// Metric.
    pub metric: String,
    /// Class, where there are several.
    pub class: Option<u16>,
    /// Cases.
    pub n: usize,
    /// Groups of cases that count once; as many as cases where there are none.
    pub groups: usize,
    /// The baseline's mean over cases (or its value, for metrics of all cases together).
    pub baseline: f64,
    /// The variant's.
    pub variant: f64,
    /// Mean difference over groups, positive where the variant is better, with the bounds of [`MeanClaim`] (each a one-sided
    /// 97.5 % bound).
    pub difference: Option<Estimate>,
    /// The margin of the mean, set beforehand.
    pub margin: f64,
    /// That the mean loss is below the margin; `None` where there is no mean.
    pub mean_claim: Option<MeanClaim>,
    /// That few cases lose much.
    pub case_claim: CaseClaim,
    /// What may be said.
    pub verdict: Verdict,
    /// The case that lost most.
    pub worst: Option<WorstCase>,
    /// Cases whose ground truth is not empty and whose prediction is: baseline, variant.
    pub missed: [usize; 2],
    /// Cases whose ground truth is empty and whose prediction is not: baseline, variant.
    pub false_positives: [usize; 2],
    /// Cases whose value changed at all.
    pub changed: usize,
    /// Wilcoxon's signed-rank test over cases, two-sided, as support.
    pub wilcoxon_p: Option<f64>,
    /// McNemar's exact test over cases, for classes.
    pub mcnemar_p: Option<f64>,
}

impl MetricComparison {
    /// The verdict, both claims and their bounds in one sentence, the same wherever it is said.
    pub fn sentence(&self) -> String {
        sentence(self)
    }

    /// How many groups (cases, where there are none) would establish both claims if all were like these; `None` where no
    /// number would.
    pub fn needed(&self) -> Option<usize> {
        let mean = self.mean_claim.as_ref()?.needed?;
        Some(mean.max(self.case_claim.needed?))
    }

    /// Whether the variant may be taken: it is non-inferior. Of fewer cases than can establish that when none of them loses
    /// anything, none may lose more than the claim's own limit; the verdict stays *not established*.
    pub fn met(&self) -> bool {
        let (Some(mean), cases) = (&self.mean_claim, &self.case_claim) else { return false };
        let loss = self.difference.map_or(f64::INFINITY, |d| -d.value);
        let worst = self.worst.as_ref().map_or(loss, |w| -w.difference);
        let mean_met = match mean.least.is_none_or(|least| self.groups < least) {
            true => worst <= mean.limit + 1e-12,
            false => mean.finding == Finding::Established,
        };
        let cases_met = match self.groups < cases.least {
            true => cases.lost == 0,
            false => cases.finding == Finding::Established,
        };
        self.verdict != Verdict::Inferior && mean_met && cases_met
    }
}

/// A case and its difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorstCase {
    /// The case.
    pub case: String,
    /// Its difference, negative for a loss.
    pub difference: f64,
}

/// A share in percent, short.
fn percent(share: f64) -> String {
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
fn sentence(m: &MetricComparison) -> String {
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
    let title = title(&m.metric, m.class);
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
