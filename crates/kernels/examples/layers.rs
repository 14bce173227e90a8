//! Speed of convolution layers on one core, for each feature set, or for those named:
//! `cargo run --release -p ampoule-kernels --example layers [-- SET...]`

use ampoule_kernels::conv::{Axis, Conv, ConvPointers, Quantized, Spec, Weights};
use ampoule_kernels::gemm::{Act, KERNELS};
use ampoule_kernels::winograd::{Operands, Shape, Steps, Variant, Winograd};
use ampoule_kernels::{Elem, Features, Grid, available, measure, serial};
use std::time::{Duration, Instant};

fn main() {
    for k in KERNELS {
        if let Some(m) = measure::kernel_macs(k, Duration::from_millis(10)) {
            println!("{:24} {:6.1} GMAC/s in cache", k.name, m / 1e9);
        }
    }
    // depth, height, width, input channels, output channels, kernel
    let layers = [
        ([64, 64, 64], 16, 16, 3),
        ([128, 128, 128], 16, 16, 3),
        ([128, 128, 128], 48, 16, 3),
        ([64, 64, 64], 21, 21, 3),
        ([64, 80, 64], 42, 42, 3),
        ([64, 64, 64], 16, 32, 3),
        ([56, 56, 56], 64, 64, 3),
        ([28, 28, 28], 128, 128, 3),
        ([8, 10, 8], 336, 336, 3),
        ([64, 64, 64], 64, 64, 1),
        ([128, 128, 128], 1, 16, 3),
        ([112, 112, 112], 32, 32, 3),
        ([32, 128, 128], 32, 1, 3),
        ([16, 16, 16], 256, 256, 3),
        ([8, 8, 8], 512, 256, 3),
        ([1, 512, 512], 16, 16, 3),
        ([1, 128, 128], 192, 64, 3),
        ([1, 32, 32], 768, 256, 3),
        ([1, 56, 56], 64, 64, 3),
        ([1, 28, 28], 128, 128, 3),
        ([1, 28, 28], 128, 32, 3),
        ([1, 14, 14], 128, 32, 3),
        ([1, 14, 14], 256, 256, 3),
        ([1, 7, 7], 512, 512, 3),
        ([1, 56, 56], 64, 256, 1),
        ([1, 56, 56], 256, 64, 1),
        ([1, 28, 28], 128, 512, 1),
        ([1, 28, 28], 512, 128, 1),
        ([1, 14, 14], 256, 1024, 1),
        ([1, 14, 14], 1024, 256, 1),
        ([1, 7, 7], 512, 2048, 1),
        ([1, 7, 7], 2048, 512, 1),
    ];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let fits = |isa: Features| arguments.is_empty() || arguments.iter().any(|a| a == isa.name());
    for isa in available().into_iter().filter(|&i| i != Features::NONE && fits(i)) {
        for elem in [Elem::F32, Elem::Bf16, Elem::U8] {
            for layer in layers {
                measure_layer(isa, elem, layer);
            }
        }
    }
}

/// Best seconds of three runs of `f`.
fn best(mut f: impl FnMut()) -> f64 {
    let time = |()| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    [(); 3].map(time).into_iter().fold(f64::MAX, f64::min)
}

fn measure_layer(isa: Features, elem: Elem, ([d, h, w], ci, co, k): ([usize; 3], usize, usize, usize)) {
    let input = Grid::dense([1, d, h, w, ci]);
    let output = Grid::dense([1, d, h, w, co]);
    let a = Axis { kernel: k, stride: 1, dilation: 1, pad: (k as i64 - 1) / 2 };
    let kd = if d == 1 { 1 } else { k };
    let az = if d == 1 { Axis { kernel: 1, pad: 0, ..a } } else { a };
    let elems = [elem; 2];
    let act = Act::None;
    let residual = (Elem::F32, [1.0, 0.0]);
    let quantized = Quantized { zero_point: 3, residual, post: None, output: [1.0, 128.0], totals: None };
    let quantized = (elem == Elem::U8).then_some(quantized);
    let spec = Spec { input, output, residual: None, axes: [az, a, a], act, elems, quantized };
    let conv = Conv::new(spec, isa, true);
    let unit = if quantized.is_some() { 1.0 } else { 1e-4 };
    let at = |t, i, o| ((t + i + o) % 100) as f32 * unit;
    let (sizes, scale) = ([kd * k * k, ci, co], vec![1e-4; co]);
    let weights = match quantized {
        Some(_) => Weights::pack_quantized(conv.panels(isa), sizes, &scale, None, &serial, at),
        None => Weights::pack(conv.panels(isa), sizes, None, &serial, at),
    };
    // Large enough for either type; all bits zero but the sign are valid in both.
    let mut x = vec![0.1f32; input.extent()];
    let mut y = vec![0f32; output.extent()];
    let p = ConvPointers::new(x.as_mut_ptr().cast::<f32>(), y.as_mut_ptr(), std::ptr::null());
    let (mut taps, mut scratch) = (Vec::new(), vec![0f32; conv.scratch()]);
    let seconds = best(|| {
        for i in 0..conv.items() {
            // SAFETY: the buffers have the grids' extents and the CPU has the features.
            unsafe { conv.run(i, &weights, p, (&mut taps, scratch.as_mut_ptr()), None, None) };
        }
    });
    let macs = (output.pixels() * co * ci * kd * k * k) as f64;
    let rate = |seconds: f64| macs / seconds / 1e9;
    print!("{:10} {elem:?} {d}x{h}x{w} {ci}->{co} k{k}: direct {:6.1} GMAC/s", isa.name(), rate(seconds));
    let variants: &[Variant] = match elem {
        _ if k != 3 => &[],
        Elem::U8 => &[Variant::F2_EXACT, Variant::F2_INT8],
        Elem::Bf16 if isa.contains(Features::AVX512_BF16) => {
            &[Variant::F4, Variant::F2_BF16, Variant::F4_BF16]
        }
        _ => &[Variant::F4, Variant::F2],
    };
    for &variant in variants {
        let pad = [az.pad, a.pad, a.pad];
        let shape = Shape { input, output, residual: None, depth_taps: kd, pad, act, elems, quantized };
        let plan = Winograd::new(isa, shape, variant);
        let nine = |t, i, o| std::array::from_fn(|k| at(t, i, o + k));
        let weights = match quantized {
            Some(_) => plan.pack_quantized((&scale, Some(Steps::of([900.0; 16]))), None, &serial, nine),
            None => plan.pack(None, &serial, nine),
        };
        let mut scratch = vec![0f32; plan.scratch()];
        let on = Operands { weights: &weights, prologue: None, pointers: p, scratch: scratch.as_mut_ptr() };
        let seconds = best(|| {
            for i in 0..plan.items() {
                // SAFETY: the buffers have the grids' extents and the CPU has the features.
                unsafe { plan.run(i, on, None) };
            }
        });
        let Variant { tile, domain, .. } = variant;
        print!("; F{tile} {domain:?} {:6.1} ({:.1} predicted)", rate(seconds), rate(plan.cost() / 1e9));
    }
    println!();
}
