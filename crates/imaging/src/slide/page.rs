//! The directories of a TIFF file: what each image in it is, and where its chunks lie.

use super::Error;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use tiff::decoder::Decoder;
use tiff::decoder::ifd::Value;
use tiff::tags::{IfdPointer, Tag, Type};

/// More images than any slide has.
const PAGES: usize = 1000;
/// More places and sizes of chunks than all images of any slide have.
const CHUNKS: u64 = 1 << 25;
/// Values of a tag that has one for each sample of a pixel.
const FEW: u64 = 64;
/// Longest text and largest tables that are read.
const TEXT: u64 = 1 << 20;

/// How the bytes of a chunk are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
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
pub(super) enum Colour {
    WhiteIsZero,
    Grey,
    Rgb,
    Palette,
    YCbCr,
    Other(u64),
}

/// One image of the file.
#[derive(Clone, Debug)]
pub(super) struct Page {
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
    pub bits: usize,
    pub float: bool,
    /// Whether each sample has chunks of its own.
    pub planar: bool,
    /// Whether samples are stored as differences along a row.
    pub differences: bool,
    pub big_endian: bool,
    pub jpeg_tables: Vec<u8>,
    /// Red, green and blue of every index, eight bits each.
    pub palette: Vec<[u8; 3]>,
    pub description: String,
    /// Whether the tag NewSubfileType calls it a smaller copy of another image.
    pub reduced: bool,
    /// Microns a pixel across and down by the resolution tags.
    pub mpp: Option<[f64; 2]>,
    /// Images that this one refers to as its own smaller copies.
    pub children: Vec<Page>,
}

/// All images of a file in order.
pub(super) fn read(file: File) -> Result<Vec<Page>, Error> {
    let length = file.metadata()?.len();
    let mut decoder = Decoder::new(BufReader::new(file)).map_err(damaged)?;
    let mut next = decoder.ifd_pointer();
    let (mut seen, mut children) = (HashSet::new(), HashSet::new());
    let mut pages = Vec::new();
    let mut room = CHUNKS;
    while let Some(at) = next {
        if !seen.insert(at.0) {
            return Err(Error::Format { reason: "its directories form a loop".into() });
        }
        if seen.len() > PAGES {
            return Err(Error::Format { reason: format!("it has more than {PAGES} images") });
        }
        let (page, follows) = one(&mut decoder, at, length, &mut children, &mut room, true)?;
        pages.push(page);
        next = follows;
    }
    Ok(pages)
}

fn damaged(e: tiff::TiffError) -> Error {
    match e {
        tiff::TiffError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::Io(e),
        e => Error::Format { reason: e.to_string() },
    }
}

fn one<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    at: IfdPointer,
    length: u64,
    seen: &mut HashSet<u64>,
    room: &mut u64,
    top: bool,
) -> Result<(Page, Option<IfdPointer>), Error> {
    let directory = decoder.read_directory(at).map_err(damaged)?;
    let big_endian = decoder.byte_order() == tiff::tags::ByteOrder::BigEndian;
    let mut tags = Tags { directory: &directory, decoder, length, room };
    let width = tags.number(Tag::ImageWidth)?.unwrap_or(0);
    let height = tags.number(Tag::ImageLength)?.unwrap_or(0);
    let tiled = directory.contains(Tag::TileWidth) || directory.contains(Tag::TileOffsets);
    let (chunk, offsets, counts) = if tiled {
        let size = [tags.number(Tag::TileWidth)?.unwrap_or(0), tags.number(Tag::TileLength)?.unwrap_or(0)];
        (size, tags.chunks(Tag::TileOffsets)?, tags.chunks(Tag::TileByteCounts)?)
    } else {
        let rows = tags.number(Tag::RowsPerStrip)?.unwrap_or(height).min(height);
        ([width, rows], tags.chunks(Tag::StripOffsets)?, tags.chunks(Tag::StripByteCounts)?)
    };
    let samples = tags.number(Tag::SamplesPerPixel)?.unwrap_or(1) as usize;
    let bits = tags.list(Tag::BitsPerSample, FEW)?;
    let bits = if bits.windows(2).all(|b| b[0] == b[1]) { bits.first().copied().unwrap_or(1) } else { 0 };
    let colour = match tags.number(Tag::PhotometricInterpretation)? {
        Some(0) => Colour::WhiteIsZero,
        Some(1) | None => Colour::Grey,
        Some(2) => Colour::Rgb,
        Some(3) => Colour::Palette,
        Some(6) => Colour::YCbCr,
        Some(n) => Colour::Other(n),
    };
    let packing = match tags.number(Tag::Compression)?.unwrap_or(1) {
        1 => Packing::Plain,
        5 => Packing::Lzw,
        7 => Packing::Jpeg,
        8 | 32946 => Packing::Deflate,
        32773 => Packing::PackBits,
        33003 => Packing::Jpeg2000 { chroma: true },
        33005 | 34712 => Packing::Jpeg2000 { chroma: false },
        n => Packing::Other(n),
    };
    let palette = match colour {
        Colour::Palette => palette(&tags.list(Tag::ColorMap, 3 << 16)?),
        _ => Vec::new(),
    };
    let mut page = Page {
        width,
        height,
        chunk,
        tiled,
        offsets,
        counts,
        packing,
        colour,
        samples,
        bits: bits as usize,
        float: tags.list(Tag::SampleFormat, FEW)?.iter().any(|&f| f != 1 && f != 4),
        planar: tags.number(Tag::PlanarConfiguration)? == Some(2) && samples > 1,
        differences: tags.number(Tag::Predictor)?.unwrap_or(1) == 2,
        big_endian,
        jpeg_tables: tags.bytes(Tag::JPEGTables)?,
        palette,
        description: String::from_utf8_lossy(&tags.bytes(Tag::ImageDescription)?)
            .trim_end_matches('\0')
            .to_owned(),
        reduced: tags.number(Tag::NewSubfileType)?.unwrap_or(0) & 1 != 0,
        mpp: tags.microns()?,
        children: Vec::new(),
    };
    if tags.number(Tag::Predictor)?.is_some_and(|p| p > 2) {
        page.packing = Packing::Other(0);
    }
    let children = if top { tags.list(Tag::SubIfd, PAGES as u64)? } else { Vec::new() };
    let follows = directory.next();
    for child in children {
        if seen.len() <= PAGES && seen.insert(child) {
            page.children.push(one(decoder, IfdPointer(child), length, seen, room, false)?.0);
        }
    }
    Ok((page, follows))
}

