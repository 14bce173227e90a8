//! Masks and label maps of volumes against ground truth.

use crate::grid::{canonical, on_grid_of};
use crate::labels::{Compared, mask_of, values, whole};
use crate::like::{Like, Named, metrics as like_metrics};
use crate::pairing::{Naming, Pairs, pairs};
use crate::summary::{CaseMetrics, LabelSummary, Metrics, Summary};
use crate::{Error, Result, gandlf};
use ampoule_imaging::Volume;
use ampoule_imaging::formats::{WRITTEN, written_ending};
use ampoule_imaging::geometry::{Affine, Orientation};
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_pipeline::{Allowance, Grouping, bids_subject, looks_grouped};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A case, or a label of it, by another package's definitions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LikeMetrics {
    /// The case.
    pub case: String,
    /// The label where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<u16>,
    /// Values by the package's names; `null` where it gives none, or an infinite one.
    pub values: Vec<Named>,
}

/// How files are compared.
#[derive(Clone, Debug, Default)]
pub struct Comparing {
    /// Which cases belong together; each by itself, or by its subject (`sub-…`), where there is none.
    pub grouping: Option<Grouping>,
    /// Whether every value above 0 is one object of the same class, whatever the values.
    pub instances: bool,
    /// Another package whose metrics are given, too.
    pub like: Option<Like>,
    /// Whether ground truth on another grid is resampled to the nearest labels; it is refused otherwise.
    pub resample_truth: bool,
}

impl Comparing {
    /// How two sets of labels are compared.
    pub(crate) fn compared(
        &self,
        predicted: &BTreeSet<u16>,
        reference: &BTreeSet<u16>,
    ) -> std::result::Result<Compared, String> {
        if self.instances { Ok(Compared::Mask) } else { Compared::of(predicted, reference) }
    }

    /// The groups of cases, those that a list of ground truth names first, then by their names; and what to know where none are
    /// given and names look grouped.
    pub(crate) fn groups(
        &self,
        names: &[&str],
        truth: &Path,
    ) -> Result<(Vec<Option<String>>, Option<String>)> {
        let listed: BTreeMap<String, String> = match ampoule_pipeline::names_ground_truth(truth) {
            true => {
                let all = ampoule_pipeline::labelled(truth)?.into_iter();
                all.filter_map(|c| Some((c.name, c.group?))).collect()
            }
            false => BTreeMap::new(),
        };
        let named = |n: &str| self.grouping.as_ref().map_or_else(|| bids_subject(n), |g| g.of(n));
        let of = |n: &&str| listed.get(*n).cloned().or_else(|| named(n));
        let groups: Vec<Option<String>> = names.iter().map(of).collect();
        let none = groups.iter().all(Option::is_none);
        let note = none.then(|| looks_grouped(names.iter().copied())).flatten();
        Ok((groups, note))
    }
}

/// The whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Case by case, and label by label where there are several.
    pub cases: Vec<CaseMetrics>,
    /// Together, for masks; absent where there are several labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Summary>,
    /// Label by label where there are several; absent for masks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelSummary>,
    /// Case by case under GaNDLF's names; class 0 is the background, the others are the labels in their order.
    pub gandlf: serde_json::Map<String, serde_json::Value>,
    /// The same by another package's definitions, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub like: Vec<LikeMetrics>,
    /// Predictions without ground truth and ground truths without prediction.
    pub unpaired: Vec<String>,
    /// Cases that could not be compared, with the reason; they are part of no number.
    pub failed: Vec<String>,
    /// What to know before the numbers are believed.
    pub notes: Vec<String>,
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

/// A label map along right, anterior, superior.
struct LabelMap {
    labels: Volume<u16>,
    /// Voxel-to-world map of `labels`, in mm.
    affine: Affine,
    /// Size of a voxel of `labels` in mm.
    spacing: [f64; 3],
    /// What the reader noted.
    notes: Vec<String>,
}

