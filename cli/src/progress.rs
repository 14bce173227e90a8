//! A bar with the time left on a terminal, a line a case otherwise.

use crate::args::Global;
use crate::terminal;
use ampoule_pipeline::{Case, CaseResult, Outcome, Progress, Record, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use std::cmp::Ordering;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

pub struct Reporter {
    bar: Option<ProgressBar>,
    quiet: bool,
    json: bool,
    /// Classes named for a classified image, the likeliest first.
    pub top: usize,
    /// Said before the last line of a run: which part of the cases it was.
    pub part: String,
    /// When the slide or work at hand was begun.
    begun: Instant,
    /// The work at hand, and when it was last told of.
    at_work: Option<(String, Instant)>,
    /// Failures and skipped files that were told.
    complaints: usize,
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
        Reporter {
            bar,
            quiet,
            json: global.json,
            top: 1,
            part: String::new(),
            begun: Instant::now(),
            at_work: None,
            complaints: 0,
        }
    }

    fn line(&self, text: String) {
        match &self.bar {
            Some(bar) => bar.println(terminal::message(&text)),
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

    /// A file that is no case, with the reason.
    pub fn skipped(&mut self, path: &Path, reason: &str) {
        self.complaint(&format!("{}: {reason}", shown(path)));
    }

    /// A failure or a skipped file; of thousands, the first are told.
    fn complaint(&mut self, text: &str) {
        self.complaints += 1;
        match self.complaints.cmp(&(terminal::MOST_LINES + 1)) {
            Ordering::Less => self.note(text),
            Ordering::Equal => self.note("more failed; failures.csv in the output folder names them all"),
            Ordering::Greater => {}
        }
    }

    /// The last line of a run: how many cases are done, kept, failed, and how many files were skipped.
    pub fn close(&mut self, summary: &Summary, folder: &Path) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let [done, kept, failed, skipped] = summary.counts();
        let mut text = format!("{}{done} done, {kept} kept, {failed} failed, {skipped} skipped", self.part);
        match summary.warnings() {
            0 => {}
            1 => text += "; 1 warning",
            n => text += &format!("; {n} warnings"),
        }
        if let Some(saved) = summary.windows().saved() {
            text += &format!("; {saved}");
        }
        if summary.stopped > 0 {
            text +=
                &format!("; stopped before {} more, which the same command goes on with", summary.stopped);
        }
        if failed + skipped > 0 && folder.join("failures.csv").is_file() {
            text += &format!("; see {}", shown(&folder.join("failures.csv")));
        }
        self.line(text);
    }

    /// `done` of `of` windows of a slide are done. Without a bar, every tenth of them is told with the time left.
    fn windows(&mut self, case: &Case, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            if done == 1 {
                bar.reset();
                bar.set_message(name(case));
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
                &serde_json::json!({ "file": name(case), "done": done, "of": of, "seconds_left": left.round() })
                    .to_string(),
            ),
            false => self.line(format!("{}: {done} of {of} windows, {left:.0} s left", name(case))),
        }
    }

    /// What a case gave, in one line.
    fn told(&self, r: &Record) -> String {
        if r.task == "classification" && r.slide.is_none() && self.top > 0 && !r.scores.is_empty() {
            let mut all: Vec<&(String, f32)> = r.scores.iter().collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            let list: Vec<String> =
                all.iter().take(self.top).map(|(c, p)| format!("{c} {:.1} %", 100.0 * p)).collect();
            return match r.classes.is_empty() {
                true => format!("no class above its threshold, the likeliest is {}", list.join(", ")),
                false => list.join(", "),
            };
        }
        let tissue = r.slide.as_ref().and_then(|s| s.tissue_mm2);
        let tissue = tissue.map_or(String::new(), |t| format!(" ({t:.3} mm² of tissue)"));
        r.summary() + &tissue
    }

    fn failure(&mut self, e: &ampoule_pipeline::Error) {
        let hint = if e.is_memory() { format!("; {}", crate::exit::MEMORY_HINT) } else { String::new() };
        self.complaint(&format!("{e}{hint}"));
    }
}

/// The work that a text is about: training tells how it goes along with it.
fn work_of(what: &str) -> &str {
    what.split(", epoch").next().unwrap_or(what)
}

/// One line on standard error; one that cannot be written is not a reason to stop.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", terminal::message(text));
}

/// A path for people.
fn shown(path: &Path) -> String {
    terminal::name(&path.display().to_string())
}

/// A case's name for people.
fn name(case: &Case) -> String {
    let file = case.main().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = case.folder();
    terminal::name(&if folder.is_empty() { file } else { format!("{folder}/{file}") })
}

impl Progress for Reporter {
    fn begin(&mut self, _index: usize, total: usize, case: &Case) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_message(name(case));
        }
    }

    fn part(&mut self, case: &Case, done: usize, of: usize) {
        self.windows(case, done, of);
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(terminal::message(&format!("ampoule: {text}"))),
            None => complain(&format!("ampoule: {text}")),
        }
    }

    fn end(&mut self, ended: usize, total: usize, result: &CaseResult) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(ended as u64);
        }
        let file = name(&result.case);
        match &result.outcome {
            Outcome::Done(r) => {
                let total = r.timings_ms.get("total").and_then(|t| t.as_f64()).unwrap_or(0.0) / 1e3;
                let how = match &r.slide {
                    Some(s) => {
                        format!("; {} windows in {total:.1} s, {:.1} a second", s.tiles, s.tiles_per_second)
                    }
                    None => format!(" in {total:.1} s"),
                };
                let how = match r.windows.saved() {
                    Some(saved) => format!("{how}; {saved}"),
                    None => how,
                };
                self.line(format!("{file}: {}{how}", self.told(r)));
                for w in &r.warnings {
                    self.line(format!("{file}: note: {}", w));
                }
            }
            Outcome::Kept(r) => self.line(format!("{file}: {}, kept from an earlier run", self.told(r))),
            Outcome::Failed(e) => self.failure(e),
        }
    }
}
