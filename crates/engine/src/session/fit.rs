//! Lowering a graph so that it fits a limit on memory, in the fastest way that does.

use super::Options;
use crate::as_3d::as_3d;
use crate::error::LowerError;
use crate::lower::{How, Lowered, WeightRoom, lower};
use crate::place::{least, place};
use crate::step::{Kind, Stored};
use crate::stream::{self, Stream};
use crate::tiling::{Tiles, Tiling};
use crate::{Error, Result};
use ampoule_graph::{Graph, Tensor, ValueId};
use ampoule_kernels::Features;
use ampoule_runtime::{Plan, Pool, View};
use std::collections::BTreeMap;

/// A lowered graph that fits the limit.
pub(super) struct Fitted {
    pub lowered: Lowered,
    pub plan: Plan,
    pub stream: Option<Stream>,
    pub tiles: Option<Tiles>,
}

/// How many times the limit a single value may be: streaming holds a part of it.
const BEYOND: u64 = 8;

/// How many times the largest value and all weights a network surely needs less than.
const ROUGHLY: u64 = 16;

/// Share of the plain plan below which convolutions over their inputs are taken unasked.
const WORTH: f64 = 0.85;

/// Most steps of a network for which ways to need less memory are searched, far more than networks of this field have.
/// The search takes a time that grows with the square of the steps.
const SEARCHED: usize = 4096;

/// Slices per round that streaming tries, the fastest first.
const BLOCKS: [usize; 4] = [16, 8, 4, 2];

/// Refuses a graph with a value far beyond the limit, before anything is laid out: it cannot be streamed into that.
pub(super) fn too_large(graph: &Graph, options: &Options) -> Result<()> {
    let largest = graph.values.iter().filter_map(|v| v.dims()).map(|d| d.iter().product::<usize>()).max();
    let bytes = (options.precision.elem().size() * largest.unwrap_or(0)) as u64;
    match bytes > BEYOND.saturating_mul(room(options)) {
        true => Err(refused(bytes, options)),
        false => Ok(()),
    }
}

/// Bytes that a network may take.
fn room(options: &Options) -> u64 {
    options.max_bytes.map_or(u64::MAX, |most| most.saturating_sub(options.held_bytes))
}

/// The error for a network that needs so many bytes: with what is held beside it, against the limit.
fn refused(bytes: u64, options: &Options) -> Error {
    let needed_mib = bytes.saturating_add(options.held_bytes).div_ceil(1 << 20);
    Error::Memory { needed_mib, limit_mib: options.max_bytes.unwrap_or(u64::MAX) >> 20 }
}

/// Lowers `graph` in the fastest way that fits: as it is, with convolutions that overwrite their
/// inputs, streamed along depth, with the smallest weights, both, tile by tile, or (images) streamed along height.
pub(super) fn fit(
    graph: &Graph,
    constants: BTreeMap<ValueId, Tensor>,
    isa: Features,
    pool: &Pool,
    options: &Options,
) -> Result<Fitted> {
    let limit = room(options);
    // A second lowering needs the tensors again: they are kept where it may come to that.
    let weights: usize = constants.values().map(|t| t.bytes().len()).sum();
    let values = graph.values.iter().filter_map(|v| v.dims()).map(|d| d.iter().product::<usize>());
    let roughly = ROUGHLY * (4 * values.max().unwrap_or(0) + weights) as u64;
    let watched = options.observe.as_ref().map_or(&[][..], |o| &o.names[..]);
    let mut search = Search { isa, pool, options, watched, limit, least: u64::MAX, most_weights: u64::MAX };
    if roughly <= limit {
        let lowered = search.lower(graph, constants, false, search.fastest())?;
        return search.whole(lowered)?.ok_or_else(|| refused(search.least, options));
    }
    search.small(graph, constants)
}

/// Ways to run a network within a limit, tried one after another.
struct Search<'a> {
    isa: Features,
    pool: &'a Pool,
    options: &'a Options,
    watched: &'a [String],
    limit: u64,
    /// The least that any way needs which was tried.
    least: u64,
    /// Bytes of packed weights beyond which a way neither fits nor needs less than others. Packing more would itself
    /// exceed the limit.
    most_weights: u64,
}

