//! A bar with the time left on a terminal, a line a case otherwise.

use crate::args::Global;
use ampoule_pipeline::{CaseResult, Outcome, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

pub struct Reporter {
    bar: Option<ProgressBar>,
    quiet: bool,
    json: bool,
}

impl Reporter {
    pub fn new(global: &Global) -> Self {
        let quiet = global.quiet;
        let bar = (std::io::stderr().is_terminal() && !quiet && !global.json).then(|| {
            let style =
                ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} (left {eta}) {wide_msg}");
            let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Reporter { bar, quiet, json: global.json }
    }

    fn line(&self, text: String) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if !self.quiet && !self.json => complain(&text),
            None => {}
        }
    }
}

impl Reporter {
    /// `done` of `all` parts of some work are done.
    pub fn work(&mut self, what: &str, done: usize, all: usize) {
        match &self.bar {
            Some(bar) => {
                if bar.message() != what {
                    bar.reset();
                }
                bar.set_length(all as u64);
                bar.set_position(done as u64);
                bar.set_message(what.to_owned());
            }
            None if self.json && !self.quiet => {
                complain(&serde_json::json!({ "stage": what, "done": done, "of": all }).to_string());
            }
            None => self.line(format!("{what}: {done} of {all}")),
        }
    }

    /// A photo is done: what it shows and the notes about it, or why not.
    pub fn photo(
        &mut self,
        done: usize,
        total: usize,
        file: &Path,
        row: Result<(String, Vec<String>), &ampoule_pipeline::Error>,
    ) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
        match row {
            Ok((text, notes)) => {
                self.line(format!("{}: {text}", name(file)));
                notes.iter().for_each(|n| self.line(format!("{}: note: {n}", name(file))));
            }
            Err(e) => {
                let hint =
                    if e.is_memory() { format!("; {}", crate::exit::MEMORY_HINT) } else { String::new() };
                self.note(&format!("{e}{hint}"));
            }
        }
    }
}

/// One line on standard error; one that cannot be written is not a reason to stop.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A file's name for people.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Progress for Reporter {
    fn begin(&mut self, _index: usize, total: usize, input: &Path) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_message(name(input));
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("ampoule: {text}")),
            None => complain(&format!("ampoule: {text}")),
        }
    }

    fn end(&mut self, result: &CaseResult) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        let file = name(&result.input);
        match &result.outcome {
            Outcome::Done(s) => {
                let total = s.timings_ms.get("total").and_then(|t| t.as_f64()).unwrap_or(0.0);
                self.line(format!("{file}: {:.1} ml in {:.1} s", s.mask_ml, total / 1e3));
                for w in &s.warnings {
                    self.line(format!("{file}: note: {w}"));
                }
            }
            Outcome::Kept(s) => self.line(format!("{file}: {:.1} ml, kept from an earlier run", s.mask_ml)),
            Outcome::Failed(e) => {
                let hint =
                    if e.is_memory() { format!("; {}", crate::exit::MEMORY_HINT) } else { String::new() };
                let text = format!("ampoule: {e}{hint}");
                match &self.bar {
                    Some(bar) => bar.println(text),
                    None => complain(&text),
                }
            }
        }
    }
}
