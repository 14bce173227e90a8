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

/// Output rows of an item: input lines stay in the first-level cache for all of them.
const ROWS: usize = 4;
/// Output pixels whose sums are in registers at once.
const PIXELS: usize = 8;

/// Most taps that the fast path takes: a 5×5×5 kernel.
const TAPS: usize = 125;

/// Where a tap reads, and its weights.
#[derive(Clone, Copy)]
struct Tap<E> {
    input: *const E,
    weight: *const f32,
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
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let c = self.plan.output.channels();
        let mut k = 0;
        // SAFETY: channels k.. of the plan's grids.
        unsafe {
            while k + V::LANES <= c {
                self.lanes::<V, true>(k, V::LANES);
                k += V::LANES;
            }
            if k < c {
                self.lanes::<V, false>(k, c - k);
            }
        }
    }
}

impl<E: Element> Rows<'_, E> {
    /// All rows of `count` channels from `k` on; all lanes when `FULL`.
    /// Safety: as for [`Depthwise::run`]; `k + count` channels exist.
    #[inline(always)]
    unsafe fn lanes<V: Vector, const FULL: bool>(&self, k: usize, count: usize) {
        let width = self.plan.output.dims[3];
        let ax = &self.plan.axes[2];
        let size = self.plan.input.dims[3];
        // Positions from `inner.0` to `inner.1` see all taps along the row.
        let whole = |x: usize| valid(ax, x, size).1 == (0..ax.kernel as i64);
        let first = (0..width).find(|&x| whole(x)).unwrap_or(width);
        let last = (first..width).find(|&x| !whole(x)).unwrap_or(width);
        // SAFETY: passed on from the caller.
        unsafe {
            for y in self.rows.0..self.rows.1 {
                let mut list = [Tap { input: self.input, weight: self.weights }; TAPS];
                let taps = self.taps(k, y, first, &mut list);
                for x in 0..first {
                    self.pixel::<V, FULL>(k, count, y, x);
                }
                let mut x = first;
                if let Some(taps) = taps {
                    while x + PIXELS <= last {
                        self.pixels::<V, FULL, PIXELS>(k, count, y, x, x - first, taps);
                        x += PIXELS;
                    }
                    while x + 2 <= last {
                        self.pixels::<V, FULL, 2>(k, count, y, x, x - first, taps);
                        x += 2;
                    }
                }
                for x in x..width {
                    self.pixel::<V, FULL>(k, count, y, x);
                }
            }
        }
    }

    /// The taps that outputs of row `y` from `x` on see, as long as they see all along the row;
    /// `None` when there are too many.
    fn taps<'l>(&self, k: usize, y: usize, x: usize, list: &'l mut [Tap<E>; TAPS]) -> Option<&'l [Tap<E>]> {
        let [az, ay, ax] = &self.plan.axes;
        let g = &self.plan.input;
        let c = g.channels();
        let [n, z] = self.at;
        let (pz, zs) = valid(az, z, g.dims[1]);
        let (py, ys) = valid(ay, y, g.dims[2]);
        let px = (x * ax.stride) as i64 - ax.pad;
        let mut count = 0;
        for i in zs {
            for j in ys.clone() {
                for l in 0..ax.kernel as i64 {
                    let at = n as i64 * g.strides[0] as i64
                        + (pz + i * az.dilation as i64) * g.strides[1] as i64
                        + (py + j * ay.dilation as i64) * g.strides[2] as i64
                        + (px + l * ax.dilation as i64) * g.strides[3] as i64;
                    let tap = ((i * ay.kernel as i64 + j) * ax.kernel as i64 + l) as usize;
                    *list.get_mut(count)? = Tap {
                        input: self.input.wrapping_offset(at as isize + k as isize),
                        weight: self.weights.wrapping_add(tap * c + k),
                    };
                    count += 1;
                }
            }
        }
        Some(&list[..count])
    }

    /// `N` outputs of row `y` from `x` on, `done` after the one that `taps` were made for.
    /// Safety: as for `lanes`; the taps lie inside the input for all `N` outputs.
    #[inline(always)]
    unsafe fn pixels<V: Vector, const FULL: bool, const N: usize>(
        &self,
        k: usize,
        count: usize,
        y: usize,
        x: usize,
        done: usize,
        taps: &[Tap<E>],
    ) {
        let step = self.plan.axes[2].stride * self.plan.input.strides[3];
        // SAFETY: the taps lie inside the input for all outputs, k + count <= c.
        unsafe {
            let mut acc = [load::<V, f32, FULL>(self.bias.add(k), count); N];
            for tap in taps {
                let a = tap.input.wrapping_add(done * step);
                let w = load::<V, f32, FULL>(tap.weight, count);
                for (m, v) in acc.iter_mut().enumerate() {
                    *v = V::fma(load::<V, E, FULL>(a.wrapping_add(m * step), count), w, *v);
                }
            }
            self.finish::<V, FULL, N>(k, count, y, x, acc);
        }
    }

    /// One output anywhere.
    /// Safety: as for `lanes`.
    #[inline(always)]
    unsafe fn pixel<V: Vector, const FULL: bool>(&self, k: usize, count: usize, y: usize, x: usize) {
        let Rows { plan, weights, bias, input, at: [n, z], .. } = *self;
        let [az, ay, ax] = &plan.axes;
        let gi = &plan.input;
        let c = gi.channels();
        let (pz, zs) = valid(az, z, gi.dims[1]);
        let (py, ys) = valid(ay, y, gi.dims[2]);
        let (px, xs) = valid(ax, x, gi.dims[3]);
        // SAFETY: tap ranges keep all reads inside the input, k + count <= c.
        unsafe {
            let mut acc = load::<V, f32, FULL>(bias.add(k), count);
            for i in zs {
                for j in ys.clone() {
                    let line = n as i64 * gi.strides[0] as i64
                        + (pz + i * az.dilation as i64) * gi.strides[1] as i64
                        + (py + j * ay.dilation as i64) * gi.strides[2] as i64;
                    let tap = (i * ay.kernel as i64 + j) * ax.kernel as i64;
                    for l in xs.clone() {
                        let at = line + (px + l * ax.dilation as i64) * gi.strides[3] as i64;
                        let w = load::<V, f32, FULL>(weights.add((tap + l) as usize * c + k), count);
                        let x = load::<V, E, FULL>(input.offset(at as isize + k as isize), count);
                        acc = V::fma(x, w, acc);
                    }
                }
            }
            self.finish::<V, FULL, 1>(k, count, y, x, [acc]);
        }
    }

    /// Adds the residual, applies the activation and stores.
    /// Safety: as for `lanes`.
    #[inline(always)]
    unsafe fn finish<V: Vector, const FULL: bool, const N: usize>(
        &self,
        k: usize,
        count: usize,
        y: usize,
        x: usize,
        mut acc: [V::V; N],
    ) {
        let [n, z] = self.at;
        let place = |g: &Grid| n * g.strides[0] + z * g.strides[1] + y * g.strides[2] + x * g.strides[3] + k;
        // SAFETY: outputs of the item.
        unsafe {
            if let Some(g) = &self.plan.residual {
                let r = self.residual.add(place(g));
                for (m, v) in acc.iter_mut().enumerate() {
                    let q = r.add(m * g.strides[3]);
                    *v = V::add(*v, load::<V, E, FULL>(q, count));
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
