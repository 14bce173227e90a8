//! Between an image's axes and a network's tensors.

use crate::model::{Shape, Slot};
use crate::prepare::pad_fill;
use crate::recipe::{Activation, PadMode};
use crate::{Error, Result};
use ampoule_engine::Session;
use ampoule_imaging::strides::{self, Strides};
use ampoule_imaging::{Volume, pad};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Slices that one thread reads or writes at a time: a cache line of floats.
const THICK: usize = 16;

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
    let cut = |v: &Volume<f32>| pad::cut(v, r.start, r.size, pad_fill(border, 0.0));
    Cow::Owned(channels.iter().map(cut).collect())
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
    slot: &mut Slot,
    shape: &Shape,
    boxes: &[Cow<[Volume<f32>]>],
    mirror: [bool; 3],
) -> Result<()> {
    let Some(size) = boxes.first().and_then(|b| b.first()).map(|v| v.dims) else { return Ok(()) };
    if let Some([least, most]) = shape.whole {
        let odd = |v: &&f32| v.fract() != 0.0 || !(least..=most).contains(*v);
        if let Some(v) = boxes.iter().flat_map(|b| b.iter()).flat_map(|v| &v.data).find(odd) {
            return Err(Error::mismatch(format!(
                "the network takes whole numbers from {least} to {most}, and the steps before it make {v}; leave out those that scale"
            )));
        }
    }
    let (image, c) = (slot.image, shape.channels);
    let spatial: Vec<usize> = shape.axes.iter().map(|a| size[*a]).collect();
    // Both layouts end with channels: the engine keeps them innermost, and so does a file that does.
    let steps: Vec<usize> = strides(&spatial).into_iter().map(|s| s * c).collect();
    let entry = c * spatial.iter().product::<usize>();
    let write = |tensor: &mut [f32]| {
        for (channels, tensor) in boxes.iter().zip(tensor.chunks_exact_mut(entry.max(1))) {
            // One channel in the volume's own order needs no strided copy.
            if c == 1 && mirror == [false; 3] && shape.axes == [2, 1, 0] {
                tensor.copy_from_slice(&channels[0].data);
            } else {
                write_channels(tensor, channels, &shape.axes, &steps, mirror);
            }
        }
        tensor[boxes.len() * entry..].fill(0.0);
    };
    if shape.nhwc {
        let mut values = vec![0f32; shape.batch * entry];
        write(&mut values);
        return Ok(slot.session.set_input(image, &values)?);
    }
    let tensor = slot.session.input(image)?;
    if tensor.len() != shape.batch * entry {
        let reason = format!("the network's input has {} values, the image gives {}", tensor.len(), entry);
        return Err(Error::mismatch(reason));
    }
    write(tensor);
    Ok(())
}

/// Writes channels into a tensor whose `axes` step by `steps` values, channels innermost.
fn write_channels(
    tensor: &mut [f32],
    channels: &[Volume<f32>],
    axes: &[usize],
    steps: &[usize],
    mirror: [bool; 3],
) {
    let Some(size) = channels.first().map(|v| v.dims) else { return };
    let (outer, step) = (axes[0], steps[0].max(1));
    tensor.par_chunks_mut(step * THICK).enumerate().for_each(|(i, part)| {
        let (first, thick) = (i * THICK, part.len() / step);
        let mut start = [0; 3];
        start[outer] = if mirror[outer] { size[outer] - first - thick } else { first };
        let from = Strides::of_volume(size, 1).from(start);
        let mut size = size;
        size[outer] = thick;
        let to = Strides::new(axes, steps, size, mirror);
        for (k, v) in channels.iter().enumerate() {
            strides::copy(size, &from, &to, |at| v.data[at], |at, value| part[at + k] = value);
        }
    });
}

/// A network's output, as the image's axes see it.
pub(crate) struct Output<'a> {
    data: &'a [f32],
    strides: Strides,
    /// Channels of the output; 1 for label maps.
    pub channels: usize,
    channel_stride: usize,
    /// Sizes along the image's axes.
    pub size: [usize; 3],
    /// Values are labels rather than scores.
    pub labels: bool,
}

