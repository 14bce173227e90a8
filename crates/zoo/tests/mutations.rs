//! Checkpoints and programs that were changed byte by byte: read or refused, in bounded time and memory, without a panic.
//!
//! `AMPOULE_MUTATIONS` says how many changes of each file are tried (default 60). What fails is written into the system's folder
//! of temporary files, and named.

use ampoule_torch::{Archive, Budget, Content, content, from_bytes, graph};
use ampoule_zoo::keras;
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What one read may ask for at a time.
const MOST: u64 = 128 << 20;

/// What all reads together may have held at most: a few askings, and the test itself.
const PEAK_MIB: u64 = 900;

/// What a read of these small files may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn beyond(bytes: u64) -> Option<[u64; 2]> {
    (bytes > MOST).then_some([bytes >> 20, MOST >> 20])
}

/// Numbers without end, the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n.max(1)
    }

    /// Changes a file in one of the ways that damage and malice have.
    fn change(&mut self, data: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        let at = self.below(data.len());
        let lies: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];
        match self.below(8) {
            0 | 1 => data[at] ^= 1 << self.below(8),
            2 => data[at] = self.below(256) as u8,
            3 => data.truncate(at),
            4 => {
                let (width, lie) = ([2, 4, 8][self.below(3)], lies[self.below(8)].to_le_bytes());
                let end = (at + width).min(data.len());
                data[at..end].copy_from_slice(&lie[..end - at]);
            }
            5 => {
                let end = (at + 1 + self.below(64)).min(data.len());
                let copy = data[at..end].to_vec();
                let to = self.below(data.len());
                data.splice(to..to, copy);
            }
            6 => {
                let end = (at + 1 + self.below(64)).min(data.len());
                data.drain(at..end);
            }
            _ => {
                // A number of a text becomes another one.
                let Some(i) = data[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else { return };
                let n = data[i..].iter().take_while(|b| b.is_ascii_digit()).count();
                let words: [&[u8]; 5] = [b"-1", b"0", b"99999999999999999999", b"1099511627776", b"3"];
                data.splice(i..i + n, words[self.below(5)].iter().copied());
            }
        }
    }
}

fn tries() -> usize {
    std::env::var("AMPOULE_MUTATIONS").ok().and_then(|v| v.parse().ok()).unwrap_or(60)
}

fn golden(krate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("tests/golden")
}

/// Golden files with this ending and at most so many bytes, the smallest first.
fn files(folder: &Path, ending: &str, most: u64) -> Vec<PathBuf> {
    let mut all: Vec<(u64, PathBuf)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == ending))
        .map(|p| (p.metadata().unwrap().len(), p))
        .filter(|(n, _)| *n <= most)
        .collect();
    all.sort();
    all.into_iter().map(|(_, p)| p).collect()
}

/// The entries of an archive.
fn entries(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = Archive::new(Cursor::new(data), Budget::default()).unwrap();
    let names: Vec<String> = archive.names().to_vec();
    names.into_iter().map(|n| (n.clone(), archive.read(&n).unwrap())).collect()
}

/// An archive of entries, with checksums that fit.
fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, data) in entries {
        zip.start_file(name.as_str(), stored).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Largest resident memory so far, where the system tells it.
fn peak_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) >> 10
}

/// Reads a file that was changed, and says what is wrong with how that went.
fn tried(read: fn(&[u8]) -> bool, data: &[u8]) -> Result<(), String> {
    let (begun, before) = (Instant::now(), peak_mib());
    if catch_unwind(AssertUnwindSafe(|| read(data))).is_err() {
        return Err("it panics".into());
    }
    match (begun.elapsed(), peak_mib()) {
        (t, _) if t > PATIENCE => Err(format!("it takes {:.0} s", t.as_secs_f64())),
        (_, peak) if peak > PEAK_MIB => Err(format!("memory grows from {before} to {peak} MiB")),
        _ => Ok(()),
    }
}

