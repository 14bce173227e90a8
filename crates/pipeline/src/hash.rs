//! Hashes of files and texts.

use crate::{Error, Result};
use ampoule_dicom::Place;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// Hexadecimal SHA-256 of bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hexadecimal SHA-256 of a plain file.
pub fn sha256_file(path: &Path) -> Result<String> {
    crate::read::plain(path)?;
    let mut file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Hexadecimal SHA-256 of the instances of a DICOM series, one after another, each behind its length.
pub(crate) fn sha256_series(places: &[Place]) -> Result<String> {
    let mut hash = Sha256::new();
    let shown = || places.first().map(Place::shown).unwrap_or_default();
    ampoule_dicom::blocks(places, |block| hash.update(block))
        .map_err(|source| Error::Dicom { path: shown(), source })?;
    Ok(hex(&hash.finalize()))
}

/// What work depends on, gathered part by part: work is taken up again only where all of it is the same.
///
/// Every part is hashed with its name and length, so that two lists of parts never run together to the same hash.
#[derive(Clone)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of work of a kind by this version of the program.
    pub fn new(kind: &str) -> Fingerprint {
        let mut f = Fingerprint(Sha256::new());
        f.text("kind", kind).text("program", env!("CARGO_PKG_VERSION"));
        f
    }

    /// Adds a text: options, a recipe, the hash of a model.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        for part in [name, value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
        self
    }

    /// Adds a value by all of its fields.
    pub fn value(&mut self, name: &str, value: &impl std::fmt::Debug) -> &mut Self {
        self.text(name, &format!("{value:?}"))
    }

    /// Adds the content of a file.
    pub fn file(&mut self, name: &str, path: &Path) -> Result<&mut Self> {
        let hash = sha256_file(path)?;
        Ok(self.text(name, &hash))
    }

    /// Adds the content of a file, or of all files in a folder with their places in it.
    pub fn tree(&mut self, name: &str, path: &Path) -> Result<&mut Self> {
        if !path.is_dir() {
            return self.file(name, path);
        }
        let mut entries: Vec<_> = std::fs::read_dir(path)
            .map_err(Error::io(path))?
            .map(|e| e.map(|e| e.path()).map_err(Error::io(path)))
            .collect::<Result<_>>()?;
        entries.sort();
        for entry in entries {
            let own = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if own.starts_with('.') {
                continue;
            }
            self.text(name, &own);
            self.tree(name, &entry)?;
        }
        Ok(self)
    }

    /// The hash of all parts, in hexadecimal.
    pub fn hex(&self) -> String {
        hex(&self.0.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_change_with_every_part() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let of = |model: &str, recipe: &str| {
            let mut f = Fingerprint::new("run");
            f.text("model", model).text("recipe", recipe).tree("cases", dir.path()).unwrap();
            f.hex()
        };
        let first = of("ab", "c");
        assert_eq!(first, of("ab", "c"));
        assert_ne!(first, of("a", "bc"));
        std::fs::rename(&file, dir.path().join("b")).unwrap();
        let renamed = of("ab", "c");
        assert_ne!(first, renamed);
        std::fs::write(dir.path().join("b"), "2").unwrap();
        assert_ne!(renamed, of("ab", "c"));
    }
}
