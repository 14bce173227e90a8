//! Generic kernels (pooling, normalisation, element-wise functions, softmax, resampling) with every set of
//! features against plain float64 formulas.

use crate::common::{Stored, error, random, rounded};
use ampoule_kernels::Features;
use ampoule_kernels::conv::{Axis, ConvPointers};
use ampoule_kernels::eltwise::{self, Binary, Unary};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::layer_norm::{Rows, layer_norm};
use ampoule_kernels::pool::{Pool, PoolKind};
use ampoule_kernels::reduce::{self, Fold};
use ampoule_kernels::resize::{Resize, Samples};
use ampoule_kernels::{Elem, Element, Grid, bf16, norm, softmax};

fn erf(x: f64) -> f64 {
    // Simpson's rule on the definition.
    let n = 2000;
    let h = x / n as f64;
    let f = |t: f64| (-t * t).exp();
    let s: f64 = (0..=n)
        .map(|i| {
            f(i as f64 * h)
                * if i == 0 || i == n {
                    1.0
                } else if i % 2 == 1 {
                    4.0
                } else {
                    2.0
                }
        })
        .sum();
    s * h / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
}

fn reference(f: Unary, x: f64) -> f64 {
    let sig = |x: f64| 1.0 / (1.0 + (-x).exp());
    match f {
        Unary::Leaky(s) => {
            if x < 0.0 {
                s as f64 * x
            } else {
                x
            }
        }
        Unary::Clamp(a, b) => x.clamp(a as f64, b as f64),
        Unary::Sigmoid => sig(x),
        Unary::Tanh => x.tanh(),
        Unary::Swish(a) => x * sig(a as f64 * x),
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::HardSigmoid(a, b) => (a as f64 * x + b as f64).clamp(0.0, 1.0),
        Unary::Mish => x * x.exp().ln_1p().tanh(),
        Unary::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
        Unary::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Unary::Erf => erf(x),
        Unary::Exp => x.exp(),
        Unary::Elu(a) => {
            if x < 0.0 {
                a as f64 * x.exp_m1()
            } else {
                x
            }
        }
        Unary::Sqrt => x.sqrt(),
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Quantize { scale, zero, low, high } => {
            ((x as f32 / scale).round_ties_even() + zero).clamp(low, high) as f64
        }
        Unary::Dequantize { scale, zero } => ((x as f32 - zero) * scale) as f64,
    }
}

pub fn unary_functions(isa: Features) {
    let all = [
        Unary::Leaky(0.1),
        Unary::Clamp(-0.3, 2.0),
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Swish(1.0),
        Unary::Swish(1.7),
        Unary::HardSwish,
        Unary::HardSigmoid(0.2, 0.5),
        Unary::Mish,
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::Erf,
        Unary::Exp,
        Unary::Elu(1.3),
        Unary::Sqrt,
        Unary::Neg,
        Unary::Abs,
        Unary::Reciprocal,
        Unary::Quantize { scale: 0.037, zero: 7.0, low: 0.0, high: 255.0 },
        Unary::Dequantize { scale: 0.037, zero: 7.0 },
    ];
    let mut x: Vec<f32> = random(600, 1).iter().map(|v| v * 12.0).collect();
    x.extend([0.0, 1e-4, -1e-4, 1e-3, 0.29, 0.31, -0.49, 0.51, 20.0, -20.0, 1.0, -1.0, 3.0]);
    for f in all {
        let input: Vec<f32> = match f {
            Unary::Sqrt => x.iter().map(|v| v.abs()).collect(),
            Unary::Reciprocal => x.iter().map(|v| if v.abs() < 1e-3 { 1.0 } else { *v }).collect(),
            _ => x.clone(),
        };
        let mut got = vec![0.0; input.len()];
        // SAFETY: both have the length given.
        unsafe { eltwise::unary(isa, f, input.as_ptr(), got.as_mut_ptr(), input.len()) };
        for (&i, &g) in input.iter().zip(&got) {
            let want = reference(f, i as f64);
            // One rounding of an error function near -1, times up to 2.8.
            let fused = [Features::AVX2, Features::NEON].iter().any(|f| isa.contains(*f));
            let absolute = match f {
                Unary::Gelu if fused => 5e-7,
                Unary::Gelu => 1e-6,
                _ => 3e-7,
            };
            let tolerance = absolute + 2e-6 * want.abs();
            assert!((g as f64 - want).abs() <= tolerance, "{f:?}({i}) = {g}, {want} on {}", isa.name());
        }
    }
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 100.0, -100.0, 88.8, -88.0];
    let mut got = [0.0; 7];
    // SAFETY: both have the length given.
    unsafe { eltwise::unary(isa, Unary::Exp, special.as_ptr(), got.as_mut_ptr(), 7) };
    assert!(got[0].is_nan() && got[1] == f32::INFINITY && got[2] == 0.0, "{got:?} on {}", isa.name());
    assert!(got[3] == f32::INFINITY && got[4] < 1e-37 && got[5] == f32::INFINITY, "{got:?}");
    // SAFETY: both have the length given.
    unsafe { eltwise::unary(isa, Unary::Leaky(0.0), special.as_ptr(), got.as_mut_ptr(), 7) };
    assert!(got[0].is_nan() && got[1] == f32::INFINITY);
}

