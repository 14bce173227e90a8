//! Measures under the names of GaNDLF's `generate-metrics`, in its structure, for those who compare with it.
//!
//! Distances pool both directions, as there. Where GaNDLF is wrong its value is not repeated: distances with
//! an empty mask are `null` rather than 0, errors are relative to ground truth and not to prediction, and AUROC is
//! that of the probabilities rather than of the classes called (`docs/metrics.md`).

use ampoule_imaging::Volume;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_imaging::normalise::quantile;
use serde_json::{Map, Value, json};

/// One case: masks of every class, background first, as prediction and ground truth, with voxels of `spacing`.
pub(crate) fn segmentation<'a>(
    classes: impl Iterator<Item = (&'a Volume<u8>, &'a Volume<u8>)>,
    spacing: [f64; 3],
) -> Map<String, Value> {
    let mut out = Map::new();
    for (i, (p, t)) in classes.enumerate() {
        let c = counts(p, t);
        let (tp, fp, missed) = (c.both as f64, c.first as f64, c.second as f64);
        let rest = p.data.len() as f64 - tp - fp - missed;
        let share = |a: f64, b: f64| (b > 0.0).then(|| a / b);
        let d = SurfaceDistances::new(p, t, spacing);
        let one_empty = d.forward.is_empty() != d.backward.is_empty();
        let pooled: Vec<f32> = d.forward.iter().chain(&d.backward).copied().collect();
        let distance = |q: f64| match one_empty {
            true => None,
            false => Some(quantile(&pooled, q).map_or(0.0, f64::from)),
        };
        let tolerance = spacing.iter().copied().fold(f64::INFINITY, f64::min).max(1.0);
        out.insert(
            i.to_string(),
            json!({
                "dice": c.dice(),
                "nsd": d.surface_dice(tolerance),
                "hd100": distance(1.0),
                "hd95": distance(0.95),
                "sensitivity": share(tp, tp + missed),
                "specificity": share(rest, rest + fp),
            }),
        );
        let similarity = share(2.0 * (missed - fp), 2.0 * tp + fp + missed);
        for (name, v) in [
            ("jaccard", Some(c.iou())),
            ("falseNegativeError", share(missed, tp + missed)),
            ("falsePositiveError", share(fp, fp + rest)),
            ("meanOverlap", Some(c.dice())),
            ("unionOverlap", Some(c.iou())),
            ("volumeSimilarity", similarity),
        ] {
            out.insert(format!("{name}_{i}"), json!(v));
        }
    }
    out
}

/// All photos: their numbers by ground truth (rows) and prediction (columns), and the AUROC of each class.
pub(crate) fn classification(m: &[Vec<usize>], auroc: &[Option<f64>]) -> Map<String, Value> {
    let k = m.len();
    let n: usize = m.iter().flatten().sum();
    let own: Vec<usize> = m.iter().map(|row| row.iter().sum()).collect();
    let called: Vec<usize> = (0..k).map(|c| m.iter().map(|row| row[c]).sum()).collect();
    let right: usize = (0..k).map(|c| m[c][c]).sum();
    let share = |a: usize, b: usize| (b > 0).then(|| a as f64 / b as f64);
    let rest = |c: usize| n + m[c][c] - own[c] - called[c];
    let each = |f: &dyn Fn(usize) -> Option<f64>| (0..k).map(f).collect::<Vec<_>>();
    let recall = each(&|c| share(m[c][c], own[c]));
    let micro = share(right, n);
    let all_rest: usize = (0..k).map(rest).sum();
    let mean = |v: &[Option<f64>]| {
        let sum: Option<f64> = v.iter().copied().sum();
        sum.map(|s| s / k as f64)
    };
    let kinds = [
        ("accuracy", recall.clone(), micro),
        ("precision", each(&|c| share(m[c][c], called[c]).or(Some(0.0))), micro),
        ("recall", recall, micro),
        ("f1", each(&|c| share(2 * m[c][c], own[c] + called[c]).or(Some(0.0))), micro),
        ("specificity", each(&|c| share(rest(c), n - own[c])), share(all_rest, all_rest + n - right)),
        ("auroc", auroc.to_vec(), mean(auroc)),
    ];
    let mut out = Map::new();
    for (name, values, global) in kinds {
        let weighted: Option<f64> =
            values.iter().zip(&own).map(|(v, &o)| v.map(|v| v * o as f64 / n.max(1) as f64)).sum();
        out.insert(format!("{name}_global"), json!(global));
        out.insert(format!("{name}_per_class_average"), json!(mean(&values)));
        out.insert(format!("{name}_per_class_weighted"), json!(weighted));
        out.insert(format!("{name}_per_class"), json!(values));
    }
    // Matthews' correlation for several classes (Gorodkin 2004).
    let (n, right) = (n as f64, right as f64);
    let dot = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(x, y)| *x as f64 * *y as f64).sum::<f64>();
    let spread = ((n * n - dot(&called, &called)) * (n * n - dot(&own, &own))).sqrt();
    let mcc = if spread > 0.0 { (right * n - dot(&own, &called)) / spread } else { 0.0 };
    out.insert("mcc".into(), json!(mcc));
    out
}
