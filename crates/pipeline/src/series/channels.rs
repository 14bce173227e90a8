//! Several series of a study as the channels of one case. Which is which is never guessed: one series, and no other, must be
//! meant by what the recipe or the user says.

use super::{SeriesCases, SeriesChoice, case, file, wrong};
use crate::recipe::{Input, Recipe};
use crate::{Error, Result, nearest};
use ampoule_dicom::{Place, Series};
use std::collections::BTreeMap;

/// Refuses channels that the recipe does not have.
pub(super) fn check(recipe: &Recipe, choice: &SeriesChoice) -> Result<()> {
    let names: Vec<&str> = recipe.input.iter().map(|i| i.name.as_str()).collect();
    match choice.channels.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let like = nearest(name, names.iter().copied()).map(|n| format!("; did you mean `{n}`?"));
            let reason = format!(
                "there is no channel `{name}`; the recipe has {}{}",
                names.join(", "),
                like.unwrap_or_default()
            );
            Err(Error::Content { path: recipe.model.name.clone().into(), reason })
        }
    }
}

/// Adds a case for each study of `list`, or the reason why its series make none.
pub(super) fn studies(
    list: Vec<Series>,
    found: &BTreeMap<Place, String>,
    recipe: &Recipe,
    choice: &SeriesChoice,
    out: &mut SeriesCases,
) {
    let mut studies: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for s in list {
        studies.entry(s.study.clone()).or_default().push(s);
    }
    for mut series in studies.into_values() {
        let first = series.first().map(file).unwrap_or_default();
        let numbers = match numbers(&series, recipe, choice) {
            Ok(numbers) => numbers,
            Err(reason) => {
                out.skipped.push((first, reason));
                continue;
            }
        };
        let told = recipe
            .input
            .iter()
            .zip(&numbers)
            .map(|(i, n)| format!("{} is {}", i.name, series[*n].described()));
        out.notes.push(told.collect::<Vec<_>>().join(", "));
        for n in &numbers {
            let described = series[*n].described();
            out.notes.extend(series[*n].notes.iter().map(|n| format!("{described}: {n}")));
        }
        // Taken out from the last one on, so that numbers stay right.
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(numbers[*i]));
        let mut taken: Vec<(usize, Series)> =
            order.iter().map(|i| (*i, series.remove(numbers[*i]))).collect();
        taken.sort_by_key(|t| t.0);
        out.cases.push(case(taken.into_iter().map(|t| t.1).collect(), found));
    }
}

/// The series of each input, by number; else why there is none.
fn numbers(
    series: &[Series],
    recipe: &Recipe,
    choice: &SeriesChoice,
) -> std::result::Result<Vec<usize>, String> {
    let mut numbers: Vec<usize> = Vec::new();
    for input in &recipe.input {
        let meant: Vec<usize> = (0..series.len()).filter(|i| is_meant(&series[*i], input, choice)).collect();
        let all = |list: &[usize]| list.iter().map(|i| series[*i].described()).collect::<Vec<_>>().join(", ");
        let hint = format!("name it by --channel {}=NUMBER", input.name);
        let number = match meant[..] {
            [one] => one,
            [] => {
                let there: Vec<usize> = (0..series.len()).collect();
                return Err(format!(
                    "no series is `{}` of the study; {hint} (there are {})",
                    input.name,
                    all(&there)
                ));
            }
            _ => return Err(format!("several series may be `{}`: {}; {hint}", input.name, all(&meant))),
        };
        if numbers.contains(&number) {
            return Err(format!("{} would be two channels; {hint}", series[number].described()));
        }
        if let Some(reason) = wrong(&series[number], input) {
            return Err(reason);
        }
        numbers.push(number);
    }
    Ok(numbers)
}

/// Whether a series is meant for an input: by what the user says, else by the recipe's `series`, else by a word of the
/// description that is the input's name.
fn is_meant(s: &Series, input: &Input, choice: &SeriesChoice) -> bool {
    let said: Vec<&str> = choice
        .channels
        .iter()
        .filter(|(name, _)| *name == input.name)
        .map(|(_, series)| series.as_str())
        .collect();
    let own = input.modality().is_none_or(|m| m.eq_ignore_ascii_case(&s.modality));
    match (&said[..], &input.series[..]) {
        ([], []) => {
            let mut words = s.description.split(|c: char| !c.is_alphanumeric());
            own && words.any(|w| w.eq_ignore_ascii_case(&input.name))
        }
        ([], list) => own && list.iter().any(|text| s.is_meant_by(text)),
        (list, _) => list.iter().any(|text| s.is_meant_by(text)),
    }
}