fn read(path: &Path) -> Result<LabelMap> {
    let fail = |reason: String| Error::Input { path: path.into(), reason };
    let allowed = Allowance::of_process();
    let image = ampoule_imaging::formats::read_volume(path, None, allowed.room)
        .map_err(|source| image_error(path, source, allowed))?;
    let (stored, _) = image.to_f32();
    let affine = image.affine();
    let orientation = Orientation::of(&affine);
    Ok(LabelMap {
        labels: orientation.to_canonical(&whole(&stored).map_err(fail)?),
        affine: canonical(&orientation, &affine, stored.dims),
        spacing: orientation.spacing(affine.spacing()),
        notes: image.warnings.iter().map(|w| format!("{}: {w}", path.display())).collect(),
    })
}

/// An image that cannot be read, or does not fit in memory.
pub(crate) fn image_error(path: &Path, source: ampoule_imaging::Error, allowed: Allowance) -> Error {
    match source {
        ampoule_imaging::Error::Memory { .. } => ampoule_pipeline::Error::image(path, source, allowed).into(),
        other => Error::Input { path: path.into(), reason: other.to_string() },
    }
}

/// Bytes per voxel that comparing two label maps takes: masks and distances of a label, and lists of both surfaces;
/// and for each label the masks that are kept.
const MEASURES: u64 = 24;
const MASKS_OF_A_LABEL: u64 = 2;

/// Reads a prediction and its ground truth, which must lie on one grid, or is brought to that of the prediction.
fn read_pair(prediction: &Path, truth: &Path, resample: bool) -> Result<(LabelMap, LabelMap)> {
    let (p, t) = (read(prediction)?, read(truth)?);
    let (affine, spacing) = (p.affine, p.spacing);
    let labels = on_grid_of((p.labels.dims, affine), (t.labels, t.affine), resample).map_err(|reason| {
        Error::Input { path: prediction.into(), reason: format!("{reason} ({})", truth.display()) }
    })?;
    Ok((p, LabelMap { labels, affine, spacing, notes: t.notes }))
}

/// What is in all files together, which are read once for it.
#[derive(Default)]
struct Survey {
    predicted: BTreeSet<u16>,
    reference: BTreeSet<u16>,
    notes: Vec<String>,
    /// Pairs that cannot be compared, with the reason.
    failed: Vec<String>,
    /// Numbers of the others.
    whole: Vec<usize>,
}

impl Survey {
    fn of(found: &Pairs, resample: bool) -> Result<Self> {
        let mut out = Survey::default();
        let mut first = None;
        for (i, (case, prediction, truth)) in found.pairs.iter().enumerate() {
            match read_pair(prediction, truth, resample) {
                Ok((p, t)) => {
                    out.predicted.extend(values(&p.labels));
                    out.reference.extend(values(&t.labels));
                    out.notes.extend(p.notes.into_iter().chain(t.notes));
                    out.whole.push(i);
                }
                Err(e) if e.is_memory() => return Err(e),
                // One case that cannot be read keeps no others back.
                Err(e) => {
                    out.failed.push(format!("{case}: {e}"));
                    first.get_or_insert(e);
                }
            }
        }
        match first.filter(|_| out.whole.is_empty()) {
            Some(e) => Err(e),
            None => Ok(out),
        }
    }
}

/// What is measured of a case: for each label, for each by another package's definitions, and under GaNDLF's names.
type OfCase = (Vec<CaseMetrics>, Vec<LikeMetrics>, serde_json::Value);

fn measure(
    (case, group): (&str, &Option<String>),
    (prediction, truth): (&Path, &Path),
    compared: &Compared,
    how: &Comparing,
) -> Result<OfCase> {
    let (p, t) = read_pair(prediction, truth, how.resample_truth)?;
    let each = MEASURES + MASKS_OF_A_LABEL * (1 + compared.labels().len() as u64);
    let voxels = p.labels.data.len() as u64;
    ampoule_pipeline::ask_memory(prediction, "its masks and distances", voxels.saturating_mul(each))?;
    let background = |m: &LabelMap| m.labels.map(|v| (v == 0) as u8);
    let mut masks = vec![(background(&p), background(&t))];
    let (mut rows, mut alike) = (Vec::new(), Vec::new());
    // A sheared voxel is smaller than the product of its sides.
    let sheared = t.affine.determinant().abs() / t.spacing.iter().product::<f64>();
    for label in compared.labels() {
        let (a, b) = (mask_of(&p.labels, label), mask_of(&t.labels, label));
        let mut metrics = evaluate_pair(&a, &b, t.spacing);
        metrics.volume_ml *= sheared;
        metrics.truth_ml *= sheared;
        rows.push(CaseMetrics { case: case.into(), group: group.clone(), label, metrics });
        if let Some(like) = how.like {
            let values = like_metrics(like, &a, &b, t.spacing);
            alike.push(LikeMetrics { case: case.into(), label, values });
        }
        masks.push((a, b));
    }
    let named = gandlf::segmentation(masks.iter().map(|(a, b)| (a, b)), t.spacing);
    Ok((rows, alike, named.into()))
}

