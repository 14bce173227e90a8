//! Which tensors get quantizers.
//!
//! Every layer with constant weights that is to be computed in INT8 needs its input quantized. What
//! only moves or averages values (pooling, resampling, concatenation) is computed in INT8 too:
//! its inputs are quantized in the same way as its output, with one scale for the whole group. One
//! operand of a residual sum is quantized; the other comes out of a layer and is added before
//! it is rounded. Nothing is quantized between a layer and the normalisation after it.

use crate::layer::is_quantizable;
use ampoule_graph::op::{Binary, Quantized};
use ampoule_graph::{Graph, Op, ValueId};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which layers are computed in INT8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Every layer and residual, but not a first layer of up to three channels.
    #[default]
    Performance,
    /// Every layer and residual.
    All,
    /// First and last layers and residuals stay FP32, and activations are asymmetric.
    Mixed,
}

/// Tensors that share a scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The tensors.
    pub values: Vec<ValueId>,
}

/// The quantizers of a graph.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Indexes of the nodes that are computed in INT8.
    pub layers: Vec<usize>,
    /// Tensors with quantizers.
    pub groups: Vec<Group>,
    /// Nodes that read a quantized tensor as it was, by tensor.
    pub floats: BTreeMap<ValueId, Vec<usize>>,
}

/// Input channels below which the first layer stays float32 unless all are asked for: it is a small part of the work,
/// and its input is the image, whose every grey level counts.
const FEWEST: usize = 4;

/// The data inputs of a node that moves or averages values.
fn moved(g: &Graph, index: usize) -> Option<Vec<ValueId>> {
    let n = &g.nodes[index];
    let moves = n.op.row().quantized == Quantized::Carried;
    let inputs: Vec<ValueId> =
        n.inputs[..n.op.data_inputs(n.inputs.len())].iter().flatten().copied().collect();
    let computed = inputs.iter().all(|v| !g.constants.contains_key(v));
    (moves && computed && n.outputs.len() == 1).then_some(inputs)
}

impl Plan {
    /// The quantizers of `g`, whose layers `keep` stay as they are.
    pub fn of(g: &Graph, preset: Preset, keep: &BTreeSet<String>) -> Plan {
        let producers = g.producers();
        let mut readers = vec![Vec::new(); g.values.len()];
        for (i, n) in g.nodes.iter().enumerate() {
            n.inputs.iter().flatten().for_each(|v| readers[v.0].push(i));
        }
        let all: Vec<usize> = (0..g.nodes.len()).filter(|&i| is_quantizable(g, &g.nodes[i])).collect();
        let shallow = |i: usize| {
            let x = g.nodes[i].input(0).and_then(|x| g.value(x).shape.as_ref());
            let channels = x.and_then(|d| d.get(1).and_then(|d| d.known()));
            let image = g.nodes[i].input(0).is_some_and(|x| g.inputs.contains(&x));
            preset != Preset::All && image && channels.is_none_or(|c| c < FEWEST)
        };
        let ends = |i: usize| preset == Preset::Mixed && (Some(&i) == all.first() || all.last() == Some(&i));
        let kept = |i: usize| keep.contains(g.node_name(&g.nodes[i]));
        let layers: Vec<usize> =
            all.iter().copied().filter(|&i| !shallow(i) && !ends(i) && !kept(i)).collect();

        let mut groups = Groups::new(g.values.len());
        let mut needed = BTreeSet::new();
        let mut open: Vec<ValueId> = layers.iter().filter_map(|&i| g.nodes[i].input(0)).collect();
        if preset != Preset::Mixed {
            open.extend((0..g.nodes.len()).filter_map(|i| residual(g, i, &layers, &producers, &readers)));
        }
        while let Some(v) = open.pop() {
            if !needed.insert(v) {
                continue;
            }
            let inputs = producers[v.0].and_then(|p| moved(g, p)).unwrap_or_default();
            for x in inputs {
                groups.join(v, x);
                open.push(x);
            }
        }
        // A layer that stays float32 reads what was there before rounding.
        let mut floats: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        for v in &needed {
            for &r in &readers[v.0] {
                let out = g.nodes[r].output();
                let quantized = layers.contains(&r)
                    || matches!(g.nodes[r].op, Op::Binary(Binary::Add))
                    || (moved(g, r).is_some() && out.is_some_and(|y| needed.contains(&y)));
                if !quantized {
                    floats.entry(*v).or_default().push(r);
                }
            }
        }
        Plan { layers, groups: groups.of(&needed), floats }
    }

    /// Whether a layer reads a tensor of the group.
    pub(crate) fn feeds(&self, g: &Graph, group: &Group) -> bool {
        self.layers.iter().any(|&i| g.nodes[i].input(0).is_some_and(|x| group.values.contains(&x)))
    }

    /// Names of the tensors whose ranges calibration must see.
    pub fn tensors(&self, g: &Graph) -> Vec<String> {
        self.groups.iter().flat_map(|x| &x.values).map(|v| g.value(*v).name.clone()).collect()
    }
}

/// The operand of a residual sum that is quantized: the one that was there first. The other one comes
/// out of a layer in INT8, perhaps through a normalisation.
fn residual(
    g: &Graph,
    index: usize,
    layers: &[usize],
    producers: &[Option<usize>],
    readers: &[Vec<usize>],
) -> Option<ValueId> {
    let n = &g.nodes[index];
    if !matches!(n.op, Op::Binary(Binary::Add)) || n.inputs.len() != 2 {
        return None;
    }
    let (a, b) = (n.input(0)?, n.input(1)?);
    if g.constants.contains_key(&a) || g.constants.contains_key(&b) || a == b {
        return None;
    }
    let shapes = [a, b].map(|v| g.value(v).shape.clone());
    if shapes[0] != shapes[1] || shapes[0].as_ref().is_none_or(|s| s.len() < 3) {
        return None;
    }
    let fresh = |v: ValueId| {
        let mut p = producers[v.0]?;
        if matches!(g.nodes[p].op, Op::InstanceNorm { .. }) {
            p = producers[g.nodes[p].input(0)?.0]?;
        }
        (layers.contains(&p) && readers[v.0].len() == 1).then_some(p)
    };
    match (fresh(a), fresh(b)) {
        (Some(p), Some(q)) => Some(if p < q { a } else { b }),
        (Some(_), None) => Some(b),
        (None, Some(_)) => Some(a),
        (None, None) => None,
    }
}

/// Sets of values that share a scale.
struct Groups {
    root: Vec<usize>,
}

impl Groups {
    fn new(n: usize) -> Self {
        Groups { root: (0..n).collect() }
    }

    fn find(&self, mut v: usize) -> usize {
        while self.root[v] != v {
            v = self.root[v];
        }
        v
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.find(a.0), self.find(b.0));
        self.root[a.max(b)] = a.min(b);
    }

    fn of(&self, values: &BTreeSet<ValueId>) -> Vec<Group> {
        let mut sets: BTreeMap<usize, Vec<ValueId>> = BTreeMap::new();
        for v in values {
            sets.entry(self.find(v.0)).or_default().push(*v);
        }
        sets.into_values().map(|values| Group { values }).collect()
    }
}