pub fn binary_functions(isa: Features) {
    let (mut a, mut b) = (random(77, 1), random(77, 2));
    a[3] = f32::NAN;
    b[4] = f32::NAN;
    for (i, x) in [(5, f32::INFINITY), (6, f32::NEG_INFINITY)] {
        (a[i], b[i]) = (x, x);
    }
    for f in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min, Binary::PRelu] {
        for scalar in [false, true] {
            let mut got = vec![0.0; 77];
            // SAFETY: all have the length given.
            unsafe { eltwise::binary(isa, f, a.as_ptr(), b.as_ptr(), scalar, got.as_mut_ptr(), 77) };
            for i in 0..77 {
                let want = f.scalar(a[i], b[if scalar { 0 } else { i }]);
                assert!(got[i] == want || (got[i].is_nan() && want.is_nan()), "{f:?} {i} on {}", isa.name());
            }
        }
    }
}

pub fn statistics_survive_a_large_mean(isa: Features) {
    for (c, pixel, count) in [(1, 1, 1000), (5, 5, 333), (16, 20, 4097), (21, 21, 70), (40, 41, 129)] {
        let mut x = random(pixel * count, 6);
        x.iter_mut().for_each(|v| *v += 1000.0);
        let shift = x[..c].to_vec();
        let (mut s, mut q) = (vec![0.0; c], vec![0.0; c]);
        // SAFETY: x has `count` pixels.
        unsafe { norm::partial_sums(isa, x.as_ptr(), pixel, count, &shift, &mut s, &mut q) };
        let (gamma, beta) = (random(c, 7), random(c, 8));
        let (scale, offset) = norm::instance_affine(count, 1e-5, &shift, &s, &q, &gamma, &beta);
        for k in 0..c {
            let v: Vec<f64> = (0..count).map(|i| x[i * pixel + k] as f64).collect();
            let mean = v.iter().sum::<f64>() / count as f64;
            let var = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
            let want = gamma[k] as f64 / (var + 1e-5).sqrt();
            assert!((scale[k] as f64 / want - 1.0).abs() < 1e-5, "scale on {}", isa.name());
            let bias = beta[k] as f64 - mean * want;
            assert!((offset[k] as f64 / bias - 1.0).abs() < 1e-5);
        }
    }
}

pub fn affine_with_residual_and_gaps(isa: Features) {
    let (c, n) = (19, 23);
    let (x, r) = (random(n * 21, 1), random(n * 20, 2));
    let (scale, shift) = (random(c, 3), random(c, 4));
    let mut got = vec![7.0; n * 22];
    let args = norm::Affine {
        src: (x.as_ptr(), 21),
        dst: (got.as_mut_ptr(), 22),
        residual: (r.as_ptr().cast(), 20),
        stored: (Elem::F32, [1.0, 0.0]),
        count: n,
        scale: &scale,
        shift: &shift,
        act: Act::Leaky(0.1),
        output: [1.0, 0.0],
    };
    // SAFETY: buffers hold n pixels of the pitches given.
    unsafe { norm::affine(isa, args) };
    for i in 0..n {
        for k in 0..c {
            let v = x[i * 21 + k] * scale[k] + shift[k] + r[i * 20 + k];
            let want = if v < 0.0 { 0.1 * v } else { v };
            assert!((got[i * 22 + k] - want).abs() < 1e-6);
        }
        assert_eq!(&got[i * 22 + c..(i + 1) * 22], [7.0; 3], "gaps are left alone");
    }
}

