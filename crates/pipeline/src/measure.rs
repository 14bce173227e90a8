//! How much of an image each label covers.

use crate::recipe::Recipe;
use ampoule_imaging::Volume;
use ampoule_imaging::rounding::round_to;
use serde::{Deserialize, Serialize};

/// What a result holds of one label: exact counts, and sizes where those of a voxel are known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the label.
    pub name: String,
    /// Its value in label maps.
    pub value: u16,
    /// Voxels or pixels.
    pub voxels: u64,
    /// Share of all voxels, or of the tissue that was looked at on a slide.
    pub share: f64,
    /// Volume in millilitres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ml: Option<f64>,
    /// Area in square millimetres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mm2: Option<f64>,
    /// Outlined regions of a slide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<u64>,
}

/// Size of a voxel or pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Voxel {
    /// Cubic millimetres.
    Volume(f64),
    /// Square millimetres.
    Area(f64),
    /// Unknown.
    Unknown,
}

/// Counts every label but the background, in the order of the recipe.
pub(crate) fn measure(recipe: &Recipe, labels: &Volume<u16>, voxel: Voxel) -> Vec<Measured> {
    let most = recipe.label.iter().map(|l| l.value).max().unwrap_or(0).max(1) as usize;
    let mut counts = vec![0u64; most + 1];
    for l in &labels.data {
        if let Some(n) = counts.get_mut(*l as usize) {
            *n += 1;
        }
    }
    let all = labels.data.len().max(1) as f64;
    let one = |l: &crate::recipe::Label| {
        let voxels = counts[l.value as usize];
        let (ml, mm2) = match voxel {
            Voxel::Volume(v) => (Some(round_to(voxels as f64 * v / 1000.0, 1e3)), None),
            Voxel::Area(a) => (None, Some(round_to(voxels as f64 * a, 1e6))),
            Voxel::Unknown => (None, None),
        };
        Measured {
            name: l.name.clone(),
            value: l.value,
            voxels,
            share: round_to(voxels as f64 / all, 1e6),
            ml,
            mm2,
            regions: None,
        }
    };
    recipe.foreground().map(one).collect()
}
