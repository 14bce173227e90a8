//! What long work found so far, one JSON object a line, so that a killed run resumes.

use ampoule_files::{open_plain, write_atomic};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Most bytes of a journal; more is another file.
const MOST: u64 = 256 << 20;

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An entry that cannot be written as JSON.
    #[error("{path}: an entry cannot be written: {source}", path = path.display())]
    Entry {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A journal of other work, or no journal at all.
    #[error(
        "{path}: it is the journal of another run, of which models, cases, choices or this program have changed since, or \
         no journal at all; choose another output, or begin anew with --overwrite",
        path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A line that does not read, and was not cut by a kill.
    #[error(
        "{path}: line {line} is damaged; begin anew with --overwrite, or remove that line and those after it",
        path = path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// Entries of this run and of the one that it continues.
pub struct Journal<E> {
    path: Option<PathBuf>,
    /// Whether the file holds what `entries` does. It is made with the first finding, so that work that is refused
    /// leaves none.
    begun: bool,
    /// All entries, the first included.
    pub entries: Vec<E>,
}

impl<E> Default for Journal<E> {
    fn default() -> Self {
        Journal { path: None, begun: false, entries: Vec::new() }
    }
}

impl<E: Serialize + DeserializeOwned> Journal<E> {
    /// Opens the journal at `path`, or begins it with `first`, which says what the entries are of. A journal that
    /// begins otherwise or does not read is an error; with `overwrite` it is replaced. The last line of a killed run
    /// may be cut: it is dropped.
    pub fn open(path: &Path, first: E, overwrite: bool) -> Result<Self, JournalError> {
        let failed = |source: io::Error| JournalError::Io { path: path.into(), source };
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(failed(e)),
        };
        let begin = line(path, &first)?;
        let (entries, whole) = match entries(path, &bytes, &begin) {
            Ok(found) => found,
            Err(e) if !overwrite => return Err(e),
            Err(_) => (Vec::new(), 0),
        };
        let mut journal = Journal { path: Some(path.into()), begun: whole > 0, entries };
        if whole == 0 {
            journal.entries.push(first);
        } else if whole < bytes.len() {
            write_atomic(path, |out| out.write_all(&bytes[..whole])).map_err(failed)?;
        }
        Ok(journal)
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: E) -> Result<(), JournalError> {
        if let Some(path) = &self.path {
            let mut text = String::new();
            let unwritten = if self.begun { &[] } else { &self.entries[..] };
            for entry in unwritten.iter().chain([&entry]) {
                text += &line(path, entry)?;
            }
            let failed = |source: io::Error| JournalError::Io { path: path.clone(), source };
            let written = match self.begun {
                true => {
                    OpenOptions::new().append(true).open(path).and_then(|mut f| f.write_all(text.as_bytes()))
                }
                false => write_atomic(path, |out| out.write_all(text.as_bytes())),
            };
            written.map_err(failed)?;
            self.begun = true;
        }
        self.entries.push(entry);
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_plain(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST {
        true => Err(io::Error::other("it is larger than 256 MiB and no journal; choose another output")),
        false => Ok(bytes),
    }
}

fn line<E: Serialize>(path: &Path, entry: &E) -> Result<String, JournalError> {
    let text = serde_json::to_string(entry);
    Ok(text.map_err(|source| JournalError::Entry { path: path.into(), source })? + "\n")
}

/// The entries of a journal that begins with the line `begin`, and the bytes of its whole lines.
fn entries<E: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    begin: &str,
) -> Result<(Vec<E>, usize), JournalError> {
    let mut entries = Vec::new();
    let mut whole = 0;
    for (i, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        // A first line that was cut is the beginning of this one.
        let own =
            if line.ends_with(b"\n") { line == begin.as_bytes() } else { begin.as_bytes().starts_with(line) };
        if i == 0 && !own {
            return Err(JournalError::Foreign { path: path.into() });
        }
        if !line.ends_with(b"\n") {
            break;
        }
        let entry = serde_json::from_slice(line);
        entries.push(entry.map_err(|_| JournalError::Damaged { path: path.into(), line: i + 1 })?);
        whole += line.len();
    }
    Ok((entries, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, first: &str, overwrite: bool) -> Result<Vec<String>, JournalError> {
        Ok(Journal::open(path, first.to_owned(), overwrite)?.entries)
    }

    #[test]
    fn a_run_resumes_at_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, "run 1".to_owned(), false).unwrap();
        journal.add("found".to_owned()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "\"run 1\"\n\"found\"\n");
        assert_eq!(open(&path, "run 1", false).unwrap(), ["run 1", "found"]);
        // Killed at any byte: never an error, and what comes next stands on a line of its own.
        for cut in 0..text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let mut journal = Journal::open(&path, "run 1".to_owned(), false).unwrap();
            journal.add("next".to_owned()).unwrap();
            let again = open(&path, "run 1", false).unwrap();
            assert_eq!((again[0].as_str(), again.last().unwrap().as_str()), ("run 1", "next"), "{cut}");
        }
    }

    #[test]
    fn numbers_are_read_back_to_the_last_bit() {
        // A run that goes on from them must end like one that was not disturbed.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let numbers = [0.946_318_982_645_267_8, 0.003_041_848_509_214_928_2, 1e-310, f64::MAX];
        let mut journal = Journal::open(&path, 0.0, false).unwrap();
        numbers.iter().for_each(|n| journal.add(*n).unwrap());
        let again: Vec<f64> = Journal::open(&path, 0.0, false).unwrap().entries;
        assert_eq!(again[1..].iter().map(|n| n.to_bits()).collect::<Vec<_>>(), numbers.map(f64::to_bits));
    }

    #[test]
    fn what_is_of_another_run_or_damaged_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for (text, foreign) in [
            ("\"run 2\"\n\"found\"\n", true),
            ("my notes\n", true),
            ("my n", true),
            ("\"run 1\"\n\"fou\n\"x\"\n", false),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = open(&path, "run 1", false).unwrap_err();
            match foreign {
                true => assert!(matches!(error, JournalError::Foreign { .. }), "{text}: {error}"),
                false => assert!(matches!(error, JournalError::Damaged { line: 2, .. }), "{text}: {error}"),
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(open(&path, "run 1", true).unwrap(), ["run 1"]);
            // What stood there is replaced by the first finding.
            let mut journal = Journal::open(&path, "run 1".to_owned(), true).unwrap();
            journal.add("x".to_owned()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"run 1\"\n\"x\"\n");
        }
        // Not UTF-8, and a folder.
        std::fs::write(&path, b"\xff\xfe\n").unwrap();
        assert!(matches!(open(&path, "run 1", false), Err(JournalError::Foreign { .. })));
        assert!(matches!(open(folder.path(), "run 1", true), Err(JournalError::Io { .. })));
    }
}
