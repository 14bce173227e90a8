//! Micro-kernels called directly, at every height and some widths, against plain loops.

use crate::common::{Stored, error, random, rounded};
use ampoule_kernels::gemm::{
    Act, Epilogue, GemmArgs, MicroKernel, Operand, Requantize, Tap, micro_kernels, pack,
};
use ampoule_kernels::{Elem, Features, TileRegisters};

/// Two runs of `run` values, `GAP` values apart, make the reduction.
const TAPS: usize = 2;
/// Values between the runs of a row, and between rows.
const GAP: usize = 3;

/// A product of a tile, in float64 or as integers, before the epilogue.
struct Product {
    run: usize,
    /// Rows of A, `a_row` values apart.
    a: Vec<f32>,
    a_row: usize,
    /// `[k of both runs][column]`.
    b: Vec<f32>,
}

impl Product {
    fn new(k: &MicroKernel, run: usize, value: impl Fn(f32) -> [f32; 2]) -> Self {
        let a_row = TAPS * (run + GAP);
        let a = random(k.mr * a_row, 1).into_iter().map(|v| value(v)[0]).collect();
        let b = random(TAPS * run * k.nr, 2).into_iter().map(|v| value(v)[1]).collect();
        Product { run, a, a_row, b }
    }

    fn sum(&self, k: &MicroKernel, m: usize, n: usize) -> f64 {
        let at = |t: usize, i: usize| {
            let a = self.a[m * self.a_row + t * (self.run + GAP) + i] as f64;
            a * self.b[(t * self.run + i) * k.nr + n] as f64
        };
        (0..TAPS).flat_map(|t| (0..self.run).map(move |i| (t, i))).map(|(t, i)| at(t, i)).sum()
    }

    /// The packed panel: one after the other for the runs.
    fn packed(&self, k: &MicroKernel) -> (Vec<f32>, Vec<Tap>) {
        let mut all = Vec::new();
        let mut taps = Vec::new();
        for t in 0..TAPS {
            taps.push(Tap { a: (t * (self.run + GAP)) as isize, b: all.len() });
            let at = |i: usize, n: usize| self.b[(t * self.run + i) * k.nr + n];
            all.extend_from_slice(&pack(&[k], k.nr, self.run, at));
        }
        (all, taps)
    }
}

/// Widths of a tile that are tried.
fn widths(k: &MicroKernel) -> Vec<usize> {
    let mut list = vec![1, k.nr / 2, k.nr.saturating_sub(1), k.nr];
    list.retain(|n| *n > 0);
    list.dedup();
    list
}

/// Float kernels with every epilogue.
pub fn float_tiles(isa: Features) {
    for a in [Operand::F32, Operand::Bf16] {
        for k in micro_kernels(isa, a) {
            for run in [1, 2, 7, 33, 64, 150] {
                // Values that bfloat16 holds: then products are exact and only the output is rounded.
                let p = Product::new(k, run, |v| [rounded(&[v], Elem::Bf16)[0]; 2]);
                for m in 1..=k.mr {
                    for n in widths(k) {
                        float_tile(k, &p, [m, n]);
                    }
                }
            }
        }
    }
}

fn float_tile(k: &MicroKernel, p: &Product, [m, n]: [usize; 2]) {
    let (b, taps) = p.packed(k);
    let bias = random(k.nr, 3);
    let c_row = k.nr + 2;
    let acts = [Act::None, Act::Leaky(0.0), Act::Leaky(0.1), Act::Clamp(-0.5, 0.5)];
    for (i, act) in acts.into_iter().enumerate() {
        for elem in [Elem::F32, Elem::Bf16] {
            let residual = rounded(&random(m * c_row, 4), elem);
            let mut stored = Stored::new(&residual, elem);
            let mut input = Stored::new(&p.a, if k.a == Operand::Bf16 { Elem::Bf16 } else { Elem::F32 });
            let mut got = Stored::new(&vec![9.0; m * c_row], elem);
            let adds = i % 2 == 0;
            let args = GemmArgs {
                a: input.ptr(),
                a_row: p.a_row as isize,
                taps: &taps,
                run: p.run,
                b: b.as_ptr(),
                c: got.ptr(),
                c_row: c_row as isize,
                m,
                n,
                lines: None,
                epilogue: Epilogue {
                    bias: bias.as_ptr(),
                    residual: if adds { stored.ptr() } else { std::ptr::null() },
                    residual_row: c_row as isize,
                    act,
                    elem,
                    requantize: None,
                },
            };
            let _registers = TileRegisters::hold();
            // SAFETY: the CPU has the features, and the buffers hold the rows, runs and columns.
            unsafe { (k.run)(&args) };
            let mut want = vec![9.0; m * c_row];
            for r in 0..m {
                for c in 0..n {
                    let more = if adds { residual[r * c_row + c] } else { 0.0 };
                    want[r * c_row + c] = act.scalar(p.sum(k, r, c) as f32 + bias[c] + more);
                }
            }
            let most = if elem == Elem::F32 { 1e-5 } else { 4e-3 };
            let e = error(&got.values(), &want);
            assert!(e < most, "{} at {m}x{n}, run {}, {act:?} to {elem:?}: {e}", k.name, p.run);
        }
    }
}

