//! Depthwise convolution: one kernel per channel, vectors along channels.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod int8;
mod tiles;

use crate::conv::{Axis, ConvPointers, Quantized};
use crate::gemm::Act;
use crate::operation::Operation;
use crate::simd::load_dequantized;
use crate::simd::{Body, Vector, dispatch};
use crate::{Elem, Element, Features, Grid, bf16, eltwise, f16};
use tiles::Tiles;

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
    /// How the input and the output (with the residual of a float convolution) are stored; both alike
    /// for floats.
    pub elems: [Elem; 2],
    /// Quantization parameters, when the input is quantized.
    pub quantized: Option<Quantized>,
}

/// The parameters of a depthwise convolution.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// `[tap][channel]`, taps in d, h, w order; those of an INT8 convolution are integers.
    pub weights: Vec<f32>,
    /// One value per channel.
    pub bias: Vec<f32>,
    /// Factor of each channel that makes sums of an integer convolution values; else empty.
    pub scale: Vec<f32>,
    /// Memory for a pixel of zeros as they are stored, where values outside the image are read as such; see
    /// [`Depthwise::pack`].
    pub outside: Vec<f32>,
    /// The weights once more for the integer products of the CPU; see [`Depthwise::pack`].
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub packed: Option<Box<int8::Packed>>,
}

/// Output rows of an item at most: input lines stay in cache for all of them.
const ROWS: usize = 4;
/// Output pixels whose sums are in registers at once.
const PIXELS: usize = 8;

/// Where a tap reads for the first channel of the first of some outputs, and its weights.
#[derive(Clone, Copy)]
struct Tap {
    input: isize,
    weight: usize,
}

struct Rows<'a, E, O> {
    plan: &'a Depthwise,
    weights: *const f32,
    bias: *const f32,
    /// Null for floats.
    scale: *const f32,
    input: *const E,
    output: *mut O,
    residual: *const u8,
    /// Batch entry and slice.
    at: [usize; 2],
    rows: (usize, usize),
}

impl Depthwise {
    /// Number of items.
    pub fn items(&self) -> usize {
        let [n, d, h, _, _] = self.output.dims;
        n * d * h.div_ceil(self.block())
    }

    /// Output rows of an item: fewer of a small image, so that threads get equal shares.
    fn block(&self) -> usize {
        (self.output.dims[2] / 16).clamp(1, ROWS)
    }

    /// Output region of item `index`: batch entry, slice, first row and one past the last.
    pub fn region(&self, index: usize) -> [usize; 4] {
        let [_, d, h, _, _] = self.output.dims;
        let rows = self.block();
        let blocks = h.div_ceil(rows);
        let y = index % blocks * rows;
        [index / (blocks * d), index / blocks % d, y, (y + rows).min(h)]
    }

