//! The order of a study's work.

use crate::cell::{Failure, Labelled, Line, MARK, Ready, Reply, Task, Work};
use crate::journal::{Entry, Journal};
use crate::prepare::{Original, Prepared, prepare};
use crate::profile::Machine;
use crate::results::{Cell, Results, VERSION, VariantResult, WorkloadResult};
use crate::spec::{Profile, Spec, Workload};
use crate::summary::{Rounds, cell};
use crate::{Error, ResolveError, Result, picture, prediction_file};
use ampoule_eval::statistics::median;
use ampoule_eval::{
    CaseComparison, GroundTruth, Margin, MetricComparison, PairedComparison, SET_METRICS, cases, disjoint,
    grouping_note, spread,
};
use ampoule_pipeline::{Case, Fingerprint, Recipe, sha256_file, sha256_hex};
use ampoule_system::confine;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

/// A study and where its results go.
pub struct Study<'a> {
    /// What to do.
    pub spec: Spec,
    /// Folder of the results.
    pub folder: PathBuf,
    /// Begin anew where the folder holds another study.
    pub overwrite: bool,
    /// This program's own file, which is started for every cell.
    pub program: PathBuf,
    /// Arguments that it takes before those of a cell.
    pub arguments: Vec<OsString>,
    /// The file whose content is the program's code: `program` itself, or a library that it loads.
    pub code: PathBuf,
    /// The command that was typed.
    pub command: String,
    /// Most bytes of every process, in addition to what profiles allow.
    pub max_ram: Option<u64>,
    /// Set of CPU features of profiles that name none; `None` for the best.
    pub isa: Option<String>,
    /// Finds a model's file by its name.
    pub resolve: &'a dyn Fn(&str) -> Result<PathBuf, ResolveError>,
}

/// Something that is being done or was done.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Part of some work.
    Work {
        /// What.
        what: String,
        /// Parts that are done.
        done: usize,
        /// All parts.
        of: usize,
    },
    /// A variant of a workload is ready, or cannot be.
    Variant {
        /// Workload.
        workload: String,
        /// Variant.
        variant: String,
        /// What was done, or why it could not be.
        said: String,
    },
    /// A round of a cell was measured.
    Round {
        /// Workload.
        workload: String,
        /// Variant.
        variant: String,
        /// Profile.
        profile: String,
        /// Round, from 1.
        round: usize,
        /// End to end.
        total_ms: Option<f64>,
        /// Why not.
        error: Option<String>,
        /// Rounds that are done.
        done: usize,
        /// All rounds.
        of: usize,
        /// Seconds left, by what rounds of these cells took so far.
        seconds_left: f64,
    },
}

/// Cases of a workload.
struct Sets {
    calibrate: Vec<Case>,
    validate: Vec<Case>,
    test: Vec<Case>,
    sha256: String,
    truth: Option<GroundTruth>,
}

