//! `ampoule study`.

use super::{json, note, say};
use crate::args::{self, Global};
use crate::environment;
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Reporter;
use ampoule_files::write_atomic;
use ampoule_study::report;
use ampoule_study::results::{Results, Verdict};
use ampoule_study::{Event, Spec, Study, run as run_study, serve};
use std::path::Path;

/// Runs a study and writes its results.
pub fn run(g: &Global, a: &args::Study) -> Outcome {
    let (file, output) = (&a.study, &a.output);
    let mut spec = Spec::read(file, &environment::variable)?;
    if let Some(cases) = a.rehearse {
        spec.rehearse(usize::from(cases));
    }
    super::run::writable(output)?;
    let program = std::env::current_exe()
        .map_err(|e| Failure::input(format!("this program's own file cannot be found: {e}")))?;
    let resolve = |name: &str| {
        let located = ampoule_zoo::locate(name, &environment::folders(g.weights.as_deref()))?;
        Ok(located.into_path(&output.join("built-in"))?)
    };
    let study = Study {
        spec,
        folder: output.into(),
        overwrite: g.overwrite,
        code: program.clone(),
        program,
        arguments: Vec::new(),
        command: match a.rehearse {
            Some(cases) => {
                format!("ampoule study {} -o {} --rehearse {cases}", file.display(), output.display())
            }
            None => format!("ampoule study {} -o {}", file.display(), output.display()),
        },
        max_ram: g.max_ram,
        isa: environment::isa(),
        resolve: &resolve,
    };
    let mut reporter = Reporter::new(g);
    let results = run_study(&study, &mut |event| tell(g, &mut reporter, &event))?;
    drop(reporter);
    report::write(&results, output)?;
    if !g.json {
        verdicts(&results);
        say(output.join("report.html").display());
    }
    baseline(&results)?;
    Ok(if a.rehearse.is_some() { rehearsed(&results) } else { Code::Done })
}

/// Says what of a rehearsal did not work; a study itself has rows that say why.
fn rehearsed(results: &Results) -> Code {
    let variants = results.workloads.iter().flat_map(|w| w.variants.iter().map(move |v| (w, v)));
    let made: Vec<String> =
        variants.filter_map(|(w, v)| Some(format!("{} {}: {}", w.name, v.name, v.error.as_ref()?))).collect();
    let cells = results
        .cells
        .iter()
        .filter_map(|c| Some(format!("{} {} {}: {}", c.workload, c.variant, c.profile, c.error.as_ref()?)));
    let failed: Vec<String> = made.into_iter().chain(cells).collect();
    note(format!(
        "rehearsal: {} of {} cells and variants failed",
        failed.len(),
        results.cells.len() + results.workloads.iter().map(|w| w.variants.len()).sum::<usize>()
    ));
    failed.iter().for_each(note);
    if failed.is_empty() { Code::Done } else { Code::SomeFailed }
}

/// A row that failed says why in the report; without the baseline there is nothing to report.
fn baseline(results: &Results) -> Result<(), Failure> {
    for w in &results.workloads {
        let base = w.variants.iter().find(|v| v.name == results.baseline);
        let why = match base {
            Some(v) if v.error.is_none() => continue,
            Some(v) => v.error.as_deref().unwrap_or_default(),
            None => "it is not in the study",
        };
        let message = format!("the baseline `{}` has no results ({why}); see the report", results.baseline);
        return Err(match base.is_some_and(|v| v.memory) {
            true => Failure { code: Code::Memory, message },
            false => Failure::input(message),
        });
    }
    Ok(())
}

fn tell(g: &Global, reporter: &mut Reporter, event: &Event) {
    if g.json {
        // Events go the same way as results of other commands: a line each. What is under way is no result.
        if !(g.quiet && matches!(event, Event::Work { .. })) {
            let _ = json(event);
        }
        return;
    }
    match event {
        Event::Work { what, done, of } => reporter.work(what, *done, *of),
        Event::Variant { workload, variant, said } if !said.is_empty() => {
            reporter.say(format!("{workload} {variant}: {said}"));
        }
        Event::Variant { .. } => {}
        Event::Round { workload, variant, profile, round, total_ms, error, done, of, seconds_left } => {
            let what = match (total_ms, error) {
                (Some(ms), _) => format!("{ms:.1} ms"),
                (_, Some(e)) => e.clone(),
                _ => "nothing".into(),
            };
            let left = match *seconds_left as u64 {
                s if s < 120 => format!("{s} s"),
                s => format!("{} min", s / 60),
            };
            reporter.round(
                *done,
                *of,
                format!("{workload} {variant} {profile}, round {round}: {what}; {done} of {of}, {left} left"),
            );
        }
    }
}

/// The verdicts, a line each.
fn verdicts(r: &Results) {
    for w in &r.workloads {
        w.notes.iter().for_each(|n| note(format!("{}: {n}", w.name)));
        for v in w.variants.iter().filter(|v| v.name != r.baseline) {
            let metrics: Vec<String> = v
                .utility
                .iter()
                .map(|u| {
                    format!(
                        "{}{} {}",
                        u.metric,
                        u.class.map_or(String::new(), |c| format!(":{c}")),
                        u.verdict.name()
                    )
                })
                .collect();
            let speed: Vec<String> = r
                .cells
                .iter()
                .filter(|c| c.workload == w.name && c.variant == v.name)
                .map(|c| match c.speedup_total {
                    Some(s) => format!("{} {:.2}x ({:.2} to {:.2})", c.profile, s.value, s.low, s.high),
                    None => format!("{} {}", c.profile, c.error.as_deref().unwrap_or("not measured")),
                })
                .collect();
            let metrics = match &v.error {
                Some(e) => e.clone(),
                None => metrics.join(", "),
            };
            say(format!("{} {}: {metrics}; {}", w.name, v.name, speed.join(", ")));
            // The same words as `optimize` has.
            v.utility.iter().for_each(|u| say(format!("  {}", u.sentence())));
            if v.utility.iter().any(|u| u.verdict == Verdict::Inferior) {
                say(format!("{} {}: results got WORSE than the margin allows", w.name, v.name));
            }
        }
    }
}

/// Writes a file under a temporary name and renames it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomic(path, |out| out.write_all(bytes))
        .map_err(|e| Failure::input(format!("{}: {e}", path.display())))
}

/// The process of a cell.
pub fn worker() -> Outcome {
    serve()?;
    Ok(Code::Done)
}
