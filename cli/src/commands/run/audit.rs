//! `ampoule run --audit N --original MODEL`: the original beside the model on some of the cases.

use super::super::{json, note, open, say};
use crate::args::{Global, Run};
use crate::exit::Failure;
use ampoule_eval::{Audit, Audited, Runner};
use ampoule_files::write_atomic;
use ampoule_pipeline::{Case, Settings};
use std::path::Path;

/// File of the audit in the output folder: a JSON object a line.
const FILE: &str = "audit.jsonl";

/// Cases that are audited: every `n`th, the first of them included, and of a group one.
fn chosen(cases: &[Case], n: usize) -> Vec<Case> {
    let mut groups = std::collections::BTreeSet::new();
    let some = cases.iter().step_by(n.max(1));
    some.filter(|c| c.group.as_ref().is_none_or(|g| groups.insert(g.clone()))).cloned().collect()
}

/// Runs the audit and says what it says after every case. Cases that an earlier run has audited into the same folder count on.
pub fn audit(g: &Global, a: &Run, cases: &[Case], folder: &Path) -> Result<(), Failure> {
    let (Some(n), Some(original)) = (a.audit, a.original.as_deref()) else { return Ok(()) };
    let file = folder.join(FILE);
    let mut audit = Audit::new(a.audit_margin, read(&file)?);
    let settings = Settings { fast: a.fast, ..Settings::default() };
    let mut runners = Vec::new();
    for model in [original, a.model.as_str()] {
        runners.push(Runner { model: open(g, model)?.model(g)?, settings, features: Vec::new() });
    }
    for case in chosen(cases, n as usize) {
        if audit.knows(&case.name) {
            continue;
        }
        let [first, second] = [0, 1].map(|i| runners[i].run(&case));
        let row = match (first, second) {
            (Ok(x), Ok(y)) => audit.add(&case, &x, &y)?.clone(),
            // It failed in the run, too, and is named there.
            (Err(e), _) | (_, Err(e)) => {
                note(format!("not audited: {}: {e}", case.name));
                continue;
            }
        };
        write(&file, audit.rows())?;
        if g.json {
            json(&row)?;
            continue;
        }
        let flag = if row.flagged { ", LOOK AT IT" } else { "" };
        let entropy = row.entropy.map_or(String::new(), |e| format!(", entropy {:.0} %", 100.0 * e));
        say(format!("{}: {:.4} from the original{entropy}{flag}; {}", row.case, row.loss, audit.statement()));
    }
    match g.json {
        true => json(&serde_json::json!({ "audit": audit.statement(), "cases": audit.rows().len() }))?,
        false => say(audit.statement()),
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<Audited>, Failure> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let wrong = |e: String| Failure::input(format!("{}: {e}; delete it to begin anew", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
    text.lines().map(|l| serde_json::from_str(l).map_err(|e| wrong(e.to_string()))).collect()
}

fn write(file: &Path, rows: &[Audited]) -> Result<(), Failure> {
    let wrong = |e: String| Failure::input(format!("{}: {e}", file.display()));
    let lines: Result<Vec<String>, _> = rows.iter().map(serde_json::to_string).collect();
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
