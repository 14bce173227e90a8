//! The directories of a TIFF file and the values they list.

use super::{Error, damaged};
use std::io::{Read, Seek, SeekFrom};

/// The tag that Hamamatsu's scanners write into every directory.
pub(super) const HAMAMATSU: u16 = 65420;

/// Most entries of one directory.
const ENTRIES: u64 = 4096;

/// A number type of the standard: its code, and bytes a value.
const WIDTHS: [(u16, u64); 16] = [
    (1, 1),
    (2, 1),
    (3, 2),
    (4, 4),
    (5, 8),
    (6, 1),
    (7, 1),
    (8, 2),
    (9, 4),
    (10, 8),
    (11, 4),
    (12, 8),
    (13, 4),
    (16, 8),
    (17, 8),
    (18, 8),
];

/// One entry of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub tag: u16,
    kind: u16,
    pub count: u64,
    /// Where its directory stands.
    directory: u64,
    /// The value itself where it fits, else where it stands; as in the file.
    place: [u8; 8],
}

/// A directory, and where the next one stands (0: nowhere).
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    entries: Vec<Entry>,
    pub next: u64,
}

impl Directory {
    pub fn get(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|e| e.tag == tag)
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Tiff<R> {
    input: R,
    pub length: u64,
    pub big_endian: bool,
    /// BigTIFF: places of eight bytes.
    big: bool,
    /// Hamamatsu's kind: classic directories that refer to the next one by eight bytes.
    hamamatsu: bool,
    pub first: u64,
    /// Bytes of values that may still be read. Directories of a sound file do not share their lists, so
    /// together they cannot list more than the file holds; shared tables of JPEG get something on top.
    room: u64,
}

impl<R: Read + Seek> Tiff<R> {
    /// Reads the header.
    pub fn open(mut input: R) -> Result<Self, Error> {
        let length = input.seek(SeekFrom::End(0))?;
        input.rewind()?;
        let mut head = [0; 16];
        let n = read_up_to(&mut input, &mut head)?;
        let big_endian = match &head[..2] {
            b"II" => false,
            b"MM" => true,
            _ => return Err(damaged("its first bytes are not those of a TIFF")),
        };
        let room = length.saturating_mul(2).saturating_add(1 << 16);
        let (big, hamamatsu) = (false, false);
        let mut tiff = Tiff { input, length, big_endian, big, hamamatsu, first: 0, room };
        match tiff.number(&head[2..4]) {
            42 if n >= 8 => {
                tiff.first = tiff.number(&head[4..8]);
                tiff.find_hamamatsu(tiff.number(&head[4..12]));
            }
            43 if n >= 16 && tiff.number(&head[4..8]) == if big_endian { 0x8_0000 } else { 8 } => {
                tiff.big = true;
                tiff.first = tiff.number(&head[8..16]);
            }
            _ => return Err(damaged("its first bytes are not those of a TIFF")),
        }
        Ok(tiff)
    }

    /// Takes the file for one of Hamamatsu's where the directory at `first`, a place of eight bytes, has their tag.
    fn find_hamamatsu(&mut self, first: u64) {
        self.hamamatsu = !self.big_endian;
        self.hamamatsu &= self.directory(first).is_ok_and(|d| d.get(HAMAMATSU).is_some());
        if self.hamamatsu {
            self.first = first;
        }
        // What was looked at is listed once more.
        self.room = self.length.saturating_mul(2).saturating_add(1 << 16);
    }

