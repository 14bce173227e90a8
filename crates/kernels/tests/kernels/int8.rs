//! Integer convolutions with every set of features against plain integer loops: the same bits everywhere.

use crate::common::{Stored, random, relative};
use ampoule_kernels::conv::{Axis, Conv, ConvPointers, How, Quantized, Spec, TOTALLED, Weights};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::eltwise::{self, Unary};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::norm::{self, ItemSums};
use ampoule_kernels::winograd::{Operands, Shape, Steps, Variant, Winograd};
use ampoule_kernels::{Elem, Features, Grid, f16, serial};

struct Case {
    input: [usize; 5],
    outputs: usize,
    axes: [Axis; 3],
    end: [i64; 3],
    gap: usize,
    /// How the residual is stored.
    residual: Option<Elem>,
    output: Elem,
    zero: i32,
    act: Act,
    post: Option<Unary>,
}

fn axis(kernel: usize, stride: usize, dilation: usize, pad: i64) -> Axis {
    Axis { kernel, stride, dilation, pad }
}

fn out_size(size: usize, a: &Axis, end: i64) -> usize {
    let span = ((a.kernel - 1) * a.dilation + 1) as i64;
    ((size as i64 + a.pad + end - span) / a.stride as i64 + 1) as usize
}

impl Case {
    fn grids(&self) -> [Grid; 2] {
        let [n, d, h, w, c] = self.input;
        let o: Vec<usize> = (0..3).map(|k| out_size([d, h, w][k], &self.axes[k], self.end[k])).collect();
        let m = self.outputs;
        [Grid::pitched(self.input, c + self.gap), Grid::pitched([n, o[0], o[1], o[2], m], m + self.gap)]
    }

    fn quantized(&self) -> Quantized {
        let map = if self.residual == Some(Elem::U8) { [0.37, -41.0] } else { [1.0, 0.0] };
        let residual = (self.residual.unwrap_or(Elem::F32), map);
        Quantized {
            zero_point: self.zero,
            residual,
            post: self.post,
            output: [1.5, 119.0],
            totals: Some(TOTALLED.start),
        }
    }
}

fn cases() -> Vec<Case> {
    let one = axis(1, 1, 1, 0);
    let k3 = axis(3, 1, 1, 1);
    let leaky = Act::Leaky(0.01);
    let mut list = Vec::new();
    let mut add = |input, outputs, axes: [Axis; 3], end, gap, residual, output, zero, act| {
        list.push(Case { input, outputs, axes, end, gap, residual, output, zero, act, post: None })
    };
    // Column tails around every vector width; runs that do not fill words.
    for outputs in [1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 49, 84] {
        add([1, 3, 4, 19, 5], outputs, [k3; 3], [1; 3], 0, None, Elem::U8, 131, leaky);
        add([1, 1, 5, 23, 8], outputs, [one, k3, k3], [0, 1, 1], 0, None, Elem::F32, 0, Act::Leaky(0.0));
    }
    for w in [1, 2, 3, 4, 5, 8, 9, 10, 13, 14, 15, 23, 24, 25, 29] {
        add([2, 1, 5, w, 3], 18, [one, k3, k3], [0, 1, 1], 0, Some(Elem::U8), Elem::U8, 7, Act::None);
    }
    // Few columns over long runs: thin tiles.
    for (outputs, ci) in [(1, 13), (2, 64), (3, 17), (4, 52)] {
        add([1, 3, 4, 19, ci], outputs, [k3; 3], [1; 3], 0, Some(Elem::F32), Elem::F16, 255, leaky);
        add([2, 1, 3, 5, 5 * ci], outputs, [one; 3], [0; 3], 2, None, Elem::Bf16, 1, Act::None);
    }
    // Strides, asymmetric pads, dilation beyond the input, slices of concatenations.
    let clamp = Act::Clamp(0.0, 60.0);
    add([1, 9, 10, 11, 4], 20, [axis(3, 2, 1, 1); 3], [1; 3], 0, None, Elem::U8, 12, clamp);
    add([1, 7, 9, 8, 1], 16, [axis(7, 2, 1, 3); 3], [3; 3], 0, None, Elem::U8, 90, Act::None);
    add([1, 6, 6, 9, 2], 5, [axis(3, 1, 4, 4); 3], [4; 3], 3, Some(Elem::F16), Elem::U8, 200, leaky);
    let strided = [one, axis(4, 3, 2, 3), axis(5, 2, 3, 4)];
    add([1, 1, 6, 40, 3], 8, strided, [0, 2, 5], 5, Some(Elem::U8), Elem::F32, 128, Act::None);
    // Pointwise, merged and not; a matrix product.
    add([2, 3, 5, 7, 33], 35, [one; 3], [0; 3], 0, Some(Elem::U8), Elem::U8, 128, leaky);
    add([2, 3, 5, 7, 33], 35, [one; 3], [0; 3], 4, Some(Elem::Bf16), Elem::U8, 128, leaky);
    add([1, 1, 1, 1, 300], 130, [one; 3], [0; 3], 0, None, Elem::F32, 3, Act::None);
    for f in [Unary::Swish(1.0), Unary::Sigmoid, Unary::Mish, Unary::Gelu, Unary::HardSwish, Unary::Tanh] {
        let input = [1, 1, 6, 17, 12];
        let (axes, end) = ([one, k3, k3], [0, 1, 1]);
        let (output, act, post) = (Elem::U8, Act::None, Some(f));
        list.push(Case { input, outputs: 21, axes, end, gap: 0, residual: None, output, zero: 9, act, post });
    }
    list
}

