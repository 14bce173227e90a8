//! The file with a machine's constants for the choice of algorithms: `doctor --calibrate` writes it, and whatever runs
//! networks installs it first, so that all of them choose alike.

use ampoule_kernels::costs::{self, OPERANDS};
use ampoule_kernels::gemm::Operand;
use ampoule_kernels::{Costs, FEATURE_SETS, Features};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Version of the file.
const VERSION: u32 = 1;

/// Bytes that are read: more than any such file has.
const MOST: u64 = 1 << 20;

/// What the file holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// The program that measured.
    generated_by: String,
    /// The CPU that it measured.
    cpu: String,
    /// Constants by feature set.
    sets: BTreeMap<String, Set>,
}

/// Constants of one feature set, as [`Costs`] has them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    /// Multiply-accumulates per nanosecond, by what is multiplied.
    rates: BTreeMap<String, f64>,
    memory_ns_per_byte: f64,
    transform_4_ns: [f64; 2],
    transform_2_ns: [f64; 2],
    transform_int8_ns: [f64; 2],
}

fn operand(a: Operand) -> &'static str {
    match a {
        Operand::F32 => "f32",
        Operand::Bf16 => "bf16",
        Operand::U8 => "u8",
        Operand::I16 => "i16",
    }
}

impl Set {
    fn of(costs: &Costs) -> Set {
        let rates = OPERANDS.iter().zip(costs.rates).map(|(a, rate)| (operand(*a).to_owned(), rate));
        Set {
            rates: rates.collect(),
            memory_ns_per_byte: costs.memory,
            transform_4_ns: costs.transform_4,
            transform_2_ns: costs.transform_2,
            transform_int8_ns: costs.transform_int8,
        }
    }

    fn costs(&self) -> Option<Costs> {
        let mut rates = [0.0; OPERANDS.len()];
        for (rate, a) in rates.iter_mut().zip(OPERANDS) {
            *rate = *self.rates.get(operand(a))?;
        }
        (self.rates.len() == OPERANDS.len()).then_some(Costs {
            rates,
            memory: self.memory_ns_per_byte,
            transform_4: self.transform_4_ns,
            transform_2: self.transform_2_ns,
            transform_int8: self.transform_int8_ns,
        })
    }
}

fn cpu() -> String {
    crate::cpu_model().unwrap_or_default()
}

/// What can go wrong with such a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// It cannot be written.
    #[error("{path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be used.
    #[error("{path}: {reason}; run `ampoule doctor --calibrate` again, or remove it", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Writes measured constants.
pub fn write_calibration(path: &Path, measured: &[(Features, Costs)]) -> Result<(), CalibrationError> {
    let sets = measured.iter().map(|(isa, costs)| (isa.name().to_owned(), Set::of(costs))).collect();
    let generated_by = format!("ampoule {}", env!("CARGO_PKG_VERSION"));
    let file = File { version: VERSION, generated_by, cpu: cpu(), sets };
    let fail = |source: std::io::Error| CalibrationError::Write { path: path.into(), source };
    let text = serde_json::to_string_pretty(&file).map_err(|e| fail(e.into()))? + "\n";
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    ampoule_files::write_atomic(path, |out| out.write_all(text.as_bytes())).map_err(fail)
}

/// The start of the hash of the file in force.
static IN_FORCE: OnceLock<Option<String>> = OnceLock::new();

/// Installs the constants of the file at `path` for this process, where it is there and of this CPU.
pub fn install_calibration(path: &Path) -> Result<(), CalibrationError> {
    if !path.exists() {
        return Ok(());
    }
    let id = match read(path)? {
        None => None,
        Some((measured, hash)) => {
            costs::install(measured).map_err(|e| unusable(path, &e.to_string()))?;
            Some(hash)
        }
    };
    let _ = IN_FORCE.set(id);
    Ok(())
}

/// What results were computed with beside the model and the CPU features: the start of the file's hash; `None` for the
/// shipped constants.
pub fn calibration() -> Option<String> {
    IN_FORCE.get().cloned().flatten()
}

fn unusable(path: &Path, reason: &str) -> CalibrationError {
    CalibrationError::Unusable { path: path.into(), reason: reason.into() }
}

/// Constants by feature set, and the start of their file's hash.
type Constants = (Vec<(Features, Costs)>, String);

/// The constants of a file; `None` where it is of another CPU.
fn read(path: &Path) -> Result<Option<Constants>, CalibrationError> {
    let mut text = String::new();
    let opened = ampoule_files::open_plain(path).map(|f| f.take(MOST));
    let filled = opened.and_then(|mut f| f.read_to_string(&mut text));
    filled.map_err(|e| unusable(path, &e.to_string()))?;
    let file: File = serde_json::from_str(&text).map_err(|e| unusable(path, &e.to_string()))?;
    if file.version != VERSION {
        return Err(unusable(path, &format!("it is of version {}, not {VERSION}", file.version)));
    }
    if file.cpu != cpu() {
        return Ok(None);
    }
    let mut measured = Vec::new();
    for (name, set) in &file.sets {
        let known = FEATURE_SETS.iter().find(|s| s.name == name);
        let costs = set.costs();
        let (Some(known), Some(costs)) = (known, costs) else {
            return Err(unusable(path, &format!("`{name}` is no feature set, or lacks constants")));
        };
        measured.push((known.features, costs));
    }
    let hash = crate::sha256_hex(text.as_bytes());
    Ok(Some((measured, hash.chars().take(12).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/calibration.json");
        let costs = Costs { memory: 0.125, ..Costs::shipped(Features::NONE) };
        write_calibration(&path, &[(Features::NONE, costs)]).unwrap();
        let (read_back, hash) = read(&path).unwrap().unwrap();
        assert_eq!((read_back, hash.len()), (vec![(Features::NONE, costs)], 12));
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration.json");
        write_calibration(&path, &[(Features::NONE, Costs::shipped(Features::NONE))]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, word) in [
            ("\"version\": 1", "\"version\": 9", "version 9"),
            ("\"scalar\"", "\"mmx\"", "mmx"),
            ("\"bf16\"", "\"bf17\"", "lacks constants"),
            ("{", "", "expected"),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let told = read(&path).unwrap_err().to_string();
            assert!(told.contains(word) && told.contains("--calibrate"), "{told}");
        }
        let other = text.replace(&format!("\"cpu\": \"{}\"", cpu()), "\"cpu\": \"of a friend\"");
        std::fs::write(&path, other).unwrap();
        assert!(read(&path).unwrap().is_none());
    }
}
