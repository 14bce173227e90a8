//! Separable resampling of channels-last grids: up to `t` input samples per axis and output
//! position, blended along channels.

use crate::conv::ConvPointers;
use crate::operation::Operation;
use crate::simd::{Body, Vector, dispatch};
use crate::{Elem, Element, Features, Grid, bf16, f16};

/// The samples of one axis: for output `o`, entries `o·width .. (o+1)·width` of positions and
/// weights (unused ones have weight 0 and a valid position).
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Samples per output position.
    pub width: usize,
    /// Input positions.
    pub at: Vec<usize>,
    /// Weights.
    pub weight: Vec<f32>,
}

impl Samples {
    /// The samples of each output position as lists of positions and weights.
    pub fn of(lists: &[Vec<(usize, f64)>]) -> Self {
        let width = lists.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let mut s = Samples { width, at: Vec::new(), weight: Vec::new() };
        for list in lists {
            for k in 0..width {
                let unused = (list.first().map_or(0, |f| f.0), 0.0);
                let (at, w) = list.get(k).copied().unwrap_or(unused);
                s.at.push(at);
                s.weight.push(w as f32);
            }
        }
        s
    }

    /// Whether every output is one sample as it is.
    fn picks(&self) -> bool {
        self.width == 1 && self.weight.iter().all(|w| *w == 1.0)
    }

    /// For each of `size` input positions the outputs that it takes part in: the samples of the way back.
    pub fn transposed(&self, size: usize) -> Self {
        let mut lists: Vec<Vec<(usize, f64)>> = vec![Vec::new(); size];
        for (k, (&at, &weight)) in self.at.iter().zip(&self.weight).enumerate() {
            if weight != 0.0 {
                let o = k / self.width;
                match lists[at].last_mut() {
                    Some(last) if last.0 == o => last.1 += weight as f64,
                    _ => lists[at].push((o, weight as f64)),
                }
            }
        }
        Samples::of(&lists)
    }
}

/// A resampling planned for one shape; one item is one output row.
pub struct Resize {
    /// Input grid.
    pub input: Grid,
    /// Output grid.
    pub output: Grid,
    /// Depth, height, width.
    pub axes: [Samples; 3],
    /// How input and output are stored; quantized input and output share scale and zero point.
    pub elem: Elem,
}

struct Row<'a, E> {
    plan: &'a Resize,
    input: *const E,
    output: *mut E,
    at: [usize; 3],
    line: &'a mut [f32],
}

impl Resize {
    /// Number of output rows.
    pub fn items(&self) -> usize {
        self.output.dims[..3].iter().product()
    }

    /// Elements of scratch that [`Resize::run`] needs: one blended input row.
    pub fn scratch(&self) -> usize {
        self.input.dims[3] * self.input.channels()
    }

    /// Computes output row `index`.
    ///
    /// # Safety
    /// Pointers must be valid for the plan's grids, the plan's positions inside the input, `line`
    /// as long as [`Resize::scratch`] says, and `isa` supported.
    pub unsafe fn run(&self, isa: Features, index: usize, p: ConvPointers, line: &mut [f32]) {
        let [_, d, h, _, _] = self.output.dims;
        assert!(line.len() >= self.scratch());
        let at = [index / (d * h), index / h % d, index % h];
        // SAFETY: passed on from the caller.
        unsafe {
            if self.axes.iter().all(Samples::picks) {
                return self.picked_row(at, p);
            }
            match self.elem {
                Elem::F32 => self.row::<f32>(isa, at, p, line),
                Elem::Bf16 => self.row::<bf16>(isa, at, p, line),
                Elem::F16 => self.row::<f16>(isa, at, p, line),
                Elem::U8 => self.row::<u8>(isa, at, p, line),
            }
        }
    }

    /// A row whose pixels are pixels of the input.
    /// Safety: as for [`Resize::run`].
    unsafe fn picked_row(&self, [n, z, y]: [usize; 3], p: ConvPointers) {
        let (gi, go, size) = (&self.input, &self.output, self.elem.size());
        let [sz, sy, sx] = &self.axes;
        let from = n * gi.strides[0] + sz.at[z] * gi.strides[1] + sy.at[y] * gi.strides[2];
        let to = n * go.strides[0] + z * go.strides[1] + y * go.strides[2];
        let bytes = gi.channels() * size;
        for (x, at) in sx.at.iter().enumerate() {
            let src = p.input.wrapping_add((from + at * gi.strides[3]) * size);
            let dst = p.output.wrapping_add((to + x * go.strides[3]) * size);
            // SAFETY: pixels of the grids.
            unsafe { copy_pixel(src, dst, bytes) };
        }
    }

