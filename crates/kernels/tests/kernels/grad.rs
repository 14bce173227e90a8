//! Kernels of gradients with every set of features against plain loops.

use crate::common::{error, random};
use ampoule_kernels::grad::norm::{Back, Map, accumulate, back, forward, sums};
use ampoule_kernels::grad::weight::{WeightGradient, weight_gradient};
use ampoule_kernels::grad::{Curve, pool::MaxPoolBackward};
use ampoule_kernels::{Features, Grid, conv::Axis};

pub fn products_are_summed_over_positions(isa: Features) {
    for (m, n) in [(1, 1), (3, 16), (9, 5), (14, 32), (15, 33), (27, 70), (48, 16), (6, 31), (2, 64)] {
        let (rows, count) = (3, 5);
        let (a_step, b_step) = (m + 2, n + 3);
        let (a_row, b_row) = (count * a_step + 7, count * b_step);
        let a = random(rows * a_row + m, 1);
        let b = random(rows * b_row + n, 2);
        let before = random(m * (n + 1), 3);
        let mut acc = before.clone();
        let args = WeightGradient {
            a: a.as_ptr(),
            a_row,
            a_step,
            b: b.as_ptr(),
            b_row,
            b_step,
            rows,
            count,
            acc: acc.as_mut_ptr(),
            acc_row: n + 1,
            m,
            n,
        };
        // SAFETY: buffers of these sizes.
        unsafe { weight_gradient(isa, args) };
        let mut want = before;
        for i in 0..m {
            for j in 0..n {
                for r in 0..rows {
                    for p in 0..count {
                        want[i * (n + 1) + j] +=
                            a[r * a_row + p * a_step + i] * b[r * b_row + p * b_step + j];
                    }
                }
            }
        }
        assert!(error(&acc, &want) < 1e-5, "{m}x{n} on {}", isa.name());
        // The column between rows of sums belongs to somebody else.
        (0..m).for_each(|i| assert_eq!(acc[i * (n + 1) + n], want[i * (n + 1) + n]));
    }
}

const CURVES: [Curve; 12] = [
    Curve::None,
    Curve::Leaky(0.0),
    Curve::Leaky(0.1),
    Curve::Clamp(-0.5, 0.7),
    Curve::Sigmoid,
    Curve::Tanh,
    Curve::Swish(1.0),
    Curve::HardSwish,
    Curve::HardSigmoid(0.2, 0.5),
    Curve::Mish,
    Curve::Gelu,
    Curve::Elu(1.3),
];

pub fn slopes_are_differences_of_values(isa: Features) {
    for curve in CURVES {
        // Away from kinks, on both sides of all of them.
        let x: Vec<f32> = (-23..24).map(|i| i as f32 * 0.211 + 0.017).collect();
        let n = x.len();
        let (one, zero) = (vec![1.0; n], vec![0.0; n]);
        let value = |d: f32| {
            let moved: Vec<f32> = x.iter().map(|v| v + d).collect();
            let mut y = vec![0.0; n];
            let map = Map { x: moved.as_ptr(), count: 1, scale: &one, shift: &zero, curve };
            // SAFETY: buffers of n values.
            unsafe { forward(isa, map, y.as_mut_ptr()) };
            y
        };
        let (high, low) = (value(4e-3), value(-4e-3));
        let want: Vec<f32> = high.iter().zip(&low).map(|(a, b)| (a - b) / 8e-3).collect();
        let map = Map { x: x.as_ptr(), count: 1, scale: &one, shift: &zero, curve };
        let mut dx = vec![0.0; n];
        let args =
            Back { map, dy: one.as_ptr(), dx: dx.as_mut_ptr(), add: false, terms: [&one, &zero, &zero] };
        // SAFETY: buffers of n values.
        unsafe { back(isa, args) };
        assert!(error(&dx, &want) < 2e-3, "{curve:?} on {}: {dx:?} {want:?}", isa.name());
    }
}

