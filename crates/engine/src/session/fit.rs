//! Lowering a graph so that it fits a limit on memory, in the fastest way that does.

use super::Options;
use crate::as_3d::as_3d;
use crate::lower::{Given, How, Lowered, WeightRoom, lower};
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

/// How many times its room a single value may be: streaming holds a part of it. Whatever the room, values up to
/// [`BEYOND`] times [`SMALL_ROOM`] are tried, so that the least that would do is known.
const BEYOND: u64 = 8;
const SMALL_ROOM: u64 = 256 << 20;

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
    match bytes > BEYOND.saturating_mul(room(options).max(SMALL_ROOM)) {
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
///
/// Where it may not fit, all ways are planned before any weight is packed: no way that is given up takes memory, what is named
/// as the least does not depend on the limit, and a constant can be dropped as soon as it is packed.
pub(super) fn fit(
    graph: &Graph,
    constants: BTreeMap<ValueId, Tensor>,
    given: &Given,
    isa: Features,
    pool: &Pool,
    options: &Options,
) -> Result<Fitted> {
    let limit = room(options);
    let weights: usize = constants.values().map(|t| t.bytes().len()).sum();
    let values = graph.values.iter().filter_map(|v| v.dims()).map(|d| d.iter().product::<usize>());
    let roughly = ROUGHLY * (4 * values.max().unwrap_or(0) + weights) as u64;
    let watched = options.observe.as_ref().map_or(&[][..], |o| &o.names[..]);
    let mut search = Search { isa, pool, options, given, watched, limit, least: u64::MAX };
    if roughly <= limit && !options.planning {
        let how = search.how(false, WeightRoom::Fastest);
        let lowered = lower(graph, constants, isa, pool, &how)?;
        let plan = search.whole(lowered)?.ok_or_else(|| refused(search.least, options))?;
        let Planned { lowered, plan, stream, tiles, .. } = plan;
        return Ok(Fitted { lowered, plan, stream, tiles });
    }
    match search.small(graph, &constants)? {
        Some(Planned { lowered, plan, stream, tiles, .. }) if options.planning => {
            Ok(Fitted { lowered, plan, stream, tiles })
        }
        Some(planned) => search.pack(planned, graph, constants),
        None => Err(refused(search.least, options)),
    }
}

/// Ways to run a network within a limit, tried one after another.
struct Search<'a> {
    isa: Features,
    pool: &'a Pool,
    options: &'a Options,
    given: &'a Given,
    watched: &'a [String],
    limit: u64,
    /// The least that any way needs which was tried.
    least: u64,
}

/// A way that fits, its weights not packed but in [`Search::whole`] of a network that was packed before.
struct Planned {
    lowered: Lowered,
    plan: Plan,
    stream: Option<Stream>,
    tiles: Option<Tiles>,
    weights: WeightRoom,
    /// What is lowered instead of the network: a tile's network, or an image as a volume with its constants.
    other: Option<(Graph, Option<BTreeMap<ValueId, Tensor>>)>,
}

