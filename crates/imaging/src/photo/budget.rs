//! What reading a photo may take, held against its size before anything is allocated.

use super::error::Error;
use crate::formats::{Family, Format};
use ampoule_files::open_plain;
use std::fs::File;
use std::path::Path;

/// Most pixels along a side; larger images are slides.
const LONGEST: u64 = 32_768;
/// Most bytes that reading one photo may take where the caller names no limit.
pub(super) const BYTES: u64 = 2 << 30;

/// A file of a kind that is read as a photo, and what decoding it may take.
pub(super) fn opened(path: &Path, most: u64) -> Result<(File, Budget), Error> {
    let file = open_plain(path)?;
    let length = file.metadata()?.len();
    let Some(format) = Format::of(path)? else {
        let reason = if length == 0 { "it is empty" } else { "its first bytes are those of no image" };
        return Err(Error::Format { reason: reason.into() });
    };
    // The first image of these may be the whole glass with its label.
    let glass = matches!(format, Format::Ndpi | Format::Scn | Format::PhilipsTiff);
    if glass || matches!(format.family(), Family::Volume) || format.support().is_err() {
        return Err(Error::Unreadable { format });
    }
    Ok((file, Budget { format, file: length, most }))
}

/// What a file's kind, size and the memory allowed say before it is decoded.
pub(super) struct Budget {
    pub format: Format,
    /// Bytes of the file.
    pub file: u64,
    /// Bytes of memory allowed.
    pub most: u64,
}

impl Budget {
    /// The error for a file that is damaged so.
    pub fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::Damaged { format: self.format, reason: reason.into() }
    }

    /// The error for an image that needs so many bytes.
    pub fn refuse(&self, width: u64, height: u64, needed: u64) -> Error {
        Error::Memory { width, height, needed_mib: needed.div_ceil(1 << 20), limit_mib: self.most >> 20 }
    }

    /// The error for a file that is larger than the memory allowed.
    pub fn refuse_file(&self) -> Error {
        let file_mib = self.file.div_ceil(1 << 20);
        Error::FileMemory { file_mib, needed_mib: file_mib, limit_mib: self.most >> 20 }
    }

    /// Whether an image of this size may be decoded, taking `needed` bytes in addition to the file.
    pub fn allow(&self, width: u64, height: u64, needed: u64) -> Result<(), Error> {
        if width == 0 || height == 0 {
            return Err(Error::Kind("an image without pixels (a width or height of 0); save it again"));
        }
        let needed = needed.saturating_add(self.file);
        if needed > self.most {
            return Err(self.refuse(width, height, needed));
        }
        if width.max(height) > LONGEST {
            return Err(Error::Kind(
                "more than 32768 pixels along a side; save it as a tiled, pyramidal TIFF and run it as a slide",
            ));
        }
        Ok(())
    }
}