/// What ends the name of a mask or label map.
const MASKS: [&str; 2] = ["_mask", "_dseg"];

/// Name of a case: the file name without ending, and without `_mask` or `_dseg`.
fn case_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = &name[..name.len() - written_ending(&name).map_or(0, str::len)];
    MASKS.iter().find_map(|m| stem.strip_suffix(m)).unwrap_or(stem).to_owned()
}

fn is_mask(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    WRITTEN.iter().any(|e| MASKS.iter().any(|m| name.ends_with(&format!("{m}{e}"))))
}

/// Whether a name ends as volumes that are written do.
pub(crate) fn is_volume(path: &Path) -> bool {
    written_ending(&path.to_string_lossy()).is_some()
}

/// Volumes; of several files of a folder the masks, where it has any.
const NAMING: Naming = Naming { wanted: is_volume, preferred: &[is_mask], name: case_name };

/// Evaluates a file against a file, or a folder against a folder with its subfolders. Cases are paired by their place
/// in the folder and their name (`x_mask.nii.gz` or `x.nii.gz` on either side); the ground truth may be a list of a data set
/// (`dataset.json#training`), whose cases are named as `run` names them. Where the files hold several labels,
/// each is evaluated by itself.
pub fn evaluate(predictions: &Path, truth: &Path, how: &Comparing) -> Result<Evaluation> {
    let found = pairs(predictions, truth, &NAMING)?;
    let survey = Survey::of(&found, how.resample_truth)?;
    let compared = how
        .compared(&survey.predicted, &survey.reference)
        .map_err(|reason| Error::Input { path: predictions.into(), reason })?;
    let names: Vec<&str> = found.pairs.iter().map(|p| p.0.as_str()).collect();
    let (groups, note) = how.groups(&names, truth)?;
    let (mut cases, mut like) = (Vec::new(), Vec::new());
    let mut named = serde_json::Map::new();
    for i in survey.whole {
        let (case, prediction, truth) = &found.pairs[i];
        let (rows, other, others) = measure((case, &groups[i]), (prediction, truth), &compared, how)?;
        like.extend(other);
        cases.extend(rows);
        named.insert(case.clone(), others);
    }
    let of = |label: u16| LabelSummary { label, summary: Summary::of(&cases, Some(label)) };
    let labels = compared.labels().into_iter().flatten().map(of).collect();
    let total = (compared == Compared::Mask).then(|| Summary::of(&cases, None));
    let mut notes = survey.notes;
    if !how.instances {
        notes.extend(Compared::notes(&survey.predicted, &survey.reference));
    }
    notes.extend(note);
    Ok(Evaluation {
        total,
        labels,
        cases,
        like,
        gandlf: named,
        unpaired: found.unpaired,
        failed: survey.failed,
        notes,
    })
}

