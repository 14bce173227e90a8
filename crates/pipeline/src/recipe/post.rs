//! `[[postprocess]]`: what happens to labels.

use super::Axis;
use super::schema::{Section, choices};
use serde::Serialize;

choices! {
    /// Which voxels touch.
    Neighbours {
        /// Those that share a face (6; 4 in an image).
        Faces = "faces",
        /// Those that share a face, an edge or a corner (26; 8 in an image).
        Full = "full",
    }
}

choices! {
    /// Which of several components of the largest size stay.
    Ties {
        /// The one with the first voxel, as SciPy's labels are numbered.
        First = "first",
        /// All of them, as nnU-Net has it.
        All = "all",
    }
}

choices! {
    /// What is done, by name.
    Name {
        Largest = "largest",
        RemoveSmall = "remove-small",
        FillHoles = "fill-holes",
        Dilate = "dilate",
        Erode = "erode",
        Open = "open",
        Close = "close",
        Map = "map",
        KeepInside = "keep-inside",
        Return = "return",
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Post {
    /// What is done.
    #[serde(flatten)]
    pub step: PostStep,
    /// Names of the labels it is done to; all but the background where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The labels count as one.
    pub together: bool,
}

/// What is done to labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum PostStep {
    /// Only the largest component stays.
    Largest {
        /// Which voxels touch.
        neighbours: Neighbours,
        /// Which of equally large ones.
        #[serde(skip_serializing_if = "Ties::is_first")]
        ties: Ties,
    },
    /// Components below a size go.
    RemoveSmall {
        /// Which voxels touch.
        neighbours: Neighbours,
        /// Least size in voxels or pixels.
        #[serde(skip_serializing_if = "Option::is_none")]
        voxels: Option<usize>,
        /// Least size in mm³ of volumes, mm² of images.
        #[serde(skip_serializing_if = "Option::is_none")]
        mm: Option<f64>,
    },
    /// Background that a label encloses becomes that label.
    FillHoles {
        /// Slice by slice across this axis instead of in space.
        #[serde(skip_serializing_if = "Option::is_none")]
        slices: Option<Axis>,
    },
    /// Layers of voxels are added.
    Dilate {
        /// How many.
        by: usize,
    },
    /// Layers of voxels are removed.
    Erode {
        /// How many.
        by: usize,
    },
    /// Layers are removed and added again.
    Open {
        /// How many.
        by: usize,
    },
    /// Layers are added and removed again.
    Close {
        /// How many.
        by: usize,
    },
    /// Values of label maps are replaced.
    Map {
        /// Values.
        from: Vec<usize>,
        /// What they become, one each.
        to: Vec<usize>,
    },
    /// Voxels of the labels stay only where another label, with its holes filled, encloses them.
    KeepInside {
        /// The other label.
        label: String,
    },
    /// Labels return to the image's own grid here: the steps before this one are done on the grid after the recipe's
    /// `[[preprocess]]`. Without it all are done on the image's grid.
    Return {},
}

impl Ties {
    /// Whether nothing need be said of it.
    fn is_first(&self) -> bool {
        *self == Ties::First
    }
}

impl PostStep {
    /// The label within which others are kept, where the step has one.
    pub(crate) fn inside(&self) -> Option<&String> {
        match self {
            PostStep::KeepInside { label } => Some(label),
            PostStep::Largest { .. }
            | PostStep::RemoveSmall { .. }
            | PostStep::FillHoles { .. }
            | PostStep::Dilate { .. }
            | PostStep::Erode { .. }
            | PostStep::Open { .. }
            | PostStep::Close { .. }
            | PostStep::Map { .. }
            | PostStep::Return {} => None,
        }
    }
}

impl Post {
    pub(super) fn read(s: Section) -> Option<Post> {
        let name = s.needed("step", s.choice::<Name>("step"));
        let step = name.and_then(|n| step(&s, n));
        let labels = s.texts("labels").unwrap_or_default();
        let together = s.flag("together").unwrap_or(false);
        s.done();
        Some(Post { step: step?, labels, together })
    }
}

fn step(s: &Section, name: Name) -> Option<PostStep> {
    let by = || s.size("by", 1..=64).unwrap_or(1);
    let neighbours = || s.choice("neighbours").unwrap_or(Neighbours::Full);
    Some(match name {
        Name::Largest => {
            PostStep::Largest { neighbours: neighbours(), ties: s.choice("ties").unwrap_or(Ties::First) }
        }
        Name::RemoveSmall => {
            let voxels = s.size("voxels", 1..=usize::MAX >> 1);
            let mm = s.number_where("mm", "above 0", |v| v > 0.0);
            if voxels.is_some() == mm.is_some() {
                s.wrong_here("`remove-small` takes either `voxels` or `mm`");
            }
            PostStep::RemoveSmall { neighbours: neighbours(), voxels, mm }
        }
        Name::FillHoles => PostStep::FillHoles { slices: s.choice("slices") },
        Name::Dilate => PostStep::Dilate { by: by() },
        Name::Erode => PostStep::Erode { by: by() },
        Name::Open => PostStep::Open { by: by() },
        Name::Close => PostStep::Close { by: by() },
        Name::Map => {
            let values = |key| s.needed(key, s.sizes(key, 1..=65_535, 0..=65_535));
            let (from, to) = (values("from"), values("to"));
            let (from, to) = (from?, to?);
            if from.len() != to.len() {
                s.wrong("to", format_args!("must have {} values, one for each of `from`", from.len()));
            }
            PostStep::Map { from, to }
        }
        Name::Return => PostStep::Return {},
        Name::KeepInside => PostStep::KeepInside { label: s.needed("label", s.text("label"))? },
    })
}
