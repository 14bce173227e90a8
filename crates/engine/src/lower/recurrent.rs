//! Recurrent layers and sampling at computed positions.

use super::{Lower, R};
use crate::step::Kind;
use ampoule_graph::op::{Cell, GridSample, Recurrent};
use ampoule_graph::{Node, ValueId};
use ampoule_kernels::conv::{Axis, Conv, Spec};
use ampoule_kernels::{Act, Elem, Grid};
use ampoule_runtime::run::conv::{Algorithm, ConvPart, ConvParts};
use ampoule_runtime::run::recurrent::Layer;
use ampoule_runtime::view::row_major;
use ampoule_runtime::{OutOfMemory, View};

impl Lower<'_> {
    /// A recurrent layer with constant weights: the products with the whole sequence at once, then one position after
    /// another.
    pub(super) fn recurrent(&mut self, n: &Node, r: &Recurrent) -> R<bool> {
        let x = self.input(n, 0)?;
        let (Some(w), Some(recurrent)) = (self.floats(n, 1), self.floats(n, 2)) else { return Ok(false) };
        let [steps, batch, size] = x.dims[..] else { return Ok(false) };
        let (hidden, rows, dirs) = (r.hidden, r.gates() * r.hidden, r.directions().len());
        let given = |i: usize, len: usize| match n.input(i) {
            None => Some(Vec::new()),
            Some(_) => self.floats(n, i).filter(|v| v.len() == len),
        };
        let state = dirs * batch * hidden;
        let (Some(bias), Some(h), Some(c)) = (given(3, 2 * dirs * rows), given(5, state), given(6, state))
        else {
            return Ok(false);
        };
        let fits = w.len() == dirs * rows * size && recurrent.len() == dirs * rows * hidden;
        let ids: Vec<Option<ValueId>> = (0..3).map(|i| n.outputs.get(i).copied().flatten()).collect();
        let floats = ids.iter().flatten().all(|id| matches!(self.elem(*id), Elem::F32 | Elem::Bf16));
        if !fits || x.is_empty() || !matches!(x.elem, Elem::F32 | Elem::Bf16) || !floats {
            return Ok(false);
        }
        let bias = if bias.is_empty() { vec![0.0; 2 * dirs * rows] } else { bias };
        // A GRU's reset gate may multiply the recurrent product with its bias; all else is added at once.
        let apart = |row: usize| matches!(r.cell, Cell::Gru { .. }) && row >= 2 * hidden;
        let own = |d: usize, row: usize| bias[2 * d * rows + row];
        let recurrent_bias = |d: usize, row: usize| bias[(2 * d + 1) * rows + row];
        let summed: Vec<f32> = (0..dirs * rows)
            .map(|i| (i / rows, i % rows))
            .map(|(d, row)| own(d, row) + if apart(row) { 0.0 } else { recurrent_bias(d, row) })
            .collect();
        let left: Vec<f32> = (0..dirs * rows)
            .map(|i| (i / rows, i % rows))
            .map(|(d, row)| if apart(row) { recurrent_bias(d, row) } else { 0.0 })
            .collect();
        let x = self.dense_rows(n, x);
        let gates = self.product_of_rows(n, x, [size, dirs * rows], &summed, |i, o| w[o * size + i])?;
        let weights = (0..dirs * hidden * rows)
            .map(|i| {
                let (d, k, row) = (i / (hidden * rows), i / rows % hidden, i % rows);
                recurrent[(d * rows + row) * hidden + k]
            })
            .collect();
        let layer = Layer { rule: *r, steps, batch, weights, bias: left, start: [h, c] };
        let macs = (steps * batch * dirs * rows * hidden) as u64;
        let mut writes = Vec::new();
        for id in ids.iter().flatten() {
            let dims = self.dims(*id)?;
            self.slices.remove(id);
            let v = self.fresh(&dims, row_major(&dims), Elem::F32);
            writes.push(v);
        }
        let given = [0, 1, 2].map(|i| ids[i].is_some());
        self.push(n, Kind::Recurrent(Box::new(layer), given), vec![gates], writes.clone(), macs);
        // States are float32 whatever the values around them are stored as.
        for (id, v) in ids.iter().flatten().zip(writes) {
            let elem = self.elem(*id);
            let v = if v.elem == elem { v } else { self.stored_as(n, v, elem) };
            self.set(*id, v);
        }
        Ok(true)
    }

    /// Dense rows of `k` values by `[k, m]` weights, with a bias, into a place of its own.
    fn product_of_rows(
        &mut self,
        n: &Node,
        x: View,
        [k, m]: [usize; 2],
        bias: &[f32],
        at: impl Fn(usize, usize) -> f32 + Sync,
    ) -> R<View> {
        let rows = x.len() / k.max(1);
        let out = self.fresh(&[rows, m], vec![m as isize, 1], Elem::F32);
        let one = Axis { kernel: 1, stride: 1, dilation: 1, pad: 0 };
        let spec = Spec {
            input: Grid::dense([1, 1, 1, rows, k]),
            output: Grid::dense([1, 1, 1, rows, m]),
            residual: None,
            axes: [one; 3],
            act: Act::None,
            elems: [x.elem, Elem::F32],
            quantized: None,
        };
        OutOfMemory::check(4 * k * m)?;
        let conv = Conv::new(spec, self.isa, true);
        let weights = self.direct_weights(&conv, [1, k, m], (Some(bias), None), |_, i, o| at(i, o));
        let algorithm = Algorithm::Direct(conv, weights);
        let parts = vec![ConvPart { algorithm, input: 0, output: 0, residual: 0, depth: [0, 1] }];
        let kind = Kind::Conv(crate::step::Convolution::plain(ConvParts::new(parts)));
        self.push(n, kind, vec![x], vec![out.clone()], (rows * k * m) as u64);
        Ok(out)
    }

    pub(super) fn grid_sample(&mut self, n: &Node, rule: &GridSample) -> R<bool> {
        let (Some(x), Some(g), Some(y)) = (n.input(0), n.input(1), n.output()) else { return Ok(false) };
        if !self.is_float(x) || !self.is_float(g) {
            return Ok(false);
        }
        let (x, positions) = (self.get(x)?, self.get(g)?);
        let fits = positions.dims.len() == x.dims.len()
            && positions.dims[0] == x.dims[0]
            && positions.dims.last() == Some(&(x.dims.len() - 2));
        if !(3..=5).contains(&x.dims.len()) || !fits || x.is_empty() || positions.is_empty() {
            return Ok(false);
        }
        let (x, _) = self.channels_last(n, x)?;
        let positions = match positions.elem {
            Elem::F32 => self.dense_rows(n, positions),
            _ => {
                let wide = self.fresh(&positions.dims.clone(), row_major(&positions.dims), Elem::F32);
                self.copy(n, positions, wide.clone());
                wide
            }
        };
        let dims = self.dims(y)?;
        let out = self.place_image(y, &dims);
        if out.elem != x.elem {
            return Ok(false);
        }
        self.set(y, out.clone());
        self.push(n, Kind::GridSample(*rule), vec![x, positions], vec![out], 0);
        Ok(true)
    }
}
