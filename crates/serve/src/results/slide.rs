//! Slides and maps of scores over them, as tiles.

use super::picture::QUALITY;
use crate::refusal::Refusal;
use ampoule_imaging::photo::{Photo, area, write_jpeg, write_rgba};
use ampoule_imaging::picture::heat_colour;
use ampoule_imaging::slide::{Error, Slide};
use ampoule_pipeline::{Case, Made, open_slide};
use axum::http::StatusCode;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;

/// Pixels along a tile's side.
pub(crate) const TILE: u64 = 512;
/// Bytes of decoded tiles that are kept.
const CACHE: usize = 64 << 20;
/// Longest side of the overview that coarse tiles are cut from.
const OVERVIEW: u64 = 4096;
/// Rows of a tile that are read at a time.
const ROWS: usize = 32;
/// Most bytes of outlines that are sent.
const OUTLINES: u64 = 64 << 20;

/// A slide, or a map over one, that tiles are asked of.
pub(crate) struct Opened {
    slide: Slide,
    /// The whole of it, where it has no level that is coarse enough; and pixels of level 0 in one of its own.
    overview: Option<(Photo, f64)>,
    /// Whether it is a map of scores.
    heat: bool,
}

fn bad(e: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the slide cannot be shown: {e}"))
}

impl Opened {
    /// A slide.
    pub fn slide(case: &Case) -> Result<Opened, Refusal> {
        Opened::new(open_slide(case, CACHE).map_err(|e| bad(&e))?, false)
    }

    /// A map of scores that a run wrote.
    pub fn map(path: &Path) -> Result<Opened, Refusal> {
        Opened::new(Slide::open(path, CACHE).map_err(|e| bad(&e))?, true)
    }

    fn new(slide: Slide, heat: bool) -> Result<Opened, Refusal> {
        let coarse = |l: &ampoule_imaging::slide::Level| l.width.max(l.height) <= OVERVIEW;
        let overview = match slide.levels.iter().any(coarse) {
            true => None,
            false => Some(slide.thumbnail(OVERVIEW).map_err(|e| bad(&e))?),
        };
        Ok(Opened { slide, overview, heat })
    }

    /// Size, and number of the finest level of tiles: each level is twice as fine as the one before, the first is one
    /// pixel.
    pub fn size(&self) -> (u64, u64, u32) {
        let (width, height) = (self.slide.levels[0].width, self.slide.levels[0].height);
        let longest = width.max(height).max(1);
        (width, height, u64::BITS - (longest - 1).leading_zeros())
    }

    /// What a viewer needs to ask for tiles.
    pub fn told(&self) -> Value {
        let (width, height, finest) = self.size();
        json!({ "width": width, "height": height, "tile": TILE, "finest": finest, "mpp": self.slide.mpp })
    }

    /// The tile in column `x` and row `y` of a level, as JPEG, or as PNG for a map.
    pub fn tile(&self, level: u32, x: u64, y: u64) -> Result<Vec<u8>, Refusal> {
        let none = || Refusal::unknown("there is no such tile");
        let (width, height, finest) = self.size();
        if level > finest {
            return Err(none());
        }
        let scale = 1u64 << (finest - level);
        let [across, down] = [width.div_ceil(scale), height.div_ceil(scale)];
        let from = [x.checked_mul(TILE).ok_or_else(none)?, y.checked_mul(TILE).ok_or_else(none)?];
        if from[0] >= across || from[1] >= down {
            return Err(none());
        }
        let size = [(across - from[0]).min(TILE) as usize, (down - from[1]).min(TILE) as usize];
        let photo = self.pixels(from, size, scale).map_err(|e| bad(&e))?;
        let mut out = Vec::new();
        let made = match self.heat {
            false => write_jpeg(&mut out, &photo, QUALITY),
            true => {
                let rgba: Vec<u8> = photo.rgb.chunks_exact(3).flat_map(|p| coloured(p[0])).collect();
                write_rgba(&mut out, photo.width, photo.height, &rgba)
            }
        };
        made.map_err(|e| Refusal::fault(e.to_string()))?;
        Ok(out)
    }

