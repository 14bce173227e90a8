//! Convolutions with every set of features against plain loops.

use crate::common::{ELEMS, Stored, error, random, relative, rounded};
use ampoule_kernels::conv::{
    Axis, Conv, ConvPointers, How, Prologue, Spec, Split, Stored as StoredAs, Weights, phases,
    subtract_zero_point, widen,
};
use ampoule_kernels::depthwise::{Depthwise, Filters};
use ampoule_kernels::eltwise::{self, Unary};
use ampoule_kernels::gemm::{Act, Operand, micro_kernels, operand, panels};
use ampoule_kernels::winograd::{Operands, Shape, Variant, Winograd};
use ampoule_kernels::{Elem, FEATURE_SETS, Features, Grid, bf16, serial};

struct Case {
    input: [usize; 5],
    outputs: usize,
    axes: [Axis; 3],
    end: [i64; 3],
    /// Extra elements between pixels of input, output and residual.
    gap: usize,
    residual: bool,
    act: Act,
}

fn axis(kernel: usize, stride: usize, dilation: usize, pad: i64) -> Axis {
    Axis { kernel, stride, dilation, pad }
}

fn out_size(size: usize, a: &Axis, end: i64) -> usize {
    let span = ((a.kernel - 1) * a.dilation + 1) as i64;
    ((size as i64 + a.pad + end - span) / a.stride as i64 + 1) as usize
}

/// Plain loops: `weights[tap][input][output]`.
fn naive(c: &Case, gi: &Grid, go: &Grid, x: &[f32], w: &[f32], bias: &[f32], r: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; go.extent()];
    let [n, d, h, wd, m] = go.dims;
    let ci = gi.channels();
    for b in 0..n {
        for z in 0..d {
            for y in 0..h {
                for xx in 0..wd {
                    for o in 0..m {
                        let mut sum = bias[o] as f64;
                        let mut t = 0;
                        for kz in 0..c.axes[0].kernel {
                            for ky in 0..c.axes[1].kernel {
                                for kx in 0..c.axes[2].kernel {
                                    let k = [kz, ky, kx];
                                    let at: Vec<i64> = [z, y, xx]
                                        .iter()
                                        .enumerate()
                                        .map(|(i, &q)| {
                                            (q * c.axes[i].stride + k[i] * c.axes[i].dilation) as i64
                                                - c.axes[i].pad
                                        })
                                        .collect();
                                    if (0..3).all(|i| (0..gi.dims[i + 1] as i64).contains(&at[i])) {
                                        let p = b * gi.strides[0]
                                            + at[0] as usize * gi.strides[1]
                                            + at[1] as usize * gi.strides[2]
                                            + at[2] as usize * gi.strides[3];
                                        for i in 0..ci {
                                            sum += x[p + i] as f64 * w[(t * ci + i) * m + o] as f64;
                                        }
                                    }
                                    t += 1;
                                }
                            }
                        }
                        let p =
                            b * go.strides[0] + z * go.strides[1] + y * go.strides[2] + xx * go.strides[3];
                        let sum = sum as f32 + if c.residual { r[p + o] } else { 0.0 };
                        out[p + o] = c.act.scalar(sum);
                    }
                }
            }
        }
    }
    out
}

