//! What each image of a TIFF file is, and where its chunks lie.

use super::directory::{Directory, HAMAMATSU, Tiff};
use super::restarts;
use super::{Error, damaged, unsupported};
use std::collections::HashSet;
use std::io::{Read, Seek};

/// More images than any slide has.
const PAGES: usize = 1000;
/// More places and sizes of chunks than one image of any slide has.
const CHUNKS: u64 = 1 << 25;
/// Values of a tag that has one for each sample of a pixel.
const FEW: u64 = 64;
/// Longest description.
const TEXT: u64 = 64 << 20;
/// Longest tables of JPEG.
const TABLES: u64 = 1 << 16;

/// Tags, by the names of the standard.
mod tag {
    pub const SUBFILE: u16 = 254;
    pub const WIDTH: u16 = 256;
    pub const LENGTH: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const DESCRIPTION: u16 = 270;
    pub const MAKE: u16 = 271;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_COUNTS: u16 = 279;
    pub const X_RESOLUTION: u16 = 282;
    pub const Y_RESOLUTION: u16 = 283;
    pub const PLANAR: u16 = 284;
    pub const RESOLUTION_UNIT: u16 = 296;
    pub const SOFTWARE: u16 = 305;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_COUNTS: u16 = 325;
    pub const SUB_IFDS: u16 = 330;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const XMP: u16 = 700;
    pub const DNG_VERSION: u16 = 50706;
    pub const MAGNIFICATION: u16 = 65421;
    pub const FOCUS: u16 = 65424;
    pub const RUNS: u16 = 65426;
    pub const RUNS_HIGH: u16 = 65432;
}

/// How the bytes of a chunk are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
    /// JPEG 2000; whether the samples are luma and chroma that the codestream does not say so of.
    Jpeg2000 {
        chroma: bool,
    },
    /// Anything else, by its number.
    Other(u64),
}

/// What samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    WhiteIsZero,
    Grey,
    Rgb,
    Palette,
    YCbCr,
    Other(u64),
}

/// How a sample's bits are a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    Unsigned,
    Signed,
    Float,
    /// Complex numbers, or samples of different types.
    Other,
}

/// What samples are stored as differences of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Predictor {
    None,
    /// Of whole samples along a row.
    Horizontal,
    /// Of the bytes of floating-point samples, sorted by significance.
    Float,
    Other(u64),
}

/// One image of the file.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub width: u64,
    pub height: u64,
    /// Pixels across and down one chunk.
    pub chunk: [u64; 2],
    pub tiled: bool,
    pub offsets: Vec<u64>,
    pub counts: Vec<u64>,
    pub packing: Packing,
    pub colour: Colour,
    pub samples: usize,
    /// Samples beyond the colour; `true` where they are transparency.
    pub alpha: bool,
    pub bits: usize,
    pub numbers: Numbers,
    /// Whether each sample has chunks of its own.
    pub planar: bool,
    pub predictor: Predictor,
    pub big_endian: bool,
    pub jpeg_tables: Vec<u8>,
    /// What stands before a chunk where chunks are parts of one JPEG; else empty.
    pub jpeg_header: Vec<u8>,
    /// Red, green and blue of every index, eight bits each.
    pub palette: Vec<[u8; 3]>,
    pub description: String,
    pub software: String,
    pub make: String,
    /// Whether the tags of a scanner or camera that writes its own kind are there.
    pub ndpi: bool,
    /// By Hamamatsu's tags: the objective's power (below 0: a picture of the glass), and nanometres out of focus.
    pub hamamatsu: Option<(f64, f64)>,
    pub camera_raw: bool,
    pub ventana: bool,
    /// EXIF orientation, 1 where the file does not say.
    pub orientation: u8,
    /// Whether the tag NewSubfileType calls it a smaller copy of another image.
    pub reduced: bool,
    /// Whether the tag NewSubfileType calls it a mask of another image.
    pub mask: bool,
    /// Microns a pixel across and down by the resolution tags.
    pub mpp: Option<[f64; 2]>,
    /// Images that this one refers to as its own smaller copies.
    pub children: Vec<Page>,
}

impl Page {
    /// Samples that are colour.
    pub fn colours(&self) -> usize {
        if matches!(self.colour, Colour::Rgb | Colour::YCbCr) { 3 } else { 1 }
    }

    /// Chunks across and down.
    pub fn grid(&self) -> [u64; 2] {
        [self.width.div_ceil(self.chunk[0].max(1)), self.height.div_ceil(self.chunk[1].max(1))]
    }
}

/// All images of a file in order.
pub(crate) fn pages<R: Read + Seek>(input: R) -> Result<Vec<Page>, Error> {
    walk(input, true)
}

/// All images of a file in order without the places of their chunks and their tables.
pub(crate) fn summaries<R: Read + Seek>(input: R) -> Result<Vec<Page>, Error> {
    walk(input, false)
}