impl Search<'_> {
    fn fastest(&self) -> WeightRoom {
        WeightRoom::Fastest(self.most_weights)
    }

    fn lower(
        &self,
        graph: &Graph,
        constants: BTreeMap<ValueId, Tensor>,
        stream: bool,
        weights: WeightRoom,
    ) -> Result<Lowered> {
        let watched = if stream { &[] } else { self.watched };
        let (precision, explain) = (self.options.precision, self.options.explain);
        lower(graph, constants, self.isa, self.pool, &How { precision, stream, weights, watched, explain })
    }

    /// The same, `None` where weights take more than they may.
    fn bounded(
        &self,
        graph: &Graph,
        constants: BTreeMap<ValueId, Tensor>,
        stream: bool,
        weights: WeightRoom,
    ) -> Result<Option<Lowered>> {
        match self.lower(graph, constants, stream, weights) {
            Err(Error::Lower { reason: LowerError::Weights { .. }, .. }) => Ok(None),
            lowered => lowered.map(Some),
        }
    }

    /// A network of which all values are held at once, if that fits: with convolutions over their inputs where it must, or
    /// where that saves much. An error where it does not and is too long to be searched further.
    fn whole(&mut self, mut lowered: Lowered) -> Result<Option<Fitted>> {
        let weights = weight_bytes(&lowered);
        let needs = |p: &Plan| weights + p.size as u64;
        let at_least = weights + least(&lowered) as u64;
        if lowered.steps.len() > SEARCHED && at_least > self.limit {
            return Err(refused(at_least, self.options));
        }
        let plain = place(&mut lowered, false);
        let tight = place(&mut lowered, true);
        self.least = self.least.min(needs(&tight));
        // Rounds cost a little time; a good part of the memory is worth that without being asked.
        let plan = if needs(&plain) <= self.limit && tight.size as f64 > WORTH * plain.size as f64 {
            lowered.steps.iter_mut().for_each(|s| s.rounds = None);
            plain
        } else {
            tight
        };
        let fits = needs(&plan) <= self.limit;
        if !fits && lowered.steps.len() > SEARCHED {
            return Err(refused(self.least, self.options));
        }
        Ok(fits.then_some(Fitted { lowered, plan, stream: None, tiles: None }))
    }

    /// A network that may not fit as it is.
    fn small(&mut self, graph: &Graph, spare: BTreeMap<ValueId, Tensor>) -> Result<Fitted> {
        self.most_weights = self.limit;
        if let Some(lowered) = self.bounded(graph, spare.clone(), false, self.fastest())?
            && let Some(fitted) = self.whole(lowered)?
        {
            return Ok(fitted);
        }
        if let Some(fitted) = self.streamed(graph, spare.clone(), self.fastest())? {
            return Ok(fitted);
        }
        let compact = self.lower(graph, spare.clone(), false, WeightRoom::Least)?;
        if let Some(fitted) = self.whole(compact)? {
            return Ok(fitted);
        }
        // What follows counts for the least that is named, so that this is the same whatever the limit.
        self.most_weights = self.limit.max(self.least);
        if let Some(fitted) = self.streamed(graph, spare.clone(), WeightRoom::Least)? {
            return Ok(fitted);
        }
        if let Some(fitted) = self.tiled(graph, &spare)? {
            return Ok(fitted);
        }
        if let Some((deep, constants)) = as_3d(graph, &spare)
            && let Some(mut lowered) = self.bounded(&deep, constants, true, self.fastest())?
            && let Some(s) = streamed(&lowered, self.limit, &mut self.least)
        {
            let flat = |v: &mut View| {
                // The axis that was put in lies nowhere.
                v.dims.remove(3);
                v.strides.remove(3);
            };
            lowered.inputs.iter_mut().chain(&mut lowered.outputs).for_each(flat);
            return Ok(Fitted { lowered, plan: s.plan.clone(), stream: Some(s), tiles: None });
        }
        Err(refused(self.least, self.options))
    }

    /// A network that is streamed along depth.
    fn streamed(
        &mut self,
        graph: &Graph,
        constants: BTreeMap<ValueId, Tensor>,
        weights: WeightRoom,
    ) -> Result<Option<Fitted>> {
        let Some(lowered) = self.bounded(graph, constants, true, weights)? else { return Ok(None) };
        let stream = streamed(&lowered, self.limit, &mut self.least);
        Ok(stream.map(|s| Fitted { lowered, plan: s.plan.clone(), stream: Some(s), tiles: None }))
    }

    /// The network on the largest overlapping parts of its image that fit.
    fn tiled(&mut self, graph: &Graph, spare: &BTreeMap<ValueId, Tensor>) -> Result<Option<Fitted>> {
        // Their values are parts of those that are watched.
        self.watched = &[];
        // Tiles leave inputs and outputs whole.
        let dims = graph.inputs.iter().chain(&graph.outputs).filter_map(|v| graph.value(*v).dims());
        let ends: u64 = dims.map(|d| 4 * d.iter().product::<usize>() as u64).sum();
        let mut tiling = if ends < self.limit { Tiling::of(graph, spare) } else { None };
        while let Some(tiling) = tiling.as_mut()
            && tiling.shrink()
        {
            let Ok(small) = tiling.graph(graph, spare) else { break };
            let Some(mut lowered) = self.bounded(&small, spare.clone(), false, self.fastest())? else {
                continue;
            };
            let mut plan = place(&mut lowered, true);
            let Some(tiles) = tiling.tiles(graph, &lowered, &mut plan) else { break };
            let needed = weight_bytes(&lowered) + plan.size as u64;
            self.least = self.least.min(needed);
            if needed <= self.limit {
                return Ok(Some(Fitted { lowered, plan, stream: None, tiles: Some(tiles) }));
            }
        }
        Ok(None)
    }
}

