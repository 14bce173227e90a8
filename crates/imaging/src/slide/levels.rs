//! Which images of a file are its pyramid, and how large a pixel is.

use super::{Error, scanners};
use crate::formats::tif::{self, Colour, Kind, Page, damaged, same_shape};

/// The levels of a file's pyramid.
pub(super) struct Levels {
    pub pages: Vec<Page>,
    pub mpp: Option<f64>,
    pub notes: Vec<String>,
    pub kind: &'static str,
}

/// Microns a pixel that a microscope's scanner can have; others are mistakes.
const MICRONS: std::ops::RangeInclusive<f64> = 0.02..=50.0;

pub(super) fn choose(pages: Vec<Page>) -> Result<Levels, Error> {
    let kind = tif::kind(&pages);
    let format = kind.format();
    if let Err(advice) = format.support() {
        return Err(Error::Unreadable { format, advice });
    }
    let mut notes = Vec::new();
    let description = pages.first().map(|p| p.description.clone()).unwrap_or_default();
    let (found, own) = candidates(kind, pages, &mut notes)?;
    let mut levels = pyramid(found, kind, &mut notes)?;
    let base = &levels[0];
    if base.samples > base.colours() && base.alpha {
        notes.push("transparency was dropped".into());
    }
    let mpp = pixel_size(kind, (&description, own), base, &mut notes);
    let name = match kind {
        Kind::Aperio => "Aperio",
        Kind::Ome => "OME-TIFF",
        Kind::Ndpi => "Hamamatsu NDPI",
        Kind::Scn => "Leica SCN",
        Kind::Philips => "Philips TIFF",
        Kind::Ventana | Kind::CameraRaw | Kind::Pyramid | Kind::Plain => "TIFF",
    };
    // Descriptions can be long and are not needed any more.
    levels.iter_mut().for_each(|p| p.description = String::new());
    Ok(Levels { pages: levels, mpp, notes, kind: name })
}

/// The images that can be levels, and microns a pixel where the scanner's own text says so.
fn candidates(
    kind: Kind,
    pages: Vec<Page>,
    notes: &mut Vec<String>,
) -> Result<(Vec<Page>, Option<f64>), Error> {
    let found = match kind {
        Kind::Ndpi => scanners::hamamatsu(pages),
        Kind::Scn => scanners::leica(pages)?,
        Kind::Philips => scanners::philips(pages),
        Kind::Aperio | Kind::Ome | Kind::Ventana | Kind::CameraRaw | Kind::Pyramid | Kind::Plain => {
            return plain_candidates(kind, pages, notes).map(|pages| (pages, None));
        }
    };
    notes.extend(found.notes);
    Ok((found.levels, found.mpp))
}

fn plain_candidates(kind: Kind, pages: Vec<Page>, notes: &mut Vec<String>) -> Result<Vec<Page>, Error> {
    match kind {
        // Thumbnail, label and macro images stand in strips among the tiled levels.
        Kind::Aperio => Ok(pages.into_iter().filter(|p| p.tiled).collect()),
        Kind::Ome => {
            let scenes = ome_images(&pages[0].description);
            if scenes > 1 {
                notes.push(format!("the file holds {scenes} images (scenes); the first one is read"));
            }
            let first = pages.into_iter().next().ok_or_else(|| damaged("it holds no image"))?;
            if first.samples == 1 && first.colour == Colour::Grey && ome_channels(&first.description) > 1 {
                let what = "its colour channels in separate images; save it with interleaved RGB".into();
                return Err(Error::Unsupported { what });
            }
            Ok(with_children(first))
        }
        Kind::Ndpi
        | Kind::Scn
        | Kind::Philips
        | Kind::Ventana
        | Kind::CameraRaw
        | Kind::Pyramid
        | Kind::Plain => Ok(pages.into_iter().filter(|p| !p.mask).flat_map(with_children).collect()),
    }
}

/// An image followed by the copies that it refers to.
fn with_children(mut page: Page) -> Vec<Page> {
    let children = std::mem::take(&mut page.children);
    std::iter::once(page).chain(children).collect()
}

