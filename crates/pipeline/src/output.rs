//! The files of a case, and the sidecar that resume trusts.

use crate::{Error, Result};
use ampoule_imaging::nifti::write_atomic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Hexadecimal SHA-256 of bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hexadecimal SHA-256 of a file.
pub fn sha256_file(path: &Path) -> Result<String> {
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

/// Where the files of a case go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFiles {
    /// The image outside the brain set to zero.
    pub brain: PathBuf,
    /// The mask.
    pub mask: PathBuf,
    /// The foreground probability, written when asked for.
    pub probability: PathBuf,
    /// The quality-control picture.
    pub picture: PathBuf,
    /// The sidecar, written last.
    pub sidecar: PathBuf,
    /// Says that files without a sidecar are ours, from a run that was interrupted.
    pub running: PathBuf,
}

/// The name of a file without `.nii` or `.nii.gz`, and that ending (`.nii.gz` where it has another).
pub(crate) fn split_name(path: &Path) -> (String, &'static str) {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    for ending in [".nii.gz", ".nii"] {
        if lower.ends_with(ending) && name.len() > ending.len() {
            return (name[..name.len() - ending.len()].to_owned(), ending);
        }
    }
    (name, ".nii.gz")
}

impl CaseFiles {
    /// The files for `input` in `folder`; `mask` overrides the mask's path.
    pub fn new(input: &Path, folder: &Path, mask: Option<&Path>) -> Self {
        let (stem, ending) = split_name(input);
        let at = |suffix: &str| folder.join(format!("{stem}{suffix}"));
        CaseFiles {
            brain: at(&format!("_bet{ending}")),
            mask: mask.map_or_else(|| at(&format!("_mask{ending}")), Path::to_owned),
            probability: at(&format!("_prob{ending}")),
            picture: at("_qc.png"),
            sidecar: at("_bet.json"),
            running: folder.join(format!(".{stem}.ampoule-running")),
        }
    }
}

impl CaseFiles {
    /// The path of a kind of output.
    fn of_kind(&self, kind: &str) -> Option<&PathBuf> {
        match kind {
            "brain" => Some(&self.brain),
            "mask" => Some(&self.mask),
            "probability" => Some(&self.probability),
            "picture" => Some(&self.picture),
            _ => None,
        }
    }

    /// Removes temporary files that a killed run left beside the outputs.
    pub(crate) fn remove_temporaries(&self) {
        for path in [&self.brain, &self.mask, &self.probability, &self.picture, &self.sidecar] {
            remove_temporaries(path);
        }
    }
}

/// Removes temporary files that a killed run left for `path`.
pub(crate) fn remove_temporaries(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let prefix = format!(".{}.tmp-", name.to_string_lossy());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A record in JSON; `None` when it is absent or damaged.
pub(crate) fn read_record<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes a record in JSON.
pub(crate) fn write_record(path: &Path, record: &impl Serialize) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(record).map_err(std::io::Error::other)?;
    write_atomic(path, |out| out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")))
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// What it is: `brain`, `mask`, `probability` or `picture`.
    pub kind: String,
    /// Name, without folder.
    pub file: String,
    /// Hash.
    pub sha256: String,
}

/// What is recorded beside the outputs of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Program and version.
    pub generated_by: String,
    /// Name of the recipe.
    pub model: String,
    /// Hash of the model file.
    pub model_sha256: String,
    /// Hash of the recipe and of the settings that change results.
    pub settings_sha256: String,
    /// Whether `--fast` was given.
    pub fast: bool,
    /// Name of the input, without folder.
    pub input: String,
    /// Hash of the input file.
    pub input_sha256: String,
    /// Voxels along x, y, z.
    pub shape: [usize; 3],
    /// Voxel size in mm.
    pub spacing_mm: [f64; 3],
    /// Orientation of the voxel axes, for example `LAS`.
    pub orientation: String,
    /// Files written.
    pub outputs: Vec<Written>,
    /// Voxels in the mask.
    pub mask_voxels: u64,
    /// Volume of the mask in millilitres.
    pub mask_ml: f64,
    /// How values were stored and multiplied.
    #[serde(default)]
    pub precision: String,
    /// Instruction-set tier.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// CPU.
    pub cpu: String,
    /// Milliseconds per kind of work.
    pub timings_ms: serde_json::Map<String, serde_json::Value>,
    /// Peak resident memory of the process so far, MiB.
    pub peak_rss_mib: u64,
    /// Things a user should know.
    pub warnings: Vec<String>,
}

impl Sidecar {
    /// Reads a sidecar; `None` when it is absent or damaged.
    pub fn read(path: &Path) -> Option<Self> {
        read_record(path)
    }

    /// Writes the sidecar.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        write_record(path, self)
    }

    /// Whether this describes what would be made again, and files are missing but none is changed.
    pub(crate) fn only_lost_files(
        &self,
        input: &str,
        model: &str,
        settings: &str,
        files: &CaseFiles,
    ) -> bool {
        let same =
            self.input_sha256 == input && self.model_sha256 == model && self.settings_sha256 == settings;
        let kept = |w: &Written| {
            files.of_kind(&w.kind).is_some_and(|p| !p.exists() || sha256_file(p).is_ok_and(|h| h == w.sha256))
        };
        same && self.outputs.iter().all(kept)
    }

    /// Whether this describes what would be made again, and every file still has its hash.
    pub(crate) fn still_valid(
        &self,
        input: &str,
        model: &str,
        settings: &str,
        files: &CaseFiles,
        probability: bool,
    ) -> bool {
        let same =
            self.input_sha256 == input && self.model_sha256 == model && self.settings_sha256 == settings;
        let intact =
            |w: &Written| files.of_kind(&w.kind).is_some_and(|p| sha256_file(p).is_ok_and(|h| h == w.sha256));
        let enough =
            self.outputs.len() >= 3 && (!probability || self.outputs.iter().any(|w| w.kind == "probability"));
        same && enough && self.outputs.iter().all(intact)
    }
}