    /// Offsets of the first column of the input's lines that row `y` of slice `z` sees, one for each line of the kernel; `None`
    /// outside the image.
    fn lines(&self, [n, z]: [usize; 2], y: usize) -> impl Iterator<Item = Option<usize>> {
        let ([az, ay, _], g) = (self.axes, self.input);
        let (pz, zs) = valid(&az, z, g.dims[1]);
        let (py, ys) = valid(&ay, y, g.dims[2]);
        (0..az.kernel * ay.kernel).map(move |line| {
            let (i, j) = ((line / ay.kernel) as i64, (line % ay.kernel) as i64);
            let at = |p: i64, k: i64, a: &Axis| (p + k * a.dilation as i64) as usize;
            let inside = zs.contains(&i) && ys.contains(&j);
            inside.then(|| n * g.strides[0] + at(pz, i, &az) * g.strides[1] + at(py, j, &ay) * g.strides[2])
        })
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

    /// Prepares filters for the fastest kernel that suits the plan; packs quantized weights for the integer products
    /// of `isa`. The results are the same bits.
    pub fn pack(&self, isa: Features, filters: &mut Filters) {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        {
            filters.packed = int8::Packed::of(self, isa, filters).map(Box::new);
            if filters.packed.is_some() {
                return;
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = isa;
        let zero = match &self.quantized {
            None if self.elems[0] == self.elems[1] && tiles::suit(&self.axes[2]) => Some(0.0),
            // Only those that no kernel of integers suits come here.
            Some(q) if self.axes[2].stride == 1 => {
                u8::try_from(q.zero_point).ok().map(|z| f32::from_ne_bytes([z; 4]))
            }
            None | Some(_) => None,
        };
        if let Some(zero) = zero {
            filters.outside = vec![zero; self.input.channels()];
        }
    }

    /// Computes item `index`.
    ///
    /// # Safety
    /// Pointers must be valid for the plan's grids and `isa` supported.
    pub unsafe fn run(&self, isa: Features, index: usize, filters: &Filters, p: ConvPointers) {
        let c = self.output.channels();
        let taps: usize = self.axes.iter().map(|a| a.kernel).product();
        assert!(filters.weights.len() == taps * c && filters.bias.len() == c, "weights of another shape");
        assert_eq!(
            filters.scale.len(),
            if self.quantized.is_some() { c } else { 0 },
            "factors of another shape"
        );
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if let Some(packed) = &filters.packed {
            let [n, z, first, last] = self.region(index);
            let (bias, scale) = (&filters.bias[..], &filters.scale[..]);
            let item = int8::Item { plan: self, packed, bias, scale, p, at: [n, z], rows: first..last };
            // SAFETY: passed on from the caller; packed for a kernel whose features the CPU has.
            return unsafe { item.run() };
        }
        let tiled = !filters.outside.is_empty();
        assert!(!tiled || filters.outside.len() == c, "a pixel of another size");
        // SAFETY: passed on from the caller.
        unsafe {
            match self.elems {
                [Elem::F32, Elem::F32] if tiled => self.tiles::<f32, f32>(isa, index, filters, p),
                [Elem::Bf16, Elem::Bf16] if tiled => self.tiles::<bf16, bf16>(isa, index, filters, p),
                [Elem::U8, Elem::U8] if tiled => self.tiles::<u8, u8>(isa, index, filters, p),
                [Elem::U8, Elem::F32] if tiled => self.tiles::<u8, f32>(isa, index, filters, p),
                [Elem::U8, Elem::F16] if tiled => self.tiles::<u8, f16>(isa, index, filters, p),
                [Elem::U8, Elem::Bf16] if tiled => self.tiles::<u8, bf16>(isa, index, filters, p),
                [Elem::F32, Elem::F32] => self.typed::<f32, f32>(isa, index, filters, p),
                [Elem::Bf16, Elem::Bf16] => self.typed::<bf16, bf16>(isa, index, filters, p),
                [Elem::U8, Elem::U8] => self.typed::<u8, u8>(isa, index, filters, p),
                [Elem::U8, Elem::F32] => self.typed::<u8, f32>(isa, index, filters, p),
                [Elem::U8, Elem::F16] => self.typed::<u8, f16>(isa, index, filters, p),
                [Elem::U8, Elem::Bf16] => self.typed::<u8, bf16>(isa, index, filters, p),
                // Whoever plans one of these would get wrong numbers, so it must not run.
                [Elem::F32, Elem::Bf16 | Elem::F16 | Elem::U8]
                | [Elem::Bf16, Elem::F32 | Elem::F16 | Elem::U8]
                | [Elem::F16, Elem::F32 | Elem::Bf16 | Elem::F16 | Elem::U8] => {
                    panic!("a depthwise convolution from {:?} to {:?}", self.elems[0], self.elems[1])
                }
            }
        }
    }

    /// Safety: as for [`Depthwise::run`], and the pointers must be of types `E` and `O`.
    unsafe fn typed<E: Element, O: Element>(
        &self,
        isa: Features,
        index: usize,
        f: &Filters,
        p: ConvPointers,
    ) {
        // SAFETY: passed on from the caller.
        unsafe { dispatch(isa, self.rows::<E, O>(index, f, p)) }
    }

    /// Safety: as for [`Depthwise::run`], and the pointers must be of types `E` and `O`.
    unsafe fn tiles<E: Element, O: Element>(
        &self,
        isa: Features,
        index: usize,
        f: &Filters,
        p: ConvPointers,
    ) {
        // SAFETY: passed on from the caller.
        unsafe {
            dispatch(isa, Tiles { rows: self.rows::<E, O>(index, f, p), outside: f.outside.as_ptr().cast() })
        }
    }

    /// What item `index` reads and writes.
    fn rows<E, O>(&self, index: usize, f: &Filters, p: ConvPointers) -> Rows<'_, E, O> {
        let [n, z, first, last] = self.region(index);
        Rows {
            plan: self,
            weights: f.weights.as_ptr(),
            bias: f.bias.as_ptr(),
            scale: if f.scale.is_empty() { std::ptr::null() } else { f.scale.as_ptr() },
            input: p.input.cast(),
            output: p.output.cast(),
            residual: p.residual,
            at: [n, z],
            rows: (first, last),
        }
    }
}

/// All lanes, or the first `count`.
/// Safety: the CPU must have the features of `V`, and the values must be readable.
#[inline(always)]
unsafe fn load<V: Vector, T: Element, const FULL: bool>(p: *const T, count: usize) -> V::V {
    // SAFETY: passed on from the caller.
    unsafe { if FULL { T::load::<V>(p) } else { T::load_part::<V>(p, count) } }
}

/// All lanes, or the first `count`.
/// Safety: the CPU must have the features of `V`, and the values must be writable.
#[inline(always)]
unsafe fn store<V: Vector, T: Element, const FULL: bool>(p: *mut T, v: V::V, count: usize) {
    // SAFETY: passed on from the caller.
    unsafe { if FULL { T::store::<V>(p, v) } else { T::store_part::<V>(p, v, count) } }
}

/// Taps of an axis that fall inside the input at output position `o`, and where tap 0 falls.
fn valid(a: &Axis, o: usize, size: usize) -> (i64, std::ops::Range<i64>) {
    let start = (o * a.stride) as i64 - a.pad;
    let d = a.dilation as i64;
    let first = if start < 0 { (-start + d - 1) / d } else { 0 };
    let last = if (size as i64) <= start { 0 } else { (size as i64 - start + d - 1) / d };
    (start, first.min(a.kernel as i64)..last.clamp(0, a.kernel as i64))
}

impl<E: Element, O: Element> Body for Rows<'_, E, O> {
    const OPERATION: Operation = Operation::Depthwise;
    const BF16: bool = E::ELEM.is_bf16() || O::ELEM.is_bf16();
    const FUSED: bool = E::ELEM.is_u8();
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

impl<E: Element, O: Element> Rows<'_, E, O> {
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
            if const { V::LANES > 1 } && k < c {
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
        // SAFETY: the taps lie inside the input for all outputs, which are the item's.
        unsafe {
            let base = self.input.wrapping_add(done * step + k);
            let zero = V::splat(self.zero());
            let mut acc = [self.start::<V, FULL>(k, count); N];
            for tap in taps {
                let a = base.wrapping_offset(tap.input);
                let w = load::<V, f32, FULL>(self.weights.add(tap.weight + k), count);
                for (m, v) in acc.iter_mut().enumerate() {
                    let x = load::<V, E, FULL>(a.wrapping_add(m * step), count);
                    *v = Self::product::<V>(x, w, zero, *v);
                }
            }
            self.finish::<V, FULL, N>(acc, (k, count), [y, x], (N, 1));
        }
    }

    /// What 0 is stored as.
    fn zero(&self) -> f32 {
        self.plan.quantized.as_ref().map_or(0.0, |q| q.zero_point as f32)
    }

    /// What sums of channels from `k` on begin with.
    /// Safety: the CPU must have the features of `V`, and the channels must exist.
    #[inline(always)]
    unsafe fn start<V: Vector, const FULL: bool>(&self, k: usize, lanes: usize) -> V::V {
        // SAFETY: passed on from the caller.
        unsafe {
            match E::ELEM {
                Elem::U8 => V::splat(0.0),
                Elem::F32 | Elem::Bf16 | Elem::F16 => load::<V, f32, FULL>(self.bias.add(k), lanes),
            }
        }
    }

    /// A sum with the product of a stored value and a weight.
    /// Safety: the CPU must have the features of `V`.
    #[inline(always)]
    unsafe fn product<V: Vector>(x: V::V, w: V::V, zero: V::V, sum: V::V) -> V::V {
        // SAFETY: register arithmetic only.
        unsafe {
            match E::ELEM {
                // Products of quantized values and their sums are integers below 2^24 for kernels of up to 518 taps, which
                // float32 holds: exact, and so without an instruction that some backends lack. Larger ones are rounded, in
                // the same order and so to the same bits on all backends.
                Elem::U8 => V::add(V::mul(V::sub(x, zero), w), sum),
                Elem::F32 | Elem::Bf16 | Elem::F16 => V::fma(x, w, sum),
            }
        }
    }

    /// The epilogue of the sums of `lanes` channels from `k` on of the first `count` of `N` outputs from `x` of row `y` on, so
    /// many pixels apart.
    /// Safety: as for [`Depthwise::run`]; the outputs and channels exist.
    #[inline(always)]
    unsafe fn finish<V: Vector, const FULL: bool, const N: usize>(
        &self,
        mut acc: [V::V; N],
        (k, lanes): (usize, usize),
        [y, x]: [usize; 2],
        (count, apart): (usize, usize),
    ) {
        let [n, z] = self.at;
        let place = |g: &Grid| n * g.strides[0] + z * g.strides[1] + y * g.strides[2] + x * g.strides[3] + k;
        let quantized = self.plan.quantized.as_ref();
        // SAFETY: outputs of the item.
        unsafe {
            if E::ELEM == Elem::U8 {
                let bias = load::<V, f32, FULL>(self.bias.add(k), lanes);
                let scale = load::<V, f32, FULL>(self.scale.add(k), lanes);
                acc.iter_mut().for_each(|v| *v = V::fma(*v, scale, bias));
            }
            if let Some(g) = &self.plan.residual {
                let (elem, map) = quantized.map_or((O::ELEM, [1.0, 0.0]), |q| q.residual);
                for (m, v) in acc.iter_mut().enumerate().take(count) {
                    let at = place(g) + m * apart * g.strides[3];
                    *v = V::add(*v, load_dequantized::<V>((elem, map), self.residual, at, lanes));
                }
            }
            acc = self.plan.act.registers::<V, N>(acc);
            if E::ELEM == Elem::U8
                && let Some(q) = quantized
            {
                for v in &mut acc {
                    if let Some(f) = q.post {
                        [*v] = eltwise::exact::<V, 1>(f, [*v]);
                    }
                    if O::ELEM == Elem::U8 && q.output != [1.0, 0.0] {
                        *v = V::add(V::round(V::mul(*v, V::splat(q.output[0]))), V::splat(q.output[1]));
                    }
                }
            }
            let go = &self.plan.output;
            let (out, step) = (self.output.add(place(go)), apart * go.strides[3]);
            // Two loops: with bounds that the compiler sees, sums stay in registers.
            if count == N {
                for (m, v) in acc.into_iter().enumerate() {
                    store::<V, O, FULL>(out.add(m * step), v, lanes);
                }
            } else {
                for (m, v) in acc.into_iter().enumerate().take(count) {
                    store::<V, O, FULL>(out.add(m * step), v, lanes);
                }
            }
        }
    }
}