    /// An unsigned number of up to eight bytes in the file's byte order.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |n: u64, b: &u8| n << 8 | *b as u64;
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    /// `n` bytes from `at` on.
    fn bytes_at(&mut self, at: u64, n: u64, what: &str) -> Result<Vec<u8>, Error> {
        if at.checked_add(n).is_none_or(|end| end > self.length) {
            return Err(damaged(format!("{what} lies beyond the end of the file")));
        }
        if n > self.room {
            return Err(damaged("its directories list more than the file holds"));
        }
        self.room -= n;
        let mut bytes = vec![0; n as usize];
        self.input.seek(SeekFrom::Start(at))?;
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Bytes of the file that no directory lists by themselves, such as the beginning of a strip.
    pub fn stretch(&mut self, at: u64, n: u64, what: &str) -> Result<Vec<u8>, Error> {
        self.room = self.room.saturating_add(n);
        self.bytes_at(at, n, what)
    }

    /// The directory at a place.
    pub fn directory(&mut self, at: u64) -> Result<Directory, Error> {
        let (head, entry, link) = match (self.big, self.hamamatsu) {
            (true, _) => (8, 20, 8),
            (false, true) => (2, 12, 8),
            (false, false) => (2, 12, 4),
        };
        let head_bytes = self.bytes_at(at, head, "a directory")?;
        let n = self.number(&head_bytes);
        if n == 0 || n > ENTRIES {
            return Err(damaged(format!("a directory claims {n} entries")));
        }
        let bytes = self.bytes_at(at + head, n * entry, "a directory")?;
        let entries = bytes.chunks_exact(entry as usize).map(|e| self.entry(e, at)).collect();
        // Some writers leave out the link behind the last directory.
        let end = at + head + n * entry;
        let next = match end.checked_add(link).is_some_and(|e| e <= self.length) {
            true => {
                let link = self.bytes_at(end, link, "a directory")?;
                self.number(&link)
            }
            false => 0,
        };
        Ok(Directory { entries, next })
    }

    fn entry(&self, e: &[u8], directory: u64) -> Entry {
        let width = if self.big { 8 } else { 4 };
        let mut place = [0; 8];
        place[..width].copy_from_slice(&e[4 + width..4 + 2 * width]);
        let [tag, kind] = [0, 2].map(|i| self.number(&e[i..i + 2]) as u16);
        Entry { tag, kind, count: self.number(&e[4..4 + width]), directory, place }
    }

    /// The bytes of an entry's values as they stand in the file; at most `most` values.
    fn raw(&mut self, e: &Entry, most: u64) -> Result<(Vec<u8>, u64), Error> {
        let Some(&(_, width)) = WIDTHS.iter().find(|w| w.0 == e.kind) else {
            return Err(damaged(format!("its tag {} has the unknown type {}", e.tag, e.kind)));
        };
        if e.count > most {
            return Err(damaged(format!("its tag {} claims {} values", e.tag, e.count)));
        }
        let inline = if self.big { 8 } else { 4 };
        let n = e.count.saturating_mul(width);
        if n <= inline {
            return Ok((e.place[..n as usize].to_vec(), width));
        }
        let mut at = self.number(&e.place[..inline as usize]);
        if self.hamamatsu {
            at = before(e.directory, at);
        }
        Ok((self.bytes_at(at, n, &format!("the value of tag {}", e.tag))?, width))
    }

    /// Whole numbers; an error where the values are of another type, or more than `most`.
    pub fn numbers(&mut self, e: &Entry, most: u64) -> Result<Vec<u64>, Error> {
        if matches!(e.kind, 5 | 10 | 11 | 12) {
            return Err(damaged(format!("its tag {} is not a whole number", e.tag)));
        }
        let (bytes, width) = self.raw(e, most)?;
        Ok(bytes.chunks_exact(width as usize).map(|b| self.number(b)).collect())
    }

    /// One number of any type; `None` where it is missing or not finite.
    pub fn real(&mut self, e: &Entry) -> Result<Option<f64>, Error> {
        let (bytes, width) = self.raw(e, 64)?;
        let Some(b) = bytes.get(..width as usize) else { return Ok(None) };
        let n = self.number(b);
        let v = match e.kind {
            5 | 10 => self.number(&b[..4]) as f64 / self.number(&b[4..8]) as f64,
            11 => f32::from_bits(n as u32) as f64,
            12 => f64::from_bits(n),
            _ => n as f64,
        };
        Ok(v.is_finite().then_some(v))
    }

    /// Text and tables as they stand; empty where the entry holds something else.
    pub fn bytes(&mut self, e: &Entry, most: u64) -> Result<Vec<u8>, Error> {
        match e.kind {
            1 | 2 | 7 => Ok(self.raw(e, most)?.0),
            _ => Ok(Vec::new()),
        }
    }
}

/// The last place before a directory whose lower four bytes are those of `place`: files of more than 4 GiB say no more.
fn before(directory: u64, place: u64) -> u64 {
    let low = u64::from(u32::MAX);
    let near = directory & !low | place & low;
    if near >= directory && near > low { near - low - 1 } else { near }
}

/// Fills as much of `buffer` as there is.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match input.read(&mut buffer[n..])? {
            0 => break,
            k => n += k,
        }
    }
    Ok(n)
}
