//! Writing.

use super::Nifti;
use ampoule_files::write_atomic;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};
use std::path::Path;

impl Nifti {
    /// Writes the image; gzipped when the name ends in `.gz`. Little-endian; the header, both
    /// forms and the extensions are those of the image.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let gzip = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        write_atomic(path, |out| {
            if !gzip {
                return self.write_to(out);
            }
            let mut encoder = GzEncoder::new(out, Compression::new(4));
            self.write_to(&mut encoder)?;
            encoder.finish().map(|_| ())
        })
    }

    /// Writes the image as a NIfTI file that is not packed.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut header = self.header.clone();
        let extensions: &[u8] = if self.extensions.len() >= 4 { &self.extensions } else { &[0; 4] };
        // Voxels start at a multiple of 16 behind header and extensions, as the standard asks.
        let end = header.bytes().len() + extensions.len();
        let offset = end.next_multiple_of(16);
        header.set_data_offset(offset as u64);
        out.write_all(header.bytes())?;
        out.write_all(extensions)?;
        out.write_all(&vec![0; offset - end])?;
        out.write_all(&self.raw)
    }
}
