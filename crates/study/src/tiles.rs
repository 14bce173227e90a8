//! Label maps of tiles against truth, class by class.

use crate::bootstrap::{RESAMPLES, interval, mean_interval, resample};
use crate::evaluate::median;
use crate::{Error, Result, gandlf};
use ampoule_imaging::Volume;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_imaging::photo::{Photo, is_photo};
use ampoule_imaging::regions::{Connectivity, components};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One class of one tile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TileMetrics {
    /// Tile, without ending.
    pub tile: String,
    /// Grey value of the class; 255 stands for anything above 0 when there is only one class.
    pub class: u8,
    /// Overlap, 0 to 1.
    pub dice: f64,
    /// Intersection over union, 0 to 1.
    pub iou: f64,
    /// 95th percentile Hausdorff distance in pixels; `null` when exactly one map is empty.
    pub hd95_px: Option<f64>,
    /// Objects of the truth, of the prediction, and pairs that overlap by more than half.
    pub objects: [usize; 3],
    /// Harmonic mean of precision and recall over objects; 1 when there are none at all.
    pub object_f1: f64,
}

/// One class over all tiles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassTotals {
    /// Grey value of the class.
    pub class: u8,
    /// Tiles.
    pub n: usize,
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
    /// 95 % intervals of the three, resampling tiles.
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
    /// Predictions without truth and truths without prediction.
    pub unpaired: Vec<String>,
}

/// One class of two label maps of the same size, 0 and not 0.
fn one(tile: &str, class: u8, p: &Volume<u8>, t: &Volume<u8>) -> TileMetrics {
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
        class,
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

/// The first channel of an image as a volume one voxel thick.
pub(crate) fn read(path: &Path) -> Result<Volume<u8>> {
    let photo = Photo::read(path).map_err(|e| Error::Input { path: path.into(), reason: e.to_string() })?;
    let data = photo.rgb.iter().step_by(3).copied().collect();
    Ok(Volume { dims: [photo.width, photo.height, 1], data })
}

/// Name of a tile: the file name without ending, `_labels`, `_mask` and `_anno`.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let short = ["_labels", "_mask", "_anno"].iter().find_map(|s| stem.strip_suffix(s));
    short.unwrap_or(&stem).to_owned()
}

/// Label maps of a folder, or a single one; where there are files ending in `_mask` or `_labels`, only
/// those.
fn files(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    if path.is_file() {
        return Ok(vec![(name(path), path.into())]);
    }
    let fail = |e: std::io::Error| Error::Input { path: path.into(), reason: e.to_string() };
    let mut all: Vec<PathBuf> = std::fs::read_dir(path).map_err(fail)?.flatten().map(|e| e.path()).collect();
    all.retain(|p| is_photo(p));
    all.sort();
    for ending in ["_labels", "_mask"] {
        let labels = |p: &PathBuf| p.file_stem().is_some_and(|s| s.to_string_lossy().ends_with(ending));
        if all.iter().any(labels) {
            all.retain(labels);
        }
    }
    Ok(all.into_iter().map(|p| (name(&p), p)).collect())
}

/// Whether a path holds label maps: one, or a folder with images and no volumes (whose runs leave
/// pictures beside them).
pub fn holds_tiles(path: &Path) -> bool {
    if !path.is_dir() {
        return is_photo(path);
    }
    let volume = |p: PathBuf| {
        let name = p.to_string_lossy().to_ascii_lowercase();
        name.ends_with(".nii") || name.ends_with(".nii.gz")
    };
    let volumes = std::fs::read_dir(path).is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| volume(e.path()))));
    !volumes && files(path).is_ok_and(|f| !f.is_empty())
}

