//! Exact execution tile by tile, for networks without whole-image operators that fit no other way:
//! the network runs on parts of the image that overlap by all that their outputs need (halos), and only
//! those outputs are kept. Sums run over the same terms as on the whole image; a tile may be computed by
//! another algorithm than the whole, so results are equal up to rounding.

use crate::Result;
use crate::lower::Lowered;
use crate::receptive_field::Rows;
use crate::step::{Kind, Step};
use ampoule_graph::{Graph, Tensor, ValueId, infer};
use ampoule_kernels::Elem;
use ampoule_runtime::Plan;
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::view::{Home, View, channels_last};
use std::collections::BTreeMap;
use std::ops::Range;

/// One tile along one axis, in input rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Strip {
    /// First row that the network reads.
    start: usize,
    /// Rows whose outputs are kept.
    core: Range<usize>,
}

/// Inputs and outputs of the whole image, and what to copy around each run of the tile's network.
pub(crate) struct Tiles {
    pub inputs: Vec<View>,
    pub outputs: Vec<View>,
    /// Copies before and after each run.
    pub list: Vec<(Vec<Step>, Vec<Step>)>,
}

/// A way to divide an image into tiles.
pub(crate) struct Tiling<'g> {
    rows: Vec<Option<Rows<'g>>>,
    /// Size of the whole and of a tile along each spatial axis.
    whole: Vec<usize>,
    pub tile: Vec<usize>,
}

impl<'g> Tiling<'g> {
    /// The whole image as one tile; `None` if the network cannot be tiled.
    pub fn of(graph: &'g Graph, constants: &BTreeMap<ValueId, Tensor>) -> Option<Self> {
        let whole = graph.value(*graph.inputs.first()?).dims()?.get(2..)?.to_vec();
        let same = |id: &ValueId| graph.value(*id).dims().is_some_and(|d| d.get(2..) == Some(&whole));
        let rows: Vec<_> = (0..whole.len()).map(|i| Rows::of(graph, constants, i + 2)).collect();
        let tileable = graph.inputs.iter().all(same) && rows.iter().any(Option::is_some);
        tileable.then(|| Tiling { rows, tile: whole.clone(), whole })
    }

    /// Makes tiles smaller along the axis that has most left to give; `false` if none has.
    pub fn shrink(&mut self) -> bool {
        let smaller = |i: usize| {
            let rows = self.rows[i].as_ref()?;
            let halo = self.halo(i)?;
            let core = self.tile[i].saturating_sub(halo) / 2;
            // Starts are multiples of the stride, and the last tile ends where the image does.
            let size = (halo + core).max(halo + 3 * rows.stride);
            let size = size - size % rows.stride + self.whole[i] % rows.stride;
            (size < self.tile[i] && self.strips(i, size).is_some()).then(|| (self.tile[i] - size, size))
        };
        let best = (0..self.whole.len()).filter_map(|i| Some((smaller(i)?, i))).max();
        let Some(((_, size), i)) = best else { return false };
        self.tile[i] = size;
        true
    }

    /// Rows that a tile in the middle of the image needs besides its core.
    fn halo(&self, i: usize) -> Option<usize> {
        let rows = self.rows[i].as_ref()?;
        let middle = self.whole[i] / 2 / rows.stride * rows.stride;
        let core = middle..middle + rows.stride;
        let need = rows.needed(core.clone());
        Some(need.len().saturating_sub(core.len()) + rows.stride)
    }

    /// The tiles of `size` rows along spatial axis `i`.
    fn strips(&self, i: usize, size: usize) -> Option<Vec<Strip>> {
        let whole = self.whole[i];
        if size >= whole {
            return Some(vec![Strip { start: 0, core: 0..whole }]);
        }
        let rows = self.rows[i].as_ref()?;
        let (mut list, mut from) = (Vec::new(), 0);
        while from < whole {
            let field = rows.needed(from..(from + rows.stride).min(whole));
            let start = (field.start - field.start % rows.stride).min(whole - size);
            let inside = |to: usize| {
                let need = rows.needed(from..to);
                need.start >= start && need.end <= start + size
            };
            // The furthest end whose outputs the tile can compute.
            let to = match inside(whole) {
                true => whole,
                false => {
                    let last = (start + size).min(whole) / rows.stride;
                    (from / rows.stride + 1..=last).rev().map(|k| k * rows.stride).find(|&to| inside(to))?
                }
            };
            list.push(Strip { start, core: from..to });
            from = to;
        }
        Some(list)
    }

