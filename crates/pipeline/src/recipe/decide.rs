//! `[decide]` and `[[label]]`: from the network's scores to labels.

use super::Task;
use super::schema::{Section, choices};
use serde::Serialize;

choices! {
    /// How the label of a voxel, pixel or image follows from its scores.
    Rule {
        /// The label with the largest score, the first of equals.
        Argmax = "argmax",
        /// The label with the largest score where that is above its threshold, else background.
        Threshold = "threshold",
        /// Labels that may lie within one another: each where its score is above its threshold; of several the last
        /// (nnU-Net's regions, in the order of `regions_class_order`).
        Regions = "regions",
        /// For classification: every label whose score is above its threshold, any number of them.
        Several = "several",
    }
}

/// From scores to labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decide {
    /// The rule.
    pub rule: Rule,
    /// Threshold of labels that have none of their own.
    pub threshold: f64,
    /// A score equal to the threshold counts as above it.
    #[serde(rename = "at-least")]
    pub at_least: bool,
}

/// What holds where a recipe says nothing.
impl Default for Decide {
    fn default() -> Decide {
        Decide { rule: Rule::Argmax, threshold: 0.5, at_least: false }
    }
}

impl Decide {
    pub(super) fn read(s: Section, task: Option<Task>) -> Decide {
        let usual = Decide::default();
        let rule = s.choice("rule").unwrap_or(usual.rule);
        match (rule, task) {
            (Rule::Several, Some(Task::Segmentation)) => {
                s.wrong("rule", "`several` is for classification; a segmentation takes `regions`");
            }
            (Rule::Regions, Some(Task::Classification)) => {
                s.wrong("rule", "`regions` is for segmentation; a classification takes `several`");
            }
            _ => {}
        }
        let threshold = s.number("threshold").unwrap_or(usual.threshold);
        let at_least = s.flag("at-least").unwrap_or(usual.at_least);
        s.done();
        Decide { rule, threshold, at_least }
    }
}

/// One of the labels or classes that the network distinguishes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// Value in label maps; 0 is the background.
    pub value: u16,
    /// Name.
    pub name: String,
    /// The network's channel that holds its score.
    pub channel: usize,
    /// Colour in pictures, red, green and blue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<[u8; 3]>,
    /// What several labels belong to, for tables.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Score above which it holds, where the rule asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Whether ground truth numbers the objects of this label: every value above 0 is this label then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub instances: bool,
    /// The network decides it, and it is in no result.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auxiliary: bool,
    /// Unit of a regression's number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Least and most plausible volume in millilitres.
    #[serde(rename = "volume-ml", skip_serializing_if = "Option::is_none")]
    pub volume_ml: Option<[f64; 2]>,
    /// Least and most plausible area in square millimetres.
    #[serde(rename = "area-mm2", skip_serializing_if = "Option::is_none")]
    pub area_mm2: Option<[f64; 2]>,
    /// Least and most plausible share of the image, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<[f64; 2]>,
    /// Least and most plausible value of a regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

impl Label {
    /// The label `i` of a list, with nothing but a name.
    pub fn named(i: usize, name: impl Into<String>) -> Label {
        Label {
            value: i as u16,
            name: name.into(),
            channel: i,
            colour: None,
            group: String::new(),
            threshold: None,
            instances: false,
            auxiliary: false,
            unit: String::new(),
            volume_ml: None,
            area_mm2: None,
            share: None,
            range: None,
        }
    }

    pub(super) fn read(s: Section, i: usize, task: Option<Task>) -> Option<Label> {
        let name = s.needed("name", s.text("name"));
        if name.as_ref().is_some_and(|n| n.trim().is_empty() || n.chars().any(char::is_control)) {
            s.wrong("name", "must be a name without control characters");
        }
        let value = s.integer("value", 0..=u16::MAX as i64).unwrap_or(i as i64) as u16;
        let channel = s.size("channel", 0..=65_535).unwrap_or(i);
        let colour = s.sizes("colour", 3..=3, 0..=255).map(|c| [c[0] as u8, c[1] as u8, c[2] as u8]);
        let group = s.text("group").unwrap_or_default();
        let threshold = s.number("threshold");
        let instances = s.flag("instances").unwrap_or(false);
        let auxiliary = s.flag("auxiliary").unwrap_or(false);
        let unit = s.text("unit").unwrap_or_default();
        let [volume_ml, area_mm2, share, range] =
            ["volume-ml", "area-mm2", "share", "range"].map(|k| s.range(k));
        if range.is_some() && task.is_some_and(|t| t != Task::Regression) {
            s.wrong("range", "is for regression; labels take `volume-ml`, `area-mm2` or `share`");
        }
        s.done();
        Some(Label {
            value,
            name: name?,
            channel,
            colour,
            group,
            threshold,
            instances,
            auxiliary,
            unit,
            volume_ml,
            area_mm2,
            share,
            range,
        })
    }
}
