//! Label maps of tiles against ground truth, class by class.

use crate::bootstrap::{RESAMPLES, grouped, interval, mean_interval, proper, resample};
use crate::evaluate::{Comparing, is_volume};
use crate::labels::{Compared, mask_of, values};
use crate::pairing::{Keyed, Naming, Pairs, keyed, pairs};
use crate::statistics::median_of_sorted;
use crate::{Error, Result, gandlf};
use ampoule_imaging::Volume;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_imaging::photo::{is_photo, read_labels_within};
use ampoule_imaging::regions::{Connectivity, components};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One class of one tile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TileMetrics {
    /// Tile, without ending.
    pub tile: String,
    /// The group that it counts with, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Grey value of the class; 255 stands for anything above 0 where both sides are masks.
    pub class: u16,
    /// Pixels of the class in the ground truth and in the prediction.
    pub pixels: [u64; 2],
    /// Overlap, 0 to 1.
    pub dice: f64,
    /// Intersection over union, 0 to 1.
    pub iou: f64,
    /// 95th percentile Hausdorff distance in pixels; `null` when exactly one map is empty.
    pub hd95_px: Option<f64>,
    /// Objects of the ground truth, of the prediction, and pairs that overlap by more than half.
    pub objects: [usize; 3],
    /// Harmonic mean of precision and recall over objects; 1 when there are none at all.
    pub object_f1: f64,
}

impl TileMetrics {
    /// Whether the class is in the ground truth and not in the prediction.
    pub fn missed(&self) -> bool {
        self.pixels[0] > 0 && self.pixels[1] == 0
    }

    /// Whether the class is in the prediction and not in the ground truth.
    pub fn false_positive(&self) -> bool {
        self.pixels[0] == 0 && self.pixels[1] > 0
    }

    /// Whether the class is in neither.
    pub fn absent(&self) -> bool {
        self.pixels == [0, 0]
    }
}

/// One class over all tiles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassTotals {
    /// Grey value of the class.
    pub class: u16,
    /// Tiles.
    pub n: usize,
    /// Groups that intervals resample; as many as tiles where there are none.
    pub groups: usize,
    /// Tiles with the class in the ground truth and not in the prediction.
    pub missed: usize,
    /// Tiles with the class in the prediction and not in the ground truth.
    pub false_positives: usize,
    /// Tiles with the class in neither, whose overlap is 1.
    pub absent: usize,
    /// Mean over tiles.
    pub dice_mean: f64,
    /// Smallest Dice.
    pub dice_min: f64,
    /// Mean over tiles.
    pub iou_mean: f64,
    /// Median over tiles where neither map is empty.
    pub hd95_px_median: Option<f64>,
    /// Over the objects of all tiles together.
    pub object_f1: f64,
    /// 95 % intervals of the three, resampling groups; `null` for fewer than six, or where all are equal.
    pub dice_ci95: Option<[f64; 2]>,
    /// See `dice_ci95`.
    pub iou_ci95: Option<[f64; 2]>,
    /// See `dice_ci95`.
    pub object_f1_ci95: Option<[f64; 2]>,
}

/// The whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tiles {
    /// Tile by tile and class by class.
    pub tiles: Vec<TileMetrics>,
    /// Class by class.
    pub total: Vec<ClassTotals>,
    /// Tile by tile under GaNDLF's names; class 0 is the background.
    pub gandlf: serde_json::Map<String, serde_json::Value>,
    /// Predictions without ground truth and ground truths without prediction.
    pub unpaired: Vec<String>,
    /// Tiles that could not be compared, with the reason; they are part of no number.
    pub failed: Vec<String>,
    /// What to know before the numbers are believed.
    pub notes: Vec<String>,
}

