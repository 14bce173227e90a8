//! `qc.html`: all cases of a run on one page, to be looked through.
//!
//! The page needs no script, no network and no other file than the pictures it links to. A browser lays out
//! and loads only what is on the screen, so thousands of cases stay light. Names are hostile input: all text
//! is escaped, controls and direction marks are written out, and links stay relative.

mod escape;
mod row;

use escape::text;
pub(crate) use escape::text as escape_text;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

/// What stands above the cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// Title of the page, for example the output folder's name.
    pub title: String,
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the model file.
    pub model: String,
    /// Hexadecimal SHA-256 of the model file; its first twelve digits are shown.
    pub model_sha256: String,
    /// Program and version.
    pub program: String,
    /// Date and time of the run, in the form to show.
    pub date: String,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done in this run.
    Done,
    /// Done before and still valid.
    Kept,
    /// Not done, with the reason.
    Failed(String),
    /// Not tried, with the reason.
    Skipped(String),
}

impl Status {
    /// Its place in counts and classes.
    fn kind(&self) -> usize {
        match self {
            Status::Done => 0,
            Status::Kept => 1,
            Status::Failed(_) => 2,
            Status::Skipped(_) => 3,
        }
    }
}

/// Names of the kinds, as they are shown and as classes of style.
const KINDS: [&str; 4] = ["done", "kept", "failed", "skipped"];

/// A result of a case: a volume, an area, the probability of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    /// Name of the label or class.
    pub name: String,
    /// Its number, shown with four digits.
    pub value: f64,
    /// Unit, for example `ml`; may be empty.
    pub unit: String,
}

/// A case.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the case.
    pub name: String,
    /// What became of it.
    pub status: Status,
    /// The picture, relative to the page.
    pub picture: Option<PathBuf>,
    /// A small copy of it to show, relative to the page; without one the picture itself is shown.
    pub thumbnail: Option<PathBuf>,
    /// The predicted class of a classification.
    pub class: Option<String>,
    /// Volumes, areas or probabilities; the first eight are shown, the others counted.
    pub quantities: Vec<Quantity>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// Things to know, a sentence each; the first six are shown, the others counted.
    pub warnings: Vec<String>,
}

/// Cases that are linked to from the top.
const LINKS: usize = 200;

/// Writes the page. Rows are numbered as they come; failed and skipped ones and those with warnings are linked
/// to from the top (the first 200).
pub fn write(out: &mut dyn Write, head: &Head, rows: &mut dyn Iterator<Item = Row>) -> io::Result<()> {
    // Counts and links stand before the cases and are known after them.
    let (mut cases, mut links, mut counts, mut warned) = (String::new(), Vec::new(), [0u64; 4], 0u64);
    for (i, row) in rows.enumerate() {
        let kind = row.status.kind();
        counts[kind] += 1;
        warned += u64::from(!row.warnings.is_empty());
        row::write(&mut cases, i + 1, &row);
        if matches!(row.status, Status::Failed(_) | Status::Skipped(_)) || !row.warnings.is_empty() {
            // Failed ones first, then skipped ones, then those with warnings.
            links.push(([2, 2, 0, 1][kind], row::link(i + 1, &row)));
        }
    }
    out.write_all(include_str!("gallery/head.html").as_bytes())?;
    out.write_all(top(head, &counts, warned).as_bytes())?;
    links.sort_by_key(|l| l.0);
    list(out, &links)?;
    if cases.is_empty() {
        cases.push_str("<p>No cases.</p>");
    }
    writeln!(out, "<main id=m>\n{cases}</main>")?;
    out.write_all(include_str!("gallery/foot.html").as_bytes())
}

/// The list of cases to look at first.
fn list(out: &mut dyn Write, links: &[(usize, String)]) -> io::Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    writeln!(out, "<details open><summary>{} to look at first</summary><ul>", links.len())?;
    for (_, link) in links.iter().take(LINKS) {
        out.write_all(link.as_bytes())?;
    }
    if links.len() > LINKS {
        writeln!(out, "<li>and {} more, marked below", links.len() - LINKS)?;
    }
    writeln!(out, "</ul></details>")
}

/// Title, counts and what made the results.
fn top(head: &Head, counts: &[u64; 4], warned: u64) -> String {
    let title = if head.title.is_empty() { "Quality control" } else { &head.title };
    let mut out = format!("<title>{0}</title>\n<header><h1>{0}</h1>\n<p class=n>", text(title));
    for (kind, n) in KINDS.iter().zip(counts) {
        let zero = if *n == 0 { " z" } else { "" };
        let _ = write!(out, "<span class=\"{kind}{zero}\"><b>{n}</b> {kind}</span> ");
    }
    let zero = if warned == 0 { " z" } else { "" };
    let _ = write!(out, "<span class=\"warned{zero}\"><b>{warned}</b> with warnings</span></p>\n<p>");
    let hash: String = head.model_sha256.chars().take(12).collect();
    let facts = [
        ("recipe", &head.recipe),
        ("model", &head.model),
        ("SHA-256", &hash),
        ("made by", &head.program),
        ("date", &head.date),
    ];
    for (name, value) in facts.iter().filter(|f| !f.1.is_empty()) {
        let _ = write!(out, "{name} <b>{}</b> &nbsp; ", text(value));
    }
    out.push_str("</p>\n<p id=f></p></header>\n");
    out
}

#[cfg(test)]
mod tests;
