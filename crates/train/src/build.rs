//! From a graph to a network of layers.

use crate::layer::depthwise::Depthwise;
use crate::layer::fake_quantize::FakeQuantize;
use crate::layer::join::{Concat, Sum};
use crate::layer::linear::{Codes, Linear, Meeting};
use crate::layer::norm::{Kind, Norm};
use crate::layer::product::Product;
use crate::layer::reshape::Flatten;
use crate::layer::sample::{Largest, Sample, averages, mean};
use crate::layer::softmax::Softmax;
use crate::layer::{Dims, Layer, len};
use crate::net::{Head, Net, Output, Placed};
use crate::param::{ParamId, Params, Role};
use crate::{Error, Machine, Result};
use ampoule_graph::eval::axis_taps;
use ampoule_graph::infer::{infer, resize_geometry};
use ampoule_graph::op::{Binary, Gradient, Pool, Reduction, Resolved, Unary, Variadic, Window};
use ampoule_graph::{Graph, Node, Op, ValueId};
use ampoule_kernels::Grid;
use ampoule_kernels::grad::Curve;
use ampoule_kernels::resize::Samples;
use ampoule_runtime::axes;
use std::collections::{BTreeMap, HashMap};

/// How a network is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of values to have as further outputs, for losses on features.
    pub features: Vec<String>,
    /// Most bytes of a step.
    pub max_bytes: Option<u64>,
    /// Weights that codes of the graph stand for, by the name of the codes: those before rounding.
    pub masters: BTreeMap<String, Vec<f32>>,
}

/// Makes a network of `graph`, simplified by [`ampoule_graph::passes::trainable`], for inputs of `shapes`
/// (in the graph's order, batch first).
pub fn build(graph: &Graph, shapes: &[Vec<usize>], on: Machine, options: &Options) -> Result<Net> {
    let mut g = graph.clone();
    if shapes.len() != g.inputs.len() {
        return Err(Error::invalid(format!("{} inputs, {} shapes", g.inputs.len(), shapes.len())));
    }
    for (i, s) in shapes.iter().enumerate() {
        g.set_input_dims(i, s);
    }
    // Sizes that the file states are those of another batch.
    let inputs = g.inputs.clone();
    for (i, v) in g.values.iter_mut().enumerate() {
        let id = ValueId(i);
        if !inputs.contains(&id) && !g.constants.contains_key(&id) {
            v.shape = None;
        }
    }
    infer(&mut g)?;
    // Shape arithmetic has values now.
    ampoule_graph::passes::trainable(&mut g)?;
    let mut b = Building {
        graph: &g,
        options,
        uses: g.uses(),
        readers: readers(&g),
        params: Params::default(),
        values: Vec::new(),
        layers: Vec::new(),
        at: HashMap::new(),
        fused: vec![false; g.nodes.len()],
    };
    let mut ins = Vec::new();
    for id in &g.inputs {
        let dims = b.dims(*id).map_err(Error::invalid)?;
        ins.push(b.value(dims));
        b.at.insert(*id, ins[ins.len() - 1]);
    }
    let heads = heads(&g);
    for (i, n) in g.nodes.iter().enumerate() {
        let head = n.output().is_some_and(|o| heads.get(&o).is_some_and(|h| h.1 != Head::None));
        if b.fused[i] || head || n.outputs.iter().flatten().all(|o| g.constants.contains_key(o)) {
            continue;
        }
        b.node(n).map_err(|reason| Error::Unsupported {
            node: g.node_name(n).into(),
            op: n.op.name(),
            reason,
        })?;
    }
    let mut outputs = Vec::new();
    for o in &g.outputs {
        let (logits, head) = heads.get(o).copied().unwrap_or((*o, Head::None));
        outputs.push((logits, g.value(*o).name.clone(), head));
    }
    for name in &options.features {
        let id = g.value_named(name).filter(|id| b.at.contains_key(id));
        let id = id.ok_or_else(|| Error::invalid(format!("there is no value `{name}` to compare")))?;
        outputs.push((id, name.clone(), Head::None));
    }
    let mut ends = Vec::new();
    for (id, name, head) in outputs {
        let v = *b.at.get(&id).ok_or_else(|| Error::invalid(format!("output `{name}` is a constant")))?;
        ends.push((v, Output { name, dims: b.values[v], head }));
    }
    if b.params.list.iter().all(|p| p.role != Role::Weight) {
        return Err(Error::invalid("the network has no weights to train"));
    }
    // Parameters belong to constants of the graph that was given.
    for p in b.params.list.iter_mut().filter(|p| p.id.0 < g.values.len()) {
        p.id = graph
            .value_named(&p.name)
            .filter(|id| graph.constants.contains_key(id))
            .ok_or_else(|| Error::invalid(format!("constant `{}` is not one of the graph's", p.name)))?;
    }
    Net::new(on, b.params, b.layers, b.values, ins, ends, options.max_bytes)
}