/// Runs a study to its end, or goes on with one that was killed.
pub fn run(study: &Study, progress: &mut dyn FnMut(Event)) -> Result<Results> {
    let spec = &study.spec;
    let mut originals = Vec::new();
    for w in &spec.workloads {
        let original = Original::read(w, study.resolve)?;
        let sets = sets(w, &original, spec.cases)?;
        originals.push((original, sets));
    }
    for p in &spec.profiles {
        ampoule_kernels::choose(p.isa.as_deref())
            .map_err(|source| Error::Isa { profile: p.name.clone(), source })?;
    }
    let fail = |e: std::io::Error| Error::File { path: study.folder.clone(), reason: e.to_string() };
    std::fs::create_dir_all(study.folder.join("models")).map_err(fail)?;
    let mut journal = open_journal(study, &originals)?;
    let mut ready: BTreeMap<(String, String), Prepared> = BTreeMap::new();
    for (w, (original, _)) in spec.workloads.iter().zip(&originals) {
        for v in spec.of(w) {
            let known = journal.entries.iter().find_map(|e| match e {
                Entry::Prepared(p) if (&p.workload, &p.variant) == (&w.name, &v.name) => Some((**p).clone()),
                _ => None,
            });
            // A file that is gone is made again, and what failed is tried again: a peer may be there by now.
            let known = known.filter(|p| p.ready.as_ref().is_some_and(|r| r.model.is_file()));
            let made = match known {
                Some(p) => p,
                None => {
                    let mut step = |what: &str, done: usize, of: usize| {
                        progress(Event::Work { what: format!("{} {}: {what}", w.name, v.name), done, of });
                    };
                    let p = prepare(
                        spec,
                        w,
                        v,
                        original,
                        &study.folder.join("models"),
                        study.resolve,
                        study.isa.as_deref(),
                        &mut step,
                    );
                    journal.add(Entry::Prepared(Box::new(p.clone())))?;
                    p
                }
            };
            progress(Event::Variant {
                workload: w.name.clone(),
                variant: v.name.clone(),
                said: made.error.as_ref().map_or_else(|| made.note.clone(), |e| e.text.clone()),
            });
            ready.insert((w.name.clone(), v.name.clone()), made);
        }
    }
    let labels = label(study, &originals, &ready, &mut journal, progress)?;
    let rounds = time(study, &originals, &ready, &mut journal, progress)?;
    let workloads = spec
        .workloads
        .iter()
        .zip(&originals)
        .map(|(w, o)| workload(study, w, o, &ready, &labels))
        .collect::<Result<_>>()?;
    Ok(Results {
        format: "ampoule-study".into(),
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").into(),
        name: spec.name.clone(),
        title: if spec.title.is_empty() { spec.name.clone() } else { spec.title.clone() },
        finished: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        command: study.command.clone(),
        machine: Machine::here(),
        spec: spec.clone(),
        baseline: spec.baseline().name.clone(),
        workloads,
        cells: rows(spec, &rounds),
    })
}

/// Finds the cases of a workload; those of two sets must differ.
fn sets(w: &Workload, original: &Original, at_most: Option<usize>) -> Result<Sets> {
    let recipe = Recipe::parse(&original.recipe, "recipe")?;
    let some = |p: &Path| cases(p, &recipe, w.groups.as_ref()).map(|all| spread(all, at_most));
    let list = |p: &Option<PathBuf>| p.as_deref().map(some).transpose();
    let calibrate = list(&w.calibrate)?.unwrap_or_default();
    let validate = list(&w.validate)?.unwrap_or_default();
    let mut test = some(&w.test)?;
    let truth = w.truth.as_deref();
    let truth = truth.map(|p| GroundTruth::read_with(p, &recipe, w.resample_truth)).transpose()?;
    if let Some(truth) = &truth {
        truth.group_cases(&mut test);
    }
    let mut sha256 = disjoint(&[("calibration", &calibrate), ("validation", &validate), ("test", &test)])?;
    // What is trained on may be calibrated on.
    if let Some(learned) = list(&w.finetune)? {
        let own = disjoint(&[("fine-tuning", &learned), ("validation", &validate), ("test", &test)])?;
        sha256 = sha256_hex(format!("{sha256} {own}").as_bytes());
    }
    if let Some(truth) = &truth {
        truth.check(&test)?;
    }
    // Ground truth is part of what results are of.
    if let Some(path) = &w.truth {
        let mut of = Fingerprint::new("truth");
        of.text("cases", &sha256).tree("truth", path)?;
        sha256 = of.hex();
    }
    Ok(Sets { calibrate, validate, test, sha256, truth })
}

/// Opens the journal in the study's folder.
fn open_journal(study: &Study, originals: &[(Original, Sets)]) -> Result<Journal> {
    let first = Entry::Study { key: key(study, originals) };
    let path = study.folder.join("journal.jsonl");
    ampoule_files::remove_left_over(&path);
    Ok(Journal::open(&path, first, study.overwrite)?)
}

/// What the entries of a journal depend on.
fn key(study: &Study, originals: &[(Original, Sets)]) -> String {
    let mut text = serde_json::to_string(&study.spec).unwrap_or_default();
    // Presets that the study leaves to the defaults are set with it, too.
    for (metric, margin) in study.spec.workloads.iter().flat_map(|w| &w.margins) {
        text += &serde_json::to_string(&margin.preset(metric)).unwrap_or_default();
    }
    text += &sha256_file(&study.code).unwrap_or_default();
    for w in &study.spec.workloads {
        // Files that are made elsewhere may change between two runs; one that is missing has no hash.
        for v in study.spec.of(w).filter_map(|v| v.file(w)) {
            text += &sha256_file(&v).unwrap_or_default();
        }
    }
    for (o, s) in originals {
        text += &o.sha256;
        text += &o.recipe;
        text += &s.sha256;
    }
    sha256_hex(text.as_bytes())
}

