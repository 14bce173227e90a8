//! Exact execution of a network along depth: every step computes a few slices as soon as its inputs
//! have the slices that it needs, and a value holds only the slices that some later step still needs.
//!
//! A normalisation with statistics of the whole image makes two passes of the network before and
//! after it: the first writes the value whole and adds up its statistics, the second begins when
//! they are complete and normalises what it reads.
//!
//! The schedule is simulated once when the session is made. Nothing is computed twice and every
//! sum runs in the same order as without streaming, so the results have the same bits (statistics
//! aside, whose parts are cut otherwise and which are then equal up to rounding).

use crate::lower::Lowered;
use crate::step::{DEPTH, Kind, Step};
use ampoule_runtime::view::{Home, View};
use ampoule_runtime::{Block, Plan, plan};
use std::ops::Range;

/// Most slices of a network that is streamed: far more than any scan has, and schedules stay short.
const DEEPEST: usize = 1 << 13;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Compute slices of a step.
    Run(usize, Range<usize>),
    /// Move the slices of a buffer that are still needed to its start: buffer, slices, and the slice
    /// that lay at the start before.
    Move(usize, Range<usize>, usize),
}

/// A schedule and the place of every buffer.
pub(crate) struct Stream {
    pub actions: Vec<Action>,
    pub plan: Plan,
    /// Bytes of a slice of each buffer; 0 for buffers that are not streamed.
    pub slice: Vec<usize>,
}

/// What is known of a buffer while simulating.
#[derive(Clone, Default)]
struct Buffer {
    depth: usize,
    slice: usize,
    readers: Vec<(usize, usize)>,
    writers: Vec<usize>,
    kept: bool,
}

/// Whether every step can run slice by slice.
pub(crate) fn possible(l: &Lowered) -> bool {
    !l.steps.is_empty() && l.steps.iter().all(Step::sliced) && buffers(l).is_some()
}

/// Readers, writers and slices of every buffer; `None` if views of one disagree.
fn buffers(l: &Lowered) -> Option<Vec<Buffer>> {
    let mut list = vec![Buffer::default(); l.buffers.len()];
    let mut see = |v: &View| -> Option<usize> {
        let Home::Arena(b) = v.home else { return None };
        Some(b).filter(|_| v.dims.len() == 5).inspect(|&b| {
            list[b].depth = list[b].depth.max(v.dims[DEPTH]);
            list[b].slice = list[b].slice.max(v.strides[DEPTH].unsigned_abs() * v.elem.size());
        })
    };
    let scratch: Vec<usize> = l
        .steps
        .iter()
        .filter_map(|s| match s.scratch.as_ref()?.home {
            Home::Arena(b) => Some(b),
            Home::Constant(_) => None,
        })
        .collect();
    let mut seen = Vec::new();
    for (i, s) in l.steps.iter().enumerate() {
        for (k, v) in s.reads.iter().enumerate() {
            if matches!(v.home, Home::Arena(_)) {
                seen.push((see(v)?, Some((i, k)), None));
            }
        }
        for v in &s.writes {
            seen.push((see(v)?, None, Some(i)));
        }
    }
    let whole: Vec<usize> = l.inputs.iter().chain(&l.outputs).map(&mut see).collect::<Option<_>>()?;
    for (b, reader, writer) in seen {
        list[b].readers.extend(reader);
        list[b].writers.extend(writer);
    }
    for b in whole {
        list[b].kept = true;
    }
    for (b, buffer) in list.iter().enumerate() {
        let streamed = buffer.depth > 0;
        let fits = buffer.depth * buffer.slice == l.buffers[b];
        if (streamed && !fits) || (!streamed && l.buffers[b] > 0 && !scratch.contains(&b)) {
            return None;
        }
    }
    Some(list)
}

/// State of the simulation.
struct Sim<'a> {
    l: &'a Lowered,
    buffers: Vec<Buffer>,
    /// Slices done of each step.
    done: Vec<usize>,
    /// First slice of each buffer that some reader still needs.
    low: Vec<usize>,
    /// Most slices held of each buffer at once.
    most: Vec<usize>,
    runs: Vec<(usize, Range<usize>)>,
    /// Low marks after every run, for placing the windows afterwards.
    lows: Vec<Vec<(usize, usize)>>,
    /// Slices of the deepest value that are computed at once.
    block: usize,
    deepest: usize,
}

