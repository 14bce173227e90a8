//! INT8 depthwise convolution with the integer dot products of the CPU.
//!
//! A group holds values of one channel at neighbouring columns, four bytes or two values of 16 bits. Once made, it
//! serves every output whose window touches those columns, with the weights shifted accordingly: groups
//! cost more than products here, so of many channels four registers are made at once.

use super::{Depthwise, Filters, ROWS};
use crate::conv::ConvPointers;
use crate::features::{Features, best};
use crate::gemm::accumulators::IntAccumulators;
#[cfg(target_arch = "aarch64")]
use crate::gemm::arm_accumulators::{Mixed, Pairs};
use crate::gemm::requantize::bytes;
#[cfg(target_arch = "x86_64")]
use crate::gemm::x86_accumulators::{Xmm, Ymm, Zmm};
use crate::gemm::{Epilogue, GemmArgs, Operand, Requantize};
use crate::{Elem, Grid};
use std::ops::Range;

/// Outputs of a tile, whose sums are finished at once.
const N: usize = 8;

/// Outputs of a tile whose sums are in registers at once where channels fill four of them.
const PAIR: usize = 2;

/// A kernel, compiled for some widths and strides of the kernel along rows.
pub struct Kernel {
    /// `int8_depthwise_{feature set}`.
    pub name: &'static str,
    /// What it needs.
    pub features: Features,
    /// How groups of the input are multiplied.
    operand: Operand,
    /// Channels that a register holds.
    lanes: usize,
    instances: [Instance; 6],
}

/// A kernel for one width and stride.
#[derive(Clone, Copy)]
struct Instance {
    kernel: usize,
    stride: usize,
    run: Run,
}

/// Computes an item.
///
/// # Safety
/// As for [`Item::run`]; the CPU must have the features of the kernel.
type Run = unsafe fn(&Item);

/// Kernels by name, features and accumulators: for each the `#[target_feature]` function around
/// [`Item::lines`].
macro_rules! kernels {
    ($(#[$cfg:meta] $name:literal, $features:ident, $enabled:literal, $entry:ident, $accumulators:ty;)*) => {
        $(
            #[$cfg]
            /// Safety: as for [`Item::run`]; the CPU must have the features.
            #[target_feature(enable = $enabled)]
            unsafe fn $entry<const K: usize, const S: usize>(item: &Item) {
                // SAFETY: passed on from the caller.
                unsafe { item.lines::<$accumulators, K, S>() }
            }
        )*

        /// All kernels, preferred ones first.
        pub static KERNELS: &[Kernel] = &[
            $(#[$cfg] Kernel {
                name: $name,
                features: Features::$features,
                operand: <$accumulators as IntAccumulators>::OPERAND,
                lanes: <$accumulators as IntAccumulators>::LANES,
                instances: [
                    Instance { kernel: 3, stride: 1, run: $entry::<3, 1> },
                    Instance { kernel: 3, stride: 2, run: $entry::<3, 2> },
                    Instance { kernel: 5, stride: 1, run: $entry::<5, 1> },
                    Instance { kernel: 5, stride: 2, run: $entry::<5, 2> },
                    Instance { kernel: 7, stride: 1, run: $entry::<7, 1> },
                    Instance { kernel: 7, stride: 2, run: $entry::<7, 2> },
                ],
            },)*
        ];
    };
}

kernels! {
    #[cfg(target_arch = "x86_64")]
    "int8_depthwise_avx512vnni", AVX512_VNNI,
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma", avx512vnni, Zmm<true>;
    #[cfg(target_arch = "x86_64")]
    "int8_depthwise_avx2vnni", AVX2_VNNI, "avx2,fma,avxvnni", avx2vnni, Ymm<true>;
    #[cfg(target_arch = "x86_64")]
    "int8_depthwise_avx512", AVX512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", avx512, Zmm<false>;
    #[cfg(target_arch = "x86_64")]
    "int8_depthwise_avx2", AVX2, "avx2,fma", avx2, Ymm<false>;
    #[cfg(target_arch = "x86_64")]
    "int8_depthwise_sse41", SSE41, "sse4.1", sse41, Xmm;
    #[cfg(target_arch = "aarch64")]
    "int8_depthwise_i8mm", NEON_I8MM, "neon,dotprod,i8mm", i8mm, Mixed;
    #[cfg(target_arch = "aarch64")]
    "int8_depthwise_neon", NEON, "neon", neon, Pairs;
}