/// `graph` with the logits of its outputs in their place, where those are softmax or sigmoids of logits. Shapes
/// must be inferred.
pub fn logits(graph: &Graph) -> Graph {
    let mut g = graph.clone();
    let heads = heads(&g);
    let with = |o: &mut ValueId| *o = heads.get(o).map_or(*o, |h| h.0);
    g.outputs.iter_mut().for_each(with);
    g
}

/// For each output of the graph, the logits, and what turns them into it.
fn heads(g: &Graph) -> HashMap<ValueId, (ValueId, Head)> {
    let producers = g.producers();
    let uses = g.uses();
    let mut out = HashMap::new();
    for o in &g.outputs {
        let head = producers[o.0].and_then(|p| {
            let n = &g.nodes[p];
            let rank = g.value(*o).shape.as_ref().map_or(0, Vec::len) as i64;
            let head = match n.op {
                Op::Softmax { axis, log: false } if axis.rem_euclid(rank.max(1)) == 1 => Head::Softmax,
                Op::Unary(Unary::Sigmoid) => Head::Sigmoid,
                _ => return None,
            };
            // A head that something else reads too is part of the network.
            (uses[o.0] == 1).then_some((n.input(0)?, head))
        });
        out.insert(*o, head.unwrap_or((*o, Head::None)));
    }
    out
}

fn readers(g: &Graph) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); g.values.len()];
    for (i, n) in g.nodes.iter().enumerate() {
        n.inputs.iter().flatten().for_each(|v| readers[v.0].push(i));
    }
    readers
}

struct Building<'g> {
    graph: &'g Graph,
    options: &'g Options,
    uses: Vec<usize>,
    readers: Vec<Vec<usize>>,
    params: Params,
    values: Vec<Dims>,
    layers: Vec<Placed>,
    /// Values of the network by those of the graph.
    at: HashMap<ValueId, usize>,
    /// Nodes that a layer covers already.
    fused: Vec<bool>,
}

type R<T> = std::result::Result<T, String>;

/// Sizes channels-last, with ones for axes that there are not.
fn last(dims: &[usize]) -> R<Dims> {
    match *dims {
        [n, c] => Ok([n, 1, 1, 1, c]),
        [n, c, w] => Ok([n, 1, 1, w, c]),
        [n, c, h, w] => Ok([n, 1, h, w, c]),
        [n, c, d, h, w] => Ok([n, d, h, w, c]),
        _ => Err(format!("{} axes where 2 to 5 are supported", dims.len())),
    }
}