impl Sim<'_> {
    fn depth(&self, step: usize) -> usize {
        self.l.steps[step].writes[0].dims[DEPTH]
    }

    /// Slices of a buffer that are complete.
    fn high(&self, b: usize) -> usize {
        let buffer = &self.buffers[b];
        let done = buffer.writers.iter().map(|&w| self.done[w]).min();
        done.unwrap_or(buffer.depth)
    }

    /// Computes step `i` up to slice `to`, a block at a time, and first whatever that needs: nothing is
    /// computed before it is asked for, so that windows stay small.
    fn pull(&mut self, i: usize, to: usize) -> Option<()> {
        let step = &self.l.steps[i];
        let share = (self.block * self.depth(i)).div_ceil(self.deepest).max(1);
        while self.done[i] < to {
            let z = self.done[i]..(self.done[i] + share).min(to);
            for (k, v) in step.reads.iter().enumerate() {
                let Home::Arena(b) = v.home else { continue };
                let whole = k == 0 && step.waits();
                let need = if whole { self.buffers[b].depth } else { step.receptive_field(k, z.clone()).end };
                for w in self.buffers[b].writers.clone() {
                    // Steps are in order, so this ends.
                    self.pull(w, need.min(self.depth(w)))?;
                }
            }
            self.run(i, z)?;
        }
        Some(())
    }

    /// Notes that step `i` computes slices `z`.
    fn run(&mut self, i: usize, z: Range<usize>) -> Option<()> {
        let step = &self.l.steps[i];
        let Home::Arena(out) = step.writes[0].home else { return None };
        self.done[i] = z.end;
        self.most[out] = self.most[out].max(z.end - self.low[out]);
        self.runs.push((i, z));
        let mut changed = Vec::new();
        for v in step.reads.iter().chain(&step.writes) {
            let Home::Arena(b) = v.home else { continue };
            let low = self.needed(b);
            if low > self.low[b] {
                self.low[b] = low;
                changed.push((b, low));
            }
        }
        self.lows.push(changed);
        Some(())
    }

    /// First slice of buffer `b` that is still needed.
    fn needed(&self, b: usize) -> usize {
        let buffer = &self.buffers[b];
        if buffer.kept {
            return 0;
        }
        let next = |&(i, k): &(usize, usize)| {
            let depth = self.depth(i);
            if self.done[i] == depth {
                return buffer.depth;
            }
            // All that is left, since windows of a resampling need not begin in order.
            self.l.steps[i].receptive_field(k, self.done[i]..depth).start
        };
        buffer.readers.iter().map(next).min().unwrap_or(buffer.depth).min(self.high(b))
    }
}

/// Schedules `l` in blocks of at most `block` slices of the deepest value; `None` if it cannot be.
pub(crate) fn schedule(l: &Lowered, block: usize) -> Option<Stream> {
    let buffers = buffers(l)?;
    let deepest = buffers.iter().map(|b| b.depth).max().unwrap_or(1).max(1);
    if deepest > DEEPEST {
        return None;
    }
    let n = l.buffers.len();
    let mut sim = Sim {
        l,
        buffers,
        done: vec![0; l.steps.len()],
        low: vec![0; n],
        most: vec![0; n],
        runs: Vec::new(),
        lows: Vec::new(),
        block,
        deepest,
    };
    // The last step is what everything before it leads to; what leads to nothing later follows.
    for i in (0..l.steps.len()).rev() {
        sim.pull(i, sim.depth(i))?;
    }
    Some(arrange(l, &sim.buffers, block, deepest, sim.runs, &sim.most, &sim.lows))
}

