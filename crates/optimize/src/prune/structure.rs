//! Which channels belong together.

use super::parts;
use crate::layer::mixed_channels;
use ampoule_graph::op::{Binary, Channels, Field};
use ampoule_graph::{Graph, Node, Op, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Channels that can only be kept or removed together, as an index.
pub(super) type Class = usize;

/// Classes that the same layers compute, and whose channels the same slices and splits take.
#[derive(Clone, Debug)]
pub struct Group {
    /// Names of the layers.
    pub layers: Vec<String>,
    /// Which of the groups of the same first layer this is, from 0.
    part: usize,
    /// The classes, in the order of the first layer's channels.
    pub(super) classes: Vec<Class>,
    /// How many of the first layer's channels each class is: as many as are normalised together.
    pub(super) counts: Vec<usize>,
}

impl Group {
    /// What no other group is called: the name of the first layer, and which part of it this is if it has several.
    pub fn name(&self) -> String {
        let first = self.layers.first().map_or("", |l| l);
        if self.part == 0 { first.to_owned() } else { format!("{first}, part {}", self.part + 1) }
    }

    /// Channels of each layer.
    pub fn channels(&self) -> usize {
        self.counts.iter().sum()
    }

    /// How many of them `keep` keeps, as [`super::select`] made it.
    pub fn kept(&self, keep: &[bool]) -> usize {
        self.classes.iter().zip(&self.counts).filter(|(c, _)| keep[**c]).map(|(_, n)| n).sum()
    }
}

/// Layers that keep all their channels.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Frozen {
    /// Name of the layer.
    pub layer: String,
    /// Why.
    pub reason: String,
}

/// The channels of a graph.
#[derive(Clone, Debug)]
pub struct Structure {
    /// What can be pruned.
    pub groups: Vec<Group>,
    /// What cannot.
    pub frozen: Vec<Frozen>,
    /// Class of each channel of each value; empty where a value has none.
    pub(super) values: Vec<Vec<Class>>,
    /// The axis of each value that its channels lie on: 1, and the last of rows that a product made.
    axes: Vec<usize>,
    /// Number of classes.
    pub(super) classes: usize,
}

/// Sets of channels.
struct Sets {
    root: Vec<usize>,
    /// Why the set cannot be pruned, at its root.
    frozen: BTreeMap<usize, String>,
}

impl Sets {
    fn fresh(&mut self, n: usize) -> Vec<usize> {
        let first = self.root.len();
        self.root.extend(first..first + n);
        (first..first + n).collect()
    }

    fn find(&mut self, mut v: usize) -> usize {
        while self.root[v] != v {
            self.root[v] = self.root[self.root[v]];
            v = self.root[v];
        }
        v
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a != b {
            let reason = self.frozen.remove(&a.max(b));
            self.root[a.max(b)] = a.min(b);
            if let Some(r) = reason {
                self.frozen.entry(a.min(b)).or_insert(r);
            }
        }
    }

    fn freeze(&mut self, list: &[usize], reason: &str) {
        for &v in list {
            let root = self.find(v);
            self.frozen.entry(root).or_insert_with(|| reason.to_owned());
        }
    }
}

