//! Speed of convolution layers on one core, for each tier:
//! `cargo run --release -p ampoule-kernels --example layers`

use ampoule_kernels::conv::{Axis, Conv, ConvPointers, Weights};
use ampoule_kernels::dot::{Act, KERNELS};
use ampoule_kernels::winograd::{Operands, Shape, Winograd};
use ampoule_kernels::{Grid, available, measure, serial};
use std::time::Instant;

fn main() {
    for k in KERNELS {
        if let Some(m) = measure::tile_macs(k) {
            println!("{:24} {:6.1} GMAC/s in cache", k.name, m / 1e9);
        }
    }
    // depth, height, width, input channels, output channels, kernel
    let layers = [
        ([64, 64, 64], 16, 16, 3),
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
        ([1, 14, 14], 256, 256, 3),
        ([1, 7, 7], 512, 512, 3),
    ];
    for isa in available() {
        for ([d, h, w], ci, co, k) in layers {
            if isa == ampoule_kernels::Isa::Scalar {
                continue;
            }
            let input = Grid::dense([1, d, h, w, ci]);
            let output = Grid::dense([1, d, h, w, co]);
            let a = Axis { kernel: k, stride: 1, dilation: 1, pad: (k as i64 - 1) / 2 };
            let kd = if d == 1 { 1 } else { k };
            let az = if d == 1 { Axis { kernel: 1, pad: 0, ..a } } else { a };
            let conv = Conv::new(input, output, None, [az, a, a], Act::None, isa, true);
            let weights =
                Weights::pack(conv.panels(isa, co), [kd * k * k, ci, co], None, &serial, |t, i, o| {
                    (t + i + o) as f32 * 1e-4
                });
            let x = vec![0.1f32; input.extent()];
            let mut y = vec![0f32; output.extent()];
            let mut taps = Vec::new();
            let mut best = f64::MAX;
            for _ in 0..3 {
                let start = Instant::now();
                let p =
                    ConvPointers { input: x.as_ptr(), output: y.as_mut_ptr(), residual: std::ptr::null() };
                for i in 0..conv.items() {
                    // SAFETY: the buffers have the grids' extents and the tier is supported.
                    unsafe { conv.run(i, &weights, p, &mut taps, None) };
                }
                best = best.min(start.elapsed().as_secs_f64());
            }
            let macs = (output.pixels() * co * ci * kd * k * k) as f64;
            print!(
                "{:7} {d}x{h}x{w} {ci}->{co} k{k}: direct {:6.1} GMAC/s, {:.1} ms",
                isa.name(),
                macs / best / 1e9,
                best * 1e3
            );
            if k == 3 {
                let pad = [az.pad, a.pad, a.pad];
                let shape = Shape { input, output, residual: None, depth_taps: kd, pad, act: Act::None };
                let plan = Winograd::new(isa, shape);
                let weights = plan
                    .pack(None, &serial, |t, i, o| std::array::from_fn(|k| (t + i + o + k) as f32 * 1e-4));
                let mut scratch = vec![0f32; plan.scratch()];
                let mut best = f64::MAX;
                for _ in 0..3 {
                    let start = Instant::now();
                    let p = ConvPointers {
                        input: x.as_ptr(),
                        output: y.as_mut_ptr(),
                        residual: std::ptr::null(),
                    };
                    let scratch = scratch.as_mut_ptr();
                    let on = Operands { weights: &weights, prologue: None, pointers: p, scratch };
                    for i in 0..plan.items() {
                        // SAFETY: the buffers have the grids' extents and the tier is supported.
                        unsafe { plan.run(i, on, None) };
                    }
                    best = best.min(start.elapsed().as_secs_f64());
                }
                let (rate, ms, kib) = (macs / best / 1e9, best * 1e3, plan.scratch() >> 8);
                print!("; Winograd {rate:6.1} GMAC/s, {ms:.1} ms, {} items, {kib} KiB", plan.items());
            }
            println!();
        }
    }
}
