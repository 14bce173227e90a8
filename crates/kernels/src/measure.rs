//! What this CPU reaches: each micro-kernel on data in the first-level cache, and the memory
//! bandwidth. For `doctor`, for micro-benchmarks, and for the choice of features.

mod calibrate;

pub use calibrate::calibrate;

use crate::costs::DEPTH;
use crate::gemm::{Act, Epilogue, GemmArgs, MicroKernel, Requantize, Tap};
use crate::{Elem, TileRegisters};
use std::time::{Duration, Instant};

/// A micro-kernel with operands that fit the first-level cache.
pub struct Tile {
    kernel: &'static MicroKernel,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    scale: Vec<f32>,
}

impl Tile {
    /// Operands of `kernel`; `None` where the CPU lacks what it needs.
    pub fn new(kernel: &'static MicroKernel) -> Option<Self> {
        // Large enough for any type; what the bits mean does not matter to the time.
        kernel.features.supported().then(|| Tile {
            kernel,
            a: vec![0.5; kernel.mr * DEPTH],
            b: vec![0.25; kernel.nr * DEPTH],
            c: vec![0.0; kernel.mr * kernel.nr],
            scale: vec![1.0; kernel.nr],
        })
    }

    /// Multiply-accumulates of a run.
    pub fn macs(&self) -> usize {
        self.kernel.mr * self.kernel.nr * DEPTH
    }

    /// Computes the whole tile `times` times.
    pub fn run(&mut self, times: usize) {
        let kernel = self.kernel;
        let taps = [Tap { a: 0, b: 0 }];
        let requantize = Requantize {
            scale: self.scale.as_ptr(),
            start: std::ptr::null(),
            residual: (Elem::F32, [1.0, 0.0]),
            post: None,
            output: [1.0, 0.0],
            totals: [std::ptr::null_mut(); 2],
        };
        let args = GemmArgs {
            a: self.a.as_ptr().cast(),
            a_row: DEPTH as isize,
            taps: &taps,
            run: DEPTH,
            b: self.b.as_ptr(),
            c: self.c.as_mut_ptr().cast(),
            c_row: kernel.nr as isize,
            m: kernel.mr,
            n: kernel.nr,
            lines: None,
            epilogue: Epilogue {
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                residual_row: 0,
                act: Act::None,
                elem: Elem::F32,
                requantize: kernel.a.integer().then_some(requantize),
            },
        };
        let _registers = TileRegisters::hold();
        for _ in 0..times {
            // SAFETY: the CPU has the features and the buffers have the sizes that the arguments say.
            unsafe { (kernel.run)(&args) };
        }
        std::hint::black_box(&self.c);
    }
}

/// Multiply-accumulates per second of one core on `kernel`, best of several rounds that
/// last `round` each; `None` where the CPU lacks what it needs.
pub fn kernel_macs(kernel: &'static MicroKernel, round: Duration) -> Option<f64> {
    const RUNS: usize = 64;
    let mut tile = Tile::new(kernel)?;
    let mut best = 0f64;
    for _ in 0..5 {
        let (start, mut runs) = (Instant::now(), 0);
        while start.elapsed() < round {
            tile.run(RUNS);
            runs += RUNS;
        }
        best = best.max((tile.macs() * runs) as f64 / start.elapsed().as_secs_f64());
    }
    Some(best)
}

/// Bytes per second of one core streaming `a = b + s·c` over three arrays of `bytes` each, counting
/// two reads and one write; best of several rounds.
pub fn triad_bytes(bytes: usize) -> f64 {
    let n = bytes / 4;
    let (b, c) = (vec![1f32; n], vec![2f32; n]);
    let mut a = vec![0f32; n];
    let mut best = 0f64;
    for _ in 0..4 {
        let start = Instant::now();
        for ((x, y), z) in a.iter_mut().zip(&b).zip(&c) {
            *x = y + 3.0 * z;
        }
        std::hint::black_box(&a);
        best = best.max(12.0 * n as f64 / start.elapsed().as_secs_f64());
    }
    best
}
