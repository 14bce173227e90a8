//! Every kernel of the registry that this CPU runs, on one core and a typical size:
//! `cargo bench -p ampoule-kernels [-- NAME]`. Micro-kernels count multiply-accumulates, others bytes
//! of their input.

use ampoule_kernels::conv::{
    Axis, Conv, ConvPointers, Quantized, Spec, Split, Weights, split_values, subtract_zero_point, widen,
};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::eltwise::{self, Binary, Unary};
use ampoule_kernels::grad::Curve;
use ampoule_kernels::grad::norm::{Back, Map, accumulate, back, forward, sums};
use ampoule_kernels::grad::pool::MaxPoolBackward;
use ampoule_kernels::grad::weight::{WeightGradient, weight_gradient};
use ampoule_kernels::layer_norm::{Rows, layer_norm};
use ampoule_kernels::measure::Tile;
use ampoule_kernels::pool::{Pool, PoolKind};
use ampoule_kernels::reduce::{self, Columns, Fold, WeightedRows};
use ampoule_kernels::registry::{Kernel, kernels};
use ampoule_kernels::resize::{Resize, Samples};
use ampoule_kernels::winograd::{Operands, Shape, Steps, Variant, Winograd};
use ampoule_kernels::{Act, Elem, Features, Grid, Operation, bf16, gemm, norm, serial, softmax};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

fn main() {
    divan::main();
}

/// A kernel by its name.
#[derive(Clone, Copy)]
struct Row(&'static Kernel);

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.name)
    }
}

/// The kernels that this CPU runs.
fn rows() -> impl Iterator<Item = Row> {
    kernels().iter().filter(|k| k.features.supported()).map(Row)
}

/// Pixels of the images here, down and across.
const SIDE: usize = 56;
/// Channels.
const CHANNELS: usize = 64;
/// Values of an image.
const VALUES: usize = SIDE * SIDE * CHANNELS;