type Variants = BTreeMap<(String, String), Prepared>;
type Labels = BTreeMap<(String, String), Result<Vec<Labelled>, Failure>>;

/// The profile that labels are made under: all that there is.
fn free() -> Profile {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    Profile { name: "utility".into(), isa: None, threads, memory_mib: None }
}

fn label(
    study: &Study,
    originals: &[(Original, Sets)],
    ready: &Variants,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Event),
) -> Result<Labels> {
    let mut out = Labels::new();
    for (w, (_, sets)) in study.spec.workloads.iter().zip(originals) {
        for v in study.spec.of(w) {
            let key = (w.name.clone(), v.name.clone());
            let Some(r) = ready.get(&key).and_then(|p| p.ready.clone()) else { continue };
            let known = journal.entries.iter().find_map(|e| match e {
                Entry::Labelled { workload, variant, found } if (workload, variant) == (&w.name, &v.name) => {
                    let there = |l: &Labelled| l.error.is_some() || l.labels.is_file();
                    found.as_ref().ok().filter(|f| f.iter().all(there)).map(|_| found.clone())
                }
                _ => None,
            });
            let found = match known {
                Some(f) => f,
                None => {
                    let folder = study.folder.join("labels").join(&w.name).join(&v.name);
                    let work = Work::Label { cases: sets.test.clone(), folder: folder.clone() };
                    let what = format!("{} {}: results", w.name, v.name);
                    let mut step = |done: usize, of: usize| {
                        progress(Event::Work { what: what.clone(), done, of });
                    };
                    // Another process writes it, which is killed when this one is stopped.
                    ampoule_files::stop::unfinished(&folder);
                    let found = child(study, r, &free(), work, &mut step).and_then(|reply| match reply {
                        Reply::Labelled(found) => Ok(found),
                        Reply::Failed(e) => Err(e),
                        Reply::Timed(_) => Err("its process answered another question".into()),
                    });
                    let (workload, variant) = key.clone();
                    journal.add(Entry::Labelled { workload, variant, found: found.clone() })?;
                    ampoule_files::stop::finished(&folder);
                    found
                }
            };
            out.insert(key, found);
        }
    }
    Ok(out)
}

type Timed = BTreeMap<(String, String, String), Rounds>;

fn time(
    study: &Study,
    originals: &[(Original, Sets)],
    ready: &Variants,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Event),
) -> Result<Timed> {
    let spec = &study.spec;
    let mut timed = Timed::new();
    for e in &journal.entries {
        if let Entry::Round { workload, variant, profile, round, result } = e {
            let list = timed.entry((workload.clone(), variant.clone(), profile.clone())).or_default();
            if let (true, Ok(r)) = (*round == list.len(), result) {
                list.push(Ok((**r).clone()));
            }
        }
    }
    let of =
        spec.workloads.iter().map(|w| spec.of(w).count()).sum::<usize>() * spec.profiles.len() * spec.rounds;
    let mut done = 0;
    let mut spent: BTreeMap<(String, String, String), f64> = BTreeMap::new();
    for (w, (_, sets)) in spec.workloads.iter().zip(originals) {
        for p in &spec.profiles {
            for round in 0..spec.rounds {
                // In turns, so that all variants meet the same disturbances; every other round backwards.
                let mut variants: Vec<_> = spec.of(w).collect();
                if round % 2 == 1 {
                    variants.reverse();
                }
                for v in variants {
                    done += 1;
                    let key = (w.name.clone(), v.name.clone(), p.name.clone());
                    let list = timed.entry(key.clone()).or_default();
                    if list.len() > round || list.iter().any(|r| r.is_err()) {
                        continue;
                    }
                    let prepared = &ready[&(w.name.clone(), v.name.clone())];
                    let start = Instant::now();
                    let result = match (&prepared.ready, &prepared.error) {
                        (Some(r), _) => {
                            let cases = sets.test.iter().take(w.timed).cloned().collect();
                            let work = Work::Time { cases, seconds: spec.seconds };
                            child(study, r.clone(), p, work, &mut |_, _| ()).and_then(|reply| match reply {
                                Reply::Timed(round) => Ok(*round),
                                Reply::Failed(e) => Err(e),
                                Reply::Labelled(_) => Err("its process answered another question".into()),
                            })
                        }
                        (None, e) => Err(e.clone().unwrap_or_else(|| "it was not made".into())),
                    };
                    *spent.entry(key.clone()).or_default() = start.elapsed().as_secs_f64();
                    list.push(result.clone());
                    let (workload, variant, profile) = key;
                    let entry = Entry::Round {
                        workload: workload.clone(),
                        variant: variant.clone(),
                        profile: profile.clone(),
                        round,
                        result: result.clone().map(Box::new),
                    };
                    journal.add(entry)?;
                    let mean = spent.values().sum::<f64>() / spent.len() as f64;
                    progress(Event::Round {
                        workload,
                        variant,
                        profile,
                        round: round + 1,
                        total_ms: result.as_ref().ok().map(|r| median(&r.total_ms)),
                        error: result.err().map(|e| e.text),
                        done,
                        of,
                        seconds_left: (mean * (of - done) as f64).round(),
                    });
                }
            }
        }
    }
    Ok(timed)
}