impl Building<'_> {
    fn dims(&self, v: ValueId) -> R<Dims> {
        let value = self.graph.value(v);
        last(&value.dims().ok_or_else(|| format!("the size of `{}` is not known", value.name))?)
    }

    fn value(&mut self, dims: Dims) -> usize {
        self.values.push(dims);
        self.values.len() - 1
    }

    fn input(&self, n: &Node, i: usize) -> R<usize> {
        let v = n.input(i).ok_or("an input is missing")?;
        self.at
            .get(&v)
            .copied()
            .ok_or_else(|| format!("`{}` is not a value of the network", self.graph.value(v).name))
    }

    fn floats(&self, v: Option<ValueId>) -> Option<Vec<f32>> {
        self.graph.constants.get(&v?)?.to_f32()
    }

    /// A constant as a parameter.
    fn param(&mut self, v: Option<ValueId>, role: Role) -> R<ParamId> {
        let id = v.ok_or("a parameter is missing")?;
        let name = &self.graph.value(id).name;
        let t = self.graph.constants.get(&id).ok_or_else(|| format!("`{name}` is computed, not constant"))?;
        let values = t.to_f32().ok_or_else(|| format!("`{name}` is not made of numbers"))?;
        Ok(self.params.add(id, name, t.dims(), values, role))
    }

    fn add(
        &mut self,
        n: &Node,
        layer: Box<dyn Layer>,
        inputs: Vec<usize>,
        dims: Dims,
        out: ValueId,
        trains: bool,
    ) {
        let output = self.value(dims);
        let name = self.graph.node_name(n).to_owned();
        self.layers.push(Placed { name, layer, inputs, output, trains });
        self.at.insert(out, output);
    }

    /// Constant weights: themselves, or what codes stand for.
    fn weights(&mut self, n: &Node, outer: bool) -> R<(ParamId, Vec<usize>, Option<Codes>)> {
        let v = n.input(1).ok_or("it has no weights")?;
        if let Some(t) = self.graph.constants.get(&v) {
            let dims = t.dims().to_vec();
            return Ok((self.param(Some(v), Role::Weight)?, dims, None));
        }
        let producer = self.graph.nodes.iter().find(|k| k.output() == Some(v));
        let dequantize = producer.filter(|k| matches!(k.op, Op::Dequantize { .. }));
        let Some(d) = dequantize else { return Err("its weights are computed".into()) };
        let id = d.input(0).ok_or("its weights are missing")?;
        let name = self.graph.value(id).name.clone();
        let t = self.graph.constants.get(&id).ok_or("its weights are computed")?;
        let dims = t.dims().to_vec();
        let scales = self.floats(d.input(1)).ok_or("its scales are computed")?;
        let codes = t.to_f32().ok_or("its codes are no numbers")?;
        let inner = if outer { codes.len() / scales.len().max(1) } else { dims[2..].iter().product() };
        let values = match self.options.masters.get(&name) {
            Some(m) if m.len() == codes.len() => m.clone(),
            _ => codes.iter().enumerate().map(|(i, c)| c * scales[i / inner.max(1) % scales.len()]).collect(),
        };
        let weight = self.params.add(id, &name, &dims, values, Role::Weight);
        let scale = self.param(d.input(1), Role::Scale)?;
        self.params.get_mut(weight).codes = Some((scale, outer));
        // Values that come from codes.
        let producer = n.input(0).and_then(|x| self.graph.nodes.iter().find(|k| k.output() == Some(x)));
        let coded = producer.filter(|k| matches!(k.op, Op::Dequantize { .. }));
        let input = coded.map(|d| self.param(d.input(1), Role::Scale)).transpose()?;
        Ok((weight, dims, Some(Codes { scale, outer, input })))
    }

    /// The activation that alone reads `v`, if it can be joined with what computes it.
    fn curve_after(&mut self, v: ValueId) -> (ValueId, Curve) {
        if self.uses[v.0] == 1
            && let [reader] = self.readers[v.0][..]
            && let Some(curve) = self.curve(&self.graph.nodes[reader])
            && self.graph.nodes[reader].input(0) == Some(v)
            && let Some(y) = self.graph.nodes[reader].output()
            && !self.graph.outputs.contains(&y)
        {
            self.fused[reader] = true;
            return (y, curve);
        }
        (v, Curve::None)
    }

    fn curve(&self, n: &Node) -> Option<Curve> {
        let scalar = |i: usize| self.floats(n.input(i)).filter(|v| v.len() == 1).map(|v| v[0]);
        Some(match n.op {
            Op::Unary(u) => match u {
                Unary::Relu => Curve::Leaky(0.0),
                Unary::LeakyRelu { alpha } => Curve::Leaky(alpha),
                Unary::Elu { alpha } => Curve::Elu(alpha),
                Unary::HardSigmoid { alpha, beta } => Curve::HardSigmoid(alpha, beta),
                Unary::Sigmoid => Curve::Sigmoid,
                Unary::Tanh => Curve::Tanh,
                Unary::Swish { alpha } => Curve::Swish(alpha),
                Unary::HardSwish => Curve::HardSwish,
                Unary::Mish => Curve::Mish,
                Unary::Gelu { tanh: false } => Curve::Gelu,
                _ => return None,
            },
            Op::Clip => Curve::Clamp(
                n.input(1).map_or(Some(f32::NEG_INFINITY), |_| scalar(1))?,
                n.input(2).map_or(Some(f32::INFINITY), |_| scalar(2))?,
            ),
            // One slope for all channels stays as it is.
            Op::Binary(Binary::PRelu) => Curve::Leaky(scalar(1)?),
            _ => return None,
        })
    }

    fn node(&mut self, n: &Node) -> R<()> {
        if n.op.row().gradient == Gradient::None {
            return Err("it has no gradient here".into());
        }
        let y = n.output().ok_or("it has no output")?;
        if let Some(curve) = self.curve(n) {
            let (x, dims) = (self.input(n, 0)?, self.dims(y)?);
            let layer = Norm::new(dims, Kind::Affine, None, 0.0, curve);
            self.add(n, Box::new(layer), vec![x], dims, y, false);
            return Ok(());
        }
        match &n.op {
            Op::Conv { window, group } => self.conv(n, y, window, *group),
            Op::ConvTranspose { window, group, output_padding, output_shape } => {
                let x = self.input(n, 0)?;
                let (weight, wd, codes) = self.weights(n, false)?;
                let spatial = self.spatial(n)?;
                let r = window.resolve_transposed(&spatial, &wd[2..], output_padding, output_shape)?;
                let (from, to) = (self.values[x], self.dims(y)?);
                let meeting = Meeting {
                    wide: Grid::dense(to),
                    narrow: Grid::dense(from),
                    axes: axes(&r),
                    groups: *group,
                };
                self.linear(n, y, meeting, true, weight, codes, to)
            }
            Op::Gemm { alpha, beta, trans_a: false, trans_b } if *alpha == 1.0 && *beta == 1.0 => {
                self.product(n, y, *trans_b)
            }
            Op::MatMul => self.product(n, y, false),
            Op::BatchNorm { epsilon } => {
                let x = self.input(n, 0)?;
                let affine = [self.param(n.input(1), Role::Affine)?, self.param(n.input(2), Role::Affine)?];
                let mean = self.param(n.input(3), Role::Running)?;
                let variance = self.param(n.input(4), Role::Running)?;
                self.norm(n, y, x, Kind::Batch { mean, variance }, affine, *epsilon)
            }
            Op::InstanceNorm { epsilon } => {
                let x = self.input(n, 0)?;
                let affine = [self.param(n.input(1), Role::Affine)?, self.param(n.input(2), Role::Affine)?];
                self.norm(n, y, x, Kind::Groups(self.values[x][4]), affine, *epsilon)
            }
            Op::GroupNorm { groups, epsilon } => {
                let x = self.input(n, 0)?;
                let affine = [self.param(n.input(1), Role::Affine)?, self.param(n.input(2), Role::Affine)?];
                self.norm(n, y, x, Kind::Groups(*groups), affine, *epsilon)
            }
            Op::Binary(b @ (Binary::Add | Binary::Mul)) => self.binary(n, y, *b),
            Op::Variadic(Variadic::Sum) => {
                let inputs = (0..n.inputs.len()).map(|k| self.input(n, k)).collect::<R<Vec<_>>>()?;
                self.sum(n, y, inputs)
            }
            Op::Concat { axis } => {
                let rank = self.graph.value(y).shape.as_ref().map_or(0, Vec::len) as i64;
                if axis.rem_euclid(rank.max(1)) != 1 {
                    return Err("only channels can be joined".into());
                }
                let inputs = (0..n.inputs.len()).map(|k| self.input(n, k)).collect::<R<Vec<_>>>()?;
                let parts = inputs.iter().map(|&v| self.values[v][4]).collect();
                let dims = self.dims(y)?;
                self.add(n, Box::new(Concat { dims, parts }), inputs, dims, y, false);
                Ok(())
            }
            Op::MaxPool(p) => {
                let (x, dims, r) = self.pool(n, y, p)?;
                let layer = Largest::new(self.values[x], dims, axes(&r));
                self.add(n, Box::new(layer), vec![x], dims, y, false);
                Ok(())
            }
            Op::AveragePool(p) => {
                let (x, dims, r) = self.pool(n, y, p)?;
                let (from, a) = (self.values[x], axes(&r));
                let ends: Vec<usize> = r.end.iter().map(|&e| e.max(0) as usize).collect();
                let end = |k: usize| match (k + ends.len()).checked_sub(3) {
                    Some(s) => ends[s],
                    None => 0,
                };
                let samples = [0, 1, 2]
                    .map(|k| averages(&a[k], from[k + 1], dims[k + 1], p.count_include_pad.then(|| end(k))));
                self.add(n, Box::new(Sample::new(from, dims, samples)), vec![x], dims, y, false);
                Ok(())
            }
            Op::GlobalAveragePool => self.average(n, y),
            Op::Reduce { kind: Reduction::Mean, .. } => {
                let rank = self.graph.value(n.input(0).ok_or("no input")?).shape.as_ref().map_or(0, Vec::len);
                let listed = n.input(1).and_then(|v| self.graph.constants.get(&v)).and_then(|t| t.to_i64());
                let mut over: Vec<i64> = listed
                    .ok_or("its axes are not known")?
                    .iter()
                    .map(|a| a.rem_euclid(rank.max(1) as i64))
                    .collect();
                over.sort_unstable();
                if over != (2..rank as i64).collect::<Vec<_>>() {
                    return Err("only the mean over all of an image is supported".into());
                }
                self.average(n, y)
            }
            Op::Resize(r) => {
                let x = self.input(n, 0)?;
                let v = n.input(0).ok_or("no input")?;
                let xd = self.graph.value(v).dims().ok_or("its size is not known")?;
                let list = |k: usize| n.input(k).and_then(|v| self.graph.constants.get(&v));
                let scales = list(2).and_then(|t| t.to_f64()).filter(|s| !s.is_empty());
                let sizes = list(3).and_then(|t| t.to_i64()).filter(|s| !s.is_empty());
                let (out, scale) = resize_geometry(r, &xd, scales.as_deref(), sizes.as_deref())?;
                if out[..2] != xd[..2] {
                    return Err("only the size of images can change".into());
                }
                let rank = xd.len();
                let samples = [0, 1, 2].map(|k| match (k + rank).checked_sub(3) {
                    Some(a) if a >= 2 => Samples::of(&axis_taps(r, xd[a], out[a], scale[a])),
                    _ => mean(1),
                });
                let (from, dims) = (self.values[x], last(&out)?);
                self.add(n, Box::new(Sample::new(from, dims, samples)), vec![x], dims, y, false);
                Ok(())
            }
            Op::Softmax { axis, log: false } => {
                let rank = self.graph.value(y).shape.as_ref().map_or(0, Vec::len) as i64;
                if axis.rem_euclid(rank.max(1)) != 1 {
                    return Err("only a softmax over channels is supported".into());
                }
                let (x, dims) = (self.input(n, 0)?, self.dims(y)?);
                self.add(n, Box::new(Softmax { dims }), vec![x], dims, y, false);
                Ok(())
            }
            Op::Reshape { .. } if self.grouped(n, y)? => Ok(()),
            Op::Flatten { axis: 1 } | Op::Reshape { .. } | Op::Squeeze | Op::Identity | Op::Unsqueeze => {
                self.reshape(n, y)
            }
            Op::Quantize { .. } => {
                let x = self.input(n, 0)?;
                let zero = self.floats(n.input(2)).filter(|z| z.len() == 1).map_or(0.0, |z| z[0]);
                let scale = self.param(n.input(1), Role::Scale)?;
                if self.params.get(scale).values.len() != 1 {
                    return Err("values have one scale".into());
                }
                // Rounded values are what every reader of the codes gets.
                let dims = self.values[x];
                // As the engine does: what a layer computed is multiplied by the reciprocal.
                let first = n.input(0).is_some_and(|x| self.graph.inputs.contains(&x));
                self.add(
                    n,
                    Box::new(FakeQuantize { dims, scale, zero, divide: first }),
                    vec![x],
                    dims,
                    y,
                    true,
                );
                Ok(())
            }
            Op::Dequantize { .. } => {
                let v = n.input(0).ok_or("no input")?;
                // Weights are rounded by the layer that reads them.
                if !self.graph.constants.contains_key(&v) {
                    let x = self.input(n, 0)?;
                    self.at.insert(y, x);
                }
                Ok(())
            }
            // The table says that there is a gradient: for other attributes.
            _ => Err("it has no gradient with these attributes".into()),
        }
    }

    fn spatial(&self, n: &Node) -> R<Vec<usize>> {
        let v = n.input(0).ok_or("it has no input")?;
        let dims = self.graph.value(v).dims().ok_or("the size of its input is not known")?;
        Ok(dims.get(2..).unwrap_or_default().to_vec())
    }

    fn conv(&mut self, n: &Node, y: ValueId, window: &Window, group: usize) -> R<()> {
        let x = self.input(n, 0)?;
        let (weight, wd, codes) = self.weights(n, true)?;
        let r = window.resolve(&self.spatial(n)?, &wd[2..], false)?;
        let (from, to) = (self.values[x], self.dims(y)?);
        let (input, output) = (Grid::dense(from), Grid::dense(to));
        if group == from[4] && group == to[4] && group > 1 && codes.is_none() {
            let bias = n.input(2).map(|b| self.param(Some(b), Role::Affine)).transpose()?;
            let layer = Depthwise { input, output, axes: axes(&r), weight, bias };
            self.add(n, Box::new(layer), vec![x], to, y, true);
            return Ok(());
        }
        let meeting = Meeting { wide: input, narrow: output, axes: axes(&r), groups: group };
        self.linear(n, y, meeting, false, weight, codes, to)
    }

    fn linear(
        &mut self,
        n: &Node,
        y: ValueId,
        meeting: Meeting,
        transposed: bool,
        weight: ParamId,
        codes: Option<Codes>,
        dims: Dims,
    ) -> R<()> {
        let x = self.input(n, 0)?;
        let bias = n.input(2).map(|b| self.param(Some(b), Role::Affine)).transpose()?;
        let layer = Linear::new(meeting, transposed, weight, bias, codes);
        self.add(n, Box::new(layer), vec![x], dims, y, true);
        Ok(())
    }

    /// A product with a constant matrix `[outputs][inputs]` if `turned`, else `[inputs][outputs]`.
    fn product(&mut self, n: &Node, y: ValueId, turned: bool) -> R<()> {
        let x = self.input(n, 0)?;
        let (from, to) = (self.values[x], self.dims(y)?);
        if from[1..4] != [1, 1, 1] || from[0] != to[0] {
            return Err("only products of rows with a matrix are supported".into());
        }
        let (weight, wd, codes) = self.weights(n, turned)?;
        if wd.len() != 2 {
            return Err(format!("its matrix has {} axes", wd.len()));
        }
        let one = Resolved {
            kernel: vec![1],
            strides: vec![1],
            dilations: vec![1],
            begin: vec![0],
            end: vec![0],
            out: vec![1],
        };
        let (input, output) = (Grid::dense(from), Grid::dense(to));
        let (wide, narrow) = if turned { (input, output) } else { (output, input) };
        let meeting = Meeting { wide, narrow, axes: axes(&one), groups: 1 };
        self.linear(n, y, meeting, !turned, weight, codes, to)
    }

    fn norm(
        &mut self,
        n: &Node,
        y: ValueId,
        x: usize,
        kind: Kind,
        affine: [ParamId; 2],
        epsilon: f32,
    ) -> R<()> {
        let dims = self.values[x];
        let (y, curve) = self.curve_after(y);
        let layer = Norm::new(dims, kind, Some(affine), epsilon, curve);
        self.add(n, Box::new(layer), vec![x], dims, y, true);
        Ok(())
    }

    fn sum(&mut self, n: &Node, y: ValueId, inputs: Vec<usize>) -> R<()> {
        let dims = self.dims(y)?;
        if inputs.iter().any(|&v| self.values[v] != dims) {
            return Err("only values of one size can be added".into());
        }
        self.add(n, Box::new(Sum { dims }), inputs, dims, y, false);
        Ok(())
    }

    fn binary(&mut self, n: &Node, y: ValueId, op: Binary) -> R<()> {
        let constant = |k: usize| n.input(k).filter(|v| self.graph.constants.contains_key(v));
        let dims = self.dims(y)?;
        let side = match (constant(0), constant(1)) {
            (None, None) => {
                let inputs = vec![self.input(n, 0)?, self.input(n, 1)?];
                if op == Binary::Add {
                    return self.sum(n, y, inputs);
                }
                let sides = [0, 1].map(|k| self.values[inputs[k]]);
                self.add(n, Box::new(Product { dims, sides }), inputs, dims, y, false);
                return Ok(());
            }
            (Some(_), Some(_)) => return Err("both sides are constant".into()),
            (a, b) => usize::from(a.is_none() && b.is_some()),
        };
        // One number for each channel, or for all.
        let v = n.input(side).ok_or("an input is missing")?;
        let t = self.graph.constants.get(&v).ok_or("a constant is missing")?;
        let rank = self.graph.value(y).shape.as_ref().map_or(0, Vec::len);
        let td = t.dims();
        let per_channel = t.len() == 1
            || (t.len() == dims[4] && td.iter().rev().position(|&d| d != 1) == Some(rank.saturating_sub(2)));
        if !per_channel {
            return Err("only one constant for each channel can be joined".into());
        }
        let x = self.input(n, 1 - side)?;
        let own = self.param(Some(v), Role::Affine)?;
        let neutral = if op == Binary::Add { 1.0 } else { 0.0 };
        let other = self.params.fixed(neutral);
        let affine = if op == Binary::Add { [other, own] } else { [own, other] };
        self.norm(n, y, x, Kind::Affine, affine, 0.0)
    }

    fn pool(&mut self, n: &Node, y: ValueId, p: &Pool) -> R<(usize, Dims, Resolved)> {
        let r = p.window.resolve(&self.spatial(n)?, &[], p.ceil_mode)?;
        Ok((self.input(n, 0)?, self.dims(y)?, r))
    }

    fn average(&mut self, n: &Node, y: ValueId) -> R<()> {
        let x = self.input(n, 0)?;
        let (from, dims) = (self.values[x], self.dims(y)?);
        let samples = [1, 2, 3].map(|k| mean(from[k]));
        let pooled = [from[0], 1, 1, 1, from[4]];
        if len(&pooled) != len(&dims) {
            return Err("its result has another size than one value for each channel".into());
        }
        self.add(n, Box::new(Sample::new(from, pooled, samples)), vec![x], pooled, y, false);
        Ok(())
    }

    /// Group normalisation as exporters spell it: groups become channels of an instance normalisation
    /// without parameters, and are taken apart again.
    fn grouped(&mut self, n: &Node, y: ValueId) -> R<bool> {
        let only = |v: ValueId| match self.readers[v.0][..] {
            [r] if self.uses[v.0] == 1 => Some(r),
            _ => None,
        };
        let Some(norm) = only(y) else { return Ok(false) };
        let node = &self.graph.nodes[norm];
        let (Op::InstanceNorm { epsilon }, Some(z)) = (&node.op, node.output()) else { return Ok(false) };
        let all = |k: usize, v: f32| self.floats(node.input(k)).is_some_and(|t| t.iter().all(|x| *x == v));
        let Some(back) = only(z).filter(|_| all(1, 1.0) && all(2, 0.0)) else { return Ok(false) };
        let after = &self.graph.nodes[back];
        let (Op::Reshape { .. }, Some(out)) = (&after.op, after.output()) else { return Ok(false) };
        let x = n.input(0).ok_or("no input")?;
        if self.graph.value(x).dims() != self.graph.value(out).dims() {
            return Ok(false);
        }
        let groups = self.graph.value(y).dims().and_then(|d| d.get(1).copied());
        let x = self.input(n, 0)?;
        let dims = self.values[x];
        let Some(groups) = groups.filter(|g| *g > 0 && dims[4].is_multiple_of(*g)) else { return Ok(false) };
        let layer = Norm::new(dims, Kind::Groups(groups), None, *epsilon, Curve::None);
        self.fused[norm] = true;
        self.fused[back] = true;
        self.add(n, Box::new(layer), vec![x], dims, out, false);
        Ok(true)
    }

    /// A change of shape that leaves rows of values.
    fn reshape(&mut self, n: &Node, y: ValueId) -> R<()> {
        let x = self.input(n, 0)?;
        let (from, to) = (self.values[x], self.dims(y)?);
        if from == to {
            self.at.insert(y, x);
            return Ok(());
        }
        if from[0] != to[0] || to[1..4] != [1, 1, 1] || len(&from) != len(&to) {
            return Err("only an image can become a row of values".into());
        }
        // With one pixel the order is the same.
        self.add(n, Box::new(Flatten { dims: from }), vec![x], to, y, false);
        Ok(())
    }
}
