//! Which images of a file are its pyramid, and how large a pixel is.

use super::Error;
use super::chunk::{PIXELS, supported};
use super::page::{Colour, Page};

/// The pyramid of a file.
pub(super) struct Found {
    pub pages: Vec<Page>,
    pub mpp: Option<f64>,
    pub notes: Vec<String>,
    pub kind: &'static str,
}

/// Microns a pixel that a microscope's scanner can have; others are mistakes.
const MICRONS: std::ops::RangeInclusive<f64> = 0.02..=50.0;

pub(super) fn choose(pages: Vec<Page>) -> Result<Found, Error> {
    let Some(first) = pages.first().cloned() else {
        return Err(Error::Format { reason: "it holds no image".into() });
    };
    let mut notes = Vec::new();
    let (kind, candidates, stated) = if first.description.starts_with("Aperio") {
        // Thumbnail, label and macro images stand in strips among the tiled levels.
        let stated = aperio(&first.description, "MPP");
        ("Aperio", pages.into_iter().filter(|p| p.tiled).collect(), stated)
    } else if is_ome(&first.description) {
        if first.samples == 1 && first.colour == Colour::Grey && ome_channels(&first.description) > 1 {
            let what = "its colour channels in separate images; save it with interleaved RGB".into();
            return Err(Error::Unsupported { what });
        }
        let mut list = vec![first.clone()];
        list.extend(first.children.iter().cloned());
        ("OME-TIFF", list, ome(&first.description))
    } else {
        let pages = pages.into_iter().flat_map(|p| {
            let children = p.children.clone();
            std::iter::once(p).chain(children)
        });
        ("TIFF", pages.collect::<Vec<_>>(), None)
    };
    let largest = candidates.iter().rev().max_by_key(|p| p.width.saturating_mul(p.height));
    let Some(base) = largest.cloned() else {
        return Err(Error::Format { reason: "it holds no tiled image".into() });
    };
    usable(&base)?;
    let mut levels: Vec<Page> = vec![base.clone()];
    let mut others: Vec<Page> = candidates;
    others.sort_by_key(|p| std::cmp::Reverse(p.width));
    for p in others {
        let smaller = p.width < levels[levels.len() - 1].width;
        // Untiled copies of tiled slides are thumbnails, unless the file calls them smaller copies.
        let copy = p.tiled || p.reduced && kind != "Aperio";
        if smaller && copy && same_shape(&base, &p) {
            match usable(&p) {
                Ok(()) => levels.push(p),
                Err(e) => notes.push(format!("a level of {}x{} pixels is left out: {e}", p.width, p.height)),
            }
        }
    }
    if base.bits > 8 {
        notes.push("more than eight bits a channel were rounded to eight".into());
    }
    let extra = match base.colour {
        Colour::Rgb | Colour::YCbCr => 3,
        _ => 1,
    };
    if base.samples > extra {
        notes.push("transparency was dropped".into());
    }
    let mut believed = |v: &f64| {
        let fine = MICRONS.contains(v);
        if !fine {
            notes.push(format!("the file's pixel size of {v} microns cannot be and is not used"));
        }
        fine
    };
    let stated = stated.filter(&mut believed);
    let tagged = base.mpp.filter(|_| stated.is_none()).filter(|m| believed(&m[0]) && believed(&m[1]));
    let mpp = stated.or_else(|| tagged.map(|[x, y]| mean(x, y, &mut notes))).or_else(|| {
        let power = aperio(&first.description, "AppMag").filter(|_| kind == "Aperio")?;
        notes.push(format!("the pixel size is estimated from the objective ({power}x)"));
        Some(10.0 / power)
    });
    Ok(Found { pages: levels, mpp, notes, kind })
}

/// Pixels that are not square count as squares of their mean size.
fn mean(x: f64, y: f64, notes: &mut Vec<String>) -> f64 {
    if (x - y).abs() > 0.02 * x.max(y) {
        notes.push(format!("pixels of {x:.4} by {y:.4} microns are taken as squares of their mean size"));
    }
    (x + y) / 2.0
}

/// A copy has the shape of its original within what rounding each level to whole pixels can do.
fn same_shape(base: &Page, p: &Page) -> bool {
    let across = base.width as f64 / p.width as f64;
    let down = base.height as f64 / p.height as f64;
    let slack = 0.01 + 2.0 / p.width.min(p.height) as f64;
    (across / down - 1.0).abs() < slack
}

/// Sizes, counts and kinds that can be worked with.
fn usable(p: &Page) -> Result<(), Error> {
    let bad = |reason: String| Err(Error::Format { reason });
    let (w, h, [cw, ch]) = (p.width, p.height, p.chunk);
    if w == 0 || h == 0 || w >= 1 << 30 || h >= 1 << 30 {
        return bad(format!("an image of {w}x{h} pixels"));
    }
    if cw == 0 || ch == 0 {
        return bad("tiles without a size".into());
    }
    supported(p)?;
    if cw.saturating_mul(ch) > PIXELS {
        let what = format!("strips or tiles of {cw}x{ch} pixels, too large to decode at once; save it tiled");
        return Err(Error::Unsupported { what });
    }
    let planes = if p.planar { p.samples as u64 } else { 1 };
    let wanted = w.div_ceil(cw).checked_mul(h.div_ceil(ch)).and_then(|n| n.checked_mul(planes));
    let Some(wanted) = wanted else {
        return bad(format!("an image of {w}x{h} pixels in tiles of {cw}x{ch}"));
    };
    let found = p.offsets.len().min(p.counts.len()) as u64;
    if found < wanted {
        return bad(format!("{wanted} tiles are needed, {found} are listed"));
    }
    Ok(())
}

/// A number in Aperio's description: `…|MPP = 0.4990|AppMag = 20|…`; `None` where it is not above 0.
fn aperio(text: &str, key: &str) -> Option<f64> {
    let field = text.split('|').filter_map(|f| f.split_once('=')).find(|f| f.0.trim() == key)?;
    field.1.trim().replace(',', ".").parse().ok().filter(|v: &f64| *v > 0.0)
}

/// The value of an attribute in the first `Pixels` element.
fn attribute<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let pixels = &xml[xml.find("<Pixels").or_else(|| xml.find(":Pixels"))?..];
    let pixels = &pixels[..pixels.find('>')?];
    let after = &pixels[pixels.find(&format!(" {name}=\""))? + name.len() + 3..];
    after.split('"').next()
}

/// Whether a description is OME's XML.
pub(super) fn is_ome(text: &str) -> bool {
    text.contains("<OME") || text.contains(":OME")
}

fn ome_channels(xml: &str) -> u64 {
    attribute(xml, "SizeC").and_then(|v| v.parse().ok()).unwrap_or(1)
}

/// The pixel size in OME's XML; the standard's unit is the micron where none is given.
fn ome(xml: &str) -> Option<f64> {
    let factor = match attribute(xml, "PhysicalSizeXUnit") {
        None | Some("µm" | "um" | "\u{3bc}m" | "\u{fffd}m" | "&#181;m" | "&#xb5;m" | "&#xB5;m") => 1.0,
        Some("nm") => 1e-3,
        Some("mm") => 1e3,
        Some("cm") => 1e4,
        _ => return None,
    };
    let v: f64 = attribute(xml, "PhysicalSizeX")?.parse().ok()?;
    (v > 0.0).then_some(v * factor)
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
        assert_eq!((ome(xml), ome_channels(xml)), (Some(0.5), 3));
        assert_eq!(ome("<OME><Pixels PhysicalSizeX=\"0.5\" PhysicalSizeXUnit=\"pixel\"/>"), None);
    }
}
