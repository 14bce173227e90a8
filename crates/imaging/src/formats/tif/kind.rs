//! Which scanner or program wrote a TIFF file.

use super::page::{Colour, Page};
use crate::formats::kind::Format;

/// Kinds of TIFF, distinguished by their tags and descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Aperio,
    Ome,
    Ndpi,
    Scn,
    Philips,
    Ventana,
    CameraRaw,
    /// Smaller copies of a tiled image, written by no known scanner.
    Pyramid,
    Plain,
}

impl Kind {
    /// As a format of image files.
    pub fn format(self) -> Format {
        match self {
            Kind::Aperio => Format::Svs,
            Kind::Ome => Format::OmeTiff,
            Kind::Ndpi => Format::Ndpi,
            Kind::Scn => Format::Scn,
            Kind::Philips => Format::PhilipsTiff,
            Kind::Ventana => Format::VentanaBif,
            Kind::CameraRaw => Format::CameraRaw,
            Kind::Pyramid => Format::PyramidTiff,
            Kind::Plain => Format::Tiff,
        }
    }
}

/// The kind of a file with these images.
pub(crate) fn kind(pages: &[Page]) -> Kind {
    let Some(first) = pages.first() else { return Kind::Plain };
    let text = &first.description;
    if text.starts_with("Aperio") {
        Kind::Aperio
    } else if first.ndpi || first.make.starts_with("Hamamatsu") {
        Kind::Ndpi
    } else if text.contains("www.leica-microsystems.com/scn") {
        Kind::Scn
    } else if first.software.starts_with("Philips") || text.contains("DPUfsImport") {
        Kind::Philips
    } else if pages.iter().any(|p| p.ventana) {
        Kind::Ventana
    } else if is_ome(text) {
        Kind::Ome
    } else if all(pages).any(|p| p.camera_raw || matches!(p.colour, Colour::Other(32803 | 34892))) {
        Kind::CameraRaw
    } else if is_pyramid(pages) {
        Kind::Pyramid
    } else {
        Kind::Plain
    }
}

/// All images, and the copies that each refers to.
fn all(pages: &[Page]) -> impl Iterator<Item = &Page> {
    pages.iter().flat_map(|p| std::iter::once(p).chain(&p.children))
}

/// Whether a description is OME's XML.
fn is_ome(text: &str) -> bool {
    text.contains("<OME") || text.contains(":OME ")
}

/// Whether the largest image is tiled and has a smaller copy of its shape. (Photos in strips have small
/// copies too.)
pub(crate) fn is_pyramid(pages: &[Page]) -> bool {
    let Some(base) = all(pages).max_by_key(|p| p.width.saturating_mul(p.height)) else { return false };
    let copy = |p: &Page| p.width < base.width && (p.tiled || p.reduced) && same_shape(base, p);
    base.tiled && all(pages).any(copy)
}

/// A copy has the shape of its original within what rounding each level to whole pixels can do.
pub(crate) fn same_shape(base: &Page, p: &Page) -> bool {
    if p.width == 0 || p.height == 0 {
        return false;
    }
    let across = base.width as f64 / p.width as f64;
    let down = base.height as f64 / p.height as f64;
    let slack = 0.01 + 2.0 / p.width.min(p.height) as f64;
    (across / down - 1.0).abs() < slack
}