/// Whether an output of `dims` has its channels last: where the file's layout of the input does not fit the sizes of an
/// `input` and the other one does, the network changes from one to the other.
fn channels_last(shape: &Shape, dims: &[usize], input: [usize; 3]) -> bool {
    let spatial = shape.axes.len();
    if dims.len() != spatial + 2 {
        return shape.nhwc;
    }
    let own: Vec<usize> = shape.axes.iter().map(|a| input[*a]).collect();
    match (dims[2..] == own, dims[1..=spatial] == own) {
        (first, last) if first == last => shape.nhwc,
        (_, last) => last,
    }
}

/// Sizes along the image's axes of an output of `dims` for an `input`, and its channels. `None` where it has none of an
/// image.
pub(crate) fn output_size(shape: &Shape, dims: &[usize], input: [usize; 3]) -> Option<([usize; 3], usize)> {
    let spatial = shape.axes.len();
    let (sizes, channels) = match dims.len() {
        n if n == spatial + 2 && channels_last(shape, dims, input) => (&dims[1..=spatial], dims[n - 1]),
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
    input: [usize; 3],
    entry: usize,
    mirror: [bool; 3],
    labels: bool,
) -> Result<Output<'a>> {
    let out = session.output(0)?;
    let found = output_size(shape, out.dims, input).filter(|_| entry < out.dims[0]);
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
    let (first, channel_stride) = match (out.dims.len() == spatial + 2, channels_last(shape, out.dims, input))
    {
        (true, true) => (1, steps[spatial + 1]),
        (true, false) => (2, steps[1]),
        (false, _) => (1, 0),
    };
    let strided = Strides::new(&shape.axes, &steps[first..first + spatial], size, mirror);
    Ok(Output { data, strides: strided.offset(entry * steps[0]), channels, channel_stride, size, labels })
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
    /// Channels of all labels of the recipe, in whatever parts they are read: of two, one channel of a network stands
    /// for both. None where a single channel is read.
    pub all: &'a [usize],
    /// The highest of all channels is the label.
    pub highest: bool,
}

impl Reading<'_> {
    /// Whether a value of a label map is one of the recipe's.
    fn knows(&self, label: f32) -> bool {
        self.all.is_empty() || self.all.iter().any(|c| *c as f32 == label)
    }

    /// One channel of a network stands for a label and the rest.
    fn pair(&self) -> bool {
        self.all.len() == 2
    }

    /// What is wrong with an output of so many channels.
    pub fn fits(&self, channels: usize, labels: bool) -> Result<()> {
        let most = self.channels.iter().copied().max().unwrap_or(0);
        let alone = channels == 1 && most == 1 && (self.pair() || self.all.is_empty());
        let reason = if !labels && most >= channels && !alone {
            format!(
                "its labels use channel {most}; the network's output has {channels} channels, counted from 0"
            )
        } else if !labels && channels == 1 && self.activation == Activation::Softmax {
            "softmax of one channel is always 1; set `activation = \"sigmoid\"`".to_owned()
        } else if !labels && self.highest && self.all.len() > 1 && channels > self.all.len() {
            format!(
                "the network's output has {channels} channels and the recipe {} labels, so that the highest may be none of them; name a label for each channel",
                self.all.len()
            )
        } else {
            return Ok(());
        };
        Err(Error::mismatch(reason))
    }
}

/// What makes a score of one value of an output.
#[derive(Clone, Copy)]
enum Score {
    Value,
    /// What the value leaves of 1.
    Rest,
    /// The logit of the rest.
    Negated,
    Sigmoid,
    SigmoidRest,
    /// Whether the value is this label.
    Is(f32),
}

impl Score {
    fn of(self, v: f32) -> f32 {
        match self {
            Score::Value => v,
            Score::Rest => 1.0 - v,
            Score::Negated => -v,
            Score::Sigmoid => sigmoid(v),
            Score::SigmoidRest => 1.0 - sigmoid(v),
            Score::Is(label) => (v == label) as u8 as f32,
        }
    }
}

/// Scores a pixel up to which each is read by itself, in the order of memory.
const FEW: usize = 3;

