//! Cases one by one.

use super::{figure, grid, key};
use crate::report::svg::{self, Lines, escape};
use crate::results::{Results, VariantResult, WorkloadResult};
use base64::Engine;
use std::fmt::Write;
use std::path::Path;

/// Scatter of every metric and Bland–Altman of sizes, for each variant against the baseline.
pub(super) fn agreement(out: &mut String, r: &Results, w: &WorkloadResult) {
    let mut figures = String::new();
    let others: Vec<(usize, &VariantResult)> =
        w.variants.iter().enumerate().filter(|v| v.1.name != r.baseline && v.1.cases.len() > 1).collect();
    let mut metrics: Vec<&String> =
        others.iter().flat_map(|v| &v.1.cases).flat_map(|c| c.values.keys()).collect();
    metrics.sort();
    metrics.dedup();
    // The baseline agrees with itself.
    metrics.retain(|m| *m != "agreement");
    for metric in metrics {
        let mut points = Vec::new();
        for (i, v) in &others {
            for c in &v.cases {
                if let Some([a, b]) = c.values.get(metric) {
                    points.push((*a, *b, format!("{} {}: {a:.4}, {b:.4}", v.name, c.case), *i));
                }
            }
        }
        // Classes of single photos are right or wrong: nothing to see.
        if points.iter().all(|p| p.0 == p.0.round() && p.1 == p.1.round()) {
            continue;
        }
        let names: Vec<String> = others.iter().map(|(i, v)| key(*i, &v.name)).collect();
        let what = format!("{}: {metric} case by case", w.name);
        let axes = [format!("{metric}, {}", r.baseline), format!("{metric}, variant")];
        let picture = svg::scatter(&what, &points, [&axes[0], &axes[1]], false, Lines::Diagonal);
        figure(&mut figures, &picture, &format!("{}: {}", escape(metric), names.join(" ")));
    }
    for (i, v) in &others {
        bland_altman(&mut figures, r, w, *i, v);
    }
    grid(out, &figures);
}

/// Differences of sizes over their means, with the mean difference and 1.96 standard deviations about it (Bland and
/// Altman 1986).
fn bland_altman(out: &mut String, r: &Results, w: &WorkloadResult, series: usize, v: &VariantResult) {
    let sizes: Vec<(&str, [f64; 2])> =
        v.cases.iter().filter_map(|c| Some((c.case.as_str(), c.size?))).collect();
    let photos = sizes.iter().all(|s| s.1.iter().all(|x| *x == x.round()));
    if sizes.len() < 3 || photos || sizes.iter().all(|s| s.1[0] == s.1[1]) {
        return;
    }
    let differences: Vec<f64> = sizes.iter().map(|(_, [a, b])| b - a).collect();
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let sd = (differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let point = |((case, [a, b]), d): (&(&str, [f64; 2]), &f64)| {
        ((a + b) / 2.0, *d, format!("{case}: {d:+.4}"), series)
    };
    let points: Vec<_> = sizes.iter().zip(&differences).map(point).collect();
    let levels = [(mean, "mean"), (mean - 1.96 * sd, "−1.96 SD"), (mean + 1.96 * sd, "+1.96 SD")];
    let what = format!("{}, {}: sizes of results", w.name, v.name);
    let picture = svg::scatter(&what, &points, ["mean size", "difference"], false, Lines::Levels(&levels));
    let words = format!(
        "{}: size of the result against {} (ml, or share of the tile): {mean:+.5} ± {:.5}",
        key(series, &v.name),
        escape(&r.baseline),
        1.96 * sd
    );
    figure(out, &picture, &words);
}

/// Pictures of the cases that differ most.
pub(super) fn pictures(out: &mut String, r: &Results, folder: Option<&Path>) {
    out.push_str(
        "<p>The test case of each variant whose result overlaps least with the baseline's; for volumes the plane that \
         differs most. <span class=\"key\" style=\"background:#00b0ff\"></span>outline of the baseline, \
         <span class=\"key\" style=\"background:#ff8000\"></span>of the variant, white where they are the same.</p>",
    );
    let mut figures = String::new();
    for w in &r.workloads {
        for (i, v) in w.variants.iter().enumerate() {
            let Some(p) = &v.picture else { continue };
            // A name in a file that was handed over must not lead out of its folder.
            let plain = Path::new(&p.file).components().all(|c| matches!(c, std::path::Component::Normal(_)));
            let Some(bytes) = folder.filter(|_| plain).and_then(|f| std::fs::read(f.join(&p.file)).ok())
            else {
                continue;
            };
            let data = base64::engine::general_purpose::STANDARD.encode(bytes);
            let picture = format!(
                "<img alt=\"{}\" src=\"data:image/png;base64,{data}\">",
                escape(&format!("{} {}: {}", w.name, v.name, p.case))
            );
            let mut words = format!("{} {}", escape(&w.name), key(i, &v.name));
            let _ = write!(words, ": {}, Dice of both results {:.4}", escape(&p.case), p.dice);
            figure(&mut figures, &picture, &words);
        }
    }
    grid(out, &figures);
    if figures.is_empty() {
        out.push_str("<p>No result of any variant differs from the baseline's, or there are no pictures of single classes.</p>");
    }
}
