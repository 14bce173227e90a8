//! Tables of predictions and of ground truth.

use super::measures::Sample;
use crate::pairing::Paths;
use crate::{Error, Result};
use ampoule_pipeline::Table;
use std::path::Path;

/// What `run` wrote.
pub(super) struct Predictions {
    pub classes: Vec<String>,
    /// File, class and probabilities.
    rows: Vec<(String, usize, Vec<f64>)>,
}

/// File, class, and the group where there is one.
pub(crate) type Truth = Vec<(String, usize, Option<String>)>;

fn read(path: &Path) -> Result<Table> {
    Ok(Table::read(path)?)
}

fn column(path: &Path, table: &Table, name: &str) -> Result<usize> {
    let reason = || format!("there is no column `{name}`; there are {}", table.header.join(", "));
    table.column(&[name]).ok_or_else(|| Error::Input { path: path.into(), reason: reason() })
}

/// A number with a point, or with the comma of other languages.
fn number(text: &str) -> Option<f64> {
    text.parse().or_else(|_| text.replace(',', ".").parse()).ok()
}

pub(super) fn predictions(path: &Path) -> Result<Predictions> {
    let table = read(path)?;
    let header = &table.header;
    let fail = |line: usize, reason: String| Error::Input {
        path: path.into(),
        reason: format!("line {line}: {reason}"),
    };
    let (file, class) = (column(path, &table, "file")?, column(path, &table, "class")?);
    let own = |i: &usize| ![file, class].contains(i) && !header[*i].is_empty();
    // Columns of probabilities may be named as `run` names them, among others, or by the class alone.
    let prefixed = header.iter().any(|h| h.starts_with("prob_"));
    let score = |i: &usize| own(i) && (!prefixed || header[*i].starts_with("prob_"));
    let scores: Vec<usize> = (0..header.len()).filter(score).collect();
    let name = |h: &String| if prefixed { h["prob_".len()..].to_owned() } else { h.clone() };
    let classes: Vec<String> = scores.iter().map(|&i| name(&header[i])).collect();
    if classes.len() < 2 {
        let reason = "it has fewer than two columns of probabilities".to_owned();
        return Err(Error::Input { path: path.into(), reason });
    }
    let rows = table.rows.iter().map(|(line, r)| {
        let own = classes.iter().position(|c| c == &r[class]);
        let own = own.ok_or_else(|| fail(*line, format!("`{}` is none of the classes", &r[class])))?;
        let number = |&i: &usize| {
            let v = number(&r[i]).filter(|v: &f64| (0.0..=1.0 + 1e-6).contains(v));
            v.ok_or_else(|| fail(*line, format!("`{}` is not a probability", &r[i])))
        };
        Ok((r[file].to_owned(), own, scores.iter().map(number).collect::<Result<_>>()?))
    });
    Ok(Predictions { rows: rows.collect::<Result<_>>()?, classes: classes.clone() })
}

/// Labels are names of classes, or their numbers from 0.
pub(crate) fn truth(path: &Path, classes: &[String]) -> Result<Truth> {
    let table = read(path)?;
    let (file, label) = (column(path, &table, "file")?, column(path, &table, "label")?);
    let group = table.column(&["group", "patient", "subject"]);
    let rows = table.rows.iter().map(|(line, r)| {
        let name = r[label].as_str();
        let number = || name.parse::<usize>().ok().filter(|&n| n < classes.len());
        let own = classes.iter().position(|c| c == name).or_else(number);
        let own = own.ok_or_else(|| Error::Input {
            path: path.into(),
            reason: format!("line {line}: `{name}` is none of {}", classes.join(", ")),
        })?;
        let group = group.map(|g| r[g].to_owned()).filter(|g| !g.is_empty());
        Ok((r[file].to_owned(), own, group))
    });
    rows.collect()
}

/// Paths of a table's rows, each of which must occur once.
pub(crate) fn paths<'a>(path: &Path, rows: impl Iterator<Item = &'a String>) -> Result<Paths> {
    Paths::new(rows.cloned().collect()).map_err(|reason| Error::Input { path: path.into(), reason })
}

/// Photos that both tables have, by the longest common end of their paths, and the names of the others.
pub(super) fn pair(
    (p_path, p): (&Path, &Predictions),
    (t_path, t): (&Path, &Truth),
) -> Result<(Vec<Sample>, Vec<String>)> {
    let predicted = paths(p_path, p.rows.iter().map(|r| &r.0))?;
    let reference = paths(t_path, t.iter().map(|r| &r.0))?;
    let found = predicted.pair(&reference).map_err(|reason| Error::Input { path: p_path.into(), reason })?;
    let mut used = vec![false; t.len()];
    let mut unpaired = Vec::new();
    let mut samples = Vec::new();
    for ((file, predicted, probabilities), found) in p.rows.iter().zip(found) {
        match found {
            Some(i) => {
                used[i] = true;
                // A photo without a group is one of its own.
                let (truth, group) = (t[i].1, t[i].2.clone().unwrap_or_else(|| file.clone()));
                let probabilities = probabilities.clone();
                samples.push(Sample { truth, predicted: *predicted, probabilities, group });
            }
            None => unpaired.push(format!("{file} (no ground truth)")),
        }
    }
    let rest = t.iter().zip(&used).filter(|(_, used)| !**used);
    unpaired.extend(rest.map(|(r, _)| format!("{} (no prediction)", r.0)));
    Ok((samples, unpaired))
}