/// Requantize between 0 and 255, extremes among them.
fn quantized_values(n: usize, seed: u64) -> Vec<f32> {
    random(n, seed).iter().map(|x| (x * 160.0 + 128.0).round().clamp(0.0, 255.0)).collect()
}

/// Integer sums by plain loops: `weights[tap][input][output]`.
fn sums(c: &Case, [gi, go]: [Grid; 2], x: &[f32], w: &[f32]) -> Vec<i64> {
    let mut out = vec![0; go.extent()];
    let [n, d, h, wd, m] = go.dims;
    let ci = gi.channels();
    for i in 0..n * d * h * wd {
        let at = [i / (d * h * wd), i / (h * wd) % d, i / wd % h, i % wd];
        let place: usize = at.iter().zip(go.strides).map(|(a, s)| a * s).sum();
        let k = c.axes.map(|a| a.kernel);
        for t in 0..k[0] * k[1] * k[2] {
            let tap = [t / (k[1] * k[2]), t / k[2] % k[1], t % k[2]];
            let read: Vec<i64> = (0..3)
                .map(|i| (at[i + 1] * c.axes[i].stride + tap[i] * c.axes[i].dilation) as i64 - c.axes[i].pad)
                .collect();
            if !(0..3).all(|i| (0..gi.dims[i + 1] as i64).contains(&read[i])) {
                continue;
            }
            let from =
                at[0] * gi.strides[0] + (0..3).map(|i| read[i] as usize * gi.strides[i + 1]).sum::<usize>();
            for a in 0..ci {
                for o in 0..m {
                    out[place + o] += (x[from + a] as i64 - c.zero as i64) * w[(t * ci + a) * m + o] as i64;
                }
            }
        }
    }
    out
}