fn cases() -> Vec<Case> {
    let one = axis(1, 1, 1, 0);
    let k3 = axis(3, 1, 1, 1);
    let mut list = Vec::new();
    let mut add = |input, outputs, axes: [Axis; 3], end, gap, residual, act| {
        list.push(Case { input, outputs, axes, end, gap, residual, act })
    };
    // Column tails around every vector width, 3D "same" convolutions.
    for outputs in [1, 2, 7, 8, 9, 15, 16, 17, 21, 24, 31, 32, 33, 42, 48, 49, 64, 84] {
        add([1, 3, 4, 19, 5], outputs, [k3; 3], [1; 3], 0, false, Act::Leaky(0.01));
    }
    // Row tails around every tile height, 2D.
    for w in [1, 2, 3, 4, 5, 8, 9, 10, 13, 14, 15, 23, 24, 25, 29] {
        add([2, 1, 5, w, 3], 18, [one, k3, k3], [0, 1, 1], 0, true, Act::None);
    }
    // Few columns over long runs: thin tiles, with tails of rows and of the reduction.
    for (outputs, ci) in [(1, 13), (2, 32), (3, 17), (4, 16)] {
        add([1, 3, 4, 19, ci], outputs, [k3; 3], [1; 3], 0, true, Act::Leaky(0.1));
        add([2, 1, 3, 5, 3 * ci], outputs, [one; 3], [0; 3], 2, false, Act::None);
    }
    // Strides, asymmetric pads, dilation larger than the input, negative pad, concat slices.
    add([1, 9, 10, 11, 4], 20, [axis(3, 2, 1, 1); 3], [1; 3], 0, false, Act::Clamp(0.0, 6.0));
    add([1, 7, 9, 8, 1], 16, [axis(7, 2, 1, 3); 3], [3; 3], 0, false, Act::None);
    add([1, 6, 6, 9, 2], 5, [axis(3, 1, 4, 4); 3], [4; 3], 3, true, Act::Leaky(0.0));
    add([1, 1, 8, 9, 6], 12, [one, axis(3, 1, 1, 0), axis(3, 1, 1, 2)], [0, 2, 0], 2, false, Act::None);
    add([1, 1, 9, 9, 3], 8, [one, axis(2, 1, 1, -1), axis(2, 1, 1, -2)], [0, 0, -1], 0, false, Act::None);
    add([1, 1, 6, 40, 3], 8, [one, axis(4, 3, 2, 3), axis(5, 2, 3, 4)], [0, 2, 5], 5, true, Act::None);
    // Pointwise: flattened when dense, not when strided.
    add([2, 3, 5, 7, 33], 35, [one; 3], [0; 3], 0, true, Act::Leaky(0.2));
    add([2, 3, 5, 7, 33], 35, [one; 3], [0; 3], 4, true, Act::Leaky(0.2));
    add([1, 1, 8, 8, 16], 24, [one, axis(1, 2, 1, 0), axis(1, 2, 1, 0)], [0; 3], 0, false, Act::None);
    // A GEMM with one row, and one long enough to be cut along w.
    add([1, 1, 1, 1, 300], 130, [one; 3], [0; 3], 0, false, Act::None);
    add([1, 1, 1, 5000, 3], 4, [one; 3], [0; 3], 0, false, Act::None);
    list
}

/// Largest error allowed for an output of type `elem` whose sums are exact to float32.
fn allowed(elem: Elem) -> f32 {
    match elem {
        Elem::F32 => 2e-5,
        _ => 4e-3,
    }
}

/// Input, weights (`[tap][input][output]`), bias and residual.
type Values<'a> = [&'a [f32]; 4];

/// Grids of input and output.
fn grids(c: &Case) -> [Grid; 2] {
    let [n, d, h, w, ci] = c.input;
    let sizes = [d, h, w];
    let out: Vec<usize> = (0..3).map(|k| out_size(sizes[k], &c.axes[k], c.end[k])).collect();
    let output = [n, out[0], out[1], out[2], c.outputs];
    [Grid::pitched(c.input, ci + c.gap), Grid::pitched(output, c.outputs + c.gap)]
}

/// What a convolution that is planned as `how` says gives.
fn run(c: &Case, isa: Features, how: How, elems: [Elem; 2], [x, w, bias, r]: Values) -> Vec<f32> {
    let [input, output] = grids(c);
    let (residual, ci) = (c.residual.then_some(output), input.channels());
    let spec = Spec { input, output, residual, axes: c.axes, act: c.act, elems, quantized: None };
    let conv = Conv::planned(spec, isa, how);
    let at = |t: usize, a: usize, b: usize| w[(t * ci + a) * c.outputs + b];
    let sizes = [c.axes.iter().map(|a| a.kernel).product(), ci, c.outputs];
    let weights = Weights::pack(conv.panels(isa), sizes, Some(bias), &serial, at);
    let mut got = Stored::new(&vec![0.0; output.extent()], elems[1]);
    let (mut x, mut r) = (Stored::new(x, elems[0]), Stored::new(r, elems[1]));
    let p = ConvPointers { input: x.ptr(), output: got.ptr(), residual: r.ptr() };
    let (mut taps, mut scratch) = (Vec::new(), vec![f32::NAN; conv.scratch()]);
    for item in 0..conv.items() {
        // SAFETY: buffers have the grids' extents.
        unsafe { conv.run(item, &weights, p, (&mut taps, scratch.as_mut_ptr()), None, None) };
    }
    got.values()
}

