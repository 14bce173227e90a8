//! Metrics of masks as other packages define them, so that a published table can be computed again. `docs/metrics.md` says where
//! they differ from this program's own; golden files hold the values to the packages (`scripts/golden_like.py`).

mod surfels;

use ampoule_imaging::Volume;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use serde::Serialize;

/// A package whose definitions are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Like {
    /// medpy's `metric.binary`.
    Medpy,
    /// MONAI's `metrics`, one class at a time, without the background.
    Monai,
    /// DeepMind's surface-distance.
    SurfaceDistance,
}

impl std::str::FromStr for Like {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "medpy" => Ok(Like::Medpy),
            "monai" => Ok(Like::Monai),
            "surface-distance" => Ok(Like::SurfaceDistance),
            _ => Err("medpy, monai or surface-distance".into()),
        }
    }
}

/// A metric's name in the package and its value; `None` where the package gives none (not a number, or an exception).
pub type Named = (&'static str, Option<f64>);

/// Metrics of a predicted and a true mask, 0 and 1, voxels of `spacing` mm. Infinite values stay so.
pub fn metrics(like: Like, p: &Volume<u8>, t: &Volume<u8>, spacing: [f64; 3]) -> Vec<Named> {
    match like {
        Like::Medpy => medpy(p, t, spacing),
        Like::Monai => monai(p, t, spacing),
        Like::SurfaceDistance => surface_distance(p, t, spacing),
    }
}

fn mean(v: &[f32]) -> f64 {
    v.iter().map(|d| f64::from(*d)).sum::<f64>() / v.len() as f64
}

fn most(v: &[f32]) -> f64 {
    f64::from(v.iter().copied().fold(0.0, f32::max))
}

/// Percentile with linear interpolation between neighbours, as numpy's and torch's.
fn percentile(values: &[f32], q: f64) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f32::total_cmp);
    let x = q * (v.len() - 1) as f64;
    let (i, part) = (x as usize, x.fract());
    let at = |i: usize| f64::from(v[i.min(v.len() - 1)]);
    at(i) + part * (at(i + 1) - at(i))
}

fn medpy(p: &Volume<u8>, t: &Volume<u8>, spacing: [f64; 3]) -> Vec<Named> {
    let c = counts(p, t);
    let [both, a, b] = [c.both, c.both + c.first, c.both + c.second].map(|n| n as f64);
    let share = |x: f64, y: f64| if y > 0.0 { x / y } else { 0.0 };
    let d = SurfaceDistances::new(p, t, spacing);
    // Distances with an empty mask raise an exception there.
    let whole = a > 0.0 && b > 0.0;
    let pooled: Vec<f32> = d.forward.iter().chain(&d.backward).copied().collect();
    let of = |f: &dyn Fn() -> f64| whole.then(f);
    vec![
        ("dc", Some(c.dice())),
        ("jc", Some(c.iou())),
        ("precision", Some(share(both, a))),
        ("recall", Some(share(both, b))),
        ("ravd", (b > 0.0).then(|| (a - b) / b)),
        ("hd", of(&|| most(&pooled))),
        ("hd95", of(&|| percentile(&pooled, 0.95))),
        ("asd", of(&|| mean(&d.forward))),
        ("assd", of(&|| mean(&pooled))),
    ]
}

fn monai(p: &Volume<u8>, t: &Volume<u8>, spacing: [f64; 3]) -> Vec<Named> {
    let c = counts(p, t);
    let d = SurfaceDistances::new(p, t, spacing);
    let truth = c.both + c.second > 0;
    let all = d.forward.len() + d.backward.len();
    // Infinite with one empty mask, not a number with two.
    let of = |f: &dyn Fn() -> f64| match (d.forward.is_empty(), d.backward.is_empty()) {
        (true, true) => None,
        (false, false) => Some(f()),
        (true, false) | (false, true) => Some(f64::INFINITY),
    };
    let pooled: Vec<f32> = d.forward.iter().chain(&d.backward).copied().collect();
    vec![
        // Without the class in the ground truth there is no overlap.
        ("dice", truth.then(|| c.dice())),
        ("iou", truth.then(|| c.iou())),
        ("hausdorff", of(&|| most(&pooled))),
        // Percentiles of infinite distances are not numbers there.
        ("hausdorff95", (truth && c.both + c.first > 0).then(|| hd95(&d))),
        ("surface_distance", of(&|| mean(&pooled))),
        ("surface_dice_1mm", (all > 0).then(|| d.surface_dice(1.0))),
    ]
}

fn hd95(d: &SurfaceDistances) -> f64 {
    percentile(&d.forward, 0.95).max(percentile(&d.backward, 0.95))
}