/// Integer kernels, to values and to the sums themselves.
pub fn integer_tiles(isa: Features) {
    for a in [Operand::I16, Operand::U8] {
        for k in micro_kernels(isa, a) {
            for run in [1, 3, 4, 9, 70, 128, 300] {
                let p = Product::new(k, run, |v| {
                    let low = if k.a == Operand::U8 { 0.0 } else { -255.0 };
                    [(v * 255.0).round().clamp(low, 255.0), (v * 127.0).round()]
                });
                for m in 1..=k.mr {
                    for n in widths(k) {
                        integer_tile(k, &p, [m, n], false);
                    }
                    if k.nr > 1 {
                        integer_tile(k, &p, [m, k.nr], true);
                    }
                }
            }
        }
    }
}

/// With `raw` the tile stores sums, added to others.
fn integer_tile(k: &MicroKernel, p: &Product, [m, n]: [usize; 2], raw: bool) {
    let (b, taps) = p.packed(k);
    let a8: Vec<u8> = p.a.iter().map(|v| *v as u8).collect();
    let a16: Vec<i16> = p.a.iter().map(|v| *v as i16).collect();
    let bias = random(k.nr, 3);
    let scale: Vec<f32> = random(k.nr, 4).iter().map(|s| (s + 1.5) / 4096.0).collect();
    let start: Vec<i32> = (0..k.nr as i32).map(|i| 100 * i - 700).collect();
    let mut others = vec![7i32; m * k.nr];
    let mut got = vec![0f32; m * k.nr];
    let mut sums = vec![0i32; m * k.nr];
    let requantize = Requantize {
        scale: if raw { std::ptr::null() } else { scale.as_ptr() },
        start: start.as_ptr(),
        residual: (Elem::F32, [1.0, 0.0]),
        post: None,
        output: [1.0, 0.0],
        totals: [std::ptr::null_mut(); 2],
    };
    let args = GemmArgs {
        a: if k.a == Operand::U8 { a8.as_ptr() } else { a16.as_ptr().cast() },
        a_row: p.a_row as isize,
        taps: &taps,
        run: p.run,
        b: b.as_ptr(),
        c: if raw { sums.as_mut_ptr().cast() } else { got.as_mut_ptr().cast() },
        c_row: k.nr as isize,
        m,
        n,
        lines: None,
        epilogue: Epilogue {
            bias: bias.as_ptr(),
            residual: if raw { others.as_mut_ptr().cast() } else { std::ptr::null() },
            residual_row: k.nr as isize,
            act: Act::None,
            elem: Elem::F32,
            requantize: Some(requantize),
        },
    };
    let _registers = TileRegisters::hold();
    // SAFETY: the CPU has the features, and the buffers hold the rows, runs and columns.
    unsafe { (k.run)(&args) };
    for r in 0..m {
        for c in 0..n {
            let at = r * k.nr + c;
            let sum = p.sum(k, r, c) as i32 + start[c];
            if raw {
                assert_eq!(sums[at], sum + 7, "{} at {m}x{n}, run {}", k.name, p.run);
            } else {
                let want = (sum as f32).mul_add(scale[c], bias[c]);
                assert_eq!(got[at], want, "{} at {m}x{n}, run {}", k.name, p.run);
            }
        }
        for c in n..k.nr {
            assert_eq!(got[r * k.nr + c], 0.0, "{} writes beyond its columns", k.name);
        }
    }
}