/// What a direct convolution gives, and the totals of its sums.
fn run(
    c: &Case,
    (isa, padded): (Features, bool),
    x: &[f32],
    w: &[f32],
    r: &[f32],
    totals: bool,
) -> (Vec<f32>, Vec<i128>) {
    let [gi, go] = c.grids();
    let (ci, m) = (gi.channels(), c.outputs);
    let taps: usize = c.axes.iter().map(|a| a.kernel).product();
    let bias: Vec<f32> = random(m, 5).iter().map(|b| b * 20.0).collect();
    let scale: Vec<f32> =
        random(m, 6).iter().map(|s| (s * 0.5 + 1.0) * 40.0 / (ci * taps) as f32 / 128.0).collect();
    let elems = [Elem::U8, c.output];
    let (quantized, residual) = (Some(c.quantized()), c.residual.map(|_| go));
    let spec = Spec { input: gi, output: go, residual, axes: c.axes, act: c.act, elems, quantized };
    let conv = Conv::planned(spec, isa, How { merge: true, padded: Some(padded), ..How::default() });
    let at = |t: usize, a: usize, b: usize| w[(t * ci + a) * m + b];
    let weights = Weights::pack_quantized(conv.panels(isa), [taps, ci, m], &scale, Some(&bias), &serial, at);
    let mut got = Stored::new(&vec![0.0; go.extent()], c.output);
    let mut x = Stored::new(x, Elem::U8);
    let mut r = Stored::new(r, c.residual.unwrap_or(Elem::F32));
    let p = ConvPointers { input: x.ptr(), output: got.ptr(), residual: r.ptr() };
    let (mut list, mut scratch) = (Vec::new(), vec![f32::NAN; conv.scratch()]);
    let (mut sum, mut square) = (vec![0; m], vec![0; m]);
    for item in 0..conv.items() {
        let mut own = ItemSums::default();
        let sums = (totals && conv.adds_up()).then_some(&mut own);
        // SAFETY: buffers have the grids' extents.
        unsafe { conv.run(item, &weights, p, (&mut list, scratch.as_mut_ptr()), None, sums) };
        own.join_exact(&mut sum, &mut square);
    }
    sum.extend(square);
    (got.values(), sum)
}

/// Direct convolutions: the reference against the formula, the others against its bits.
pub fn convolutions(isa: Features) {
    for (i, c) in cases().iter().enumerate() {
        let [gi, go] = c.grids();
        let taps: usize = c.axes.iter().map(|a| a.kernel).product();
        let x = quantized_values(gi.extent(), i as u64 + 1);
        let w: Vec<f32> =
            quantized_values(taps * gi.channels() * c.outputs, 77).iter().map(|v| v - 128.0).collect();
        let r = quantized_values(go.extent(), 9);
        let (want, _) = run(c, (Features::NONE, false), &x, &w, &r, false);
        // The reference against the formula, the others against its bits.
        let exact = sums(c, [gi, go], &x, &w);
        let (m, q) = (c.outputs, c.quantized());
        let bias: Vec<f32> = random(m, 5).iter().map(|b| b * 20.0).collect();
        let scale: Vec<f32> = random(m, 6)
            .iter()
            .map(|s| (s * 0.5 + 1.0) * 40.0 / (gi.channels() * taps) as f32 / 128.0)
            .collect();
        for pixel in 0..go.pixels() {
            for o in 0..m {
                let at = pixel * go.pixel() + o;
                let mut y = exact[at] as f64 * scale[o] as f64 + bias[o] as f64;
                if c.residual.is_some() {
                    y += r[at] as f64 * q.residual.1[0] as f64 + q.residual.1[1] as f64;
                }
                let y = c.act.scalar(y as f32) as f64;
                let y = match c.post {
                    None => y,
                    Some(Unary::Swish(_)) => y / (1.0 + (-y).exp()),
                    Some(Unary::Sigmoid) => 1.0 / (1.0 + (-y).exp()),
                    Some(Unary::Tanh) => y.tanh(),
                    Some(Unary::HardSwish) => y * (y / 6.0 + 0.5).clamp(0.0, 1.0),
                    // Checked against their definitions elsewhere.
                    Some(_) => continue,
                };
                let (y, e) = match c.output {
                    Elem::U8 => ((y * 1.5 + 119.0).clamp(0.0, 255.0), 0.501),
                    Elem::F32 => (y, 1e-4),
                    _ => (y, y.abs() / 256.0 + 1e-4),
                };
                assert!((want[at] as f64 - y).abs() <= e, "case {i}: {} instead of {y}", want[at]);
            }
        }
        let (got, totals) = run(c, (isa, false), &x, &w, &r, true);
        assert_eq!(got, want, "case {i} on {}", isa.name());
        assert_eq!(run(c, (isa, true), &x, &w, &r, true), (want, totals.clone()), "padded case {i}");
        if totals.iter().any(|t| *t != 0) {
            for o in 0..m {
                let all = (0..go.pixels()).map(|p| exact[p * go.pixel() + o] as i128);
                let (s, q) = all.fold((0, 0), |(s, q), v| (s + v, q + v * v));
                let what = format!("column {o} of case {i} on {}", isa.name());
                assert_eq!((totals[o], totals[m + o]), (s, q), "{what}");
            }
        }
    }
}

