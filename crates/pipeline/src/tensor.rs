//! Between an image's axes and a network's tensors.

use crate::model::{Seat, Shape};
use crate::prepare::pad_fill;
use crate::recipe::{Activation, PadMode};
use crate::{Error, Result};
use ampoule_engine::Session;
use ampoule_imaging::{Volume, pad};
use std::borrow::Cow;

/// A box of an image, of which some may lie beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub start: [i64; 3],
    pub size: [usize; 3],
}

/// The channels of a box; what lies beyond the image is continued as `border` says.
pub(crate) fn tile(channels: &[Volume<f32>], r: Region, border: PadMode) -> Cow<'_, [Volume<f32>]> {
    let dims = channels.first().map_or([0; 3], |v| v.dims);
    if r.start == [0; 3] && r.size == dims {
        return Cow::Borrowed(channels);
    }
    let inside = |i: usize| {
        let from = r.start[i].clamp(0, dims[i] as i64) as usize;
        let to = (r.start[i] + r.size[i] as i64).clamp(from as i64, dims[i] as i64) as usize;
        (from, to)
    };
    let [x, y, z] = [0, 1, 2].map(inside);
    let (from, to) = ([x.0, y.0, z.0], [x.1, y.1, z.1]);
    let before = [0, 1, 2].map(|i| (from[i] as i64 - r.start[i]) as usize);
    let after = [0, 1, 2].map(|i| r.size[i] - before[i] - (to[i] - from[i]));
    let cut = |v: &Volume<f32>| {
        let part = v.crop(from, to);
        if (before, after) == ([0; 3], [0; 3]) {
            part
        } else {
            pad::pad(&part, before, after, pad_fill(border, 0.0))
        }
    };
    Cow::Owned(channels.iter().map(cut).collect())
}

/// How positions along the image's axes step through a tensor.
struct Walk {
    base: isize,
    step: [isize; 3],
}

impl Walk {
    /// For a box of `size` whose tensor axes have `strides`; mirrored axes are walked backwards.
    fn new(axes: &[usize], strides: &[usize], size: [usize; 3], mirror: [bool; 3]) -> Walk {
        let mut walk = Walk { base: 0, step: [0; 3] };
        for (&a, &s) in axes.iter().zip(strides) {
            let s = s as isize;
            walk.step[a] = if mirror[a] { -s } else { s };
            walk.base += if mirror[a] { (size[a] as isize - 1) * s } else { 0 };
        }
        walk
    }

    fn at(&self, p: [usize; 3]) -> usize {
        (self.base + (0..3).map(|i| p[i] as isize * self.step[i]).sum::<isize>()) as usize
    }
}

/// Visits voxels in blocks, so that transposing orders stays inside the caches.
fn each_voxel(d: [usize; 3], mut f: impl FnMut([usize; 3], usize)) {
    const B: usize = 16;
    for y in 0..d[1] {
        for z0 in (0..d[2]).step_by(B) {
            for x0 in (0..d[0]).step_by(B) {
                for x in x0..(x0 + B).min(d[0]) {
                    for z in z0..(z0 + B).min(d[2]) {
                        f([x, y, z], x + d[0] * (y + d[1] * z));
                    }
                }
            }
        }
    }
}

/// Row-major strides of sizes.
fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut out = vec![1; sizes.len()];
    for i in (0..sizes.len().saturating_sub(1)).rev() {
        out[i] = out[i + 1] * sizes[i + 1];
    }
    out
}

/// Writes the channels of boxes, one an entry of the batch, into the image's input; entries without a box are 0.
pub(crate) fn fill(
    seat: &mut Seat,
    shape: &Shape,
    boxes: &[Cow<[Volume<f32>]>],
    mirror: [bool; 3],
) -> Result<()> {
    let Some(size) = boxes.first().and_then(|b| b.first()).map(|v| v.dims) else { return Ok(()) };
    let (image, c) = (seat.image, shape.channels);
    let spatial: Vec<usize> = shape.axes.iter().map(|a| size[*a]).collect();
    // Both layouts end with channels: the engine keeps them innermost, and so does a file that does.
    let steps: Vec<usize> = strides(&spatial).into_iter().map(|s| s * c).collect();
    let walk = Walk::new(&shape.axes, &steps, size, mirror);
    let entry = c * spatial.iter().product::<usize>();
    let write = |tensor: &mut [f32]| {
        for (b, channels) in boxes.iter().enumerate() {
            let tensor = &mut tensor[b * entry..(b + 1) * entry];
            // One channel in the volume's own order needs no walk.
            if c == 1 && mirror == [false; 3] && steps.last() == Some(&1) && shape.axes == [2, 1, 0] {
                tensor.copy_from_slice(&channels[0].data);
                continue;
            }
            for (k, v) in channels.iter().enumerate() {
                each_voxel(size, |p, i| tensor[walk.at(p) + k] = v.data[i]);
            }
        }
        tensor[boxes.len() * entry..].fill(0.0);
    };
    if shape.nhwc {
        let mut values = vec![0f32; shape.batch * entry];
        write(&mut values);
        return Ok(seat.session.set_input(image, &values)?);
    }
    let tensor = seat.session.input(image);
    if tensor.len() != shape.batch * entry {
        let reason = format!("the network's input has {} values, the image gives {}", tensor.len(), entry);
        return Err(Error::mismatch(reason));
    }
    write(tensor);
    Ok(())
}

