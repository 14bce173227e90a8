//! Channels are taken away: at once or step by step, by a ratio or until a latency is reached.

use super::importance::{Importance, importance};
use super::rebuild::{Moments, reconstruct};
use super::remove::remove;
use super::select::{Ratio, select};
use super::structure::{Group, Structure};
use crate::data::{Batches, Examples, run_batches};
use crate::progress::Progress;
use crate::timing::latency;
use crate::{Error, Result};
use ampoule_engine::Options;
use ampoule_graph::Graph;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much to take away.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Amount {
    /// This share of the channels of every group of layers.
    Each(f64),
    /// This share of all channels, where they matter least.
    Global(f64),
    /// What makes the network this many times faster, as measured.
    Faster(f64),
}

/// What to take away, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prune {
    /// How much.
    pub amount: Amount,
    /// What decides which channels go.
    pub importance: Importance,
    /// Steps, with training between them; one takes all at once.
    pub steps: usize,
    /// Let what stays take over, by least squares.
    pub reconstruct: bool,
}

/// Where pruning leads: channels that stay, by the first layer of a group.
pub(crate) type Target = BTreeMap<String, [usize; 2]>;

/// Batches that moments are taken from.
const MOMENTS: usize = 16;

/// A network before and while channels are taken away.
pub(crate) struct Pruner<'a> {
    pub plan: Prune,
    pub shape: &'a [usize],
    pub options: &'a Options,
    pub batches: &'a Batches,
}

