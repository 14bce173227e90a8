//! A bar with the time left on a terminal, a line a case otherwise.

use crate::args::Global;
use ampoule_pipeline::slides::{ClassArea, SlideOutcome};
use ampoule_pipeline::{CaseResult, Outcome, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Reporter {
    bar: Option<ProgressBar>,
    quiet: bool,
    json: bool,
    /// When the slide or work at hand was begun.
    begun: Instant,
    /// The work at hand, and when it was last told of.
    at_work: Option<(String, Instant)>,
}

/// Time between two lines about the same work.
const PATIENCE: Duration = Duration::from_secs(5);

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
        Reporter { bar, quiet, json: global.json, begun: Instant::now(), at_work: None }
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
    /// `done` of `all` parts of some work are done. Without a bar its beginning and end are told, and every few
    /// seconds how long it will take.
    pub fn work(&mut self, what: &str, done: usize, all: usize) {
        match &self.bar {
            Some(bar) => {
                if work_of(&bar.message()) != work_of(what) {
                    bar.reset();
                }
                bar.set_length(all as u64);
                bar.set_position(done as u64);
                bar.set_message(what.to_owned());
            }
            None if self.json && !self.quiet => {
                complain(&serde_json::json!({ "stage": what, "done": done, "of": all }).to_string());
            }
            None => {
                let now = Instant::now();
                let same = work_of(what);
                let last = self.at_work.as_ref().filter(|w| w.0 == same).map(|w| w.1);
                if last.is_none() {
                    self.begun = now;
                }
                if done < all && last.is_some_and(|t| now - t < PATIENCE) {
                    return;
                }
                self.at_work = Some((same.to_owned(), now));
                let left =
                    (now - self.begun).as_secs_f64() / done.max(1) as f64 * all.saturating_sub(done) as f64;
                let left =
                    if done == 0 || done >= all { String::new() } else { format!(", {left:.0} s left") };
                self.line(format!("{what}: {done} of {all}{left}"));
            }
        }
    }

    /// A line for people.
    pub fn say(&self, text: String) {
        self.line(text);
    }

    /// A round of a study is done: `done` of `of`.
    pub fn round(&mut self, done: usize, of: usize, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.set_message("rounds");
        }
        self.line(text);
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
            Err(e) => self.failure(e),
        }
    }
}

impl Reporter {
    /// `done` of `of` windows of a slide are done. Without a bar, every tenth of them is told with the time
    /// left.
    pub fn windows(&mut self, file: &Path, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            if done == 1 {
                bar.reset();
                bar.set_message(name(file));
            }
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            return;
        }
        if done == 1 {
            self.begun = Instant::now();
        }
        let tenth = |n: usize| n * 10 / of;
        if done == of || tenth(done) == tenth(done - 1) {
            return;
        }
        let left = self.begun.elapsed().as_secs_f64() / done as f64 * (of - done) as f64;
        match self.json && !self.quiet {
            true => complain(
                &serde_json::json!({ "file": name(file), "done": done, "of": of, "seconds_left": left.round() })
                    .to_string(),
            ),
            false => self.line(format!("{}: {done} of {of} windows, {left:.0} s left", name(file))),
        }
    }

    /// A slide is done, or why not.
    pub fn slide(&mut self, file: &Path, result: Result<&SlideOutcome, &ampoule_pipeline::Error>) {
        let (s, kept) = match result {
            Ok(SlideOutcome::Done(s)) => (s, false),
            Ok(SlideOutcome::Kept(s)) => (s, true),
            Err(e) => return self.failure(e),
        };
        let area = |c: &ClassArea| match c.area_mm2 {
            Some(mm2) => format!("{} {mm2:.3} mm²", c.class),
            None => format!("{} {:.1} % of what was looked at", c.class, 100.0 * c.share),
        };
        let areas: Vec<String> = s.classes.iter().map(area).collect();
        let tissue = s.tissue_mm2.map_or(String::new(), |t| format!(" ({t:.3} mm² of tissue)"));
        let total = s.timings_ms.get("total").and_then(|t| t.as_f64()).unwrap_or(0.0) / 1e3;
        let how = match kept {
            true => "kept from an earlier run".to_owned(),
            false => format!("{} windows in {total:.1} s, {:.1} a second", s.tiles, s.tiles_per_second),
        };
        self.line(format!("{}: {}{tissue}; {how}", name(file), areas.join(", ")));
        s.warnings.iter().for_each(|w| self.line(format!("{}: note: {w}", name(file))));
    }

    fn failure(&mut self, e: &ampoule_pipeline::Error) {
        let hint = if e.is_memory() { format!("; {}", crate::exit::MEMORY_HINT) } else { String::new() };
        self.note(&format!("{e}{hint}"));
    }
}

/// The work that a text is about: training tells how it goes along with it.
fn work_of(what: &str) -> &str {
    what.split(", epoch").next().unwrap_or(what)
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
            Outcome::Failed(e) => self.failure(e),
        }
    }
}
