//! The receptive field of a network along one spatial axis: which rows of its inputs a range of rows of
//! its outputs needs.
//!
//! Rows of a value move with rows of the input: output row `r` of a network cut out of a larger image
//! from row `s` on is row `r + s·scale` of the whole, as long as `s` is a multiple of every stride
//! between them. Operators for which that does not hold (statistics of the whole image, products over
//! flattened pixels) have no such range, and networks with one cannot be tiled.

use ampoule_graph::infer::axis;
use ampoule_graph::op::{Channels, Coordinates, Field, Interpolation, PadMode, Window};
use ampoule_graph::{Graph, Node, Op, Tensor, ValueId};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Rows of a value per row of the input, as a reduced fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub up: usize,
    pub down: usize,
}

impl Scale {
    fn times(self, up: usize, down: usize) -> Scale {
        let (up, down) = (self.up * up, self.down * down);
        let g = gcd(up, down).max(1);
        Scale { up: up / g, down: down / g }
    }

    /// Row of the value at which row `r` of the input lies, which must be a multiple of the stride.
    pub fn at(self, r: usize) -> usize {
        r * self.up / self.down
    }
}

pub(crate) fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// How the rows of a node's outputs follow from those of its inputs.
#[derive(Clone, Copy)]
enum Along {
    Same,
    Window { extent: i64, stride: i64, begin: i64 },
    Transposed { extent: i64, stride: i64, begin: i64 },
    Scaled { up: usize, down: usize, margin: i64 },
}

/// Rows of a network along one axis.
pub(crate) struct Rows<'g> {
    graph: &'g Graph,
    along: Vec<Along>,
    scales: HashMap<ValueId, Scale>,
    axis: usize,
    /// Every place where a tile may begin is a multiple of this many input rows.
    pub stride: usize,
}

impl<'g> Rows<'g> {
    /// Follows axis `at` (2 is the first spatial one) of the only size that all inputs have along it;
    /// `None` if the network cannot be tiled along it.
    pub fn of(graph: &'g Graph, constants: &BTreeMap<ValueId, Tensor>, at: usize) -> Option<Self> {
        let rank = graph.value(*graph.inputs.first()?).dims()?.len();
        let mut scales = HashMap::new();
        for id in &graph.inputs {
            if graph.value(*id).dims()?.len() != rank || at >= rank {
                return None;
            }
            scales.insert(*id, Scale { up: 1, down: 1 });
        }
        let mut stride = 1;
        let mut along = Vec::new();
        for n in &graph.nodes {
            let how = along_of(graph, constants, n, at, rank)?;
            let mut own = None;
            for x in n.inputs.iter().flatten() {
                let Some(&s) = scales.get(x) else {
                    // A constant must be the same for all rows, unless it is no image.
                    let dims = constants.get(x)?.dims();
                    let row = n.op.row();
                    let parameters = row.field == Field::Windowed
                        || row.channels == Channels::KeptWithParameters
                        || matches!(n.op, Op::Split { .. });
                    if !parameters && dims.len() + at >= rank && dims[at + dims.len() - rank] != 1 {
                        return None;
                    }
                    continue;
                };
                if own.is_some_and(|o| o != s) {
                    return None;
                }
                own = Some(s);
            }
            let scale = match (own?, how) {
                (s, Along::Same) => s,
                (s, Along::Window { stride, .. }) => s.times(1, stride as usize),
                (s, Along::Transposed { stride, .. }) => s.times(stride as usize, 1),
                (s, Along::Scaled { up, down, .. }) => s.times(up, down),
            };
            stride = stride / gcd(stride, scale.down) * scale.down;
            for y in n.outputs.iter().flatten() {
                if graph.value(*y).dims()?.len() != rank {
                    return None;
                }
                scales.insert(*y, scale);
            }
            along.push(how);
        }
        graph.outputs.iter().all(|y| scales.contains_key(y)).then_some(Rows {
            graph,
            along,
            scales,
            axis: at,
            stride,
        })
    }

    /// The scale of output `i` of the network.
    pub fn scale(&self, i: usize) -> Scale {
        self.scales[&self.graph.outputs[i]]
    }

    fn size(&self, id: ValueId) -> i64 {
        self.graph.value(id).dims().map_or(0, |d| d[self.axis] as i64)
    }

