//! Which buffers share a place, and where each lies in the arena.
//!
//! An element-wise step writes over its input, a convolution over its residual. Where memory is
//! short, a convolution also writes over its input, shifted by the slices that later rounds still
//! read: ascending through depth when the output lies below the input, descending when above, so
//! that a chain of layers needs one tensor and one shift.

use crate::lower::Lowered;
use crate::step::{Kind, Step};
use ampoule_runtime::view::{Home, View};
use ampoule_runtime::{Block, Plan, plan};
use std::ops::Range;

/// Slices computed between two points at which all workers wait for each other.
const ROUND: usize = 16;

/// Most slices of a convolution that runs in rounds: far more than any scan has.
const DEEPEST: usize = 1 << 13;

/// Buffers that share a place.
struct Shared {
    /// The buffer that stands for each.
    root: Vec<usize>,
    /// First and last step that touches the place, by root.
    life: Vec<(usize, usize)>,
    /// First and last step that touches the buffer itself.
    own: Vec<(usize, usize)>,
    /// Whether a buffer lies at the far end of its place, and the distance, by root.
    far: Vec<bool>,
    shift: Vec<usize>,
}

/// Plans the arena; with `overlap`, convolutions may write over their inputs and get rounds.
pub(crate) fn place(l: &mut Lowered, overlap: bool) -> Plan {
    let own = lifetimes(l);
    let n = l.buffers.len();
    let mut s =
        Shared { root: (0..n).collect(), life: own.clone(), own, far: vec![false; n], shift: vec![0; n] };
    for i in 0..l.steps.len() {
        let step = &l.steps[i];
        if let Some((a, b)) = replaced(&s, step, i, &l.buffers) {
            s.join(a, b, s.far[a]);
        } else if overlap && let Some((a, b, plane)) = shifted(&s, step, i, &l.buffers) {
            let root = s.root[a];
            // The first of a chain lies far, so that its successor lies near.
            if s.shift[root] == 0 {
                (0..n).filter(|&k| s.root[k] == root).for_each(|k| s.far[k] = true);
            }
            let ascending = s.far[a];
            let (rounds, gap) = rounds(step, ascending);
            s.shift[root] = s.shift[root].max(gap * plane);
            s.join(a, b, !ascending);
            l.steps[i].rounds = Some(rounds);
        }
    }
    let blocks: Vec<Block> = (0..n)
        .map(|b| match s.root[b] == b && s.life[b].0 != usize::MAX {
            true => Block { size: l.buffers[b] + s.shift[b], first: s.life[b].0, last: s.life[b].1 },
            false => Block { size: 0, first: 0, last: 0 },
        })
        .collect();
    let places = plan(&blocks);
    let offset = |b: usize| {
        let root = s.root[b];
        places.offsets[root] + if s.far[b] { s.shift[root] } else { 0 }
    };
    Plan { offsets: (0..n).map(offset).collect(), size: places.size }
}

impl Shared {
    /// Puts buffer `b` into the place of `a`.
    fn join(&mut self, a: usize, b: usize, far: bool) {
        let root = self.root[a];
        self.root[b] = root;
        self.far[b] = far;
        self.life[root].1 = self.life[root].1.max(self.own[b].1);
    }
}

/// First and last step that touches each buffer; inputs are set before step 0 and outputs read
/// after the last.
fn lifetimes(l: &Lowered) -> Vec<(usize, usize)> {
    let mut life = vec![(usize::MAX, 0usize); l.buffers.len()];
    let mut touch = |v: &View, at: usize| {
        if let Home::Arena(b) = v.home {
            life[b].0 = life[b].0.min(at);
            life[b].1 = life[b].1.max(at);
        }
    };
    l.inputs.iter().for_each(|v| touch(v, 0));
    for (i, s) in l.steps.iter().enumerate() {
        s.reads.iter().chain(&s.writes).chain(&s.scratch).for_each(|v| touch(v, i));
    }
    l.outputs.iter().for_each(|v| touch(v, l.steps.len()));
    life
}