/// Direct convolutions of every kind, from their input as it lies and from copies with its pads.
pub fn convolutions(isa: Features) {
    for (i, c) in cases().iter().enumerate() {
        let [gi, go] = grids(c);
        let taps: usize = c.axes.iter().map(|a| a.kernel).product();
        // Inputs and weights that either type holds exactly: then only the output is rounded.
        let x = rounded(&random(gi.extent(), i as u64 + 1), Elem::Bf16);
        let wv = rounded(&random(taps * gi.channels() * c.outputs, 77), Elem::Bf16);
        let bias = random(c.outputs, 5);
        let r = rounded(&random(go.extent(), 9), Elem::Bf16);
        let want = naive(c, &gi, &go, &x, &wv, &bias, &r);
        for (elems, padded) in ELEMS.into_iter().flat_map(|e| [(e, false), (e, true)]) {
            let how = How { merge: true, padded: Some(padded), ..How::default() };
            let e = error(&run(c, isa, how, elems, [&x, &wv, &bias, &r]), &want);
            assert!(e < allowed(elems[1]), "case {i} {elems:?} padded {padded} on {}: {e}", isa.name());
        }
    }
}

/// Convolutions of float32 values that are stored as bytes: a function and a quantizer of what they are otherwise.
pub fn stored_convolutions(isa: Features) {
    for (i, c) in cases().iter().enumerate().filter(|(_, c)| !c.residual) {
        let [gi, go] = grids(c);
        let taps: usize = c.axes.iter().map(|a| a.kernel).product();
        let x = random(gi.extent(), i as u64 + 1);
        let (wv, bias) = (random(taps * gi.channels() * c.outputs, 77), random(c.outputs, 5));
        let post = (i % 2 == 0).then_some(Unary::Tanh);
        let quantizer = Unary::Quantize { scale: 0.02, zero: 100.0, low: 0.0, high: 255.0 };
        for padded in [false, true] {
            let values = [&x[..], &wv, &bias, &[]];
            let how = How { merge: true, padded: Some(padded), ..How::default() };
            let mut floats = run(c, isa, how, [Elem::F32; 2], values);
            let how = How { stored: Some(StoredAs { post, quantizer }), ..how };
            let got = run(c, isa, how, [Elem::F32, Elem::U8], values);
            let (n, mut want) = (floats.len(), vec![0u8; floats.len()]);
            // SAFETY: both hold so many values.
            unsafe {
                if let Some(f) = post {
                    let at = floats.as_mut_ptr();
                    eltwise::unary::<f32, f32>(isa, f, at, at, n);
                }
                eltwise::unary::<f32, u8>(isa, quantizer, floats.as_ptr(), want.as_mut_ptr(), n);
            }
            // Between pixels nothing is stored.
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                let inside = at % go.pixel() < c.outputs;
                let want = if inside { *want as f32 } else { 0.0 };
                assert_eq!(*got, want, "case {i} padded {padded} at {at} on {}", isa.name());
            }
        }
    }
}

