//! At most a share of cases loses more than a limit.

use super::needed::least;
use super::{Finding, Preset, Units};
use crate::statistics::{share_above, share_below};
use serde::{Deserialize, Serialize};

/// The claim that at most a share of all cases (groups, where there are any) loses more than a limit, by the exact bounds of
/// Clopper and Pearson (1934), which hold for every distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseClaim {
    /// A loss above this counts, in units of the metric.
    pub loss: f64,
    /// The share of cases that may lose so much, 0 to 1.
    pub limit: f64,
    /// How many of the cases seen lost more.
    pub lost: usize,
    /// 97.5 % confidence bounds of the share that does, lower and upper.
    pub share: [f64; 2],
    /// What may be said.
    pub finding: Finding,
    /// How many cases would establish it if as large a share of them lost more as of these; `None` where none would.
    pub needed: Option<usize>,
    /// The least number of cases that establish it, when none of them loses more.
    pub least: usize,
}

impl CaseClaim {
    /// Of the losses of units.
    pub(crate) fn of(units: &Units, preset: &Preset) -> Self {
        let n = units.losses.len();
        // A loss that is the limit but for the last bits is not above it.
        let above = preset.loss * (1.0 + 1e-9);
        let lost = units.losses.iter().filter(|l| **l > above).count();
        let share = if n == 0 { [0.0, 1.0] } else { [share_above(lost, n), share_below(lost, n)] };
        let rate = lost as f64 / n.max(1) as f64;
        let first = CaseClaim::least(preset);
        let enough = |n: usize| share_below((rate * n as f64).round() as usize, n) <= preset.share;
        let needed = if rate < preset.share { least(first, enough) } else { None };
        let finding = Finding::of(share, preset.share);
        CaseClaim { loss: preset.loss, limit: preset.share, lost, share, finding, needed, least: first }
    }

    /// The least number of cases that establish it, when none of them loses more.
    fn least(preset: &Preset) -> usize {
        // Shares are at most a half, so a million is far away.
        least(1, |n| share_below(0, n) <= preset.share).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(losses: &[f64], share: f64) -> CaseClaim {
        let units = Units { losses: losses.to_vec(), single: true };
        CaseClaim::of(&units, &Preset { mean: 0.01, loss: 0.05, share })
    }

    #[test]
    fn no_case_seen_is_no_proof_that_there_is_none() {
        let none = |n: usize| claim(&vec![0.0; n], 0.1);
        assert_eq!((none(35).finding, none(36).finding), (Finding::NotEstablished, Finding::Established));
        assert_eq!(none(12).needed, Some(36));
        assert_eq!(CaseClaim::least(&Preset { mean: 0.0, loss: 0.05, share: 0.05 }), 72);
        // 1 - 0.025^(1/12).
        assert!((none(12).share[1] - 0.264_649_3).abs() < 1e-6);
        assert_eq!(claim(&[], 0.1).share, [0.0, 1.0]);
    }

    #[test]
    fn losses_are_counted_from_above_the_limit() {
        let mut losses = vec![0.0; 100];
        losses[..3].copy_from_slice(&[0.05, 0.051, 0.9]);
        let c = claim(&losses, 0.1);
        assert_eq!((c.lost, c.finding), (2, Finding::Established));
        losses[..40].fill(0.2);
        let c = claim(&losses, 0.1);
        assert_eq!((c.finding, c.needed), (Finding::Refuted, None));
        losses[8..].fill(0.0);
        let c = claim(&losses, 0.1);
        assert!(c.finding == Finding::NotEstablished && c.needed.is_some_and(|n| n > 300), "{c:?}");
    }
}