fn palette(map: &[u64]) -> Vec<[u8; 3]> {
    let n = map.len() / 3;
    (0..n).map(|i| [0, 1, 2].map(|c| (map[c * n + i] >> 8) as u8)).collect()
}

struct Tags<'a, R: Read + Seek> {
    directory: &'a tiff::Directory,
    decoder: &'a mut Decoder<R>,
    length: u64,
    /// Chunks that all directories together may still list.
    room: &'a mut u64,
}

impl<R: Read + Seek> Tags<'_, R> {
    /// A tag's value; one that claims more values than the file or `most` could hold is an error.
    fn value(&mut self, tag: Tag, most: u64) -> Result<Option<Value>, Error> {
        let Some(entry) = self.directory.get(tag) else { return Ok(None) };
        if entry.count() > most || entry.count() > self.length {
            let reason = format!("its tag {} claims {} values", tag.to_u16(), entry.count());
            return Err(Error::Format { reason });
        }
        self.decoder.read_directory_tags(self.directory).find_tag(tag).map_err(damaged)
    }

    fn number(&mut self, tag: Tag) -> Result<Option<u64>, Error> {
        Ok(self.list(tag, FEW)?.first().copied())
    }

    /// Places or sizes of chunks.
    fn chunks(&mut self, tag: Tag) -> Result<Vec<u64>, Error> {
        let list = self.list(tag, *self.room)?;
        *self.room -= list.len() as u64;
        Ok(list)
    }

    fn list(&mut self, tag: Tag, most: u64) -> Result<Vec<u64>, Error> {
        match self.value(tag, most)? {
            None => Ok(Vec::new()),
            Some(Value::List(v)) => v.into_iter().map(|v| v.into_u64().map_err(damaged)).collect(),
            Some(v) => Ok(vec![v.into_u64().map_err(damaged)?]),
        }
    }

    fn bytes(&mut self, tag: Tag) -> Result<Vec<u8>, Error> {
        // As they stand in the file: descriptions are written in many encodings.
        let Some(entry) = self.directory.get(tag) else { return Ok(Vec::new()) };
        let plain = matches!(entry.field_type(), Type::ASCII | Type::BYTE | Type::UNDEFINED);
        if !plain || entry.count() > TEXT.min(self.length) {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; entry.count() as usize];
        let mut tags = self.decoder.read_directory_tags(self.directory);
        let found = tags.find_tag_bytes(tag, &mut bytes, 0).map_err(damaged)?;
        bytes.truncate(found.unwrap_or(0));
        Ok(bytes)
    }

    /// Microns a pixel; `None` where the tags are missing, without unit, zero or not numbers.
    fn microns(&mut self) -> Result<Option<[f64; 2]>, Error> {
        let unit = match self.number(Tag::ResolutionUnit)?.unwrap_or(2) {
            2 => 25_400.0,
            3 => 10_000.0,
            _ => return Ok(None),
        };
        let mut sizes = [0.0; 2];
        for (size, tag) in sizes.iter_mut().zip([Tag::XResolution, Tag::YResolution]) {
            *size = match self.value(tag, 1)? {
                Some(Value::Rational(n, d)) if n > 0 && d > 0 => unit * d as f64 / n as f64,
                Some(Value::Float(v)) if v > 0.0 => unit / v as f64,
                Some(Value::Double(v)) if v > 0.0 => unit / v,
                _ => return Ok(None),
            };
        }
        Ok(Some(sizes))
    }
}
