//! Masks against truth.

use crate::bootstrap::mean_interval;
use crate::{Error, Result, gandlf};
use ampoule_imaging::geometry::Orientation;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_imaging::{Nifti, Volume};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Metrics of one case. Infinite distances (one mask empty) are `null` in JSON and counted as
/// missed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Overlap, 0 to 1.
    pub dice: f64,
    /// Intersection over union, 0 to 1.
    pub iou: f64,
    /// 95th percentile Hausdorff distance in mm.
    pub hd95_mm: Option<f64>,
    /// Average symmetric surface distance in mm.
    pub assd_mm: Option<f64>,
    /// Share of surface within 1 mm.
    pub surface_dice_1mm: f64,
    /// Volume of the prediction.
    pub volume_ml: f64,
    /// Volume of the truth.
    pub truth_ml: f64,
    /// Length of the image's diagonal, which stands for an infinite distance in means.
    pub diagonal_mm: f64,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseMetrics {
    /// Name without ending.
    pub case: String,
    /// Its metrics.
    pub metrics: Metrics,
}

/// All cases together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of cases.
    pub n: usize,
    /// Cases where exactly one of the masks is empty.
    pub missed: usize,
    /// Mean Dice.
    pub dice_mean: f64,
    /// Median Dice.
    pub dice_median: f64,
    /// Smallest Dice.
    pub dice_min: f64,
    /// 95 % interval of the mean Dice, resampling cases.
    pub dice_ci95: Option<[f64; 2]>,
    /// Mean HD95 in mm, missed cases at the image's diagonal.
    pub hd95_mm_mean: f64,
    /// Largest HD95 in mm, likewise.
    pub hd95_mm_max: f64,
    /// Mean of the absolute volume difference in percent of the truth.
    pub volume_difference_percent: f64,
}

/// The whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Case by case.
    pub cases: Vec<CaseMetrics>,
    /// Together.
    pub total: Summary,
    /// Case by case under GaNDLF's names; class 0 is the background.
    pub gandlf: serde_json::Map<String, serde_json::Value>,
    /// Predictions without truth and truths without prediction.
    pub unpaired: Vec<String>,
}

/// Two masks on the same grid, 0 and 1, voxels of `spacing` mm.
pub fn evaluate_pair(prediction: &Volume<u8>, truth: &Volume<u8>, spacing: [f64; 3]) -> Metrics {
    let c = counts(prediction, truth);
    let d = SurfaceDistances::new(prediction, truth, spacing);
    let ml = spacing.iter().product::<f64>() / 1000.0;
    let finite = |v: f64| v.is_finite().then_some(v);
    Metrics {
        dice: c.dice(),
        iou: c.iou(),
        hd95_mm: finite(d.hd95()),
        assd_mm: finite(d.assd()),
        surface_dice_1mm: d.surface_dice(1.0),
        volume_ml: (c.both + c.first) as f64 * ml,
        truth_ml: (c.both + c.second) as f64 * ml,
        diagonal_mm: (0..3).map(|i| (truth.dims[i] as f64 * spacing[i]).powi(2)).sum::<f64>().sqrt(),
    }
}

fn read(path: &Path) -> Result<(Nifti, Volume<u8>, Orientation)> {
    let image =
        Nifti::read(path, None).map_err(|e| Error::Input { path: path.into(), reason: e.to_string() })?;
    let orientation = Orientation::of(&image.affine());
    let mask = orientation.to_canonical(&image.to_mask());
    Ok((image, mask, orientation))
}

/// A case's metrics, and those under GaNDLF's names.
fn pair_files(prediction: &Path, truth: &Path) -> Result<(Metrics, serde_json::Value)> {
    let (p, pm, _) = read(prediction)?;
    let (t, tm, to) = read(truth)?;
    if pm.dims != tm.dims {
        let reason = format!("its grid is {:?}, that of {} is {:?}", pm.dims, truth.display(), tm.dims);
        return Err(Error::Input { path: prediction.into(), reason });
    }
    let (a, b) = (p.affine().spacing(), t.affine().spacing());
    let (a, b) = (Orientation::of(&p.affine()).spacing(a), to.spacing(b));
    if (0..3).any(|i| (a[i] - b[i]).abs() > 0.01 * b[i]) {
        let reason = format!("its voxels are {a:.3?} mm, those of {} are {b:.3?} mm", truth.display());
        return Err(Error::Input { path: prediction.into(), reason });
    }
    let rest =
        |m: &Volume<u8>| Volume { dims: m.dims, data: m.data.iter().map(|&v| (v == 0) as u8).collect() };
    let (pr, tr) = (rest(&pm), rest(&tm));
    let named = gandlf::segmentation([(&pr, &tr), (&pm, &tm)].into_iter(), b);
    Ok((evaluate_pair(&pm, &tm, b), named.into()))
}

/// Name of a case: the file name without ending and without `_mask`.
fn case_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = stem.strip_suffix(".nii").unwrap_or(stem);
    stem.strip_suffix("_mask").unwrap_or(stem).to_owned()
}

