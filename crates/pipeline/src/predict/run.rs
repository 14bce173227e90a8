//! Running a network, or an ensemble of them, on the windows of a plan.

use super::Workspace;
use super::plan::{Plan, slices};
use crate::constant::{KEPT, Kept, Windows, of_windows};
use crate::model::{Key, Slot};
use crate::tensor::{Reading, fill, output, tile};
use crate::{Error, Model, Result};
use ampoule_imaging::Volume;
use std::borrow::Cow;
use std::time::Instant;

/// Takes the scores of a box of the plan's grid, scores innermost, x fastest.
pub(crate) type Take<'a> = dyn FnMut([usize; 3], [usize; 3], &[f32]) + 'a;

/// Runs network `i` of the recipe on all windows of `plan`, averaged over its outputs, the models of the ensemble and
/// its flips, and gives the scores to `take` box by box.
pub(crate) fn run(
    model: &mut Model,
    i: usize,
    plan: &Plan,
    channels: &[Volume<f32>],
    what: &Reading,
    fast: bool,
    ws: &mut Workspace,
    take: &mut Take,
) -> Result<()> {
    let network = model.recipe.network[i].clone();
    let outputs = network.active_outputs(fast).to_vec();
    let nets: Vec<(usize, String)> =
        (0..model.folds()).flat_map(|f| outputs.iter().map(move |o| (f, o.clone()))).collect();
    let job = Job {
        i,
        plan,
        channels,
        what,
        versions: network.versions(fast),
        nets,
        labels: model.gives_labels(i),
        reuse: !model.is_observed(),
        dims: plan.shape.tensor(plan.input),
    };
    match &plan.weights {
        None => job.single(model, ws, take),
        Some(weights) => job.windows(model, weights, ws, take),
    }
}

struct Job<'a> {
    i: usize,
    plan: &'a Plan,
    channels: &'a [Volume<f32>],
    what: &'a Reading<'a>,
    /// The upright version and the mirrored ones.
    versions: Vec<[bool; 3]>,
    /// Model of the ensemble and output.
    nets: Vec<(usize, String)>,
    labels: bool,
    /// Equal constant windows are computed once. Who watches values sees all of them.
    reuse: bool,
    dims: Vec<usize>,
}

/// Windows of one run on each slot, and all that need no run before the next ones.
#[derive(Default)]
struct Round<'a> {
    /// Where the scores of each run come from, in the order of windows.
    scores: Vec<Source>,
    /// The runs that are computed.
    runs: Vec<Run<'a>>,
}

/// Where the scores of a run are.
#[derive(Clone, Copy)]
enum Source {
    /// Computed in this round: the number of the run.
    Round(usize),
    /// Kept: the number of the constant input.
    Kept(usize),
}

/// A batch of windows that is computed.
struct Run<'a> {
    windows: Vec<Cow<'a, [Volume<f32>]>>,
    /// Each channel of each window holds one value, so that mirroring changes nothing.
    constant: bool,
    /// Where its scores are kept.
    keep: Option<usize>,
}

