//! `ampoule run` with a model for photos or tiles.

use super::run::{Job, writable};
use super::{Opened, json, options};
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Reporter;
use ampoule_pipeline::photos::{PhotoBatch, PhotoModel, PhotoRow, collect_photos, run_photos};
use std::path::Path;

pub fn run(g: &Global, job: &Job, opened: Opened) -> Outcome {
    let inputs = collect_photos(job.inputs)?;
    if inputs.is_empty() {
        let list: Vec<String> = job.inputs.iter().map(|p| p.display().to_string()).collect();
        let message = format!("there are no PNG, JPEG, WebP or TIFF files in {}", list.join(", "));
        return Err(Failure::usage(message));
    }
    if job.mask.is_some() || job.fast || job.frame.is_some() {
        return Err(Failure::usage("--mask, --fast and --frame are for volumes".to_owned()));
    }
    writable(job.output)?;
    let recipe = opened.recipe.unwrap_or_default();
    let mut model = PhotoModel::from_graph(opened.graph, &recipe, opened.sha256, options(g)?)?;
    model.max_ram = g.max_ram;
    let classes = model.recipe.classes.clone();
    let batch = PhotoBatch { overwrite: g.overwrite, probabilities: job.probabilities };
    let mut reporter = Reporter::new(g);
    let mut told = |done: usize, total: usize, file: &Path, row: &ampoule_pipeline::Result<PhotoRow>| {
        let text = row.as_ref().map(|r| (likeliest(&classes, r, job.top), r.notes.clone()));
        reporter.photo(done, total, file, text);
    };
    let summary = run_photos(model, &inputs, job.output, &batch, &mut told)?;
    let failed: Vec<_> = summary.rows.iter().filter_map(|r| r.1.as_ref().err()).collect();
    if g.json {
        for (file, row) in &summary.rows {
            match row {
                Ok(r) => json(r)?,
                Err(e) => {
                    json(&serde_json::json!({ "file": file.display().to_string(), "error": e.to_string() }))?
                }
            }
        }
    }
    Ok(match failed.len() {
        0 => Code::Done,
        n if n < inputs.len() => Code::SomeFailed,
        _ if failed.iter().all(|e| e.is_memory()) => Code::Memory,
        _ => Code::Input,
    })
}

/// The `top` classes of a photo with their probabilities, the likeliest first.
fn likeliest(classes: &[String], row: &PhotoRow, top: usize) -> String {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by(|&a, &b| row.scores[b].total_cmp(&row.scores[a]).then(a.cmp(&b)));
    let text: Vec<String> =
        order.iter().take(top.max(1)).map(|&c| format!("{} {:.4}", classes[c], row.scores[c])).collect();
    text.join(", ")
}
