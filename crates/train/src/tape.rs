//! The order of a training step, and where everything lies in memory: planned before the first step.
//!
//! Outputs of cheap layers (normalisation, activation, concatenation, resampling) are computed again on
//! the way back instead of being kept. Under a memory limit, outputs of convolutions between checkpoints
//! are too (Chen and others, "Training Deep Nets with Sublinear Memory Cost", 2016).

use crate::layer::{Dims, Reads, len};
use ampoule_runtime::{Block, Plan, plan};
use std::ops::Range;

/// What the schedule needs to know of a layer.
pub(crate) struct Link {
    pub inputs: Vec<usize>,
    pub output: usize,
    pub reads: Reads,
    pub cheap: bool,
    pub in_place: bool,
    /// Whether it has parameters.
    pub trains: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Computes a layer's output; the second time where `again`.
    Forward { layer: usize, again: bool, x: Vec<usize>, y: usize },
    /// Outputs are read, and their gradients written.
    Loss,
    /// A layer's way back; places of what it reads, and for each input where the gradient goes and
    /// whether it is added.
    Back { layer: usize, x: Vec<usize>, y: Option<usize>, dy: usize, dx: Vec<Option<(usize, bool)>> },
}

/// A planned step. Places are indexes of `blocks`.
pub(crate) struct Tape {
    pub actions: Vec<Action>,
    /// Floats of each place.
    pub sizes: Vec<usize>,
    pub plan: Plan,
    pub inputs: Vec<usize>,
    /// Places of the outputs and of their gradients.
    pub outputs: Vec<[usize; 2]>,
}

/// How many of the values that convolutions compute lie between two that are kept.
const LEVELS: [usize; 9] = [1, 2, 3, 4, 6, 8, 12, 16, 32];

impl Tape {
    /// Indices of the floats of place `p` in the arena.
    pub fn place(&self, p: usize) -> Range<usize> {
        let first = self.plan.offsets[p] / 4;
        first..first + self.sizes[p]
    }

    /// The step with the least computation whose memory stays below `most` bytes, and the smallest one
    /// where none does.
    pub fn new(links: &[Link], values: &[Dims], inputs: &[usize], outputs: &[usize], most: u64) -> Tape {
        let mut best: Option<Tape> = None;
        for level in LEVELS {
            let tape = Tape::at(links, values, inputs, outputs, level);
            let size = tape.plan.size as u64;
            if best.as_ref().is_none_or(|b| size < b.plan.size as u64) {
                best = Some(tape);
            }
            if size <= most {
                break;
            }
        }
        best.unwrap_or_else(|| Tape::at(links, values, inputs, outputs, 1))
    }

    fn at(links: &[Link], values: &[Dims], inputs: &[usize], outputs: &[usize], level: usize) -> Tape {
        let mut made = vec![None; values.len()];
        links.iter().enumerate().for_each(|(i, l)| made[l.output] = Some(i));
        // Values that the loss depends on through parameters.
        let mut moves = vec![false; values.len()];
        for l in links {
            moves[l.output] = l.trains || l.inputs.iter().any(|&v| moves[v]);
        }
        let mut wanted = vec![false; values.len()];
        outputs.iter().for_each(|&o| wanted[o] = moves[o]);
        for l in links.iter().rev().filter(|l| l.trains || l.inputs.iter().any(|&v| moves[v])) {
            if wanted[l.output] {
                l.inputs.iter().for_each(|&v| wanted[v] |= moves[v]);
            }
        }
        let kept = kept(links, &made, &wanted, values.len(), level);

        // Where memory is short, what is cheap is rather computed a third time.
        let brief = level > 1;
        let mut b = Building { sizes: Vec::new(), life: Vec::new(), actions: Vec::new(), brief };
        let mut current: Vec<Option<usize>> = vec![None; values.len()];
        for &v in inputs {
            current[v] = Some(b.place(len(&values[v])));
        }
        for (i, l) in links.iter().enumerate() {
            let x: Vec<usize> = l.inputs.iter().filter_map(|&v| current[v]).collect();
            let y = b.place(len(&values[l.output]));
            b.act(Action::Forward { layer: i, again: false, x, y });
            current[l.output] = Some(y);
        }
        let mut gradient: Vec<Option<usize>> = vec![None; values.len()];
        let mut ends = Vec::new();
        for &o in outputs {
            let g = *gradient[o].get_or_insert_with(|| b.place(len(&values[o])));
            ends.push([current[o].unwrap_or(0), g]);
        }
        let at = b.actions.len();
        ends.iter().flatten().for_each(|&p| b.touch(p, at));
        b.actions.push(Action::Loss);
        for v in 0..values.len() {
            if !kept[v] {
                current[v] = None;
            }
        }
        for (i, l) in links.iter().enumerate().rev() {
            let Some(dy) = gradient[l.output].filter(|_| wanted[l.output]) else { continue };
            if l.reads.inputs {
                l.inputs.iter().for_each(|&v| b.ensure(v, links, &made, values, &mut current));
            }
            if l.reads.output {
                b.ensure(l.output, links, &made, values, &mut current);
            }
            let x = match l.reads.inputs {
                true => l.inputs.iter().filter_map(|&v| current[v]).collect(),
                false => Vec::new(),
            };
            let y = current[l.output].filter(|_| l.reads.output);
            let mut dx = vec![None; l.inputs.len()];
            for (k, &v) in l.inputs.iter().enumerate().rev() {
                if !wanted[v] {
                    continue;
                }
                dx[k] = Some(match gradient[v] {
                    Some(g) => (g, true),
                    None => {
                        let same = k == 0 && l.in_place && len(&values[v]) == len(&values[l.output]);
                        let g = if same { dy } else { b.place(len(&values[v])) };
                        gradient[v] = Some(g);
                        (g, false)
                    }
                });
            }
            b.act(Action::Back { layer: i, x, y, dy, dx });
        }
        let blocks: Vec<Block> = b
            .sizes
            .iter()
            .zip(&b.life)
            .map(|(&n, life)| {
                let (first, last) = life.unwrap_or((0, 0));
                Block { size: 4 * n, first, last }
            })
            .collect();
        Tape {
            plan: plan(&blocks),
            sizes: b.sizes,
            actions: b.actions,
            inputs: (0..inputs.len()).collect(),
            outputs: ends,
        }
    }
}