/// [`run`] by Winograd.
fn run_winograd(
    c: &Case,
    (isa, variant): (Features, Variant),
    x: &[f32],
    w: &[f32],
    r: &[f32],
    totals: bool,
) -> (Vec<f32>, Vec<i128>) {
    let [gi, go] = c.grids();
    let (ci, m, kd) = (gi.channels(), c.outputs, c.axes[0].kernel);
    let bias: Vec<f32> = random(m, 5).iter().map(|b| b * 20.0).collect();
    let scale: Vec<f32> =
        random(m, 6).iter().map(|s| (s * 0.5 + 1.0) * 40.0 / (ci * kd * 9) as f32 / 128.0).collect();
    let (quantized, residual) = (
        Some(Quantized { totals: totals.then_some(TOTALLED.start), ..c.quantized() }),
        c.residual.map(|_| go),
    );
    let (pad, elems) = (c.axes.map(|a| a.pad), [Elem::U8, c.output]);
    let shape = Shape { input: gi, output: go, residual, depth_taps: kd, pad, act: c.act, elems, quantized };
    let plan = Winograd::new(isa, shape, variant);
    let at = |t: usize, a: usize, b: usize| std::array::from_fn(|k| w[((t * 9 + k) * ci + a) * m + b]);
    let steps = Steps::of(std::array::from_fn(|i| if i % 4 == 1 && i / 4 == 1 { 900.0 } else { 450.0 }));
    let weights = plan.pack_quantized((&scale, Some(steps)), Some(&bias), &serial, at);
    let mut got = Stored::new(&vec![0.0; go.extent()], c.output);
    let (mut x, mut r) = (Stored::new(x, Elem::U8), Stored::new(r, c.residual.unwrap_or(Elem::F32)));
    let pointers = ConvPointers { input: x.ptr(), output: got.ptr(), residual: r.ptr() };
    let mut scratch = vec![f32::NAN; plan.scratch()];
    let (mut sum, mut square) = (vec![0; m], vec![0; m]);
    for item in 0..plan.items() {
        let on = Operands { weights: &weights, prologue: None, pointers, scratch: scratch.as_mut_ptr() };
        let mut own = ItemSums::default();
        // SAFETY: buffers have the grids' extents.
        unsafe { plan.run(item, on, totals.then_some(&mut own)) };
        own.join_exact(&mut sum, &mut square);
    }
    sum.extend(square);
    (got.values(), sum)
}

/// Cases that Winograd computes: those of stride 1 with 3×3 taps, and some of many channels.
fn winograd_cases() -> Vec<Case> {
    let (one, k3) = (axis(1, 1, 1, 0), axis(3, 1, 1, 1));
    let square = |c: &Case| c.axes[1..].iter().all(|a| (a.kernel, a.stride, a.dilation) == (3, 1, 1));
    let mut list: Vec<Case> = cases().into_iter().filter(|c| square(c) && c.axes[0].dilation == 1).collect();
    let more = [
        ([1, 5, 9, 70, 64], 40, [k3; 3], [1; 3], Elem::F16, 3),
        ([2, 1, 31, 33, 130], 96, [one, k3, k3], [0, 1, 1], Elem::U8, 130),
        ([1, 3, 8, 8, 200], 33, [k3, axis(3, 1, 1, 2), axis(3, 1, 1, 0)], [1, 0, 3], Elem::F32, 255),
    ];
    for (input, outputs, axes, end, output, zero) in more {
        let act = Act::Leaky(0.1);
        list.push(Case { input, outputs, axes, end, gap: 1, residual: None, output, zero, act, post: None });
    }
    list
}

