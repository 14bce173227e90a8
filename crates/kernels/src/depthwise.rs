//! Depthwise convolution: one kernel per channel, vectors along channels.

use crate::conv::{Axis, ConvPointers};
use crate::dot::Act;
use crate::simd::{Body, Vector, dispatch};
use crate::{Elem, Element, Grid, Isa, bf16};

/// A depthwise convolution planned for one shape; one item is a block of output rows.
pub struct Depthwise {
    /// Input grid.
    pub input: Grid,
    /// Output grid with the same channels.
    pub output: Grid,
    /// Residual grid, if one is added.
    pub residual: Option<Grid>,
    /// Depth, height, width.
    pub axes: [Axis; 3],
    /// Activation.
    pub act: Act,
    /// How input, output and residual are stored.
    pub elem: Elem,
}

/// Output rows of an item: input lines stay in cache for all of them.
const ROWS: usize = 4;
/// Output pixels whose sums are in registers at once.
const PIXELS: usize = 8;

/// Where a tap reads for the first channel of the first of some outputs, and its weights.
#[derive(Clone, Copy)]
struct Tap {
    input: isize,
    weight: usize,
}

struct Rows<'a, E> {
    plan: &'a Depthwise,
    weights: *const f32,
    bias: *const f32,
    input: *const E,
    output: *mut E,
    residual: *const E,
    /// Batch entry and slice.
    at: [usize; 2],
    rows: (usize, usize),
}

impl Depthwise {
    /// Number of items.
    pub fn items(&self) -> usize {
        let [n, d, h, _, _] = self.output.dims;
        n * d * h.div_ceil(ROWS)
    }

    /// Output region of item `index`: batch entry, slice, first row and one past the last.
    pub fn region(&self, index: usize) -> [usize; 4] {
        let [_, d, h, _, _] = self.output.dims;
        let blocks = h.div_ceil(ROWS);
        let y = index % blocks * ROWS;
        [index / (blocks * d), index / blocks % d, y, (y + ROWS).min(h)]
    }

    /// Calls `f` with the offset and length of every contiguous run of outputs that item `index`
    /// writes.
    pub fn runs(&self, index: usize, mut f: impl FnMut(usize, usize)) {
        let [n, z, first, last] = self.region(index);
        let g = &self.output;
        for y in first..last {
            let line = n * g.strides[0] + z * g.strides[1] + y * g.strides[2];
            if g.strides[3] == g.channels() {
                f(line, g.dims[3] * g.channels());
            } else {
                (0..g.dims[3]).for_each(|x| f(line + x * g.strides[3], g.channels()));
            }
        }
    }

    /// Computes item `index`. `weights` are `[tap][channel]`, taps in d, h, w order; `bias` has one
    /// value per channel.
    ///
    /// # Safety
    /// Pointers must be valid for the plan's grids, the slices sized as said, `isa` supported.
    pub unsafe fn run(&self, isa: Isa, index: usize, weights: &[f32], bias: &[f32], p: ConvPointers) {
        let c = self.output.channels();
        let taps: usize = self.axes.iter().map(|a| a.kernel).product();
        assert!(weights.len() == taps * c && bias.len() == c, "depthwise weights of another shape");
        let (weights, bias) = (weights.as_ptr(), bias.as_ptr());
        // SAFETY: passed on from the caller.
        unsafe {
            match self.elem {
                Elem::F32 => self.typed::<f32>(isa, index, weights, bias, p),
                Elem::Bf16 => self.typed::<bf16>(isa, index, weights, bias, p),
            }
        }
    }

    /// Safety: as for [`Depthwise::run`], and the pointers must be of type `E`.
    unsafe fn typed<E: Element>(
        &self,
        isa: Isa,
        index: usize,
        weights: *const f32,
        bias: *const f32,
        p: ConvPointers,
    ) {
        let [n, z, first, last] = self.region(index);
        let (input, output, residual) = (p.input.cast::<E>(), p.output.cast(), p.residual.cast());
        let (at, rows) = ([n, z], (first, last));
        // SAFETY: passed on from the caller.
        unsafe { dispatch(isa, Rows { plan: self, weights, bias, input, output, residual, at, rows }) }
    }
}

/// All lanes, or the first `count`.
/// Safety: the CPU must have the features of `V`, and the values must be readable.
#[inline(always)]
unsafe fn load<V: Vector, T: Element, const FULL: bool>(p: *const T, count: usize) -> V::V {
    // SAFETY: passed on from the caller.
    unsafe { if FULL { T::load::<V>(p) } else { T::load_part::<V>(p, count) } }
}

/// Taps of an axis that fall inside the input at output position `o`, and where tap 0 falls.
fn valid(a: &Axis, o: usize, size: usize) -> (i64, std::ops::Range<i64>) {
    let start = (o * a.stride) as i64 - a.pad;
    let d = a.dilation as i64;
    let first = if start < 0 { (-start + d - 1) / d } else { 0 };
    let last = if (size as i64) <= start { 0 } else { (size as i64 - start + d - 1) / d };
    (start, first.min(a.kernel as i64)..last.clamp(0, a.kernel as i64))
}

