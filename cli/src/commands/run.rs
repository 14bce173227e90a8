//! `ampoule run`.

mod audit;

use super::{json, open, tier_name};
use crate::args::{Global, Run};
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Reporter;
use ampoule_imaging::formats::{WRITTEN, written_ending};
use ampoule_pipeline::recipe::{Kind, Task};
use ampoule_pipeline::{
    Batch, Case, Collected, Error, Model, Outcome as Became, OutputOptions, Recipe, SegmentationKind,
    SeriesChoice, Settings, Summary, collect_series, run_cases,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn run(g: &Global, a: &Run, given: &BTreeSet<String>) -> Outcome {
    // What is wrong with the inputs is said before a model is read, as far as any model would mind.
    if let [one] = &a.inputs[..]
        && !one.to_string_lossy().contains("://")
        && !ampoule_pipeline::input_exists(one)
    {
        let path = one.clone();
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file or folder");
        return Err(Error::Io { path, source }.into());
    }
    let opened = open(g, &a.model)?;
    let recipe = opened.recipe()?;
    in_vain(&recipe, given)?;
    let (folder, own) = target(a)?;
    let choice = SeriesChoice { only: a.series.clone(), channels: a.channel.clone() };
    let mut found = collect_series(&recipe, &a.inputs, Some(&folder), &choice)?;
    let segmentation = match a.seg.as_deref() {
        Some(kind) if wants_segmentation(&recipe, &found.cases)? => Some(match kind {
            "labelmap" => SegmentationKind::Labelmap,
            _ => SegmentationKind::Binary,
        }),
        Some(_) | None => None,
    };
    if a.sc || a.sr {
        beside_dicom(&found.cases, if a.sc { "--sc" } else { "--sr" })?;
    }
    if found.cases.is_empty() && found.skipped.is_empty() {
        let list: Vec<String> = a.inputs.iter().map(|p| p.display().to_string()).collect();
        let notes = found.notes.iter().map(|n| format!("; {n}")).collect::<String>();
        let message = format!("there are no {} in {}{notes}", kind(&recipe), list.join(", "));
        return Err(Failure::usage(message));
    }
    if own.is_some() && found.cases.len() + found.skipped.len() != 1 {
        let n = found.cases.len();
        return Err(Failure::usage(format!("one file of labels takes one case; {n} are given")));
    }
    if let (Some(file), [case]) = (&own, &mut found.cases[..]) {
        takes(&recipe, case, file)?;
        // Whatever else is written next to it is named as it is.
        if a.mask.is_none() {
            case.name = Case::of_file(file).name;
        }
    }
    writable(&folder)?;
    let mut model = opened.model(g)?;
    if !a.labels.is_empty() {
        model.keep_labels(&a.labels).map_err(|e| Failure::usage(format!("--labels: {e}")))?;
    }
    for fold in &a.fold {
        let other = open(g, fold)?;
        model.join(other.graph, &other.sha256)?;
    }
    let batch = Batch {
        settings: Settings { fast: a.fast, scores: a.save_probabilities, heat: a.heat },
        frame: a.frame,
        mpp: a.mpp,
        gzip: a.gzip,
        overwrite: g.overwrite,
        shard: a.shard,
        outputs: OutputOptions {
            probabilities: a.save_probabilities,
            heat: a.heat,
            segmentation,
            capture: a.sc,
            report: a.sr,
            keep_header: a.keep_header,
            redact_paths: a.redact_paths,
            ending: a.format.as_deref().and_then(|f| written_ending(&format!(".{f}"))),
            alone: own.is_some() && a.mask.is_none(),
            labels: own,
        },
        isa: tier_name(g)?,
        calibration: crate::calibration::in_force(),
    };
    if a.audit.is_some() && found.cases.iter().any(|c| ampoule_pipeline::is_slide(&recipe, c)) {
        return Err(Failure::usage("--audit is for volumes, photos and tiles; a slide is not run twice"));
    }
    let mut auditing = audit::open_audit(g, a, &folder)?;
    let audited = if auditing.is_some() { found.cases.clone() } else { Vec::new() };
    let code = all(g, &mut model, found, &folder, &batch, a.top)?;
    if let Some(auditing) = &mut auditing {
        auditing.run(g, &audited)?;
    }
    Ok(code)
}

/// Refuses options that do nothing for what the recipe takes and gives.
pub(super) fn in_vain(recipe: &Recipe, given: &BTreeSet<String>) -> Result<(), Failure> {
    let (volumes, slides) = (recipe.kind() == Kind::Volume, recipe.slide.is_some());
    let classes = recipe.model.task == Task::Classification;
    let needs = [
        ("frame", volumes, "is for volumes; the recipe takes images"),
        ("series", volumes, "is for volumes; the recipe takes images"),
        ("channel", volumes, "is for volumes; the recipe takes images"),
        ("seg", volumes && !recipe.is_image_level(), "is for segmentations of volumes"),
        ("sc", volumes && !recipe.is_image_level(), "is for segmentations of volumes"),
        ("sr", volumes && !recipe.is_image_level(), "is for segmentations of volumes"),
        ("keep-header", volumes, "is for volumes; the recipe takes images"),
        ("mpp", slides, "is for slides; the recipe has no [slide]"),
        ("gzip", slides, "is for outlines of slides; the recipe has no [slide]"),
        ("heat", classes && !volumes, "is for classes of photos and tiles"),
        ("top", classes, "is for classes; the recipe's task is another"),
    ];
    match needs.iter().find(|(option, holds, _)| given.contains(*option) && !holds) {
        Some((option, _, why)) => Err(Failure::usage(format!("--{option} {why}"))),
        None => Ok(()),
    }
}

/// Whether a Segmentation object can be written of any case; refuses to be asked for none.
fn wants_segmentation(recipe: &Recipe, cases: &[Case]) -> Result<bool, Failure> {
    let fits = recipe.foreground().count() > 0 && cases.iter().any(|c| !c.series.is_empty());
    match fits || cases.is_empty() {
        true => Ok(fits),
        false => Err(Failure::usage("--seg is for DICOM series; none of the cases is one")),
    }
}

/// Refuses objects beside DICOM series where no case is one.
fn beside_dicom(cases: &[Case], option: &str) -> Result<(), Failure> {
    match cases.is_empty() || cases.iter().any(|c| !c.series.is_empty()) {
        true => Ok(()),
        false => Err(Failure::usage(format!("{option} is for DICOM series; none of the cases is one"))),
    }
}

/// What cases of a recipe are, for people.
pub(super) fn kind(recipe: &Recipe) -> &'static str {
    match recipe.kind() {
        Kind::Volume => "volumes (.nii, .nii.gz, .mgz, DICOM series)",
        Kind::Image => "photos, tiles or slides (PNG, JPEG, TIFF, WebP, BMP, HEIC, SVS, NDPI, DICOM)",
    }
}

