//! Tables as GaNDLF's inference writes them, for scripts that read its results: a row a subject with the class and the
//! probabilities, a row a subject with a number, and for slides a row a window.

use super::{CaseResult, Outcome, Summary};
use crate::field::field;
use crate::recipe::{Activation, Recipe, Task};
use crate::record::Record;
use crate::{Error, Result};
use ampoule_files::Pending;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Classes of whole images.
pub(super) const CLASSES: &str = "final_preds_and_avg_probs.csv";
/// Numbers of whole images; the end of the names of windows of slides.
pub(super) const NUMBERS: &str = "output_predictions.csv";

/// Columns and their values.
type Row = Vec<(String, String)>;

/// The table that a run's results belong to, and its rows, by `SubjectID`. Tables of slides are written beside their own.
pub(super) fn rows(recipe: &Recipe, output: &Path, summary: &Summary) -> Result<(&'static str, Vec<Row>)> {
    let (mut rows, mut name) = (Vec::new(), NUMBERS);
    for CaseResult { case, outcome } in &summary.results {
        let (Outcome::Done(record) | Outcome::Kept(record)) = outcome else { continue };
        match (recipe.model.task, record.slide.is_some()) {
            (Task::Segmentation, _) => {}
            (_, true) => windows(recipe, &output.join(case.folder()).join(case.stem()), &case.name)?,
            (Task::Classification, false) => {
                name = CLASSES;
                rows.push(classes(recipe, &case.name, record));
            }
            (Task::Regression, false) => rows.push(number(&case.name, record)),
        }
    }
    Ok((name, rows))
}

/// The class with the highest probability, and all of them: the softmax of what the network gives, which GaNDLF takes whether or not
/// the network ends in one.
fn classes(recipe: &Recipe, subject: &str, record: &Record) -> Row {
    let scores: Vec<f64> = record.scores.iter().map(|s| s.1 as f64).collect();
    let shares = match recipe.last().activation {
        Activation::Softmax => scores,
        Activation::None | Activation::Sigmoid => softmax(&scores),
    };
    let best = (0..shares.len()).fold(0, |best, i| if shares[i] > shares[best] { i } else { best });
    let mut row: Row = vec![("SubjectID".into(), subject.into())];
    row.push(("PredictedClass".into(), record.scores.get(best).map_or(String::new(), |s| s.0.clone())));
    let one = |(share, (name, _)): (&f64, &(String, f32))| (name.clone(), (*share as f32).to_string());
    row.extend(shares.iter().zip(&record.scores).map(one));
    row
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let most = scores.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    let all: Vec<f64> = scores.iter().map(|v| libm::exp(v - most)).collect();
    let sum: f64 = all.iter().sum();
    all.iter().map(|v| v / sum).collect()
}

/// The largest of the numbers, as GaNDLF has it. Its epochs are those of one inference.
fn number(subject: &str, record: &Record) -> Row {
    let most = record.scores.iter().fold(f32::NEG_INFINITY, |m, s| m.max(s.1));
    let cells =
        [("Epoch", "0".to_owned()), ("SubjectID", subject.to_owned()), ("PredictedValue", most.to_string())];
    cells.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// `NAME_output_predictions.csv` of a slide, from its own table of windows `NAME.csv`.
fn windows(recipe: &Recipe, name: &Path, subject: &str) -> Result<()> {
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", name.display()));
    let (from, to) = (beside(".csv"), beside(&format!("_{NUMBERS}")));
    let lines = BufReader::new(File::open(&from).map_err(Error::io(&from))?).lines();
    let (pending, file) = Pending::create(&to).map_err(Error::io(&to))?;
    let mut out = BufWriter::new(file);
    let subject = field(subject);
    let titles: Vec<String> = match recipe.model.task {
        Task::Regression => vec!["output".into()],
        Task::Classification | Task::Segmentation => {
            (0..recipe.label.len()).map(|i| format!("probability_{i}")).collect()
        }
    };
    writeln!(out, "SubjectID,x_coords,y_coords,{}", titles.join(",")).map_err(Error::io(&to))?;
    for line in lines.skip(1) {
        let line = line.map_err(Error::io(&from))?;
        // Corner, size, and a score for each label: numbers alone.
        let mut parts = line.splitn(5, ',');
        let (Some(x), Some(y), Some(scores)) = (parts.next(), parts.next(), parts.nth(2)) else { continue };
        writeln!(out, "{subject},{x},{y},{scores}").map_err(Error::io(&to))?;
    }
    let file = out.into_inner().map_err(|e| Error::io(&to)(e.into_error()))?;
    pending.commit(&file).map_err(Error::io(&to))
}
