//! TIFF as a photo: the first whole image of the file, its samples read by what they mean.

use super::budget::Budget;
use super::error::Error;
use super::levels::{Range, Stored, scale};
use super::upright::{ALPHA, upright};
use super::{Photo, jpeg, plausible};
use crate::formats::tif::{self, Colour, Numbers, Packing, Page};
use image::DynamicImage;
use image::metadata::Orientation;
use std::fs::File;
use std::io::BufReader;

/// No packing stands for more than this many bytes a byte: LZW has codes of twelve bits for up to 4096.
const RATIO: u64 = 4096;

pub(super) fn read(mut file: File, budget: &Budget) -> Result<Photo, Error> {
    let pages = tif::pages(BufReader::new(file.try_clone()?)).map_err(|e| as_photo_error(e, budget))?;
    let mut notes = Vec::new();
    let page = choose(&pages, &mut notes);
    if page.colour == Colour::Other(5) {
        return Err(Error::Kind("a CMYK image; convert it to RGB first"));
    }
    tif::usable(page).map_err(|e| as_photo_error(e, budget))?;
    let turn = Orientation::from_exif(page.orientation).unwrap_or(Orientation::NoTransforms);
    allow(page, turn, budget)?;
    holds(page, budget)?;
    let mut canvas = Canvas::new(page);
    let [across, down] = page.grid();
    for at in (0..down).flat_map(|y| (0..across).map(move |x| [x, y])) {
        canvas.add(&mut file, at, budget).map_err(|e| as_photo_error(e, budget))?;
    }
    let rgb = canvas.finish(&mut notes)?;
    if page.samples > page.colours() && page.alpha {
        notes.push(ALPHA.into());
    }
    let image = image::RgbImage::from_raw(page.width as u32, page.height as u32, rgb)
        .ok_or_else(|| budget.damaged("its pixels are fewer than its size"))?;
    let mut photo = upright(DynamicImage::ImageRgb8(image), turn);
    photo.notes = notes;
    photo.mpp = tif::ome_size(&page.description).filter(|v| plausible([*v; 2]).is_some());
    photo.mpp = photo.mpp.or_else(|| page.mpp.and_then(plausible));
    Ok(photo)
}

/// The error of a TIFF file as one of a photo.
fn as_photo_error(e: tif::Error, budget: &Budget) -> Error {
    match e {
        tif::Error::Io(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::Io(e),
        tif::Error::Io(_) => budget.damaged("it ends early"),
        tif::Error::Format { reason } => budget.damaged(reason),
        tif::Error::Unsupported { what } => Error::Unsupported { what },
        tif::Error::Unreadable { format, .. } => Error::Unreadable { format },
    }
}

/// The first image that is no smaller copy, mask, label or picture of the whole glass.
fn choose<'a>(pages: &'a [Page], notes: &mut Vec<String>) -> &'a Page {
    let aside = |p: &Page| {
        let text = p.description.to_ascii_lowercase();
        p.reduced || p.mask || ["label", "macro", "thumbnail"].iter().any(|name| text.starts_with(name))
    };
    let chosen = pages.iter().position(|p| !aside(p)).unwrap_or(0);
    let p = &pages[chosen];
    if pages.len() > 1 {
        let before =
            if chosen > 0 { "; those before it are small copies, masks, labels or overviews" } else { "" };
        notes.push(format!(
            "the file holds {} images; image {} of {}x{} pixels was read{before}",
            pages.len(),
            chosen + 1,
            p.width,
            p.height
        ));
    }
    p
}

/// Memory: RGB, a turned copy, values where levels depend on all of them, and one chunk packed, unpacked and
/// decoded.
fn allow(p: &Page, turn: Orientation, budget: &Budget) -> Result<(), Error> {
    let pixels = p.width.saturating_mul(p.height);
    let turned = if turn.to_exif() > 4 { 3 } else { 0 };
    let values = if tif::wide(p) { 4 * p.colours() as u64 } else { 0 };
    let sample = p.bits.div_ceil(8) as u64 * p.samples as u64;
    // JPEG 2000 is computed in floating point.
    let float = if matches!(p.packing, Packing::Jpeg2000 { .. }) { 12 * p.samples as u64 } else { 0 };
    let chunk = (p.chunk[0] * p.chunk[1]).saturating_mul(2 * sample + 3 + values + float);
    // The file is not read whole.
    let needed = pixels.saturating_mul(3 + turned + values).saturating_add(chunk).saturating_sub(budget.file);
    budget.allow(p.width, p.height, needed)
}