/// Tries changes of a file: of its bytes, and where it is an archive of its entries.
fn attack(path: &Path, read: fn(&[u8]) -> bool) -> Vec<String> {
    let whole = std::fs::read(path).unwrap();
    let parts = if whole.starts_with(b"PK") { entries(&whole) } else { Vec::new() };
    let mut failed = Vec::new();
    for n in 0..tries() {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (n as u64 + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let rounds = 1 + numbers.below(3);
        let data = if parts.is_empty() || n % 4 == 0 {
            let mut data = whole.clone();
            (0..rounds).for_each(|_| numbers.change(&mut data));
            data
        } else {
            let mut parts = parts.clone();
            let i = numbers.below(parts.len());
            (0..rounds).for_each(|_| numbers.change(&mut parts[i].1));
            archive(&parts)
        };
        if let Err(reason) = tried(read, &data) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let kept = std::env::temp_dir().join(format!("mutation-{n}-{name}"));
            std::fs::write(&kept, &data).unwrap();
            failed.push(format!("change {n} of {name}: {reason}; see {}", kept.display()));
        }
    }
    failed
}

fn all(folder: &Path, ending: &str, most: u64, read: fn(&[u8]) -> bool) {
    let files = files(folder, ending, most);
    assert!(!files.is_empty(), "no {ending} in {}", folder.display());
    assert!(files.iter().any(|p| read(&std::fs::read(p).unwrap())), "none of them is read as it is");
    let failed: Vec<String> = files.iter().flat_map(|p| attack(p, read)).collect();
    println!("{ending}: {} files, {} changes each, peak {} MiB", files.len(), tries(), peak_mib());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Whether a program is read, or whatever else an archive holds.
fn program(data: &[u8]) -> bool {
    let budget = Budget::of(beyond);
    match content(data, budget) {
        Ok(Content::Program) => graph(data, &[], budget).is_ok(),
        Ok(Content::Weights | Content::Other) | Err(_) => from_bytes(data, budget).is_ok(),
    }
}

fn weights(data: &[u8]) -> bool {
    keras::read(data).is_ok()
}

fn checkpoint(data: &[u8]) -> bool {
    from_bytes(data, Budget::of(beyond)).is_ok()
}

#[test]
fn archives_of_keras_hold_what_h5py_reads() {
    for path in files(&golden("zoo").join("keras"), "keras", u64::MAX) {
        let read = keras::read(&std::fs::read(&path).unwrap());
        // Keras packs nothing.
        if path.file_stem().is_some_and(|n| n == "packed") {
            assert!(read.is_err_and(|e| e.to_string().contains("filter")), "{path:?}");
            continue;
        }
        let mut found = read.unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let wanted: std::collections::BTreeMap<String, Vec<f32>> =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        for (name, values) in wanted {
            let dims = found.dims(&name).unwrap_or_else(|| panic!("{path:?}: no {name}")).to_vec();
            assert_eq!(found.take(&name, &dims).unwrap().to_f32().unwrap(), values, "{path:?}: {name}");
        }
        found.finish().unwrap();
    }
}

#[test]
fn changed_archives_of_keras() {
    all(&golden("zoo").join("keras"), "keras", u64::MAX, weights);
}

#[test]
fn changed_programs_of_torchscript() {
    all(&golden("torch"), "ts", 30_000, program);
}

#[test]
fn changed_programs_of_torch_export() {
    all(&golden("torch"), "pt2", 16_000, program);
}

#[test]
fn changed_arrays_of_numpy() {
    all(&golden("torch"), "npz", 12_000, checkpoint);
}

#[test]
fn changed_safetensors() {
    let d = tempfile::tempdir().unwrap();
    let head = br#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]},"__metadata__":{"format":"pt"}}"#;
    let file = [&(head.len() as u64).to_le_bytes()[..], head, &[63; 32]].concat();
    std::fs::write(d.path().join("x.safetensors"), file).unwrap();
    all(d.path(), "safetensors", u64::MAX, checkpoint);
}
