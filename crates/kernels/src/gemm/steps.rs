//! How a matrix unit steps through a reduction, and how many products of tile registers that takes as long as.

use super::MicroKernel;
use crate::features::{Feature, Features};

/// Most groups of a row of A in a tile register.
pub(super) const GROUPS: usize = 16;
/// Rows and columns of a register of sums.
pub(super) const SIDE: usize = 16;

/// How the runs of the reduction are divided into steps of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// Groups of a step.
    pub groups: usize,
    /// Steps that read A where it lies.
    pub steps: usize,
    /// Whether the end of a run takes a step of its own, on a copy that zeros fill.
    pub end: bool,
}

impl Division {
    /// Divides a run of `run` values, `per` of which are a group: equal steps, where few suffice.
    pub(crate) fn of(run: usize, per: usize) -> Self {
        let groups = run.div_ceil(per);
        let least = groups.div_ceil(GROUPS).max(1);
        // Two steps more than needed take less time than the copies of an end.
        if run.is_multiple_of(per)
            && let Some(steps) = (least..=least + 2).find(|n| groups.is_multiple_of(*n))
        {
            return Division { groups: groups / steps, steps, end: false };
        }
        Division { groups: groups.min(GROUPS), steps: run / per / GROUPS, end: true }
    }

    /// All steps of a run.
    fn all(self) -> usize {
        self.steps + self.end as usize
    }
}

/// What a call of the unit takes beside its products, a register of sums that is finished, and a row of an end that is
/// copied, all in products of two tile registers.
const CALL: f64 = 6.0;
const FINISH: f64 = 6.0;
const COPY: f64 = 0.4;
/// What loading a tile register of A takes, and one of B, which comes from the second-level cache.
const LOADS: [f64; 2] = [0.5, 1.3];

/// Products of two tile registers that a tile of so many rows and columns takes as long as.
pub(crate) fn products([rows, columns]: [usize; 2], taps: usize, division: Division) -> f64 {
    let [a, b] = [rows.div_ceil(SIDE), columns.div_ceil(SIDE)].map(|n| n as f64);
    let step = (a * b).max(LOADS[0] * a + LOADS[1] * b);
    let copies = if division.end { COPY * rows as f64 } else { 0.0 };
    taps as f64 * (division.all() as f64 * step + copies) + FINISH * a * b + CALL
}

/// Whether vectors take less time than the unit for an INT8 tile: few rows, or short runs. Two vector products begin in
/// each cycle, and a product of tile registers takes 16.
pub(crate) fn vectors_are_faster([rows, columns]: [usize; 2], taps: usize, run: usize) -> bool {
    let vectors = (taps * run.div_ceil(4) * rows * columns.div_ceil(SIDE)) as f64 / 2.0 / 16.0;
    let finish = FINISH * (rows.div_ceil(SIDE) * columns.div_ceil(SIDE)) as f64;
    vectors + finish < products([rows, columns], taps, Division::of(run, 4))
}

impl MicroKernel {
    /// Whether it runs on a matrix unit, which finishes sums line by line ([`super::Lines`]).
    pub(crate) fn on_matrix_unit(&self) -> bool {
        self.features.contains(Features::of(&[Feature::AmxTile]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_divided_into_equal_steps_or_have_an_end() {
        for run in 1..=600 {
            for per in [2, 4] {
                let d = Division::of(run, per);
                let groups = run.div_ceil(per);
                assert!(d.groups <= GROUPS && d.groups <= groups, "{run}: {d:?}");
                match d.end {
                    false => assert_eq!(d.groups * d.steps * per, run, "{d:?}"),
                    true => {
                        let rest = groups as isize - (d.groups * d.steps) as isize;
                        assert!((1..=GROUPS as isize).contains(&rest), "{run}: {d:?}");
                        assert!(d.steps * d.groups * per <= run, "{run}: {d:?} reads beyond the run");
                    }
                }
            }
        }
    }

    #[test]
    fn short_and_odd_runs_take_longer_for_each_value() {
        let each = |run: usize| products([32, 32], 9, Division::of(run, 4)) / run as f64;
        assert!(each(64) < each(48) && each(48) < each(16) && each(64) < each(63) && each(16) < each(3));
        assert!(vectors_are_faster([1, 32], 9, 64) && !vectors_are_faster([32, 32], 9, 64));
    }
}
