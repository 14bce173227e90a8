//! Recurrent layers: LSTM, GRU and plain ones, with ONNX's default activations.

use crate::array::{Array, Inputs};
use crate::op_error::{OpError, OpResult};
use crate::shapes::{Args, Info, shaped};
use crate::{DType, Dim};

/// What a recurrent layer computes at each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Gates `i, o, f, c`.
    Lstm,
    /// Gates `z, r, h`.
    Gru {
        /// Whether the reset gate is applied after the product with the recurrent weights.
        linear_before_reset: bool,
    },
    /// One gate, tanh.
    Rnn,
}

/// In which direction a layer goes along the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    Forward,
    Reverse,
    Bidirectional,
}

/// A recurrent layer. Inputs `x [steps, batch, size], w [directions, gates·hidden, size],
/// r [directions, gates·hidden, hidden], b [directions, 2·gates·hidden], sequence lengths (none), h, c`;
/// outputs all hidden states `[steps, directions, batch, hidden]`, the last ones, and an LSTM's last cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurrent {
    /// What it computes.
    pub cell: Cell,
    /// Where it goes.
    pub direction: Direction,
    /// Size of the hidden state.
    pub hidden: usize,
}

impl Recurrent {
    /// ONNX operator type.
    pub fn name(&self) -> &'static str {
        match self.cell {
            Cell::Lstm => "LSTM",
            Cell::Gru { .. } => "GRU",
            Cell::Rnn => "RNN",
        }
    }

    /// Rows of the weights for each hidden unit.
    pub fn gates(&self) -> usize {
        match self.cell {
            Cell::Lstm => 4,
            Cell::Gru { .. } => 3,
            Cell::Rnn => 1,
        }
    }

    /// For each direction, whether it goes backwards.
    pub fn directions(&self) -> &'static [bool] {
        match self.direction {
            Direction::Forward => &[false],
            Direction::Reverse => &[true],
            Direction::Bidirectional => &[false, true],
        }
    }

    /// Most inputs and outputs.
    pub(super) fn arity(&self) -> (usize, usize) {
        if self.cell == Cell::Lstm { (7, 3) } else { (6, 2) }
    }
}

pub(super) fn shapes(args: &Args, r: &Recurrent, outputs: usize) -> OpResult<Vec<Info>> {
    let dtype = args.info(0).and_then(|x| x.dtype);
    let (d, h) = (Dim::Known(r.directions().len()), Dim::Known(r.hidden));
    let Some(x) = args.shape(0) else { return Ok(vec![shaped(dtype, None); outputs]) };
    let [steps, batch, _] = &x[..] else {
        return Err(OpError::Rank { what: "the sequence", found: x.len(), wanted: 3 });
    };
    let all = vec![steps.clone(), d.clone(), batch.clone(), h.clone()];
    let last = vec![d, batch.clone(), h];
    let each = [all, last.clone(), last];
    Ok(each.into_iter().take(outputs).map(|s| shaped(dtype, Some(s))).collect())
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// The next hidden state and cell of unit `k`. `x` and `h` are the gates' sums over the input and over the hidden
/// state, each with its bias; `old` is the hidden state before.
fn next(cell: Cell, hidden: usize, k: usize, x: &[f64], h: &[f64], old: f64, c: f64) -> (f64, f64) {
    let gate = |g: usize| x[g * hidden + k] + h[g * hidden + k];
    match cell {
        Cell::Lstm => {
            let (i, o, f) = (sigmoid(gate(0)), sigmoid(gate(1)), sigmoid(gate(2)));
            let c = f * c + i * libm::tanh(gate(3));
            (o * libm::tanh(c), c)
        }
        Cell::Gru { .. } => {
            let z = sigmoid(gate(0));
            let candidate = libm::tanh(x[2 * hidden + k] + h[2 * hidden + k]);
            ((1.0 - z) * candidate + z * old, c)
        }
        Cell::Rnn => (libm::tanh(gate(0)), c),
    }
}

/// `w [rows, n] · v + bias`.
fn product(w: &[f64], v: &[f64], bias: &[f64]) -> Vec<f64> {
    let row = |(i, b): (usize, &f64)| {
        let own = &w[i * v.len()..(i + 1) * v.len()];
        b + own.iter().zip(v).map(|(a, b)| a * b).sum::<f64>()
    };
    bias.iter().enumerate().map(row).collect()
}

/// The gates' sums over the hidden state; the reset gate of a GRU is applied to its last third.
fn recurrent_sums(r: &Recurrent, w: &[f64], bias: &[f64], x: &[f64], h: &[f64]) -> Vec<f64> {
    let n = r.hidden;
    let mut sums = product(w, h, bias);
    if let Cell::Gru { linear_before_reset } = r.cell {
        let reset: Vec<f64> = (0..n).map(|k| sigmoid(x[n + k] + sums[n + k])).collect();
        if linear_before_reset {
            (0..n).for_each(|k| sums[2 * n + k] *= reset[k]);
        } else {
            let kept: Vec<f64> = h.iter().zip(&reset).map(|(h, r)| h * r).collect();
            let last = product(&w[2 * n * n..], &kept, &bias[2 * n..]);
            sums[2 * n..].copy_from_slice(&last);
        }
    }
    sums
}

pub(super) fn recurrent(inputs: &Inputs, r: &Recurrent, outputs: usize) -> OpResult<Vec<Array>> {
    let (x, w, rec) = (inputs.required(0)?, inputs.required(1)?, inputs.required(2)?);
    let (n, rows, dirs) = (r.hidden, r.gates() * r.hidden, r.directions().len());
    let [steps, batch, size] = x.dims[..] else {
        return Err(OpError::Rank { what: "the sequence", found: x.dims.len(), wanted: 3 });
    };
    if w.dims != [dirs, rows, size] || rec.dims != [dirs, rows, n] {
        return Err(OpError::Weights);
    }
    let given = |i: usize, len: usize| match inputs.get(i) {
        None => Ok(vec![0.0; len]),
        Some(a) if a.len() == len => Ok(a.floats()),
        Some(_) => Err(OpError::Parameters),
    };
    let bias = given(3, dirs * 2 * rows)?;
    let (mut h, mut c) = (given(5, dirs * batch * n)?, given(6, dirs * batch * n)?);
    let (xs, ws, rs) = (x.floats(), w.floats(), rec.floats());
    let mut all = vec![0.0; steps * dirs * batch * n];
    for (d, backwards) in r.directions().iter().enumerate() {
        let (w, rec) = (&ws[d * rows * size..][..rows * size], &rs[d * rows * n..][..rows * n]);
        let (own, recurrent) = bias[d * 2 * rows..][..2 * rows].split_at(rows);
        for (s, b) in (0..steps).flat_map(|s| (0..batch).map(move |b| (s, b))) {
            let t = if *backwards { steps - 1 - s } else { s };
            let at = (d * batch + b) * n;
            let gates = product(w, &xs[(t * batch + b) * size..][..size], own);
            let old = h[at..at + n].to_vec();
            let sums = recurrent_sums(r, rec, recurrent, &gates, &old);
            for k in 0..n {
                (h[at + k], c[at + k]) = next(r.cell, n, k, &gates, &sums, old[k], c[at + k]);
                all[((t * dirs + d) * batch + b) * n + k] = h[at + k];
            }
        }
    }
    let dtype: DType = x.dtype;
    let last = vec![dirs, batch, n];
    let each = [
        Array::float(dtype, vec![steps, dirs, batch, n], all),
        Array::float(dtype, last.clone(), h),
        Array::float(dtype, last, c),
    ];
    Ok(each.into_iter().take(outputs).collect())
}
