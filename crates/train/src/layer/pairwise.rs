//! Functions of two values of one size, element by element.

use super::{Backward, Forward, Layer, Reads};
use crate::machine::CHUNK;
use ampoule_graph::op::Binary;

/// `f(a, b)` element by element.
pub(crate) struct Pairwise {
    pub op: Pair,
}

/// The functions that have a way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    PRelu,
}

impl Pair {
    pub fn of(op: Binary) -> Option<Pair> {
        Some(match op {
            Binary::Add => Pair::Add,
            Binary::Sub => Pair::Sub,
            Binary::Mul => Pair::Mul,
            Binary::Div => Pair::Div,
            Binary::Pow => Pair::Pow,
            Binary::PRelu => Pair::PRelu,
            // Steps have no gradient.
            Binary::Mod { .. }
            | Binary::Equal
            | Binary::Less
            | Binary::LessOrEqual
            | Binary::Greater
            | Binary::GreaterOrEqual
            | Binary::And
            | Binary::Or
            | Binary::Xor => return None,
        })
    }

    fn value(self, a: f32, b: f32) -> f32 {
        match self {
            Pair::Add => a + b,
            Pair::Sub => a - b,
            Pair::Mul => a * b,
            Pair::Div => a / b,
            Pair::Pow => libm::powf(a, b),
            Pair::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
        }
    }

    /// Derivatives with respect to `a` and to `b`.
    fn slopes(self, a: f32, b: f32) -> [f32; 2] {
        match self {
            Pair::Add => [1.0, 1.0],
            Pair::Sub => [1.0, -1.0],
            Pair::Mul => [b, a],
            Pair::Div => [1.0 / b, -a / (b * b)],
            Pair::Pow => {
                [b * libm::powf(a, b - 1.0), if a > 0.0 { libm::powf(a, b) * libm::logf(a) } else { 0.0 }]
            }
            Pair::PRelu => {
                if a < 0.0 {
                    [b, a]
                } else {
                    [1.0, 0.0]
                }
            }
        }
    }
}

impl Layer for Pairwise {
    fn reads(&self) -> Reads {
        match self.op {
            Pair::Add | Pair::Sub => Reads::NOTHING,
            Pair::Mul | Pair::Div | Pair::Pow | Pair::PRelu => Reads::INPUTS,
        }
    }

    fn cheap(&self) -> bool {
        true
    }

    fn forward(&mut self, run: Forward) {
        let (a, b) = (run.x[0], run.x[1]);
        assert!(a.len() == run.y.len() && b.len() == run.y.len(), "values of another size");
        run.on.pool.chunks(a.len().div_ceil(CHUNK), (run.y, CHUNK), |i, y| {
            let own = i * CHUNK..i * CHUNK + y.len();
            for (y, (a, b)) in y.iter_mut().zip(a[own.clone()].iter().zip(&b[own])) {
                *y = self.op.value(*a, *b);
            }
        });
    }

    fn backward(&mut self, mut run: Backward) {
        for side in (0..2).rev() {
            let Some(add) = run.gradients.add(side) else { continue };
            let x = run.x;
            let (dy, dx) = run.gradients.separate(side);
            run.on.pool.chunks(dy.len().div_ceil(CHUNK), (dx, CHUNK), |i, dx| {
                let first = i * CHUNK;
                for (k, dx) in dx.iter_mut().enumerate() {
                    let (a, b) = match x {
                        [a, b] => (a[first + k], b[first + k]),
                        _ => (0.0, 0.0),
                    };
                    let g = dy[first + k] * self.op.slopes(a, b)[side];
                    *dx = if add { *dx + g } else { g };
                }
            });
        }
    }
}
