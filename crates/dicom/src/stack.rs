//! Slices put in order by where they lie, or the reason why they make no volume.

mod frames;
mod lean;
mod vector;

use crate::Error;
use crate::header::Key;
use ampoule_imaging::geometry::Affine;
pub(crate) use lean::Lean;
use vector::{cross, dot, length, minus, plus, times};

/// Directions that differ by no more than this in any component are one.
const SAME_DIRECTION: f64 = 1e-3;
/// Positions that differ by no more than this many mm are one.
const SAME_MM: f64 = 1e-2;
/// Share of a distance by which distances may differ.
const SAME_SHARE: f64 = 0.02;
/// Angle in degrees up to which a stack is straight.
const STRAIGHT: f64 = 0.1;

/// One image of a series.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// Number of its instance in the series.
    pub instance: usize,
    /// Frame of that instance.
    pub frame: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Middle of the first pixel in mm, in the patient's system (left, posterior, superior).
    pub position: [f64; 3],
    /// Directions of rows and of columns.
    pub orientation: [[f64; 3]; 2],
    /// Distances of rows and of columns in mm.
    pub spacing: [f64; 2],
    pub slope: f64,
    pub intercept: f64,
    pub key: Key,
}

/// Slices that make a volume, or several on one grid.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Columns, rows, slices; of a stack that leans, those of the straight grid around it.
    pub dims: [usize; 3],
    /// From voxels (columns, rows from the last one up, slices along their normal) to mm (RAS).
    pub affine: Affine,
    /// Slices of each frame in their order along the normal.
    pub frames: Vec<Vec<Slice>>,
    /// What tells frames apart, and its values; empty for one.
    pub by: (&'static str, Vec<String>),
    /// How the slices are shifted against one another, where they are.
    pub lean: Option<Lean>,
}

/// Puts the slices of a series in order. `name` gives the file of an instance, for messages.
pub(crate) fn stack(slices: Vec<Slice>, name: &dyn Fn(usize) -> String) -> Result<Stack, Error> {
    one_kind(&slices)?;
    let Some(first) = slices.first() else { return Err(Error::OneSlice) };
    let ([row, column], spacing, size) = (first.orientation, first.spacing, first.size);
    let normal = normal(row, column)?;
    let mut placed: Vec<(f64, Slice)> = slices.into_iter().map(|s| (dot(s.position, normal), s)).collect();
    placed
        .sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1.instance, a.1.frame).cmp(&(b.1.instance, b.1.frame))));
    let (frames, by) = frames::apart(placed, name)?;
    let (mut step, mut origin) = ([0.0; 3], [0.0; 3]);
    for (i, frame) in frames.iter().enumerate() {
        let own = in_line(frame, normal, spacing, name)?;
        if i == 0 {
            (step, origin) = (own, frame[0].position);
        } else if length(minus(frame[0].position, origin)) > SAME_MM {
            return Err(Error::Duplicate {
                first: name(frames[0][0].instance),
                second: name(frame[0].instance),
            });
        }
    }
    // Rows go from the last one up, as in NIfTI files that converters write.
    let across = times(row, spacing[1]);
    let down = times(column, spacing[0]);
    let lean = Lean::of(step, normal, [across, down], [size[1], size[0]], frames[0].len())?;
    let mut dims = [size[1], size[0], frames[0].len()];
    if let Some(lean) = &lean {
        let [x, y] = lean.start;
        origin = plus(origin, plus(times(across, x), times(down, y)));
        step = times(normal, dot(step, normal));
        dims[..2].copy_from_slice(&lean.size);
    }
    let corner = plus(origin, times(down, dims[1] as f64 - 1.0));
    let up = times(down, -1.0);
    // The patient's system is left, posterior, superior.
    let ras = |i: usize| if i < 2 { -1.0 } else { 1.0 };
    let affine = Affine([0, 1, 2].map(|i| [across[i], up[i], step[i], corner[i]].map(|v| v * ras(i))));
    Ok(Stack { dims, affine, frames, by, lean })
}