/// A schedule of `lowered` in slices that fits, the fastest first; the least that any needs is noted.
fn streamed(lowered: &Lowered, limit: u64, least: &mut u64) -> Option<Stream> {
    if !stream::possible(lowered) {
        return None;
    }
    let weights = weight_bytes(lowered);
    for block in BLOCKS {
        let Some(s) = stream::schedule(lowered, block) else { continue };
        let needed = weights + s.plan.size as u64;
        *least = (*least).min(needed);
        if needed <= limit {
            return Some(s);
        }
    }
    None
}

/// Bytes of constants and packed weights.
pub(super) fn weight_bytes(l: &Lowered) -> u64 {
    let constants: usize = l.constants.iter().map(Stored::bytes).sum();
    let packed: usize = l
        .steps
        .iter()
        .map(|s| match &s.kind {
            Kind::Conv(c) => c.parts.bytes(),
            Kind::Depthwise { filters: f, .. } => 4 * (f.weights.len() + f.bias.len() + f.scale.len()),
            Kind::Separable(plan) => plan.bytes(),
            Kind::LayerNorm { scale, shift, .. } => 4 * (scale.len() + shift.len()),
            // These hold a few numbers for each channel at most.
            Kind::Norm(_) | Kind::Scale(_) | Kind::Pool(_) | Kind::GlobalAverage | Kind::Resize(_) => 0,
            Kind::Unary(..) | Kind::Table(..) | Kind::Binary(..) | Kind::Copy(_) | Kind::Fill(_) => 0,
            // A few functions.
            Kind::Chain(..) => 0,
            Kind::Softmax { .. } | Kind::MatMul(_) | Kind::Attention(_) | Kind::Reference { .. } => 0,
            Kind::Reduce(_) | Kind::Map(..) | Kind::Scan(..) | Kind::Indexed(_) | Kind::GridSample(_) => 0,
            Kind::Take(plan) => plan.bytes(),
            Kind::Recurrent(layer, _) => layer.bytes(),
        })
        .sum();
    (constants + packed) as u64
}
