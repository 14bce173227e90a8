//! What convolutions read: patches of their inputs over calibration cases, a bounded sample of them.

use crate::quantize::Plan;
use ampoule_engine::{Observe, Observed};
use ampoule_graph::op::Window;
use ampoule_graph::{Graph, Op};
use ampoule_random::Random;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Patches kept of each layer, a multiple of [`LANES`].
const KEPT: usize = 4096;
/// Patches drawn from a tensor each time.
const DRAWN: usize = 256;
/// Values of a patch above which a layer is left alone: its sample would not fit a small machine.
const LARGEST: usize = 8192;
/// Sums are taken in this many lanes.
const LANES: usize = 16;

/// A layer whose patches are kept.
#[derive(Clone)]
struct Watched {
    /// Index of the node.
    index: usize,
    input: String,
    window: Window,
    kernel: Vec<usize>,
    /// Values of a patch: input channels × taps, in the order of the weights.
    size: usize,
}

/// Patches of one layer, one after the other, drawn evenly from all that there were.
#[derive(Default)]
struct Reservoir {
    rows: Vec<f32>,
    seen: usize,
    random: Random,
}

/// Patches of layers, as they are seen.
pub struct Patches {
    layers: Arc<Vec<Watched>>,
    seen: Arc<Mutex<HashMap<usize, Reservoir>>>,
}

/// The patches of a layer by value: `size` rows of `count` patches.
pub(crate) struct Columns {
    pub values: Vec<f32>,
    pub count: usize,
}

impl Columns {
    /// Value `k` of all patches.
    pub fn of(&self, k: usize) -> &[f32] {
        &self.values[k * self.count..(k + 1) * self.count]
    }
}

impl Patches {
    /// Watches the inputs of the plan's convolutions of one group.
    pub fn of(g: &Graph, plan: &Plan) -> Self {
        let watched = |&index: &usize| {
            let n = &g.nodes[index];
            let Op::Conv { window, group: 1 } = &n.op else { return None };
            let dims = g.constants.get(&n.input(1)?)?.dims().to_vec();
            let size = dims[1..].iter().product();
            let input = g.value(n.input(0)?).name.clone();
            (size <= LARGEST).then(|| Watched {
                index,
                input,
                window: window.clone(),
                kernel: dims[2..].to_vec(),
                size,
            })
        };
        let layers = plan.layers.iter().filter_map(watched).collect();
        Patches { layers: Arc::new(layers), seen: Arc::default() }
    }

    /// For the options of a session of the graph.
    pub fn observe(&self) -> Observe {
        let mut names: Vec<String> = self.layers.iter().map(|l| l.input.clone()).collect();
        names.sort();
        names.dedup();
        let (layers, seen) = (self.layers.clone(), self.seen.clone());
        let sink = move |v: &Observed<'_>| {
            let values = v.to_vec();
            for layer in layers.iter().filter(|l| l.input == v.name) {
                let mut all = seen.lock().unwrap_or_else(|e| e.into_inner());
                all.entry(layer.index).or_default().add(layer, &values, v.dims());
            }
        };
        Observe { names: Arc::new(names), sink: Arc::new(sink) }
    }

    /// The patches of node `index`, padded with zeros to whole lanes; `None` if there were none.
    pub(crate) fn columns(&self, index: usize) -> Option<Columns> {
        let layer = self.layers.iter().find(|l| l.index == index)?;
        let seen = self.seen.lock().unwrap_or_else(|e| e.into_inner());
        let rows = &seen.get(&index)?.rows;
        let held = rows.len() / layer.size;
        let count = held.next_multiple_of(LANES);
        let mut values = vec![0.0; layer.size * count];
        for (i, row) in rows.chunks_exact(layer.size).enumerate() {
            row.iter().enumerate().for_each(|(k, x)| values[k * count + i] = *x);
        }
        (held > 0).then_some(Columns { values, count })
    }
}

impl Reservoir {
    /// Draws patches from values in ONNX's order.
    fn add(&mut self, layer: &Watched, values: &[f32], dims: &[usize]) {
        let Ok(r) = layer.window.resolve(&dims[2..], &layer.kernel, false) else { return };
        let (spatial, channels) = (&dims[2..], dims[1]);
        let volume: usize = spatial.iter().product();
        let (outputs, taps) = (r.out.iter().product::<usize>(), layer.kernel.iter().product::<usize>());
        if outputs == 0 || volume == 0 || channels * taps != layer.size {
            return;
        }
        for _ in 0..DRAWN.min(outputs * dims[0]) {
            self.seen += 1;
            let place = match self.rows.len() / layer.size {
                held if held < KEPT => held,
                _ => match self.random.below(self.seen) {
                    place if place < KEPT => place,
                    _ => continue,
                },
            };
            let image = self.random.below(dims[0]);
            let mut output = self.random.below(outputs);
            let mut at = vec![0; spatial.len()];
            for axis in (0..spatial.len()).rev() {
                at[axis] = output % r.out[axis];
                output /= r.out[axis];
            }
            let mut patch = vec![0.0; layer.size];
            for tap in 0..taps {
                let (mut rest, mut offset, mut step, mut inside) = (tap, 0, 1, true);
                for axis in (0..spatial.len()).rev() {
                    let k = rest % layer.kernel[axis];
                    rest /= layer.kernel[axis];
                    let x = (at[axis] * r.strides[axis] + k * r.dilations[axis]) as i64 - r.begin[axis];
                    inside &= (0..spatial[axis] as i64).contains(&x);
                    offset += x.max(0) as usize * step;
                    step *= spatial[axis];
                }
                for c in (0..channels).filter(|_| inside) {
                    patch[c * taps + tap] = values[(image * channels + c) * volume + offset];
                }
            }
            self.rows.resize(self.rows.len().max((place + 1) * layer.size), 0.0);
            self.rows[place * layer.size..(place + 1) * layer.size].copy_from_slice(&patch);
        }
    }
}

/// Sum of products; both must have whole lanes.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().map(|s| *s as f64).sum()
}

/// Adds `factor · x` to `to`.
pub(crate) fn add_scaled(to: &mut [f32], factor: f32, x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(t, x)| *t += factor * x);
}
