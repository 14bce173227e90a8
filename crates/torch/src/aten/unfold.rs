//! Windows of a tensor as elements, and back: `unfold`, `im2col`, `col2im`.

use crate::args::Args;
use crate::net::{Followed, Net, wrong};
use crate::value::Value;
use ampoule_graph::op::{PadMode, Variadic};
use ampoule_graph::{Op, Tensor, ValueId};

/// Most windows along one axis.
const WINDOWS: usize = 1 << 16;

/// How windows lie along one axis.
#[derive(Clone, Copy)]
struct Along {
    kernel: usize,
    dilation: usize,
    padding: usize,
    stride: usize,
}

impl Along {
    /// How many windows an axis of `n` has.
    fn windows(&self, n: usize) -> Followed<usize> {
        let reach = self.dilation.saturating_mul(self.kernel.saturating_sub(1)).saturating_add(1);
        let last = n.saturating_add(self.padding.saturating_mul(2)).checked_sub(reach);
        match last {
            Some(last) if self.kernel > 0 && self.stride > 0 && last / self.stride < WINDOWS => {
                Ok(last / self.stride + 1)
            }
            _ => wrong(format!("windows of {} along an axis of {n}", self.kernel)),
        }
    }

    /// For each window (rows) the places of its elements, in the padded axis.
    fn places(&self, windows: usize) -> Tensor {
        let one = |w: usize| (0..self.kernel).map(move |k| (w * self.stride + k * self.dilation) as i64);
        let all: Vec<i64> = (0..windows).flat_map(one).collect();
        Tensor::i64(&[windows, self.kernel], &all)
    }
}

/// The windows that arguments `kernel_size, dilation, padding, stride` from place `i` on name along two axes.
fn both(net: &mut Net, a: &Args, i: usize) -> Followed<[Along; 2]> {
    let [kernel, dilation, padding, stride] =
        [(i, 1), (i + 1, 1), (i + 2, 0), (i + 3, 1)].map(|(i, default)| a.per_axis(net, i, 2, default));
    let (kernel, dilation, padding, stride) = (kernel?, dilation?, padding?, stride?);
    let along =
        |i: usize| Along { kernel: kernel[i], dilation: dilation[i], padding: padding[i], stride: stride[i] };
    Ok([along(0), along(1)])
}

/// Adds zeros before and after an axis.
fn padded(net: &mut Net, x: ValueId, axis: usize, before: usize, after: usize) -> Followed<ValueId> {
    if before == 0 && after == 0 {
        return Ok(x);
    }
    let rank = net.rank(x)?;
    let mut pads = vec![0; 2 * rank];
    (pads[axis], pads[rank + axis]) = (before as i64, after as i64);
    let pads = net.ints(&pads)?;
    net.one(Op::Pad { mode: PadMode::Constant }, &[x, pads])
}

/// `size` elements of an axis from `start` on.
fn part(net: &mut Net, x: ValueId, axis: usize, start: usize, size: usize) -> Followed<ValueId> {
    let [s, e, a] = [start, start + size, axis].map(|v| net.ints(&[v as i64]));
    net.one(Op::Slice, &[x, s?, e?, a?])
}

/// `unfold(self, dimension, size, step)`: windows along an axis; their elements become the last one.
pub(super) fn unfold(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, axis) = (a.tensor(net, 0)?, a.int(net, 1)?);
    let (size, step) = (a.int(net, 2)?.max(0) as usize, a.int(net, 3)?.max(0) as usize);
    let axis = net.axis(x, axis)?;
    let n = net.sizes(x, "windows of a free size")?[axis];
    let along = Along { kernel: size, dilation: 1, padding: 0, stride: step };
    let windows = along.windows(n)?;
    let places = net.made(along.places(windows))?;
    let y = net.one(Op::Gather { axis: axis as i64 }, &[x, places])?;
    let mut perm: Vec<usize> = (0..=net.rank(x)?).filter(|i| *i != axis + 1).collect();
    perm.push(axis + 1);
    let y = net.transpose(y, &perm)?;
    Ok(net.tensor(y))
}

/// `im2col(self, kernel_size, dilation, padding, stride)`: the pixels of each window as channels.
pub(super) fn im2col(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let [n, c, h, w] = net.sizes(x, "windows of a free size")?[..] else {
        return wrong("windows of images without a batch");
    };
    let [down, across] = both(net, a, 1)?;
    let (rows, columns) = (down.windows(h)?, across.windows(w)?);
    let mut y = padded(net, x, 2, down.padding, down.padding)?;
    y = padded(net, y, 3, across.padding, across.padding)?;
    let places = net.made(down.places(rows))?;
    y = net.one(Op::Gather { axis: 2 }, &[y, places])?;
    let places = net.made(across.places(columns))?;
    y = net.one(Op::Gather { axis: 4 }, &[y, places])?;
    // Windows down, rows of a window, windows across, columns of a window.
    y = net.transpose(y, &[0, 1, 3, 5, 2, 4])?;
    let channels = c * down.kernel * across.kernel;
    let y = net.reshape(y, &[n, channels, rows * columns].map(|v| Value::Int(v as i64)))?;
    Ok(net.tensor(y))
}