/// Surface elements lie between the voxels and have a weight, their area: [`surfels`]. Of pictures, each place where four pixels
/// meet has a piece of outline by which of them are set, and its length is its weight (Nikolov and others, *Clinically applicable
/// segmentation of head and neck anatomy*, 2021).
fn surface_distance(p: &Volume<u8>, t: &Volume<u8>, spacing: [f64; 3]) -> Vec<Named> {
    let [to_b, to_a] = if p.dims[2] == 1 {
        let [a, b] = [p, t].map(|m| Outline::of(m, [spacing[0], spacing[1]]));
        [a.distances(&b), b.distances(&a)]
    } else {
        surfels::distances(p, t, spacing)
    };
    let share = |tolerance: f64| {
        let near = |d: &[(f64, f64)]| d.iter().filter(|x| x.0 <= tolerance).map(|x| x.1).sum::<f64>();
        let whole = |d: &[(f64, f64)]| d.iter().map(|x| x.1).sum::<f64>();
        let all = whole(&to_b) + whole(&to_a);
        (all > 0.0).then(|| (near(&to_b) + near(&to_a)) / all)
    };
    let average = |d: &[(f64, f64)]| {
        let weight: f64 = d.iter().map(|x| x.1).sum();
        (weight > 0.0).then(|| d.iter().map(|x| x.0 * x.1).sum::<f64>() / weight)
    };
    let at = |d: &[(f64, f64)]| weighted_percentile(d, 0.95);
    vec![
        ("robust_hausdorff95", Some(at(&to_b).max(at(&to_a)))),
        ("surface_dice_1mm", share(1.0)),
        ("average_distance_gt_to_pred", average(&to_a)),
        ("average_distance_pred_to_gt", average(&to_b)),
    ]
}

/// The distance up to which a share of the weight lies; infinite where there is none.
fn weighted_percentile(d: &[(f64, f64)], q: f64) -> f64 {
    let mut sorted = d.to_vec();
    sorted.sort_by(|x, y| x.0.total_cmp(&y.0));
    let all: f64 = sorted.iter().map(|x| x.1).sum();
    let mut sum = 0.0;
    sorted
        .iter()
        .find(|x| {
            sum += x.1;
            sum / all >= q
        })
        .map_or(f64::INFINITY, |x| x.0)
}

/// Pieces of an outline: place in mm and length.
struct Outline(Vec<([f64; 2], f64)>);

impl Outline {
    fn of(m: &Volume<u8>, [sx, sy]: [f64; 2]) -> Self {
        let [nx, ny, _] = m.dims;
        let set = |x: usize, y: usize| {
            // Places are counted from one before the first pixel.
            (1..=nx).contains(&x) && (1..=ny).contains(&y) && m.data[(y - 1) * nx + x - 1] != 0
        };
        let diagonal = 0.5 * (sx * sx + sy * sy).sqrt();
        let mut out = Vec::new();
        for y in 0..=ny {
            for x in 0..=nx {
                let four = [set(x, y), set(x + 1, y), set(x, y + 1), set(x + 1, y + 1)];
                let length = match four.map(u8::from) {
                    [0, 0, 0, 0] | [1, 1, 1, 1] => continue,
                    [1, 1, 0, 0] | [0, 0, 1, 1] => sx,
                    [1, 0, 1, 0] | [0, 1, 0, 1] => sy,
                    [1, 0, 0, 1] | [0, 1, 1, 0] => 2.0 * diagonal,
                    _ => diagonal,
                };
                out.push(([x as f64 * sx, y as f64 * sy], length));
            }
        }
        Outline(out)
    }

    /// From each piece to the nearest of another outline, with the piece's length; infinite where there is none.
    fn distances(&self, other: &Outline) -> Vec<(f64, f64)> {
        let nearest = |a: &[f64; 2]| {
            let squared = |b: &[f64; 2]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
            other.0.iter().map(|(b, _)| squared(b)).fold(f64::INFINITY, f64::min).sqrt()
        };
        self.0.iter().map(|(place, length)| (nearest(place), *length)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_packages() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../tests/golden/like.json")).unwrap();
        let mut compared = 0;
        for case in golden.as_array().unwrap() {
            let list =
                |k: &str| case[k].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
            let dims: Vec<usize> = list("dims").iter().map(|v| *v as usize).collect();
            let dims = [dims[0], dims[1], dims[2]];
            let mask = |k: &str| Volume { dims, data: list(k).iter().map(|v| *v as u8).collect() };
            let s = list("spacing");
            for (like, want) in case["values"].as_object().unwrap() {
                let got = metrics(like.parse().unwrap(), &mask("p"), &mask("t"), [s[0], s[1], s[2]]);
                for (name, want) in want.as_object().unwrap() {
                    let got = got.iter().find(|g| g.0 == name).unwrap().1;
                    let want = if want == "inf" { Some(f64::INFINITY) } else { want.as_f64() };
                    let near = match (got, want) {
                        (Some(a), Some(b)) => a == b || (a - b).abs() < 2e-5 * (1.0 + b.abs()),
                        (a, b) => a == b,
                    };
                    assert!(near, "{like} {name} of {}: {got:?}, {want:?}", case["name"]);
                    compared += 1;
                }
            }
        }
        assert!(compared > 60, "{compared}");
    }
}