/// A network's output, as the image's axes see it.
pub(crate) struct Output<'a> {
    data: &'a [f32],
    walk: Walk,
    /// Channels of the output; 1 for label maps.
    pub channels: usize,
    channel_stride: usize,
    /// Sizes along the image's axes.
    pub size: [usize; 3],
    /// Values are labels rather than scores.
    pub labels: bool,
}

/// Sizes along the image's axes of an output of `dims`, and its channels. `None` where it has none of an image.
pub(crate) fn output_size(shape: &Shape, dims: &[usize]) -> Option<([usize; 3], usize)> {
    let spatial = shape.axes.len();
    let (sizes, channels) = match dims.len() {
        n if n == spatial + 2 && shape.nhwc => (&dims[1..=spatial], dims[n - 1]),
        n if n == spatial + 2 => (&dims[2..], dims[1]),
        n if n == spatial + 1 => (&dims[1..], 1),
        _ => return None,
    };
    let mut size = [1; 3];
    for (a, n) in shape.axes.iter().zip(sizes) {
        size[*a] = *n;
    }
    Some((size, channels))
}

/// Entry `entry` of a session's output, which must be one of an image.
pub(crate) fn output<'a>(
    session: &'a Session,
    shape: &Shape,
    entry: usize,
    mirror: [bool; 3],
    labels: bool,
) -> Result<Output<'a>> {
    let out = session.output(0);
    let found = output_size(shape, out.dims).filter(|_| entry < out.dims[0]);
    let Some((size, channels)) = found else {
        let reason = format!(
            "the network's output is {:?}; a segmentation has a value for every pixel (classification and regression are other tasks)",
            out.dims
        );
        return Err(Error::mismatch(reason));
    };
    let (data, steps) =
        out.raw().ok_or_else(|| Error::mismatch("the network's output is reversed".into()))?;
    let spatial = shape.axes.len();
    let (first, channel_stride) = match (out.dims.len() == spatial + 2, shape.nhwc) {
        (true, true) => (1, steps[spatial + 1]),
        (true, false) => (2, steps[1]),
        (false, _) => (1, 0),
    };
    let mut walk = Walk::new(&shape.axes, &steps[first..first + spatial], size, mirror);
    walk.base += (entry * steps[0]) as isize;
    Ok(Output { data, walk, channels, channel_stride, size, labels })
}

/// What is read of a network's output.
pub(crate) struct Reading<'a> {
    /// Function that makes outputs scores.
    pub activation: Activation,
    /// The output's channel of each score. Of a network with one channel, channel 1 of two is that, and channel 0
    /// what it leaves.
    pub channels: &'a [usize],
    /// Scores are to be combined before the activation, which is applied later.
    pub logits: bool,
}

impl Reading<'_> {
    /// What is wrong with an output of so many channels.
    pub fn fits(&self, channels: usize, labels: bool) -> Result<()> {
        let most = self.channels.iter().copied().max().unwrap_or(0);
        if labels || most < channels || channels == 1 && most == 1 && self.channels.len() <= 2 {
            return Ok(());
        }
        Err(Error::mismatch(format!(
            "its labels use channel {most}; the network's output has {channels} channels, counted from 0"
        )))
    }
}

impl Output<'_> {
    /// Adds the scores of the pixels of slices `z` to `into`, scores innermost, x fastest; or sets them. Tells whether
    /// all were finite.
    pub fn add(&self, what: &Reading, z: std::ops::Range<usize>, into: &mut [f32], set: bool) -> bool {
        let n = what.channels.len();
        let mut all = vec![0f32; self.channels];
        let mut finite = true;
        let soft = what.activation == Activation::Softmax && !what.logits;
        let scan = soft || self.labels || self.channels == 1;
        let first = z.start;
        each_voxel([self.size[0], self.size[1], z.len()], |[x, y, z], i| {
            let at = self.walk.at([x, y, z + first]);
            let out = &mut into[i * n..(i + 1) * n];
            if scan {
                for (k, v) in all.iter_mut().enumerate() {
                    *v = self.data[at + k * self.channel_stride];
                }
                finite &= all.iter().all(|v| v.is_finite());
                self.scores(what, &mut all, out, set);
                return;
            }
            for (s, &c) in out.iter_mut().zip(what.channels) {
                let v = self.data[at + c * self.channel_stride];
                finite &= v.is_finite();
                let v = if what.activation == Activation::Sigmoid && !what.logits { sigmoid(v) } else { v };
                *s = if set { v } else { *s + v };
            }
        });
        finite
    }

    fn scores(&self, what: &Reading, all: &mut [f32], out: &mut [f32], set: bool) {
        let label = all[0];
        if !self.labels && self.channels > 1 && what.activation == Activation::Softmax && !what.logits {
            softmax(all);
        }
        for (s, &c) in out.iter_mut().zip(what.channels) {
            let v = match (self.labels, self.channels) {
                (true, _) => (label == c as f32) as u8 as f32,
                // One channel stands for a label against the rest.
                (false, 1) => {
                    let p = if what.activation == Activation::Sigmoid && !what.logits {
                        sigmoid(label)
                    } else {
                        label
                    };
                    match c == 0 && what.channels.len() == 2 {
                        true if what.logits => -p,
                        true => 1.0 - p,
                        false => p,
                    }
                }
                (false, _) => all[c],
            };
            *s = if set { v } else { *s + v };
        }
    }
}

/// The logistic function.
pub(crate) fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

/// Softmax in place.
pub(crate) fn softmax(v: &mut [f32]) {
    let top = v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    v.iter_mut().for_each(|x| *x = (*x - top).exp());
    let sum: f32 = v.iter().sum();
    v.iter_mut().for_each(|x| *x /= sum);
}