/// Compares label maps (grey images, 0 for background) by name. When no truth has more than one value
/// above 0, anything above 0 is the class.
pub fn tiles(predictions: &Path, truth: &Path) -> Result<Tiles> {
    let (p, t) = (files(predictions)?, files(truth)?);
    let single = p.len() == 1 && t.len() == 1 && predictions.is_file() && truth.is_file();
    let mut pairs = Vec::new();
    let mut unpaired = Vec::new();
    for (tile, path) in &p {
        match t.iter().find(|x| x.0 == *tile || single) {
            Some((_, other)) => pairs.push((tile.clone(), path, other)),
            None => unpaired.push(format!("{tile} (no truth)")),
        }
    }
    let lonely = t.iter().filter(|x| !single && !p.iter().any(|y| y.0 == x.0));
    unpaired.extend(lonely.map(|x| format!("{} (no prediction)", x.0)));
    if pairs.is_empty() {
        let reason = format!("no tile has a name that occurs in {} too", truth.display());
        return Err(Error::Input { path: predictions.into(), reason });
    }
    let mut maps = Vec::new();
    for (tile, a, b) in pairs {
        let (p, t) = (read(a)?, read(b)?);
        if p.dims != t.dims {
            let size = |v: &Volume<u8>| format!("{}x{}", v.dims[0], v.dims[1]);
            let reason = format!("it is {}, {} is {}", size(&p), b.display(), size(&t));
            return Err(Error::Input { path: a.clone(), reason });
        }
        maps.push((tile, p, t));
    }
    let values = |v: &Volume<u8>| v.data.iter().copied().filter(|&x| x > 0).collect::<BTreeSet<u8>>();
    let all: BTreeSet<u8> = maps.iter().flat_map(|m| values(&m.2)).collect();
    let several = all.len() > 1;
    let classes: Vec<u8> = if several { all.into_iter().collect() } else { vec![255] };
    let mut found = Vec::new();
    let mut named = serde_json::Map::new();
    for (tile, p, t) in &maps {
        let own = |class: u8, v: &Volume<u8>| -> Volume<u8> {
            let hit = |x: u8| if several || class == 0 { x == class } else { x > 0 };
            Volume { dims: v.dims, data: v.data.iter().map(|&x| hit(x) as u8).collect() }
        };
        let masks: Vec<_> = [0].iter().chain(&classes).map(|&c| (own(c, p), own(c, t))).collect();
        for (&class, (p, t)) in classes.iter().zip(&masks[1..]) {
            found.push(one(tile, class, p, t));
        }
        let both = masks.iter().map(|(p, t)| (p, t));
        named.insert(tile.clone(), gandlf::segmentation(both, [1.0; 3]).into());
    }
    let total = classes.iter().map(|&c| totals(c, &found)).collect();
    Ok(Tiles { tiles: found, total, gandlf: named, unpaired })
}

fn totals(class: u8, all: &[TileMetrics]) -> ClassTotals {
    let own: Vec<&TileMetrics> = all.iter().filter(|t| t.class == class).collect();
    let n = own.len() as f64;
    let mut distances: Vec<f64> = own.iter().filter_map(|t| t.hd95_px).collect();
    distances.sort_by(f64::total_cmp);
    let sum = |list: &[&TileMetrics]| list.iter().fold([0; 3], |s, t| [0, 1, 2].map(|i| s[i] + t.objects[i]));
    let objects = sum(&own);
    let groups: Vec<Vec<&TileMetrics>> = own.iter().map(|t| vec![*t]).collect();
    let drawn = resample(&groups, RESAMPLES, |list| [object_f1(sum(list))]);
    ClassTotals {
        class,
        n: own.len(),
        dice_mean: own.iter().map(|t| t.dice).sum::<f64>() / n,
        dice_min: own.iter().map(|t| t.dice).fold(f64::INFINITY, f64::min),
        iou_mean: own.iter().map(|t| t.iou).sum::<f64>() / n,
        hd95_px_median: median(&distances),
        object_f1: object_f1(objects),
        dice_ci95: mean_interval(&own.iter().map(|t| t.dice).collect::<Vec<_>>()),
        iou_ci95: mean_interval(&own.iter().map(|t| t.iou).collect::<Vec<_>>()),
        object_f1_ci95: interval(drawn.into_iter().map(|d| d[0]).collect()),
    }
}
