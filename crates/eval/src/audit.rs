//! Auditing a run: the original beside the changed model on some of its cases, with a statement that may be read after every
//! case.

use crate::evidence::{Margin, Preset, Wealth};
use crate::metric::Measured;
use crate::runner::Prediction;
use crate::{Error, Mismatch, Result};
use ampoule_pipeline::Case;
use serde::{Deserialize, Serialize};

/// A case that both models ran on. Rows of earlier runs are read back and count on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audited {
    /// The case.
    pub case: String,
    /// The group that it belongs to, of which no other case is audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How far the changed model is from the original: 1 less the smallest Dice over labels, or 1 for another class, or where
    /// the changed model failed.
    pub loss: f64,
    /// Entropy of the changed model's probabilities as a share of the largest possible, 0 to 1; of classes only.
    pub entropy: Option<f64>,
    /// Whether someone should look at it: it lost more than counts as much, or the classes are nearly as likely as each other.
    pub flagged: bool,
}

/// Share of the largest entropy above which a class is uncertain.
const UNCERTAIN: f64 = 0.8;

/// What audited cases say so far. Both claims of `docs/evidence.md` are judged by betting, so that looking after every case does
/// not make an error more likely (anytime-valid).
#[derive(Clone, Debug)]
pub struct Audit {
    margin: f64,
    rows: Vec<Audited>,
}

impl Audit {
    /// An audit of the mean distance from the original against a margin, above 0 and below 1, with the cases of earlier runs.
    pub fn new(margin: f64, rows: Vec<Audited>) -> Self {
        Audit { margin, rows }
    }

    /// All cases.
    pub fn rows(&self) -> &[Audited] {
        &self.rows
    }

    /// Whether a case, or another one of its group, was audited.
    pub fn knows(&self, case: &Case) -> bool {
        let same = |r: &Audited| r.case == case.name || (r.group.is_some() && r.group == case.group);
        self.rows.iter().any(same)
    }

    /// What is measured: of classes, which alone have an entropy, whether they agree.
    fn metric(&self) -> &'static str {
        if self.rows.iter().any(|r| r.entropy.is_some()) { "agreement" } else { "dice" }
    }

    fn preset(&self) -> Preset {
        Margin::of_mean(self.margin).preset(self.metric())
    }

    /// Adds a case that the original has a result of and the changed model has none of: all of it is lost.
    pub fn add_lost(&mut self, case: &Case) -> &Audited {
        self.push(Audited {
            case: case.name.clone(),
            group: case.group.clone(),
            loss: 1.0,
            entropy: None,
            flagged: true,
        })
    }

    fn push(&mut self, row: Audited) -> &Audited {
        self.rows.push(row);
        // It was pushed just before.
        &self.rows[self.rows.len() - 1]
    }

    /// Adds a case with what both models make of it.
    pub fn add(&mut self, case: &Case, original: &Prediction, changed: &Prediction) -> Result<&Audited> {
        if original.labels.dims != changed.labels.dims {
            return Err(Mismatch::Sizes.into());
        }
        if changed.scores.iter().any(|s| !s.is_finite()) {
            let reason = "the model's scores of it are not finite".into();
            return Err(Error::Input { path: case.main().into(), reason });
        }
        let measured = Measured { original, truth: &original.labels };
        let pairs = measured.pairs("dice", Some(&changed.labels));
        let worst = pairs.iter().map(|p| 1.0 - p.values[1]).fold(0.0, f64::max);
        let entropy = entropy(&changed.scores);
        let much = worst > self.preset().loss;
        let flagged = much || entropy.is_some_and(|e| e > UNCERTAIN);
        let group = case.group.clone();
        Ok(self.push(Audited { case: case.name.clone(), group, loss: worst, entropy, flagged }))
    }

    /// What may be said after the cases so far, in one sentence.
    pub fn statement(&self) -> String {
        let preset = self.preset();
        // Nothing is assumed of the largest loss: all of a case may be lost.
        let excludes = |limit: f64, loss: &dyn Fn(&Audited) -> f64| {
            let mut wealth = Wealth::new(limit, 1.0);
            let mut ever = false;
            for row in &self.rows {
                wealth.add(loss(row));
                ever |= wealth.excludes();
            }
            ever
        };
        let mean = excludes(preset.mean, &|r| r.loss);
        let much = excludes(preset.share, &|r| f64::from(u8::from(r.loss > preset.loss)));
        let n = self.rows.len();
        let lost = self.rows.iter().filter(|r| r.loss > preset.loss).count();
        let average = self.rows.iter().map(|r| r.loss).sum::<f64>() / n.max(1) as f64;
        let verdict = if mean && much { "non-inferior" } else { "not established" };
        format!(
            "audit of {n} cases, {}: {verdict}: mean {average:.4} from the original, margin {} {}; {lost} lost more than {}, limit \
             {} of all {} (97.5 %, whenever one looks)",
            self.metric(),
            preset.mean,
            shown(mean),
            preset.loss,
            preset.share,
            shown(much)
        )
    }
}

