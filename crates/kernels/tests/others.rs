//! Pooling, normalisation, element-wise functions, softmax and resampling of every tier against
//! plain float64 formulas.

mod common;

use ampoule_kernels::conv::{Axis, ConvPointers};
use ampoule_kernels::dot::Act;
use ampoule_kernels::eltwise::{self, Binary, Unary};
use ampoule_kernels::layer_norm::{Rows, layer_norm};
use ampoule_kernels::pool::{Pool, PoolKind};
use ampoule_kernels::resize::{Resize, Samples};
use ampoule_kernels::{Grid, norm, softmax};
use common::{error, random, tiers};

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
    }
}

#[test]
fn unary_functions() {
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
    ];
    let mut x: Vec<f32> = random(600, 1).iter().map(|v| v * 12.0).collect();
    x.extend([0.0, 1e-4, -1e-4, 1e-3, 0.29, 0.31, -0.49, 0.51, 20.0, -20.0, 1.0, -1.0, 3.0]);
    for isa in tiers() {
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
                let tolerance = 3e-7 + 2e-6 * want.abs();
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
}

#[test]
fn binary_functions() {
    let (mut a, b) = (random(77, 1), random(77, 2));
    a[3] = f32::NAN;
    for isa in tiers() {
        for f in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min, Binary::PRelu]
        {
            for scalar in [false, true] {
                let mut got = vec![0.0; 77];
                // SAFETY: all have the length given.
                unsafe { eltwise::binary(isa, f, a.as_ptr(), b.as_ptr(), scalar, got.as_mut_ptr(), 77) };
                for i in 0..77 {
                    let want = f.scalar(a[i], b[if scalar { 0 } else { i }]);
                    assert!(
                        got[i] == want || (got[i].is_nan() && want.is_nan()),
                        "{f:?} {i} on {}",
                        isa.name()
                    );
                }
            }
        }
    }
}

#[test]
fn statistics_survive_a_large_mean() {
    for isa in tiers() {
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
}

#[test]
fn affine_with_residual_and_gaps() {
    for isa in tiers() {
        let (c, n) = (19, 23);
        let (x, r) = (random(n * 21, 1), random(n * 20, 2));
        let (scale, shift) = (random(c, 3), random(c, 4));
        let mut got = vec![7.0; n * 22];
        let args = norm::Affine {
            src: (x.as_ptr(), 21),
            dst: (got.as_mut_ptr(), 22),
            residual: (r.as_ptr(), 20),
            count: n,
            scale: &scale,
            shift: &shift,
            act: Act::Leaky(0.1),
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
}

#[test]
fn pooling() {
    let a = |kernel, stride, dilation, pad| Axis { kernel, stride, dilation, pad };
    for isa in tiers() {
        for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AveragePadded([0, 1, 1])] {
            for c in [1, 3, 8, 16, 37] {
                let gi = Grid::dense([1, 4, 7, 9, c]);
                let axes = [a(2, 2, 1, 0), a(3, 2, 1, 1), a(3, 1, 2, 1)];
                let go = Grid::dense([1, 2, 4, 7, c]);
                let x = random(gi.extent(), 1);
                let plan = Pool { input: gi, output: go, axes, kind };
                let mut got = vec![0.0; go.extent()];
                let p =
                    ConvPointers { input: x.as_ptr(), output: got.as_mut_ptr(), residual: std::ptr::null() };
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
}

#[test]
fn softmax_rows() {
    for isa in tiers() {
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
}

#[test]
fn layer_norm_rows() {
    for isa in tiers() {
        for n in [1, 3, 8, 16, 17, 96, 100] {
            let count = 5;
            let x: Vec<f32> = random(count * n, 3).iter().map(|v| v * 2.0 + 50.0).collect();
            let (scale, shift) = (random(n, 4), random(n, 5));
            let mut got = vec![0f32; count * n];
            let (src, dst) = (x.as_ptr(), got.as_mut_ptr());
            let rows = Rows { src, dst, count, scale: &scale, shift: &shift, epsilon: 1e-5 };
            // SAFETY: buffers hold the rows.
            unsafe { layer_norm(isa, rows) };
            for (row, out) in x.chunks(n).zip(got.chunks(n)) {
                let mean = row.iter().map(|&v| v as f64).sum::<f64>() / n as f64;
                let variance = row.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n as f64;
                for i in 0..n {
                    let want =
                        (row[i] as f64 - mean) / (variance + 1e-5).sqrt() * scale[i] as f64 + shift[i] as f64;
                    assert!((out[i] as f64 - want).abs() < 2e-5, "{n} on {}", isa.name());
                }
            }
        }
    }
}

#[test]
fn resize_blends_the_named_samples() {
    for isa in tiers() {
        for (c, gap) in [(1, 0), (5, 0), (16, 3), (21, 0)] {
            let gi = Grid::pitched([1, 2, 3, 4, c], c + gap);
            let go = Grid::dense([1, 3, 2, 5, c]);
            let axis = |n: usize, m: usize, seed: u64| {
                let w = random(m * 2, seed);
                Samples { width: 2, at: (0..m * 2).map(|i| (i * 7 + i / 2) % n).collect(), weight: w }
            };
            let plan = Resize { input: gi, output: go, axes: [axis(2, 3, 1), axis(3, 2, 2), axis(4, 5, 3)] };
            let x = random(gi.extent(), 4);
            let mut got = vec![0.0; go.extent()];
            let mut line = vec![0.0; plan.scratch()];
            let p = ConvPointers { input: x.as_ptr(), output: got.as_mut_ptr(), residual: std::ptr::null() };
            for i in 0..plan.items() {
                // SAFETY: buffers have the grids' extents.
                unsafe { plan.run(isa, i, p, &mut line) };
            }
            let mut want = Vec::new();
            let [sz, sy, sx] = &plan.axes;
            for z in 0..3 {
                for y in 0..2 {
                    for xx in 0..5 {
                        for ch in 0..c {
                            let mut s = 0.0;
                            for i in 0..2 {
                                for j in 0..2 {
                                    for k in 0..2 {
                                        let at = sz.at[z * 2 + i] * gi.strides[1]
                                            + sy.at[y * 2 + j] * gi.strides[2]
                                            + sx.at[xx * 2 + k] * gi.strides[3];
                                        s += x[at + ch]
                                            * sz.weight[z * 2 + i]
                                            * sy.weight[y * 2 + j]
                                            * sx.weight[xx * 2 + k];
                                    }
                                }
                            }
                            want.push(s);
                        }
                    }
                }
            }
            assert!(error(&got, &want) < 1e-5, "{c} channels on {}", isa.name());
        }
    }
}