fn walk<R: Read + Seek>(input: R, lists: bool) -> Result<Vec<Page>, Error> {
    let mut tiff = Tiff::open(input)?;
    let mut next = tiff.first;
    let (mut seen, mut pages) = (HashSet::new(), Vec::new());
    while next != 0 {
        if !seen.insert(next) {
            return Err(damaged("its directories form a loop"));
        }
        if seen.len() > PAGES {
            return Err(damaged(format!("it has more than {PAGES} images")));
        }
        let directory = tiff.directory(next)?;
        let mut page = page(&mut tiff, &directory, lists)?;
        for child in children(&mut tiff, &directory)? {
            if seen.len() <= PAGES && seen.insert(child) {
                let directory = tiff.directory(child)?;
                page.children.push(self::page(&mut tiff, &directory, lists)?);
            }
        }
        pages.push(page);
        next = directory.next;
    }
    if pages.is_empty() {
        return Err(damaged("it holds no image"));
    }
    Ok(pages)
}

fn children<R: Read + Seek>(tiff: &mut Tiff<R>, d: &Directory) -> Result<Vec<u64>, Error> {
    match d.get(tag::SUB_IFDS) {
        Some(e) => tiff.numbers(e, PAGES as u64),
        None => Ok(Vec::new()),
    }
}

fn page<R: Read + Seek>(tiff: &mut Tiff<R>, d: &Directory, lists: bool) -> Result<Page, Error> {
    let big_endian = tiff.big_endian;
    let mut tags = Tags { tiff, directory: d };
    let width = tags.number(tag::WIDTH)?.unwrap_or(0);
    let height = tags.number(tag::LENGTH)?.unwrap_or(0);
    let tiled = d.get(tag::TILE_WIDTH).is_some() || d.get(tag::TILE_OFFSETS).is_some();
    let (chunk, places) = if tiled {
        let size = [tags.number(tag::TILE_WIDTH)?.unwrap_or(0), tags.number(tag::TILE_LENGTH)?.unwrap_or(0)];
        (size, [tag::TILE_OFFSETS, tag::TILE_COUNTS])
    } else {
        let rows = tags.number(tag::ROWS_PER_STRIP)?.unwrap_or(height).min(height);
        ([width, rows], [tag::STRIP_OFFSETS, tag::STRIP_COUNTS])
    };
    let [offsets, counts] = match lists {
        true => [tags.list(places[0], CHUNKS)?, tags.list(places[1], CHUNKS)?],
        false => [Vec::new(), Vec::new()],
    };
    let samples = tags.number(tag::SAMPLES)?.unwrap_or(1).min(1 << 16) as usize;
    let bits = tags.list(tag::BITS, FEW)?;
    let same = bits.windows(2).all(|b| b[0] == b[1]);
    let subfile = tags.number(tag::SUBFILE)?.unwrap_or(0);
    let colour = colour(tags.number(tag::PHOTOMETRIC)?);
    let palette = match colour {
        Colour::Palette if lists => palette(&tags.list(tag::COLOR_MAP, 3 << 16)?),
        Colour::Palette | Colour::WhiteIsZero | Colour::Grey | Colour::Rgb => Vec::new(),
        Colour::YCbCr | Colour::Other(_) => Vec::new(),
    };
    let extra = tags.list(tag::EXTRA_SAMPLES, FEW)?;
    let mut page = Page {
        width,
        height,
        chunk,
        tiled,
        offsets,
        counts,
        packing: packing(tags.number(tag::COMPRESSION)?.unwrap_or(1)),
        colour,
        samples,
        alpha: extra.first().is_none_or(|&kind| kind != 0),
        bits: if same { bits.first().copied().unwrap_or(1).min(1 << 16) as usize } else { 0 },
        numbers: numbers(&tags.list(tag::SAMPLE_FORMAT, FEW)?),
        planar: tags.number(tag::PLANAR)? == Some(2) && samples > 1,
        predictor: match tags.number(tag::PREDICTOR)?.unwrap_or(1) {
            1 => Predictor::None,
            2 => Predictor::Horizontal,
            3 => Predictor::Float,
            n => Predictor::Other(n),
        },
        big_endian,
        jpeg_tables: if lists { tags.bytes(tag::JPEG_TABLES, TABLES)? } else { Vec::new() },
        palette,
        description: tags.text(tag::DESCRIPTION)?,
        software: tags.text(tag::SOFTWARE)?,
        make: tags.text(tag::MAKE)?,
        jpeg_header: Vec::new(),
        hamamatsu: tags.hamamatsu()?,
        ndpi: d.get(HAMAMATSU).is_some(),
        camera_raw: d.get(tag::DNG_VERSION).is_some() || matches!(colour, Colour::Other(32803 | 34892)),
        ventana: tags.text(tag::XMP)?.contains("<iScan"),
        orientation: tags.number(tag::ORIENTATION)?.filter(|o| (1..=8).contains(o)).unwrap_or(1) as u8,
        reduced: subfile & 1 != 0,
        mask: subfile & 4 != 0,
        mpp: tags.microns()?,
        children: Vec::new(),
    };
    if lists && page.ndpi && page.packing == Packing::Jpeg && !page.tiled {
        let starts = tags.runs()?;
        let (&[strip], &[count]) = (&page.offsets[..], &page.counts[..]) else {
            return Err(unsupported("several strips where Hamamatsu's scanners write one"));
        };
        if let Some(runs) = restarts::runs(tiff, [width, height], (strip, count), &starts)? {
            (page.chunk, page.offsets, page.counts) = (runs.chunk, runs.offsets, runs.counts);
            (page.jpeg_header, page.tiled) = (runs.header, true);
        }
    }
    Ok(page)
}