fn shown(holds: bool) -> &'static str {
    if holds { "met" } else { "not shown" }
}

/// Entropy of probabilities over that of equal ones; nothing of fewer than two.
fn entropy(scores: &[f32]) -> Option<f64> {
    let sum: f64 = scores.iter().map(|s| f64::from(s.max(0.0))).sum();
    if scores.len() < 2 || sum <= 0.0 {
        return None;
    }
    let term = |s: &f32| {
        let p = f64::from(s.max(0.0)) / sum;
        if p > 0.0 { -p * p.ln() } else { 0.0 }
    };
    Some(scores.iter().map(term).sum::<f64>() / (scores.len() as f64).ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_imaging::Volume;

    fn photo(class: u16, p: f32) -> Prediction {
        let labels = Volume { dims: [1; 3], data: vec![class] };
        let scores = vec![1.0 - p, p];
        Prediction { labels, spacing: [1.0; 3], affine: None, classes: 2, values: vec![1], scores }
    }

    #[test]
    fn a_statement_is_established_by_enough_cases_and_stays_so() {
        let mut audit = Audit::new(0.05, Vec::new());
        for i in 0..150 {
            let case = Case { name: format!("{i}"), ..Case::default() };
            let row = audit.add(&case, &photo(1, 0.9), &photo(1, 0.95)).unwrap();
            assert!(!row.flagged && row.loss == 0.0);
            if i == 20 {
                assert!(
                    audit.statement().contains("21 cases, agreement: not established"),
                    "{}",
                    audit.statement()
                );
            }
        }
        assert!(audit.statement().contains("non-inferior"), "{}", audit.statement());
        let known = |name: &str| audit.knows(&Case { name: name.into(), ..Case::default() });
        assert!(known("7") && !known("x"));
        // Another class, and one that is hardly likelier than the other, are flagged.
        let case = Case { name: "x".into(), ..Case::default() };
        assert!(audit.add(&case, &photo(1, 0.9), &photo(0, 0.1)).unwrap().flagged);
        assert!(audit.add(&case, &photo(1, 0.9), &photo(1, 0.55)).unwrap().flagged);
        assert!(audit.add(&case, &photo(1, 0.9), &photo(1, f32::NAN)).is_err());
        // A case without a result is lost, and no other of its group is audited.
        let of_group = |name: &str| Case { name: name.into(), group: Some("p".into()), ..Case::default() };
        let row = audit.add_lost(&of_group("y"));
        assert!(row.loss == 1.0 && row.flagged);
        assert!(audit.knows(&of_group("z")));
        // Earlier cases count on.
        let later = Audit::new(0.05, audit.rows().to_vec());
        assert_eq!(later.statement(), audit.statement());
    }

    #[test]
    fn entropy_is_a_share_of_the_largest() {
        assert_eq!(entropy(&[0.5, 0.5]), Some(1.0));
        assert_eq!(entropy(&[1.0, 0.0, 0.0]), Some(0.0));
        assert_eq!((entropy(&[]), entropy(&[0.3]), entropy(&[0.0, 0.0])), (None, None, None));
    }
}