pub fn pooling(isa: Features) {
    let a = |kernel, stride, dilation, pad| Axis { kernel, stride, dilation, pad };
    for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AveragePadded([0, 1, 1])] {
        for c in [1, 3, 8, 16, 37] {
            let gi = Grid::dense([1, 4, 7, 9, c]);
            let axes = [a(2, 2, 1, 0), a(3, 2, 1, 1), a(3, 1, 2, 1)];
            let go = Grid::dense([1, 2, 4, 7, c]);
            let x = random(gi.extent(), 1);
            let plan = Pool { input: gi, output: go, axes, kind, elem: Elem::F32 };
            let mut got = vec![0.0; go.extent()];
            let p = ConvPointers::new(x.as_ptr(), got.as_mut_ptr(), std::ptr::null());
            for i in 0..plan.items() {
                // SAFETY: buffers have the grids' extents.
                unsafe { plan.run(isa, i, p) };
            }
            let mut want = Vec::new();
            for z in 0..2 {
                for y in 0..4 {
                    for xx in 0..7 {
                        for ch in 0..c {
                            let (mut v, mut counted) = (Vec::new(), 0);
                            for kz in 0..2 {
                                for ky in 0..3 {
                                    for kx in 0..3 {
                                        let py = (y * 2 + ky) as i64 - 1;
                                        let px = (xx + 2 * kx) as i64 - 1;
                                        counted += (py < 8 && px < 10) as usize;
                                        if (0..7).contains(&py) && (0..9).contains(&px) {
                                            let at = ((z * 2 + kz) * 7 + py as usize) * 9 + px as usize;
                                            v.push(x[at * c + ch]);
                                        }
                                    }
                                }
                            }
                            let sum: f32 = v.iter().sum();
                            want.push(match kind {
                                PoolKind::Max => v.iter().copied().fold(f32::MIN, f32::max),
                                PoolKind::Average => sum / v.len() as f32,
                                PoolKind::AveragePadded(_) => sum / counted as f32,
                            });
                        }
                    }
                }
            }
            assert!(error(&got, &want) < 1e-5, "{kind:?} {c} on {}", isa.name());
        }
    }
}

/// Scores of attention with a bias, a number for each row, and a factor between.
pub fn attention_scores(isa: Features) {
    use softmax::{Bias, Change, Scores};
    for n in [1, 7, 8, 17, 40, 300] {
        let (rows, pitch) = (5, 304);
        let x = random(rows * pitch, 1);
        let (bias, number) = (random(rows * n, 2), random(rows, 3));
        let mut got = x.clone();
        let p = got.as_mut_ptr();
        let biases =
            [Bias { at: bias.as_ptr(), row: n, column: 1 }, Bias { at: number.as_ptr(), row: 1, column: 0 }];
        let changes = [Change::Plus(0), Change::Times(9.0), Change::Plus(1)];
        let scores = Scores {
            x: (p, pitch),
            rows,
            n,
            changes: &changes,
            bias: &biases,
            rounding: None,
            dst: (p, pitch),
        };
        // SAFETY: rows of `pitch` values; biases of `n` and of one value for each row.
        unsafe { softmax::scores(isa, scores) };
        for r in 0..rows {
            let score = |i: usize| (x[r * pitch + i] + bias[r * n + i]) as f64 * 9.0 + number[r] as f64;
            let m = (0..n).map(score).fold(f64::MIN, f64::max);
            let s: f64 = (0..n).map(|i| (score(i) - m).exp()).sum();
            for i in 0..n {
                let (found, want) = (got[r * pitch + i] as f64, (score(i) - m).exp() / s);
                assert!((found - want).abs() < 3e-6, "{found} instead of {want} of {n} on {}", isa.name());
            }
        }
    }
}

