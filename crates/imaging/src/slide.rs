//! Whole slides: TIFF, BigTIFF, pyramids of them, OME-TIFF, and those of Aperio, Hamamatsu, Leica and Philips, read by region.
//!
//! Only the levels of the pyramid can be read. Thumbnails and the pictures of the label and of the whole
//! glass, which can name a patient, are recognised and never opened.

mod cache;
mod levels;
mod scanners;
mod thumbnail;
mod tiled;
mod white;

pub use crate::formats::tif::Error;
use crate::formats::tif::{self, Page, damaged};
use crate::formats::{Family, Format};
use crate::photo::Photo;
use ampoule_files::open_plain;
use cache::Cache;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex};
pub use tiled::{TileColours, TilePacking, TiledImage};

/// One resolution of a slide.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Pixels across.
    pub width: u64,
    /// Pixels down.
    pub height: u64,
    /// How many pixels of level 0 are one of this level's, along a side.
    pub downsample: f64,
}

impl Level {
    fn of(page: &Page, finest: &Page) -> Level {
        let (across, down) =
            (finest.width as f64 / page.width as f64, finest.height as f64 / page.height as f64);
        Level { width: page.width, height: page.height, downsample: (across + down) / 2.0 }
    }
}

/// An open slide. It may be read from many threads.
#[derive(Debug)]
pub struct Slide {
    /// Resolutions, the finest first.
    pub levels: Vec<Level>,
    /// Microns a pixel of level 0, where the file says so.
    pub mpp: Option<f64>,
    /// Things a user should know.
    pub notes: Vec<String>,
    /// How the file was understood: `Aperio`, `OME-TIFF` or `TIFF`.
    pub kind: &'static str,
    pages: Vec<Page>,
    /// The value of white in samples of 16 bits.
    white: u32,
    /// Files with their lengths, and which of them holds each level.
    files: Vec<(Mutex<File>, u64)>,
    file_of: Vec<usize>,
    cache: Mutex<Cache>,
}

/// Pixels of a chunk, three bytes each; `None` where the file holds none.
type Pixels = Option<Arc<Vec<u8>>>;