/// Convolutions of float32 values split into bfloat16 terms: nearly those of float32, with a prologue where the case is
/// pointwise, on every set that multiplies bfloat16.
pub fn split_convolutions(isa: Features) {
    if micro_kernels(isa, Operand::Bf16).next().is_none() {
        return;
    }
    for (i, c) in cases().iter().enumerate() {
        let gi = Grid::pitched(c.input, c.input[4] + c.gap);
        let [_, d, h, w, ci] = c.input;
        let out: Vec<usize> =
            [d, h, w].iter().zip(&c.axes).zip(c.end).map(|((s, a), e)| out_size(*s, a, e)).collect();
        let go = Grid::pitched([c.input[0], out[0], out[1], out[2], c.outputs], c.outputs + c.gap);
        let taps: usize = c.axes.iter().map(|a| a.kernel).product();
        let (x, wv) = (random(gi.extent(), i as u64 + 1), random(taps * ci * c.outputs, 77));
        let (bias, r) = (random(c.outputs, 5), random(go.extent(), 9));
        let (scale, shift, act) = (random(ci, 21), random(ci, 22), Act::Leaky(0.3));
        let prepared = taps == 1 && c.axes.iter().all(|a| a.pad == 0);
        let prologue = prepared.then_some(Prologue { scale: &scale, shift: &shift, act });
        let mut seen = x.clone();
        for pixel in seen.chunks_mut(gi.pixel()).filter(|_| prepared) {
            for k in 0..ci {
                pixel[k] = act.scalar(pixel[k].mul_add(scale[k], shift[k]));
            }
        }
        let want = naive(c, &gi, &go, &seen, &wv, &bias, &r);
        for (split, most) in [(Split::One, 8e-3), (Split::Three, 3e-6)] {
            let residual = c.residual.then_some(go);
            let elems = [Elem::F32; 2];
            let spec =
                Spec { input: gi, output: go, residual, axes: c.axes, act: c.act, elems, quantized: None };
            let how = How { merge: true, prepared, split: Some(split), ..How::default() };
            let conv = Conv::planned(spec, isa, how);
            let at = |t: usize, a: usize, b: usize| wv[(t * ci + a) * c.outputs + b];
            let sizes = [taps, ci, c.outputs];
            let weights = Weights::pack_split(split, conv.panels(isa), sizes, Some(&bias), &serial, at);
            assert!(conv.accepts(&weights));
            let mut got = vec![0.0; go.extent()];
            let p = ConvPointers::new(x.as_ptr(), got.as_mut_ptr(), r.as_ptr());
            let (mut taps, mut scratch) = (Vec::new(), vec![f32::NAN; conv.scratch()]);
            for item in 0..conv.items() {
                // SAFETY: buffers have the grids' extents.
                unsafe { conv.run(item, &weights, p, (&mut taps, scratch.as_mut_ptr()), prologue, None) };
            }
            let e = error(&got, &want);
            assert!(e < most, "case {i} {split:?} on {}: {e}", isa.name());
        }
    }
}

/// Variants of minimal filtering with storage types, and the relative error allowed. bfloat16 in the transform
/// domain costs what `docs/numerics.md` says.
const VARIANTS: [(Variant, [Elem; 2], f32); 6] = [
    (Variant::F4, [Elem::F32, Elem::F32], 3e-5),
    (Variant::F4, [Elem::Bf16, Elem::Bf16], 3e-3),
    (Variant::F2, [Elem::F32, Elem::F32], 2e-5),
    (Variant::F2_BF16, [Elem::Bf16, Elem::F32], 8e-3),
    (Variant::F2_BF16, [Elem::Bf16, Elem::Bf16], 8e-3),
    (Variant::F4_BF16, [Elem::F32, Elem::Bf16], 4e-2),
];