pub fn softmax_rows(isa: Features) {
    for n in [1, 2, 3, 4, 5, 16, 17, 100] {
        let rows = 37;
        let x: Vec<f32> = random(rows * n, 1).iter().map(|v| v * 30.0).collect();
        let mut got = x.clone();
        let p = got.as_mut_ptr();
        // SAFETY: in place over rows·n elements.
        unsafe { softmax::softmax(isa, (p, n), (p, n), rows, n) };
        for r in 0..rows {
            let row = &x[r * n..(r + 1) * n];
            let m = row.iter().copied().fold(f32::MIN, f32::max) as f64;
            let s: f64 = row.iter().map(|&v| (v as f64 - m).exp()).sum();
            for (g, &v) in got[r * n..].iter().zip(row) {
                assert!((*g as f64 - (v as f64 - m).exp() / s).abs() < 1e-6, "{n} on {}", isa.name());
            }
        }
    }
}

/// The reduction of `values`, plainly.
fn folded(fold: Fold, values: impl Iterator<Item = f32>, shift: f32) -> f64 {
    let mapped = values.map(|x| match fold {
        Fold::Abs => x.abs() as f64,
        Fold::Square => x as f64 * x as f64,
        Fold::Exp => (x as f64 - shift as f64).exp(),
        Fold::Sum | Fold::Product | Fold::Max | Fold::Min => x as f64,
    });
    mapped.fold(fold.start(), |a, b| fold.join(a, b))
}

pub fn reductions(isa: Features) {
    for (fold, n, count) in Fold::ALL
        .iter()
        .flat_map(|f| [(1, 200), (3, 65), (16, 7), (17, 1), (37, 130), (100, 64)].map(|(n, c)| (*f, n, c)))
    {
        let step = n + 3;
        let x: Vec<f32> = random(count * step, 11).iter().map(|v| v * 0.5 + 1.0).collect();
        let what = format!("{fold:?} of {count} rows of {n} on {}", isa.name());
        let check = |got: f64, want: f64| {
            assert!((got - want).abs() <= 3e-6 * want.abs().max(1.0), "{what}: {got} instead of {want}");
        };
        let shift = random(count.max(n), 12);
        let mut acc = vec![fold.start(); n];
        let args = reduce::Columns {
            fold,
            src: x.as_ptr(),
            rows: (count, step as isize),
            shift: &shift[..n],
            acc: &mut acc,
        };
        // SAFETY: all rows are there.
        unsafe { reduce::columns(isa, args) };
        for (k, got) in acc.iter().enumerate() {
            check(*got, folded(fold, (0..count).map(|r| x[r * step + k]), shift[k]));
        }
        let mut acc = vec![fold.start(); count];
        let args = reduce::Runs {
            fold,
            src: x.as_ptr(),
            step: step as isize,
            n,
            shift: &shift[..count],
            acc: &mut acc,
        };
        // SAFETY: as above.
        unsafe { reduce::runs(isa, args) };
        for (r, got) in acc.iter().enumerate() {
            check(*got, folded(fold, (0..n).map(|k| x[r * step + k]), shift[r]));
        }
    }
    // Infinities are extremes like any, and what is not a number is kept wherever it lies.
    for (at, bad) in [(0, f32::NAN), (33, f32::NAN), (69, f32::NAN), (69, f32::NEG_INFINITY)] {
        let mut x = vec![f32::NEG_INFINITY; 70];
        x[at] = bad;
        let mut acc = [f64::NEG_INFINITY];
        let args =
            reduce::Runs { fold: Fold::Max, src: x.as_ptr(), step: 0, n: 70, shift: &[], acc: &mut acc };
        // SAFETY: one row.
        unsafe { reduce::runs(isa, args) };
        assert_eq!(acc[0].is_nan(), bad.is_nan(), "{at} on {}", isa.name());
        assert!(bad.is_nan() || acc[0] == f64::NEG_INFINITY);
    }
}

