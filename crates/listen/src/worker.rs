//! The thread that runs models on complete studies, one after another.

use crate::association::Node;
use crate::config::Rule;
use crate::event::Event;
use crate::spool::Ended;
use crate::steps::{Step, Steps};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{
    Batch, Case, Model, Outcome, OutputOptions, Progress, SeriesChoice, Settings, Summary, collect_series,
    run_cases, series_in, sha256_hex,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::SystemTime;

/// A rule with what runs it.
pub(crate) struct Runner {
    pub rule: Rule,
    /// Number of its model in the list of all.
    pub model: usize,
    /// Hash of the model's files and of the recipe.
    pub sha256: String,
}

/// All rules and models.
pub(crate) struct Worker {
    pub node: Arc<Node>,
    pub runners: Vec<Runner>,
    pub models: Vec<Model>,
    pub isa: String,
    pub calibration: Option<String>,
}

/// What a job needs next.
enum Next {
    /// Its results go out.
    Send,
    /// Nothing: no rule is for it.
    Nothing(String),
}

impl Worker {
    /// Works until the end is asked for, or no more jobs can come.
    pub fn work(mut self, jobs: &Receiver<String>, ran: &Sender<String>) {
        while let Ok(job) = jobs.recv() {
            if self.node.stop.is_draining() {
                break;
            }
            let next = catch_unwind(AssertUnwindSafe(|| self.job(&job)));
            let next = next.unwrap_or_else(|_| Err("this is a fault of the program".into()));
            match next {
                Ok(Next::Send) => {
                    // The sender ends after this thread.
                    let _ = ran.send(job);
                }
                Ok(Next::Nothing(why)) => {
                    let ended = Ended { reason: Some(why.clone()), steps: Vec::new() };
                    let over = Event::Done { job: job.clone(), nothing: Some(why) };
                    self.told(self.node.spool.finish(&job, &ended), over);
                }
                Err(reason) => {
                    let ended = Ended { reason: Some(reason.clone()), steps: Vec::new() };
                    let over = Event::Failed { job: job.clone(), reason };
                    self.told(self.node.spool.fail(&job, &ended), over);
                }
            }
        }
    }

    fn told(&self, moved: std::io::Result<()>, over: Event) {
        (self.node.tell)(&over);
        if let Err(e) = moved {
            (self.node.tell)(&Event::Trouble { reason: e.to_string() });
        }
    }

    fn job(&mut self, job: &str) -> Result<Next, String> {
        let folder = self.node.spool.job(job);
        let mut steps = match Steps::read(&folder) {
            Some(steps) => steps,
            None => match self.decided(job, &folder)? {
                Ok(steps) => steps,
                Err(nothing) => return Ok(Next::Nothing(nothing)),
            },
        };
        let wrote =
            |steps: &Steps| steps.write(&folder).map_err(|e| format!("its state cannot be kept: {e}"));
        for i in 0..steps.steps.len() {
            // What failed is tried again where a job was put back.
            if steps.steps[i].ran && steps.steps[i].failed.is_empty() {
                continue;
            }
            self.step(&folder, &mut steps.steps[i])?;
            wrote(&steps)?;
            let s = &steps.steps[i];
            let event =
                Event::Ran { job: job.into(), rule: s.rule.clone(), done: s.done, failed: s.failed.clone() };
            (self.node.tell)(&event);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        steps.ran = Some(steps.ran.unwrap_or(now));
        wrote(&steps)?;
        Ok(Next::Send)
    }

    /// Which rules are for which series; else why none is.
    fn decided(&self, job: &str, folder: &Path) -> Result<Result<Steps, String>, String> {
        let objects = folder.join("objects");
        let Some(scan) = series_in(&objects).map_err(|e| e.to_string())? else {
            return Ok(Err("no image is in it".into()));
        };
        let calling = self.node.spool.calling(job);
        let mut steps = Steps::default();
        for r in &self.runners {
            let wanted = scan.series.iter().filter(|s| r.rule.wants(&calling, s));
            let series: Vec<String> = wanted.map(|s| s.uid.clone()).collect();
            if !series.is_empty() {
                let rule = r.rule.name.clone();
                steps.steps.push(Step { rule, model: self.identity(r), series, ..Step::default() });
            }
        }
        if steps.steps.is_empty() {
            let there: Vec<String> = scan.series.iter().map(|s| s.described()).collect();
            let list = if there.is_empty() { "no series of slices".to_owned() } else { there.join(", ") };
            return Ok(Err(format!("no rule is for it ({list})")));
        }
        steps.write(folder).map_err(|e| e.to_string())?;
        Ok(Ok(steps))
    }

    /// What results depend on besides the images.
    fn identity(&self, r: &Runner) -> String {
        let text = format!("{} {:?} {} {}", r.sha256, r.rule.labels, r.rule.fast, env!("CARGO_PKG_VERSION"));
        sha256_hex(text.as_bytes())
    }

    fn step(&mut self, folder: &Path, step: &mut Step) -> Result<(), String> {
        let Some(r) = self.runners.iter().find(|r| r.rule.name == step.rule) else {
            return Err(format!("there is no rule `{}` any more", step.rule));
        };
        let output = folder.join("output").join(&step.rule);
        let identity = self.identity(r);
        if step.model != identity && output.exists() {
            std::fs::remove_dir_all(&output).map_err(|e| e.to_string())?;
        }
        std::fs::create_dir_all(&output).map_err(|e| format!("{}: {e}", output.display()))?;
        let (fast, kind) = (r.rule.fast, r.rule.seg.kind());
        let choice = SeriesChoice { only: step.series.clone(), channels: r.rule.channels() };
        let model = &mut self.models[r.model];
        let recipe = &model.recipe;
        let segmentation =
            recipe.kind() == Kind::Volume && !recipe.is_image_level() && recipe.foreground().count() > 0;
        let found = collect_series(recipe, &[folder.join("objects")], Some(&output), &choice);
        let found = found.map_err(|e| e.to_string())?;
        let batch = Batch {
            settings: Settings { fast, ..Settings::default() },
            outputs: OutputOptions {
                segmentation: segmentation.then_some(kind),
                redact_paths: true,
                ..OutputOptions::default()
            },
            isa: self.isa.clone(),
            calibration: self.calibration.clone(),
            ..Batch::default()
        };
        let summary = run_cases(model, &found.cases, found.skipped, &output, &batch, &mut Silent);
        let summary = summary.map_err(|e| e.to_string())?;
        *step = Step { model: identity, ran: true, ..ended(&summary, folder, step) };
        Ok(())
    }
}

/// Nobody looks at single cases.
struct Silent;

impl Progress for Silent {}

/// What a run gave.
fn ended(summary: &Summary, folder: &Path, step: &Step) -> Step {
    let mut out = Step { done: 0, failed: Vec::new(), files: Vec::new(), sent: Vec::new(), ..step.clone() };
    let hidden = |text: String| text.replace(&format!("{}/", folder.display()), "");
    for r in &summary.results {
        match &r.outcome {
            Outcome::Done(record) | Outcome::Kept(record) => {
                out.done += 1;
                out.files.extend(record.outputs.iter().map(|w| within(&r.case, &w.file)));
            }
            Outcome::Failed(e) => out.failed.push(hidden(e.to_string())),
        }
    }
    out.failed.extend(summary.skipped.iter().map(|(_, reason)| hidden(reason.clone())));
    out.failed.extend(summary.tables.as_ref().map(|e| hidden(e.to_string())));
    out
}

/// A file of a case within the output folder.
fn within(case: &Case, file: &str) -> String {
    match case.folder() {
        "" => file.to_owned(),
        folder => format!("{folder}/{file}"),
    }
}
