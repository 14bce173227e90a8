//! Where values of the graph lie in the network's order, and layers that only move values.

use super::{Building, R, last};
use crate::error::LayerError;
use crate::layer::rearrange::{FILL, Rearrange};
use crate::layer::{Dims, Layer, len};
use crate::net::Placed;
use ampoule_graph::{Node, Op, Tensor, ValueId, eval};

/// Most values of a layer that moves them one by one.
const MOST: usize = 1 << 27;

/// Sizes of a value of the graph as the network holds it: images channels-last, all else in the graph's order.
pub(super) fn storage(dims: &[usize]) -> Dims {
    match last(dims) {
        Ok(d) => d,
        Err(_) => {
            let inner = dims.last().copied().unwrap_or(1);
            let first = if dims.len() > 1 { dims[0] } else { 1 };
            let rest = dims.iter().product::<usize>() / (first * inner).max(1);
            [first, 1, 1, rest, inner]
        }
    }
}

/// For every element of a value in the graph's order its place in the network.
pub(super) fn places(dims: &[usize]) -> Vec<u32> {
    let n: usize = dims.iter().product();
    if !(3..=5).contains(&dims.len()) {
        return (0..n as u32).collect();
    }
    let (channels, pixels) = (dims[1], dims[2..].iter().product::<usize>());
    let place = |i: usize| {
        let (image, rest) = (i / (channels * pixels), i % (channels * pixels));
        let (channel, pixel) = (rest / pixels, rest % pixels);
        ((image * pixels + pixel) * channels + channel) as u32
    };
    (0..n).map(place).collect()
}

