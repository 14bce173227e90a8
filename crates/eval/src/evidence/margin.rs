//! What may be lost: the preset of the two claims, set before anything is measured. `docs/evidence.md` has the reasons.

use serde::{Deserialize, Serialize};

/// A case loses much when it loses so many times the margin of the mean, unless something else is set.
const TIMES: f64 = 5.0;
/// Share of cases that may lose much: of masks and label maps, whose loss is a matter of degree.
const SHARE_OF_MASKS: f64 = 0.10;
/// The same of classes, where a case that loses is one that is wrong.
const SHARE_OF_CLASSES: f64 = 0.05;
/// Least loss that counts as much, in shares and in mm or pixels.
const LEAST: [f64; 2] = [0.01, 1.0];

/// A margin as it is given: that of the mean loss, and what a case may lose where that is not left to the defaults. In a study's
/// file it is a number, or a table of `mean`, `loss` and `share`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Given", into = "Given")]
pub struct Margin {
    /// Largest mean loss, in units of the metric, 0 or more.
    pub mean: f64,
    /// Loss of a case above which it counts as one that loses much; five times the mean's margin where it is not given.
    pub loss: Option<f64>,
    /// Largest share of cases that may lose much, above 0 and at most 0.5.
    pub share: Option<f64>,
}

/// A margin in a file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Given {
    Mean(f64),
    All(All),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct All {
    mean: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
}

impl From<Given> for Margin {
    fn from(given: Given) -> Self {
        match given {
            Given::Mean(mean) => Margin::of_mean(mean),
            Given::All(All { mean, loss, share }) => Margin { mean, loss, share },
        }
    }
}

impl From<Margin> for Given {
    fn from(m: Margin) -> Self {
        match (m.loss, m.share) {
            (None, None) => Given::Mean(m.mean),
            (loss, share) => Given::All(All { mean: m.mean, loss, share }),
        }
    }
}

/// The limits of both claims.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// Largest mean loss.
    pub mean: f64,
    /// Loss of a case above which it counts as one that loses much.
    pub loss: f64,
    /// Largest share of cases that may lose much.
    pub share: f64,
}

/// Why a margin is none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MarginError {
    /// The mean's margin.
    #[error("the margin of the mean must be 0 or more")]
    Mean,
    /// A case's loss.
    #[error("the loss of a case must be above 0, and no less than the margin of the mean")]
    Loss,
    /// The share of cases.
    #[error("the share of cases that may lose much must be above 0 and at most 0.5")]
    Share,
}

impl Margin {
    /// The margin of a mean, all else by default.
    pub fn of_mean(mean: f64) -> Self {
        Margin { mean, loss: None, share: None }
    }

    /// Whether its numbers can be margins.
    pub fn check(&self) -> Result<(), MarginError> {
        let fine = |x: f64| x.is_finite() && x > 0.0;
        if !(self.mean >= 0.0 && self.mean.is_finite()) {
            return Err(MarginError::Mean);
        }
        if self.loss.is_some_and(|l| !fine(l) || l < self.mean) {
            return Err(MarginError::Loss);
        }
        if self.share.is_some_and(|s| !fine(s) || s > 0.5) {
            return Err(MarginError::Share);
        }
        Ok(())
    }

    /// The limits of both claims on a metric, defaults included.
    pub fn preset(&self, metric: &str) -> Preset {
        let distance = !crate::metric::is_share(metric);
        let least = LEAST[usize::from(distance)];
        // No share falls by more than 1.
        let most = if distance { f64::INFINITY } else { f64::max(1.0, self.mean) };
        let share = match metric {
            "accuracy" | "balanced-accuracy" | "auroc" => SHARE_OF_CLASSES,
            _ => SHARE_OF_MASKS,
        };
        Preset {
            mean: self.mean,
            loss: self.loss.unwrap_or((TIMES * self.mean).max(least).min(most)),
            share: self.share.unwrap_or(share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_metric() {
        let of = |metric: &str, mean: f64| Margin::of_mean(mean).preset(metric);
        assert_eq!(of("dice", 0.01), Preset { mean: 0.01, loss: 0.05, share: 0.1 });
        assert_eq!(of("hd95", 2.0), Preset { mean: 2.0, loss: 10.0, share: 0.1 });
        assert_eq!(of("accuracy", 0.02), Preset { mean: 0.02, loss: 0.1, share: 0.05 });
        assert_eq!((of("dice", 0.5).loss, of("dice", 0.0).loss, of("hd95", 0.0).loss), (1.0, 0.01, 1.0));
    }

    #[test]
    fn margins_are_numbers_or_tables() {
        let read = |text: &str| serde_json::from_str::<Margin>(text).map_err(|e| e.to_string());
        let all = Margin { mean: 0.01, loss: Some(0.1), share: Some(0.2) };
        for (text, want) in [
            ("0.01", Margin::of_mean(0.01)),
            (r#"{"mean":0.01,"loss":0.1,"share":0.2}"#, all),
            (r#"{"mean":0.01,"share":0.2}"#, Margin { loss: None, ..all }),
        ] {
            assert_eq!(read(text), Ok(want));
            assert_eq!(serde_json::to_string(&want).unwrap(), text);
        }
        assert!(read(r#"{"mean":0.01,"losses":0.1}"#).is_err());
        let wrong = |mean, loss, share| Margin { mean, loss, share }.check().unwrap_err();
        assert_eq!(wrong(-1.0, None, None), MarginError::Mean);
        assert_eq!(wrong(f64::NAN, None, None), MarginError::Mean);
        assert_eq!(wrong(0.1, Some(0.05), None), MarginError::Loss);
        assert_eq!(wrong(0.1, None, Some(0.6)), MarginError::Share);
        assert_eq!(all.check(), Ok(()));
    }
}
