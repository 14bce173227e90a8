//! `ampoule run`.

use super::{json, open, photos};
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Reporter;
use ampoule_pipeline::{Batch, CaseResult, Error, Outcome as Case, Settings, collect_inputs, run_cases};
use std::path::{Path, PathBuf};

pub struct Job<'a> {
    pub model: &'a str,
    pub inputs: &'a [PathBuf],
    pub output: &'a Path,
    pub mask: Option<&'a Path>,
    pub fast: bool,
    pub probabilities: bool,
    pub frame: Option<usize>,
    pub top: usize,
    pub folds: &'a [String],
    pub mpp: Option<f64>,
    pub gzip: bool,
}

pub fn run(g: &Global, job: &Job) -> Outcome {
    // What is wrong with the inputs is said before a model is read, as far as any model would mind.
    if let [one] = job.inputs
        && !one.exists()
    {
        let path = one.clone();
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(ampoule_pipeline::Error::Io { path, source }.into());
    }
    let opened = open(g, job.model)?;
    if opened.is_for_photos() {
        return photos::run(g, job, opened);
    }
    if !job.folds.is_empty() || job.mpp.is_some() || job.gzip {
        return Err(Failure::usage("--fold, --mpp and --gzip are for photos, tiles and slides".to_owned()));
    }
    let inputs = collect_inputs(job.inputs)?;
    if inputs.is_empty() {
        let list: Vec<String> = job.inputs.iter().map(|p| p.display().to_string()).collect();
        return Err(Failure::usage(format!("there are no .nii or .nii.gz files in {}", list.join(", "))));
    }
    if job.mask.is_some() && inputs.len() != 1 {
        return Err(Failure::usage("--mask takes one input; several are given".to_owned()));
    }
    if let Some(folder) = job.mask.and_then(Path::parent).filter(|f| !f.as_os_str().is_empty() && !f.is_dir())
    {
        return Err(Failure::usage(format!("{}: there is no such folder for the mask", folder.display())));
    }
    writable(job.output)?;
    let mut model = opened.model(g)?;
    let settings = Settings { fast: job.fast, probability: job.probabilities };
    let isa = ampoule_kernels::choose(g.isa.as_deref()).map_or(String::new(), |i| i.name().to_owned());
    let batch = Batch { settings, frame: job.frame, overwrite: g.overwrite, isa };
    let mut reporter = Reporter::new(g);
    let results = run_cases(&mut model, &inputs, job.output, job.mask, &batch, &mut reporter)?;
    if g.json {
        for r in &results {
            match &r.outcome {
                Case::Done(s) | Case::Kept(s) => json(s)?,
                Case::Failed(e) => json(
                    &serde_json::json!({ "input": r.input.display().to_string(), "error": e.to_string() }),
                )?,
            }
        }
    }
    Ok(code(&results))
}

fn code(results: &[CaseResult]) -> Code {
    let failed: Vec<(&Path, &Error)> = results
        .iter()
        .filter_map(|r| match &r.outcome {
            Case::Failed(e) => Some((r.input.as_path(), e)),
            _ => None,
        })
        .collect();
    code_of(&failed, results.len())
}

/// 0 when all cases are done; when all failed for one kind of reason, that reason's code; else 1.
pub fn code_of(failed: &[(&Path, &Error)], all: usize) -> Code {
    use ampoule_pipeline::Error as E;
    // Whatever keeps the input itself from being read is a bad input.
    let unreadable = |(input, e): &(&Path, &E)| match e {
        E::Io { path, .. } => path == input,
        E::Exists { .. } => false,
        _ => true,
    };
    match failed.len() {
        0 => Code::Done,
        n if n < all => Code::SomeFailed,
        _ if failed.iter().all(|f| f.1.is_memory()) => Code::Memory,
        _ if failed.iter().all(|f| matches!(f.1, E::Exists { .. })) => Code::Usage,
        _ if failed.iter().all(unreadable) => Code::Input,
        _ => Code::SomeFailed,
    }
}

/// Makes the output folder and tries to write there, before any work.
pub fn writable(folder: &Path) -> Result<(), Failure> {
    let fail = |e: std::io::Error| {
        Failure::usage(format!(
            "{}: results cannot be written there ({e}); choose another folder",
            folder.display()
        ))
    };
    if folder.exists() && !folder.is_dir() {
        let what = std::io::Error::other("it is a file");
        return Err(fail(what));
    }
    std::fs::create_dir_all(folder).map_err(fail)?;
    let probe = folder.join(format!(".ampoule-probe-{}", std::process::id()));
    std::fs::write(&probe, b"").map_err(fail)?;
    std::fs::remove_file(&probe).map_err(fail)
}
