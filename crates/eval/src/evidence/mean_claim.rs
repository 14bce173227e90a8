//! The mean loss is below the margin.

use super::betting::{self, below_with};
use super::needed::least;
use super::{Finding, Preset, Units, tango};
use serde::{Deserialize, Serialize};

/// How a bound of the mean loss is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The betting bound of Waudby-Smith and Ramdas: of amounts, and of groups.
    Betting,
    /// Tango's score interval: of labels that are right or wrong.
    Tango,
    /// Tango's intervals of the classes, combined (MOVER; Zou and Donner 2008): of the balanced accuracy.
    TangoByClass,
    /// The variance of DeLong, DeLong and Clarke-Pearson (1988), of groups that of Obuchowski (1997).
    Delong,
    /// The variance of the sums over groups: of the balanced accuracy where cases belong together.
    Groups,
}

/// The claim that the mean loss is below the margin. The mean is over groups, where there are any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanClaim {
    /// The margin.
    pub limit: f64,
    /// 97.5 % confidence bounds of the mean loss, lower and upper.
    pub bounds: [f64; 2],
    /// How they are found.
    pub method: Method,
    /// What a case counts for at most, for [`Method::Betting`]: the larger of the loss that counts as much and twice the
    /// largest loss seen.
    pub most: Option<f64>,
    /// What may be said.
    pub finding: Finding,
    /// How many cases would establish it if all were like these; `None` where none would.
    pub needed: Option<usize>,
    /// The least number of cases that establish it, when none of them loses anything; `None` where none do.
    pub least: Option<usize>,
}

/// Times the largest loss seen that a case may count for. With less, the bound would miss the tail of skewed losses
/// (`scripts/verdict_error.sh`).
const BEYOND: f64 = 2.0;

impl MeanClaim {
    /// Of amounts, such as Dice, of which none differs by more than `range`.
    pub(crate) fn of_amounts(units: &Units, preset: &Preset, range: f64) -> Self {
        let losses = &units.losses;
        let gains: Vec<f64> = losses.iter().map(|l| -l).collect();
        let caps = [preset.loss.min(range), cap(losses, preset, range)];
        let upper = caps.map(|most| betting::upper(losses, most));
        let lower = -betting::upper(&gains, cap(&gains, preset, range));
        let bounds = [lower, upper[0].max(upper[1])];
        let enough = |n: usize| caps.iter().all(|most| below_with(losses, preset.mean, *most, n));
        let first = Self::least_amounts(preset, range);
        MeanClaim {
            limit: preset.mean,
            bounds,
            method: Method::Betting,
            most: Some(caps[1]),
            finding: Finding::of(bounds, preset.mean),
            needed: if losses.is_empty() { first } else { least(1, enough) },
            least: first,
        }
    }

    /// Of labels, one a unit, with losses of 1, 0 and -1.
    pub(crate) fn of_labels(losses: &[f64], preset: &Preset) -> Self {
        let n = losses.len() as f64;
        let worse = losses.iter().filter(|l| **l > 0.0).count() as f64;
        let better = losses.iter().filter(|l| **l < 0.0).count() as f64;
        let bounds = [-tango::upper(better, worse, n), tango::upper(worse, better, n)];
        let enough = |m: usize| {
            let times = m as f64 / n.max(1.0);
            tango::upper(worse * times, better * times, m as f64) <= preset.mean
        };
        let first = Self::least_labels(preset);
        // Below the least number even gains do not show that nothing is lost.
        let finding = match Finding::of(bounds, preset.mean) {
            Finding::Established if first.is_none_or(|f| losses.len() < f) => Finding::NotEstablished,
            found => found,
        };
        MeanClaim {
            limit: preset.mean,
            bounds,
            method: Method::Tango,
            most: None,
            finding,
            needed: first.and_then(|f| least(f, enough)),
            least: first,
        }
    }

    /// The least number of units that establish it for amounts, when none of them loses anything.
    fn least_amounts(preset: &Preset, range: f64) -> Option<usize> {
        let most = preset.loss.min(range);
        least(1, |n| below_with(&[0.0], preset.mean, most, n))
    }

    /// The same for labels.
    fn least_labels(preset: &Preset) -> Option<usize> {
        least(1, |n| tango::upper(0.0, 0.0, n as f64) <= preset.mean)
    }
}

/// What a case counts for at most.
fn cap(losses: &[f64], preset: &Preset, range: f64) -> f64 {
    let largest = losses.iter().copied().fold(0.0, f64::max);
    preset.loss.max(BEYOND * largest).min(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICE: Preset = Preset { mean: 0.01, loss: 0.05, share: 0.1 };

    fn amounts(losses: &[f64]) -> MeanClaim {
        MeanClaim::of_amounts(&Units { losses: losses.to_vec(), single: true }, &DICE, 1.0)
    }

    fn labels(worse: usize, better: usize, n: usize) -> MeanClaim {
        let of = |i: usize| if i < worse { 1.0 } else { -f64::from(u8::from(i < worse + better)) };
        MeanClaim::of_labels(&(0..n).map(of).collect::<Vec<_>>(), &DICE)
    }

    #[test]
    fn equal_results_of_a_few_cases_have_a_bound() {
        let few = amounts(&[0.0; 6]);
        assert!(few.bounds[1] > 0.02 && few.finding == Finding::NotEstablished, "{few:?}");
        let needed = few.needed.unwrap();
        assert_eq!(Some(needed), MeanClaim::least_amounts(&DICE, 1.0));
        assert_eq!(amounts(&vec![0.0; needed]).finding, Finding::Established);
        assert_eq!(amounts(&vec![0.0; needed - 1]).finding, Finding::NotEstablished);
        assert_eq!(amounts(&[]).bounds, [-0.05, 0.05]);
    }

    #[test]
    fn a_case_that_lost_much_counts_for_more_than_the_limit() {
        let mut losses = vec![0.0; 100];
        assert_eq!(amounts(&losses).most, Some(0.05));
        losses[0] = 0.4;
        let one = amounts(&losses);
        assert_eq!(one.most, Some(0.8));
        assert!(one.finding == Finding::NotEstablished && one.needed.is_some_and(|n| n > 200), "{one:?}");
        assert_eq!(amounts(&[0.02; 60]).finding, Finding::Refuted);
        assert_eq!(amounts(&[0.02; 60]).needed, None);
    }

    #[test]
    fn labels_are_judged_by_their_counts() {
        // The rule of three: about 3.84 / n.
        let none = labels(0, 0, 12);
        assert!(
            (none.bounds[1] - 0.2425).abs() < 1e-3 && none.finding == Finding::NotEstablished,
            "{none:?}"
        );
        let needed = none.needed.unwrap();
        assert!((380..390).contains(&needed), "{needed}");
        assert_eq!(labels(0, 0, needed).finding, Finding::Established);
        assert_eq!(labels(0, 0, 347).finding, Finding::NotEstablished);
        // Nor do many that got better, of few.
        assert_eq!(labels(0, 6, 9).finding, Finding::NotEstablished);
        assert_eq!(labels(30, 2, 400).finding, Finding::Refuted);
        assert_eq!(labels(30, 2, 400).needed, None);
        assert!(labels(2, 0, 400).needed.is_some_and(|n| n > 400));
    }
}