impl Structure {
    /// The channels of `g`, simplified by [`ampoule_graph::passes::trainable`], whose shapes are inferred.
    pub fn of(g: &Graph) -> Structure {
        let mut sets = Sets { root: Vec::new(), frozen: BTreeMap::new() };
        let mut values: Vec<Vec<usize>> = vec![Vec::new(); g.values.len()];
        let mut axes = vec![1; g.values.len()];
        for &v in &g.inputs {
            let channels = size(g, v, 1).unwrap_or(0);
            values[v.0] = sets.fresh(channels);
            sets.freeze(&values[v.0].clone(), "they are the model's input");
        }
        for n in &g.nodes {
            follow(g, n, &mut sets, &mut values, &mut axes);
        }
        for &o in &g.outputs {
            sets.freeze(&values[o.0].clone(), "they are the model's output");
        }
        // Sets become classes; classes with the same layers become groups.
        let mut makers: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut order = Vec::new();
        for (i, n) in g.nodes.iter().enumerate().filter(|(_, n)| mixed_channels(g, n).is_some()) {
            for &c in n.output().map_or(&[][..], |y| &values[y.0]) {
                let root = sets.find(c);
                let own = makers.entry(root).or_default();
                if own.is_empty() {
                    order.push(root);
                }
                own.insert(i);
            }
        }
        // Parts that are taken apart must not vanish: each is a group of its own.
        let mut taken: BTreeMap<usize, BTreeSet<(usize, usize)>> = BTreeMap::new();
        for (i, n) in g.nodes.iter().enumerate().filter(|(_, n)| matches!(n.op, Op::Slice | Op::Split { .. }))
        {
            for (k, y) in n.outputs.iter().enumerate() {
                for &c in y.map_or(&[][..], |y| &values[y.0]) {
                    taken.entry(sets.find(c)).or_default().insert((i, k));
                }
            }
        }
        let mut index: BTreeMap<usize, Class> = BTreeMap::new();
        let mut class_of = |root: usize| {
            let next = index.len();
            *index.entry(root).or_insert(next)
        };
        let mut groups: BTreeMap<(BTreeSet<usize>, BTreeSet<(usize, usize)>), Vec<Class>> = BTreeMap::new();
        let mut frozen: BTreeMap<usize, String> = BTreeMap::new();
        for root in order {
            let class = class_of(root);
            match sets.frozen.get(&root) {
                Some(reason) => {
                    makers[&root].iter().for_each(|&i| {
                        frozen.entry(i).or_insert_with(|| reason.clone());
                    });
                }
                None => {
                    let parts = taken.get(&root).cloned().unwrap_or_default();
                    groups.entry((makers[&root].clone(), parts)).or_default().push(class);
                }
            }
        }
        let values = values
            .into_iter()
            .map(|list: Vec<usize>| {
                list.into_iter()
                    .map(|c| {
                        let root = sets.find(c);
                        class_of(root)
                    })
                    .collect()
            })
            .collect::<Vec<Vec<Class>>>();
        let name = |i: &usize| g.node_name(&g.nodes[*i]).to_owned();
        let mut parts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut group = |((layers, _), classes): ((BTreeSet<usize>, _), Vec<Class>)| {
            let next = parts.entry(layers.first().copied().unwrap_or(0)).or_default();
            let part = std::mem::replace(next, *next + 1);
            let first = layers.first().and_then(|i| g.nodes[*i].output());
            let own: &[Class] = first.map_or(&[], |y| &values[y.0]);
            let counts = classes.iter().map(|c| own.iter().filter(|o| *o == c).count()).collect();
            Group { layers: layers.iter().map(name).collect(), part, classes, counts }
        };
        Structure {
            groups: groups.into_iter().map(&mut group).collect(),
            frozen: frozen
                .iter()
                .map(|(i, reason)| Frozen { layer: name(i), reason: reason.clone() })
                .collect(),
            values,
            axes,
            classes: index.len(),
        }
    }
}

impl Structure {
    /// For each channel of value `v` whether it goes.
    pub fn gone(&self, v: ValueId, keep: &[bool]) -> Vec<bool> {
        self.values[v.0].iter().map(|&c| !keep[c]).collect()
    }

    /// The axis of `v` that its channels lie on, counted from the last one, which is 1.
    pub(super) fn channel_axis_from_end(&self, g: &Graph, v: ValueId) -> Option<usize> {
        g.value(v).shape.as_ref()?.len().checked_sub(self.axes[v.0])
    }
}

/// Size of an axis of a value of images or rows.
fn size(g: &Graph, v: ValueId, axis: usize) -> Option<usize> {
    g.value(v).shape.as_ref().filter(|s| s.len() >= 2)?.get(axis)?.known()
}