    /// Safety: as for [`Resize::run`], and the pointers must be of type `E`.
    unsafe fn row<E: Element>(&self, isa: Features, at: [usize; 3], p: ConvPointers, line: &mut [f32]) {
        let (input, output) = (p.input.cast::<E>(), p.output.cast());
        // SAFETY: passed on from the caller.
        unsafe { dispatch(isa, Row { plan: self, input, output, at, line }) }
    }
}

/// Copies `n` bytes: so few that a call would take longer than they do.
/// Safety: both pointers must be valid for them, and apart.
#[inline(always)]
unsafe fn copy_pixel(src: *const u8, dst: *mut u8, n: usize) {
    type Block = [u8; 32];
    let mut i = 0;
    // SAFETY: passed on from the caller.
    unsafe {
        while i + size_of::<Block>() <= n {
            dst.add(i).cast::<Block>().write_unaligned(src.add(i).cast::<Block>().read_unaligned());
            i += size_of::<Block>();
        }
        while i + 4 <= n {
            dst.add(i).cast::<u32>().write_unaligned(src.add(i).cast::<u32>().read_unaligned());
            i += 4;
        }
        while i < n {
            *dst.add(i) = *src.add(i);
            i += 1;
        }
    }
}

/// `acc += w·src` over `n` elements, or `acc = w·src` when `first`.
#[inline(always)]
unsafe fn blend<V: Vector, E: Element>(acc: *mut f32, src: *const E, w: f32, n: usize, first: bool) {
    let wv = {
        // SAFETY: register only.
        unsafe { V::splat(w) }
    };
    let mut i = 0;
    // SAFETY: both are valid for n elements.
    unsafe {
        while i + V::LANES <= n {
            let x = E::load::<V>(src.add(i));
            let y = if first { V::mul(x, wv) } else { V::fma(x, wv, V::load(acc.add(i))) };
            V::store(acc.add(i), y);
            i += V::LANES;
        }
        if i < n {
            let m = n - i;
            let x = E::load_part::<V>(src.add(i), m);
            let y = if first { V::mul(x, wv) } else { V::fma(x, wv, V::load_part(acc.add(i), m)) };
            V::store_part(acc.add(i), y, m);
        }
    }
}

impl<E: Element> Body for Row<'_, E> {
    const OPERATION: Operation = Operation::Resize;
    const BF16: bool = E::ELEM.is_bf16();
    const FUSED: bool = E::ELEM.is_u8();
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Row { plan, input, output, at: [n, z, y], line } = self;
        let (gi, go) = (&plan.input, &plan.output);
        let (c, wide) = (gi.channels(), gi.dims[3]);
        let [sz, sy, sx] = &plan.axes;
        let dense = gi.pixel() == c;
        // SAFETY: positions lie inside the input, rows inside the output, as the caller vouches.
        unsafe {
            let mut first = true;
            for i in 0..sz.width {
                let wz = sz.weight[z * sz.width + i];
                for j in 0..sy.width {
                    let w = wz * sy.weight[y * sy.width + j];
                    if w == 0.0 && !(first && i + 1 == sz.width && j + 1 == sy.width) {
                        continue;
                    }
                    let row = n * gi.strides[0]
                        + sz.at[z * sz.width + i] * gi.strides[1]
                        + sy.at[y * sy.width + j] * gi.strides[2];
                    let src = input.add(row);
                    if dense {
                        blend::<V, E>(line.as_mut_ptr(), src, w, wide * c, first);
                    } else {
                        for x in 0..wide {
                            blend::<V, E>(line[x * c..].as_mut_ptr(), src.add(x * gi.pixel()), w, c, first);
                        }
                    }
                    first = false;
                }
            }
            let out = n * go.strides[0] + z * go.strides[1] + y * go.strides[2];
            for x in 0..go.dims[3] {
                let dst = output.add(out + x * go.strides[3]);
                let samples = x * sx.width..(x + 1) * sx.width;
                for k in (0..c).step_by(V::LANES) {
                    let m = (c - k).min(V::LANES);
                    let mut sum = V::splat(0.0);
                    for s in samples.clone().filter(|&s| sx.weight[s] != 0.0) {
                        let v = f32::load_some::<V>(line[sx.at[s] * c + k..].as_ptr(), m);
                        sum = V::fma(v, V::splat(sx.weight[s]), sum);
                    }
                    E::store_some::<V>(dst.add(k), sum, m);
                }
            }
        }
    }
}