    /// `size` pixels from `from` on, where each is `scale` pixels of level 0 along a side.
    fn pixels(&self, from: [u64; 2], size: [usize; 2], scale: u64) -> Result<Photo, Error> {
        let level = self.slide.level_for(scale as f64);
        if let Some((all, downsample)) = &self.overview
            && *downsample <= scale as f64 * 1.01
        {
            let f = scale as f64 / downsample;
            let at = from.map(|n| n as f64 * f);
            return Ok(reduced(all, at, f, size));
        }
        let f = scale as f64 / self.slide.levels[level].downsample;
        let mut rgb = Vec::with_capacity(3 * size[0] * size[1]);
        // By bands: a slide without coarse levels is read finely.
        for first in (0..size[1]).step_by(ROWS) {
            let rows = ROWS.min(size[1] - first);
            let at = [from[0] as f64 * f, (from[1] + first as u64) as f64 * f];
            let start = at.map(|v| v.floor() as i64);
            let end = [at[0] + size[0] as f64 * f, at[1] + rows as f64 * f].map(|v| v.ceil() as i64 + 1);
            let [w, h] = [(end[0] - start[0]) as usize, (end[1] - start[1]) as usize];
            let mut part = self.slide.region(level, start[0], start[1], w, h)?;
            if self.heat {
                self.blank(level, start, &mut part);
            }
            let band = reduced(&part, [at[0] - start[0] as f64, at[1] - start[1] as f64], f, [size[0], rows]);
            rgb.extend(band.rgb);
        }
        Ok(Photo::new(size[0], size[1], rgb))
    }

    /// What a map holds no values of is 0, not white.
    fn blank(&self, level: usize, start: [i64; 2], part: &mut Photo) {
        let [cw, ch] = self.slide.chunk_size(level);
        let l = &self.slide.levels[level];
        for y in 0..part.height {
            for x in 0..part.width {
                let at = [start[0] + x as i64, start[1] + y as i64];
                let inside =
                    at[0] >= 0 && at[1] >= 0 && (at[0] as u64) < l.width && (at[1] as u64) < l.height;
                if !(inside && self.slide.has(level, [at[0] as u64 / cw, at[1] as u64 / ch])) {
                    let i = 3 * (y * part.width + x);
                    part.rgb[i..i + 3].fill(0);
                }
            }
        }
    }
}

/// Means of blocks of `f` by `f` pixels, or the nearest ones where `f` is below 1.
fn reduced(photo: &Photo, at: [f64; 2], f: f64, size: [usize; 2]) -> Photo {
    let levels = area(photo, at, f, size);
    Photo::new(size[0], size[1], levels.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect())
}

/// The colour of a score, clearer the lower it is.
fn coloured(value: u8) -> [u8; 4] {
    let [r, g, b] = heat_colour(f32::from(value) / 255.0);
    [r, g, b, if value < 8 { 0 } else { 96 + (u16::from(value) * 5 / 8) as u8 }]
}

/// The outlines of a slide, unpacked.
pub(super) fn outlines(made: &Made) -> Result<Vec<u8>, Refusal> {
    let none = || Refusal::unknown("the case has no outlines");
    let path = made.output("outlines").ok_or_else(none)?;
    if !path.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return Err(none());
    }
    let file = ampoule_files::open_plain(&path).map_err(|_| none())?;
    let packed = path.extension().is_some_and(|e| e == "gz");
    let mut reader: Box<dyn Read> = if packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = Vec::new();
    reader.by_ref().take(OUTLINES + 1).read_to_end(&mut bytes).map_err(|e| Refusal::fault(e.to_string()))?;
    match bytes.len() as u64 > OUTLINES {
        true => Err(Refusal::large(OUTLINES)),
        false => Ok(bytes),
    }
}
