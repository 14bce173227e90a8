//! What paired results on a sample say of all cases: two claims, and one verdict from both (`docs/evidence.md`).
//!
//! *The mean loss is below the margin* ([`MeanClaim`]), and *at most a share of cases loses more than a limit*
//! ([`CaseClaim`]): a mean hides a rare failure, and a share of cases hides a small loss of all. A model is non-inferior when
//! both are established, each with 97.5 % confidence; that both are needed makes the chance of a wrong verdict no larger
//! than that of one (intersection-union test, Berger 1982). Terms follow Piaggio et al. 2012.
//!
//! Losses are signed so that above 0 is worse. The unit of a sample is a group of cases that belong together (a patient), or
//! a case where there are no groups.

mod betting;
mod case_claim;
mod margin;
mod mean_claim;
mod needed;
mod ranks;
mod tango;
mod units;

pub use betting::{Wealth, mean_loss_below};
pub use case_claim::CaseClaim;
pub use margin::{Margin, MarginError, Preset};
pub use mean_claim::{MeanClaim, Method};
pub(crate) use ranks::of_set;
pub use tango::upper as tango_upper;
pub(crate) use units::Units;

use serde::{Deserialize, Serialize};

/// What may be said of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It holds, with 97.5 % confidence.
    Established,
    /// Its opposite holds, with 97.5 % confidence.
    Refuted,
    /// Neither, on so many cases.
    NotEstablished,
}

impl Finding {
    /// From a two-sided 95 % interval of what the claim limits.
    pub(crate) fn of([low, high]: [f64; 2], limit: f64) -> Self {
        match (high <= limit, low > limit) {
            (true, _) => Finding::Established,
            (false, true) => Finding::Refuted,
            (false, false) => Finding::NotEstablished,
        }
    }
}

/// What may be said of a model beside its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Both claims are established.
    NonInferior,
    /// One of them is refuted.
    Inferior,
    /// Neither of these.
    NotEstablished,
}

impl Verdict {
    /// The verdict of two claims.
    pub(crate) fn of(claims: [Finding; 2]) -> Self {
        if claims.contains(&Finding::Refuted) {
            Verdict::Inferior
        } else if claims.contains(&Finding::NotEstablished) {
            Verdict::NotEstablished
        } else {
            Verdict::NonInferior
        }
    }

    /// The verdict as text for a report.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::NonInferior => "non-inferior",
            Verdict::Inferior => "inferior",
            Verdict::NotEstablished => "not established",
        }
    }
}

/// Both claims on losses of single cases, none of which differs by more than `range`; for simulations. What
/// [`crate::PairedComparison`] says of masks.
pub fn claims_of_losses(losses: &[f64], preset: &Preset, range: f64) -> (MeanClaim, CaseClaim, Verdict) {
    let units = Units { losses: losses.to_vec(), single: true };
    let (mean, cases) = (MeanClaim::of_amounts(&units, preset, range), CaseClaim::of(&units, preset));
    let verdict = Verdict::of([mean.finding, cases.finding]);
    (mean, cases, verdict)
}

/// The first claim on a measure of all classified cases together, `balanced-accuracy` or `auroc`, from the baseline's and the
/// variant's sample of each case; for simulations. `None` where it cannot be computed.
pub fn claim_of_set(
    metric: &str,
    classes: usize,
    samples: &[[crate::Sample; 2]],
    preset: &Preset,
) -> Option<MeanClaim> {
    of_set(metric, classes, samples, preset).claim
}

/// Share of samples in which a true claim's opposite, or a false claim, may seem established: of each bound.
pub(crate) const ERROR: f64 = 0.025;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_inferior_needs_both_claims() {
        use Finding::{Established, NotEstablished, Refuted};
        for (claims, verdict) in [
            ([Established, Established], Verdict::NonInferior),
            ([Established, NotEstablished], Verdict::NotEstablished),
            ([NotEstablished, Established], Verdict::NotEstablished),
            ([Established, Refuted], Verdict::Inferior),
            ([Refuted, NotEstablished], Verdict::Inferior),
        ] {
            assert_eq!(Verdict::of(claims), verdict, "{claims:?}");
        }
        assert_eq!(Finding::of([-0.1, 0.01], 0.01), Established);
        assert_eq!(Finding::of([0.02, 0.1], 0.01), Refuted);
        assert_eq!(Finding::of([0.01, 0.1], 0.01), NotEstablished);
        assert_eq!(Finding::of([f64::NAN, f64::NAN], 0.01), NotEstablished);
    }
}
