//! Steps that change the grid.

use super::sizes::{Changed, origin_kept, ruled};
use super::{Content, Image, Pixels};
use crate::grid::Change;
use crate::recipe::{Across, Colours, Method, PadMode, SpacingRule};
use ampoule_imaging::crop::Frame;
use ampoule_imaging::photo::{channels_of_levels, linear};
use ampoule_imaging::resample::{self, Border, Order};
use ampoule_imaging::{Volume, blocks, crop, pad, spacing};
use std::borrow::Cow;

/// Most voxels that a step may make of an image.
const MOST: usize = 1 << 31;

/// How voxels are resampled.
pub(super) struct How {
    pub method: Method,
    pub rule: SpacingRule,
    pub separate: Option<f64>,
    pub across: Across,
}

fn small_enough(image: &Image, to: [usize; 3]) -> Content<()> {
    match to.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MOST) {
        Some(voxels) => image.allow(voxels),
        None => {
            Err(format!("it would become {}x{}x{} voxels, which is too many", to[0], to[1], to[2]).into())
        }
    }
}

pub(super) fn crop_nonzero(image: &mut Image, margin: usize) -> Content<()> {
    let dims = image.dims();
    let channels: Vec<&Volume<f32>> = image.floats().iter().collect();
    let mask = crop::nonzero_mask(&channels).filter(|m| m.data.contains(&1));
    let mask = mask.ok_or("all its voxels are 0; there is nothing to see")?;
    let found = crop::bounding_box(&mask).ok_or("all its voxels are 0; there is nothing to see")?;
    let start = [0, 1, 2].map(|i| found.start[i].saturating_sub(margin));
    let end = [0, 1, 2].map(|i| (found.end[i] + margin).min(dims[i]));
    image.mask = Some(mask);
    *image = image.part(start, end);
    Ok(())
}

/// Notes a change of grid, whose voxels there must be memory for, and gives the sizes after it; `None` where the step makes
/// none.
fn changed(image: &mut Image, change: Option<Changed>) -> Content<Option<[usize; 3]>> {
    let Some((change, spacing)) = change else { return Ok(None) };
    let to = change.to();
    small_enough(image, to)?;
    image.spacing = spacing;
    image.history.0.push(change);
    Ok(Some(to))
}

pub(super) fn centre_crop(image: &mut Image, change: Option<Changed>) -> Content<()> {
    let Some((Change::Window { start, .. }, _)) = change else { return Ok(()) };
    let Some(to) = changed(image, change)? else { return Ok(()) };
    match &mut image.pixels {
        Pixels::Bytes(p) => *p = Cow::Owned(p.cropped(start[0], start[1], to[0], to[1])),
        Pixels::Floats(_) => image.replace(|v| Frame::sized(start, to).of(v, 0.0)),
    }
    image.mask = image.mask.take().map(|m| Frame::sized(start, to).of(&m, 0));
    Ok(())
}

pub(super) fn resize(image: &mut Image, change: Option<Changed>, method: Method) -> Content<()> {
    let Some(to) = changed(image, change)? else { return Ok(()) };
    match (&mut image.pixels, method.filter()) {
        (Pixels::Bytes(p), Some(filter)) => *p = Cow::Owned(p.resized(to[0], to[1], filter)),
        (Pixels::Bytes(p), None) if method == Method::Linear && image.colours != Colours::Grey => {
            // Without rounding in between, as TensorFlow does.
            let values = linear(p, [to[0], to[1]]);
            let list = channels_of_levels(&values, [to[0], to[1]], image.colours.order());
            image.pixels = Pixels::Floats(Cow::Owned(list));
        }
        _ => image.replace(|v| resampled(v, to, method)),
    }
    image.mask = image.mask.take().map(|m| nearest(&m, to));
    Ok(())
}

/// The same with the first centres in place, as SimpleITK resamples to a size.
pub(super) fn resize_from_origin(image: &mut Image, change: Option<Changed>) -> Content<()> {
    let from = image.dims();
    let Some(to) = changed(image, change)? else { return Ok(()) };
    let grid = spacing::Grid {
        from,
        dims: to,
        coordinates: origin_kept(from, to),
        border: Border::Buffer,
        rounding: resample::Rounding::HalfUp,
    };
    image.replace(|v| grid.resample(v, Order::Linear));
    image.mask = image.mask.take().map(|m| nearest(&m, to));
    Ok(())
}

fn nearest<T: Copy + Send + Sync>(v: &Volume<T>, to: [usize; 3]) -> Volume<T> {
    let at = [0, 1, 2].map(|i| resample::nearest_exact(v.dims[i], to[i]));
    resample::gather(v, [&at[0], &at[1], &at[2]])
}

