//! Tables of predictions and of truth.

use super::measures::Sample;
use crate::{Error, Result};
use ampoule_pipeline::Table;
use std::collections::HashMap;
use std::path::Path;

/// What `run` wrote.
pub(super) struct Predictions {
    pub classes: Vec<String>,
    /// File, class and probabilities.
    rows: Vec<(String, usize, Vec<f64>)>,
}

/// File, class and group.
pub(crate) type Truth = Vec<(String, usize, String)>;

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
    let scores: Vec<usize> = (0..header.len()).filter(own).collect();
    // Columns of probabilities may be named as `run` names them, or by the class alone.
    let prefixed = scores.iter().all(|&i| header[i].starts_with("prob_"));
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
    let group = table.column(&["group"]);
    let rows = table.rows.iter().map(|(line, r)| {
        let name = r[label].as_str();
        let number = || name.parse::<usize>().ok().filter(|&n| n < classes.len());
        let own = classes.iter().position(|c| c == name).or_else(number);
        let own = own.ok_or_else(|| Error::Input {
            path: path.into(),
            reason: format!("line {line}: `{name}` is none of {}", classes.join(", ")),
        })?;
        Ok((r[file].to_owned(), own, r[group.unwrap_or(file)].to_owned()))
    });
    rows.collect()
}

/// Photos that both tables have, and the names of the others.
pub(super) fn pair(p: &Predictions, t: &Truth) -> (Vec<Sample>, Vec<String>) {
    let short = |f: &str| f.rsplit(['/', '\\']).next().unwrap_or(f).to_owned();
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, row) in t.iter().enumerate() {
        by_name.entry(short(&row.0)).or_default().push(i);
    }
    let mut used = vec![false; t.len()];
    let mut unpaired = Vec::new();
    let mut samples = Vec::new();
    for (file, predicted, probabilities) in &p.rows {
        let candidates = by_name.get(&short(file)).map_or(&[][..], |v| v);
        // Equal names in several folders: the whole path must agree.
        let found = match candidates {
            [one] => Some(*one),
            many => many.iter().copied().find(|&i| t[i].0 == *file),
        };
        match found.filter(|&i| !used[i]) {
            Some(i) => {
                used[i] = true;
                let (truth, group) = (t[i].1, t[i].2.clone());
                let probabilities = probabilities.clone();
                samples.push(Sample { truth, predicted: *predicted, probabilities, group });
            }
            None => unpaired.push(file.clone()),
        }
    }
    unpaired.extend(t.iter().zip(&used).filter(|(_, u)| !**u).map(|(r, _)| r.0.clone()));
    (samples, unpaired)
}