pub fn weighted_rows(isa: Features) {
    for n in [1, 5, 16, 64, 70, 131] {
        let (x, w, old) = (random(9 * n, 1), random(4, 2), random(n, 3));
        let rows = [8 * n, 0, 3 * n, 3 * n];
        for add in [false, true] {
            let mut got = old.clone();
            let args = reduce::WeightedRows {
                src: x.as_ptr(),
                rows: &rows,
                weights: &w,
                dst: got.as_mut_ptr(),
                n,
                add,
            };
            // SAFETY: all rows are there.
            unsafe { reduce::weighted_rows(isa, args) };
            for k in 0..n {
                let sum: f64 = rows.iter().zip(&w).map(|(r, w)| x[r + k] as f64 * *w as f64).sum();
                let want = sum + if add { old[k] as f64 } else { 0.0 };
                assert!((got[k] as f64 - want).abs() < 1e-5, "{n} on {}", isa.name());
            }
        }
    }
}

pub fn layer_norm_rows(isa: Features) {
    for (n, centred) in [1, 3, 8, 16, 17, 96, 100].into_iter().flat_map(|n| [(n, true), (n, false)]) {
        let count = 5;
        let x: Vec<f32> = random(count * n, 3).iter().map(|v| v * 2.0 + 50.0).collect();
        let (scale, shift) = (random(n, 4), random(n, 5));
        let mut got = vec![0f32; count * n];
        let (src, dst) = (x.as_ptr(), got.as_mut_ptr());
        let rows = Rows { src, dst, count, scale: &scale, shift: &shift, epsilon: 1e-5, centred };
        // SAFETY: buffers hold the rows.
        unsafe { layer_norm(isa, rows) };
        for (row, out) in x.chunks(n).zip(got.chunks(n)) {
            let mean = row.iter().map(|&v| v as f64).sum::<f64>() / n as f64;
            let mean = if centred { mean } else { 0.0 };
            let variance = row.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n as f64;
            for i in 0..n {
                let want =
                    (row[i] as f64 - mean) / (variance + 1e-5).sqrt() * scale[i] as f64 + shift[i] as f64;
                assert!((out[i] as f64 - want).abs() < 2e-5, "{n} {centred} on {}", isa.name());
            }
        }
    }
}

/// What a kernel makes of bfloat16 must be what it makes of the same values in float32, rounded.
fn same_as_rounded(
    isa: Features,
    what: &str,
    x: &[f32],
    outputs: usize,
    run: impl Fn(Elem, *mut u8, *mut u8),
) {
    let results = [Elem::F32, Elem::Bf16].map(|elem| {
        let mut input = Stored::new(&rounded(x, Elem::Bf16), elem);
        let mut output = Stored::new(&vec![0.0; outputs], elem);
        run(elem, input.ptr(), output.ptr());
        rounded(&output.values(), Elem::Bf16)
    });
    let [wide, half] = results;
    for (i, (a, b)) in wide.iter().zip(&half).enumerate() {
        // Flushed denormals and the order of sums may differ in the last place.
        let close = (a - b).abs() <= a.abs() / 100.0 + 1e-30 || (a.is_nan() && b.is_nan()) || a == b;
        assert!(close, "{what}[{i}] on {}: {b} instead of {a}", isa.name());
    }
}

