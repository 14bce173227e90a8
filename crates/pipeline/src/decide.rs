//! From scores to labels.

use crate::recipe::{Activation, Combine, Network, Recipe, Rule};
use crate::tensor::{sigmoid, softmax};

/// What a recipe says about scores, in the order of its labels.
#[derive(Clone, Debug)]
pub(crate) struct Decider {
    rule: Rule,
    values: Vec<u16>,
    /// Whether each score is of a label.
    named: Vec<bool>,
    thresholds: Vec<f32>,
    at_least: bool,
    background: u16,
    /// Scores of a pixel are made of the outputs for all labels.
    together: bool,
    /// What is done to combined logits first.
    activation: Activation,
}

impl Decider {
    /// For the scores of the network that gives the result.
    pub fn new(recipe: &Recipe) -> Decider {
        Self::of(recipe, recipe.last())
    }

    /// For the scores of a network of the recipe.
    pub fn of(recipe: &Recipe, network: &Network) -> Decider {
        let scored = recipe.scored(network);
        Decider {
            rule: recipe.rule_of(network),
            values: scored.iter().map(|s| s.value).collect(),
            named: scored.iter().map(|s| s.label.is_some()).collect(),
            thresholds: scored.iter().map(|s| s.threshold as f32).collect(),
            at_least: recipe.decide.at_least,
            background: 0,
            activation: match network.combine {
                Combine::Logits => network.activation,
                Combine::Probabilities | Combine::WindowLogits => Activation::None,
            },
            together: network.combine == Combine::WindowLogits && network.activation == Activation::Softmax,
        }
    }

    /// Number of scores a pixel.
    pub fn scores(&self) -> usize {
        self.values.len()
    }

    /// Makes combined logits scores.
    pub fn activate(&self, scores: &mut [f32]) {
        activate(self.activation, scores);
    }

    fn above(&self, k: usize, score: f32) -> bool {
        score > self.thresholds[k] || self.at_least && score == self.thresholds[k]
    }

    /// Which of the labels it is, by its number in the recipe; `None` for background.
    pub fn choose(&self, scores: &[f32]) -> Option<usize> {
        let best = || (1..scores.len()).fold(0, |best, k| if scores[k] > scores[best] { k } else { best });
        match self.rule {
            Rule::Argmax if scores.len() == 1 => Some(0).filter(|k| self.above(*k, scores[0])),
            Rule::Argmax | Rule::Several => Some(best()),
            Rule::Threshold => Some(best()).filter(|k| self.above(*k, scores[*k])),
            // A region that is not wanted hides none that it lies in.
            Rule::Regions => (0..scores.len()).rev().find(|k| self.named[*k] && self.above(*k, scores[*k])),
        }
    }

    /// The value in a label map for scores as they are after [`Decider::activate`]; 0 where they are not numbers.
    pub fn label(&self, scores: &[f32]) -> u16 {
        if scores.first().is_none_or(|v| v.is_nan()) {
            return self.background;
        }
        self.choose(scores).map_or(self.background, |k| self.values[k])
    }

    /// Labels of pixels whose only score needs no activation and is compared with a threshold; tells whether that is so.
    pub fn row(&self, scores: &[f32], labels: &mut [u16]) -> bool {
        let (&[value], &[threshold]) = (&self.values[..], &self.thresholds[..]) else { return false };
        if self.activation != Activation::None || self.rule == Rule::Several {
            return false;
        }
        let pick = |yes: bool| if yes { value } else { self.background };
        // Comparisons with what is not a number are false.
        match self.at_least {
            true => labels.iter_mut().zip(scores).for_each(|(l, s)| *l = pick(*s >= threshold)),
            false => labels.iter_mut().zip(scores).for_each(|(l, s)| *l = pick(*s > threshold)),
        }
        true
    }

    /// All labels whose score is above its threshold.
    pub fn several(&self, scores: &[f32]) -> Vec<usize> {
        (0..scores.len()).filter(|k| self.above(*k, scores[*k])).collect()
    }

    /// Whether labels can be decided on a part of the scores at a time, the later over the earlier.
    pub fn by_parts(&self) -> bool {
        let independent = self.activation != Activation::Softmax;
        match self.rule {
            _ if self.together => false,
            Rule::Argmax => self.values.len() > 1,
            Rule::Threshold | Rule::Regions => independent,
            Rule::Several => false,
        }
    }