/// Exact Winograd has the bits of the direct convolution.
pub fn winograd(isa: Features) {
    for (i, c) in winograd_cases().iter().enumerate() {
        let [gi, go] = c.grids();
        let taps: usize = c.axes.iter().map(|a| a.kernel).product();
        let x = quantized_values(gi.extent(), i as u64 + 1);
        let w: Vec<f32> =
            quantized_values(taps * gi.channels() * c.outputs, 77).iter().map(|v| v - 128.0).collect();
        let r = quantized_values(go.extent(), 9);
        let (want, _) = run(c, (Features::NONE, false), &x, &w, &r, false);
        let exact = sums(c, [gi, go], &x, &w);
        let (got, _) = run_winograd(c, (isa, Variant::F2_EXACT), &x, &w, &r, false);
        assert_eq!(got, want, "case {i} on {}", isa.name());
        let (got, totals) = run_winograd(c, (isa, Variant::F2_EXACT), &x, &w, &r, true);
        assert_eq!(got, want, "case {i} with totals on {}", isa.name());
        for o in 0..c.outputs {
            let all = (0..go.pixels()).map(|p| exact[p * go.pixel() + o] as i128);
            let (s, q) = all.fold((0, 0), |(s, q), v| (s + v, q + v * v));
            assert_eq!((totals[o], totals[c.outputs + o]), (s, q), "column {o} of case {i}");
        }
    }
}

/// Winograd INT8 is close to the direct convolution, and the same bits with all features.
pub fn rounded_winograd(isa: Features) {
    for (i, c) in winograd_cases().iter().enumerate() {
        let [gi, go] = c.grids();
        let taps: usize = c.axes.iter().map(|a| a.kernel).product();
        let x = quantized_values(gi.extent(), i as u64 + 1);
        let w: Vec<f32> =
            quantized_values(taps * gi.channels() * c.outputs, 77).iter().map(|v| v - 128.0).collect();
        let r = quantized_values(go.extent(), 9);
        let (want, totals) = run_winograd(c, (Features::NONE, Variant::F2_INT8), &x, &w, &r, true);
        let got = run_winograd(c, (isa, Variant::F2_INT8), &x, &w, &r, true);
        assert!(got == (want.clone(), totals.clone()), "case {i} on {}", isa.name());
        // Two roundings of seven bits: a few hundredths of the sums' spread.
        let exact = sums(c, [gi, go], &x, &w);
        let all = |f: &dyn Fn(f64) -> f64| exact.iter().map(|s| f(*s as f64)).sum::<f64>();
        let square: f64 = totals[c.outputs..].iter().map(|q| *q as f64).sum();
        let off = (square / all(&|s| s * s) - 1.0).abs();
        assert!(off < 0.05, "case {i}: squares of sums are off by {off}");
        let (direct, _) = run(c, (Features::NONE, false), &x, &w, &r, false);
        if c.output != Elem::U8 {
            let e = relative(&want, &direct);
            assert!(e < 0.04, "case {i}: {e}");
        }
    }
}

/// Sums at the ends of the range do not saturate.
pub fn extreme_sums(isa: Features) {
    // 255·-128 over a long run: pairs of such products do not fit 16 bits.
    let one = axis(1, 1, 1, 0);
    for zero in [0, 255] {
        let input = [1, 1, 1, 5, 4096];
        let (output, act) = (Elem::F32, Act::None);
        let c = Case {
            input,
            outputs: 17,
            axes: [one; 3],
            end: [0; 3],
            gap: 0,
            residual: None,
            output,
            zero,
            act,
            post: None,
        };
        let x = vec![255.0 - zero as f32; 5 * 4096];
        let (got, _) = run(&c, (isa, false), &x, &vec![-128.0; 4096 * 17], &[], false);
        let (want, _) = run(&c, (Features::NONE, false), &x, &vec![-128.0; 4096 * 17], &[], false);
        assert_eq!(got, want, "{}", isa.name());
        let sign = if zero == 0 { -1.0 } else { 1.0 };
        assert!(got.iter().all(|y| sign * y > 5000.0), "{got:?}");
    }
}