#[divan::bench(args = rows())]
fn kernel(bencher: Bencher, row: Row) {
    let Row(k) = row;
    let isa = k.features;
    match k.operation {
        Operation::GemmF32
        | Operation::GemmBf16
        | Operation::GemmI16
        | Operation::GemmU8
        | Operation::ThinGemmF32
        | Operation::ThinGemmBf16
        | Operation::ThinGemmI16
        | Operation::ThinGemmU8 => tile(bencher, &k.name),
        Operation::Requantize => convolution(bencher, isa, 4),
        Operation::WidenInput => {
            let (x, mut y) = (vec![bf16::ONE; VALUES], vec![0f32; VALUES]);
            // SAFETY: both hold as many values.
            bytes(bencher, 2, || unsafe { widen(isa, x.as_ptr(), y.as_mut_ptr(), VALUES) });
        }
        Operation::SplitInput => {
            let (split, x) = (Split::Three, vec![1.7f32; VALUES]);
            let mut terms = vec![bf16::ONE; split.terms() * VALUES];
            // SAFETY: there is room for all terms of all values.
            bytes(bencher, 4, || unsafe {
                split_values(isa, split, x.as_ptr(), terms.as_mut_ptr(), VALUES, VALUES)
            });
        }
        Operation::SubtractZeroPoint => {
            let (x, mut y) = (vec![9u8; VALUES], vec![0i16; VALUES]);
            // SAFETY: both hold as many values.
            bytes(bencher, 1, || unsafe { subtract_zero_point(isa, x.as_ptr(), y.as_mut_ptr(), VALUES, 3) });
        }
        Operation::WinogradFilter => filters(bencher, isa),
        // Transforms run only as parts of a convolution.
        Operation::WinogradInput | Operation::WinogradOutput => winograd(bencher, isa, Variant::F4),
        Operation::WinogradInt8Input | Operation::WinogradInt8Output => {
            winograd(bencher, isa, Variant::F2_EXACT)
        }
        Operation::Depthwise => depthwise(bencher, isa, Elem::F32),
        Operation::DepthwiseInt8 => depthwise(bencher, isa, Elem::U8),
        Operation::Unary => {
            let (x, mut y) = (vec![0.5f32; VALUES], vec![0f32; VALUES]);
            let f = Unary::Swish(1.0);
            // SAFETY: both hold as many values.
            bytes(bencher, 4, || unsafe { eltwise::unary(isa, f, x.as_ptr(), y.as_mut_ptr(), VALUES) });
        }
        Operation::Binary => {
            let (x, mut y) = (vec![0.5f32; VALUES], vec![0f32; VALUES]);
            let (a, f) = (x.as_ptr(), Binary::Add);
            // SAFETY: all hold as many values.
            bytes(bencher, 8, || unsafe { eltwise::binary(isa, f, a, a, false, y.as_mut_ptr(), VALUES) });
        }
        Operation::ChannelSums => channel_sums(bencher, isa),
        Operation::Affine => affine(bencher, isa),
        Operation::LayerNorm => rows_of_layer_norm(bencher, isa),
        Operation::Pool => pooling(bencher, isa),
        Operation::Resize => resampling(bencher, isa),
        Operation::Softmax => {
            let (x, mut y) = (vec![0.5f32; VALUES], vec![0f32; VALUES]);
            let rows = VALUES / CHANNELS;
            // SAFETY: both hold the rows.
            bytes(bencher, 4, || unsafe {
                softmax::softmax(isa, (x.as_ptr(), CHANNELS), (y.as_mut_ptr(), CHANNELS), rows, CHANNELS)
            });
        }
        Operation::Reduce => {
            let (x, mut acc) = (vec![0.5f32; VALUES], vec![0f64; CHANNELS]);
            let rows = (SIDE * SIDE, CHANNELS as isize);
            // SAFETY: all rows are there.
            bytes(bencher, 4, || unsafe {
                let args = Columns { fold: Fold::Sum, src: x.as_ptr(), rows, shift: &[], acc: &mut acc };
                reduce::columns(isa, args);
            });
        }
        Operation::WeightedRows => {
            let (x, mut y) = (vec![0.5f32; VALUES], vec![0f32; CHANNELS]);
            let rows: Vec<usize> = (0..SIDE * SIDE).map(|r| r * CHANNELS).collect();
            let weights = vec![0.5f32; rows.len()];
            let (src, dst, rows, weights) = (x.as_ptr(), y.as_mut_ptr(), &rows[..], &weights[..]);
            // SAFETY: all rows are there.
            bytes(bencher, 4, || unsafe {
                let args = WeightedRows { src, rows, weights, dst, n: CHANNELS, add: false };
                reduce::weighted_rows(isa, args);
            });
        }
        Operation::WeightGradient => weight_gradients(bencher, isa),
        Operation::MapForward | Operation::MapSums | Operation::MapBackward => maps(bencher, k),
        Operation::Accumulate => {
            let (x, mut y) = (vec![0.5f32; VALUES], vec![0f32; VALUES]);
            // SAFETY: both hold as many values.
            bytes(bencher, 4, || unsafe { accumulate(isa, y.as_mut_ptr(), x.as_ptr(), 0.5, VALUES) });
        }
        Operation::MaxPoolBackward => pooling_gradients(bencher, isa),
    }
}

/// Measures `f`, which reads `size` bytes for each value of an image.
fn bytes(bencher: Bencher, size: usize, f: impl FnMut()) {
    bencher.counter(BytesCount::new(size * VALUES)).bench_local(f);
}

fn axis(kernel: usize, stride: usize, pad: i64) -> Axis {
    Axis { kernel, stride, dilation: 1, pad }
}

fn grid(side: usize, channels: usize) -> Grid {
    Grid::dense([1, 1, side, side, channels])
}

fn quantized() -> Quantized {
    let residual = (Elem::F32, [1.0, 0.0]);
    Quantized { zero_point: 3, residual, post: None, output: [1.0, 128.0], totals: None }
}

