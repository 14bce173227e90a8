//! Slides whose levels are images of tiles that another format than TIFF describes, each in a file of its own.

use super::{Error, Level, Slide};
use crate::formats::tif::{Colour, Numbers, Packing, Page, Predictor, same_shape, usable};
use ampoule_files::open_plain;
use std::path::PathBuf;
use std::sync::Mutex;

/// How a tile's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TilePacking {
    /// Samples as they are, interleaved.
    Plain,
    /// Baseline JPEG.
    Jpeg,
    /// JPEG 2000, whose stream says what its samples are.
    Jpeg2000,
}

/// What a tile's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileColours {
    /// Red, green and blue.
    Rgb,
    /// Luma and chroma.
    YCbCr,
    /// Levels of grey.
    Grey,
}

/// An image of tiles of eight bits a sample.
#[derive(Clone, Debug)]
pub struct TiledImage {
    /// The file that holds the tiles.
    pub path: PathBuf,
    /// Pixels across and down.
    pub size: [u64; 2],
    /// Pixels across and down a tile.
    pub tile: [u64; 2],
    /// First byte of each tile, row by row; 0 where there is none.
    pub offsets: Vec<u64>,
    /// Bytes of each tile; 0 where there is none.
    pub counts: Vec<u64>,
    /// How they are packed.
    pub packing: TilePacking,
    /// What they hold.
    pub colours: TileColours,
}

impl TiledImage {
    fn page(self) -> Page {
        let colour = match self.colours {
            TileColours::Rgb => Colour::Rgb,
            TileColours::YCbCr => Colour::YCbCr,
            TileColours::Grey => Colour::Grey,
        };
        Page {
            width: self.size[0],
            height: self.size[1],
            chunk: self.tile,
            tiled: true,
            offsets: self.offsets,
            counts: self.counts,
            packing: match self.packing {
                TilePacking::Plain => Packing::Plain,
                TilePacking::Jpeg => Packing::Jpeg,
                TilePacking::Jpeg2000 => Packing::Jpeg2000 { chroma: false },
            },
            samples: if colour == Colour::Grey { 1 } else { 3 },
            colour,
            alpha: false,
            bits: 8,
            numbers: Numbers::Unsigned,
            planar: false,
            predictor: Predictor::None,
            big_endian: false,
            jpeg_tables: Vec::new(),
            jpeg_header: Vec::new(),
            palette: Vec::new(),
            description: String::new(),
            software: String::new(),
            make: String::new(),
            ndpi: false,
            hamamatsu: None,
            camera_raw: false,
            ventana: false,
            orientation: 1,
            reduced: false,
            mask: false,
            mpp: None,
            children: Vec::new(),
        }
    }
}

impl Slide {
    /// A slide of these levels, the finest first. `mpp` are the microns a pixel of that, where known; decoded tiles up to
    /// `cache_bytes` are kept. Levels of another shape than the finest are left out with a note.
    pub fn of_levels(
        kind: &'static str,
        images: Vec<TiledImage>,
        mpp: Option<f64>,
        cache_bytes: usize,
    ) -> Result<Slide, Error> {
        let (mut pages, mut files, mut notes): (Vec<Page>, _, _) = (Vec::new(), Vec::new(), Vec::new());
        for image in images {
            let (path, [w, h]) = (image.path.clone(), image.size);
            let page = image.page();
            usable(&page)?;
            let smaller = |p: &Page| page.width < p.width && same_shape(p, &page);
            let follows = |first: &Page, last: &Page| smaller(last) && same_shape(first, &page);
            if let (Some(first), Some(last)) = (pages.first(), pages.last())
                && !follows(first, last)
            {
                notes.push(format!(
                    "an image of {w}x{h} pixels is no copy of the largest one and is not read"
                ));
                continue;
            }
            let file = open_plain(&path)?;
            files.push((Mutex::new(file.try_clone()?), file.metadata()?.len()));
            pages.push(page);
        }
        let Some(first) = pages.first() else { return Err(super::damaged("it holds no image")) };
        let levels = pages.iter().map(|p| Level::of(p, first)).collect();
        let file_of = (0..pages.len()).collect();
        Ok(Slide::of(levels, mpp, notes, kind, pages, 65_535, (files, file_of), cache_bytes))
    }
}