    /// `graph` for inputs of the tile's size.
    pub fn graph(&self, graph: &Graph, constants: &BTreeMap<ValueId, Tensor>) -> Result<Graph> {
        let mut g = graph.clone();
        g.constants = constants.clone();
        for i in 0..g.inputs.len() {
            let mut dims = g.value(g.inputs[i]).dims().unwrap_or_default();
            dims[2..].copy_from_slice(&self.tile);
            g.set_input_dims(i, &dims);
        }
        infer::infer(&mut g)?;
        g.constants.clear();
        Ok(g)
    }

    /// Bytes of the whole image's inputs and outputs, which tiles leave whole.
    pub fn whole_bytes(graph: &Graph) -> u64 {
        let dims = graph.inputs.iter().chain(&graph.outputs).filter_map(|v| graph.value(*v).dims());
        dims.map(|d| whole_bytes(&d) as u64).sum()
    }

    /// Adds the whole image's inputs and outputs to the plan of a tile's network, and lists the copies;
    /// `None` when the network for the tile does not have the sizes that were expected of it.
    pub fn tiles(&self, graph: &Graph, lowered: &Lowered, plan: &mut Plan) -> Option<Tiles> {
        let mut whole = |dims: Vec<usize>, like: &View| {
            if matches!(like.home, Home::Constant(_)) {
                return like.clone();
            }
            let home = Home::Arena(plan.offsets.len());
            let strides = match dims.len() {
                3..=5 => channels_last(&dims, dims[1]),
                _ => ampoule_runtime::view::row_major(&dims),
            };
            plan.offsets.push(plan.size);
            plan.size += whole_bytes(&dims);
            View { home, elem: Elem::F32, offset: 0, dims, strides }
        };
        let mut views = |ids: &[ValueId], inner: &[View]| -> Option<Vec<View>> {
            ids.iter().zip(inner).map(|(id, v)| Some(whole(graph.value(*id).dims()?, v))).collect()
        };
        let inputs = views(&graph.inputs, &lowered.inputs)?;
        let outputs = views(&graph.outputs, &lowered.outputs)?;
        let axes = self.whole.len();
        let strips: Vec<Vec<Strip>> =
            (0..axes).map(|i| self.strips(i, self.tile[i])).collect::<Option<_>>()?;
        let count: usize = strips.iter().map(Vec::len).product();
        let mut list = Vec::new();
        for mut index in 0..count {
            let at: Vec<&Strip> = strips
                .iter()
                .rev()
                .map(|s| {
                    let strip = &s[index % s.len()];
                    index /= s.len();
                    strip
                })
                .collect();
            let at: Vec<&Strip> = at.into_iter().rev().collect();
            let mut before = Vec::new();
            for (from, to) in inputs.iter().zip(&lowered.inputs) {
                let mut plan: Vec<(usize, usize, i64)> = from.dims[..2].iter().map(|&d| (0, d, 1)).collect();
                plan.extend(at.iter().zip(&self.tile).map(|(s, &n)| (s.start, n, 1)));
                before.push(copy(from.sliced(&plan), to.clone())?);
            }
            let mut after = Vec::new();
            for (k, (from, to)) in lowered.outputs.iter().zip(&outputs).enumerate() {
                if matches!(to.home, Home::Constant(_)) {
                    continue;
                }
                let channels = to.dims[..2].iter().map(|&d| (0, d, 1));
                let mut inner: Vec<(usize, usize, i64)> = channels.collect();
                let mut outer = inner.clone();
                for (i, s) in at.iter().enumerate() {
                    // An axis with one tile is copied whole.
                    let (first, end, origin) = match self.rows[i].as_ref().filter(|_| strips[i].len() > 1) {
                        None => (0, to.dims[i + 2], 0),
                        Some(rows) => {
                            let scale = rows.scale(k);
                            let last = s.core.end == self.whole[i];
                            let end = if last { to.dims[i + 2] } else { scale.at(s.core.end) };
                            (scale.at(s.core.start), end, scale.at(s.start))
                        }
                    };
                    if end - origin > from.dims[i + 2] {
                        return None;
                    }
                    inner.push((first - origin, end - first, 1));
                    outer.push((first, end - first, 1));
                }
                after.push(copy(from.sliced(&inner), to.sliced(&outer))?);
            }
            list.push((before, after));
        }
        Some(Tiles { inputs, outputs, list })
    }
}

/// A step that copies `from` to `to`, which must have the same dimensions.
fn copy(from: View, to: View) -> Option<Step> {
    (from.dims == to.dims).then(|| Step {
        node: String::new(),
        op: "Tile".into(),
        kind: Kind::Copy(Loops::new(&[&from, &to])),
        reads: vec![from],
        writes: vec![to],
        in_place: false,
        macs: 0,
        scratch: None,
        rounds: None,
    })
}

/// Bytes of an input or output of sizes `dims` in the arena.
fn whole_bytes(dims: &[usize]) -> usize {
    (dims.iter().product::<usize>() * Elem::F32.size()).next_multiple_of(64)
}