fn resampled(v: &Volume<f32>, to: [usize; 3], method: Method) -> Volume<f32> {
    match method {
        Method::Nearest | Method::NearestExact => nearest(v, to),
        Method::Linear | Method::Bilinear => resample::resize(v, to, Order::Linear, Border::Edge, false),
        Method::LinearAntialiased => resample::resize(v, to, Order::Linear, Border::Zero, true),
        Method::Cubic | Method::Bicubic | Method::Lanczos => {
            resample::resize(v, to, Order::Cubic, Border::Edge, false)
        }
        Method::Area => resample::area(v, to),
    }
}

pub(super) fn resample(image: &mut Image, change: Option<Changed>, how: &How) -> Content<()> {
    let (from, own) = (image.dims(), image.spacing);
    let Some(to) = changed(image, change)? else { return Ok(()) };
    let wanted = image.spacing;
    let grid = spacing::grid(ruled(how.rule), from, own, wanted).map_err(|e| e.to_string())?;
    let separate = how.separate.and_then(|t| resample::lowres_axis(own, wanted, t));
    let order = match how.method {
        Method::Cubic | Method::Bicubic | Method::Lanczos => Order::Cubic,
        Method::Nearest | Method::NearestExact => Order::Nearest,
        // A recipe has no areas here.
        Method::Linear | Method::Bilinear | Method::LinearAntialiased | Method::Area => Order::Linear,
    };
    let across = if how.across == Across::Nearest { Order::Nearest } else { Order::Linear };
    image.replace(|v| match (how.rule, separate) {
        (SpacingRule::Nnunet, Some(axis)) => resample::separate(v, to, axis, order, across),
        (SpacingRule::Nnunet, None) => resampled(v, to, how.method),
        (
            SpacingRule::Monai
            | SpacingRule::Torchio
            | SpacingRule::TorchioCorner
            | SpacingRule::Simpleitk
            | SpacingRule::Zoom
            | SpacingRule::Freesurfer,
            _,
        ) => grid.resample(v, order),
    });
    image.mask = image.mask.take().map(|m| match how.rule {
        SpacingRule::Nnunet => as_label(&m, to, separate),
        SpacingRule::Monai
        | SpacingRule::Torchio
        | SpacingRule::TorchioCorner
        | SpacingRule::Simpleitk
        | SpacingRule::Zoom
        | SpacingRule::Freesurfer => nearest(&m, to),
    });
    Ok(())
}

/// A mask on another grid as nnU-Net brings labels there: inside where interpolation gives at least one half, and whole
/// slices along an axis that is resampled by itself.
fn as_label(mask: &Volume<u8>, to: [usize; 3], separate: Option<usize>) -> Volume<u8> {
    let inside = Volume { dims: mask.dims, data: mask.data.iter().map(|v| (*v != 0) as u8 as f32).collect() };
    let shares = match separate {
        Some(axis) => resample::separate(&inside, to, axis, Order::Linear, Order::Nearest),
        None => resample::resize(&inside, to, Order::Linear, Border::Edge, false),
    };
    Volume { dims: to, data: shares.data.iter().map(|v| (*v >= resample::HALF) as u8).collect() }
}

pub(super) fn reduce(image: &mut Image, change: Option<Changed>, by: usize) -> Content<()> {
    image.mask = None;
    if changed(image, change)?.is_some() {
        image.replace(|v| blocks::means(v, by));
    }
    Ok(())
}

pub(super) fn pad(image: &mut Image, change: Option<Changed>, fill: pad::Fill<f32>) -> Content<()> {
    let from = image.dims();
    let Some((Change::Window { start, .. }, _)) = &change else { return Ok(()) };
    let start = *start;
    let Some(to) = changed(image, change)? else { return Ok(()) };
    let before = start.map(|s| -s as usize);
    let after = [0, 1, 2].map(|i| to[i] - from[i] - before[i]);
    image.replace(|v| pad::pad(v, before, after, fill));
    image.mask = image.mask.take().map(|m| Frame::sized(start, to).of(&m, 0));
    Ok(())
}

/// The mode as imaging names it.
pub(crate) fn pad_fill(mode: PadMode, value: f32) -> pad::Fill<f32> {
    match mode {
        PadMode::Constant => pad::Fill::Constant(value),
        PadMode::Edge => pad::Fill::Edge,
        PadMode::Reflect => pad::Fill::Reflect,
        PadMode::Symmetric => pad::Fill::Symmetric,
    }
}