/// Depthwise convolutions, with packed weights and without.
pub fn depthwise(isa: Features) {
    for (c, k, s, d, pad, zero) in [
        (1, 3, 1, 1, 1, 0),
        (7, 3, 2, 1, 1, 128),
        (16, 5, 1, 1, 2, 255),
        (33, 3, 1, 3, 3, 3),
        (40, 5, 2, 2, 9, 77),
        (48, 3, 1, 1, 0, 200),
        (20, 7, 1, 1, 3, 9),
        (17, 7, 2, 1, 5, 130),
        (24, 5, 2, 1, 1, 64),
        (32, 4, 1, 1, 1, 64),
        (16, 3, 3, 1, 1, 64),
        (130, 3, 1, 1, 1, 200),
        (72, 5, 2, 1, 2, 31),
        (64, 7, 1, 1, 3, 128),
        (36, 7, 1, 3, 9, 40),
        (20, 13, 1, 1, 6, 255),
        (9, 6, 1, 2, 4, 0),
    ] {
        let a = axis(k, s, d, pad);
        let gi = Grid::dense([2, 1, 11, 13, c]);
        let go = Grid::dense([2, 1, out_size(11, &a, pad), out_size(13, &a, pad), c]);
        let (x, r) = (quantized_values(gi.extent(), 1), quantized_values(go.extent(), 2));
        let weights: Vec<f32> = quantized_values(k * k * c, 3).iter().map(|w| w - 128.0).collect();
        let bias = random(c, 4);
        let scale: Vec<f32> = random(c, 5).iter().map(|s| (s + 1.5) / 900.0).collect();
        for output in [Elem::U8, Elem::F32, Elem::F16] {
            let mut all = Vec::new();
            let every = [Features::NONE, isa];
            for (isa, packed) in every.into_iter().flat_map(|i| [(i, false), (i, true)]) {
                let residual = (Elem::U8, [0.25, -3.0]);
                let quantized = Some(Quantized {
                    zero_point: zero,
                    residual,
                    post: Some(Unary::Swish(1.0)),
                    output: [0.75, 50.0],
                    totals: None,
                });
                let plan = Depthwise {
                    input: gi,
                    output: go,
                    residual: Some(go),
                    axes: [axis(1, 1, 1, 0), a, a],
                    act: Act::None,
                    elems: [Elem::U8, output],
                    quantized,
                };
                let mut filters = Filters {
                    weights: weights.clone(),
                    bias: bias.clone(),
                    scale: scale.clone(),
                    ..Filters::default()
                };
                if packed {
                    plan.pack(isa, &mut filters);
                }
                let mut got = Stored::new(&vec![0.0; go.extent()], output);
                let (mut input, mut r) = (Stored::new(&x, Elem::U8), Stored::new(&r, Elem::U8));
                let p = ConvPointers { input: input.ptr(), output: got.ptr(), residual: r.ptr() };
                for i in 0..plan.items() {
                    // SAFETY: buffers have the grids' extents.
                    unsafe { plan.run(isa, i, &filters, p) };
                }
                all.push(got.values());
            }
            for i in 0..go.extent() {
                let (ch, xx, y, n) =
                    (i % c, i / c % go.dims[3], i / c / go.dims[3] % go.dims[2], i / go.strides[0]);
                let mut sum = 0;
                for t in 0..k * k {
                    let py = (y * s + t / k * d) as i64 - pad;
                    let px = (xx * s + t % k * d) as i64 - pad;
                    if (0..11).contains(&py) && (0..13).contains(&px) {
                        let at = ((n * 11 + py as usize) * 13 + px as usize) * c + ch;
                        sum += (x[at] as i64 - zero as i64) * weights[t * c + ch] as i64;
                    }
                }
                let v = sum as f64 * scale[ch] as f64 + bias[ch] as f64 + r[i] as f64 * 0.25 - 3.0;
                // The kernels' SiLU is off by up to 5e-7 of its argument.
                let silu = v / (1.0 + (-v).exp());
                let (v, e) = match output {
                    Elem::U8 => ((silu * 0.75 + 50.0).clamp(0.0, 255.0), 0.501),
                    _ => (silu, silu.abs() / 1000.0 + 5e-7 * v.abs() + 1e-5),
                };
                assert!((all[0][i] as f64 - v).abs() <= e, "{} instead of {v}", all[0][i]);
            }
            assert!(all.iter().all(|a| *a == all[0]), "{c} channels to {output:?}");
        }
    }
}

