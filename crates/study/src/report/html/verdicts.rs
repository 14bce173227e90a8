//! What may be said of each variant, first of all.

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
            "<h3>{}</h3><p>Compared with <b>{}</b>, {truth} {} test cases.</p><div class=\"wide\"><table class=\"verdicts\"><thead><tr>\
             <th>variant</th><th class=\"text\">utility</th><th class=\"text\">speed of a case</th><th>memory, MiB</th>\
             <th>file, MB</th></tr></thead>",
            escape(&w.name),
            escape(&r.baseline),
            w.cases[2]
        );
        for note in &w.notes {
            let _ = write!(out, "<caption class=\"soft\">{}</caption>", escape(note));
        }
        for (i, v) in w.variants.iter().enumerate() {
            let cells: Vec<&Cell> =
                r.cells.iter().filter(|c| c.workload == w.name && c.variant == v.name).collect();
            let peak = cells.iter().filter_map(|c| c.peak_mib).reduce(f64::max);
            let _ = write!(
                out,
                "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td><td>{}</td><td>{}</td></tr>",
                key(i, &v.name),
                utility(v, &r.baseline),
                speed(&cells, v.name == r.baseline),
                peak.map_or("–".into(), |p| format!("{p:.0}")),
                if v.bytes > 0 { format!("{:.2}", v.bytes as f64 / 1e6) } else { "–".into() }
            );
        }
        out.push_str("</table></div>");
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
                " {} ({} to {}; margin {})",
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
    out.push_str(
        "<div class=\"wide\"><table><thead><tr><th>variant</th><th class=\"text\">metric</th><th>n</th><th>baseline</th>\
         <th>variant</th><th>difference</th><th>95 % interval</th><th>margin</th><th class=\"text\">verdict</th>\
         <th class=\"text\">worst case</th><th>missed</th><th>false positive</th><th>lost much</th><th>changed</th><th>Wilcoxon p</th>\
         <th>McNemar p</th></tr></thead>",
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
            let _ = write!(
                out,
                "<tr><td>{}</td><td class=\"text\">{}</td><td>{}</td><td>{:.4}</td><td>{:.4}</td><td>{d}</td><td>{range}</td>\
                 <td>{}</td><td class=\"text\">{}</td><td class=\"text\">{worst}</td><td>{} → {}</td><td>{} → {}</td><td>{}</td><td>{}</td>\
                 <td>{}</td><td>{}</td></tr>",
                key(i, &v.name),
                escape(&name(u)),
                u.n,
                u.baseline,
                u.variant,
                short(u.margin),
                badge(class(u.verdict), u.verdict.name()),
                u.missed[0],
                u.missed[1],
                u.false_positives[0],
                u.false_positives[1],
                u.case_claim.lost,
                u.changed,
                p(u.wilcoxon_p),
                p(u.mcnemar_p)
            );
        }
    }
    out.push_str("</table></div>");
}
