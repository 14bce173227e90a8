//! Grey images of any size as tiled pyramids in TIFF (BigTIFF where four gigabytes may not do), written
//! as a stream: only tiles of coarser levels that still wait for their parts are held.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::collections::BTreeMap;
use std::io::{Result, Seek, SeekFrom, Write};

/// Pixels along a tile's side.
pub const TILE: usize = 256;

struct Level {
    width: u64,
    height: u64,
    offsets: Vec<u64>,
    counts: Vec<u64>,
    /// Tiles that wait for parts, by row and column.
    waiting: BTreeMap<(u64, u64), Vec<u8>>,
}

impl Level {
    fn new(width: u64, height: u64) -> Self {
        let n = (width.div_ceil(TILE as u64) * height.div_ceil(TILE as u64)) as usize;
        Level { width, height, offsets: vec![0; n], counts: vec![0; n], waiting: BTreeMap::new() }
    }
}

/// A pyramid that is being written.
pub struct Pyramid<W> {
    out: W,
    big: bool,
    mpp: Option<f64>,
    levels: Vec<Level>,
    row: u64,
    end: u64,
}

/// A value of a directory: type, number of values, bytes.
struct Field(u16, u16, u64, Vec<u8>);

impl<W: Write + Seek> Pyramid<W> {
    /// Begins an image of `width` by `height` pixels of `mpp` microns.
    pub fn new(mut out: W, width: u64, height: u64, mpp: Option<f64>) -> Result<Self> {
        let big = width.saturating_mul(height) > 2 << 30;
        // The place of the first directory is known at the end.
        let head: &[u8] = if big { b"II\x2b\0\x08\0\0\0" } else { b"II\x2a\0" };
        out.write_all(head)?;
        out.write_all(&[0; 8][..if big { 8 } else { 4 }])?;
        let end = if big { 16 } else { 8 };
        let mut levels = vec![Level::new(width, height)];
        while let Some(l) = levels.last().filter(|l| l.width.max(l.height) > TILE as u64) {
            levels.push(Level::new(l.width.div_ceil(2), l.height.div_ceil(2)));
        }
        Ok(Pyramid { out, big, mpp, levels, row: 0, end })
    }

    /// Takes the tile in column `tx` and row `ty`, rows from the top on; what lies beyond the image's
    /// border does not count. Tiles that are never given are 0.
    pub fn put(&mut self, tx: u64, ty: u64, tile: &[u8]) -> Result<()> {
        if ty > self.row {
            self.row = ty;
            self.advance(1, ty / 2)?;
        }
        self.store(0, tx, ty, tile)
    }

    /// Writes waiting tiles of `level` above `row`, and what becomes complete by that.
    fn advance(&mut self, level: usize, row: u64) -> Result<()> {
        if level >= self.levels.len() {
            return Ok(());
        }
        while let Some(first) = self.levels[level].waiting.first_entry().filter(|e| e.key().0 < row) {
            let ((ty, tx), tile) = first.remove_entry();
            self.store(level, tx, ty, &tile)?;
        }
        self.advance(level + 1, row / 2)
    }