/// Normalisation to quantized values has the same bits everywhere.
pub fn normalisation(isa: Features) {
    let (c, n) = (19, 23);
    let x: Vec<f16> = random(n * 21, 1).iter().map(|v| f16::from_f32(v * 3.0)).collect();
    let r: Vec<u8> = quantized_values(n * 20, 2).iter().map(|v| *v as u8).collect();
    let (scale, shift) = (random(c, 3), random(c, 4));
    let mut all: Vec<Vec<u8>> = Vec::new();
    for isa in [Features::NONE, isa] {
        let mut got = vec![7u8; n * 22];
        let args = norm::Affine {
            src: (x.as_ptr(), 21),
            dst: (got.as_mut_ptr(), 22),
            residual: (r.as_ptr(), 20),
            stored: (Elem::U8, [0.5, -60.0]),
            count: n,
            scale: &scale,
            shift: &shift,
            act: Act::Leaky(0.1),
            output: [2.0, 30.0],
        };
        // SAFETY: buffers hold n pixels of the pitches given.
        unsafe { norm::affine(isa, args) };
        all.push(got);
    }
    for i in 0..n {
        for k in 0..c {
            let y = x[i * 21 + k].to_f32() * scale[k] + shift[k] + r[i * 20 + k] as f32 * 0.5 - 60.0;
            let y = (2.0 * if y < 0.0 { 0.1 * y } else { y } + 30.0).clamp(0.0, 255.0);
            assert!((all[0][i * 22 + k] as f32 - y).abs() <= 0.501);
        }
        assert!(all[0][i * 22 + c..(i + 1) * 22].iter().all(|&v| v == 7), "between the pixels");
    }
    assert!(all.iter().all(|a| *a == all[0]));
}

/// Quantizers round ties to even and saturate.
pub fn quantizers(isa: Features) {
    let x = [
        -1e30,
        -1.25,
        -0.75,
        -0.25,
        0.0,
        0.25,
        0.75,
        1.25,
        1e30,
        f32::NAN,
        3.3,
        -3.3,
        63.5,
        64.0,
        -64.0,
        7.0,
        0.1,
    ];
    let mut got = [9u8; 17];
    let f = Unary::Quantize { scale: 0.5, zero: 129.0, low: 0.0, high: 255.0 };
    // SAFETY: both hold 17 values.
    unsafe { eltwise::unary(isa, f, x.as_ptr(), got.as_mut_ptr(), 17) };
    // Rounded to even before the zero point is added.
    let want = [0, 127, 127, 129, 129, 129, 131, 131, 255, 0, 136, 122, 255, 255, 1, 143, 129];
    assert_eq!(got, want, "{}", isa.name());
    let mut back = [0f32; 17];
    // SAFETY: as above.
    unsafe {
        eltwise::unary(
            isa,
            Unary::Dequantize { scale: 0.5, zero: 129.0 },
            got.as_ptr(),
            back.as_mut_ptr(),
            17,
        )
    };
    assert_eq!(back[1], -1.0);
    assert_eq!(back[12], 63.0);
}
