//! Matrix products, attention and chains of functions over operands that lie in any way, against plain loops, with
//! every set of CPU features.

use ampoule_kernels::eltwise::{Binary, Unary};
use ampoule_kernels::softmax::{Change, Rounding};
use ampoule_kernels::{Elem, Element, Features, bf16, gemm};
use ampoule_runtime::run::attention::{self, Attention};
use ampoule_runtime::run::chain::{self, Call, Chain, Operand};
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::run::matmul::{self, MatMul};
use ampoule_runtime::view::{Home, channels_last, row_major};
use ampoule_runtime::{Area, Cpu, Pool, View};
use ampoule_testing::{random, tiers};

/// Element `[i, j]` of a matrix in `x`, from `at` on.
fn element(x: &[f32], at: usize, [row, column]: [usize; 2], i: usize, j: usize) -> f64 {
    x[at + i * row + j * column] as f64
}

#[test]
fn products_take_operands_that_lie_in_any_way() {
    for isa in tiers() {
        for (m, k, n, turned) in [(1, 1, 1, false), (5, 7, 9, true), (300, 33, 25, false), (13, 64, 50, true)]
        {
            product(isa, [m, k, n], turned);
        }
    }
}

fn product(isa: Features, [m, k, n]: [usize; 3], turned: bool) {
    // Two products by one right matrix; rows of left and result lie apart, the right one may be transposed.
    let (a_row, c_row) = (k + 3, n + 2);
    let b = if turned { [1, k + 1] } else { [n + 1, 1] };
    let left = random(2 * m * a_row, 1);
    let right = random((k + 1) * (n + 1), 2);
    let panels = gemm::panels(isa, gemm::operand(isa, Elem::F32), n, 0);
    let batch = vec![(2, [m * a_row, 0, m * c_row])];
    let plan = MatMul { m, k, n, a_row, b, c_row, batch, panels };
    let pool = Pool::new(3);
    let mut got = vec![f32::NAN; 2 * m * c_row];
    matmul::run(
        Cpu::new(&pool, isa),
        &plan,
        [Area::from(&left[..]), Area::from(&right[..])],
        Area::from(&mut got[..]),
    );
    for (e, i, j) in (0..2).flat_map(|e| (0..m).flat_map(move |i| (0..n).map(move |j| (e, i, j)))) {
        let want: f64 = (0..k)
            .map(|t| element(&left, e * m * a_row, [a_row, 1], i, t) * element(&right, 0, b, t, j))
            .sum();
        let found = got[e * m * c_row + i * c_row + j] as f64;
        assert!((found - want).abs() < 1e-4, "{found} instead of {want} on {}", isa.name());
    }
    let between = (0..2 * m).flat_map(|r| (n..c_row).map(move |j| r * c_row + j));
    assert!(between.into_iter().all(|i| got[i].is_nan()), "something was written between rows");
}

#[test]
fn attention_is_two_products_and_a_softmax() {
    for isa in tiers() {
        for (rows, keys, width, values) in
            [(1, 1, 1, 1), (7, 5, 3, 4), (75, 49, 32, 32), (300, 197, 8, 20), (3, 1030, 16, 5)]
        {
            for rounded in [false, true] {
                attend(isa, [rows, keys, width, values], rounded);
            }
        }
    }
}

fn rounding(scale: f32) -> Rounding {
    Rounding { scale, zero: 3.0, range: [0.0, 255.0] }
}

fn round(r: &Rounding, x: f64) -> f64 {
    let q = ((x as f32 / r.scale).round_ties_even() + r.zero).clamp(r.range[0], r.range[1]);
    ((q - r.zero) * r.scale) as f64
}

