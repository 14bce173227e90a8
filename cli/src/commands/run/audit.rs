//! `ampoule run --audit N --original MODEL`: the original beside the model on some of the cases.

use super::super::{json, note, open, say};
use crate::args::{Global, Run};
use crate::exit::Failure;
use ampoule_eval::{Audit, Audited, Runner};
use ampoule_files::write_atomic;
use ampoule_pipeline::{Case, Settings};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// File of the audit in the output folder: a JSON object a line, first what is asked.
const FILE: &str = "audit.jsonl";

/// Cases that are audited: every `n`th, the first of them included, and of a group one.
fn chosen(cases: &[Case], n: usize) -> Vec<Case> {
    let mut groups = std::collections::BTreeSet::new();
    let some = cases.iter().step_by(n.max(1));
    some.filter(|c| c.group.as_ref().is_none_or(|g| groups.insert(g.clone()))).cloned().collect()
}

/// What an audit is of. It stands first in its file, and is set before any case is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Question {
    /// Margin of the mean distance.
    margin: f64,
    /// Hash of the original.
    original: String,
    /// Hash of the changed model.
    model: String,
}

/// An audit that is about to begin, or to go on.
pub struct Auditing {
    every: usize,
    file: PathBuf,
    question: Question,
    audit: Audit,
    /// The original and the changed model, as they were named.
    models: [String; 2],
    settings: Settings,
}

/// Opens the audit of a folder, where one is asked for, before any case is run: cases of earlier runs count on, and an audit of
/// another margin or of other models is refused.
pub fn open_audit(g: &Global, a: &Run, folder: &Path) -> Result<Option<Auditing>, Failure> {
    let (Some(n), Some(original)) = (a.audit, a.original.as_deref()) else { return Ok(None) };
    let models = [original.to_owned(), a.model.clone()];
    // They are loaded when the run's own model is done with.
    let [original, model] = [open(g, &models[0])?.sha256, open(g, &models[1])?.sha256];
    let question = Question { margin: a.audit_margin, original, model };
    let file = folder.join(FILE);
    let rows = match g.overwrite {
        true => Vec::new(),
        false => read(&file, &question)?,
    };
    let audit = Audit::new(a.audit_margin, rows);
    let settings = Settings { fast: a.fast, ..Settings::default() };
    Ok(Some(Auditing { every: n as usize, file, question, audit, models, settings }))
}

impl Auditing {
    /// Runs both models on the chosen cases and says what may be said after every one.
    pub fn run(&mut self, g: &Global, cases: &[Case]) -> Result<(), Failure> {
        let mut runners = Vec::new();
        for model in &self.models {
            let model = open(g, model)?.model(g)?;
            runners.push(Runner { model, settings: self.settings, features: Vec::new() });
        }
        for case in chosen(cases, self.every) {
            if self.audit.knows(&case) {
                continue;
            }
            let [first, second] = [0, 1].map(|i| runners[i].run(&case));
            let row = match (first, second) {
                (Ok(x), Ok(y)) => self.audit.add(&case, &x, &y)?.clone(),
                // What only the changed model cannot do counts against it.
                (Ok(_), Err(e)) => {
                    note(format!("{}: no result of the model: {e}", case.name));
                    self.audit.add_lost(&case).clone()
                }
                // It failed in the run, too, and is named there.
                (Err(e), _) => {
                    note(format!("not audited: {}: {e}", case.name));
                    continue;
                }
            };
            write(&self.file, &self.question, self.audit.rows())?;
            if g.json {
                json(&row)?;
                continue;
            }
            let flag = if row.flagged { ", LOOK AT IT" } else { "" };
            let entropy = row.entropy.map_or(String::new(), |e| format!(", entropy {:.0} %", 100.0 * e));
            let statement = self.audit.statement();
            say(format!("{}: {:.4} from the original{entropy}{flag}; {statement}", row.case, row.loss));
        }
        let statement = self.audit.statement();
        match g.json {
            true => json(&serde_json::json!({ "audit": statement, "cases": self.audit.rows().len() }))?,
            false => say(statement),
        }
        Ok(())
    }
}

fn read(file: &Path, question: &Question) -> Result<Vec<Audited>, Failure> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let wrong = |e: String| Failure::input(format!("{}: {e}; delete it to begin anew", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
    let mut lines = text.lines();
    let first: Question =
        serde_json::from_str(lines.next().unwrap_or_default()).map_err(|e| wrong(e.to_string()))?;
    let other = match (&first, question) {
        (a, b) if a.margin != b.margin => format!("of a margin of {}", a.margin),
        (a, b) if a.original != b.original => "against another original".to_owned(),
        (a, b) if a.model != b.model => "of another model".to_owned(),
        (_, _) => return lines.map(|l| serde_json::from_str(l).map_err(|e| wrong(e.to_string()))).collect(),
    };
    let message = format!(
        "{} is an audit {other}; what is asked is set before cases are looked at: use another folder, or --overwrite to begin anew",
        file.display()
    );
    Err(Failure::usage(message))
}

fn write(file: &Path, question: &Question, rows: &[Audited]) -> Result<(), Failure> {
    let wrong = |e: String| Failure::input(format!("{}: {e}", file.display()));
    let first = serde_json::to_string(question);
    let lines: Result<Vec<String>, _> =
        std::iter::once(first).chain(rows.iter().map(serde_json::to_string)).collect();
    let text = lines.map_err(|e| wrong(e.to_string()))?.join("\n") + "\n";
    write_atomic(file, |out| out.write_all(text.as_bytes())).map_err(|e| wrong(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_case_and_one_of_a_group_is_chosen() {
        let case = |i: usize, group: Option<&str>| Case {
            name: format!("{i}"),
            group: group.map(str::to_owned),
            ..Case::default()
        };
        let cases: Vec<Case> = (0..5).map(|i| case(i, None)).collect();
        let names = |list: Vec<Case>| list.into_iter().map(|c| c.name).collect::<Vec<_>>();
        assert_eq!(names(chosen(&cases, 2)), ["0", "2", "4"]);
        let cases = [case(0, Some("a")), case(1, Some("a")), case(2, Some("b"))];
        assert_eq!(names(chosen(&cases, 1)), ["0", "2"]);
    }
}