/// NIfTI files of a folder; of `_mask` and other files of one case the mask is taken.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries =
        std::fs::read_dir(folder).map_err(|e| Error::Input { path: folder.into(), reason: e.to_string() })?;
    let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    all.retain(|p| {
        let n = p.to_string_lossy().to_ascii_lowercase();
        n.ends_with(".nii") || n.ends_with(".nii.gz")
    });
    all.sort();
    let is_mask = |p: &Path| {
        let n = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        n.contains("_mask.nii")
    };
    if all.iter().any(|p| is_mask(p)) {
        all.retain(|p| is_mask(p));
    }
    Ok(all.into_iter().map(|p| (case_name(&p), p)).collect())
}

/// Evaluates a file against a file, or a folder against a folder with cases paired by name
/// (`x_mask.nii.gz` or `x.nii.gz` on either side).
pub fn evaluate(predictions: &Path, truth: &Path) -> Result<Evaluation> {
    if predictions.is_file() && truth.is_file() {
        let (metrics, named) = pair_files(predictions, truth)?;
        let case = case_name(predictions);
        let gandlf = [(case.clone(), named)].into_iter().collect();
        let cases = vec![CaseMetrics { case, metrics }];
        return Ok(Evaluation { total: summary(&cases), cases, gandlf, unpaired: vec![] });
    }
    let (p, t) = (files(predictions)?, files(truth)?);
    let mut cases = Vec::new();
    let mut named = serde_json::Map::new();
    let mut unpaired = Vec::new();
    for (name, path) in &p {
        match t.iter().find(|x| x.0 == *name) {
            Some((_, truth)) => {
                let (metrics, others) = pair_files(path, truth)?;
                named.insert(name.clone(), others);
                cases.push(CaseMetrics { case: name.clone(), metrics });
            }
            None => unpaired.push(format!("{name} (no truth)")),
        }
    }
    unpaired.extend(
        t.iter().filter(|x| !p.iter().any(|y| y.0 == x.0)).map(|x| format!("{} (no prediction)", x.0)),
    );
    if cases.is_empty() {
        let reason = format!("no case name occurs in {} too", truth.display());
        return Err(Error::Input { path: predictions.into(), reason });
    }
    Ok(Evaluation { total: summary(&cases), cases, gandlf: named, unpaired })
}

/// The middle of sorted values, or the mean of the two middle ones.
pub(crate) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn summary(cases: &[CaseMetrics]) -> Summary {
    let n = cases.len() as f64;
    let mut dice: Vec<f64> = cases.iter().map(|c| c.metrics.dice).collect();
    dice.sort_by(f64::total_cmp);
    let hd: Vec<f64> = cases.iter().map(|c| c.metrics.hd95_mm.unwrap_or(c.metrics.diagonal_mm)).collect();
    let volume = |c: &CaseMetrics| {
        let m = &c.metrics;
        if m.truth_ml > 0.0 { (m.volume_ml - m.truth_ml).abs() / m.truth_ml * 100.0 } else { 0.0 }
    };
    Summary {
        n: cases.len(),
        missed: cases.iter().filter(|c| c.metrics.hd95_mm.is_none()).count(),
        dice_mean: dice.iter().sum::<f64>() / n,
        dice_median: median(&dice).unwrap_or(f64::NAN),
        dice_min: dice[0],
        dice_ci95: mean_interval(&dice),
        hd95_mm_mean: hd.iter().sum::<f64>() / n,
        hd95_mm_max: hd.iter().copied().fold(0.0, f64::max),
        volume_difference_percent: cases.iter().map(volume).sum::<f64>() / n,
    }
}

impl Evaluation {
    /// One line a case, with a header.
    pub fn to_csv(&self) -> String {
        let mut out = String::from("case,dice,iou,hd95_mm,assd_mm,surface_dice_1mm,volume_ml,truth_ml\n");
        let number = |v: Option<f64>| v.map_or("inf".into(), |v| format!("{v:.6}"));
        for c in &self.cases {
            let m = &c.metrics;
            out += &format!(
                "\"{}\",{:.6},{:.6},{},{},{:.6},{:.3},{:.3}\n",
                c.case.replace('"', "\"\""),
                m.dice,
                m.iou,
                number(m.hd95_mm),
                number(m.assd_mm),
                m.surface_dice_1mm,
                m.volume_ml,
                m.truth_ml
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_case_counts_and_does_not_vanish_from_means() {
        let mut truth = Volume::filled([4, 4, 4], 0u8);
        truth.data[21] = 1;
        let empty = Volume::filled([4, 4, 4], 0u8);
        let case =
            |p: &Volume<u8>| CaseMetrics { case: "a".into(), metrics: evaluate_pair(p, &truth, [1.0; 3]) };
        let s = summary(&[case(&empty), case(&truth)]);
        assert_eq!((s.n, s.missed, s.dice_min, s.dice_median), (2, 1, 0.0, 0.5));
        assert!((s.hd95_mm_mean - 48f64.sqrt() / 2.0).abs() < 1e-9);
    }
}