// All blocks: buffers have the sizes that the arguments say.
#[allow(clippy::undocumented_unsafe_blocks)]
pub fn bfloat16_is_float32_rounded(isa: Features) {
    let mut x: Vec<f32> = random(37 * 21, 8).iter().map(|v| v * 5.0).collect();
    x[..5].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0]);
    let finite: Vec<f32> = x.iter().map(|v| if v.is_finite() { *v } else { 1.5 }).collect();
    let n = x.len();
    let a = |kernel, stride, pad| Axis { kernel, stride, dilation: 1, pad };
    same_as_rounded(isa, "unary", &x, n, |elem, s, d| unsafe {
        match elem {
            Elem::F32 => eltwise::unary::<f32, f32>(isa, Unary::Neg, s.cast(), d.cast(), n),
            _ => eltwise::unary::<bf16, bf16>(isa, Unary::Neg, s.cast(), d.cast(), n),
        }
    });
    same_as_rounded(isa, "binary", &x, n, |elem, s, d| unsafe {
        match elem {
            Elem::F32 => eltwise::binary::<f32>(isa, Binary::Mul, s.cast(), s.cast(), false, d.cast(), n),
            _ => eltwise::binary::<bf16>(isa, Binary::Mul, s.cast(), s.cast(), false, d.cast(), n),
        }
    });
    for (rows, width) in [(37, 21), (259, 3)] {
        same_as_rounded(isa, "softmax", &finite, n, |elem, s, d| unsafe {
            match elem {
                Elem::F32 => softmax::softmax::<f32>(isa, (s.cast(), width), (d.cast(), width), rows, width),
                _ => softmax::softmax::<bf16>(isa, (s.cast(), width), (d.cast(), width), rows, width),
            }
        });
    }
    let (scale, shift) = (random(21, 1), random(21, 2));
    same_as_rounded(isa, "layer_norm", &finite, n, |elem, s, d| unsafe {
        let (scale, shift, epsilon) = (&scale[..], &shift[..], 1e-5);
        match elem {
            Elem::F32 => layer_norm::<f32>(
                isa,
                Rows { src: s.cast(), dst: d.cast(), count: 37, scale, shift, epsilon, centred: true },
            ),
            _ => layer_norm::<bf16>(
                isa,
                Rows { src: s.cast(), dst: d.cast(), count: 37, scale, shift, epsilon, centred: true },
            ),
        }
    });
    same_as_rounded(isa, "affine", &finite, n, |elem, s, d| unsafe {
        /// Safety: the pointers are of type `E`.
        unsafe fn run<E: Element>(isa: Features, s: *const u8, d: *mut u8, [scale, shift]: [&[f32]; 2]) {
            let args = norm::Affine::<E> {
                src: (s.cast(), 21),
                dst: (d.cast(), 21),
                residual: (s, 21),
                stored: (E::ELEM, [1.0, 0.0]),
                count: 37,
                scale,
                shift,
                act: Act::Leaky(0.1),
                output: [1.0, 0.0],
            };
            unsafe { norm::affine(isa, args) };
        }
        match elem {
            Elem::F32 => run::<f32>(isa, s, d, [&scale, &shift]),
            _ => run::<bf16>(isa, s, d, [&scale, &shift]),
        }
    });
    let sums = [Elem::F32, Elem::Bf16].map(|elem| {
        let mut s = Stored::new(&rounded(&finite, Elem::Bf16), elem);
        let (mut sum, mut square) = (vec![0.0; 21], vec![0.0; 21]);
        let p = s.ptr();
        unsafe {
            match elem {
                Elem::F32 => norm::partial_sums::<f32>(isa, p.cast(), 21, 37, &shift, &mut sum, &mut square),
                _ => norm::partial_sums::<bf16>(isa, p.cast(), 21, 37, &shift, &mut sum, &mut square),
            }
        }
        (sum, square)
    });
    assert_eq!(sums[0], sums[1], "sums on {}", isa.name());
    let (gi, go) = (Grid::dense([1, 1, 7, 5, 21]), Grid::dense([1, 1, 4, 3, 21]));
    for kind in [PoolKind::Max, PoolKind::Average] {
        same_as_rounded(isa, "pool", &finite, go.extent(), |elem, s, d| {
            let axes = [a(1, 1, 0), a(3, 2, 1), a(3, 2, 1)];
            let plan = Pool { input: gi, output: go, axes, kind, elem };
            let p = ConvPointers { input: s, output: d, residual: std::ptr::null() };
            (0..plan.items()).for_each(|i| unsafe { plan.run(isa, i, p) });
        });
    }
    same_as_rounded(isa, "resize", &finite, go.extent(), |elem, s, d| {
        let samples = |n: usize, m: usize| Samples {
            width: 2,
            at: (0..2 * m).map(|i| (i * 5 + 1) % n).collect(),
            weight: (0..2 * m).map(|i| [0.75, 0.25][i % 2]).collect(),
        };
        let axes = [samples(1, 1), samples(7, 4), samples(5, 3)];
        let plan = Resize { input: gi, output: go, axes, elem };
        let mut line = vec![0.0; plan.scratch()];
        let p = ConvPointers { input: s, output: d, residual: std::ptr::null() };
        (0..plan.items()).for_each(|i| unsafe { plan.run(isa, i, p, &mut line) });
    });
}
