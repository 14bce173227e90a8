//! `crop` of a network: the box around labels that it finds is what all later networks see of the image.

use super::schema::{Section, choices};
use serde::Serialize;

choices! {
    /// What becomes of an image in which a network finds none of the labels that it looks for.
    #[derive(Default)]
    Empty {
        /// The image is refused, as one of another kind.
        #[default]
        Refuse = "refuse",
        /// All of it is background, with a warning (TotalSegmentator).
        Background = "background",
    }
}

/// How the labels of a network become the box that all later networks see.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Crop {
    /// Names of the labels that the box is around, of those that the network's `labels` name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The labels are those that a user chose; where none were chosen, the network does not run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub subset: bool,
    /// Millimetres added on each side; of voxels, as many as fit into them.
    #[serde(rename = "margin-mm")]
    pub margin_mm: f64,
    /// Only the largest component of each label counts, by faces, on the grid that labels are decided on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub largest: bool,
    /// What becomes of an image without any of the labels.
    pub empty: Empty,
    /// Values of what is cut out lose their fractions.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncate: bool,
}

impl Crop {
    pub(super) fn read(s: Section) -> Option<Crop> {
        let labels = s.texts("labels").unwrap_or_default();
        let subset = s.flag("subset").unwrap_or(false);
        let margin = s.number_where("margin-mm", "0 to 1000", |v| (0.0..=1000.0).contains(&v));
        let largest = s.flag("largest").unwrap_or(false);
        let empty = s.choice("empty").unwrap_or_default();
        let truncate = s.flag("truncate").unwrap_or(false);
        if subset != labels.is_empty() {
            s.wrong_here("takes either `labels` or `subset = true`");
        }
        s.done();
        Some(Crop { labels, subset, margin_mm: margin.unwrap_or(0.0), largest, empty, truncate })
    }
}