/// Bytes that no plan can do without: those of buffers that hold something between two steps, where the most are.
pub(crate) fn least(l: &Lowered) -> usize {
    // What is added before each step, as differences: a buffer holds something after its first step, up to its last.
    let mut change = vec![0i64; l.steps.len() + 2];
    for (&size, (first, last)) in l.buffers.iter().zip(lifetimes(l)).filter(|(_, life)| life.0 < life.1) {
        change[first + 1] += size as i64;
        change[last + 1] -= size as i64;
    }
    let held = change.iter().scan(0i64, |sum, c| {
        *sum += c;
        Some(*sum)
    });
    held.max().unwrap_or(0) as usize
}

/// The buffer that a step may write over element by element, and the output's.
fn replaced(s: &Shared, step: &Step, i: usize, sizes: &[usize]) -> Option<(usize, usize)> {
    let out = step.writes.first()?;
    let Home::Arena(b) = out.home else { return None };
    // A convolution reads its residual, and nothing else, at the place that it writes.
    let candidates: &[View] = match &step.kind {
        Kind::Conv(_) | Kind::Depthwise { .. } | Kind::Separable(_) => step.reads.get(1..)?,
        _ if step.in_place => &step.reads,
        _ => return None,
    };
    candidates.iter().find_map(|r| {
        let Home::Arena(a) = r.home else { return None };
        let same = |v: &View| {
            v.lies_as(&out.strides) && v.dims == out.dims && v.offset == out.offset && v.elem == out.elem
        };
        // Another view of the same memory would be overwritten before it is read.
        let alone = step.reads.iter().all(|o| match o.home {
            Home::Arena(k) if s.root[k] == s.root[a] => {
                same(o) && candidates.iter().any(|c| std::ptr::eq(c, o))
            }
            Home::Arena(_) | Home::Constant(_) => true,
        });
        let joinable = a != b && s.root[a] != s.root[b] && whole(s, a, b, i, out, sizes);
        (same(r) && alone && joinable).then_some((a, b))
    })
}

/// Whether step `i` is the last to touch buffer `a` and the first to touch `b`, and the view is all
/// of both.
fn whole(s: &Shared, a: usize, b: usize, i: usize, out: &View, sizes: &[usize]) -> bool {
    sizes[a] == sizes[b] && s.own[b].0 == i && s.own[a].1 == i && out.bytes() == sizes[b]
}

/// The buffer that a convolution may write over with a shift, the output's, and the bytes of a slice.
fn shifted(s: &Shared, step: &Step, i: usize, sizes: &[usize]) -> Option<(usize, usize, usize)> {
    let Kind::Conv(c) = &step.kind else { return None };
    let (from, to) = (step.reads.first()?, step.writes.first()?);
    let (Home::Arena(a), Home::Arena(b)) = (from.home, to.home) else { return None };
    let deep = from.dims.len() == 5 && from.dims[0] == 1 && (ROUND + 1..=DEEPEST).contains(&from.dims[2]);
    let same = from.dims == to.dims
        && from.elem == to.elem
        && from.lies_as(&to.strides)
        && from.offset == 0
        && to.offset == 0;
    if !deep || !same || a == b || !whole(s, a, b, i, to, sizes) || !c.sliced(from.dims[2]) {
        return None;
    }
    let others = step.reads[1..].iter().all(|o| match o.home {
        Home::Arena(k) => s.root[k] != s.root[a],
        Home::Constant(_) => true,
    });
    others.then_some((a, b, usize::try_from(from.strides[2]).ok()? * from.elem.size()))
}

/// Rounds of output slices, and the slices that the output must lie below (ascending) or above its
/// input.
fn rounds(step: &Step, ascending: bool) -> (Vec<Range<usize>>, usize) {
    let Kind::Conv(c) = &step.kind else { return (Vec::new(), 0) };
    let depth = step.writes[0].dims[2];
    let mut list: Vec<Range<usize>> = (0..depth).step_by(ROUND).map(|z| z..(z + ROUND).min(depth)).collect();
    let gap = list
        .iter()
        .map(|z| {
            let field = c.parts.receptive_field(z);
            match ascending {
                true => z.end.saturating_sub(field.start),
                false => field.end.saturating_sub(z.start),
            }
        })
        .max()
        .unwrap_or(0);
    if !ascending {
        list.reverse();
    }
    (list, gap)
}