fn attend(isa: Features, [rows, keys, width, values]: [usize; 4], rounded: bool) {
    // Two heads side by side in rows of queries, keys and values; a bias of each head and one number for each row.
    let heads = 2;
    let (q_row, v_row) = (heads * width + 1, heads * values);
    let [q, k, v] = [(rows * q_row, 1), (keys * q_row, 2), (keys * v_row, 3)].map(|(n, s)| random(n, s));
    let bias = random(heads * rows * keys, 4);
    let number = random(rows, 5);
    let changes = match rounded {
        false => vec![Change::Times(1.5), Change::Plus(0), Change::Plus(1)],
        true => vec![Change::Rounded(rounding(0.01)), Change::Plus(0), Change::Times(0.7), Change::Plus(1)],
    };
    let operand = gemm::operand(isa, Elem::F32);
    let plan = Attention {
        rows,
        keys,
        width,
        values,
        query_row: q_row,
        key: [1, q_row],
        value: [v_row, 1],
        out_row: v_row,
        biases: vec![[keys, 1], [1, 0]],
        changes: changes.clone(),
        rounding: rounded.then(|| rounding(1.0 / 240.0)),
        batch: vec![(heads, [width, width, values, values, rows * keys, 0])],
        panels: [keys, values].map(|c| gemm::panels(isa, operand, c, 0)),
    };
    let pool = Pool::new(3);
    let mut got = vec![f32::NAN; rows * v_row];
    let mut scratch = vec![0f32; plan.scratch() * pool.threads()];
    let inputs = [&q, &k, &v, &bias, &number].map(|x| Area::from(&x[..]));
    attention::run(
        Cpu::new(&pool, isa),
        &plan,
        &inputs,
        Area::from(&mut got[..]),
        Area::from(&mut scratch[..]),
    );
    for (h, i) in (0..heads).flat_map(|h| (0..rows).map(move |i| (h, i))) {
        let score = |j: usize| {
            let mut s: f64 = (0..width)
                .map(|t| q[h * width + i * q_row + t] as f64 * k[h * width + j * q_row + t] as f64)
                .sum();
            for change in &changes {
                s = match change {
                    Change::Times(f) => s * *f as f64,
                    Change::Plus(0) => s + bias[(h * rows + i) * keys + j] as f64,
                    Change::Plus(_) => s + number[i] as f64,
                    Change::Rounded(r) => round(r, s),
                };
            }
            s
        };
        let scores: Vec<f64> = (0..keys).map(score).collect();
        let top = scores.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
        let weight = |s: &f64| {
            let w = (s - top).exp() / sum;
            plan.rounding.as_ref().map_or(w, |r| round(r, w))
        };
        let weights: Vec<f64> = scores.iter().map(weight).collect();
        for c in 0..values {
            let want: f64 = (0..keys).map(|j| weights[j] * v[h * values + j * v_row + c] as f64).sum();
            let found = got[h * values + i * v_row + c] as f64;
            // A score that lies between two rounded ones may become either.
            let most = if rounded { 3e-2 } else { 2e-5 };
            assert!((found - want).abs() < most, "{found} instead of {want} on {}", isa.name());
        }
    }
}

#[test]
fn chains_match_one_function_after_another() {
    for isa in tiers() {
        for dims in [vec![1, 3, 5, 7], vec![2, 40, 9, 11], vec![1, 1, 1, 3000], vec![1, 5, 1, 1]] {
            for elem in [Elem::F32, Elem::Bf16, Elem::U8] {
                chained(isa, &dims, elem);
            }
        }
    }
}

