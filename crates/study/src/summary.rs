//! Rounds become rows.

use crate::cell::{Failure, Round};
use crate::results::Cell;
use ampoule_eval::statistics::{median, ratio};

/// Runs from which a 90th percentile says something (MLPerf's early stopping).
const PERCENTILE: usize = 64;

/// The rounds of one cell, in order; a failed one says why.
pub(crate) type Rounds = Vec<Result<Round, Failure>>;

/// The row of a cell, compared with the baseline's rounds of the same workload and profile.
pub(crate) fn cell(names: [&str; 3], rounds: &Rounds, baseline: &Rounds) -> Cell {
    let [workload, variant, profile] = names.map(str::to_owned);
    let mut cell = Cell { workload, variant, profile, ..Cell::default() };
    if let Some(Err(e)) = rounds.iter().find(|r| r.is_err()) {
        cell.memory = e.memory;
        cell.error = Some(e.text.clone());
        return cell;
    }
    let good: Vec<&Round> = rounds.iter().flatten().collect();
    let Some(last) = good.last() else {
        cell.error = Some("it was not measured".into());
        return cell;
    };
    let over = |f: &dyn Fn(&Round) -> f64| median(&good.iter().map(|r| f(r)).collect::<Vec<_>>());
    let some = |f: &dyn Fn(&Round) -> Option<f64>| {
        let list: Option<Vec<f64>> = good.iter().map(|r| f(r)).collect();
        list.map(|l| median(&l))
    };
    let mut all: Vec<f64> = good.iter().flat_map(|r| r.total_ms.iter().copied()).collect();
    all.sort_by(f64::total_cmp);
    cell.rounds = good.len();
    cell.runs = all.len();
    cell.engine = last.engine.clone();
    cell.held = last.held.clone();
    cell.load_ms = over(&|r| r.load_ms);
    cell.first_ms = over(&|r| r.first_ms);
    cell.network_ms = over(&|r| median(&r.network_ms));
    cell.total_ms = over(&|r| median(&r.total_ms));
    cell.p90_ms = (all.len() >= PERCENTILE).then(|| all[(all.len() * 9).div_ceil(10) - 1]);
    let stage = |(name, _): &(String, f64)| {
        let of = |r: &Round| r.stages.iter().find(|s| s.0 == *name).map_or(0.0, |s| s.1);
        (name.clone(), over(&of))
    };
    cell.stages = last.stages.iter().map(stage).collect();
    cell.throughput = some(&|r| r.throughput);
    cell.throughput_error = good.iter().find_map(|r| r.throughput_error.clone());
    cell.peak_mib = good.iter().filter_map(|r| r.peak_mib).reduce(f64::max);
    cell.joules = some(&|r| r.joules);
    cell.layers = last.layers.clone();
    let pairs = |f: &dyn Fn(&Round) -> f64| {
        let both =
            baseline.iter().zip(rounds).filter_map(|(a, b)| Some((f(a.as_ref().ok()?), f(b.as_ref().ok()?))));
        let (a, b): (Vec<f64>, Vec<f64>) = both.unzip();
        ratio(&a, &b)
    };
    cell.speedup_network = pairs(&|r| median(&r.network_ms));
    cell.speedup_total = pairs(&|r| median(&r.total_ms));
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ms: f64) -> Result<Round, Failure> {
        Ok(Round { total_ms: vec![ms; 3], network_ms: vec![ms / 2.0; 3], ..Round::default() })
    }

    #[test]
    fn speedups_are_paired_by_rounds() {
        // Both get slower from round to round by the same factor: the ratio does not see it.
        let base: Rounds = [8.0, 16.0, 32.0].map(round).into();
        let fast: Rounds = [4.0, 8.0, 16.0].map(round).into();
        let c = cell(["w", "v", "p"], &fast, &base);
        let s = c.speedup_total.unwrap();
        assert!((s.value - 2.0).abs() < 1e-12 && (s.high - s.low) < 1e-9 && c.speed_verdict() == "faster");
        assert_eq!((c.total_ms, c.network_ms, c.runs, c.p90_ms), (8.0, 4.0, 9, None));
        let slow: Rounds = [16.5, 31.0, 66.0].map(round).into();
        let c = cell(["w", "v", "p"], &slow, &base);
        assert!(c.speedup_total.unwrap().high < 1.0 && c.speed_verdict() == "slower");
        let c = cell(["w", "v", "p"], &base, &base);
        assert_eq!((c.speedup_total.unwrap().value, c.speed_verdict()), (1.0, "no difference"));
        let noisy: Rounds = [2.0, 40.0, 20.0].map(round).into();
        let c = cell(["w", "v", "p"], &noisy, &base);
        let s = c.speedup_total.unwrap();
        assert!(s.low < 0.95 && s.high > 1.05 && c.speed_verdict() == "not established", "{s:?}");
    }

    #[test]
    fn a_failed_cell_says_why() {
        let rounds: Rounds = vec![round(1.0), Err(Failure { text: "too little".into(), memory: true })];
        let c = cell(["w", "v", "p"], &rounds, &rounds);
        assert_eq!((c.error.as_deref(), c.memory, c.speedup_total), (Some("too little"), true, None));
        // A reason that speaks of memory is not one for lack of it.
        let rounds: Rounds = vec![Err("memory: a library's own words".into())];
        let c = cell(["w", "v", "p"], &rounds, &rounds);
        assert_eq!((c.error.as_deref(), c.memory), (Some("memory: a library's own words"), false));
    }

    #[test]
    fn a_throughput_that_failed_says_why() {
        let failed = Round { throughput_error: Some("it needs 9 MiB".into()), ..round(1.0).unwrap() };
        let rounds: Rounds = vec![round(1.0), Ok(failed)];
        let c = cell(["w", "v", "p"], &rounds, &rounds);
        assert_eq!((c.throughput, c.throughput_error.as_deref()), (None, Some("it needs 9 MiB")));
        assert_eq!(c.error, None);
    }
}
