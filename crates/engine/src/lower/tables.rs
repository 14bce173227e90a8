//! Element-wise functions between quantized values, as tables of 256 entries.
//!
//! Files of other engines have quantizers before and after activations. Whatever lies between one quantized
//! tensor and a quantizer is a function of a byte if all of it works element by element: it is computed
//! once for every byte by the graph's reference, so it is also the same on every tier.

use super::Lower;
use super::quantized::Quantization;
use crate::step::Kind;
use ampoule_graph::{Node, Op, Tensor, ValueId, eval};
use ampoule_runtime::run::elementwise;
use ampoule_runtime::run::loops::Loops;
use std::collections::{BTreeSet, HashMap};

/// A quantized value as a function of another.
pub(crate) type Table = Box<[u8; 256]>;

/// A quantized value that another is a function of.
pub(super) struct Tabled {
    source: ValueId,
    table: Table,
}

/// Most nodes between two quantized values.
const MOST: usize = 24;

/// Nodes between quantized values and a quantizer.
#[derive(Default)]
struct Region {
    nodes: BTreeSet<usize>,
    /// Quantized values that they begin with.
    leaves: BTreeSet<ValueId>,
}

impl Lower<'_> {
    /// Finds the quantizers whose outputs are functions of other quantized values, and marks the nodes that nothing else
    /// needs then as done.
    pub(super) fn plan_tables(&mut self) {
        let graph = self.graph;
        for n in &graph.nodes {
            let (Op::Quantize { to, .. }, Some(x), Some(y)) = (&n.op, n.input(0), n.output()) else {
                continue;
            };
            let Ok(Some(quantization)) = self.quantization(n, *to) else { continue };
            let mut region = Region::default();
            if !self.stored_u8[y.0] || !self.elementwise(x, &mut region) {
                continue;
            }
            if let Some((source, begin)) = self.common(&region.leaves)
                && let Some(table) = self.tabulate(&region, &begin, x, quantization)
            {
                self.tables.insert(y, Tabled { source, table });
            }
        }
        if !self.tables.is_empty() {
            self.drop_unneeded();
        }
    }

    /// Adds what computes `id` to the region; whether all of it works element by element.
    fn elementwise(&self, id: ValueId, region: &mut Region) -> bool {
        if let Some(t) = self.constants.get(&id) {
            return t.dims().iter().product::<usize>() == 1 && t.dtype().is_float();
        }
        let Some(p) = self.producers[id.0] else { return false };
        let n = &self.graph.nodes[p];
        if let (Op::Dequantize { .. }, Some(x)) = (&n.op, n.input(0)) {
            let known = self.stored_u8[x.0] && matches!(self.quantization_of(n), Some(Some(_)));
            region.nodes.insert(p);
            region.leaves.insert(x);
            return known;
        }
        let elementwise = matches!(n.op, Op::Unary(_) | Op::Binary(_) | Op::Clip | Op::Identity);
        if !elementwise || !self.is_float(id) || region.nodes.len() >= MOST {
            return false;
        }
        let dims = self.graph.value(id).dims();
        region.nodes.insert(p);
        n.inputs.iter().flatten().all(|&x| {
            let alike = self.constants.contains_key(&x) || self.graph.value(x).dims() == dims;
            alike && self.is_float(x) && self.elementwise(x, region)
        })
    }

    /// The scale and zero point of a dequantizer of bytes.
    fn quantization_of(&self, n: &Node) -> Option<Option<Quantization>> {
        let t = self.graph.value(n.input(0)?).dtype?;
        self.quantization(n, t).ok()
    }

    /// The value that all of `leaves` are functions of, and these functions.
    fn common(&self, leaves: &BTreeSet<ValueId>) -> Option<(ValueId, HashMap<ValueId, Table>)> {
        // Each leaf, what it is a function of, what that is a function of, and so on.
        let chain = |leaf: ValueId| {
            let mut list = vec![(leaf, Box::new(std::array::from_fn(|i| i as u8)))];
            while let Some(t) = list.last().and_then(|(at, _): &(ValueId, Table)| self.tables.get(at)) {
                let Some((_, after)) = list.last() else { break };
                let joined: Table = Box::new(std::array::from_fn(|i| after[t.table[i] as usize]));
                list.push((t.source, joined));
            }
            list
        };
        let chains: Vec<(ValueId, Vec<(ValueId, Table)>)> = leaves.iter().map(|l| (*l, chain(*l))).collect();
        let (_, first) = chains.first()?;
        let shared = |id: &ValueId| chains.iter().all(|(_, c)| c.iter().any(|e| e.0 == *id));
        let source = first.iter().map(|e| e.0).find(shared)?;
        let of = |(leaf, c): (ValueId, Vec<(ValueId, Table)>)| {
            c.into_iter().find(|e| e.0 == source).map(|e| (leaf, e.1))
        };
        Some((source, chains.into_iter().filter_map(of).collect()))
    }

    /// `x`, quantized, for every value of the source.
    fn tabulate(
        &self,
        region: &Region,
        begin: &HashMap<ValueId, Table>,
        x: ValueId,
        quantization: Quantization,
    ) -> Option<Table> {
        let mut known: HashMap<ValueId, Tensor> = HashMap::new();
        for &i in &region.nodes {
            let n = &self.graph.nodes[i];
            let y = n.output()?;
            let found = match &n.op {
                Op::Dequantize { .. } => {
                    let from = begin.get(&n.input(0)?)?;
                    let Quantization { scale, zero_point: zero } = self.quantization_of(n)??;
                    let values: Vec<f32> = from.iter().map(|c| (*c as f32 - zero) * scale).collect();
                    Tensor::f32(&[256], &values)
                }
                op => {
                    let arg = |v: &Option<ValueId>| match v {
                        None => Some(None),
                        Some(v) => known.get(v).or_else(|| self.constants.get(v)).cloned().map(Some),
                    };
                    let args: Vec<Option<Tensor>> = n.inputs.iter().map(arg).collect::<Option<_>>()?;
                    let values = eval::node(op, &args, 1).ok()?.first()?.to_f32()?;
                    Tensor::f32(&[256], values.get(..256)?)
                }
            };
            known.insert(y, found);
        }
        let values = known.get(&x)?.to_f32()?;
        let mut table: Table = Box::new([0; 256]);
        elementwise::bytes_of(quantization.quantizer(), values.get(..256)?, &mut table[..]);
        Some(table)
    }

    /// Marks nodes as done that only tables made needless.
    fn drop_unneeded(&mut self) {
        let graph = self.graph;
        let mut needed = vec![false; graph.values.len()];
        graph.outputs.iter().chain(&self.watched).for_each(|v| needed[v.0] = true);
        for (i, n) in graph.nodes.iter().enumerate().rev() {
            let Some(y) = n.outputs.iter().flatten().find(|y| needed[y.0]) else {
                self.fused[i] = true;
                continue;
            };
            match self.tables.get(y) {
                Some(t) => needed[t.source.0] = true,
                None => n.inputs.iter().flatten().for_each(|v| needed[v.0] = true),
            }
        }
    }

    /// Looks `y` up, if it is a function of another value.
    pub(super) fn look_up(&mut self, n: &Node, y: ValueId) -> super::R<bool> {
        let Some(Tabled { source, table }) = self.tables.remove(&y) else { return Ok(false) };
        let x = self.get(source)?;
        let out = self.place_like(y, &x)?;
        self.set(y, out.clone());
        let loops = Loops::new(&[&x, &out]);
        self.push(n, Kind::Table(table, loops), vec![x], vec![out], 0);
        Ok(true)
    }
}