impl Pruner<'_> {
    fn moments(&self, graph: &Graph, examples: &mut Examples) -> Result<Option<Moments>> {
        if !self.plan.reconstruct && self.plan.importance != Importance::Activation {
            return Ok(None);
        }
        let m = Moments::new(graph);
        let options = Options { observe: Some(m.observe()), ..self.options.clone() };
        run_batches(graph, self.shape, &options, self.batches, examples, MOMENTS, |_, _| ())?;
        Ok(Some(m))
    }

    /// How many channels of each group are to stay in the end.
    pub fn target(&self, graph: &Graph, examples: &mut Examples, progress: &mut Progress) -> Result<Target> {
        let s = Structure::of(graph);
        if s.groups.is_empty() {
            let why = s.frozen.first().map_or_else(
                || "it has no layers with channels".to_owned(),
                |f| format!("`{}`, for example, {}", f.layer, f.reason),
            );
            return Err(Error::NothingToPrune { reason: why });
        }
        let moments = self.moments(graph, examples)?;
        let scores = importance(graph, &s, self.plan.importance, moments.as_ref());
        let keep = match self.plan.amount {
            Amount::Each(r) => select(&s, &scores, &Ratio::Each(r)),
            Amount::Global(r) => select(&s, &scores, &Ratio::Global(r)),
            Amount::Faster(times) => {
                let shares = self.search(graph, &s, &scores, times, examples, progress)?;
                select(&s, &scores, &Ratio::Groups(shares))
            }
        };
        Ok(s.groups.iter().map(|g| (g.name(), [g.channels(), g.kept(&keep)])).collect())
    }

    /// Takes away step `step` (from 0) of those that lead to `target`: exponentially less in each.
    pub fn step(
        &self,
        graph: &Graph,
        target: &Target,
        step: usize,
        examples: &mut Examples,
    ) -> Result<Graph> {
        let s = Structure::of(graph);
        let moments = self.moments(graph, examples)?;
        let scores = importance(graph, &s, self.plan.importance, moments.as_ref());
        let part = share(step, self.plan.steps);
        let of = |g: &Group| {
            let Some([before, after]) = target.get(&g.name()) else { return 0.0 };
            let stay = *before as f64 - (before - after) as f64 * part;
            (1.0 - stay / g.channels().max(1) as f64).max(0.0)
        };
        let keep = select(&s, &scores, &Ratio::Groups(s.groups.iter().map(of).collect()));
        cut(graph, &s, &keep, moments.as_ref().filter(|_| self.plan.reconstruct))
    }

    /// Shares of the groups that make the network `times` faster with the least error: at each step the cut that
    /// costs least for the milliseconds that it saves.
    fn search(
        &self,
        graph: &Graph,
        s: &Structure,
        scores: &[f64],
        times: f64,
        examples: &mut Examples,
        progress: &mut Progress,
    ) -> Result<Vec<f64>> {
        let moments = Moments::new(graph);
        let watched = Options { observe: Some(moments.observe()), ..self.options.clone() };
        run_batches(graph, self.shape, &watched, self.batches, examples, MOMENTS, |_, _| ())?;
        let fitted = |shares: &[f64]| -> Result<Graph> {
            cut(graph, s, &select(s, scores, &Ratio::Groups(shares.to_vec())), Some(&moments))
        };
        let mut one = self.shape.to_vec();
        one[0] = 1;
        let time = |g: &Graph| latency(g, &one, self.options);
        let mut wanted = Vec::new();
        run_batches(graph, self.shape, self.options, self.batches, examples, 2, |_, y| wanted.push(y))?;
        let before = time(graph)?;
        let none = vec![0.0; s.groups.len()];
        // What each group costs and saves by itself.
        let mut moves = Vec::new();
        for i in 0..s.groups.len() {
            progress("measure cuts", i, s.groups.len());
            for &share in &SHARES {
                let mut shares = none.clone();
                shares[i] = share;
                let small = fitted(&shares)?;
                let mut error = 0.0;
                run_batches(&small, self.shape, self.options, self.batches, examples, 2, |k, y| {
                    let power: f64 = wanted[k].iter().map(|v| (*v as f64).powi(2)).sum();
                    let off: f64 = y.iter().zip(&wanted[k]).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
                    error += off / power.max(1e-12) / 2.0;
                })?;
                moves.push((i, share, error, (before - time(&small)?).max(1e-6)));
            }
        }
        progress("measure cuts", s.groups.len(), s.groups.len());
        let mut shares = none;
        let cost = |shares: &[f64], m: &(usize, f64, f64, f64)| {
            let now = moves.iter().find(|k| k.0 == m.0 && k.1 == shares[m.0]);
            let (error, gain) = now.map_or((0.0, 0.0), |k| (k.2, k.3));
            (m.2 - error).max(1e-9) / (m.3 - gain).max(1e-6)
        };
        loop {
            if before / time(&fitted(&shares)?)? >= times {
                return Ok(shares);
            }
            let further = moves.iter().filter(|m| m.1 > shares[m.0]);
            let next = further.min_by(|a, b| cost(&shares, a).total_cmp(&cost(&shares, b)));
            // Everything that can be cut is.
            let Some(m) = next else { return Ok(shares) };
            shares[m.0] = m.1;
        }
    }
}

/// Shares that are tried of every group.
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 0.875];

/// Share of what is to go in all that is gone after step `step` of `steps`: each step takes an exponentially
/// smaller part (as NNCF's schedule does).
fn share(step: usize, steps: usize) -> f64 {
    const PACE: f64 = 3.0;
    if step + 1 >= steps {
        return 1.0;
    }
    let at = (step + 1) as f64 / steps as f64;
    (1.0 - libm::exp(-PACE * at)) / (1.0 - libm::exp(-PACE))
}

fn cut(graph: &Graph, s: &Structure, keep: &[bool], moments: Option<&Moments>) -> Result<Graph> {
    let fitted = moments.map(|m| reconstruct(graph, s, keep, m));
    remove(fitted.as_ref().unwrap_or(graph), s, keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_smaller_and_end() {
        let all: Vec<f64> = (0..4).map(|i| share(i, 4)).collect();
        let parts: Vec<f64> = (0..4).map(|i| all[i] - if i > 0 { all[i - 1] } else { 0.0 }).collect();
        assert!(parts.windows(2).all(|w| w[0] > w[1] && w[1] > 0.0) && all[3] == 1.0, "{parts:?}");
        assert_eq!(share(0, 1), 1.0);
    }
}