fn rows(spec: &Spec, timed: &Timed) -> Vec<Cell> {
    let none = Rounds::new();
    let mut rows = Vec::new();
    for w in &spec.workloads {
        for p in &spec.profiles {
            let of = |v: &str| timed.get(&(w.name.clone(), v.to_owned(), p.name.clone())).unwrap_or(&none);
            let base = of(&spec.baseline().name);
            rows.extend(spec.of(w).map(|v| cell([&w.name, &v.name, &p.name], of(&v.name), base)));
        }
    }
    rows
}

fn workload(
    study: &Study,
    w: &Workload,
    (original, sets): &(Original, Sets),
    ready: &Variants,
    labels: &Labels,
) -> Result<WorkloadResult> {
    let spec = &study.spec;
    let base = labels.get(&(w.name.clone(), spec.baseline().name.clone()));
    let mut variants = Vec::new();
    for v in spec.of(w) {
        let key = (w.name.clone(), v.name.clone());
        let made = &ready[&key];
        let mut row = VariantResult {
            name: v.name.clone(),
            kind: serde_json::to_value(v.kind)
                .ok()
                .and_then(|k| k.as_str().map(str::to_owned))
                .unwrap_or_default(),
            bytes: made.bytes,
            sha256: made.sha256.clone(),
            note: made.note.clone(),
            seconds: made.seconds,
            error: made.error.as_ref().map(|e| e.text.clone()),
            memory: made.error.as_ref().is_some_and(|e| e.memory),
            utility: Vec::new(),
            cases: Vec::new(),
            sensitivity: made.sensitivity.clone(),
            picture: None,
        };
        match (base, labels.get(&key)) {
            (Some(Ok(a)), Some(Ok(b))) => {
                (row.utility, row.cases) = measure(w, a, b, sets.truth.as_ref())?;
                let file = format!("pictures/{}.{}.png", w.name, v.name);
                row.picture = picture::worst(a, b, &study.folder, &file)?;
            }
            (_, Some(Err(e))) => {
                row.memory = e.memory;
                row.error = Some(e.text.clone());
            }
            (Some(Err(e)), _) => row.error = Some(format!("the baseline has no results: {}", e.text)),
            // It was not made, and says why already.
            (Some(Ok(_)) | None, None) => {}
            (None, Some(Ok(_))) => row.error = Some("the baseline was not made".into()),
        }
        variants.push(row);
    }
    Ok(WorkloadResult {
        name: w.name.clone(),
        model_sha256: original.sha256.clone(),
        cases: [sets.calibrate.len(), sets.validate.len(), sets.test.len()],
        cases_sha256: sets.sha256.clone(),
        notes: grouping_note(&sets.test).into_iter().collect(),
        truth: sets.truth.is_some(),
        variants,
    })
}

