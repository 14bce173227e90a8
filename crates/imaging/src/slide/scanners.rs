//! Which images of a scanner's file are levels of its pyramid, where the file says so in its own way.

use crate::formats::tif::xml::{attribute, content, elements, number};
use crate::formats::tif::{Error, Page, damaged};

/// Levels of a scanner's file, the microns a pixel of the first, and things to know.
pub(super) struct Found {
    pub levels: Vec<Page>,
    pub mpp: Option<f64>,
    pub notes: Vec<String>,
}

/// Hamamatsu: each level is an image of its own; others are pictures of the glass, or out of focus.
pub(super) fn hamamatsu(pages: Vec<Page>) -> Found {
    let level = |p: &Page| p.hamamatsu.is_some_and(|(power, focus)| power > 0.0 && focus == 0.0);
    let blurred = |p: &&Page| p.hamamatsu.is_some_and(|(power, focus)| power > 0.0 && focus != 0.0);
    let planes = pages.iter().filter(blurred).count();
    let notes = match planes {
        0 => Vec::new(),
        n => vec![format!("{n} images of the file are at other depths of focus and are not read")],
    };
    Found { levels: pages.into_iter().filter(level).collect(), mpp: None, notes }
}

/// Leica: the description lists images of the glass, each with its levels by the number of their directories.
pub(super) fn leica(pages: Vec<Page>) -> Result<Found, Error> {
    let xml = pages.first().map(|p| p.description.clone()).unwrap_or_default();
    let size = |element: &str| Some([number::<f64>(element, "sizeX")?, number(element, "sizeY")?]);
    let collection =
        elements(&xml, "collection").next().ok_or_else(|| damaged("its description lists no images"))?;
    let glass = size(collection);
    let of = |element: &str, name: &str| elements(element, name).next().and_then(size);
    let images: Vec<&str> = elements(collection, "image").collect();
    // The picture of the whole glass is as large as that.
    let areas: Vec<&str> = images.into_iter().filter(|i| glass.is_none() || of(i, "view") != glass).collect();
    let pixels = |i: &str| of(i, "pixels").map_or(0.0, |[w, h]| w * h);
    let largest = areas.iter().copied().reduce(|a, b| if pixels(b) > pixels(a) { b } else { a });
    let image =
        largest.ok_or_else(|| damaged("its description lists no image but that of the whole glass"))?;
    let mut notes = Vec::new();
    if areas.len() > 1 {
        let n = areas.len();
        notes.push(format!("the file holds {n} areas of the glass, each an image; the largest one is read"));
    }
    let mut numbers = Vec::new();
    for d in elements(image, "dimension") {
        if number::<i64>(d, "c").unwrap_or(0) != 0 {
            let what = "fluorescence channels as images of their own; export them as RGB".into();
            return Err(Error::Unsupported { what });
        }
        if number::<i64>(d, "z").unwrap_or(0) == 0 {
            let ifd: usize =
                number(d, "ifd").ok_or_else(|| damaged("its description names no directory of a level"))?;
            numbers.push(ifd);
        }
    }
    let mpp = of(image, "view").zip(of(image, "pixels")).map(|([nm, _], [n, _])| nm / n / 1000.0);
    let levels: Vec<Page> =
        pages.into_iter().enumerate().filter(|(i, _)| numbers.contains(i)).map(|(_, p)| p).collect();
    if levels.len() != numbers.len() {
        return Err(damaged("its description names levels that are not there"));
    }
    Ok(Found { levels, mpp: mpp.filter(|v| v.is_finite() && *v > 0.0), notes })
}

/// Philips: smaller copies are filled up to whole tiles; how large they are follows from the sizes of their pixels.
pub(super) fn philips(pages: Vec<Page>) -> Found {
    let xml = pages.first().map(|p| p.description.clone()).unwrap_or_default();
    let spacings = spacings(&xml);
    let mut notes = Vec::new();
    let mut levels: Vec<Page> = pages.into_iter().filter(|p| p.tiled).collect();
    let base = levels.first().map(|p| [p.width, p.height]);
    if spacings.len() < levels.len() {
        notes.push("the file does not say how large the pixels of its smaller copies are; their sizes are those of whole tiles".into());
    } else if let Some(base) = base {
        for (page, spacing) in levels.iter_mut().zip(&spacings) {
            let times = (spacing / spacings[0]).round().max(1.0);
            let [w, h] = base.map(|n| (n as f64 / times) as u64);
            let grid = page.grid();
            let own = [page.width, page.height];
            if (1..=own[0]).contains(&w) && (1..=own[1]).contains(&h) {
                (page.width, page.height) = (w, h);
            }
            if page.grid() != grid {
                // Tiles would be those of other places.
                [page.width, page.height] = own;
            }
        }
    }
    let mpp = spacings.first().map(|mm| 1000.0 * mm);
    Found { levels, mpp, notes }
}

/// Millimetres a pixel of each level.
fn spacings(xml: &str) -> Vec<f64> {
    let mut all: Vec<(usize, f64)> = Vec::new();
    // What one level is said to be lies between its mark and that of the next.
    for part in xml.split("ObjectType=\"PixelDataRepresentation\"").skip(1) {
        let named = |name: &str| {
            let own = elements(part, "Attribute").find(|a| attribute(a, "Name") == Some(name))?;
            let text = content(own).replace("&quot;", "\"");
            let first = text.split_whitespace().next()?.trim_matches('"').to_owned();
            Some(first)
        };
        let spacing = named("DICOM_PIXEL_SPACING").and_then(|v| v.parse().ok()).filter(|v: &f64| *v > 0.0);
        let level = named("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER").and_then(|v| v.parse().ok());
        if let Some(spacing) = spacing {
            all.push((level.unwrap_or(all.len()), spacing));
        }
    }
    all.sort_by_key(|(level, _)| *level);
    all.dedup_by_key(|(level, _)| *level);
    all.into_iter().map(|(_, spacing)| spacing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_levels_are_found_in_philips_descriptions() {
        let level = |n: usize, mm: &str| {
            format!(
                r#"<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING" PMSVR="IDoubleArray">&quot;{mm}&quot; &quot;{mm}&quot;</Attribute><Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER">{n}</Attribute></DataObject>"#
            )
        };
        let xml = format!("<DataObject>{}{}</DataObject>", level(1, "0.0005"), level(0, "0.00025"));
        assert_eq!(spacings(&xml), [0.000_25, 0.0005]);
        assert_eq!(spacings("<DataObject ObjectType=\"DPUfsImport\"/>"), [0.0; 0]);
    }
}