pub fn maps_go_there_and_back_over_any_channels(isa: Features) {
    for (count, c) in [(1, 1), (300, 3), (5, 16), (7, 33), (600, 20)] {
        let curve = Curve::Leaky(0.1);
        let (x, dy) = (random(count * c, 1), random(count * c, 2));
        let (scale, shift) = (random(c, 3), random(c, 4));
        let map = Map { x: x.as_ptr(), count, scale: &scale, shift: &shift, curve };
        let (mut s, mut p) = (vec![0.5; c], vec![0.25; c]);
        // SAFETY: buffers of count · c values.
        unsafe { sums(isa, map, dy.as_ptr(), &mut s, &mut p) };
        let terms = [random(c, 5), random(c, 6), random(c, 7)];
        let mut dx = random(count * c, 8);
        let before = dx.clone();
        let args = Back {
            map,
            dy: dy.as_ptr(),
            dx: dx.as_mut_ptr(),
            add: true,
            terms: [&terms[0], &terms[1], &terms[2]],
        };
        // SAFETY: as above.
        unsafe { back(isa, args) };
        let (mut want_s, mut want_p, mut want) = (vec![0.5; c], vec![0.25; c], before);
        for i in 0..count * c {
            let k = i % c;
            let slope = if x[i] * scale[k] + shift[k] > 0.0 { 1.0 } else { 0.1 };
            let g = dy[i] * slope;
            want_s[k] += g as f64;
            want_p[k] += (g * x[i]) as f64;
            want[i] += g * terms[0][k] + x[i] * terms[1][k] + terms[2][k];
        }
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(near(&s, &want_s) && near(&p, &want_p), "{count}x{c} on {}", isa.name());
        assert!(error(&dx, &want) < 1e-5);
        let mut sum = random(count * c, 9);
        let want: Vec<f32> = sum.iter().zip(&x).map(|(a, b)| a + 0.5 * b).collect();
        // SAFETY: as above.
        unsafe { accumulate(isa, sum.as_mut_ptr(), x.as_ptr(), 0.5, count * c) };
        assert!(error(&sum, &want) < 1e-6);
    }
}

pub fn pooling_gives_to_the_first_largest(isa: Features) {
    let axis = |kernel, stride, pad| Axis { kernel, stride, dilation: 1, pad };
    for (kernel, stride, pad, size, out) in [(2, 2, 0, 6, 3), (3, 2, 1, 7, 4), (3, 1, 1, 5, 5)] {
        for c in [1, 5, 16, 18] {
            let (input, output) = (Grid::dense([2, 1, size, size, c]), Grid::dense([2, 1, out, out, c]));
            // Few levels, so that there are equals.
            let x: Vec<f32> = random(input.extent(), 1).iter().map(|v| (v * 3.0).round()).collect();
            let dy = random(output.extent(), 2);
            let axes = [axis(1, 1, 0), axis(kernel, stride, pad), axis(kernel, stride, pad)];
            let (mut y, mut want) = (vec![0.0; output.extent()], vec![0f32; input.extent()]);
            for n in 0..2 {
                for o in 0..out * out * c {
                    let (oy, ox, k) = (o / (out * c), o / c % out, o % c);
                    let mut best: Option<(f32, usize)> = None;
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let (iy, ix) = ((oy * stride + ky) as i64 - pad, (ox * stride + kx) as i64 - pad);
                            if (0..size as i64).contains(&iy) && (0..size as i64).contains(&ix) {
                                let at = ((n * size + iy as usize) * size + ix as usize) * c + k;
                                if best.is_none_or(|b| x[at] > b.0) {
                                    best = Some((x[at], at));
                                }
                            }
                        }
                    }
                    let (top, at) = best.unwrap();
                    y[n * out * out * c + o] = top;
                    want[at] += dy[n * out * out * c + o];
                }
            }
            let mut dx = vec![0.0; input.extent()];
            let plan = MaxPoolBackward { input, output, axes };
            for n in 0..2 {
                // SAFETY: buffers of the grids.
                unsafe { plan.run(isa, n, [x.as_ptr(), y.as_ptr(), dy.as_ptr()], dx.as_mut_ptr()) };
            }
            assert!(error(&dx, &want) < 1e-6, "{kernel}/{stride} with {c} on {}", isa.name());
        }
    }
}