impl Job<'_> {
    fn key(&self, (fold, output): &(usize, String)) -> Key {
        (*fold, output.clone(), self.dims.clone())
    }

    fn runs(&self) -> usize {
        self.nets.len() * self.versions.len()
    }

    /// One window that covers all.
    fn single(&self, model: &mut Model, ws: &mut Workspace, take: &mut Take) -> Result<()> {
        ws.windows.add(Windows { all: 1, reused: 0 });
        let size = self.plan.placed[0].1;
        let n = self.what.channels.len();
        let boxes = [tile(self.channels, self.plan.regions[0], self.plan.border)];
        let mut sum: Vec<f32> = Vec::new();
        for (k, net) in self.nets.iter().enumerate() {
            model.go_on()?;
            model.note(k, self.nets.len());
            let begun = Instant::now();
            let slot = model.slot(self.i, &self.key(net))?;
            ws.add("load network", begun.elapsed());
            let begun = Instant::now();
            for (m, mirror) in self.versions.iter().enumerate() {
                fill(slot, &self.plan.shape, &boxes, *mirror)?;
                slot.run()?;
                let out = output(&slot.session, &self.plan.shape, self.plan.input, 0, *mirror, self.labels)?;
                self.fits(out.size, out.channels)?;
                if self.runs() == 1 {
                    // Slices go their way at once.
                    let slice = n * size[0] * size[1];
                    let slices = slices(n, size);
                    let mut part = vec![0f32; slice * slices];
                    for z in (0..size[2]).step_by(slices) {
                        let range = z..(z + slices).min(size[2]);
                        let thick = range.len();
                        let part = &mut part[..slice * thick];
                        out.add(self.what, range, part, true)?;
                        take([0, 0, z], [size[0], size[1], thick], part);
                    }
                } else {
                    sum.resize(n * size.iter().product::<usize>(), 0.0);
                    out.add(self.what, 0..size[2], &mut sum, (k, m) == (0, 0))?;
                }
            }
            slot.session.release();
            let spent = begun.elapsed();
            ws.add("network", spent);
            model.network_time += spent;
            // One network in memory at a time: the weights of an ensemble are large.
            if self.nets.len() > 1 {
                model.forget(net.0, &net.1);
            }
        }
        if self.runs() > 1 {
            let count = self.runs() as f32;
            sum.iter_mut().for_each(|v| *v /= count);
            take([0; 3], size, &sum);
        }
        Ok(())
    }

    /// Window by window, blended.
    fn windows(
        &self,
        model: &mut Model,
        weights: &Volume<f32>,
        ws: &mut Workspace,
        take: &mut Take,
    ) -> Result<()> {
        let begun = Instant::now();
        let n = self.what.channels.len();
        let mut accumulator = self.plan.accumulator(n);
        let batch = self.plan.shape.batch;
        let jobs = self.plan.regions.len().div_ceil(batch);
        let each = self.plan.worker_bytes(n);
        let workers = model.slots(self.i, &self.key(&self.nets[0]), jobs, each)?.len();
        let one_by_one = model.alternate(self.nets.len() as u64);
        let result = self.result_bytes(n);
        let room = (model.spare(workers, each) / result.max(1)) as usize;
        let mut kept = Kept::new(room.min(KEPT).min(jobs.saturating_sub(1)));
        let bytes = kept.most() as u64 * result;
        model.keep(bytes, true);
        let all: Vec<usize> = (0..self.plan.regions.len()).collect();
        let mut left: Vec<&[usize]> = all.chunks(batch).rev().collect();
        let mut windows = Windows { all: all.len(), reused: 0 };
        while let Some(first) = left.last().copied() {
            model.go_on()?;
            model.note(first[0], all.len());
            let round = self.round(&mut left, workers, &mut kept);
            let mut sums: Vec<Vec<f32>> = vec![Vec::new(); round.runs.len()];
            for (k, net) in self.nets.iter().enumerate() {
                let slots = model.slots(self.i, &self.key(net), jobs, each)?;
                self.together(slots, &round.runs, &mut sums, k == 0)?;
                if one_by_one {
                    model.release();
                }
            }
            self.average(&round.runs, &mut sums, &mut kept);
            // In the order of windows, whatever ran first: sums have the same bits for all threads.
            let mut order = all[first[0]..].iter();
            for source in &round.scores {
                let scores = match source {
                    Source::Round(j) => &sums[*j],
                    Source::Kept(i) => kept.get(*i),
                };
                for (scores, i) in scores.chunks_exact(self.entry(n)).zip(&mut order) {
                    let (at, scores) = self.plan.part(*i, scores);
                    for f in accumulator.add(at, weights, &scores) {
                        take(f.start.map(|v| v as usize), f.size, &f.scores);
                    }
                }
            }
            let runs = round.scores.len() - round.runs.len();
            windows.reused += runs * batch;
        }
        ws.windows.add(windows);
        model.keep(bytes, false);
        let spent = begun.elapsed();
        ws.add("network", spent);
        model.network_time += spent;
        Ok(())
    }

    /// Bytes of the scores of one run.
    fn result_bytes(&self, scores: usize) -> u64 {
        4 * (self.plan.shape.batch * self.entry(scores)) as u64
    }

    /// Scores of one window.
    fn entry(&self, scores: usize) -> usize {
        scores * self.plan.placed[0].1.iter().product::<usize>()
    }

    /// The next runs of the list, whose first is last: as many as there are workers, and those between them whose
    /// scores are kept.
    fn round<'a>(&'a self, left: &mut Vec<&[usize]>, workers: usize, kept: &mut Kept<Vec<f32>>) -> Round<'a> {
        let mut round = Round::default();
        while round.runs.len() < workers
            && let Some(list) = left.pop()
        {
            let one = |i: &usize| tile(self.channels, self.plan.regions[*i], self.plan.border);
            let windows: Vec<_> = list.iter().map(one).collect();
            let constant = if self.reuse { of_windows(&windows) } else { None };
            let found = constant.as_ref().and_then(|c| kept.find(c));
            if !matches!(found, Some((_, false))) {
                let keep = found.map(|f| f.0);
                round.runs.push(Run { windows, constant: constant.is_some(), keep });
            }
            round.scores.push(match found {
                Some((i, _)) => Source::Kept(i),
                None => Source::Round(round.runs.len() - 1),
            });
        }
        round
    }

    /// Makes sums averages, and keeps those that are to be.
    fn average(&self, runs: &[Run], sums: &mut [Vec<f32>], kept: &mut Kept<Vec<f32>>) {
        let count = self.runs() as f32;
        for (run, sum) in runs.iter().zip(sums) {
            if count > 1.0 {
                sum.iter_mut().for_each(|v| *v /= count);
            }
            if let Some(i) = run.keep {
                kept.set(i, std::mem::take(sum));
            }
        }
    }

    /// Runs one batch of windows on each slot, side by side.
    fn together(&self, slots: &mut [Slot], runs: &[Run], sums: &mut [Vec<f32>], first: bool) -> Result<()> {
        if let ([slot], [run], [sum]) = (&mut *slots, runs, &mut *sums) {
            return self.add(slot, run, sum, first);
        }
        if slots.len() < runs.len() {
            let slot = slots.first_mut().ok_or_else(|| Error::mismatch("no session".into()))?;
            return runs.iter().zip(sums).try_for_each(|(run, sum)| self.add(slot, run, sum, first));
        }
        std::thread::scope(|s| {
            let jobs = slots.iter_mut().zip(runs).zip(sums);
            let jobs: Vec<_> =
                jobs.map(|((slot, run), sum)| s.spawn(move || self.add(slot, run, sum, first))).collect();
            jobs.into_iter().try_for_each(|j| match j.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// Adds the scores of a batch of windows, over all versions, to `sum`.
    fn add(&self, slot: &mut Slot, run: &Run, sum: &mut Vec<f32>, first: bool) -> Result<()> {
        let size = self.plan.placed[0].1;
        let entry = self.entry(self.what.channels.len());
        sum.resize(entry * run.windows.len(), 0.0);
        for (m, mirror) in self.versions.iter().enumerate() {
            if m == 0 || !run.constant {
                fill(slot, &self.plan.shape, &run.windows, *mirror)?;
                slot.run()?;
            }
            for (b, sum) in sum.chunks_exact_mut(entry).enumerate() {
                let out = output(&slot.session, &self.plan.shape, self.plan.input, b, *mirror, self.labels)?;
                self.fits(out.size, out.channels)?;
                out.add(self.what, 0..size[2], sum, first && m == 0)?;
            }
        }
        Ok(())
    }

    fn fits(&self, size: [usize; 3], channels: usize) -> Result<()> {
        let wanted = self.plan.placed[0].1;
        if size != wanted {
            let reason =
                format!("the network's output is {size:?} pixels along x, y and z; {wanted:?} were expected");
            return Err(Error::mismatch(reason));
        }
        self.what.fits(channels, self.labels)
    }
}

#[cfg(test)]
mod tests;
