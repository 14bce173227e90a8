//! What may be said of each variant, first of all.

use super::table::Table;
use super::{key, ms, signed};
use crate::report::svg::{escape, short};
use crate::results::{Cell, MetricComparison, Results, VariantResult, Verdict, WorkloadResult};
use std::fmt::Write;

/// The verdicts: a table a workload, a line a variant.
pub(super) fn verdicts(out: &mut String, r: &Results, number: usize) {
    let _ = write!(out, "<h2 id=\"verdicts{number}\">Verdicts</h2>");
    for w in &r.workloads {
        let truth = match w.truth {
            true => "against the ground truth of".to_owned(),
            false => format!("by agreement with <b>{}</b> on", escape(&r.baseline)),
        };
        let _ = write!(
            out,
            "<h3>{}</h3><p>Compared with <b>{}</b>, {truth} {} test cases.</p>",
            escape(&w.name),
            escape(&r.baseline),
            w.cases[2]
        );
        let mut table = Table::new(&[
            ("variant", true),
            ("utility", true),
            ("speed of a case", true),
            ("memory, MiB", false),
            ("file, MB", false),
        ]);
        w.notes.iter().for_each(|n| table.note(n));
        for (i, v) in w.variants.iter().enumerate() {
            let cells: Vec<&Cell> =
                r.cells.iter().filter(|c| c.workload == w.name && c.variant == v.name).collect();
            let peak = cells.iter().filter_map(|c| c.peak_mib).reduce(f64::max);
            table.row(&[
                key(i, &v.name),
                utility(v, &r.baseline),
                speed(&cells, v.name == r.baseline),
                peak.map_or("–".into(), |p| format!("{p:.0}")),
                if v.bytes > 0 { format!("{:.2}", v.bytes as f64 / 1e6) } else { "–".into() },
            ]);
        }
        out.push_str(&table.finish());
    }
}

fn badge(class: &str, words: &str) -> String {
    format!("<span class=\"badge {class}\">{}</span>", escape(words))
}

fn class(v: Verdict) -> &'static str {
    match v {
        Verdict::NonInferior => "good",
        Verdict::Inferior => "bad",
        Verdict::NotEstablished => "open",
    }
}

fn name(u: &MetricComparison) -> String {
    u.class.map_or(u.metric.clone(), |c| format!("{} of class {c}", u.metric))
}

fn utility(v: &VariantResult, baseline: &str) -> String {
    if let Some(e) = &v.error {
        return format!("{} {}", badge("open", "no results"), escape(e));
    }
    if v.name == baseline {
        let values: Vec<String> =
            v.utility.iter().map(|u| format!("{} {}", escape(&name(u)), short(u.baseline))).collect();
        return format!("the baseline: {}", values.join(", "));
    }
    // The worst verdict first.
    let rank = |v: Verdict| match v {
        Verdict::Inferior => 0,
        Verdict::NotEstablished => 1,
        Verdict::NonInferior => 2,
    };
    let mut list: Vec<&MetricComparison> = v.utility.iter().collect();
    list.sort_by_key(|u| rank(u.verdict));
    let one = |u: &MetricComparison| {
        let d = u.difference.map_or(String::new(), |d| {
            format!(
                " gain {} ({} to {}; margin {})",
                signed(d.value),
                signed(d.low),
                signed(d.high),
                short(u.margin)
            )
        });
        // The sentence is that of `optimize`.
        let words = escape(&u.sentence());
        let shown = badge(class(u.verdict), u.verdict.name());
        format!("{shown} {}{d}<br><span class=\"soft\">{words}</span>", escape(&name(u)))
    };
    list.into_iter().map(one).collect::<Vec<_>>().join("<br>")
}

fn speed(cells: &[&Cell], baseline: bool) -> String {
    let one = |c: &&Cell| {
        let profile = escape(&c.profile);
        match (&c.error, c.speedup_total) {
            (Some(e), _) => format!(
                "{} {profile}: {}",
                badge("open", if c.memory { "does not fit" } else { "not measured" }),
                escape(e)
            ),
            (None, _) if baseline => format!("{profile}: {} ms", ms(c.total_ms)),
            (None, Some(s)) => {
                let class = match c.speed_verdict() {
                    "faster" => "good",
                    "slower" => "bad",
                    _ => "open",
                };
                format!(
                    "{} {profile}: {:.2}× ({:.2} to {:.2})",
                    badge(class, c.speed_verdict()),
                    s.value,
                    s.low,
                    s.high
                )
            }
            (None, None) => format!("{profile}: {} ms, no baseline", ms(c.total_ms)),
        }
    };
    cells.iter().map(one).collect::<Vec<_>>().join("<br>")
}

/// Every metric with its numbers.
pub(super) fn all(out: &mut String, r: &Results, w: &WorkloadResult) {
    let mut table = Table::new(&[
        ("variant", true),
        ("metric", true),
        ("n", false),
        ("baseline", false),
        ("this variant", false),
        ("gain", false),
        ("97.5 % bounds", false),
        ("margin", false),
        ("verdict", true),
        ("worst case", true),
        ("missed", false),
        ("false positive", false),
        ("lost much", false),
        ("changed", false),
        ("Wilcoxon p", false),
        ("McNemar p", false),
    ]);
    out.push_str(
        "<p class=\"soft\">A gain is positive where the variant is better: its value minus the baseline's, and for distances \
         (hd95) the baseline's minus its value.</p>",
    );
    let p = |v: Option<f64>| {
        v.map_or("–".into(), |v| if v < 1e-3 { format!("{v:.1e}") } else { format!("{v:.3}") })
    };
    for (i, v) in w.variants.iter().enumerate().filter(|v| v.1.name != r.baseline) {
        for u in &v.utility {
            let [d, range] = match u.difference {
                Some(d) => [signed(d.value), format!("{} to {}", signed(d.low), signed(d.high))],
                None => ["–".into(), "–".into()],
            };
            let worst = u
                .worst
                .as_ref()
                .map_or("–".into(), |x| format!("{} {}", escape(&x.case), signed(x.difference)));
            let pair = |[a, b]: [usize; 2]| format!("{a} → {b}");
            table.row(&[
                key(i, &v.name),
                escape(&name(u)),
                u.n.to_string(),
                format!("{:.4}", u.baseline),
                format!("{:.4}", u.variant),
                d,
                range,
                short(u.margin),
                badge(class(u.verdict), u.verdict.name()),
                worst,
                pair(u.missed),
                pair(u.false_positives),
                u.case_claim.lost.to_string(),
                u.changed.to_string(),
                p(u.wilcoxon_p),
                p(u.mcnemar_p),
            ]);
        }
    }
    out.push_str(&table.finish());
}
