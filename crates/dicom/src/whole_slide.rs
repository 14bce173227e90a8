//! Whole slides (VL Whole Slide Microscopy Image): a series whose instances are the levels of a pyramid, each an image of
//! tiles that are its frames.

use crate::Error;
use crate::codec;
use crate::place::{Opener, Place};
use crate::scan::Other;
use crate::series::named;
use crate::values::{int, int_or, items, text, texts, two};
use crate::walk::{Pixels, Walked, walk};
use crate::{header, objects};
use ampoule_imaging::slide::{Slide, TileColours, TilePacking, TiledImage};
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The elements that are read of every instance, sorted. Name and number of the patient are compared with the series'
/// description, as of volumes, and dropped.
const WANTED: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::IMAGE_TYPE,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::SERIES_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PROTOCOL_NAME,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::CONCATENATION_UID,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::TOTAL_PIXEL_MATRIX_COLUMNS,
    tags::TOTAL_PIXEL_MATRIX_ROWS,
    tags::NUMBER_OF_OPTICAL_PATHS,
    tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES,
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
];

/// A slide among files of DICOM.
#[derive(Debug)]
pub struct WholeSlide {
    /// Number and description of its series as a name for results.
    pub name: String,
    /// Where its levels lie, sorted.
    pub places: Vec<Place>,
}

/// What files hold where slides are looked for.
#[derive(Debug, Default)]
pub struct SlideScan {
    /// Slides, in the order of their names.
    pub slides: Vec<WholeSlide>,
    /// Objects that are no levels of a slide.
    pub others: Vec<Other>,
    /// Files that cannot be read.
    pub failed: Vec<(PathBuf, Error)>,
}

/// The slides that files hold, by their series. Reading each may take `most` bytes.
pub fn whole_slides(places: &[Place], most: u64) -> SlideScan {
    let mut opener = Opener::new(most);
    let mut out = SlideScan::default();
    let mut others: BTreeMap<String, Other> = BTreeMap::new();
    let mut found: BTreeMap<[String; 2], WholeSlide> = BTreeMap::new();
    for place in places {
        let kept = match examined(&mut opener, place, most) {
            Ok(Examined::Level { key, name }) => Ok((key, name)),
            Ok(Examined::Other(what)) => Err(what),
            Err(e) => {
                out.failed.push((place.shown(), e));
                continue;
            }
        };
        match kept {
            Ok((key, name)) => {
                let slide = found.entry(key).or_insert_with(|| WholeSlide { name, places: Vec::new() });
                slide.places.push(place.clone());
            }
            Err(what) => {
                let other = others.entry(what.clone());
                other.or_insert_with(|| Other { what, file: place.shown(), count: 0 }).count += 1;
            }
        }
    }
    out.others = others.into_values().collect();
    out.slides = found.into_values().collect();
    out.slides.iter_mut().for_each(|s| s.places.sort());
    out.slides.sort_by(|a, b| (&a.name, &a.places).cmp(&(&b.name, &b.places)));
    out
}

enum Examined {
    /// An instance that is a level of a slide: study and series, and a name.
    Level { key: [String; 2], name: String },
    /// What it is else, with its article.
    Other(String),
}

