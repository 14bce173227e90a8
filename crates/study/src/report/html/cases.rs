//! Cases one by one.

use super::{figure, grid, key};
use crate::report::svg::{self, Lines, escape};
use crate::results::{Results, VariantResult, WorkloadResult};
use base64::Engine;
use std::fmt::Write;
use std::io::Read;
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
        // Where better cases lie: above for shares, below for distances.
        let better = if ampoule_eval::less_is_better(metric) { "below" } else { "above" };
        let words =
            format!("{}: {}. The variant is better {better} the line.", escape(metric), names.join(" "));
        figure(&mut figures, &picture, &words);
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
            let Some(bytes) = folder.and_then(|f| read_picture(f, Path::new(&p.file))) else { continue };
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

/// Most bytes of a picture; those that are made here are far smaller.
const MOST: u64 = 16 << 20;
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// The picture at `file` below a folder that may be of others: `None` where the name leads out of it, something on
/// the way is a symbolic link, or it is no plain file with a PNG in it.
fn read_picture(folder: &Path, file: &Path) -> Option<Vec<u8>> {
    let mut path = folder.to_owned();
    for part in file.components() {
        let std::path::Component::Normal(name) = part else { return None };
        path.push(name);
        if std::fs::symlink_metadata(&path).ok()?.is_symlink() {
            return None;
        }
    }
    let opened = ampoule_files::open_plain(&path).ok()?;
    // It may have been replaced by a link since.
    if !ampoule_files::names(&path, &opened) {
        return None;
    }
    let mut bytes = Vec::new();
    opened.take(MOST + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MOST && bytes.starts_with(&PNG)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn pictures_are_read_below_their_folder_only() {
        use std::os::unix::fs::symlink;
        let d = tempfile::tempdir().unwrap();
        let outside = d.path().join("outside.png");
        let folder = d.path().join("study");
        std::fs::create_dir_all(folder.join("pictures")).unwrap();
        let png = [&PNG[..], b"rest"].concat();
        std::fs::write(&outside, &png).unwrap();
        std::fs::write(folder.join("pictures/own.png"), &png).unwrap();
        std::fs::write(folder.join("pictures/text.png"), "root:x:0:0").unwrap();
        symlink(&outside, folder.join("pictures/link.png")).unwrap();
        symlink(d.path(), folder.join("way")).unwrap();
        assert_eq!(read_picture(&folder, Path::new("pictures/own.png")), Some(png));
        let refused =
            ["pictures/link.png", "way/outside.png", "pictures/text.png", "../outside.png", "pictures"];
        for name in refused.into_iter().map(Path::new).chain([outside.as_path()]) {
            assert_eq!(read_picture(&folder, name), None, "{}", name.display());
        }
    }
}
