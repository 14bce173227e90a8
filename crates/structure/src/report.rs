//! The report of all checks and its text.

use std::fmt::Write;
use std::path::Path;

use crate::allowed::Allowed;
use crate::arrows;
use crate::circles::{self, Circle};
use crate::lengths::{self, FileLength, FunctionLength};
use crate::source::{self, StructureError};

/// Rows of the tables of longest files and functions.
const LONGEST: usize = 15;
/// Imports of a circle that are listed; further ones are counted.
const IMPORTS: usize = 12;

/// What the checks found in a workspace.
pub struct Report {
    /// Circles of sibling modules.
    pub circles: Vec<Circle>,
    /// Parents and children that name each other. Not an error.
    pub parent_and_child: Vec<(String, String)>,
    /// Dependencies that the table of crates does not have, or has and no crate uses.
    pub arrows: Vec<String>,
    /// All files, longest first.
    pub files: Vec<FileLength>,
    /// All functions, longest first.
    pub functions: Vec<FunctionLength>,
    /// A row a crate: name, lines below `src`, lines elsewhere, modules, modules in circles.
    pub crates: Vec<(String, usize, usize, usize, usize)>,
}

impl Report {
    /// Reads the workspace in `root` and runs all checks.
    pub fn of(root: &Path) -> Result<Self, StructureError> {
        let crates = source::read(root)?;
        let mut report = Self {
            circles: Vec::new(),
            parent_and_child: Vec::new(),
            arrows: arrows::wrong(&crates),
            files: Vec::new(),
            functions: Vec::new(),
            crates: Vec::new(),
        };
        for krate in &crates {
            let found = circles::find(krate);
            let (files, functions) = lengths::measure(root, krate)?;
            let total: usize = files.iter().map(|f| f.lines).sum();
            let library: usize = files.iter().filter(|f| f.file.contains("/src/")).map(|f| f.lines).sum();
            report.crates.push((
                krate.name.clone(),
                library,
                total - library,
                found.modules,
                found.in_circles,
            ));
            report.circles.extend(found.circles);
            report.parent_and_child.extend(found.parent_and_child);
            report.files.extend(files);
            report.functions.extend(functions);
        }
        report.files.sort_by(|a, b| b.lines.cmp(&a.lines).then(a.file.cmp(&b.file)));
        report.functions.sort_by(|a, b| b.lines.cmp(&a.lines).then(a.key().cmp(&b.key())));
        Ok(report)
    }

    /// All offenders, to hold against a list of exceptions.
    pub fn offenders(&self) -> Allowed {
        let long_functions = self.functions.iter().filter(|f| f.lines > lengths::MOST_FUNCTION_LINES);
        let long_files = self.files.iter().filter(|f| f.lines > lengths::MOST_FILE_LINES);
        Allowed {
            circles: self.circles.iter().map(Circle::key).collect(),
            arrows: self.arrows.iter().cloned().collect(),
            functions: long_functions.map(FunctionLength::key).collect(),
            files: long_files.map(|f| f.file.clone()).collect(),
        }
    }

    /// The report as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        _ = self.write_circles(&mut text);
        _ = self.write_crates(&mut text);
        _ = self.write_longest(&mut text);
        text
    }

    fn write_circles(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "== import circles between sibling modules: {}", self.circles.len())?;
        for circle in &self.circles {
            writeln!(out, "{}", circle.key())?;
            for (from, to) in circle.imports.iter().take(IMPORTS) {
                writeln!(out, "    {from} -> {to}")?;
            }
            if circle.imports.len() > IMPORTS {
                writeln!(out, "    and {} more", circle.imports.len() - IMPORTS)?;
            }
        }
        writeln!(out, "== parents and children that name each other: {}", self.parent_and_child.len())?;
        for (parent, child) in &self.parent_and_child {
            writeln!(out, "{parent} <-> {child}")?;
        }
        writeln!(out, "== dependencies where crates and their table differ: {}", self.arrows.len())?;
        self.arrows.iter().try_for_each(|a| writeln!(out, "{a}"))
    }

    fn write_crates(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "== crates")?;
        writeln!(out, "{:<12} {:>7} {:>7} {:>8} {:>11}", "crate", "src", "tests", "modules", "in circles")?;
        let mut sum = (0, 0, 0, 0);
        for (name, library, tests, modules, in_circles) in &self.crates {
            writeln!(out, "{name:<12} {library:>7} {tests:>7} {modules:>8} {in_circles:>11}")?;
            sum = (sum.0 + library, sum.1 + tests, sum.2 + modules, sum.3 + in_circles);
        }
        writeln!(out, "{:<12} {:>7} {:>7} {:>8} {:>11}", "all", sum.0, sum.1, sum.2, sum.3)?;
        let share = 100.0 * sum.3 as f64 / sum.2.max(1) as f64;
        writeln!(out, "modules in circles: {share:.1} %")
    }

    fn write_longest(&self, out: &mut String) -> std::fmt::Result {
        let over = |lengths: &mut dyn Iterator<Item = usize>, most| lengths.filter(|&l| l > most).count();
        let most = lengths::MOST_FILE_LINES;
        let count = over(&mut self.files.iter().map(|f| f.lines), most);
        writeln!(out, "== longest files ({count} over {most} lines)")?;
        for f in self.files.iter().take(LONGEST.max(count)) {
            writeln!(out, "{:>5} {}", f.lines, f.file)?;
        }
        let most = lengths::MOST_FUNCTION_LINES;
        let count = over(&mut self.functions.iter().map(|f| f.lines), most);
        writeln!(out, "== longest functions ({count} over {most} lines)")?;
        for f in self.functions.iter().take(LONGEST.max(count)) {
            writeln!(out, "{:>5} {}:{} {}", f.lines, f.file, f.line, f.name)?;
        }
        Ok(())
    }
}