/// Winograd convolutions of every variant.
pub fn winograd(isa: Features) {
    let one = axis(1, 1, 1, 0);
    let k3 = axis(3, 1, 1, 1);
    let mut list = Vec::new();
    let mut add = |input, outputs, axes: [Axis; 3], end, gap, residual, act, span| {
        list.push((Case { input, outputs, axes, end, gap, residual, act }, span))
    };
    // Tails of tiles, of channels in and out; depth shorter and longer than a round.
    for (w, ci, co) in [(1, 5, 3), (4, 8, 16), (6, 16, 17), (13, 17, 40), (131, 3, 8), (9, 33, 50)] {
        add([1, 3, 7, w, ci], co, [k3; 3], [1; 3], 0, true, Act::Leaky(0.01), None);
        add([2, 1, 5, w, ci], co, [one, k3, k3], [0, 1, 1], 3, false, Act::None, None);
    }
    // Many slices, several spans, no pad, uneven pads, negative pads, other depth kernels.
    add([1, 40, 8, 8, 4], 8, [k3; 3], [1; 3], 0, false, Act::Leaky(0.0), None);
    add([2, 11, 8, 9, 4], 8, [k3; 3], [1; 3], 0, false, Act::None, Some(3));
    add([1, 6, 8, 9, 4], 8, [axis(3, 1, 1, 0); 3], [0; 3], 0, false, Act::None, None);
    let wide = [axis(5, 1, 1, 3), axis(3, 1, 1, 2), axis(3, 1, 1, 0)];
    add([1, 4, 8, 9, 4], 8, wide, [1, 0, 2], 0, false, Act::Clamp(0.0, 1.0), None);
    let inner = [axis(2, 1, 1, -1), axis(3, 1, 1, -2), axis(3, 1, 1, -1)];
    add([1, 6, 12, 9, 4], 8, inner, [0, -1, 0], 0, true, Act::None, Some(2));
    // Weights beyond the cache: long rounds, columns divided among items.
    add([1, 5, 8, 8, 96], 200, [k3; 3], [1; 3], 0, false, Act::None, None);
    for (i, (c, span)) in list.iter().enumerate() {
        let gi = Grid::pitched(c.input, c.input[4] + c.gap);
        let [n, d, h, w, ci] = c.input;
        let sizes = [d, h, w];
        let out: Vec<usize> = (0..3).map(|k| out_size(sizes[k], &c.axes[k], c.end[k])).collect();
        let go = Grid::pitched([n, out[0], out[1], out[2], c.outputs], c.outputs + c.gap);
        let kd = c.axes[0].kernel;
        let x = rounded(&random(gi.extent(), i as u64 + 1), Elem::Bf16);
        let wv = rounded(&random(9 * kd * ci * c.outputs, 77), Elem::Bf16);
        let bias = random(c.outputs, 5);
        let r = rounded(&random(go.extent(), 9), Elem::Bf16);
        // Every other case has a prologue, which the reference applies beforehand.
        let (scale, shift) = (random(ci, 21), random(ci, 22));
        let act = Act::Leaky(0.3);
        let prologue = (i % 2 == 1).then_some(Prologue { scale: &scale, shift: &shift, act });
        let mut seen = x.clone();
        if prologue.is_some() {
            for pixel in seen.chunks_mut(gi.pixel()) {
                for k in 0..ci {
                    pixel[k] = act.scalar(pixel[k].mul_add(scale[k], shift[k]));
                }
            }
        }
        let want = naive(c, &gi, &go, &seen, &wv, &bias, &r);
        for (variant, elems, most) in VARIANTS {
            let residual = c.residual.then_some(go);
            let pad = c.axes.map(|a| a.pad);
            let shape = Shape {
                input: gi,
                output: go,
                residual,
                depth_taps: kd,
                pad,
                act: c.act,
                elems,
                quantized: None,
            };
            let plan = Winograd::new(isa, shape, variant);
            let weights = plan.pack(Some(&bias), &serial, |t, a, b| {
                std::array::from_fn(|k| wv[((t * 9 + k) * ci + a) * c.outputs + b])
            });
            assert_eq!(plan.items() % plan.items_per_span(), 0);
            let mut got = Stored::new(&vec![0.0; go.extent()], elems[1]);
            let (mut x, mut r) = (Stored::new(&x, elems[0]), Stored::new(&r, elems[1]));
            let p = ConvPointers { input: x.ptr(), output: got.ptr(), residual: r.ptr() };
            let mut scratch = vec![f32::NAN; plan.scratch()];
            let on = Operands { weights: &weights, prologue, pointers: p, scratch: scratch.as_mut_ptr() };
            // Some cases in pieces of a few slices, last slices first.
            let slices = go.dims[1];
            let piece = span.unwrap_or(slices);
            for z in (0..slices).step_by(piece).rev().filter(|_| span.is_some()) {
                for item in 0..n * plan.items_per_span() {
                    let item = item / plan.items_per_span() * plan.items() / n + item % plan.items_per_span();
                    let z = z..(z + piece).min(slices);
                    // SAFETY: buffers have the grids' extents.
                    unsafe { plan.run_slices(item, z, on, None) };
                }
            }
            for item in (0..plan.items()).filter(|_| span.is_none()) {
                // SAFETY: buffers have the grids' extents.
                unsafe { plan.run(item, on, None) };
            }
            let e = relative(&got.values(), &want);
            assert!(e < most, "case {i} {variant:?} {elems:?} on {}: {e}", isa.name());
        }
    }
}