/// The micro-kernel of that name.
fn tile(bencher: Bencher, name: &str) {
    let Some(mut tile) = gemm::KERNELS.iter().find(|k| k.name == name).and_then(Tile::new) else { return };
    bencher.counter(ItemsCount::new(64 * tile.macs())).bench_local(|| tile.run(64));
}

/// An INT8 pointwise convolution of so few input channels that requantization is most of its time.
fn convolution(bencher: Bencher, isa: Features, inputs: usize) {
    let (input, output) = (grid(SIDE, inputs), grid(SIDE, CHANNELS));
    let axes = [axis(1, 1, 0); 3];
    let elems = [Elem::U8; 2];
    let quantized = Some(quantized());
    let conv =
        Conv::new(Spec { input, output, residual: None, axes, act: Act::None, elems, quantized }, isa, true);
    let at = |_, i: usize, o: usize| ((i + o) % 100) as f32;
    let (panels, scale) = (conv.panels(isa), vec![1e-4; CHANNELS]);
    let weights = Weights::pack_quantized(panels, [1, inputs, CHANNELS], &scale, None, &serial, at);
    let (x, mut y) = (vec![9u8; input.extent()], vec![0u8; output.extent()]);
    let (mut taps, mut scratch) = (Vec::new(), vec![0f32; conv.scratch()]);
    let p = ConvPointers::new(x.as_ptr(), y.as_mut_ptr(), std::ptr::null());
    bytes(bencher, 1, || {
        for i in 0..conv.items() {
            // SAFETY: the buffers have the grids' extents and the CPU has the features.
            unsafe { conv.run(i, &weights, p, (&mut taps, scratch.as_mut_ptr()), None, None) };
        }
    });
}

/// A Winograd plan over images.
fn plan(isa: Features, variant: Variant) -> Winograd {
    let (input, output) = (grid(SIDE, CHANNELS), grid(SIDE, CHANNELS));
    let integer = variant.domain.integer();
    let elems = [if integer { Elem::U8 } else { Elem::F32 }; 2];
    let quantized = integer.then(quantized);
    let (pad, act) = ([0, 1, 1], Act::None);
    let shape = Shape { input, output, residual: None, depth_taps: 1, pad, act, elems, quantized };
    Winograd::new(isa, shape, variant)
}

fn filters(bencher: Bencher, isa: Features) {
    let plan = plan(isa, Variant::F4);
    let nine = |_, i: usize, o: usize| std::array::from_fn(|k| ((i + o + k) % 100) as f32);
    let count = BytesCount::new(4 * 9 * CHANNELS * CHANNELS);
    bencher.counter(count).bench_local(|| plan.pack(None, &serial, nine));
}

fn winograd(bencher: Bencher, isa: Features, variant: Variant) {
    let plan = plan(isa, variant);
    let nine = |_, i: usize, o: usize| std::array::from_fn(|k| ((i + o + k) % 100) as f32);
    let weights = match variant.domain.integer() {
        true => {
            let steps = Some(Steps::of([900.0; 16]));
            plan.pack_quantized((&vec![1e-4; CHANNELS], steps), None, &serial, nine)
        }
        false => plan.pack(None, &serial, nine),
    };
    // Large enough for any type.
    let (x, mut y) = (vec![0.1f32; VALUES], vec![0f32; VALUES]);
    let mut scratch = vec![0f32; plan.scratch()];
    let pointers = ConvPointers::new(x.as_ptr(), y.as_mut_ptr(), std::ptr::null());
    let on = Operands { weights: &weights, prologue: None, pointers, scratch: scratch.as_mut_ptr() };
    bytes(bencher, if variant.domain.integer() { 1 } else { 4 }, || {
        for i in 0..plan.items() {
            // SAFETY: the buffers have the grids' extents and the CPU has the features.
            unsafe { plan.run(i, on, None) };
        }
    });
}