/// Whether a constant has one value for each of `n` channels, which lie on the axis `from_end` from the last (1) on, or one for all.
pub(super) fn per_channel(dims: &[usize], n: usize, from_end: usize) -> Option<bool> {
    let count: usize = dims.iter().product();
    if count == 1 {
        return Some(false);
    }
    let last = dims.len().checked_sub(dims.iter().position(|&d| d != 1)?)?;
    (count == n && dims.contains(&n) && last == from_end).then_some(true)
}

/// The axes of a layer's input and output that it mixes the channels of: the last of a product's, else 1.
pub(super) fn layer_axes(g: &Graph, n: &Node) -> Option<[usize; 2]> {
    let rank = |v: ValueId| g.value(v).shape.as_ref().map(Vec::len);
    match n.op {
        Op::MatMul => Some([rank(n.input(0)?)?.checked_sub(1)?, rank(n.output()?)?.checked_sub(1)?]),
        _ => Some([1, 1]),
    }
}

/// Where axis `axis` of the input of a transposition lies in its output.
fn moved_axis(g: &Graph, n: &Node, perm: &[usize], axis: usize) -> Option<usize> {
    let rank = g.value(n.input(0)?).shape.as_ref()?.len();
    if perm.is_empty() { rank.checked_sub(axis + 1) } else { perm.iter().position(|&p| p == axis) }
}

/// Notes what a node does to channels.
fn follow(g: &Graph, n: &Node, sets: &mut Sets, values: &mut [Vec<usize>], axes: &mut [usize]) {
    let Some(y) = n.output() else { return };
    let of = |i: usize, values: &[Vec<usize>]| n.input(i).map_or(Vec::new(), |v| values[v.0].clone());
    let x = of(0, values);
    let name = g.node_name(n);
    let axis = n.input(0).map_or(1, |v| axes[v.0]);
    let out = size(g, y, axis);
    let data: Vec<ValueId> = n.inputs.iter().flatten().copied().filter(|v| !values[v.0].is_empty()).collect();
    let mixed = mixed_channels(g, n);
    if data.is_empty() && mixed.is_none() {
        return;
    }
    if let Some(ranges) = parts::ranges(g, n, axis, x.len()).filter(|_| data.len() == 1) {
        for (part, range) in n.outputs.iter().zip(ranges) {
            let Some(part) = part else { continue };
            axes[part.0] = axis;
            values[part.0] = x[range].to_vec();
        }
        return;
    }
    let result = match &n.op {
        _ if let Some(weights) = mixed => {
            let w = n.input(1).and_then(|w| g.constants.get(&w));
            let size = |axis: usize| w.and_then(|w| w.dims().get(axis).copied()).unwrap_or(0);
            let [outputs, inputs] = weights.map(size);
            let fresh = sets.fresh(outputs);
            let reads = layer_axes(g, n);
            if inputs != x.len() || reads.is_none_or(|r| r[0] != axis) {
                sets.freeze(&x, &format!("`{name}` reads them in another order"));
            }
            axes[y.0] = reads.map_or(1, |r| r[1]);
            values[y.0] = fresh;
            return;
        }
        Op::Conv { group, .. } if axis == 1 && *group == x.len() && out == Some(x.len()) => Some(x.clone()),
        // Sizes that are computed may name the channels.
        Op::Resize(r) if r.axes.is_empty() && n.input(3).is_some_and(|s| !g.constants.contains_key(&s)) => {
            None
        }
        op if matches!(op.row().channels, Channels::Kept | Channels::KeptWithParameters)
            && (out == Some(x.len()) || out.is_none())
            && (axis == 1 || (op.row().field == Field::Pointwise && op.row().channels == Channels::Kept)) =>
        {
            Some(x.clone())
        }
        // Channels that are normalised together go together.
        Op::GroupNorm { groups, .. }
            if axis == 1 && out == Some(x.len()) && *groups > 0 && x.len().is_multiple_of(*groups) =>
        {
            x.chunks((x.len() / groups).max(1)).for_each(|c| c.iter().for_each(|o| sets.join(c[0], *o)));
            Some(x.clone())
        }
        Op::Reduce { .. } if axis == 1 && out == Some(x.len()) => Some(x.clone()),
        Op::Shape { .. } | Op::Size => return,
        Op::Binary(_) | Op::Variadic(_) => match elementwise(g, n, y, sets, values, axes) {
            Some((list, axis)) => {
                axes[y.0] = axis;
                values[y.0] = list;
                return;
            }
            None => None,
        },
        Op::Concat { axis: along } if data.iter().all(|v| axes[v.0] == axis) => {
            let rank = g.value(y).shape.as_ref().map_or(0, Vec::len) as i64;
            let whole: Vec<usize> = n.inputs.iter().flatten().flat_map(|v| values[v.0].clone()).collect();
            (along.rem_euclid(rank.max(1)) as usize == axis && size(g, y, axis) == Some(whole.len()))
                .then_some(whole)
        }
        Op::Transpose { perm } if let Some(to) = moved_axis(g, n, perm, axis) => {
            axes[y.0] = to;
            values[y.0] = x;
            return;
        }
        Op::Flatten { axis: 1 } | Op::Reshape { .. } | Op::Squeeze if axis == 1 => {
            // An image becomes a row: every channel is as many columns as it has pixels.
            let rows = g.value(y).shape.as_ref().is_some_and(|s| s.len() == 2);
            match out.filter(|o| rows && !x.is_empty() && o.is_multiple_of(x.len())) {
                Some(o) => {
                    let volume = o / x.len();
                    Some(x.iter().flat_map(|c| std::iter::repeat_n(*c, volume)).collect())
                }
                None => None,
            }
        }
        // Channels around it stay.
        _ => None,
    };
    match result {
        Some(list) => {
            axes[y.0] = axis;
            values[y.0] = list;
        }
        None => {
            let reason = format!("`{name}` ({}) needs all of them", n.op.name());
            data.iter().for_each(|v| sets.freeze(&values[v.0].clone(), &reason));
            let fresh = sets.fresh(size(g, y, 1).unwrap_or(0));
            sets.freeze(&fresh, &reason);
            values[y.0] = fresh;
        }
    }
}