fn colour(photometric: Option<u64>) -> Colour {
    match photometric {
        Some(0) => Colour::WhiteIsZero,
        Some(1) | None => Colour::Grey,
        Some(2) => Colour::Rgb,
        Some(3) => Colour::Palette,
        Some(6) => Colour::YCbCr,
        Some(n) => Colour::Other(n),
    }
}

fn packing(compression: u64) -> Packing {
    match compression {
        1 => Packing::Plain,
        5 => Packing::Lzw,
        7 => Packing::Jpeg,
        8 | 32946 => Packing::Deflate,
        32773 => Packing::PackBits,
        33003 => Packing::Jpeg2000 { chroma: true },
        33005 | 34712 => Packing::Jpeg2000 { chroma: false },
        n => Packing::Other(n),
    }
}

fn numbers(formats: &[u64]) -> Numbers {
    let first = formats.first().copied().unwrap_or(1);
    if formats.iter().any(|&f| f != first) {
        return Numbers::Other;
    }
    match first {
        // 4 is "not known"; everyone takes such samples as unsigned.
        1 | 4 => Numbers::Unsigned,
        2 => Numbers::Signed,
        3 => Numbers::Float,
        _ => Numbers::Other,
    }
}

fn palette(map: &[u64]) -> Vec<[u8; 3]> {
    let n = map.len() / 3;
    // Some writers store levels of eight bits where the standard asks for sixteen.
    let shift = if map.iter().any(|&v| v > 255) { 8 } else { 0 };
    (0..n).map(|i| [0, 1, 2].map(|c| (map[c * n + i] >> shift) as u8)).collect()
}

struct Tags<'a, R> {
    tiff: &'a mut Tiff<R>,
    directory: &'a Directory,
}

impl<R: Read + Seek> Tags<'_, R> {
    fn list(&mut self, tag: u16, most: u64) -> Result<Vec<u64>, Error> {
        match self.directory.get(tag) {
            Some(e) => self.tiff.numbers(e, most),
            None => Ok(Vec::new()),
        }
    }

    fn number(&mut self, tag: u16) -> Result<Option<u64>, Error> {
        Ok(self.list(tag, FEW)?.first().copied())
    }

    fn bytes(&mut self, tag: u16, most: u64) -> Result<Vec<u8>, Error> {
        match self.directory.get(tag) {
            Some(e) => self.tiff.bytes(e, most),
            None => Ok(Vec::new()),
        }
    }

    /// Descriptions are written in many encodings; what is not UTF-8 is replaced.
    fn text(&mut self, tag: u16) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.bytes(tag, TEXT)?).trim_end_matches('\0').to_owned())
    }

    fn real(&mut self, tag: u16) -> Result<Option<f64>, Error> {
        match self.directory.get(tag) {
            Some(e) => self.tiff.real(e),
            None => Ok(None),
        }
    }

    fn hamamatsu(&mut self) -> Result<Option<(f64, f64)>, Error> {
        let power = self.real(tag::MAGNIFICATION)?;
        let focus = self.list(tag::FOCUS, FEW)?.first().map_or(0, |v| *v as u32 as i32);
        Ok(power.map(|power| (power, f64::from(focus))))
    }

    /// Where the runs of a strip's JPEG begin, within the strip.
    fn runs(&mut self) -> Result<Vec<u64>, Error> {
        let (mut low, high) = (self.list(tag::RUNS, CHUNKS)?, self.list(tag::RUNS_HIGH, CHUNKS)?);
        low.iter_mut().zip(&high).for_each(|(low, high)| *low |= high << 32);
        Ok(low)
    }

    /// Microns a pixel; `None` where the tags are missing, without unit, zero or not numbers.
    fn microns(&mut self) -> Result<Option<[f64; 2]>, Error> {
        let unit = match self.number(tag::RESOLUTION_UNIT)?.unwrap_or(2) {
            2 => 25_400.0,
            3 => 10_000.0,
            _ => return Ok(None),
        };
        let mut sizes = [0.0; 2];
        for (size, tag) in sizes.iter_mut().zip([tag::X_RESOLUTION, tag::Y_RESOLUTION]) {
            let Some(entry) = self.directory.get(tag) else { return Ok(None) };
            match self.tiff.real(entry)? {
                Some(v) if v > 0.0 => *size = unit / v,
                _ => return Ok(None),
            }
        }
        Ok(Some(sizes))
    }
}