/// The normal of a slice; refuses directions that are no unit vectors at a right angle.
fn normal(row: [f64; 3], column: [f64; 3]) -> Result<[f64; 3], Error> {
    let unit = |v: [f64; 3]| (length(v) - 1.0).abs() < SAME_DIRECTION;
    match unit(row) && unit(column) && dot(row, column).abs() < SAME_DIRECTION {
        true => Ok(cross(row, column)),
        false => Err(Error::NoGeometry { what: "Image Orientation (Patient)" }),
    }
}

fn same_kind(a: &Slice, b: &Slice) -> bool {
    let near = |a: &[f64], b: &[f64], by: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by);
    a.size == b.size
        && near(&a.spacing, &b.spacing, 1e-4)
        && (0..2).all(|i| near(&a.orientation[i], &b.orientation[i], SAME_DIRECTION))
}

/// Refuses slices of several sizes, distances of pixels or orientations.
fn one_kind(slices: &[Slice]) -> Result<(), Error> {
    // Kinds are few; more than these are not told.
    const MOST: usize = 20;
    let mut kinds: Vec<(&Slice, usize)> = Vec::new();
    for s in slices {
        match kinds.iter().position(|(k, _)| same_kind(k, s)) {
            Some(i) => kinds[i].1 += 1,
            None if kinds.len() < MOST => kinds.push((s, 1)),
            None => {}
        }
    }
    if kinds.len() <= 1 {
        return Ok(());
    }
    let one = |(s, n): &(&Slice, usize)| format!("{n} {} of {}x{}", plane(s), s.size[1], s.size[0]);
    let list = kinds.iter().map(one).collect::<Vec<_>>().join(", ");
    Err(Error::Mixed { planes: kinds.len(), list })
}

/// The plane that a slice is nearest to.
fn plane(s: &Slice) -> &'static str {
    let n = cross(s.orientation[0], s.orientation[1]).map(f64::abs);
    match n {
        [x, y, z] if x >= y && x >= z => "sagittal",
        [_, y, z] if y >= z => "coronal",
        _ => "axial",
    }
}

/// The way from one slice to the next, where all lie in one straight line at equal distances.
fn in_line(
    frame: &[Slice],
    normal: [f64; 3],
    spacing: [f64; 2],
    name: &dyn Fn(usize) -> String,
) -> Result<[f64; 3], Error> {
    let ([first, .., last], n) = (frame, frame.len()) else { return Err(Error::OneSlice) };
    let way = minus(last.position, first.position);
    equal_distances(frame, normal, name)?;
    let tolerance = 0.05 * spacing[0].min(spacing[1]);
    let step = times(way, 1.0 / (n as f64 - 1.0));
    for (i, s) in frame.iter().enumerate() {
        let apart = minus(s.position, plus(first.position, times(step, i as f64)));
        let apart = length(minus(apart, times(normal, dot(apart, normal))));
        if apart > tolerance.max(SAME_MM) {
            return Err(Error::Shifted { file: name(s.instance), apart });
        }
    }
    Ok(step)
}

fn equal_distances(frame: &[Slice], normal: [f64; 3], name: &dyn Fn(usize) -> String) -> Result<(), Error> {
    let at: Vec<f64> = frame.iter().map(|s| dot(s.position, normal)).collect();
    let mut gaps: Vec<f64> = at.windows(2).map(|w| w[1] - w[0]).collect();
    let all = gaps.clone();
    gaps.sort_by(f64::total_cmp);
    let usual = gaps[gaps.len() / 2];
    let tolerance = SAME_MM.max(SAME_SHARE * usual);
    let Some(i) = all.iter().position(|g| (g - usual).abs() > tolerance) else { return Ok(()) };
    let (found, before, after) = (all[i], name(frame[i].instance), name(frame[i + 1].instance));
    let times = (found / usual).round();
    match times >= 2.0 && (found - times * usual).abs() <= tolerance * times {
        true => Err(Error::Missing { count: times as usize - 1, before, after, found, usual }),
        false => Err(Error::Unequal { before, after, found, usual }),
    }
}