impl Evaluation {
    /// One line a case, and a label where there are several, with a header.
    pub fn to_csv(&self) -> String {
        let column = if self.labels.is_empty() { "" } else { "label," };
        let mut out = format!("case,{column}dice,iou,hd95_mm,assd_mm,surface_dice_1mm,volume_ml,truth_ml\n");
        let number = |v: Option<f64>| v.map_or("inf".into(), |v| format!("{v:.6}"));
        for c in &self.cases {
            let m = &c.metrics;
            out += &format!(
                "\"{}\",{}{:.6},{:.6},{},{},{:.6},{:.3},{:.3}\n",
                c.case.replace('"', "\"\""),
                c.label.map_or(String::new(), |l| format!("{l},")),
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
    use ampoule_imaging::Nifti;

    /// Writes a volume of 4 × 3 × 2 voxels of 2 mm whose origin lies at `x` mm, its first axis flipped on request.
    fn put(path: &Path, values: [f32; 24], x: f64, flipped: bool) {
        let v = Volume::new([4, 3, 2], values.to_vec());
        let (sign, start, data) = match flipped {
            true => (-2.0, x + 6.0, v.flipped([true, false, false])),
            false => (2.0, x, v),
        };
        let affine = Affine([[sign, 0.0, 0.0, start], [0.0, 2.0, 0.0, 5.0], [0.0, 0.0, 2.0, -7.0]]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        Nifti::from_f32(&data, affine).write(path).unwrap();
    }

    /// Labels of the first voxels, 0 elsewhere.
    fn voxels(first: &[f32]) -> [f32; 24] {
        let mut all = [0.0; 24];
        all[..first.len()].copy_from_slice(first);
        all
    }

    #[test]
    fn masks_on_other_grids_are_refused() {
        let d = tempfile::tempdir().unwrap();
        let [a, b] = ["a.nii", "b.nii"].map(|n| d.path().join(n));
        let values = voxels(&[1.0, 1.0, 0.0, 1.0]);
        put(&a, values, 0.0, false);
        // The same grid in another order of voxels.
        put(&b, values, 0.0, true);
        assert_eq!(evaluate(&a, &b, &Comparing::default()).unwrap().cases[0].metrics.dice, 1.0);
        put(&b, values, 3.5, false);
        let e = evaluate(&a, &b, &Comparing::default()).unwrap_err().to_string();
        assert!(
            e.contains("a.nii: its ground truth lies on another grid (up to 3.50 mm apart)")
                && e.contains("b.nii)"),
            "{e}"
        );
        let moved = evaluate(&a, &b, &Comparing { resample_truth: true, ..Comparing::default() }).unwrap();
        assert!(moved.cases[0].metrics.dice < 1.0);
    }

    #[test]
    fn labels_are_evaluated_one_by_one() {
        let d = tempfile::tempdir().unwrap();
        let [p, t] = ["p", "t"].map(|n| d.path().join(n));
        put(&p.join("a.nii"), voxels(&[1.0, 1.0, 2.0, 4.0]), 0.0, false);
        put(&t.join("a.nii"), voxels(&[1.0, 1.0, 2.0, 2.0]), 0.0, false);
        let e = evaluate(&p, &t, &Comparing::default()).unwrap();
        let dice: Vec<_> = e.cases.iter().map(|c| (c.label, c.metrics.dice)).collect();
        assert_eq!(dice, [(Some(1), 1.0), (Some(2), 2.0 / 3.0), (Some(4), 0.0)]);
        let summaries: Vec<_> =
            e.labels.iter().map(|l| (l.label, l.summary.n, l.summary.false_positives)).collect();
        assert_eq!((summaries, e.total.is_none()), (vec![(1, 1, 0), (2, 1, 0), (4, 1, 1)], true));
        assert!(e.to_csv().starts_with("case,label,dice,") && e.to_csv().contains("\"a\",2,0.666667"));
        // Labels that the ground truth lacks.
        put(&t.join("a.nii"), voxels(&[1.0, 1.0]), 0.0, false);
        let e = evaluate(&p, &t, &Comparing::default()).unwrap();
        let dice: Vec<_> = e.cases.iter().map(|c| (c.label, c.metrics.dice)).collect();
        assert_eq!(dice, [(Some(1), 1.0), (Some(2), 0.0), (Some(4), 0.0)]);
        // A mask against label maps.
        put(&t.join("a.nii"), voxels(&[255.0]), 0.0, false);
        let e = evaluate(&p, &t, &Comparing::default()).unwrap_err().to_string();
        assert!(e.contains("single label 255") && e.contains("labels 1, 2, 4"), "{e}");
        // What is no label.
        put(&t.join("a.nii"), voxels(&[1.0, 2.5]), 0.0, false);
        assert!(evaluate(&p, &t, &Comparing::default()).unwrap_err().to_string().contains("2.5"));
    }

    #[test]
    fn masks_are_compared_whatever_their_value() {
        let d = tempfile::tempdir().unwrap();
        let [p, t] = ["p", "t"].map(|n| d.path().join(n));
        for (name, values) in [("one/a_mask.nii", [255.0, 255.0]), ("two/a_mask.nii", [0.0, 255.0])] {
            put(&p.join(name), voxels(&values), 0.0, false);
        }
        // Probabilities are a mask, too; the trees mirror each other, and hidden folders do not count.
        put(&t.join("one/a.nii"), voxels(&[0.9, 0.6, 0.2]), 0.0, false);
        put(&t.join("three/a.nii"), voxels(&[1.0]), 0.0, false);
        put(&t.join(".two/a.nii"), voxels(&[1.0]), 0.0, false);
        let e = evaluate(&p, &t, &Comparing::default()).unwrap();
        let cases: Vec<_> = e.cases.iter().map(|c| (c.case.as_str(), c.label, c.metrics.dice)).collect();
        assert_eq!((cases, e.total.unwrap().n), (vec![("one/a", None, 1.0)], 1));
        assert_eq!(e.unpaired, ["two/a (no ground truth)", "three/a (no prediction)"]);
        assert!(e.notes.is_empty());
        // A label that is another one's may be a mistake.
        put(&t.join("one/a.nii"), voxels(&[2.0, 2.0]), 0.0, false);
        put(&p.join("one/a_mask.nii"), voxels(&[1.0, 1.0]), 0.0, false);
        let e = evaluate(&p.join("one"), &t.join("one"), &Comparing::default()).unwrap();
        // Another class is not the same mask.
        let dice: Vec<_> = e.cases.iter().map(|c| (c.label, c.metrics.dice)).collect();
        assert_eq!((dice, e.notes.len()), (vec![(Some(1), 0.0), (Some(2), 0.0)], 1));
        let counts = |i: usize| (e.labels[i].summary.missed, e.labels[i].summary.false_positives);
        assert_eq!((counts(0), counts(1)), ((0, 1), (1, 0)));
    }

    #[test]
    fn one_case_that_cannot_be_read_is_one_failed_case() {
        let d = tempfile::tempdir().unwrap();
        let [p, t] = ["p", "t"].map(|n| d.path().join(n));
        for i in 0..8 {
            put(&p.join(format!("sub-{}_run-{}.nii", i / 2, i % 2)), voxels(&[1.0, 1.0]), 0.0, false);
            put(&t.join(format!("sub-{}_run-{}.nii", i / 2, i % 2)), voxels(&[1.0]), 0.0, false);
        }
        std::fs::write(p.join("sub-0_run-1.nii"), "damaged").unwrap();
        let e = evaluate(&p, &t, &Comparing::default()).unwrap();
        assert!(e.failed.len() == 1 && e.failed[0].starts_with("sub-0_run-1: "), "{:?}", e.failed);
        let total = e.total.unwrap();
        // Scans of a subject count once.
        assert_eq!((total.n, total.groups, total.dice_ci95), (7, 4, None));
        std::fs::write(t.join("sub-0_run-0.nii"), "damaged").unwrap();
        assert_eq!(evaluate(&p, &t, &Comparing::default()).unwrap().failed.len(), 2);
        assert!(
            evaluate(&p.join("sub-0_run-0.nii"), &t.join("sub-0_run-0.nii"), &Comparing::default()).is_err()
        );
    }

    #[test]
    fn volumes_of_sheared_grids_are_those_of_the_determinant() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("a.nii");
        let v = Volume::new([4, 3, 2], voxels(&[1.0, 1.0]).to_vec());
        let affine = Affine([[2.0, 1.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]);
        Nifti::from_f32(&v, affine).write(&path).unwrap();
        let e = evaluate(&path, &path, &Comparing::default()).unwrap();
        assert!((e.cases[0].metrics.volume_ml - 0.016).abs() < 1e-9, "{:?}", e.cases[0].metrics);
    }
}