    /// The label and score that a part of the scores (those of labels from `first` on) makes of what the parts
    /// before made. Scores are as they are before [`Decider::activate`].
    pub fn fold(&self, (label, top): (u16, f32), first: usize, part: &[f32]) -> (u16, f32) {
        let mut held = (label, top);
        for (k, &raw) in part.iter().enumerate() {
            let own = first + k;
            let score = if self.activation == Activation::Sigmoid { sigmoid(raw) } else { raw };
            let wins = match self.rule {
                Rule::Argmax | Rule::Several => held.1.is_nan() || score > held.1,
                Rule::Threshold => (held.1.is_nan() || score > held.1) && !score.is_nan(),
                Rule::Regions => self.named[own] && self.above(own, score),
            };
            if !wins {
                continue;
            }
            let value = match self.rule {
                Rule::Threshold if !self.above(own, score) => self.background,
                Rule::Threshold | Rule::Argmax | Rule::Several | Rule::Regions => self.values[own],
            };
            held = (value, score);
        }
        held
    }
}

/// Makes the logits of a pixel scores.
pub(crate) fn activate(activation: Activation, scores: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::Sigmoid => scores.iter_mut().for_each(|v| *v = sigmoid(*v)),
        Activation::Softmax if scores.len() > 1 => softmax(scores),
        Activation::Softmax => scores.iter_mut().for_each(|v| *v = sigmoid(*v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decider(rule: &str, labels: &[(u16, f32)], more: &str) -> Decider {
        let mut text = format!(
            "version = 2\n[model]\nname = \"x\"\ntask = \"segmentation\"\n[[input]]\nname = \"a\"\n[[network]]\n{more}\n[decide]\nrule = \"{rule}\"\n"
        );
        for (i, (value, threshold)) in labels.iter().enumerate() {
            text += &format!("[[label]]\nname = \"l{i}\"\nvalue = {value}\n");
            if !rule.starts_with("argmax") {
                text += &format!("threshold = {threshold:?}\n");
            }
        }
        Decider::new(&Recipe::parse(&text, "").unwrap())
    }

    #[test]
    fn rules_decide_as_they_say() {
        let labels = [(0, 0.5), (4, 0.5), (7, 0.9)];
        let d = decider("argmax", &labels, "");
        assert_eq!(
            [&[0.1, 0.5, 0.5][..], &[0.4, 0.3, 0.3], &[f32::NAN, 0.0, 0.0]].map(|s| d.label(s)),
            [4, 0, 0]
        );
        let d = decider("threshold", &labels, "");
        assert_eq!(
            [[0.1, 0.6, 0.5], [0.1, 0.5, 0.3], [0.1, 0.2, 0.8], [0.0, 0.2, 0.95]].map(|s| d.label(&s)),
            [4, 0, 0, 7]
        );
        let d = decider("regions", &labels[1..], "");
        assert_eq!([[0.6, 0.95], [0.6, 0.9], [0.1, 0.95], [0.5, 0.1]].map(|s| d.label(&s)), [7, 4, 7, 0]);
        let d = decider("regions\"\nat-least = true\nthreshold = 0.5 #\"", &labels[1..], "");
        assert_eq!(d.label(&[0.5, 0.9]), 7);
    }

    #[test]
    fn rows_decide_as_pixels() {
        for rule in ["argmax", "threshold", "regions", "threshold\"\nat-least = true #\""] {
            let d = decider(rule, &[(3, 0.5)], "");
            let scores = [0.1, 0.5, f32::NAN, 0.6, 0.500001];
            let mut labels = [9; 5];
            assert!(d.row(&scores, &mut labels));
            assert_eq!(labels, scores.map(|s| d.label(&[s])), "{rule}");
        }
        assert!(!decider("argmax", &[(0, 0.5), (1, 0.5)], "").row(&[], &mut []));
    }

    #[test]
    fn parts_decide_as_the_whole() {
        let labels: Vec<(u16, f32)> = (0..7).map(|i| (i * 3, 0.3 + 0.1 * (i % 4) as f32)).collect();
        for (rule, more) in [
            ("argmax", ""),
            ("threshold", ""),
            ("regions", ""),
            ("regions", "activation = \"sigmoid\"\ncombine = \"logits\""),
            ("argmax", "activation = \"softmax\"\ncombine = \"logits\""),
        ] {
            let d = decider(rule, &labels, more);
            assert!(d.by_parts());
            for i in 0..200u32 {
                let raw: Vec<f32> = (0..7).map(|k| ((i * 37 + k * 101) % 97) as f32 / 97.0).collect();
                let mut scores = raw.clone();
                d.activate(&mut scores);
                let mut held = (0, f32::NAN);
                for first in (0..7).step_by(3) {
                    held = d.fold(held, first, &raw[first..(first + 3).min(7)]);
                }
                assert_eq!(held.0, d.label(&scores), "{rule} {raw:?}");
            }
        }
    }
}