impl Output<'_> {
    /// Adds the scores of the pixels of slices `z` to `into`, scores innermost, x fastest; or sets them. Refuses values
    /// that are not finite, and labels that the recipe does not have.
    pub fn add(&self, what: &Reading, z: Range<usize>, into: &mut [f32], set: bool) -> Result<()> {
        let part = what.channels.len() * self.size[0] * self.size[1] * THICK;
        let parts = into.par_chunks_mut(part.max(1)).zip(z.into_par_iter().step_by(THICK));
        let soft =
            what.activation == Activation::Softmax && !what.logits && !self.labels && self.channels > 1;
        let read = |(into, z): (&mut [f32], usize)| match soft {
            true => self.softmax(what, z, into, set),
            false if what.channels.len() <= FEW => self.by_score(what, z, into, set),
            false => self.by_pixel(what, z, into, set),
        };
        if parts.map(read).reduce(|| true, |a, b| a && b) {
            return Ok(());
        }
        let strange = self.data.iter().find(|v| self.labels && v.is_finite() && !what.knows(**v));
        Err(Error::mismatch(match strange {
            Some(v) => {
                format!("the network gives the label {v}, which no [[label]] has as its `channel`; name all")
            }
            None => "the network's output is not finite; the model or the image is damaged".into(),
        }))
    }

    /// Sizes of a part of slices, by the number of its values.
    fn sizes(&self, values: usize, scores: usize) -> [usize; 3] {
        let [x, y, _] = self.size;
        [x, y, values / (scores * x * y).max(1)]
    }

    /// Where channel `c` lies and what is made of it.
    fn score(&self, what: &Reading, c: usize) -> (usize, Score) {
        let sigmoid = what.activation == Activation::Sigmoid && !what.logits;
        if self.labels {
            return (0, Score::Is(c as f32));
        }
        // One channel stands for a label against the rest.
        let rest = self.channels == 1 && c == 0 && what.pair();
        let score = match (rest, sigmoid) {
            (true, true) => Score::SigmoidRest,
            (true, false) if what.logits => Score::Negated,
            (true, false) => Score::Rest,
            (false, true) => Score::Sigmoid,
            (false, false) => Score::Value,
        };
        (if self.channels == 1 { 0 } else { c * self.channel_stride }, score)
    }

    fn by_score(&self, what: &Reading, z: usize, into: &mut [f32], set: bool) -> bool {
        let n = what.channels.len();
        let size = self.sizes(into.len(), n);
        let to = Strides::of_volume(size, n);
        let from = self.strides.from([0, 0, z]);
        let mut finite = true;
        for (k, &c) in what.channels.iter().enumerate() {
            let (offset, score) = self.score(what, c);
            let get = |at: usize| {
                let v = self.data[at + offset];
                finite &= v.is_finite() && (!self.labels || what.knows(v));
                score.of(v)
            };
            match set {
                true => strides::copy(size, &from, &to, get, |at, v| into[at + k] = v),
                false => strides::copy(size, &from, &to, get, |at, v| into[at + k] += v),
            }
        }
        finite
    }

    fn by_pixel(&self, what: &Reading, z: usize, into: &mut [f32], set: bool) -> bool {
        let n = what.channels.len();
        let list: Vec<_> = what.channels.iter().map(|c| self.score(what, *c)).collect();
        let mut finite = true;
        self.strides.from([0, 0, z]).each(self.sizes(into.len(), n), |at, i| {
            for (s, (offset, score)) in into[i * n..(i + 1) * n].iter_mut().zip(&list) {
                let v = self.data[at + offset];
                finite &= v.is_finite() && (!self.labels || what.knows(v));
                *s = if set { score.of(v) } else { *s + score.of(v) };
            }
        });
        finite
    }

    fn softmax(&self, what: &Reading, z: usize, into: &mut [f32], set: bool) -> bool {
        let n = what.channels.len();
        let mut all = vec![0f32; self.channels];
        let mut finite = true;
        self.strides.from([0, 0, z]).each(self.sizes(into.len(), n), |at, i| {
            for (k, v) in all.iter_mut().enumerate() {
                *v = self.data[at + k * self.channel_stride];
                finite &= v.is_finite();
            }
            softmax(&mut all);
            for (s, &c) in into[i * n..(i + 1) * n].iter_mut().zip(what.channels) {
                *s = if set { all[c] } else { *s + all[c] };
            }
        });
        finite
    }
}

/// The logistic function.
pub(crate) fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-v))
}