/// One class of two label maps of the same size, 0 and not 0.
fn one(tile: &str, class: u16, p: &Volume<u8>, t: &Volume<u8>) -> TileMetrics {
    let c = counts(p, t);
    let hd95 = SurfaceDistances::new(p, t, [1.0; 3]).hd95();
    // Two objects that share more than half of their union share it with no other.
    let (a, predicted) = components(p, Connectivity::Full);
    let (b, truth) = components(t, Connectivity::Full);
    let mut shared = std::collections::HashMap::new();
    let (mut sizes_a, mut sizes_b) = (vec![0u64; predicted + 1], vec![0u64; truth + 1]);
    for (&x, &y) in a.data.iter().zip(&b.data) {
        sizes_a[x as usize] += 1;
        sizes_b[y as usize] += 1;
        if x > 0 && y > 0 {
            *shared.entry((x, y)).or_insert(0u64) += 1;
        }
    }
    let more_than_half =
        |((x, y), n): (&(u32, u32), &u64)| 3 * n > sizes_a[*x as usize] + sizes_b[*y as usize];
    let found = shared.iter().filter(|e| more_than_half(*e)).count();
    TileMetrics {
        tile: tile.into(),
        group: None,
        class,
        pixels: [(c.both + c.second) as u64, (c.both + c.first) as u64],
        dice: c.dice(),
        iou: c.iou(),
        hd95_px: hd95.is_finite().then_some(hd95),
        objects: [truth, predicted, found],
        object_f1: object_f1([truth, predicted, found]),
    }
}

fn object_f1([truth, predicted, found]: [usize; 3]) -> f64 {
    if truth + predicted == 0 { 1.0 } else { 2.0 * found as f64 / (truth + predicted) as f64 }
}

/// Bytes per pixel that comparing two label maps takes: masks, objects and distances of a class; and for each class the
/// masks that are kept.
const MEASURES: u64 = 32;
const MASKS_OF_A_LABEL: u64 = 2;

/// A label map, one voxel thick.
pub(crate) fn read(path: &Path) -> Result<Volume<u16>> {
    let allowed = ampoule_pipeline::Allowance::of_process();
    read_labels_within(path, allowed.room).map_err(|source| match source.is_memory() {
        true => ampoule_pipeline::Error::photo(path, source, allowed).into(),
        false => Error::Input { path: path.into(), reason: source.to_string() },
    })
}

/// Name of a tile: the file name without ending, `_labels`, `_mask` and `_anno`.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let short = ["_labels", "_mask", "_anno"].iter().find_map(|s| stem.strip_suffix(s));
    short.unwrap_or(&stem).to_owned()
}

fn ends(path: &Path, ending: &str) -> bool {
    path.file_stem().is_some_and(|s| s.to_string_lossy().ends_with(ending))
}

/// Images; of several files of a folder those ending in `_labels` or `_mask`, where it has any.
const NAMING: Naming =
    Naming { wanted: is_photo, preferred: &[|p| ends(p, "_labels"), |p| ends(p, "_mask")], name };

/// Whether a path holds label maps: one, or a folder with images and no volumes (whose runs leave
/// pictures next to them), subfolders included.
pub fn holds_tiles(path: &Path) -> bool {
    if !path.is_dir() {
        return is_photo(path);
    }
    let any = |wanted: fn(&Path) -> bool| {
        let naming = Naming { wanted, preferred: &[], name: |p| p.to_string_lossy().into_owned() };
        keyed(path, &naming).is_ok_and(|f: Keyed| !f.is_empty())
    };
    !any(is_volume) && any(is_photo)
}

/// What the only class of masks is called.
const MASK: u16 = 255;

/// A tile with its prediction and ground truth.
type Maps = (String, Volume<u16>, Volume<u16>);

/// Reads a pair, which must have the same size in pixels.
fn read_pair((tile, a, b): &(String, PathBuf, PathBuf)) -> Result<Maps> {
    let (p, t) = (read(a)?, read(b)?);
    if p.dims != t.dims {
        let size = |v: &Volume<u16>| format!("{}x{}", v.dims[0], v.dims[1]);
        let reason = format!("it is {}, {} is {}", size(&p), b.display(), size(&t));
        return Err(Error::Input { path: a.clone(), reason });
    }
    Ok((tile.clone(), p, t))
}

/// Reads all pairs; those that cannot be compared are told apart, and are an error where all are.
fn read_all(found: &Pairs) -> Result<(Vec<Maps>, Vec<String>)> {
    let (mut maps, mut failed, mut first) = (Vec::new(), Vec::new(), None);
    for pair in &found.pairs {
        match read_pair(pair) {
            Ok(m) => maps.push(m),
            Err(e) if e.is_memory() => return Err(e),
            Err(e) => {
                failed.push(format!("{}: {e}", pair.0));
                first.get_or_insert(e);
            }
        }
    }
    match first.filter(|_| maps.is_empty()) {
        Some(e) => Err(e),
        None => Ok((maps, failed)),
    }
}