/// Gives every window a capacity, adds the moves that this needs, and places the windows.
fn arrange(
    l: &Lowered,
    buffers: &[Buffer],
    block: usize,
    deepest: usize,
    runs: Vec<(usize, Range<usize>)>,
    most: &[usize],
    lows: &[Vec<(usize, usize)>],
) -> Stream {
    let n = buffers.len();
    let capacity: Vec<usize> = (0..n)
        .map(|b| {
            let Buffer { depth, kept, .. } = buffers[b];
            // Room to go on for a while before the rest has to be moved.
            let slack = (block * depth).div_ceil(deepest).max(most[b] / 4).max(1);
            let want = most[b] + slack;
            if kept || want * 10 >= depth * 9 { depth } else { want }
        })
        .collect();
    let (mut start, mut low) = (vec![0usize; n], vec![0usize; n]);
    let mut high = vec![0usize; n];
    let mut life = vec![(usize::MAX, 0usize); n];
    let mut actions = Vec::new();
    let touch = |life: &mut Vec<(usize, usize)>, v: &View, at: usize| {
        if let Home::Arena(b) = v.home {
            life[b].0 = life[b].0.min(at);
            life[b].1 = life[b].1.max(at);
        }
    };
    l.inputs.iter().for_each(|v| touch(&mut life, v, 0));
    for ((i, z), changed) in runs.into_iter().zip(lows) {
        let step = &l.steps[i];
        if let Home::Arena(b) = step.writes[0].home {
            if z.end - start[b] > capacity[b] {
                actions.push(Action::Move(b, low[b]..high[b].max(low[b]), start[b]));
                start[b] = low[b];
            }
            high[b] = high[b].max(z.end);
        }
        let at = actions.len();
        step.reads.iter().chain(&step.writes).chain(&step.scratch).for_each(|v| touch(&mut life, v, at));
        actions.push(Action::Run(i, z));
        changed.iter().for_each(|&(b, k)| low[b] = k);
    }
    l.outputs.iter().for_each(|v| touch(&mut life, v, actions.len()));
    let size = |b: usize| if buffers[b].depth > 0 { capacity[b] * buffers[b].slice } else { l.buffers[b] };
    // What a normalisation wrote takes the place of what it read, where both are held whole.
    let mut place: Vec<usize> = (0..n).collect();
    for step in &l.steps {
        if let Some((a, b)) = replaced(step, buffers)
            && [a, b].iter().all(|&x| capacity[x] == buffers[x].depth)
            && size(a) == size(b)
        {
            place[b] = place[a];
            let root = place[a];
            life[root] = (life[root].0.min(life[b].0), life[root].1.max(life[b].1));
        }
    }
    // Steps run one after the other, so all share the largest scratch.
    let scratch: Vec<usize> = (0..n).filter(|&b| buffers[b].depth == 0).collect();
    let shared = scratch.iter().copied().max_by_key(|&b| l.buffers[b]);
    let blocks: Vec<Block> = (0..n)
        .map(|b| match life[b].0 {
            usize::MAX => Block { size: 0, first: 0, last: 0 },
            _ if place[b] != b => Block { size: 0, first: 0, last: 0 },
            _ if Some(b) == shared => Block { size: size(b), first: 0, last: actions.len() },
            _ if buffers[b].depth == 0 => Block { size: 0, first: 0, last: 0 },
            first => Block { size: size(b), first, last: life[b].1 },
        })
        .collect();
    let mut plan = plan(&blocks);
    for b in scratch {
        plan.offsets[b] = shared.map_or(0, |s| plan.offsets[s]);
    }
    for b in 0..n {
        plan.offsets[b] = plan.offsets[place[b]];
    }
    let slice = buffers.iter().map(|b| if b.depth > 0 { b.slice } else { 0 }).collect();
    Stream { actions, plan, slice }
}

/// The buffer that a normalisation reads and no other step does, and the one that it alone writes.
fn replaced(step: &Step, buffers: &[Buffer]) -> Option<(usize, usize)> {
    let (from, to) = (step.reads.first()?, step.writes.first()?);
    let (Home::Arena(a), Home::Arena(b)) = (from.home, to.home) else { return None };
    let same = from.dims == to.dims && from.lies_as(&to.strides) && from.elem == to.elem;
    let alone = buffers[a].readers.len() == 1 && buffers[b].writers.len() == 1;
    let places = a != b && from.offset == 0 && to.offset == 0 && !buffers[a].kept && !buffers[b].kept;
    (matches!(&step.kind, Kind::Norm(n) if n.sums.is_some()) && same && alone && places).then_some((a, b))
}