/// The largest image and its smaller copies, the finest first.
fn pyramid(candidates: Vec<Page>, kind: Kind, notes: &mut Vec<String>) -> Result<Vec<Page>, Error> {
    let area = |p: &Page| p.width.saturating_mul(p.height);
    // The first of those that are equally large.
    let base = (0..candidates.len()).rev().max_by_key(|&i| area(&candidates[i]));
    let Some(base) = base else { return Err(damaged("it holds no tiled image")) };
    let largest = candidates.iter().filter(|p| area(p) == area(&candidates[base])).count();
    if largest > 1 {
        notes.push(format!(
            "the file holds {largest} images of {}x{} pixels; the first one is read",
            candidates[base].width, candidates[base].height
        ));
    }
    let mut candidates = candidates;
    let base = candidates.remove(base);
    tif::usable(&base)?;
    let mut levels = vec![base];
    candidates.sort_by_key(|p| std::cmp::Reverse(p.width));
    let mut aside = 0;
    // These files list their levels.
    let listed = matches!(kind, Kind::Ndpi | Kind::Scn | Kind::Philips);
    for p in candidates {
        let smaller = p.width < levels[levels.len() - 1].width;
        // Untiled copies of tiled slides are thumbnails, unless the file calls them smaller copies.
        let copy = p.tiled || listed || p.reduced && kind != Kind::Aperio;
        if smaller && copy && same_shape(&levels[0], &p) {
            match tif::usable(&p) {
                Ok(()) => levels.push(p),
                Err(e) => notes.push(format!("a level of {}x{} pixels is left out: {e}", p.width, p.height)),
            }
        } else if p.width.saturating_mul(p.height) < area(&levels[0]) {
            aside += 1;
        }
    }
    if aside > 0 {
        notes.push(format!(
            "{aside} more images of the file (labels, overviews or other scenes) are no copies of the largest one \
             and are not read"
        ));
    }
    if levels.iter().any(|p| tif::wide(p) && (p.bits, p.numbers) != (16, tif::Numbers::Unsigned)) {
        let what = "samples that are floating-point, signed or 32-bit numbers; save it with 8 or 16 bits";
        return Err(Error::Unsupported { what: what.into() });
    }
    Ok(levels)
}

/// Microns a pixel: what the description states, else the resolution tags, else the objective.
fn pixel_size(
    kind: Kind,
    (description, own): (&str, Option<f64>),
    base: &Page,
    notes: &mut Vec<String>,
) -> Option<f64> {
    let stated = match kind {
        Kind::Aperio => aperio(description, "MPP"),
        Kind::Ome => tif::ome_size(description),
        Kind::Scn | Kind::Philips => own,
        Kind::Ndpi | Kind::Ventana | Kind::CameraRaw | Kind::Pyramid | Kind::Plain => None,
    };
    let mut believed = |v: &f64| {
        let fine = MICRONS.contains(v);
        if !fine {
            notes.push(format!("the file's pixel size of {v} microns cannot be and is not used"));
        }
        fine
    };
    let stated = stated.filter(&mut believed);
    let tagged = base.mpp.filter(|_| stated.is_none()).filter(|m| believed(&m[0]) && believed(&m[1]));
    stated.or_else(|| tagged.map(|[x, y]| mean(x, y, notes))).or_else(|| {
        let power = aperio(description, "AppMag").filter(|_| kind == Kind::Aperio)?;
        notes.push(format!("the pixel size is estimated from the objective ({power}x)"));
        Some(10.0 / power)
    })
}

/// Pixels that are not square count as squares of their mean size.
fn mean(x: f64, y: f64, notes: &mut Vec<String>) -> f64 {
    if (x - y).abs() > 0.02 * x.max(y) {
        notes.push(format!("pixels of {x:.4} by {y:.4} microns are taken as squares of their mean size"));
    }
    (x + y) / 2.0
}

/// A number in Aperio's description: `…|MPP = 0.4990|AppMag = 20|…`; `None` where it is not above 0.
fn aperio(text: &str, key: &str) -> Option<f64> {
    let field = text.split('|').filter_map(|f| f.split_once('=')).find(|f| f.0.trim() == key)?;
    field.1.trim().replace(',', ".").parse().ok().filter(|v: &f64| *v > 0.0)
}

fn ome_channels(xml: &str) -> u64 {
    tif::ome_attribute(xml, "SizeC").and_then(|v| v.parse().ok()).unwrap_or(1)
}

/// Images that OME's XML lists: levels of one image are not among them.
fn ome_images(xml: &str) -> usize {
    xml.matches("<Image ").count() + xml.matches(":Image ").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_sizes_are_found_in_descriptions() {
        let text = "Aperio Image Library v11.2.1 \r\n46000x32914|AppMag = 20|MPP = 0.4990|Left = 25.6";
        assert_eq!(aperio(text, "MPP"), Some(0.499));
        assert_eq!(aperio("Aperio|MPP = 0,25", "MPP"), Some(0.25));
        assert_eq!(aperio(text, "AppMag"), Some(20.0));
        assert_eq!(aperio("Aperio|MPP = 0", "MPP"), None);
        let xml =
            "<OME><Image><Pixels SizeC=\"3\" PhysicalSizeX=\"500\" PhysicalSizeXUnit=\"nm\"/></Image></OME>";
        assert_eq!((tif::ome_size(xml), ome_channels(xml)), (Some(0.5), 3));
        assert_eq!(tif::ome_size("<OME><Pixels PhysicalSizeX=\"0.5\" PhysicalSizeXUnit=\"pixel\"/>"), None);
    }
}
