//! Recurrent layers, whose products with the input have been computed for all positions at once.

use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_graph::op::{Cell, Recurrent};
use ampoule_kernels::eltwise::{Unary, unary};
use ampoule_kernels::reduce::{WeightedRows, weighted_rows};
use ampoule_kernels::{Elem, Features};

/// A recurrent layer with its constant weights.
pub struct Layer {
    /// What it computes.
    pub rule: Recurrent,
    /// Positions of the sequence.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// For each direction the recurrent weights, `hidden` rows of `gates·hidden`.
    pub weights: Vec<f32>,
    /// For each direction the biases of the recurrent products.
    pub bias: Vec<f32>,
    /// Hidden states and cells to begin with, `[directions, batch, hidden]`; empty for 0.
    pub start: [Vec<f32>; 2],
}

impl Layer {
    /// Bytes of the constants.
    pub fn bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.len() + self.start.iter().map(Vec::len).sum::<usize>())
    }
}

/// The state of one sequence in one direction, and its gates.
struct State<'a> {
    layer: &'a Layer,
    isa: Features,
    weights: &'a [f32],
    bias: &'a [f32],
    rows: Vec<usize>,
    hidden: Vec<f32>,
    cell: Vec<f32>,
    sums: Vec<f32>,
}

impl State<'_> {
    /// `sums[columns] += Σ v[k] · weights[k, columns]`.
    fn product(&mut self, columns: std::ops::Range<usize>, v: &[f32]) {
        let args = WeightedRows {
            src: self.weights[columns.start..].as_ptr(),
            rows: &self.rows,
            weights: v,
            dst: self.sums[columns.clone()].as_mut_ptr(),
            n: columns.len(),
            add: true,
        };
        // SAFETY: row `k` begins at `k · gates·hidden`, and the columns lie inside it and inside the sums.
        unsafe { weighted_rows(self.isa, args) };
    }

    fn apply(&self, f: Unary, v: &mut [f32]) {
        let p = v.as_mut_ptr();
        // SAFETY: in place over the slice; the CPU has the features.
        unsafe { unary(self.isa, f, p.cast_const(), p, v.len()) };
    }

    /// Takes the gates' sums over the input of one position.
    fn step(&mut self, input: &[f32]) {
        let n = self.layer.rule.hidden;
        let all = input.len();
        self.sums.copy_from_slice(self.bias);
        let h = std::mem::take(&mut self.hidden);
        let mut gates = input.to_vec();
        self.hidden = match self.layer.rule.cell {
            Cell::Lstm => {
                self.product(0..all, &h);
                add(&mut gates, &self.sums);
                self.apply(Unary::Sigmoid, &mut gates[..3 * n]);
                self.apply(Unary::Tanh, &mut gates[3 * n..]);
                for k in 0..n {
                    self.cell[k] = gates[2 * n + k] * self.cell[k] + gates[k] * gates[3 * n + k];
                }
                let mut out = self.cell.clone();
                self.apply(Unary::Tanh, &mut out);
                out.iter_mut().zip(&gates[n..2 * n]).for_each(|(h, o)| *h *= o);
                out
            }
            Cell::Gru { linear_before_reset } => {
                let first = if linear_before_reset { all } else { 2 * n };
                self.product(0..first, &h);
                add(&mut gates[..2 * n], &self.sums[..2 * n]);
                self.apply(Unary::Sigmoid, &mut gates[..2 * n]);
                let (zr, candidate) = gates.split_at_mut(2 * n);
                let reset = &zr[n..];
                if linear_before_reset {
                    self.sums[2 * n..].iter_mut().zip(reset).for_each(|(s, r)| *s *= r);
                } else {
                    let kept: Vec<f32> = h.iter().zip(reset).map(|(h, r)| h * r).collect();
                    self.product(2 * n..all, &kept);
                }
                add(candidate, &self.sums[2 * n..]);
                self.apply(Unary::Tanh, candidate);
                (0..n).map(|k| (1.0 - zr[k]) * candidate[k] + zr[k] * h[k]).collect()
            }
            Cell::Rnn => {
                self.product(0..all, &h);
                add(&mut gates, &self.sums);
                self.apply(Unary::Tanh, &mut gates);
                gates
            }
        };
    }
}

fn add(to: &mut [f32], v: &[f32]) {
    to.iter_mut().zip(v).for_each(|(a, b)| *a += b);
}

/// Runs the layer. `x` holds for each position, sequence and direction the gates' sums over the input with their bias,
/// densely; the outputs, of which some may be missing, are dense too.
pub fn run(cpu: Cpu, layer: &Layer, x: Area, outputs: [Option<Area>; 3]) {
    let (n, rows) = (layer.rule.hidden, layer.rule.gates() * layer.rule.hidden);
    let directions = layer.rule.directions();
    let (dirs, batch, steps) = (directions.len(), layer.batch, layer.steps);
    assert!(
        layer.weights.len() == dirs * n * rows && layer.bias.len() == dirs * rows,
        "weights of another size"
    );
    assert!(
        layer.start.iter().all(|s| s.is_empty() || s.len() == dirs * batch * n),
        "states of another size"
    );
    let reads = Layout::run(steps * batch * dirs * rows);
    let sizes = [steps * dirs * batch * n, dirs * batch * n, dirs * batch * n];
    assert!(x.elem() == Elem::F32 && outputs.iter().flatten().all(|y| y.elem() == Elem::F32));
    let src: Shared<f32> = Shared::read(x.reading(&reads, 0).cast());
    let mut to: [Option<Shared<f32>>; 3] = [None; 3];
    for (i, y) in outputs.iter().enumerate() {
        if let Some(y) = y {
            let writes = Layout::run(sizes[i]);
            y.assert_disjoint(&writes, (&x, &reads));
            for (j, other) in outputs.iter().enumerate().filter(|o| o.0 != i) {
                if let Some(other) = other {
                    y.assert_disjoint(&writes, (other, &Layout::run(sizes[j])));
                }
            }
            to[i] = Some(Shared::new(y.writing(&writes, 0).cast()));
        }
    }
    let to = &to;
    cpu.pool().run(dirs * batch, &|item, _| {
        let (d, b) = (item / batch, item % batch);
        let first = |v: &Vec<f32>| match v.is_empty() {
            true => vec![0.0; n],
            false => v[item * n..(item + 1) * n].to_vec(),
        };
        let mut state = State {
            layer,
            isa: cpu.isa(),
            weights: &layer.weights[d * n * rows..(d + 1) * n * rows],
            bias: &layer.bias[d * rows..(d + 1) * rows],
            rows: (0..n).map(|k| k * rows).collect(),
            hidden: first(&layer.start[0]),
            cell: first(&layer.start[1]),
            sums: vec![0.0; rows],
        };
        // SAFETY: `n` places of an output that were checked, and that are the item's own.
        let put = |y: &Option<Shared<f32>>, at: usize, v: &[f32]| unsafe {
            if let Some(y) = y {
                std::slice::from_raw_parts_mut(y.at(at), n).copy_from_slice(v);
            }
        };
        for s in 0..steps {
            let t = if directions[d] { steps - 1 - s } else { s };
            let at = ((t * batch + b) * dirs + d) * rows;
            // SAFETY: sums that were checked, and that nobody writes.
            let input = unsafe { std::slice::from_raw_parts(src.at(at).cast_const(), rows) };
            state.step(input);
            put(&to[0], ((t * dirs + d) * batch + b) * n, &state.hidden);
        }
        put(&to[1], item * n, &state.hidden);
        put(&to[2], item * n, &state.cell);
    });
}