/// Compares a variant's predictions for the test cases with the baseline's, by the margins of the workload.
fn measure(
    w: &Workload,
    baseline: &[Labelled],
    variant: &[Labelled],
    truth: Option<&GroundTruth>,
) -> Result<(Vec<MetricComparison>, Vec<CaseComparison>)> {
    let place = |metric: &String| SET_METRICS.iter().position(|m| m == metric);
    let mut margins: Vec<(String, Margin)> = w.margins.iter().map(|(m, v)| (m.clone(), *v)).collect();
    margins.sort_by_key(|(m, _)| place(m));
    let mut paired = PairedComparison::new(margins);
    for (a, b) in baseline.iter().zip(variant) {
        if let Some(e) = &a.error {
            paired.add_failed(&a.case, e);
            continue;
        }
        let first = prediction_file::read(a)?;
        let second = b.error.is_none().then(|| prediction_file::read(b)).transpose()?;
        let variant = second.as_ref().ok_or(b.error.as_deref().unwrap_or_default());
        match paired.add(&a.case, &first, variant, truth) {
            Ok(()) => {}
            // One case whose ground truth or result cannot be used is one failed case.
            Err(e @ ampoule_eval::Error::Input { .. }) => paired.add_failed(&a.case, &e.to_string()),
            Err(e) => return Err(e.into()),
        }
    }
    Ok((paired.metrics(), paired.cases().to_vec()))
}

/// A profile with no more memory than `most` bytes.
fn within(profile: &Profile, most: Option<u64>) -> Profile {
    let most = most.map(|bytes| bytes >> 20);
    let memory_mib = profile.memory_mib.into_iter().chain(most).min();
    Profile { memory_mib, ..profile.clone() }
}

/// Runs a task in a process of its own and gives what it found, or why not.
fn child(
    study: &Study,
    ready: Ready,
    profile: &Profile,
    work: Work,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Reply, Failure> {
    let profile = &within(profile, study.max_ram);
    let parent = std::process::id();
    let task = Task { ready, profile: profile.clone(), isa: study.isa.clone(), work, parent };
    let text = serde_json::to_string(&task).map_err(|e| e.to_string())?;
    let mut command = Command::new(&study.program);
    // The task goes through a pipe: a file of it would be left behind where this process is killed.
    command.args(&study.arguments).arg("study-worker").stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // The peers' ways of being held to a tier.
    if profile.isa.as_deref() == Some("avx2") {
        command.env("ONEDNN_MAX_CPU_ISA", "AVX2").env("ATEN_CPU_CAPABILITY", "avx2");
    }
    let mut child = command.spawn()?;
    let pid = child.id();
    if let Some(mut input) = child.stdin.take() {
        // A process that ended already says why below.
        let _ = input.write_all(text.as_bytes());
    }
    let out = child.stdout.take().ok_or("no standard output")?;
    let stderr = child.stderr.take().ok_or("no standard error")?;
    // Read at the same time, so that a talkative library does not block on a full pipe.
    let listener = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = BufReader::new(stderr).read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut found = None;
    for line in BufReader::new(out).lines() {
        let Ok(line) = line else { break };
        let Some(json) = line.strip_prefix(MARK) else { continue };
        match serde_json::from_str::<Line>(json) {
            Ok(Line::Step { done, of }) => progress(done, of),
            Ok(Line::Reply(reply)) => found = Some(reply),
            Err(e) => {
                found = Some(Reply::Failed(format!("its process answered what does not read: {e}").into()));
            }
        }
    }
    let status = child.wait()?;
    confine::leave(pid);
    let said = listener.join().unwrap_or_default();
    let held = |text: String| match task.profile.memory_mib {
        Some(mib) => format!("{text} (held to {mib} MiB)"),
        None => text,
    };
    match found {
        Some(Reply::Failed(e)) => {
            // Libraries speak in many lines; a row has one.
            let text = e.text.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(Failure { text: if e.memory { held(text) } else { text }, memory: e.memory })
        }
        Some(reply) => Ok(reply),
        None => {
            let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("").trim().to_owned();
            let text =
                format!("its process ended: {status}{}{last}", if last.is_empty() { "" } else { "; " });
            let memory = task.profile.memory_mib.is_some() && ended_by_limit(&status, &said);
            Err(Failure { text: if memory { held(text) } else { text }, memory })
        }
    }
}

/// Whether a process ended as a limit of memory ends one: killed by the system, or by its own allocator's word.
fn ended_by_limit(status: &std::process::ExitStatus, said: &str) -> bool {
    const WORDS: [&str; 5] =
        ["memory allocation of", "bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory"];
    confine::killed(status) || WORDS.iter().any(|w| said.contains(w))
}