impl<E: Element> Body for Rows<'_, E> {
    type Out = ();
    // SAFETY: as the trait says, and as `Depthwise::run` asks of its pointers.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let width = self.plan.output.dims[3];
        let ax = &self.plan.axes[2];
        let size = self.plan.input.dims[3];
        // Positions from `first` to `last` see all taps along the row.
        let whole = |x: usize| valid(ax, x, size).1 == (0..ax.kernel as i64);
        let first = (0..width).find(|&x| whole(x)).unwrap_or(width);
        let last = (first..width).find(|&x| !whole(x)).unwrap_or(width);
        let mut taps = Vec::with_capacity(self.plan.axes.iter().map(|a| a.kernel).product());
        // SAFETY: taps of valid positions only, outputs of the item.
        unsafe {
            for y in self.rows.0..self.rows.1 {
                for x in (0..first).chain(last..width) {
                    self.taps(y, x, &mut taps);
                    self.pixels::<V, 1>(y, x, 0, &taps);
                }
                if first == last {
                    continue;
                }
                self.taps(y, first, &mut taps);
                let mut x = first;
                while x + PIXELS <= last {
                    self.pixels::<V, PIXELS>(y, x, x - first, &taps);
                    x += PIXELS;
                }
                if x + 4 <= last {
                    self.pixels::<V, 4>(y, x, x - first, &taps);
                    x += 4;
                }
                if x + 2 <= last {
                    self.pixels::<V, 2>(y, x, x - first, &taps);
                    x += 2;
                }
                if x < last {
                    self.pixels::<V, 1>(y, x, x - first, &taps);
                }
            }
        }
    }
}

impl<E: Element> Rows<'_, E> {
    /// Lists the taps that output `x` of row `y` sees.
    fn taps(&self, y: usize, x: usize, list: &mut Vec<Tap>) {
        let [az, ay, ax] = &self.plan.axes;
        let g = &self.plan.input;
        let [n, z] = self.at;
        let (pz, zs) = valid(az, z, g.dims[1]);
        let (py, ys) = valid(ay, y, g.dims[2]);
        let (px, xs) = valid(ax, x, g.dims[3]);
        list.clear();
        for i in zs {
            for j in ys.clone() {
                for l in xs.clone() {
                    let at = n as i64 * g.strides[0] as i64
                        + (pz + i * az.dilation as i64) * g.strides[1] as i64
                        + (py + j * ay.dilation as i64) * g.strides[2] as i64
                        + (px + l * ax.dilation as i64) * g.strides[3] as i64;
                    let tap = ((i * ay.kernel as i64 + j) * ax.kernel as i64 + l) as usize;
                    list.push(Tap { input: at as isize, weight: tap * g.channels() });
                }
            }
        }
    }

    /// All channels of `N` outputs of row `y` from `x` on, `done` after the one that `taps` were made
    /// for. Channels are innermost, so that memory is read in its order.
    /// Safety: as for [`Depthwise::run`]; the taps lie inside the input for all `N` outputs.
    #[inline(always)]
    unsafe fn pixels<V: Vector, const N: usize>(&self, y: usize, x: usize, done: usize, taps: &[Tap]) {
        let c = self.plan.output.channels();
        let mut k = 0;
        // SAFETY: channels k.. of the plan's grids.
        unsafe {
            while k + V::LANES <= c {
                self.lanes::<V, true, N>(k, V::LANES, [y, x], done, taps);
                k += V::LANES;
            }
            if k < c {
                self.lanes::<V, false, N>(k, c - k, [y, x], done, taps);
            }
        }
    }

    /// `count` channels from `k` on of [`Rows::pixels`]; all lanes when `FULL`.
    /// Safety: as there; `k + count` channels exist.
    #[inline(always)]
    unsafe fn lanes<V: Vector, const FULL: bool, const N: usize>(
        &self,
        k: usize,
        count: usize,
        [y, x]: [usize; 2],
        done: usize,
        taps: &[Tap],
    ) {
        let step = self.plan.axes[2].stride * self.plan.input.strides[3];
        let [n, z] = self.at;
        let place = |g: &Grid| n * g.strides[0] + z * g.strides[1] + y * g.strides[2] + x * g.strides[3] + k;
        // SAFETY: the taps lie inside the input for all outputs, which are the item's.
        unsafe {
            let base = self.input.wrapping_add(done * step + k);
            let mut acc = [load::<V, f32, FULL>(self.bias.add(k), count); N];
            for tap in taps {
                let a = base.wrapping_offset(tap.input);
                let w = load::<V, f32, FULL>(self.weights.add(tap.weight + k), count);
                for (m, v) in acc.iter_mut().enumerate() {
                    *v = V::fma(load::<V, E, FULL>(a.wrapping_add(m * step), count), w, *v);
                }
            }
            if let Some(g) = &self.plan.residual {
                let r = self.residual.add(place(g));
                for (m, v) in acc.iter_mut().enumerate() {
                    *v = V::add(*v, load::<V, E, FULL>(r.add(m * g.strides[3]), count));
                }
            }
            let go = &self.plan.output;
            let out = self.output.add(place(go));
            for (m, v) in acc.into_iter().enumerate() {
                let v = self.plan.act.vector::<V>(v);
                let q = out.add(m * go.strides[3]);
                if FULL {
                    E::store::<V>(q, v);
                } else {
                    E::store_part::<V>(q, v, count);
                }
            }
        }
    }
}
