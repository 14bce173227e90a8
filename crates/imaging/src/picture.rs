//! Pictures to check results by: planes and slices of a volume with the outlines of all labels, photos with
//! outlines or a heat map, and labels in colour.
//!
//! Every function takes any size and any label; what does not fit together is said in the picture. The same
//! input gives the same pixels everywhere: what is drawn is computed by sums, products and comparisons.

mod canvas;
mod colour;
mod coverage;
mod frame;
mod heat;
mod label;
mod outline;
mod overlay;
mod plane;
mod png;
mod raster;
mod scale_bar;
mod survey;
mod volume;

pub use colour::palette;
pub use coverage::Coverage;
pub use heat::{heat_colour, heat_map};
pub use label::{label_picture, write_label_png};
pub use overlay::{overlay, overlay_bytes};
pub use png::write_png;
pub use volume::volume_qc;

use crate::Volume;
use std::io;
use std::path::Path;

/// How a label is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legend {
    /// Value of its pixels or voxels; 0 is background and never drawn.
    pub value: u16,
    /// Name, any text; what cannot be printed is shown as `?`.
    pub name: String,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

impl Legend {
    /// A label in the palette's colour for its value.
    pub fn new(value: u16, name: impl Into<String>) -> Self {
        Legend { value, name: name.into(), colour: palette(usize::from(value).saturating_sub(1)) }
    }
}

/// Red, as masks of one label are outlined.
const MASK: [u8; 3] = [255, 64, 32];

/// Writes [`volume_qc`] of one mask as a PNG, with the file's name as title. Volumes are in canonical (RAS)
/// orientation, `spacing` in mm.
pub fn write(path: &Path, image: &Volume<f32>, mask: &Volume<u8>, spacing: [f64; 3]) -> io::Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let title = name.strip_suffix("_qc.png").unwrap_or(&name);
    let legend = [Legend { value: 1, name: "mask".into(), colour: MASK }];
    // Whatever is not background is the mask.
    let mask = mask.map(|v| u8::from(v != 0));
    let picture = volume_qc(image, &mask, spacing, &legend, title);
    ampoule_files::write_atomic(path, |out| write_png(out, &picture))
}

#[cfg(test)]
mod tests;