/// The output folder, and the file of the labels where a single case has one of its own.
fn target(a: &Run) -> Result<(PathBuf, Option<PathBuf>), Failure> {
    let name = a.output.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let file = (written_ending(&name).is_some() || name.ends_with(".png")) && !a.output.is_dir();
    let parent = |p: &Path| match p.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    };
    match (file, a.mask.as_deref()) {
        (true, Some(_)) => Err(Failure::usage("--output names a file already; leave out --mask".to_owned())),
        (true, None) => Ok((parent(&a.output), Some(a.output.to_owned()))),
        (false, None) => Ok((a.output.to_owned(), None)),
        (false, Some(mask)) => {
            if !parent(mask).is_dir() {
                let folder = parent(mask);
                let message = format!("{}: there is no such folder for the mask", folder.display());
                return Err(Failure::usage(message));
            }
            Ok((a.output.to_owned(), Some(mask.to_owned())))
        }
    }
}

/// Whether the labels of a case can be one file of this name.
fn takes(recipe: &Recipe, case: &Case, file: &Path) -> Result<(), Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let (endings, what): (&[&str], _) = match recipe.kind() {
        Kind::Volume => (&WRITTEN, "a volume are written as .nii.gz, .nii, .nrrd or .mha"),
        Kind::Image => (&[".png"], "an image are written as .png"),
    };
    let reason = if recipe.is_image_level() {
        "this model writes tables and no labels; give a folder".to_owned()
    } else if ampoule_pipeline::is_slide(recipe, case) {
        "a slide has several files of results; give a folder".to_owned()
    } else if !endings.iter().any(|e| name.ends_with(e)) {
        format!("the labels of {what}")
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("{}: {reason}", file.display())))
}

fn all(
    g: &Global,
    model: &mut Model,
    mut found: Collected,
    folder: &Path,
    batch: &Batch,
    top: usize,
) -> Outcome {
    let mut reporter = Reporter::new(g);
    reporter.top = top;
    if let Some(shard) = batch.shard {
        let (own, all) = (found.cases.iter().filter(|c| shard.holds(&c.name)).count(), found.cases.len());
        reporter.part = format!("shard {shard} ({own} of {all} cases): ");
        found.skipped.retain(|(path, _)| shard.holds_file(path));
    }
    found.notes.iter().for_each(|n| reporter.say(format!("note: {n}")));
    if batch.settings.fast && model.recipe.network.iter().all(|n| n.fast.is_none()) {
        reporter.say("note: the recipe has no faster way; --fast changes nothing".to_owned());
    }
    for (path, reason) in &found.skipped {
        reporter.skipped(path, reason);
    }
    let summary = run_cases(model, &found.cases, found.skipped, folder, batch, &mut reporter)?;
    if g.json {
        print(&summary)?;
    }
    reporter.close(&summary, folder);
    Ok(code(&summary))
}

/// One JSON object a case on standard output.
fn print(summary: &Summary) -> Result<(), Failure> {
    for r in &summary.results {
        match &r.outcome {
            Became::Done(record) | Became::Kept(record) => json(record)?,
            Became::Failed(e) => {
                let input = r.case.main().display().to_string();
                json(&serde_json::json!({ "input": input, "error": e.to_string() }))?;
            }
        }
    }
    for (path, reason) in &summary.skipped {
        json(&serde_json::json!({ "input": path.display().to_string(), "skipped": reason }))?;
    }
    Ok(())
}

/// 0 when all cases are done; when all failed for one kind of reason, that reason's code; else 1.
pub fn code(summary: &Summary) -> Code {
    let [done, kept, failed, skipped] = summary.counts();
    // Whatever keeps the input itself from being read is a bad input.
    let input = |path: &Path| summary.results.iter().any(|r| r.case.files.iter().any(|f| f == path));
    let unreadable = |(_, e): &(&Path, &Error)| match e {
        Error::Io { path, .. } => input(path),
        Error::Exists { .. } => false,
        _ => true,
    };
    let failures = summary.failures();
    match failed + skipped {
        0 if summary.tables.is_some() => Code::SomeFailed,
        0 => Code::Done,
        _ if done + kept > 0 => Code::SomeFailed,
        _ if skipped > 0 && failed == 0 => Code::SomeFailed,
        _ if failures.iter().all(|f| f.1.is_memory()) => Code::Memory,
        _ if failures.iter().all(|f| matches!(f.1, Error::Exists { .. })) => Code::Usage,
        _ if failures.iter().all(unreadable) => Code::Input,
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
    tempfile::tempfile_in(folder).map(drop).map_err(fail)
}
