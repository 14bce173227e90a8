//! The population of an output folder's cases: `population.csv` and `population.html`.

use crate::population::{Features, Reference, compare, table, write};
use crate::results::record_of;
use crate::table::Table;
use crate::{Error, Result};
use ampoule_files::write_atomic;
use std::path::Path;

/// Writes both from the records of the cases in a table.
pub(super) fn write_population(
    output: &Path,
    title: &str,
    cases: &Table,
    reference: Option<&Reference>,
) -> Result<()> {
    let features = of_sites(output, cases);
    let all = compare(&features, reference);
    let path = output.join("population.csv");
    write_atomic(&path, |out| out.write_all(table(&all).as_bytes())).map_err(Error::io(&path))?;
    let path = output.join("population.html");
    write_atomic(&path, |out| write(out, title, &features, &all, reference)).map_err(Error::io(&path))
}

/// The site of each case with a record, and its features. Where no column says it, the site is the first folder of the
/// case's name, which of BIDS data sets is the subject and none.
fn of_sites(output: &Path, cases: &Table) -> Vec<(String, Features)> {
    let Some(name) = cases.column(&["case"]) else { return Vec::new() };
    let (site, folder) = (cases.column(&["site"]), cases.column(&["folder"]));
    let one = |(_, row): &(usize, Vec<String>)| {
        let root = folder.map(|c| output.join(&row[c])).unwrap_or_else(|| output.to_owned());
        let record = record_of(&root, &row[name])?;
        let told = site.map(|c| row[c].clone()).filter(|s| !s.is_empty());
        let first = || row[name].split_once('/').map(|p| p.0).filter(|p| !p.starts_with("sub-"));
        let site = told.or_else(|| first().map(str::to_owned)).unwrap_or_else(|| "all".into());
        Some((site, record.features()))
    };
    cases.rows.iter().filter_map(one).collect()
}