impl<'a> Search<'a> {
    /// How a network is lowered for good.
    fn how(&self, stream: bool, weights: WeightRoom) -> How<'a> {
        let watched = if stream { &[] } else { self.watched };
        let Options { precision, explain, .. } = *self.options;
        How { precision, stream, weights, planning: false, given: self.given, watched, explain }
    }

    /// Lowered as far as the plan needs it.
    fn planned(
        &self,
        graph: &Graph,
        constants: &BTreeMap<ValueId, Tensor>,
        stream: bool,
        weights: WeightRoom,
    ) -> Result<Lowered> {
        let How { precision, watched, explain, .. } = self.how(stream, weights);
        let how = How { precision, stream, weights, planning: true, given: self.given, watched, explain };
        lower(graph, constants.clone(), self.isa, self.pool, &how)
    }

    /// A network of which all values are held at once, if that fits: with convolutions over their inputs where it must, or
    /// where that saves much. An error where it does not and is too long to be searched further.
    fn whole(&mut self, mut lowered: Lowered) -> Result<Option<Planned>> {
        let needs = |l: &Lowered, p: &Plan| needs(l, p.size as u64);
        let at_least = self::needs(&lowered, least(&lowered) as u64);
        if lowered.steps.len() > SEARCHED && at_least > self.limit {
            return Err(refused(at_least, self.options));
        }
        let plain = place(&mut lowered, false);
        let tight = place(&mut lowered, true);
        self.least = self.least.min(needs(&lowered, &tight));
        // Rounds cost a little time; a good part of the memory is worth that without being asked.
        let plan = if needs(&lowered, &plain) <= self.limit && tight.size as f64 > WORTH * plain.size as f64 {
            lowered.steps.iter_mut().for_each(|s| s.rounds = None);
            plain
        } else {
            tight
        };
        let fits = needs(&lowered, &plan) <= self.limit;
        if !fits && lowered.steps.len() > SEARCHED {
            return Err(refused(self.least, self.options));
        }
        let weights = WeightRoom::Fastest;
        Ok(fits.then_some(Planned { lowered, plan, stream: None, tiles: None, weights, other: None }))
    }

    /// The fastest way that fits for a network that may not fit as it is.
    fn small(&mut self, graph: &Graph, constants: &BTreeMap<ValueId, Tensor>) -> Result<Option<Planned>> {
        for weights in [WeightRoom::Fastest, WeightRoom::Least] {
            let lowered = self.planned(graph, constants, false, weights)?;
            if let Some(planned) = self.whole(lowered)? {
                return Ok(Some(Planned { weights, ..planned }));
            }
            let lowered = self.planned(graph, constants, true, weights)?;
            if let Some(planned) = self.streamed(lowered, weights) {
                return Ok(Some(planned));
            }
        }
        if let Some(planned) = self.tiled(graph, constants)? {
            return Ok(Some(planned));
        }
        let Some((deep, constants)) = as_3d(graph, constants) else { return Ok(None) };
        let lowered = self.planned(&deep, &constants, true, WeightRoom::Fastest)?;
        let planned = self.streamed(lowered, WeightRoom::Fastest);
        Ok(planned.map(|mut p| {
            let flat = |v: &mut View| {
                // The axis that was put in lies nowhere.
                v.dims.remove(3);
                v.strides.remove(3);
            };
            p.lowered.inputs.iter_mut().chain(&mut p.lowered.outputs).for_each(flat);
            Planned { other: Some((deep, Some(constants))), ..p }
        }))
    }

    /// A network that is streamed along depth, if that fits.
    fn streamed(&mut self, lowered: Lowered, weights: WeightRoom) -> Option<Planned> {
        let s = streamed(&lowered, self.limit, &mut self.least)?;
        Some(Planned { lowered, plan: s.plan.clone(), stream: Some(s), tiles: None, weights, other: None })
    }

    /// The network on the largest overlapping parts of its image that fit.
    fn tiled(&mut self, graph: &Graph, constants: &BTreeMap<ValueId, Tensor>) -> Result<Option<Planned>> {
        // Their values are parts of those that are watched.
        self.watched = &[];
        let (ends, weights) = (Tiling::whole_bytes(graph), WeightRoom::Fastest);
        let mut tiling = Tiling::of(graph, constants);
        while let Some(tiling) = tiling.as_mut()
            && tiling.shrink()
        {
            let Ok(small) = tiling.graph(graph, constants) else { break };
            let mut lowered = self.planned(&small, constants, false, weights)?;
            let mut plan = place(&mut lowered, true);
            let needed = needs(&lowered, plan.size as u64 + ends);
            self.least = self.least.min(needed);
            if needed <= self.limit {
                let Some(tiles) = tiling.tiles(graph, &lowered, &mut plan) else { break };
                let other = Some((small, None));
                return Ok(Some(Planned { lowered, plan, stream: None, tiles: Some(tiles), weights, other }));
            }
        }
        Ok(None)
    }

    /// Packs the weights of a way that was chosen.
    fn pack(&self, planned: Planned, graph: &Graph, constants: BTreeMap<ValueId, Tensor>) -> Result<Fitted> {
        let Planned { lowered, plan, stream, tiles, weights, other } = planned;
        let Lowered { steps, inputs, outputs, buffers, .. } = lowered;
        let rounds: Vec<_> = steps.into_iter().map(|s| s.rounds).collect();
        let (other, own) = other.map_or((None, None), |(graph, own)| (Some(graph), own));
        // Only one of the two may hold constants that are to be dropped.
        let constants = own.unwrap_or(constants);
        let how = self.how(stream.is_some(), weights);
        let mut lowered = lower(other.as_ref().unwrap_or(graph), constants, self.isa, self.pool, &how)?;
        assert_eq!(lowered.buffers, buffers, "another plan");
        (lowered.inputs, lowered.outputs) = (inputs, outputs);
        lowered.steps.iter_mut().zip(rounds).for_each(|(s, r)| s.rounds = r);
        Ok(Fitted { lowered, plan, stream, tiles })
    }
}

/// Bytes that a network needs with an arena of `arena` bytes: while it runs, or while it is loaded, before there is one.
fn needs(lowered: &Lowered, arena: u64) -> u64 {
    (weight_bytes(lowered) + arena).max(lowered.loading)
}

/// A schedule of `lowered` in slices that fits, the fastest first; the least that any needs is noted.
fn streamed(lowered: &Lowered, limit: u64, least: &mut u64) -> Option<Stream> {
    if !stream::possible(lowered) {
        return None;
    }
    for block in BLOCKS {
        let Some(s) = stream::schedule(lowered, block) else { continue };
        let needed = needs(lowered, s.plan.size as u64);
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