    /// Input rows that the outputs' rows below input rows `core` need; `core` begins at a multiple of the
    /// stride and ends at one or at the end of the image.
    pub fn needed(&self, core: Range<usize>) -> Range<usize> {
        let end = self.size(self.graph.inputs[0]) as usize;
        let mut need: HashMap<ValueId, Range<i64>> = HashMap::new();
        let join = |need: &mut HashMap<ValueId, Range<i64>>, id: ValueId, r: Range<i64>| {
            let r = r.start.max(0)..r.end.min(self.size(id));
            let all = need.entry(id).or_insert(r.clone());
            *all = all.start.min(r.start)..all.end.max(r.end);
        };
        for (i, &y) in self.graph.outputs.iter().enumerate() {
            let s = self.scale(i);
            let to = if core.end >= end { self.size(y) } else { s.at(core.end) as i64 };
            join(&mut need, y, s.at(core.start) as i64..to);
        }
        for (n, how) in self.graph.nodes.iter().zip(&self.along).rev() {
            let wanted = n.outputs.iter().flatten().filter_map(|y| need.get(y).cloned());
            let Some(r) = wanted.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)) else { continue };
            let from = match *how {
                Along::Same => r,
                Along::Window { extent, stride, begin } => {
                    r.start * stride - begin..(r.end - 1) * stride - begin + extent
                }
                Along::Transposed { extent, stride, begin } => {
                    (r.start + begin - extent + 1).div_euclid(stride)
                        ..(r.end - 1 + begin).div_euclid(stride) + 1
                }
                Along::Scaled { up, down, margin } => {
                    let at = |r: i64| (r * down as i64).div_euclid(up as i64);
                    at(r.start) - margin..at(r.end) + margin
                }
            };
            for x in n.inputs.iter().flatten().filter(|x| self.scales.contains_key(x)) {
                join(&mut need, *x, from.clone());
            }
        }
        let all = self.graph.inputs.iter().filter_map(|x| need.get(x).cloned());
        let all = all.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
        all.start as usize..all.end.max(all.start) as usize
    }
}

fn along_of(
    graph: &Graph,
    constants: &BTreeMap<ValueId, Tensor>,
    n: &Node,
    at: usize,
    rank: usize,
) -> Option<Along> {
    let k = at.checked_sub(2)?;
    let spatial = |i: usize| Some(graph.value(n.input(i)?).dims()?.get(2..)?.to_vec());
    let kernel = || constants.get(&n.input(1)?).and_then(|t| Some(t.dims().get(2..)?.to_vec()));
    let window = |w: &Window, weight: &[usize], ceil: bool| {
        let r = w.resolve(&spatial(0)?, weight, ceil).ok()?;
        let extent = (r.kernel[k] as i64 - 1) * r.dilations[k] as i64 + 1;
        Some(Along::Window { extent, stride: r.strides[k] as i64, begin: r.begin[k] })
    };
    // An axis other than the one that is tiled.
    let other_axis = |a: i64| (axis(a, rank).ok()? != at).then_some(Along::Same);
    let explicit = |w: &Window| w.explicit_pads(rank - 2).is_some();
    match n.op.row().field {
        // Quantized networks are not tiled.
        Field::Pointwise if matches!(n.op, Op::Quantize { .. } | Op::Dequantize { .. }) => return None,
        Field::Pointwise => return Some(Along::Same),
        Field::Axis(a) => return other_axis(a),
        Field::Whole => return None,
        Field::Windowed => {}
    }
    match &n.op {
        Op::Conv { window: w, .. } if explicit(w) => window(w, &kernel()?, false),
        Op::MaxPool(p) | Op::AveragePool(p) if explicit(&p.window) => window(&p.window, &[], p.ceil_mode),
        Op::ConvTranspose { window: w, output_padding, output_shape, .. }
            if explicit(w) && output_shape.is_empty() =>
        {
            let r = w.resolve_transposed(&spatial(0)?, &kernel()?, output_padding, output_shape).ok()?;
            let extent = (r.kernel[k] as i64 - 1) * r.dilations[k] as i64 + 1;
            Some(Along::Transposed { extent, stride: r.strides[k] as i64, begin: r.begin[k] })
        }
        Op::Resize(r) => {
            let (from, to) = (spatial(0)?[k], graph.value(n.output()?).dims()?[at]);
            let g = gcd(from, to).max(1);
            let (up, down) = (to / g, from / g);
            if (up, down) == (1, 1) {
                return Some(Along::Same);
            }
            // Scales other than the ratio of the sizes shift from row to row.
            let scale = constants.get(&n.input(2)?).and_then(Tensor::to_f64);
            let axes = (!r.axes.is_empty()).then_some(&r.axes);
            let index = match axes {
                None => Some(at),
                Some(list) => list.iter().position(|&a| axis(a, rank) == Ok(at)),
            };
            let exact = match (scale, index) {
                (Some(s), Some(i)) if !s.is_empty() => (s.get(i)? - up as f64 / down as f64).abs() < 1e-6,
                _ => false,
            };
            let moves = matches!(r.coordinates, Coordinates::HalfPixel | Coordinates::Asymmetric)
                || (r.coordinates == Coordinates::PytorchHalfPixel && to > 1);
            let margin = match r.interpolation {
                Interpolation::Cubic { .. } => 4,
                Interpolation::Nearest(_) | Interpolation::Linear => 3,
            };
            (exact && moves && !r.antialias && up > 0).then_some(Along::Scaled { up, down, margin })
        }
        Op::Pad { mode: PadMode::Constant } => {
            let (from, to) = (spatial(0)?[k], graph.value(n.output()?).dims()?[at]);
            let pads = constants.get(&n.input(1)?)?.to_i64()?;
            let begin = match n.input(3) {
                None => *pads.get(at)?,
                Some(axes) => {
                    let axes = constants.get(&axes)?.to_i64()?;
                    axes.iter().position(|&a| axis(a, rank) == Ok(at)).map_or(0, |i| pads[i])
                }
            };
            let unchanged = from == to && begin == 0;
            Some(if unchanged { Along::Same } else { Along::Window { extent: 1, stride: 1, begin } })
        }
        // A form or an operator whose windows are not followed: the network is run whole.
        _ => None,
    }
}