fn depthwise(bencher: Bencher, isa: Features, elem: Elem) {
    let integer = elem == Elem::U8;
    let plan = Depthwise {
        input: grid(SIDE, CHANNELS),
        output: grid(SIDE, CHANNELS),
        residual: None,
        axes: [axis(1, 1, 0), axis(3, 1, 1), axis(3, 1, 1)],
        act: Act::None,
        elems: [elem; 2],
        quantized: integer.then(quantized),
    };
    let mut filters = Filters {
        weights: vec![3.0; 9 * CHANNELS],
        bias: vec![0.5; CHANNELS],
        scale: if integer { vec![1e-3; CHANNELS] } else { Vec::new() },
        ..Filters::default()
    };
    if integer {
        plan.pack(isa, &mut filters);
    }
    let (x, mut y) = (vec![0.1f32; VALUES], vec![0f32; VALUES]);
    let p = ConvPointers::new(x.as_ptr(), y.as_mut_ptr(), std::ptr::null());
    bytes(bencher, elem.size(), || {
        for i in 0..plan.items() {
            // SAFETY: the buffers have the grids' extents and the CPU has the features.
            unsafe { plan.run(isa, i, &filters, p) };
        }
    });
}

fn channel_sums(bencher: Bencher, isa: Features) {
    let (x, shift) = (vec![0.5f32; VALUES], vec![0.25; CHANNELS]);
    let (mut sum, mut square) = (vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
    let pixels = VALUES / CHANNELS;
    // SAFETY: the buffer holds the pixels.
    bytes(bencher, 4, || unsafe {
        norm::partial_sums(isa, x.as_ptr(), CHANNELS, pixels, &shift, &mut sum, &mut square)
    });
}

fn affine(bencher: Bencher, isa: Features) {
    let (x, mut y) = (vec![0.5f32; VALUES], vec![0f32; VALUES]);
    let (scale, shift) = (vec![1.5; CHANNELS], vec![0.25; CHANNELS]);
    bytes(bencher, 4, || {
        let args = norm::Affine {
            src: (x.as_ptr(), CHANNELS),
            dst: (y.as_mut_ptr(), CHANNELS),
            residual: (std::ptr::null(), 0),
            stored: (Elem::F32, [1.0, 0.0]),
            count: VALUES / CHANNELS,
            scale: &scale,
            shift: &shift,
            act: Act::Leaky(0.01),
            output: [1.0, 0.0],
        };
        // SAFETY: the buffers hold the pixels.
        unsafe { norm::affine(isa, args) };
    });
}

fn rows_of_layer_norm(bencher: Bencher, isa: Features) {
    let (x, mut y) = (vec![0.5f32; VALUES], vec![0f32; VALUES]);
    let (scale, shift) = (vec![1.5; CHANNELS], vec![0.25; CHANNELS]);
    bytes(bencher, 4, || {
        let (src, dst, count) = (x.as_ptr(), y.as_mut_ptr(), VALUES / CHANNELS);
        let rows = Rows { src, dst, count, scale: &scale, shift: &shift, epsilon: 1e-5, centred: true };
        // SAFETY: the buffers hold the rows.
        unsafe { layer_norm(isa, rows) };
    });
}

fn pooling(bencher: Bencher, isa: Features) {
    let (input, output) = (grid(SIDE, CHANNELS), grid(SIDE / 2, CHANNELS));
    let axes = [axis(1, 1, 0), axis(3, 2, 1), axis(3, 2, 1)];
    let plan = Pool { input, output, axes, kind: PoolKind::Max, elem: Elem::F32 };
    let (x, mut y) = (vec![0.5f32; input.extent()], vec![0f32; output.extent()]);
    let p = ConvPointers::new(x.as_ptr(), y.as_mut_ptr(), std::ptr::null());
    bytes(bencher, 4, || {
        for i in 0..plan.items() {
            // SAFETY: the buffers have the grids' extents.
            unsafe { plan.run(isa, i, p) };
        }
    });
}

fn resampling(bencher: Bencher, isa: Features) {
    let (input, output) = (grid(SIDE, CHANNELS), grid(2 * SIDE, CHANNELS));
    let linear = |n: usize, m: usize| {
        let at = |o: usize| vec![((o * n / m).min(n - 1), 0.75), ((o * n / m + 1).min(n - 1), 0.25)];
        Samples::of(&(0..m).map(at).collect::<Vec<_>>())
    };
    let axes = [linear(1, 1), linear(SIDE, 2 * SIDE), linear(SIDE, 2 * SIDE)];
    let plan = Resize { input, output, axes, elem: Elem::F32 };
    let (x, mut y) = (vec![0.5f32; input.extent()], vec![0f32; output.extent()]);
    let mut line = vec![0.0; plan.scratch()];
    let p = ConvPointers::new(x.as_ptr(), y.as_mut_ptr(), std::ptr::null());
    bytes(bencher, 4, || {
        for i in 0..plan.items() {
            // SAFETY: the buffers have the grids' extents.
            unsafe { plan.run(isa, i, p, &mut line) };
        }
    });
}

fn weight_gradients(bencher: Bencher, isa: Features) {
    let (a, b) = (vec![0.5f32; VALUES], vec![0.25f32; VALUES]);
    let mut acc = vec![0f32; CHANNELS * CHANNELS];
    let macs = VALUES * CHANNELS;
    bencher.counter(ItemsCount::new(macs)).bench_local(|| {
        let args = WeightGradient {
            a: a.as_ptr(),
            a_row: SIDE * CHANNELS,
            a_step: CHANNELS,
            b: b.as_ptr(),
            b_row: SIDE * CHANNELS,
            b_step: CHANNELS,
            rows: SIDE,
            count: SIDE,
            acc: acc.as_mut_ptr(),
            acc_row: CHANNELS,
            m: CHANNELS,
            n: CHANNELS,
        };
        // SAFETY: the buffers hold the rows and the sums.
        unsafe { weight_gradient(isa, args) };
    });
}

fn maps(bencher: Bencher, k: &Kernel) {
    let isa = k.features;
    let (x, dy, mut y) = (vec![0.5f32; VALUES], vec![0.25f32; VALUES], vec![0f32; VALUES]);
    let (scale, shift) = (vec![1.5; CHANNELS], vec![0.25; CHANNELS]);
    let (count, curve) = (VALUES / CHANNELS, Curve::Leaky(0.01));
    let map = Map { x: x.as_ptr(), count, scale: &scale, shift: &shift, curve };
    let (mut s, mut p) = (vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
    bytes(bencher, 4, || {
        let dx = y.as_mut_ptr();
        // SAFETY: the buffers hold the pixels.
        unsafe {
            match k.operation {
                Operation::MapForward => forward(isa, map, dx),
                Operation::MapSums => sums(isa, map, dy.as_ptr(), &mut s, &mut p),
                Operation::MapBackward => {
                    back(isa, Back { map, dy: dy.as_ptr(), dx, add: false, terms: [&scale, &shift, &shift] })
                }
                other => unreachable!("{other:?} is no map"),
            }
        }
    });
}

fn pooling_gradients(bencher: Bencher, isa: Features) {
    let (input, output) = (grid(SIDE, CHANNELS), grid(SIDE / 2, CHANNELS));
    let axes = [axis(1, 1, 0), axis(3, 2, 1), axis(3, 2, 1)];
    let plan = MaxPoolBackward { input, output, axes };
    let (x, y) = (vec![0.5f32; input.extent()], vec![0.5f32; output.extent()]);
    let mut dx = vec![0f32; input.extent()];
    bytes(bencher, 4, || {
        // SAFETY: the buffers have the grids' extents.
        unsafe { plan.run(isa, 0, [x.as_ptr(), y.as_ptr(), y.as_ptr()], dx.as_mut_ptr()) };
    });
}