/// Softmax in place.
pub(crate) fn softmax(v: &mut [f32]) {
    let top = v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    v.iter_mut().for_each(|x| *x = libm::expf(*x - top));
    let sum: f32 = v.iter().sum();
    v.iter_mut().for_each(|x| *x /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of `what` in an output of 3 x 2 pixels, `channels` innermost.
    fn scores(data: &[f32], channels: usize, what: &Reading) -> Vec<f32> {
        let size = [3, 2, 1];
        let strided = Strides::of_volume(size, channels);
        let out = Output { data, strides: strided, channels, channel_stride: 1, size, labels: false };
        let mut into = vec![0f32; 6 * what.channels.len()];
        out.add(what, 0..1, &mut into, true).unwrap();
        into
    }

    #[test]
    fn one_channel_stands_for_two_labels_in_parts_too() {
        let data = [0.1, 0.2, 0.3, 0.6, 0.7, 0.9];
        for (activation, logits) in
            [(Activation::None, false), (Activation::Sigmoid, false), (Activation::Sigmoid, true)]
        {
            let what = |channels| Reading { activation, channels, logits, all: &[0, 1], highest: true };
            let both = scores(&data, 1, &what(&[0, 1]));
            let (rest, own) = (scores(&data, 1, &what(&[0])), scores(&data, 1, &what(&[1])));
            let joined: Vec<f32> = rest.iter().zip(&own).flat_map(|(a, b)| [*a, *b]).collect();
            assert_eq!(both, joined, "{activation:?} {logits}");
            assert!(what(&[1]).fits(1, false).is_ok() && what(&[0]).fits(1, false).is_ok());
        }
        let alone =
            Reading { activation: Activation::None, channels: &[0], logits: false, all: &[0], highest: true };
        assert_eq!(scores(&data, 1, &alone), data);
    }

    #[test]
    fn few_and_many_channels_are_read_alike() {
        let data: Vec<f32> = (0..30).map(|i| i as f32 / 30.0).collect();
        let what = |channels| Reading {
            activation: Activation::Sigmoid,
            channels,
            logits: false,
            all: &[0, 1, 2, 3, 4],
            highest: true,
        };
        let many = scores(&data, 5, &what(&[4, 3, 0, 1]));
        let few = scores(&data, 5, &what(&[4, 3]));
        assert!(many.chunks(4).zip(few.chunks(2)).all(|(a, b)| a[..2] == *b));
        assert_eq!(few[0], sigmoid(data[4]));
    }

    #[test]
    fn what_does_not_fit_the_labels_is_reported() {
        let what =
            |all, activation| Reading { activation, channels: &[0, 1], logits: false, all, highest: true };
        let said = |w: Reading, channels| w.fits(channels, false).unwrap_err().to_string();
        assert!(said(what(&[0, 1], Activation::None), 3).contains("name a label for each channel"));
        assert!(said(what(&[0, 1], Activation::Softmax), 1).contains("sigmoid"));
        assert!(said(what(&[0, 1, 2], Activation::None), 1).contains("use channel 1"));
        assert!(what(&[0, 1], Activation::Softmax).fits(2, false).is_ok());
        let size = [3, 2, 1];
        let data = [0.0, 1.0, 2.0, 0.0, 1.0, 1.0];
        let strided = Strides::of_volume(size, 1);
        let out =
            Output { data: &data, strides: strided, channels: 1, channel_stride: 0, size, labels: true };
        let mut into = [0f32; 12];
        let e = out.add(&what(&[0, 1], Activation::None), 0..1, &mut into, true).unwrap_err();
        assert!(e.to_string().contains("the label 2"), "{e}");
        let mut into = [0f32; 12];
        out.add(&what(&[0, 1, 2], Activation::None), 0..1, &mut into, true).unwrap();
        assert_eq!(into, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn networks_may_change_the_layout() {
        let shape =
            |nhwc| Shape { batch: 1, channels: 3, nhwc, fixed: vec![None; 2], axes: vec![1, 0], whole: None };
        for nhwc in [false, true] {
            let size = |dims: &[usize]| output_size(&shape(nhwc), dims, [20, 30, 1]);
            assert_eq!(size(&[1, 3, 30, 20]), Some(([20, 30, 1], 3)));
            assert_eq!(size(&[1, 30, 20, 3]), Some(([20, 30, 1], 3)));
            assert_eq!(size(&[1, 30, 20]), Some(([20, 30, 1], 1)));
        }
        assert_eq!(output_size(&shape(false), &[1, 2, 15, 10], [20, 30, 1]), Some(([10, 15, 1], 2)));
        assert_eq!(output_size(&shape(true), &[1, 15, 10, 2], [20, 30, 1]), Some(([10, 15, 1], 2)));
    }
}