/// Weights of an INT8 depthwise convolution, packed for one kernel.
#[derive(Clone, Debug)]
pub struct Packed {
    run: Run,
    blocks: Vec<Block>,
    /// `[block of channels][line of the kernel][shift][channel]`; with shift `s`, place `i` of the group has
    /// the weight of column `s - (places - 1) + i` of the kernel, or 0.
    groups: Vec<i32>,
    /// What the sum of each channel of the blocks begins with: what the zero point adds, taken off.
    start: Vec<i32>,
    /// Scale and then bias of each channel of the blocks, in the places of `start`.
    factors: [Vec<f32>; 2],
    /// A pixel outside the image.
    outside: Vec<u8>,
}

/// Channels that are computed together.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// The first, and how many.
    first: usize,
    count: usize,
    /// Registers that they are in: one, or four in the order of [`IntAccumulators::interleave_wide`].
    registers: usize,
    /// Where weights and beginnings of the sums begin.
    groups: usize,
    start: usize,
}

impl Block {
    /// The channels in their places in registers of `lanes` lanes.
    fn places(&self, lanes: usize) -> impl Iterator<Item = usize> + use<> {
        let Block { first, registers, .. } = *self;
        (0..registers * lanes).map(move |i| match registers {
            1 => first + i,
            _ => first + i % lanes / 4 * 16 + i / lanes * 4 + i % 4,
        })
    }
}

impl Packed {
    /// Packs filters, whose weights are integers of a signed byte, for `plan`, if it suits it.
    pub(super) fn of(plan: &Depthwise, isa: Features, filters: &Filters) -> Option<Self> {
        let weights = &filters.weights;
        let quantized = plan.quantized.as_ref()?;
        let across = plan.axes[2];
        let zero = u8::try_from(quantized.zero_point).ok()?;
        if across.dilation != 1 {
            return None;
        }
        let needs = best(KERNELS.iter().map(|k| k.features), isa)?;
        let &Kernel { operand, lanes, ref instances, .. } = KERNELS.iter().find(|k| k.features == needs)?;
        let fits = |i: &&Instance| (i.kernel, i.stride) == (across.kernel, across.stride);
        let run = instances.iter().find(fits)?.run;
        let (per, kernel, c) = (operand.per_group(), across.kernel, plan.output.channels());
        let lines = plan.axes[0].kernel * plan.axes[1].kernel;
        let (blocks, groups, start, factors) = Default::default();
        let mut packed = Packed { run, blocks, groups, start, factors, outside: vec![zero; c] };
        let sum = |ch: usize| (0..lines * kernel).map(|t| weights[t * c + ch] as i32).sum::<i32>();
        let mut first = 0;
        while first < c {
            let rest = c - first;
            let registers = if rest > lanes { 4 } else { 1 };
            let (groups, start) = (packed.groups.len(), packed.start.len());
            let block = Block { first, count: rest.min(registers * lanes), registers, groups, start };
            for (line, shift) in (0..lines).flat_map(|l| (0..kernel + per - 1).map(move |s| (l, s))) {
                packed.groups.extend(block.places(lanes).map(|ch| {
                    let group = operand.group(per, |i| match (shift + i).checked_sub(per - 1) {
                        Some(t) if t < kernel && ch < c => weights[(line * kernel + t) * c + ch],
                        _ => 0.0,
                    });
                    group.to_bits() as i32
                }));
            }
            let begin = |ch: usize| if ch < c { -quantized.zero_point * sum(ch) } else { 0 };
            packed.start.extend(block.places(lanes).map(begin));
            for (to, from) in packed.factors.iter_mut().zip([&filters.scale, &filters.bias]) {
                to.extend(block.places(lanes).map(|ch| from.get(ch).copied().unwrap_or(0.0)));
            }
            packed.blocks.push(block);
            first += block.count;
        }
        Some(packed)
    }
}

/// An item.
pub(super) struct Item<'a> {
    pub plan: &'a Depthwise,
    pub packed: &'a Packed,
    pub bias: &'a [f32],
    pub scale: &'a [f32],
    pub p: ConvPointers,
    /// Batch entry and slice.
    pub at: [usize; 2],
    pub rows: Range<usize>,
}