/// Compares label maps (grey images, 0 for background) by their place in the folders. When neither predictions nor
/// ground truth have more than one value above 0, and these are equal or one is white, anything above 0 is the class; otherwise
/// each value that occurs in either is one.
pub fn tiles(predictions: &Path, truth: &Path, how: &Comparing) -> Result<Tiles> {
    let pairs = pairs(predictions, truth, &NAMING)?;
    let (maps, failed) = read_all(&pairs)?;
    let all = |side: fn(&Maps) -> &Volume<u16>| -> BTreeSet<u16> {
        maps.iter().flat_map(|m| values(side(m))).collect()
    };
    let (predicted, reference) = (all(|m| &m.1), all(|m| &m.2));
    let compared = how
        .compared(&predicted, &reference)
        .map_err(|reason| Error::Input { path: predictions.into(), reason })?;
    let class = |label: Option<u16>| label.unwrap_or(MASK);
    let names: Vec<&str> = maps.iter().map(|m| m.0.as_str()).collect();
    let (groups, note) = how.groups(&names, truth)?;
    let mut found = Vec::new();
    let mut named = serde_json::Map::new();
    for ((tile, p, t), group) in maps.iter().zip(groups) {
        let each = MEASURES + MASKS_OF_A_LABEL * (1 + compared.labels().len() as u64);
        let bytes = (p.data.len() as u64).saturating_mul(each);
        ampoule_pipeline::ask_memory(Path::new(tile), "its masks, objects and distances", bytes)?;
        let mut masks = vec![(mask_of(p, Some(0)), mask_of(t, Some(0)))];
        for label in compared.labels() {
            let (a, b) = (mask_of(p, label), mask_of(t, label));
            found.push(TileMetrics { group: group.clone(), ..one(tile, class(label), &a, &b) });
            masks.push((a, b));
        }
        let both = masks.iter().map(|(p, t)| (p, t));
        named.insert(tile.clone(), gandlf::segmentation(both, [1.0; 3]).into());
    }
    let total = compared.labels().into_iter().map(|l| totals(class(l), &found)).collect();
    let mut notes = if how.instances { Vec::new() } else { Compared::notes(&predicted, &reference) };
    notes.extend(note);
    Ok(Tiles { tiles: found, total, gandlf: named, unpaired: pairs.unpaired, failed, notes })
}

fn totals(class: u16, all: &[TileMetrics]) -> ClassTotals {
    let own: Vec<&TileMetrics> = all.iter().filter(|t| t.class == class).collect();
    let n = own.len() as f64;
    let count = |of: fn(&TileMetrics) -> bool| own.iter().filter(|t| of(t)).count();
    let mut distances: Vec<f64> = own.iter().filter(|t| !t.absent()).filter_map(|t| t.hd95_px).collect();
    distances.sort_by(f64::total_cmp);
    let sum = |list: &[&TileMetrics]| list.iter().fold([0; 3], |s, t| [0, 1, 2].map(|i| s[i] + t.objects[i]));
    let objects = sum(&own);
    let groups = grouped(own.iter().map(|t| (*t, t.group.as_deref())));
    let of = |value: fn(&TileMetrics) -> f64| {
        let lists: Vec<Vec<f64>> = groups.iter().map(|g| g.iter().map(|t| value(t)).collect()).collect();
        mean_interval(&lists)
    };
    let drawn = resample(&groups, RESAMPLES, |list| [object_f1(sum(list))]);
    ClassTotals {
        class,
        n: own.len(),
        groups: groups.len(),
        missed: count(TileMetrics::missed),
        false_positives: count(TileMetrics::false_positive),
        absent: count(TileMetrics::absent),
        dice_mean: own.iter().map(|t| t.dice).sum::<f64>() / n,
        dice_min: own.iter().map(|t| t.dice).fold(f64::INFINITY, f64::min),
        iou_mean: own.iter().map(|t| t.iou).sum::<f64>() / n,
        hd95_px_median: median_of_sorted(&distances),
        object_f1: object_f1(objects),
        dice_ci95: of(|t| t.dice),
        iou_ci95: of(|t| t.iou),
        object_f1_ci95: proper(groups.len(), interval(drawn.into_iter().map(|d| d[0]).collect())),
    }
}