/// Transposed convolutions as their phases.
pub fn transposed_convolutions(isa: Features) {
    for (kernel, stride, pad, extra, size) in
        [(3, 2, 1, 1, 5), (2, 2, 0, 0, 4), (3, 1, 1, 0, 6), (4, 2, 1, 0, 3), (3, 3, 0, 2, 4), (1, 2, 0, 1, 3)]
    {
        let out = stride * (size - 1) + extra + kernel - 2 * pad as usize;
        let (ci, co) = (3, 5);
        let x = random(size * size * ci, 3);
        let w = random(kernel * kernel * ci * co, 4);
        let mut want = vec![0f32; out * out * co];
        for y in 0..size {
            for xx in 0..size {
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let oy = (y * stride + ky) as i64 - pad;
                        let ox = (xx * stride + kx) as i64 - pad;
                        if !(0..out as i64).contains(&oy) || !(0..out as i64).contains(&ox) {
                            continue;
                        }
                        for a in 0..ci {
                            for b in 0..co {
                                want[(oy as usize * out + ox as usize) * co + b] +=
                                    x[(y * size + xx) * ci + a] * w[((ky * kernel + kx) * ci + a) * co + b];
                            }
                        }
                    }
                }
            }
        }
        let mut got = vec![f32::NAN; out * out * co];
        let gi = Grid::dense([1, 1, size, size, ci]);
        let full = Grid::dense([1, 1, out, out, co]);
        let list = phases(kernel, stride, 1, pad, out);
        for py in &list {
            for px in &list {
                let mut go = full;
                go.dims[2] = py.count;
                go.dims[3] = px.count;
                go.strides[2] *= stride;
                go.strides[3] *= stride;
                let axes = [axis(1, 1, 1, 0), py.axis, px.axis];
                let n = px.taps.len();
                let elems = [Elem::F32; 2];
                let spec = Spec {
                    input: gi,
                    output: go,
                    residual: None,
                    axes,
                    act: Act::None,
                    elems,
                    quantized: None,
                };
                let conv = Conv::new(spec, isa, true);
                let weights =
                    Weights::pack(conv.panels(isa), [py.taps.len() * n, ci, co], None, &serial, |t, a, b| {
                        w[((py.taps[t / n] * kernel + px.taps[t % n]) * ci + a) * co + b]
                    });
                let at = py.offset * full.strides[2] + px.offset * full.strides[3];
                let p = ConvPointers::new(x.as_ptr(), got[at..].as_mut_ptr(), std::ptr::null());
                for item in 0..conv.items() {
                    // SAFETY: buffers have the grids' extents.
                    unsafe {
                        conv.run(item, &weights, p, (&mut Vec::new(), std::ptr::null_mut()), None, None)
                    };
                }
            }
        }
        let e = error(&got, &want);
        assert!(e < 1e-5, "k{kernel} s{stride} p{pad} on {}: {e}", isa.name());
    }
}