/// Channels of an element-wise result and their axis: those of its operands, joined. `None` if they cannot be followed.
fn elementwise(
    g: &Graph,
    n: &Node,
    y: ValueId,
    sets: &mut Sets,
    values: &[Vec<usize>],
    axes: &[usize],
) -> Option<(Vec<usize>, usize)> {
    if let Op::Binary(b) = n.op
        && b.is_predicate()
    {
        return None;
    }
    let rank = g.value(y).shape.as_ref()?.len();
    let widest = n.inputs.iter().flatten().map(|v| values[v.0].len()).max()?;
    let widest_of = |v: &&ValueId| values[v.0].len() == widest;
    let axis = axes[n.inputs.iter().flatten().find(widest_of)?.0];
    let from_end = rank.checked_sub(axis)?;
    let mut result: Option<Vec<usize>> = None;
    for v in n.inputs.iter().flatten() {
        if let Some(t) = g.constants.get(v) {
            let slope = matches!(n.op, Op::Binary(Binary::PRelu));
            // Slopes may lack the axis of the batch and of pixels.
            let fits = per_channel(t.dims(), widest, from_end).is_some()
                || (slope && axis == 1 && per_channel(t.dims(), widest, t.dims().len()).is_some());
            if !fits {
                return None;
            }
            continue;
        }
        let own = &values[v.0];
        let own_rank = g.value(*v).shape.as_ref().map_or(0, Vec::len);
        if own_rank != rank || axes[v.0] != axis {
            return None;
        }
        match own.len() {
            n if n == widest => match &result {
                Some(list) => list.iter().zip(own).for_each(|(a, b)| sets.join(*a, *b)),
                None => result = Some(own.clone()),
            },
            // One channel is repeated for all, and stays by itself.
            1 => {}
            _ => return None,
        }
    }
    Some((result?, axis))
}
