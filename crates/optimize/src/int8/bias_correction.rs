//! Bias correction: rounding weights moves the mean of what a layer computes, and the bias takes that
//! back.
//!
//! The shift of a channel is the mean of `(W - Q(W)) * x` over all outputs of calibration cases,
//! with the padded inputs that there really were: computed by a second convolution with the weights'
//! rounding errors, in parallel to the layer. Formulas that put the mean of the input into every tap are
//! wrong wherever padding matters.

use crate::layer::is_quantizable;
use crate::layer::weight_axes;
use crate::quantize::{Plan, quantized_weights};
use crate::{Error, Result};
use ampoule_engine::{Observe, Observed};
use ampoule_graph::{Graph, Node, Op, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Whether the mean of what layer `index` computes matters: nothing takes it off again.
pub fn bias_correctable(g: &Graph, index: usize) -> bool {
    let n = &g.nodes[index];
    let Some(y) = n.output() else { return false };
    let bias = n.input(2).is_none_or(|b| g.constants.contains_key(&b));
    let readers: Vec<&Node> = g.nodes.iter().filter(|r| r.inputs.contains(&Some(y))).collect();
    let dead = readers.iter().all(|r| matches!(r.op, Op::InstanceNorm { .. })) && !readers.is_empty();
    is_quantizable(g, n) && !matches!(n.op, Op::MatMul) && bias && !dead && !g.outputs.is_empty()
}

/// The mean rounding errors of layers, as they are measured.
pub struct BiasCorrection {
    graph: Graph,
    /// Name of the error's value by layer index.
    names: Vec<(usize, String)>,
    /// Sums per channel, and outputs added up.
    sums: Arc<Mutex<HashMap<String, (Vec<f64>, u64)>>>,
}

impl BiasCorrection {
    /// Prepares a graph that computes the errors of the plan's layers in addition to `g`'s own values, when quantized weights
    /// are those of `rounded`, the same graph with its weights. It must be run without graph passes, which would
    /// find that nobody reads them.
    pub fn of(g: &Graph, rounded: &Graph, plan: &Plan) -> Result<Self> {
        let mut graph = g.clone();
        let mut names = Vec::new();
        for &i in plan.layers.iter().filter(|&&i| bias_correctable(g, i)) {
            let n = &g.nodes[i];
            let Some((w, t)) = n.input(1).and_then(|w| Some((w, g.constants.get(&w)?))) else { continue };
            let values = t.to_f32().ok_or_else(|| Error::not_numeric(g, w))?;
            let [axis, _] = weight_axes(&n.op);
            let own = rounded.nodes[i].input(1).and_then(|w| rounded.constants.get(&w)?.to_f32());
            let (quantized, scales) =
                quantized_weights(&own.ok_or_else(|| Error::not_constant(rounded, i, 1))?, t.dims(), axis);
            let inner: usize = t.dims()[axis + 1..].iter().product();
            let scale = |k: usize| scales[k / inner % t.dims()[axis]];
            let errors: Vec<f32> = values
                .iter()
                .zip(&quantized)
                .enumerate()
                .map(|(k, (w, q))| w - *q as f32 * scale(k))
                .collect();
            let w = graph.constant("rounding", Tensor::f32(t.dims(), &errors));
            let y = graph.fresh("shift");
            let name = graph.value(y).name.clone();
            graph.nodes.push(Node {
                name: name.clone(),
                op: n.op.clone(),
                inputs: vec![n.input(0), Some(w)],
                outputs: vec![Some(y)],
            });
            names.push((i, name));
        }
        graph.sort()?;
        Ok(BiasCorrection { graph, names, sums: Arc::default() })
    }

    /// The graph to run.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether there is nothing to correct.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// For the options of its session.
    pub fn observe(&self) -> Observe {
        let sums = self.sums.clone();
        let sink = move |v: &Observed<'_>| {
            let mut own: (Vec<f64>, u64) = Default::default();
            let rows = v.dims().first().copied().unwrap_or(1).max(1);
            let flat = !(3..=5).contains(&v.dims().len());
            v.pixels(|p| {
                let channels = if flat { p.len() / rows } else { p.len() };
                for pixel in p.chunks_exact(channels.max(1)) {
                    own.0.resize(channels, 0.0);
                    own.0.iter_mut().zip(pixel).for_each(|(s, x)| *s += *x as f64);
                    own.1 += 1;
                }
            });
            let mut all = sums.lock().unwrap_or_else(|e| e.into_inner());
            let total = all.entry(v.name.to_owned()).or_default();
            total.0.resize(own.0.len(), 0.0);
            total.0.iter_mut().zip(&own.0).for_each(|(s, x)| *s += x);
            total.1 += own.1;
        };
        Observe { names: Arc::new(self.names.iter().map(|n| n.1.clone()).collect()), sink: Arc::new(sink) }
    }

    /// `g` with corrected biases; how many layers were corrected.
    pub fn corrected(&self, g: &Graph) -> (Graph, usize) {
        let mut out = g.clone();
        let sums = self.sums.lock().unwrap_or_else(|e| e.into_inner());
        let mut count = 0;
        for (i, name) in &self.names {
            let Some((sum, n)) = sums.get(name).filter(|s| s.1 > 0) else { continue };
            let mut bias: Vec<f32> = sum.iter().map(|s| (s / *n as f64) as f32).collect();
            let node = &g.nodes[*i];
            if let Some(old) = node.input(2).and_then(|b| g.constants.get(&b)).and_then(Tensor::to_f32) {
                let len = old.len().max(1);
                bias.iter_mut().enumerate().for_each(|(c, b)| *b += old[c % len]);
            }
            let label = format!("{}/bias", g.node_name(node));
            let b = out.constant(&label, Tensor::f32(&[bias.len()], &bias));
            out.nodes[*i].inputs.resize(3, None);
            out.nodes[*i].inputs[2] = Some(b);
            count += 1;
        }
        (out, count)
    }
}