/// `col2im(self, output_size, kernel_size, dilation, padding, stride)`: the sum of all windows at their places.
pub(super) fn col2im(net: &mut Net, a: &Args) -> Followed<Value> {
    let x = a.tensor(net, 0)?;
    let [n, channels, count] = net.sizes(x, "windows of a free size")?[..] else {
        return wrong("windows of images without a batch");
    };
    let size = a.per_axis(net, 1, 2, 1)?;
    let [down, across] = both(net, a, 2)?;
    let (rows, columns) = (down.windows(size[0])?, across.windows(size[1])?);
    let pixels = down.kernel * across.kernel;
    if rows * columns != count || pixels == 0 || !channels.is_multiple_of(pixels) {
        return wrong(format!("{count} windows of {channels} channels for an image of {size:?}"));
    }
    let c = channels / pixels;
    let split = [n, c, down.kernel, across.kernel, rows, columns].map(|v| Value::Int(v as i64));
    let y = net.reshape(x, &split)?;
    // Across first: the columns of a window are then the last axis but one of what is left.
    let y = summed(net, y, 3, 5, across, size[1])?;
    let y = summed(net, y, 2, 3, down, size[0])?;
    Ok(net.tensor(y))
}

/// Takes away axis `taps`, the elements of windows, by adding each at its places along axis `axis`, the windows, which becomes the
/// image's axis of `size`.
fn summed(
    net: &mut Net,
    x: ValueId,
    taps: usize,
    axis: usize,
    along: Along,
    size: usize,
) -> Followed<ValueId> {
    let windows = net.sizes(x, "windows of a free size")?[axis];
    let total = size + 2 * along.padding;
    // Without the axis of elements, which lies before it.
    let axis = axis - 1;
    let mut terms = Vec::new();
    for k in 0..along.kernel {
        let at = net.made(Tensor::i64(&[], &[k as i64]))?;
        let mut y = net.one(Op::Gather { axis: taps as i64 }, &[x, at])?;
        let mut length = windows;
        if along.stride > 1 && windows > 1 {
            // Zeros between the windows.
            let dims = net.sizes(y, "windows of a free size")?;
            let last = net.ints(&[axis as i64 + 1])?;
            y = net.one(Op::Unsqueeze, &[y, last])?;
            y = padded(net, y, axis + 1, 0, along.stride - 1)?;
            let list: Vec<Value> = (0..dims.len())
                .map(|i| Value::Int((dims[i] * if i == axis { along.stride } else { 1 }) as i64))
                .collect();
            y = net.reshape(y, &list)?;
            length = (windows - 1) * along.stride + 1;
            y = part(net, y, axis, 0, length)?;
        }
        let before = k * along.dilation;
        let Some(after) = total.checked_sub(before + length) else {
            return wrong("windows beyond the image");
        };
        terms.push(padded(net, y, axis, before, after)?);
    }
    let all = match &terms[..] {
        [one] => *one,
        _ => net.one(Op::Variadic(Variadic::Sum), &terms)?,
    };
    if along.padding == 0 { Ok(all) } else { part(net, all, axis, along.padding, size) }
}

/// `repeat_interleave(self, repeats, dim)`: each element of an axis several times.
pub(super) fn repeat_interleave(net: &mut Net, a: &Args) -> Followed<Value> {
    let (x, times) = (a.tensor(net, 0)?, a.int(net, 1)?);
    if !a.given(2) {
        return wrong("it repeats the elements of a flattened tensor");
    }
    let axis = a.int(net, 2)?;
    let axis = net.axis(x, axis)?;
    let mut shape = net.shape(x)?;
    let Value::Int(n) = shape[axis] else {
        return wrong("it repeats the elements of an axis of a free size");
    };
    shape[axis] = Value::Int(n.saturating_mul(times));
    let next = net.ints(&[axis as i64 + 1])?;
    let y = net.one(Op::Unsqueeze, &[x, next])?;
    let mut repeats = vec![1; shape.len() + 1];
    repeats[axis + 1] = times;
    let repeats = net.ints(&repeats)?;
    let y = net.one(Op::Tile, &[y, repeats])?;
    let y = net.reshape(y, &shape)?;
    Ok(net.tensor(y))
}