/// Which values stay in memory between the way there and the way back.
fn kept(links: &[Link], made: &[Option<usize>], wanted: &[bool], values: usize, level: usize) -> Vec<bool> {
    let mut needed = vec![false; values];
    for l in links.iter().filter(|l| wanted[l.output]) {
        if l.reads.inputs {
            l.inputs.iter().for_each(|&v| needed[v] = true);
        }
        if l.reads.output {
            needed[l.output] = true;
        }
    }
    let mut kept = vec![false; values];
    let mut count = 0usize;
    // From the end: what is computed again needs its inputs in turn.
    for v in (0..values).rev() {
        if !needed[v] {
            continue;
        }
        let Some(l) = made[v].map(|i| &links[i]) else {
            kept[v] = true;
            continue;
        };
        let again = l.cheap || {
            count += 1;
            !count.is_multiple_of(level)
        };
        match again {
            true => l.inputs.iter().for_each(|&x| needed[x] = true),
            false => kept[v] = true,
        }
    }
    kept
}

struct Building {
    sizes: Vec<usize>,
    /// First and last action that touches each place.
    life: Vec<Option<(usize, usize)>>,
    actions: Vec<Action>,
    /// Whether cheap values are dropped as soon as what they were computed for is there.
    brief: bool,
}

impl Building {
    fn place(&mut self, floats: usize) -> usize {
        self.sizes.push(floats);
        // It is written by the action that comes next.
        self.life.push(Some((self.actions.len(), self.actions.len())));
        self.sizes.len() - 1
    }

    fn touch(&mut self, place: usize, at: usize) {
        if let Some(life) = &mut self.life[place] {
            life.1 = life.1.max(at);
        }
    }

    fn act(&mut self, action: Action) {
        let at = self.actions.len();
        match &action {
            Action::Forward { x, y, .. } => x.iter().chain([y]).for_each(|&p| self.touch(p, at)),
            Action::Back { x, y, dy, dx, .. } => {
                let places = x.iter().chain(y).chain([dy]).copied();
                let all: Vec<usize> = places.chain(dx.iter().flatten().map(|d| d.0)).collect();
                all.into_iter().for_each(|p| self.touch(p, at));
            }
            Action::Loss => {}
        }
        self.actions.push(action);
    }

    /// Makes sure that value `v` is there, computing it and what it comes from again where needed.
    fn ensure(
        &mut self,
        v: usize,
        links: &[Link],
        made: &[Option<usize>],
        values: &[Dims],
        current: &mut [Option<usize>],
    ) {
        // Deepest first, without recursion: a chain may be as long as the network.
        let (mut open, mut passing) = (vec![v], Vec::new());
        let wanted = v;
        while let Some(&v) = open.last() {
            let Some(layer) = made[v].filter(|_| current[v].is_none()) else {
                open.pop();
                continue;
            };
            let l = &links[layer];
            let missing: Vec<usize> = l.inputs.iter().copied().filter(|&x| current[x].is_none()).collect();
            if missing.is_empty() {
                let x = l.inputs.iter().filter_map(|&v| current[v]).collect();
                let y = self.place(len(&values[v]));
                self.act(Action::Forward { layer, again: true, x, y });
                current[v] = Some(y);
                if l.cheap && v != wanted {
                    passing.push(v);
                }
                open.pop();
            } else {
                open.extend(missing);
            }
        }
        if self.brief {
            passing.into_iter().for_each(|v| current[v] = None);
        }
    }
}
