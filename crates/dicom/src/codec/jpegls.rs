//! JPEG-LS (ITU-T T.87), lossless and near-lossless, one component.
//!
//! Variables are called as in the recommendation where it has names for them: a pixel's neighbours are `ra` (left), `rb`
//! (above), `rc` (above left), `rd` (above right).

mod bits;
mod header;

use super::markers::frame_header;
use super::{Asked, damaged, packed};
use crate::Error;
use bits::Bits;
use header::{Parameters, scan_header};

const NAME: &str = "JPEG-LS";
/// Contexts of the regular mode; two of runs follow.
const CONTEXTS: usize = 365;
/// Orders of the codes of run lengths.
const J: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

pub(super) fn decode(data: &[u8], asked: Asked) -> Result<Vec<u8>, Error> {
    let header = frame_header(NAME, data, asked)?;
    let precision = u32::from(header.precision);
    if header.kind != 0xf7 || !(2..=16).contains(&precision) || precision > 8 * asked.bytes as u32 {
        return Err(damaged(NAME, format!("its frame is of kind {:x} with {precision} bits", header.kind)));
    }
    let (parameters, scan) = scan_header(data, precision)?;
    let mut decoder = Decoder::new(parameters, Bits::new(scan));
    let width = asked.columns;
    // A place on both sides of the pixels of a line holds what stands for neighbours outside of it.
    let (mut above, mut line) = (vec![0i32; width + 2], vec![0i32; width + 2]);
    let mut pixels = Vec::with_capacity(asked.rows * width);
    for _ in 0..asked.rows {
        above[width + 1] = above[width];
        line[0] = above[1];
        decoder.line(&above, &mut line, width)?;
        pixels.extend(line[1..=width].iter().map(|&v| v as u32));
        std::mem::swap(&mut above, &mut line);
    }
    packed(NAME, pixels.into_iter(), asked)
}

/// What is known of the errors of pixels in one surrounding.
#[derive(Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

struct Decoder<'a> {
    p: Parameters,
    bits: Bits<'a>,
    contexts: Vec<Context>,
    /// Errors below 0 after runs, for both kinds of interruption.
    negative: [i32; 2],
    run_index: usize,
}