/// Whether the listed bytes can hold the image.
fn holds(p: &Page, budget: &Budget) -> Result<(), Error> {
    let listed: u64 = p.counts.iter().fold(0u64, |n, &c| n.saturating_add(c)).min(budget.file);
    let needed = p.width.saturating_mul(p.height).saturating_mul((p.samples * p.bits) as u64) / 8;
    if needed / RATIO > listed {
        let reason = format!("{}x{} pixels cannot come out of {listed} bytes", p.width, p.height);
        return Err(budget.damaged(reason));
    }
    Ok(())
}

/// The image as far as its chunks are decoded: levels, or values where levels depend on all of them.
struct Canvas<'a> {
    page: &'a Page,
    rgb: Vec<u8>,
    values: Vec<f32>,
    range: Range,
}

impl<'a> Canvas<'a> {
    fn new(page: &'a Page) -> Self {
        let pixels = (page.width * page.height) as usize;
        let (rgb, values) = match tif::wide(page) {
            true => (Vec::new(), vec![0.0; pixels * page.colours()]),
            false => (vec![0; 3 * pixels], Vec::new()),
        };
        Canvas { page, rgb, values, range: Range::new() }
    }

    /// Decodes a chunk to its place.
    fn add(&mut self, file: &mut File, at: [u64; 2], budget: &Budget) -> Result<(), tif::Error> {
        let p = self.page;
        if !tif::chunks::has(p, at) {
            return Err(tif::damaged("a part of its pixels is missing"));
        }
        let data = tif::chunks::load(file, budget.file, p, at)?;
        let (x, y) = (at[0] * p.chunk[0], at[1] * p.chunk[1]);
        let [w, h] = [(p.width - x).min(p.chunk[0]), (p.height - y).min(p.chunk[1])].map(|n| n as usize);
        let (x, y, width) = (x as usize, y as usize, p.width as usize);
        if p.packing == Packing::Jpeg {
            let stream = tif::jpeg_stream(p, data.first().map_or(&[][..], |d| d));
            jpeg::whole(&stream).map_err(tif::damaged)?;
        }
        if tif::wide(p) {
            let part = tif::to_values(p, &data, [w, h])?;
            self.range.add(&part);
            paste(&mut self.values, &part, p.colours(), width, [x, y], w);
        } else {
            let part = tif::to_rgb8(p, &data, [w, h], 65_535)?;
            paste(&mut self.rgb, &part, 3, width, [x, y], w);
        }
        Ok(())
    }

    /// Red, green and blue of all pixels.
    fn finish(self, notes: &mut Vec<String>) -> Result<Vec<u8>, Error> {
        let p = self.page;
        if !tif::wide(p) {
            return Ok(self.rgb);
        }
        let stored = match (p.numbers, p.bits) {
            (Numbers::Float, _) => Stored::Float,
            (Numbers::Unsigned, 16) => Stored::Sixteen,
            (Numbers::Unsigned | Numbers::Signed | Numbers::Other, _) => Stored::Whole,
        };
        let scale = scale(stored, self.range, notes)?;
        let inverted = if p.colour == Colour::WhiteIsZero { 255 } else { 0 };
        let level = |&v: &f32| scale.level(v) ^ inverted;
        Ok(match p.colours() {
            3 => self.values.iter().map(level).collect(),
            _ => self.values.iter().flat_map(|v| [level(v); 3]).collect(),
        })
    }
}

/// Copies rows of `w` pixels of `n` samples to a place in an image `width` pixels across.
fn paste<T: Copy>(to: &mut [T], part: &[T], n: usize, width: usize, [x, y]: [usize; 2], w: usize) {
    for (i, row) in part.chunks_exact(n * w).enumerate() {
        let at = n * ((y + i) * width + x);
        to[at..at + n * w].copy_from_slice(row);
    }
}