impl Slide {
    /// Opens a slide; decoded tiles up to `cache_bytes` are kept.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Slide, Error> {
        let mut file = open_plain(path)?;
        let length = file.metadata()?.len();
        let mut found = levels::choose(tif::pages(BufReader::new(file.try_clone()?))?)?;
        let white = white::of(&mut file, length, &mut found)?;
        let first = &found.pages[0];
        let levels = found.pages.iter().map(|p| Level::of(p, first)).collect();
        let files = (vec![(Mutex::new(file), length)], vec![0; found.pages.len()]);
        let levels::Levels { pages, mpp, notes, kind } = found;
        Ok(Slide::of(levels, mpp, notes, kind, pages, white, files, cache_bytes))
    }

    fn of(
        levels: Vec<Level>,
        mpp: Option<f64>,
        notes: Vec<String>,
        kind: &'static str,
        pages: Vec<Page>,
        white: u32,
        (files, file_of): (Vec<(Mutex<File>, u64)>, Vec<usize>),
        cache_bytes: usize,
    ) -> Slide {
        let cache = Mutex::new(Cache::new(cache_bytes));
        Slide { levels, mpp, notes, kind, pages, white, files, file_of, cache }
    }

    /// Keeps decoded tiles up to this many bytes.
    pub fn set_cache(&mut self, bytes: u64) {
        self.cache = Mutex::new(Cache::new(bytes as usize));
    }

    /// Whether a TIFF is read as a slide rather than as a photo, whatever its name: it is one of a scanner's, a
    /// tiled pyramid, or longer than `most` pixels along a side. A file with damaged directories is one
    /// too: it is refused as a slide, rather than read as far as a photo's decoder gets.
    pub fn is_one(path: &Path, most: u64) -> bool {
        let Ok(Some(format)) = Format::of(path) else { return false };
        if format != Format::Tiff {
            return format.family() == Family::Slide;
        }
        let Ok(file) = open_plain(path) else { return false };
        match tif::summaries(BufReader::new(file)) {
            Ok(pages) => pages.iter().any(|p| p.width.max(p.height) > most),
            Err(e) => !matches!(e, Error::Io(_)),
        }
    }

    /// The coarsest level whose pixels are no larger than `downsample` of level 0 (and one part in a
    /// hundred more, for sizes that were rounded).
    pub fn level_for(&self, downsample: f64) -> usize {
        let fits = |l: &Level| l.downsample <= downsample * 1.01;
        self.levels.iter().rposition(fits).unwrap_or(0)
    }

    /// Pixels across and down one chunk of a level.
    pub fn chunk_size(&self, level: usize) -> [u64; 2] {
        self.pages[level].chunk
    }

    /// Chunks across and down a level.
    pub fn chunks(&self, level: usize) -> [u64; 2] {
        self.pages[level].grid()
    }

    /// Position and size in pixels of chunk (`cx`, `cy`), cut at the border.
    fn bounds(&self, level: usize, [cx, cy]: [u64; 2]) -> ([u64; 2], [usize; 2]) {
        let p = &self.pages[level];
        let at = [cx * p.chunk[0], cy * p.chunk[1]];
        let size = [(p.width - at[0]).min(p.chunk[0]), (p.height - at[1]).min(p.chunk[1])];
        (at, size.map(|n| n as usize))
    }

    /// Whether the file holds data for a chunk.
    pub fn has(&self, level: usize, [cx, cy]: [u64; 2]) -> bool {
        tif::chunks::has(&self.pages[level], [cx, cy])
    }

    /// Pixels of a chunk as they are stored, without the cache.
    pub fn chunk(&self, level: usize, at: [u64; 2]) -> Result<Option<Photo>, Error> {
        let (_, [w, h]) = self.bounds(level, at);
        Ok(self.load(level, at)?.map(|rgb| Photo::new(w, h, rgb)))
    }

    fn load(&self, level: usize, [cx, cy]: [u64; 2]) -> Result<Option<Vec<u8>>, Error> {
        if !self.has(level, [cx, cy]) {
            return Ok(None);
        }
        let p = &self.pages[level];
        let place = |e: Error| match e {
            Error::Format { reason } => {
                damaged(format!("{reason}, at column {cx}, row {cy} of level {level}"))
            }
            e => e,
        };
        let data = {
            let (file, length) = &self.files[self.file_of[level]];
            let mut file = file.lock().unwrap_or_else(|e| e.into_inner());
            tif::chunks::load(&mut *file, *length, p, [cx, cy]).map_err(place)?
        };
        let size = self.bounds(level, [cx, cy]).1;
        tif::to_rgb8(p, &data, size, self.white).map(Some).map_err(place)
    }

    fn cached(&self, level: usize, at: [u64; 2]) -> Result<Pixels, Error> {
        let key = (level, at);
        if let Some(found) = self.cache.lock().unwrap_or_else(|e| e.into_inner()).get(&key) {
            return Ok(Some(found));
        }
        // Decoding is not done under the lock; two threads may decode the same tile at worst.
        let Some(pixels) = self.load(level, at)?.map(Arc::new) else { return Ok(None) };
        self.cache.lock().unwrap_or_else(|e| e.into_inner()).put(key, pixels.clone());
        Ok(Some(pixels))
    }

    /// `width` by `height` pixels of a level from (`x`, `y`) in its own pixels on. What lies outside, and
    /// what the file holds no data for, is white.
    pub fn region(&self, level: usize, x: i64, y: i64, width: usize, height: usize) -> Result<Photo, Error> {
        let mut out = vec![255u8; 3 * width * height];
        let l = &self.levels[level];
        let [cw, ch] = self.pages[level].chunk.map(|n| n as i64);
        let to = [(x + width as i64).min(l.width as i64), (y + height as i64).min(l.height as i64)];
        let from = [x.max(0), y.max(0)];
        if from[0] >= to[0] || from[1] >= to[1] {
            return Ok(Photo::new(width, height, out));
        }
        for cy in from[1] / ch..=(to[1] - 1) / ch {
            for cx in from[0] / cw..=(to[0] - 1) / cw {
                let Some(pixels) = self.cached(level, [cx as u64, cy as u64])? else { continue };
                let (at, [w, h]) = self.bounds(level, [cx as u64, cy as u64]);
                let at = at.map(|v| v as i64);
                let a = [from[0].max(at[0]), from[1].max(at[1])];
                let b = [to[0].min(at[0] + w as i64), to[1].min(at[1] + h as i64)];
                let n = 3 * (b[0] - a[0]) as usize;
                for row in a[1]..b[1] {
                    let source = 3 * ((row - at[1]) as usize * w + (a[0] - at[0]) as usize);
                    let target = 3 * ((row - y) as usize * width + (a[0] - x) as usize);
                    out[target..target + n].copy_from_slice(&pixels[source..source + n]);
                }
            }
        }
        Ok(Photo::new(width, height, out))
    }
}