/// Depthwise convolutions of floats, as any plan runs and as prepared ones do: the same bits.
pub fn depthwise(isa: Features) {
    for elem in [Elem::F32, Elem::Bf16] {
        for (c, deep, k, s, d, pad) in [
            (1, 1, 3, 1, 1, 1),
            (7, 1, 3, 2, 1, 1),
            (16, 1, 5, 1, 1, 2),
            (33, 1, 3, 1, 3, 3),
            (40, 1, 5, 2, 2, 9),
            (40, 3, 3, 1, 1, 1),
            (18, 1, 5, 2, 1, 4),
            (65, 2, 7, 1, 1, 3),
            (9, 3, 7, 2, 1, 0),
            (16, 1, 3, 1, 1, 0),
            (5, 1, 2, 1, 1, 1),
            (20, 1, 4, 1, 2, 2),
            (33, 1, 6, 1, 1, 3),
            (24, 1, 7, 1, 3, 9),
            (16, 2, 9, 1, 2, 8),
            (20, 1, 13, 1, 1, 6),
            (17, 1, 31, 1, 1, 15),
        ] {
            let a = axis(k, s, d, pad);
            let slices = axis(deep, 1, 1, deep as i64 / 2);
            let (h, w) = (11, 21);
            let gi = Grid::dense([2, 3, h, w, c]);
            let out = [out_size(3, &slices, slices.pad), out_size(h, &a, pad), out_size(w, &a, pad)];
            let go = Grid::dense([2, out[0], out[1], out[2], c]);
            let x = rounded(&random(gi.extent(), 1), elem);
            let added = rounded(&random(go.extent(), 4), elem);
            let (wv, bias) = (random(deep * k * k * c, 2), random(c, 3));
            let axes = [slices, a, a];
            let (act, elems) = (Act::Clamp(-0.5, 0.5), [elem, elem]);
            let plan =
                Depthwise { input: gi, output: go, residual: Some(go), axes, act, elems, quantized: None };
            let run = |packed: bool| {
                let mut filters = Filters { weights: wv.clone(), bias: bias.clone(), ..Filters::default() };
                if packed {
                    plan.pack(isa, &mut filters);
                }
                let mut got = Stored::new(&vec![0.0; go.extent()], elem);
                let (mut input, mut residual) = (Stored::new(&x, elem), Stored::new(&added, elem));
                let p = ConvPointers { input: input.ptr(), output: got.ptr(), residual: residual.ptr() };
                for i in 0..plan.items() {
                    // SAFETY: buffers have the grids' extents.
                    unsafe { plan.run(isa, i, &filters, p) };
                }
                got.values()
            };
            let got = run(false);
            assert_eq!(got, run(true), "{c} channels, {elem:?} on {}", isa.name());
            let want: Vec<f32> = (0..go.extent())
                .map(|i| {
                    let [n, z, y, xx, ch] = place(i, &go.dims);
                    let mut sum = bias[ch] + added[i];
                    for t in 0..deep * k * k {
                        let pz = (z + t / (k * k)) as i64 - slices.pad;
                        let py = (y * s + t / k % k * d) as i64 - pad;
                        let px = (xx * s + t % k * d) as i64 - pad;
                        let inside =
                            [(pz, 3), (py, h), (px, w)].iter().all(|&(p, n)| (0..n as i64).contains(&p));
                        if inside {
                            let at = ((n * 3 + pz as usize) * h + py as usize) * w + px as usize;
                            sum += x[at * c + ch] * wv[t * c + ch];
                        }
                    }
                    sum.clamp(-0.5, 0.5)
                })
                .collect();
            assert!(error(&got, &want) < allowed(elem), "{c} channels, {elem:?} on {}", isa.name());
        }
    }
}

/// Indices of value `i` of a dense grid.
fn place(mut i: usize, dims: &[usize; 5]) -> [usize; 5] {
    let mut at = [0; 5];
    for (at, n) in at.iter_mut().zip(dims).rev() {
        *at = i % n;
        i /= n;
    }
    at
}

/// Inputs widened for products of wider values, over tails of registers.
pub fn widened_inputs(isa: Features) {
    for n in [1, 7, 8, 15, 16, 17, 31, 32, 33, 100] {
        let x: Vec<bf16> = random(n, 1).into_iter().map(bf16::from_f32).collect();
        let mut wide = vec![7.0; n + 1];
        // SAFETY: both hold n values.
        unsafe { widen(isa, x.as_ptr(), wide.as_mut_ptr(), n) };
        assert!(wide[..n].iter().zip(&x).all(|(w, x)| *w == x.to_f32()) && wide[n] == 7.0, "{isa:?}");
        let q: Vec<u8> = (0..n).map(|i| (i * 37 % 256) as u8).collect();
        let mut centred = vec![7i16; n + 1];
        // SAFETY: as above.
        unsafe { subtract_zero_point(isa, q.as_ptr(), centred.as_mut_ptr(), n, 131) };
        assert!(centred[..n].iter().zip(&q).all(|(c, q)| *c == *q as i16 - 131), "{isa:?}");
        assert_eq!(centred[n], 7);
    }
}

#[test]
fn panels_cover_all_columns() {
    for isa in FEATURE_SETS.iter().map(|s| s.features) {
        for a in [Operand::F32, operand(isa, Elem::Bf16), operand(isa, Elem::U8)] {
            let widths: Vec<usize> = micro_kernels(isa, a).map(|k| k.nr).filter(|&n| n > 1).collect();
            assert!(widths.is_sorted() && !widths.is_empty());
            for n in 1..200 {
                let total: usize = panels(isa, a, n, 1).iter().map(|p| p.nr).sum();
                assert_eq!(total, n.div_ceil(widths[0]) * widths[0]);
            }
        }
    }
}