    fn store(&mut self, level: usize, tx: u64, ty: u64, tile: &[u8]) -> Result<()> {
        if tile.iter().all(|&v| v == 0) {
            return Ok(());
        }
        let (offset, count) = self.compressed(tile)?;
        let l = &mut self.levels[level];
        let i = (ty * l.width.div_ceil(TILE as u64) + tx) as usize;
        (l.offsets[i], l.counts[i]) = (offset, count);
        let valid =
            [l.width - tx * TILE as u64, l.height - ty * TILE as u64].map(|n| n.min(TILE as u64) as usize);
        let Some(above) = self.levels.get_mut(level + 1) else { return Ok(()) };
        let into = above.waiting.entry((ty / 2, tx / 2)).or_insert_with(|| vec![0; TILE * TILE]);
        let half = TILE / 2;
        let base = (ty % 2) as usize * half * TILE + (tx % 2) as usize * half;
        for y in 0..valid[1].div_ceil(2) {
            for x in 0..valid[0].div_ceil(2) {
                let at = |u: usize, v: usize| tile[v.min(valid[1] - 1) * TILE + u.min(valid[0] - 1)] as u16;
                let sum =
                    at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1);
                into[base + y * TILE + x] = ((sum + 2) / 4) as u8;
            }
        }
        Ok(())
    }

    fn compressed(&mut self, tile: &[u8]) -> Result<(u64, u64)> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(4));
        encoder.write_all(tile)?;
        let bytes = encoder.finish()?;
        self.append(&bytes)
    }

    /// Appends bytes; gives their offset and number.
    fn append(&mut self, bytes: &[u8]) -> Result<(u64, u64)> {
        let at = self.end;
        self.out.write_all(bytes)?;
        self.end += bytes.len() as u64;
        if !self.big && self.end > u32::MAX as u64 - 1 {
            return Err(std::io::Error::other("the map grew beyond 4 GiB"));
        }
        // Directories and their values begin at even offsets.
        if self.end % 2 == 1 {
            self.out.write_all(&[0])?;
            self.end += 1;
        }
        Ok((at, bytes.len() as u64))
    }

    /// Writes what is missing and gives the output back.
    pub fn finish(mut self) -> Result<W> {
        for level in 1..self.levels.len() {
            self.advance(level, u64::MAX)?;
        }
        let blank = self.compressed(&[0; TILE * TILE])?;
        let mut place = if self.big { 8 } else { 4 };
        for level in 0..self.levels.len() {
            let l = &mut self.levels[level];
            for (offset, count) in l.offsets.iter_mut().zip(&mut l.counts).filter(|t| *t.1 == 0) {
                (*offset, *count) = blank;
            }
            let (at, link) = self.directory(level)?;
            self.link(place, at)?;
            place = link;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn link(&mut self, place: u64, to: u64) -> Result<()> {
        self.out.seek(SeekFrom::Start(place))?;
        match self.big {
            true => self.out.write_all(&to.to_le_bytes())?,
            false => self.out.write_all(&(to as u32).to_le_bytes())?,
        }
        self.out.seek(SeekFrom::Start(self.end)).map(|_| ())
    }

    /// Writes a level's directory; gives its place and that of the link to the next.
    fn directory(&mut self, level: usize) -> Result<(u64, u64)> {
        let l = &self.levels[level];
        let short = |tag: u16, v: u16| Field(tag, 3, 1, v.to_le_bytes().to_vec());
        let long = |tag: u16, v: u64| Field(tag, 4, 1, (v as u32).to_le_bytes().to_vec());
        let places = |tag: u16, list: &[u64], wide: bool| {
            let bytes = match wide {
                true => list.iter().flat_map(|v| v.to_le_bytes()).collect(),
                false => list.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
            };
            Field(tag, if wide { 16 } else { 4 }, list.len() as u64, bytes)
        };
        let software = b"Ampoule\0".to_vec();
        let mut fields = vec![
            long(254, (level > 0) as u64),
            long(256, l.width),
            long(257, l.height),
            short(258, 8),
            short(259, 8),
            short(262, 1),
            short(277, 1),
        ];
        if let Some(mpp) = self.mpp {
            let across = mpp * self.levels[0].width as f64 / l.width as f64;
            let per_cm = [(1e7 / across).round() as u32, 1000];
            let bytes: Vec<u8> = per_cm.iter().flat_map(|v| v.to_le_bytes()).collect();
            fields.extend([Field(282, 5, 1, bytes.clone()), Field(283, 5, 1, bytes)]);
        }
        fields.extend([short(284, 1), short(296, if self.mpp.is_some() { 3 } else { 1 })]);
        fields.push(Field(305, 2, software.len() as u64, software));
        fields.extend([short(322, TILE as u16), short(323, TILE as u16)]);
        fields.extend([places(324, &l.offsets, self.big), places(325, &l.counts, false)]);
        let slot = if self.big { 8 } else { 4 };
        let mut bytes = match self.big {
            true => (fields.len() as u64).to_le_bytes().to_vec(),
            false => (fields.len() as u16).to_le_bytes().to_vec(),
        };
        for Field(tag, kind, count, value) in fields {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(&count.to_le_bytes()[..slot]);
            let mut own = match value.len() <= slot {
                true => value,
                false => self.append(&value)?.0.to_le_bytes()[..slot].to_vec(),
            };
            own.resize(slot, 0);
            bytes.extend(own);
        }
        let link = bytes.len() as u64;
        bytes.extend(&[0; 8][..slot]);
        let (at, _) = self.append(&bytes)?;
        Ok((at, at + link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slide::Slide;

    #[test]
    fn what_is_written_is_read_and_levels_are_means() {
        let (w, h) = (700usize, 421usize);
        let value = |x: usize, y: usize| if x < 300 { 0 } else { (x / 3 + y) as u8 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let mut p =
            Pyramid::new(std::fs::File::create(&path).unwrap(), w as u64, h as u64, Some(0.5)).unwrap();
        for ty in 0..h.div_ceil(TILE) {
            for tx in 0..w.div_ceil(TILE) {
                let at = |i: usize| (tx * TILE + i % TILE, ty * TILE + i / TILE);
                let tile: Vec<u8> = (0..TILE * TILE)
                    .map(|i| {
                        let (x, y) = at(i);
                        if x < w && y < h { value(x, y) } else { 77 }
                    })
                    .collect();
                p.put(tx as u64, ty as u64, &tile).unwrap();
            }
        }
        p.finish().unwrap();
        let slide = Slide::open(&path, 1 << 20).unwrap();
        assert_eq!(slide.levels.len(), 3);
        assert!((slide.mpp.unwrap() - 0.5).abs() < 1e-6);
        let whole = slide.region(0, 0, 0, w, h).unwrap();
        assert!((0..w * h).all(|i| whole.at(i % w, i / w)[0] == value(i % w, i / w)));
        let half = slide.region(1, 0, 0, 350, 211).unwrap();
        for (x, y) in [(0, 0), (200, 100), (349, 210), (160, 60)] {
            let sum: u32 = [(0, 0), (1, 0), (0, 1), (1, 1)]
                .iter()
                .map(|d| value((2 * x + d.0).min(w - 1), (2 * y + d.1).min(h - 1)) as u32)
                .sum();
            assert_eq!(half.at(x, y)[0] as u32, (sum + 2) / 4, "{x},{y}");
        }
    }
}