impl Item<'_> {
    /// Computes the item.
    ///
    /// # Safety
    /// As for [`Depthwise::run`]; the weights must be packed for the plan and a kernel whose features the CPU has.
    pub(super) unsafe fn run(&self) {
        debug_assert!(self.rows.len() <= ROWS);
        // SAFETY: passed on from the caller.
        unsafe { (self.packed.run)(self) }
    }

    /// Safety: as for [`Item::run`]; the CPU must have the features of `W`.
    #[inline(always)]
    unsafe fn lines<W: IntAccumulators, const K: usize, const S: usize>(&self) {
        let width = self.plan.output.dims[3];
        let lines = self.plan.axes[0].kernel * self.plan.axes[1].kernel;
        // Those of whole tiles, and of the last group's places.
        let columns = width.next_multiple_of(N) * S + K + W::OPERAND.per_group();
        let mut table = vec![std::ptr::null(); lines * columns];
        for y in self.rows.clone() {
            self.fill(&mut table, columns, y);
            for block in &self.packed.blocks {
                for x in (0..width).step_by(N) {
                    let full = block.count == block.registers * W::LANES;
                    let at = (&table[..], columns, [y, x]);
                    // SAFETY: the table leads to pixels of the input or the one outside; outputs of the item.
                    unsafe {
                        match (block.registers, full) {
                            (1, true) => self.block::<W, K, S, true>(block, at),
                            (1, false) => self.block::<W, K, S, false>(block, at),
                            (_, true) => self.wide_block::<W, K, S, true>(block, at),
                            (_, false) => self.wide_block::<W, K, S, false>(block, at),
                        }
                    }
                }
            }
        }
    }

    /// Where the columns that outputs of row `y` see begin, in each line of the kernel.
    fn fill(&self, table: &mut [*const u8], columns: usize, y: usize) {
        let (ax, g) = (&self.plan.axes[2], &self.plan.input);
        for (row, line) in table.chunks_mut(columns).zip(self.plan.lines(self.at, y)) {
            let Some(at) = line else {
                row.fill(self.packed.outside.as_ptr());
                continue;
            };
            for (column, p) in row.iter_mut().enumerate() {
                *p = match usize::try_from(column as i64 - ax.pad) {
                    Ok(x) if x < g.dims[3] => self.p.input.wrapping_add(at + x * g.strides[3]),
                    _ => self.packed.outside.as_ptr(),
                };
            }
        }
    }

    /// A block of one register, of up to `N` outputs from `x` of row `y` on; whole when `FULL`.
    /// Safety: as for [`Item::run`]; the table must lead to pixels.
    #[inline(always)]
    unsafe fn block<W: IntAccumulators, const K: usize, const S: usize, const FULL: bool>(
        &self,
        block: &Block,
        (table, columns, [y, x]): (&[*const u8], usize, [usize; 2]),
    ) {
        let per = W::OPERAND.per_group();
        let shifts = K + per - 1;
        let Block { first, count, .. } = *block;
        // SAFETY: the caller vouches for the pointers; weights are packed by whole registers.
        unsafe {
            let start = W::load(self.packed.start.as_ptr().add(block.start).cast());
            let mut acc = [start; N];
            let mut weights = self.packed.groups.as_ptr().add(block.groups);
            for line in table.chunks_exact(columns) {
                let row = line.as_ptr().add(x * S);
                for g in 0..((N - 1) * S + K).div_ceil(per) {
                    let group = W::interleave::<FULL>(places(row.add(g * per), per, first), count);
                    for (m, sum) in acc.iter_mut().enumerate() {
                        // The column of the kernel at the group's last place.
                        let shift = (g * per + per - 1) as isize - (m * S) as isize;
                        if (0..shifts as isize).contains(&shift) {
                            let w = W::load(weights.add(shift as usize * W::LANES).cast());
                            *sum = W::dot(*sum, group, w);
                        }
                    }
                }
                weights = weights.add(shifts * W::LANES);
            }
            let mut sums = [const { std::mem::MaybeUninit::<i32>::uninit() }; N * 16 + 16];
            let to = sums.as_mut_ptr().cast::<i32>();
            for (m, sum) in acc.into_iter().enumerate() {
                W::store(to.add(m * W::LANES), sum);
            }
            W::finish(&self.epilogue(first, count, [y, x]), to, W::LANES);
        }
    }

    /// A block of four registers, of up to `N` outputs from `x` of row `y` on; whole when `FULL`.
    /// Safety: as for [`Item::run`]; the table must lead to pixels.
    #[inline(always)]
    unsafe fn wide_block<W: IntAccumulators, const K: usize, const S: usize, const FULL: bool>(
        &self,
        block: &Block,
        (table, columns, [y, x]): (&[*const u8], usize, [usize; 2]),
    ) {
        let (per, wide) = (W::OPERAND.per_group(), 4 * W::LANES);
        let shifts = K + per - 1;
        let Block { first, count, .. } = *block;
        let outputs = (self.plan.output.dims[3] - x).min(N);
        let args = self.epilogue(first, count, [y, x]);
        let bytes = if W::BYTES { bytes(&args).filter(|b| b.added.is_none()) } else { None };
        // SAFETY: the caller vouches for the pointers; weights are packed by whole registers.
        unsafe {
            let mut sums = [const { std::mem::MaybeUninit::<i32>::uninit() }; N * 64 + 16];
            let to = sums.as_mut_ptr().cast::<i32>();
            let from = self.packed.start.as_ptr().add(block.start);
            let mut start = [W::load(from.cast()); 4];
            for (v, s) in start.iter_mut().enumerate() {
                *s = W::load(from.add(v * W::LANES).cast());
            }
            let mut factors = [[W::factors(self.packed.factors[0].as_ptr()); 4]; 2];
            for (of, from) in factors.iter_mut().zip(&self.packed.factors) {
                for (v, f) in of.iter_mut().enumerate() {
                    *f = W::factors(from.as_ptr().add(block.start + v * W::LANES));
                }
            }
            for m in (0..outputs).step_by(PAIR) {
                let mut acc = [start; PAIR];
                let mut weights = self.packed.groups.as_ptr().add(block.groups);
                for line in table.chunks_exact(columns) {
                    let row = line.as_ptr().add((x + m) * S);
                    for g in 0..((PAIR - 1) * S + K).div_ceil(per) {
                        let group = W::interleave_wide::<FULL>(places(row.add(g * per), per, first), count);
                        for (j, sums) in acc.iter_mut().enumerate() {
                            let shift = (g * per + per - 1) as isize - (j * S) as isize;
                            if (0..shifts as isize).contains(&shift) {
                                let w = weights.add(shift as usize * wide);
                                for v in 0..4 {
                                    let w = W::load(w.add(v * W::LANES).cast());
                                    sums[v] = W::dot(sums[v], group[v], w);
                                }
                            }
                        }
                    }
                    weights = weights.add(shifts * wide);
                }
                for (j, sums) in acc.into_iter().enumerate() {
                    match bytes {
                        Some(bytes) if m + j < outputs => {
                            let to = args.c.wrapping_offset((m + j) as isize * args.c_row);
                            W::store_bytes::<4, true>((to, count), sums, factors, bytes, std::ptr::null());
                        }
                        Some(_) => {}
                        None => W::store_wide(to.add((m + j) * wide), sums),
                    }
                }
            }
            if bytes.is_none() {
                W::finish(&args, to, wide);
            }
        }
    }

    /// What becomes of the sums of `count` channels from `first` on.
    #[inline(always)]
    fn epilogue(&self, first: usize, count: usize, [y, x]: [usize; 2]) -> GemmArgs<'_> {
        let plan = self.plan;
        let [n, z] = self.at;
        let place =
            |g: &Grid| n * g.strides[0] + z * g.strides[1] + y * g.strides[2] + x * g.strides[3] + first;
        let (stored, map, post, output) = match &plan.quantized {
            Some(q) => (q.residual.0, q.residual.1, q.post, q.output),
            None => (Elem::F32, [1.0, 0.0], None, [1.0, 0.0]),
        };
        let elem = plan.elems[1];
        let residual = plan.residual.as_ref();
        let from = |g| self.p.residual.wrapping_add(stored.size() * place(g));
        GemmArgs {
            a: std::ptr::null(),
            a_row: 0,
            taps: &[],
            run: 0,
            b: std::ptr::null(),
            c: self.p.output.wrapping_add(elem.size() * place(&plan.output)),
            c_row: plan.output.strides[3] as isize,
            m: (plan.output.dims[3] - x).min(N),
            n: count,
            lines: None,
            epilogue: Epilogue {
                bias: self.bias[first..].as_ptr(),
                residual: residual.map_or(std::ptr::null(), from),
                residual_row: residual.map_or(0, |g| g.strides[3] as isize),
                act: plan.act,
                elem,
                requantize: Some(Requantize {
                    scale: self.scale[first..].as_ptr(),
                    start: std::ptr::null(),
                    residual: (stored, map),
                    post,
                    output,
                    totals: [std::ptr::null_mut(); 2],
                }),
            },
        }
    }
}

/// Where the places of a group begin, whose `per` columns are listed at `columns`, from channel `first` on.
/// Safety: so many columns must be listed.
#[inline(always)]
unsafe fn places(columns: *const *const u8, per: usize, first: usize) -> [*const u8; 4] {
    let mut at = [std::ptr::null(); 4];
    for (i, p) in at.iter_mut().enumerate().take(per) {
        // SAFETY: passed on from the caller.
        *p = unsafe { *columns.add(i) }.wrapping_add(first);
    }
    at
}
