//! Where an instance lies: a file, or an entry of a ZIP file. Nothing is ever unpacked to the disk.

use crate::Error;
use ampoule_files::open_plain;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// More entries than a study has.
const ENTRIES: usize = 200_000;
/// A byte of deflate makes at most so many.
const DEFLATE: u64 = 1040;

/// Where an instance lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The entry, where the file is a ZIP file.
    pub entry: Option<Entry>,
}

/// An entry of a ZIP file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Its name with its folders, with `/`.
    pub name: String,
    /// Its number.
    pub index: usize,
}

impl Place {
    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Place {
        Place { path: path.into(), entry: None }
    }

    /// A path that names it: that of an entry continues the one of its ZIP file.
    pub fn shown(&self) -> PathBuf {
        match &self.entry {
            Some(e) => self.path.join(&e.name),
            None => self.path.clone(),
        }
    }

    /// The name of the file or entry, without folders.
    pub fn name(&self) -> String {
        self.shown().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Whether a file begins as a ZIP file does.
pub fn is_zip(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = open_plain(path).and_then(|mut f| f.read_exact(&mut head));
    read.is_ok() && (head == *b"PK\x03\x04" || head == *b"PK\x05\x06")
}

/// The entries of a ZIP file, folders left out. Refuses an archive with a name that leads out of it.
pub fn entries(path: &Path) -> Result<Vec<Place>, Error> {
    let mut archive = archive(path)?;
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|e| Error::Archive(e.to_string()))?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name().map_err(|e| Error::Archive(e.to_string()))?.replace('\\', "/");
        let inside = |part: &str| part != ".." && !part.contains(':') && !part.chars().any(char::is_control);
        if name.starts_with('/') || !name.split('/').all(inside) {
            let shown: String = name.chars().flat_map(char::escape_default).take(80).collect();
            return Err(Error::Archive(format!("the name of its entry `{shown}` leads out of the archive")));
        }
        found.push(Place { path: path.into(), entry: Some(Entry { name, index }) });
    }
    found.sort();
    Ok(found)
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, Error> {
    let archive =
        ZipArchive::new(BufReader::new(open_plain(path)?)).map_err(|e| Error::Archive(e.to_string()))?;
    match archive.len() {
        n if n > ENTRIES => Err(Error::Archive(format!("it has {n} entries, at most {ENTRIES} are read"))),
        _ => Ok(archive),
    }
}

/// Calls `each` with the length of every instance and then with its bytes, part by part.
pub fn blocks(places: &[Place], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
    let mut opener = Opener::new(u64::MAX);
    for place in places {
        let mut content = opener.open(place)?;
        each(&content.length.to_le_bytes());
        loop {
            let block = content.fill_buf()?;
            if block.is_empty() {
                break;
            }
            each(block);
            let count = block.len();
            content.consume(count);
        }
    }
    Ok(())
}

/// Opens instances one after another; the ZIP file of the last one stays open.
pub(crate) struct Opener {
    archive: Option<(PathBuf, ZipArchive<BufReader<File>>)>,
    /// Most bytes that an unpacked instance may take.
    most: u64,
}

impl Opener {
    pub fn new(most: u64) -> Opener {
        Opener { archive: None, most }
    }

    /// The bytes of an instance.
    pub fn open(&mut self, place: &Place) -> Result<Content, Error> {
        let Some(entry) = &place.entry else {
            let file = open_plain(&place.path)?;
            let length = file.metadata()?.len();
            return Ok(Content { bytes: Bytes::File(BufReader::with_capacity(1 << 14, file)), length });
        };
        if self.archive.as_ref().is_none_or(|(path, _)| *path != place.path) {
            self.archive = Some((place.path.clone(), archive(&place.path)?));
        }
        let Some((_, archive)) = &mut self.archive else {
            return Err(Error::Archive("it is closed".into()));
        };
        let bad = |e: &dyn std::fmt::Display| Error::Archive(format!("{}: {e}", entry.name));
        let packed = archive.by_index(entry.index).map_err(|e| bad(&e))?;
        let (claimed, stored) = (packed.size(), packed.compressed_size());
        if claimed > stored.saturating_mul(DEFLATE).saturating_add(DEFLATE) {
            return Err(bad(&format!("{stored} bytes cannot hold the {claimed} that it claims")));
        }
        if claimed.saturating_mul(2) > self.most {
            return Err(Error::memory(claimed.saturating_mul(2), self.most));
        }
        let mut packed = packed.take(claimed + 1);
        let mut out = Vec::new();
        packed.by_ref().take(HEAD).read_to_end(&mut out).map_err(|e| bad(&e))?;
        if !begins_as_dicom(&out) {
            return Err(Error::NotDicom("it has neither the mark DICM nor a data set".into()));
        }
        // One byte more than claimed shows an entry that lies about its size.
        packed.read_to_end(&mut out).map_err(|e| bad(&e))?;
        if out.len() as u64 != claimed {
            return Err(bad(&format!("it has {} bytes, {claimed} are claimed", out.len())));
        }
        Ok(Content { bytes: Bytes::Memory(Cursor::new(out)), length: claimed })
    }
}

/// Bytes that tell whether a file is of DICOM.
pub(crate) const HEAD: u64 = 132;

/// Whether a file begins with the mark of DICOM, its own description, or a data set.
pub(crate) fn begins_as_dicom(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM")
        || head.len() >= 8 && (head.starts_with(&[2, 0]) || head.starts_with(&[8, 0]))
}

/// The bytes of an instance: a file, or what was unpacked.
pub(crate) struct Content {
    bytes: Bytes,
    /// How many there are.
    pub length: u64,
}

enum Bytes {
    File(BufReader<File>),
    Memory(Cursor<Vec<u8>>),
}

impl Content {
    /// Bytes in memory.
    pub fn of(bytes: Vec<u8>) -> Content {
        Content { length: bytes.len() as u64, bytes: Bytes::Memory(Cursor::new(bytes)) }
    }

    /// Whether these are the bytes of a file as they lie on the disk.
    pub fn is_file(&self) -> bool {
        matches!(self.bytes, Bytes::File(_))
    }

    /// Goes on by so many bytes, or back, and keeps what is buffered as far as it goes.
    pub fn skip(&mut self, by: i64) -> io::Result<()> {
        match &mut self.bytes {
            Bytes::File(f) => f.seek_relative(by),
            Bytes::Memory(m) => m.seek(SeekFrom::Current(by)).map(drop),
        }
    }

    /// `count` bytes from `at` on; asks for no more memory than the content has bytes.
    pub fn range(&mut self, at: u64, count: u64) -> Result<Vec<u8>, Error> {
        if at.checked_add(count).is_none_or(|end| end > self.length) {
            return Err(Error::damaged(format!("it ends before byte {}", at.saturating_add(count))));
        }
        self.seek(SeekFrom::Start(at))?;
        let mut out = vec![0; count as usize];
        self.read_exact(&mut out)?;
        Ok(out)
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.bytes {
            Bytes::File(f) => f.read(buffer),
            Bytes::Memory(m) => m.read(buffer),
        }
    }
}

impl BufRead for Content {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.bytes {
            Bytes::File(f) => f.fill_buf(),
            Bytes::Memory(m) => m.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match &mut self.bytes {
            Bytes::File(f) => f.consume(count),
            Bytes::Memory(m) => m.consume(count),
        }
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.bytes {
            Bytes::File(f) => f.seek(to),
            Bytes::Memory(m) => m.seek(to),
        }
    }
}