impl<'a> Decoder<'a> {
    fn new(p: Parameters, bits: Bits<'a>) -> Decoder<'a> {
        let a = 2.max((p.range + 32) / 64);
        let contexts = vec![Context { a, b: 0, c: 0, n: 1 }; CONTEXTS + 2];
        Decoder { p, bits, contexts, negative: [0; 2], run_index: 0 }
    }

    /// One line; both lines have a place before and behind their pixels.
    fn line(&mut self, above: &[i32], line: &mut [i32], width: usize) -> Result<(), Error> {
        let mut x = 1;
        while x <= width {
            let (ra, rb, rc, rd) = (line[x - 1], above[x], above[x - 1], above[x + 1]);
            let gradients = [rd - rb, rb - rc, rc - ra];
            if gradients.iter().all(|d| d.abs() <= self.p.near) {
                x += self.run(above, line, x, width)?;
            } else {
                line[x] = self.regular(gradients, [ra, rb, rc])?;
                x += 1;
            }
        }
        Ok(())
    }

    fn regular(&mut self, gradients: [i32; 3], [ra, rb, rc]: [i32; 3]) -> Result<i32, Error> {
        let q = gradients.iter().fold(0, |q, d| 9 * q + self.p.quantized(*d));
        let (sign, q) = if q < 0 { (-1, -q as usize) } else { (1, q as usize) };
        let (low, high) = (ra.min(rb), ra.max(rb));
        let predicted = if rc >= high {
            low
        } else if rc <= low {
            high
        } else {
            ra + rb - rc
        };
        let context = self.contexts[q];
        let predicted = (predicted + sign * context.c).clamp(0, self.p.max);
        let k = order(context.n, context.a);
        let mapped = self.golomb(k, self.p.limit)?;
        let half = (mapped >> 1) as i32;
        let odd = mapped & 1 == 1;
        let swapped = self.p.near == 0 && k == 0 && 2 * context.b <= -context.n;
        let error = match (swapped, odd) {
            (false, false) | (true, true) => half,
            (false, true) | (true, false) => -half - 1,
        };
        self.learn(q, error);
        Ok(self.p.restored(predicted, sign * error))
    }

    /// Counts an error in its context.
    fn learn(&mut self, q: usize, error: i32) {
        let p = &self.p;
        let c = &mut self.contexts[q];
        c.b += error * (2 * p.near + 1);
        c.a = c.a.saturating_add(error.abs());
        if c.n == p.reset {
            (c.a, c.b, c.n) = (c.a >> 1, c.b >> 1, c.n >> 1);
        }
        c.n += 1;
        if c.b <= -c.n {
            c.b = (c.b + c.n).max(1 - c.n);
            c.c = (c.c - 1).max(-128);
        } else if c.b > 0 {
            c.b = (c.b - c.n).min(0);
            c.c = (c.c + 1).min(127);
        }
    }

    /// A run of equal pixels from `x` on, with the pixel that ends it; returns how many pixels those are.
    fn run(&mut self, above: &[i32], line: &mut [i32], x: usize, width: usize) -> Result<usize, Error> {
        let (ra, left) = (line[x - 1], width + 1 - x);
        let mut count = 0;
        while count < left && self.bits.bit()? == 1 {
            let whole = 1usize << J[self.run_index];
            let taken = whole.min(left - count);
            count += taken;
            if taken == whole {
                self.run_index = (self.run_index + 1).min(31);
            }
        }
        let ended = count == left;
        if !ended {
            count += self.bits.bits(J[self.run_index])? as usize;
            if count >= left {
                return Err(damaged(NAME, "a run is longer than its line"));
            }
        }
        line[x..x + count].fill(ra);
        if ended {
            return Ok(count);
        }
        line[x + count] = self.interruption(ra, above[x + count])?;
        self.run_index = self.run_index.saturating_sub(1);
        Ok(count + 1)
    }

    /// The pixel that ends a run.
    fn interruption(&mut self, ra: i32, rb: i32) -> Result<i32, Error> {
        let same = (ra - rb).abs() <= self.p.near;
        let kind = usize::from(same);
        let context = self.contexts[CONTEXTS + kind];
        let k = order(context.n, if same { context.a + (context.n >> 1) } else { context.a });
        let mapped = self.golomb(k, self.p.limit - J[self.run_index] - 1)? as i32;
        let value = mapped + kind as i32;
        let map = value & 1;
        let size = (value + map) / 2;
        let below = k != 0 || 2 * self.negative[kind] >= context.n;
        let error = if below == (map == 1) { -size } else { size };
        let c = &mut self.contexts[CONTEXTS + kind];
        self.negative[kind] += i32::from(error < 0);
        c.a = c.a.saturating_add((mapped + 1 - kind as i32) >> 1);
        if c.n == self.p.reset {
            (c.a, c.n, self.negative[kind]) = (c.a >> 1, c.n >> 1, self.negative[kind] >> 1);
        }
        c.n += 1;
        Ok(match same {
            true => self.p.restored(ra, error),
            false => self.p.restored(rb, if ra > rb { -error } else { error }),
        })
    }

    /// A value in Golomb's code of order `k`, whose codes have at most `limit` bits.
    fn golomb(&mut self, k: u32, limit: u32) -> Result<u32, Error> {
        let most = limit - self.p.bits - 1;
        let mut zeros = 0;
        while self.bits.bit()? == 0 {
            zeros += 1;
            if zeros > most {
                return Err(damaged(NAME, "a code is too long"));
            }
        }
        let value = match zeros < most {
            true => (zeros << k) + self.bits.bits(k)?,
            false => self.bits.bits(self.p.bits)? + 1,
        };
        match value > 2 * self.p.range as u32 {
            true => Err(damaged(NAME, "an error is larger than its range")),
            false => Ok(value),
        }
    }
}

/// The order of the code for errors that sum up to `a` in `n` pixels.
fn order(n: i32, a: i32) -> u32 {
    (0..24).find(|k| i64::from(n) << k >= i64::from(a)).unwrap_or(24)
}