/// `1 - 2·relu(x + c)·y` over channels-last `x`, a number `c` for each channel, and row-major `y`.
fn chained(isa: Features, dims: &[usize], elem: Elem) {
    let len: usize = dims.iter().product();
    let view =
        |home, elem, strides| View { home: Home::Arena(home), elem, offset: 0, dims: dims.to_vec(), strides };
    let (scale, zero) = (0.0625, 100.0);
    let bytes: Vec<u8> = random(len, 1).iter().map(|v| (v * 60.0 + zero) as u8).collect();
    let halves: Vec<bf16> = random(len, 1).into_iter().map(bf16::of).collect();
    let floats = random(len, 1);
    // Values of `x` where they lie.
    let value = |i: usize| match elem {
        Elem::U8 => (bytes[i] as f32 - zero) * scale,
        Elem::Bf16 => halves[i].get(),
        Elem::F32 | Elem::F16 => floats[i],
    };
    let (c, y) = (random(dims[1], 2), random(len, 3));
    let ([c_stored, y_stored], out_elem) = match elem {
        Elem::Bf16 => ([Elem::Bf16; 2], Elem::Bf16),
        Elem::F32 | Elem::U8 | Elem::F16 => ([Elem::F32; 2], elem),
    };
    let [ch, yh] = [&c, &y].map(|v| v.iter().map(|v| bf16::of(*v)).collect::<Vec<bf16>>());
    let last = channels_last(dims, dims[1]);
    let views = [
        view(0, elem, last.clone()),
        view(1, c_stored, vec![0, 1, 0, 0]),
        view(2, y_stored, row_major(dims)),
        view(3, out_elem, last),
    ];
    let loops = Loops::new(&views.iter().collect::<Vec<_>>());
    let dequantize = Unary::Dequantize { scale, zero };
    let quantize = Unary::Quantize { scale: 0.05, zero: 120.0, low: 0.0, high: 255.0 };
    let plan = Chain {
        calls: vec![
            Call::Binary(Binary::Add, Operand::Read(1)),
            Call::Unary(Unary::Leaky(0.0)),
            Call::Binary(Binary::Mul, Operand::Read(2)),
            Call::Binary(Binary::Mul, Operand::Number(2.0)),
            Call::Reversed(Binary::Sub, Operand::Number(1.0)),
        ],
        dequantize: vec![(elem == Elem::U8).then_some(dequantize), None, None],
        quantize: (out_elem == Elem::U8).then_some(quantize),
    };
    let pool = Pool::new(3);
    let cpu = Cpu::new(&pool, isa);
    let got: Vec<f32> = match elem {
        Elem::U8 => {
            let mut out = vec![0u8; len];
            let x = [Area::from(&bytes[..]), Area::from(&c[..]), Area::from(&y[..])];
            chain::run(cpu, &plan, &loops, &x, Area::from(&mut out[..]));
            out.iter().map(|v| (*v as f32 - 120.0) * 0.05).collect()
        }
        Elem::Bf16 => {
            let mut out = vec![bf16::of(0.0); len];
            let x = [&halves, &ch, &yh].map(|v| Area::from(&v[..]));
            chain::run(cpu, &plan, &loops, &x, Area::from(&mut out[..]));
            out.iter().map(|v| v.get()).collect()
        }
        Elem::F32 | Elem::F16 => {
            let mut out = vec![0f32; len];
            let x = [&floats, &c, &y].map(|v| Area::from(&v[..]));
            chain::run(cpu, &plan, &loops, &x, Area::from(&mut out[..]));
            out
        }
    };
    let [n, channels, h, w] = dims else { panic!("four axes") };
    for (b, k, i, j) in (0..*n).flat_map(|b| {
        (0..*channels).flat_map(move |k| (0..*h).flat_map(move |i| (0..*w).map(move |j| (b, k, i, j))))
    }) {
        let at = ((b * h + i) * w + j) * channels + k;
        let (c, y) = (c[k], y[((b * channels + k) * h + i) * w + j]);
        let want = 1.0 - 2.0 * (value(at) + c).max(0.0) * y;
        // What bytes can hold.
        let want = if out_elem == Elem::U8 { want.clamp(-6.0, 6.75) } else { want };
        let most = match elem {
            Elem::U8 => 0.026,
            Elem::Bf16 => 0.06,
            Elem::F32 | Elem::F16 => 1e-6,
        };
        assert!(
            (got[at] - want).abs() <= most,
            "{} instead of {want} in {elem:?} on {}",
            got[at],
            isa.name()
        );
    }
}