fn examined(opener: &mut Opener, place: &Place, most: u64) -> Result<Examined, Error> {
    let (o, Walked { pixels, .. }) = opened(opener, place, most)?;
    let class = text(&o, tags::SOP_CLASS_UID).unwrap_or_default();
    let kinds = texts(&o, tags::IMAGE_TYPE);
    if class != uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE {
        let samples = int(&o, tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let what = objects::other(&class, &kinds, samples, &pixels);
        return Ok(Examined::Other(what.unwrap_or_else(|| "a slice of a volume".into())));
    }
    // These can show a name.
    for (kind, what) in [
        ("LABEL", "the picture of a slide's label"),
        ("OVERVIEW", "a picture of the whole glass"),
        ("THUMBNAIL", "a small picture of a slide"),
    ] {
        if kinds.iter().any(|k| k == kind) {
            return Ok(Examined::Other(what.into()));
        }
    }
    let uid = |tag| text(&o, tag).unwrap_or_default();
    let series = match uid(tags::SERIES_INSTANCE_UID).as_str() {
        "" => place.shown().parent().map(|p| p.display().to_string()).unwrap_or_default(),
        uid => uid.to_owned(),
    };
    let name = named(int(&o, tags::SERIES_NUMBER), &header::description(&o));
    Ok(Examined::Level { key: [uid(tags::STUDY_INSTANCE_UID), series], name })
}

fn opened(opener: &mut Opener, place: &Place, most: u64) -> Result<(InMemDicomObject, Walked), Error> {
    let walked = walk(opener.open(place)?, WANTED, most)?;
    Ok((header::parse(&walked.header, &walked.syntax)?, walked))
}

/// Opens the slide whose levels lie at `places`. Decoded tiles up to `cache_bytes` are kept; reading a header may take
/// `most` bytes.
pub fn open_slide(places: &[Place], cache_bytes: usize, most: u64) -> Result<Slide, Error> {
    let mut opener = Opener::new(most);
    let mut levels: Vec<(TiledImage, Option<f64>)> = Vec::new();
    let mut notes = Vec::new();
    for place in places {
        let of = |e: Error| match e {
            Error::Damaged(why) => Error::Damaged(format!("{}: {why}", place.name())),
            Error::Unsupported(why) => Error::Unsupported(format!("{}: {why}", place.name())),
            e => e,
        };
        let level = level(&mut opener, place, most, &mut notes).map_err(of)?;
        if let Some((other, _)) = levels.iter().find(|(l, _)| l.size == level.0.size) {
            let [w, h] = other.size;
            return Err(Error::Unsupported(format!(
                "two of its images have {w}x{h} pixels (focal planes, channels, or one image in several files), and which is meant is not known"
            )));
        }
        levels.push(level);
    }
    levels.sort_by_key(|(l, _)| std::cmp::Reverse(l.size));
    let mpp = levels.first().and_then(|(_, mpp)| *mpp);
    let images = levels.into_iter().map(|(l, _)| l).collect();
    let mut slide = Slide::of_levels("DICOM", images, mpp, cache_bytes)?;
    notes.sort();
    notes.dedup();
    slide.notes.extend(notes);
    Ok(slide)
}

/// An instance as a level, and the microns a pixel.
fn level(
    opener: &mut Opener,
    place: &Place,
    most: u64,
    notes: &mut Vec<String>,
) -> Result<(TiledImage, Option<f64>), Error> {
    if place.entry.is_some() {
        return Err(Error::Unsupported("slides in ZIP files are not read; unpack them first".into()));
    }
    let (o, walked) = opened(opener, place, most)?;
    if !text(&o, tags::CONCATENATION_UID).unwrap_or_default().is_empty() {
        return Err(Error::Unsupported(
            "it is one of several parts of an image (concatenation), which is not read; join them first"
                .into(),
        ));
    }
    let size = |tag: Tag| -> Result<u64, Error> {
        let found = int_or(&o, tag, 0)?;
        u64::try_from(found)
            .ok()
            .filter(|n| (1..1 << 30).contains(n))
            .ok_or_else(|| Error::damaged(format!("{tag} is {found}")))
    };
    let matrix = [size(tags::TOTAL_PIXEL_MATRIX_COLUMNS)?, size(tags::TOTAL_PIXEL_MATRIX_ROWS)?];
    let tile = [size(tags::COLUMNS)?, size(tags::ROWS)?];
    let frames = size(tags::NUMBER_OF_FRAMES)?;
    let (packing, colours) = stored(&o, &walked.syntax)?;
    let samples = if colours == TileColours::Grey { 1 } else { 3 };
    let parts =
        parts(&walked.pixels, frames, tile[0].saturating_mul(tile[1]).saturating_mul(samples), packing)?;
    if !walked.content.is_file() {
        return Err(Error::Unsupported(
            "its data set is packed as a whole; convert it with `dcmconv +te IN OUT`".into(),
        ));
    }
    let grid = [0, 1].map(|i| matrix[i].div_ceil(tile[i]));
    let each = items(&o, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let placed = each.iter().any(|item| !items(item, tags::PLANE_POSITION_SLIDE_SEQUENCE).is_empty());
    let places = match placed {
        true => sparse(each, grid, tile, notes)?,
        false => full(&o, grid, frames, notes)?,
    };
    let (mut offsets, mut counts) = (Vec::new(), Vec::new());
    offsets.try_reserve_exact(places.len()).map_err(|_| Error::memory(8 * places.len() as u64, most))?;
    counts.try_reserve_exact(places.len()).map_err(|_| Error::memory(8 * places.len() as u64, most))?;
    for frame in places {
        let (at, count) = frame.and_then(|f| parts.get(f)).copied().unwrap_or((0, 0));
        offsets.push(at);
        counts.push(count);
    }
    let image =
        TiledImage { path: place.path.clone(), size: matrix, tile, offsets, counts, packing, colours };
    Ok((image, mpp(&o, each)))
}

/// How tiles are packed, and what their samples are.
fn stored(o: &InMemDicomObject, syntax: &str) -> Result<(TilePacking, TileColours), Error> {
    let packing = match syntax {
        uids::IMPLICIT_VR_LITTLE_ENDIAN | uids::EXPLICIT_VR_LITTLE_ENDIAN => TilePacking::Plain,
        uids::JPEG_BASELINE8_BIT => TilePacking::Jpeg,
        uids::JPEG2000 | uids::JPEG2000_LOSSLESS => TilePacking::Jpeg2000,
        _ => {
            codec::of(syntax)?;
            return Err(Error::Unsupported(format!(
                "tiles of slides in the transfer syntax {syntax} are not read; convert it with `gdcmconv --raw IN OUT`"
            )));
        }
    };
    let bits = [int_or(o, tags::BITS_ALLOCATED, 8)?, int_or(o, tags::BITS_STORED, 8)?];
    if bits != [8, 8] {
        return Err(Error::Unsupported(format!(
            "its pixels have {} bits a sample; export it with 8",
            bits[1]
        )));
    }
    let photometric = text(o, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    let colours = match photometric.as_str() {
        "RGB" => TileColours::Rgb,
        "MONOCHROME2" => TileColours::Grey,
        "YBR_FULL_422" | "YBR_FULL" if packing == TilePacking::Jpeg => TileColours::YCbCr,
        // The codestream undoes these itself.
        "YBR_ICT" | "YBR_RCT" if packing == TilePacking::Jpeg2000 => TileColours::Rgb,
        _ => {
            let shown: String = photometric.escape_default().take(32).collect();
            return Err(Error::Unsupported(format!("its pixels are `{shown}`; export it as RGB")));
        }
    };
    if packing == TilePacking::Plain
        && colours != TileColours::Grey
        && int_or(o, tags::PLANAR_CONFIGURATION, 0)? != 0
    {
        return Err(Error::Unsupported(
            "its colours are stored plane by plane; export it with interleaved colours".into(),
        ));
    }
    Ok((packing, colours))
}

/// First byte and bytes of each frame.
fn parts(pixels: &Pixels, frames: u64, bytes: u64, packing: TilePacking) -> Result<Vec<(u64, u64)>, Error> {
    match (pixels, packing) {
        (Pixels::Native { at, length }, TilePacking::Plain) => match frames.checked_mul(bytes) {
            Some(all) if all <= *length => Ok((0..frames).map(|i| (at + i * bytes, bytes)).collect()),
            Some(_) | None => Err(Error::damaged(format!(
                "{frames} tiles of {bytes} bytes are described, it has {length} bytes"
            ))),
        },
        (Pixels::Fragments(list), TilePacking::Jpeg | TilePacking::Jpeg2000) => {
            // The first is the table of offsets.
            let own = list.get(1..).unwrap_or_default();
            match own.len() as u64 {
                n if n == frames => Ok(own.to_vec()),
                n if n < frames => Err(Error::damaged(format!("{frames} tiles are described, it has {n}"))),
                _ => Err(Error::Unsupported("its tiles are cut into several parts each; convert it with `dcmcjpeg`, or export it anew".into())),
            }
        }
        (Pixels::None | Pixels::Float, _) => Err(Error::damaged("it has no pixels")),
        (Pixels::Native { .. }, _) | (Pixels::Fragments(_), _) => {
            Err(Error::damaged("its transfer syntax does not say how its pixels are packed"))
        }
    }
}

/// The frame of each tile of a grid where all follow one another (TILED_FULL).
fn full(
    o: &InMemDicomObject,
    grid: [u64; 2],
    frames: u64,
    notes: &mut Vec<String>,
) -> Result<Vec<Option<usize>>, Error> {
    if int_or(o, tags::NUMBER_OF_OPTICAL_PATHS, 1)? > 1 {
        return Err(Error::Unsupported(
            "it has several optical paths (fluorescence); export it as RGB".into(),
        ));
    }
    let planes = int_or(o, tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES, 1)?.max(1) as u64;
    let tiles = grid[0].saturating_mul(grid[1]);
    if tiles.checked_mul(planes) != Some(frames) {
        return Err(Error::damaged(format!(
            "{} by {} tiles are described, it has {frames}",
            grid[0], grid[1]
        )));
    }
    if planes > 1 {
        notes.push(format!("it has {planes} focal planes, of which the first is read"));
    }
    Ok((0..tiles as usize).map(Some).collect())
}

/// The frame of each tile of a grid where each frame says where it lies (TILED_SPARSE).
fn sparse(
    each: &[InMemDicomObject],
    grid: [u64; 2],
    tile: [u64; 2],
    notes: &mut Vec<String>,
) -> Result<Vec<Option<usize>>, Error> {
    let tiles = grid[0].saturating_mul(grid[1]);
    // Slides have far more than one tile in a thousand.
    if tiles > 1000 * each.len() as u64 + (1 << 20) {
        return Err(Error::damaged(format!("it has {} tiles for {} by {}", each.len(), grid[0], grid[1])));
    }
    let mut out = vec![None; tiles as usize];
    let mut twice = 0;
    for (i, item) in each.iter().enumerate() {
        let position = items(item, tags::PLANE_POSITION_SLIDE_SEQUENCE).first();
        let at = |tag| position.and_then(|p| int(p, tag)).and_then(|v| u64::try_from(v - 1).ok());
        let found = at(tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX)
            .zip(at(tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX));
        let (x, y) = found.ok_or_else(|| Error::damaged("one of its tiles does not say where it lies"))?;
        if !x.is_multiple_of(tile[0]) || !y.is_multiple_of(tile[1]) {
            return Err(Error::Unsupported(
                "its tiles overlap or do not lie side by side; export it anew (TILED_FULL)".into(),
            ));
        }
        let [column, row] = [x / tile[0], y / tile[1]];
        if column >= grid[0] || row >= grid[1] {
            return Err(Error::damaged("one of its tiles lies beyond the image"));
        }
        match &mut out[(row * grid[0] + column) as usize] {
            place @ None => *place = Some(i),
            Some(_) => twice += 1,
        }
    }
    if twice > 0 {
        notes
            .push(format!("{twice} tiles lie where others do (focal planes), and the first of each is read"));
    }
    Ok(out)
}

/// Microns a pixel.
fn mpp(o: &InMemDicomObject, each: &[InMemDicomObject]) -> Option<f64> {
    let shared = items(o, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
    let measures = |item: &InMemDicomObject| {
        items(item, tags::PIXEL_MEASURES_SEQUENCE).first().and_then(|m| two(m, tags::PIXEL_SPACING))
    };
    let [down, across] = shared.and_then(measures).or_else(|| each.first().and_then(measures))?;
    let mpp = 1000.0 * (down + across) / 2.0;
    (0.02..=50.0).contains(&mpp).then_some(mpp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_elements_are_sorted() {
        assert!(WANTED.is_sorted());
    }
}
