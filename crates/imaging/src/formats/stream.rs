//! A file read from front to back, unpacked where it is gzipped, with its checksums verified.

use super::error::Error;
use ampoule_files::open_plain;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

/// Deflate cannot expand by more than this factor.
const DEFLATE_LIMIT: u64 = 1040;

/// Bytes behind an image that are unpacked to reach the checksum; more may be a bomb.
const BEHIND: u64 = 64 << 20;

/// Bytes of voxels that are read at once.
const PIECE: usize = 1 << 20;

/// An open volume.
pub(crate) struct Stream {
    source: Source,
    /// Bytes of the file on disk.
    pub size: u64,
    pub gzip: bool,
    /// Bytes given out so far.
    pub position: u64,
}

enum Source {
    Plain(BufReader<File>),
    Gzip(Box<GzDecoder<BufReader<File>>>),
    Zlib(Box<ZlibDecoder<BufReader<File>>>),
    /// All gzip members are read; whether something that is not gzip follows them.
    Ended(bool),
}

impl Stream {
    pub fn open(path: &Path) -> Result<Stream, Error> {
        let file = open_plain(path)?;
        let size = file.metadata()?.len();
        if size == 0 {
            return Err(Error::NotNifti("it is empty".into()));
        }
        let mut buffered = BufReader::with_capacity(1 << 18, file);
        let gzip = buffered.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let source = match gzip {
            true => Source::Gzip(Box::new(GzDecoder::new(buffered))),
            false => Source::Plain(buffered),
        };
        Ok(Stream { source, size, gzip, position: 0 })
    }

    /// Unpacks all that follows, which is gzipped in a file that is not.
    pub fn unpack(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.source, Source::Ended(false)) {
            Source::Plain(rest) => {
                self.source = Source::Gzip(Box::new(GzDecoder::new(rest)));
                self.gzip = true;
                Ok(())
            }
            Source::Gzip(_) | Source::Zlib(_) | Source::Ended(_) => {
                Err(Error::Unsupported("its voxels are gzipped within a gzipped file; save it anew".into()))
            }
        }
    }

    /// Unpacks all that follows, which zlib packed in a file that is not packed itself.
    pub fn unpack_zlib(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.source, Source::Ended(false)) {
            Source::Plain(rest) => {
                self.source = Source::Zlib(Box::new(ZlibDecoder::new(rest)));
                self.gzip = true;
                Ok(())
            }
            Source::Gzip(_) | Source::Zlib(_) | Source::Ended(_) => {
                Err(Error::Unsupported("its voxels are packed within a gzipped file; save it anew".into()))
            }
        }
    }

    /// Whether `needed` bytes from the beginning can be there; the error names the numbers.
    pub fn can_hold(&self, needed: Option<u64>, described: &str) -> Result<(), Error> {
        let most = if self.gzip { self.size.saturating_mul(DEFLATE_LIMIT) } else { self.size };
        if needed.is_some_and(|n| n <= most) {
            return Ok(());
        }
        Err(Error::Truncated(match self.gzip {
            true => format!("{described}, {} bytes of gzip can hold at most {most}", self.size),
            false => format!("{described}, the file holds {} bytes in all", self.size),
        }))
    }

    /// Fills `buffer`, which holds `what`.
    pub fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<(), Error> {
        let mut n = 0;
        while n < buffer.len() {
            match self.read(&mut buffer[n..]) {
                Ok(0) => {
                    let wanted = buffer.len();
                    return Err(Error::Truncated(format!(
                        "it ends inside {what}, after {n} of {wanted} bytes"
                    )));
                }
                Ok(k) => n += k,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(e, what)),
            }
        }
        Ok(())
    }

    /// `count` bytes of voxels. Memory grows as they arrive, so that a lying header takes none.
    pub fn voxels(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        let refused =
            || Error::Unsupported(format!("{} MB of voxels do not fit in memory", count / 1_000_000));
        let length = usize::try_from(count).map_err(|_| refused())?;
        let mut raw = Vec::new();
        raw.try_reserve_exact(length).map_err(|_| refused())?;
        let from = self.position;
        while raw.len() < length {
            let at = raw.len();
            raw.resize(length.min(at + PIECE), 0);
            self.fill(&mut raw[at..], "the voxels").map_err(|e| match e {
                Error::Truncated(why) if why.contains("it ends inside") => Error::Truncated(format!(
                    "{count} bytes of voxels are described, the file holds {}",
                    self.position - from
                )),
                e => e,
            })?;
        }
        Ok(raw)
    }

    /// Passes over `n` bytes, which hold `what`.
    pub fn skip(&mut self, n: u64, what: &str) -> Result<(), Error> {
        let copied = io::copy(&mut self.by_ref().take(n), &mut io::sink()).map_err(|e| broken(e, what))?;
        if copied < n {
            return Err(Error::Truncated(format!("it ends inside {what}, after {copied} of {n} bytes")));
        }
        Ok(())
    }

    /// Reads a gzip stream to its end, so that its checksum and length are verified; what follows the image
    /// is noted. `expected` bytes there belong to the format.
    pub fn finish(&mut self, expected: u64, notes: &mut Vec<String>) -> Result<(), Error> {
        let more = match self.gzip {
            true => io::copy(&mut self.by_ref().take(BEHIND + 1), &mut io::sink())
                .map_err(|e| broken(e, "what follows the voxels"))?,
            false => self.size.saturating_sub(self.position),
        };
        if self.gzip && more > BEHIND {
            notes.push("more than 64 MiB follow the voxels; the gzip checksum was not verified".into());
        } else if more > expected {
            notes.push(format!("{} bytes follow the voxels and were ignored", more - expected));
        }
        if matches!(self.source, Source::Ended(true)) {
            notes.push("the gzip file has trailing bytes that were ignored".into());
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = match &mut self.source {
                Source::Plain(r) => r.read(buffer)?,
                Source::Gzip(r) => r.read(buffer)?,
                Source::Zlib(r) => r.read(buffer)?,
                Source::Ended(_) => 0,
            };
            self.position += n as u64;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            // The end of a member; another one may follow it.
            match std::mem::replace(&mut self.source, Source::Ended(false)) {
                Source::Gzip(r) => {
                    let mut rest = r.into_inner();
                    let next = rest.fill_buf()?;
                    if next.starts_with(&[0x1f, 0x8b]) {
                        self.source = Source::Gzip(Box::new(GzDecoder::new(rest)));
                        continue;
                    }
                    self.source = Source::Ended(!next.is_empty());
                }
                ended => self.source = ended,
            }
            return Ok(0);
        }
    }
}

fn broken(e: io::Error, what: &str) -> Error {
    match e.kind() {
        ErrorKind::UnexpectedEof => Error::Truncated(format!("the gzip stream is cut off inside {what}")),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            Error::Truncated(format!("the gzip stream is damaged inside {what} ({e})"))
        }
        _ => Error::Io(e),
    }
}