impl Building<'_> {
    /// Sizes of a value of the graph.
    pub(super) fn sizes(&self, v: ValueId) -> R<Vec<usize>> {
        let dims = self.graph.value(v).dims().ok_or_else(|| self.unknown_size(v))?;
        match dims.iter().product::<usize>() {
            n if n <= MOST => Ok(dims),
            _ => Err(LayerError::TooLarge { value: self.graph.value(v).name.clone() }),
        }
    }

    /// A layer whose output is no value of the graph.
    pub(super) fn push(
        &mut self,
        n: &Node,
        layer: Box<dyn Layer>,
        inputs: Vec<usize>,
        dims: Dims,
        trains: bool,
    ) -> usize {
        let output = self.value(dims);
        let name = self.graph.node_name(n).to_owned();
        self.layers.push(Placed { name, layer, inputs, output, trains });
        output
    }

    /// Values of `inputs` at other places; none of a layer where nothing moves.
    pub(super) fn moved(
        &mut self,
        n: &Node,
        inputs: Vec<usize>,
        from: Vec<u32>,
        fill: f32,
        dims: Dims,
    ) -> usize {
        let sizes: Vec<usize> = inputs.iter().map(|&v| len(&self.values[v])).collect();
        if let [x] = inputs[..]
            && self.values[x] == dims
            && from.iter().enumerate().all(|(i, f)| i == *f as usize)
        {
            return x;
        }
        self.push(n, Box::new(Rearrange { from, sizes, fill }), inputs, dims, false)
    }

    /// Value `x` of the graph's sizes `dims`, transposed by `perm` and in that order, as `[1, 1, 1, rows, columns]`.
    pub(super) fn unrolled(
        &mut self,
        n: &Node,
        x: usize,
        dims: &[usize],
        perm: &[usize],
        columns: usize,
    ) -> usize {
        let own = places(dims);
        let total = own.len();
        let mut steps = vec![1; dims.len()];
        for i in (1..dims.len()).rev() {
            steps[i - 1] = steps[i] * dims[i];
        }
        let mut at = vec![0usize; perm.len()];
        let mut from = Vec::with_capacity(total);
        for _ in 0..total {
            let i: usize = at.iter().zip(perm).map(|(a, p)| a * steps[*p]).sum();
            from.push(own[i]);
            for k in (0..perm.len()).rev() {
                at[k] += 1;
                if at[k] < dims[perm[k]] {
                    break;
                }
                at[k] = 0;
            }
        }
        let rows = total / columns.max(1);
        self.moved(n, vec![x], from, 0.0, [rows, 1, 1, 1, columns])
    }

    /// Makes `rows`, which holds the elements of `y` in the order of its axes `perm`, the value `y`.
    pub(super) fn rolled(&mut self, n: &Node, rows: usize, y: ValueId, perm: &[usize]) -> R<()> {
        let dims = self.sizes(y)?;
        // Where each element of y, in the graph's order, lies among the rows.
        let mut steps = vec![1; dims.len()];
        let mut step = 1;
        for &p in perm.iter().rev() {
            steps[p] = step;
            step *= dims[p];
        }
        let to = places(&dims);
        let mut from = vec![0u32; to.len()];
        let mut at = vec![0usize; dims.len()];
        for place in &to {
            from[*place as usize] = at.iter().zip(&steps).map(|(a, s)| a * s).sum::<usize>() as u32;
            for k in (0..dims.len()).rev() {
                at[k] += 1;
                if at[k] < dims[k] {
                    break;
                }
                at[k] = 0;
            }
        }
        let value = self.moved(n, vec![rows], from, 0.0, storage(&dims));
        self.at.insert(y, value);
        Ok(())
    }

    /// Value `x` of the graph's sizes `from`, repeated to the sizes `to` as broadcasting does.
    pub(super) fn broadcast(&mut self, n: &Node, x: usize, from: &[usize], to: &[usize]) -> usize {
        let own = places(from);
        let rank = to.len();
        let mut steps = vec![0; rank];
        let mut step = 1;
        for i in (0..from.len()).rev() {
            if from[i] != 1 {
                steps[rank - from.len() + i] = step;
            }
            step *= from[i];
        }
        let places = places(to);
        let mut list = vec![0u32; places.len()];
        let mut at = vec![0usize; rank];
        for place in &places {
            let i: usize = at.iter().zip(&steps).map(|(a, s)| a * s).sum();
            list[*place as usize] = own[i];
            for k in (0..rank).rev() {
                at[k] += 1;
                if at[k] < to[k] {
                    break;
                }
                at[k] = 0;
            }
        }
        self.moved(n, vec![x], list, 0.0, storage(to))
    }

    /// An operator that only moves values, whatever it does: the reference says it, run on the places themselves.
    pub(super) fn relocate(&mut self, n: &Node) -> R<()> {
        let (mut args, mut inputs, mut own) = (Vec::new(), Vec::new(), Vec::new());
        let mut fill = 0.0;
        for (k, v) in n.inputs.iter().enumerate() {
            let Some(v) = v else {
                args.push(None);
                continue;
            };
            // What is joined are values, all else but the first input says how they are moved.
            let joins = matches!(n.op, Op::Concat { .. });
            if let Some(t) = self.graph.constants.get(v).filter(|_| !joins) {
                args.push(Some(t.clone()));
                continue;
            }
            let (x, dims) = self.operand(n, k)?;
            let first = own.len() as i64;
            let count = dims.iter().product::<usize>() as i64;
            args.push(Some(Tensor::i64(&dims, &(first..first + count).collect::<Vec<_>>())));
            let start: usize = inputs.iter().map(|&v: &usize| len(&self.values[v])).sum();
            own.extend(places(&dims).into_iter().map(|p| p + start as u32));
            inputs.push(x);
        }
        if matches!(n.op, Op::Pad { .. }) {
            fill = self.floats(n.input(2)).and_then(|v| v.first().copied()).unwrap_or(0.0);
            args.resize(4.min(n.inputs.len().max(3)), None);
            args[2] = Some(Tensor::i64(&[], &[-1]));
        }
        let outs = eval::node(&n.op, &args, n.outputs.len())?;
        for (y, t) in n.outputs.iter().zip(outs) {
            let Some(y) = y else { continue };
            let dims = self.sizes(*y)?;
            let sources = t.to_i64().ok_or(LayerError::Attributes)?;
            let mut from = vec![FILL; sources.len()];
            for (place, source) in places(&dims).into_iter().zip(sources) {
                if let Ok(i) = usize::try_from(source) {
                    from[place as usize] = own[i];
                }
            }
            let value = self.moved(n, inputs.clone(), from, fill, storage(&dims));
            self.at.insert(*y, value);
        }
        Ok(())
    }
}
