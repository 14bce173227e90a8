//! Steps that change the grid.

use super::{Content, Image, Pixels};
use crate::grid::{Change, Return};
use crate::recipe::{Across, Back, Colours, Method, PadMode, Side, SizeKey, SpacingRule};
use ampoule_imaging::crop::Frame;
use ampoule_imaging::photo::{channels_of_levels, linear, shorter_side};
use ampoule_imaging::resample::{self, Border, Order};
use ampoule_imaging::{Volume, blocks, crop, pad, spacing};
use std::borrow::Cow;

/// Most voxels that a step may make of an image.
const MOST: usize = 1 << 31;

/// How an image is resampled.
pub(super) struct How {
    pub method: Method,
    pub rule: SpacingRule,
    pub separate: Option<f64>,
    pub across: Across,
    pub back: Back,
}

/// Three sizes of two or three.
fn three(size: &[usize], like: [usize; 3]) -> [usize; 3] {
    [0, 1, 2].map(|i| size.get(i).copied().unwrap_or(like[i]))
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

pub(super) fn centre_crop(image: &mut Image, size: &[usize]) -> Content<()> {
    let from = image.dims();
    let to = three(size, from);
    small_enough(image, to)?;
    let start = [0, 1, 2].map(|i| crop::centre_start(from[i], to[i]));
    match &mut image.pixels {
        Pixels::Bytes(p) => *p = Cow::Owned(p.cropped(start[0], start[1], to[0], to[1])),
        Pixels::Floats(_) => image.replace(|v| Frame::sized(start, to).of(v, 0.0)),
    }
    image.mask = image.mask.take().map(|m| Frame::sized(start, to).of(&m, 0));
    image.history.0.push(Change::Window { start, from, to });
    Ok(())
}

pub(super) fn resize(image: &mut Image, size: &SizeKey, method: Method, back: Back) -> Content<()> {
    let from = image.dims();
    let to = match size.shorter {
        Some(n) => {
            let [width, height] = shorter_side([from[0], from[1]], n);
            [width, height, from[2]]
        }
        None => three(&size.size, from),
    };
    small_enough(image, to)?;
    let scaled = [0, 1, 2].map(|i| image.spacing[i] * from[i] as f64 / to[i] as f64);
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
    image.spacing = scaled;
    image.history.0.push(Change::Scale { from, to, back: [Return::Corner(back); 3], slices: None });
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
    }
}

pub(super) fn resample(image: &mut Image, wanted: [f64; 3], how: &How) -> Content<()> {
    let (from, own) = (image.dims(), image.spacing);
    let wanted = [0, 1, 2].map(|i| if wanted[i] > 0.0 { wanted[i] } else { own[i] });
    if wanted == own {
        return Ok(());
    }
    let grid = spacing::grid(rule(how.rule), from, own, wanted).map_err(|e| e.to_string())?;
    small_enough(image, grid.dims)?;
    let separate = how.separate.and_then(|t| resample::lowres_axis(own, wanted, t));
    // On the way back nnU-Net decides anew, and there the network's spacing comes first.
    let home = how.separate.and_then(|t| resample::lowres_axis(wanted, own, t));
    let order = match how.method {
        Method::Cubic | Method::Bicubic | Method::Lanczos => Order::Cubic,
        Method::Nearest | Method::NearestExact => Order::Nearest,
        Method::Linear | Method::Bilinear | Method::LinearAntialiased => Order::Linear,
    };
    let across = if how.across == Across::Nearest { Order::Nearest } else { Order::Linear };
    image.replace(|v| match (how.rule, separate) {
        (SpacingRule::Nnunet, Some(axis)) => resample::separate(v, grid.dims, axis, order, across),
        (SpacingRule::Nnunet, None) => resampled(v, grid.dims, how.method),
        (
            SpacingRule::Monai
            | SpacingRule::Torchio
            | SpacingRule::TorchioCorner
            | SpacingRule::Simpleitk
            | SpacingRule::Zoom,
            _,
        ) => grid.resample(v, order),
    });
    let linear = matches!(how.back, Back::Linear | Back::LinearAntialiased);
    let back = [0, 1, 2].map(|i| match how.rule {
        SpacingRule::Nnunet if home == Some(i) && how.across == Across::Nearest => {
            Return::Corner(Back::Nearest)
        }
        SpacingRule::Nnunet => Return::Corner(how.back),
        SpacingRule::Monai
        | SpacingRule::Torchio
        | SpacingRule::TorchioCorner
        | SpacingRule::Simpleitk
        | SpacingRule::Zoom => Return::At { there: grid.coordinates[i], linear },
    });
    image.mask = image.mask.take().map(|m| nearest(&m, grid.dims));
    image.spacing = wanted;
    let slices = separate.filter(|_| how.rule == SpacingRule::Nnunet);
    image.history.0.push(Change::Scale { from, to: grid.dims, back, slices });
    Ok(())
}

/// The rule as imaging names it.
fn rule(r: SpacingRule) -> spacing::Rule {
    match r {
        SpacingRule::Nnunet => spacing::Rule::NnUnet,
        SpacingRule::Monai => spacing::Rule::Monai,
        SpacingRule::Torchio => spacing::Rule::TorchIo,
        SpacingRule::TorchioCorner => spacing::Rule::TorchIoCorner,
        SpacingRule::Simpleitk => spacing::Rule::SimpleItk,
        SpacingRule::Zoom => spacing::Rule::Zoom,
    }
}

pub(super) fn reduce(image: &mut Image, by: usize) -> Content<()> {
    let from = image.dims();
    if by > 1 {
        image.replace(|v| blocks::means(v, by));
    }
    image.mask = None;
    if by > 1 {
        image.history.0.push(Change::Blocks { from, by });
    }
    Ok(())
}

pub(super) fn pad(
    image: &mut Image,
    multiple: usize,
    least: &[usize],
    mode: PadMode,
    value: f32,
    side: Side,
) -> Content<()> {
    let from = image.dims();
    let least = match least {
        [one] => [*one; 3],
        list => three(list, [1; 3]),
    };
    let to = [0, 1, 2].map(|i| match image.flat && i == 2 {
        true => 1,
        false => from[i].next_multiple_of(multiple).max(least[i]),
    });
    small_enough(image, to)?;
    if to == from {
        return Ok(());
    }
    let before = [0, 1, 2].map(|i| match side {
        Side::End => 0,
        Side::Both => (to[i] - from[i]) / 2,
        Side::Start => to[i] - from[i],
    });
    let after = [0, 1, 2].map(|i| to[i] - from[i] - before[i]);
    image.replace(|v| pad::pad(v, before, after, pad_fill(mode, value)));
    image.mask = image.mask.take().map(|m| Frame::sized(before.map(|b| -(b as i64)), to).of(&m, 0));
    image.history.0.push(Change::Window { start: before.map(|b| -(b as i64)), from, to });
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
