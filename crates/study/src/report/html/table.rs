//! Tables that fit: columns on wide pages, a card a row with the columns' names in it on narrow ones.

use crate::report::svg::escape;
use std::fmt::Write;

/// A column: its name, and whether it holds text rather than numbers.
pub(super) type Column<'a> = (&'a str, bool);

/// A table that is being written.
pub(super) struct Table<'a> {
    columns: Vec<Column<'a>>,
    out: String,
}

impl<'a> Table<'a> {
    pub fn new(columns: &[Column<'a>]) -> Table<'a> {
        let mut out = String::from("<div class=\"wide\"><table>");
        if columns.iter().any(|c| !c.0.is_empty()) {
            out.push_str("<thead><tr>");
            for (name, text) in columns {
                let class = if *text { " class=\"text\"" } else { "" };
                let _ = write!(out, "<th{class}>{}</th>", escape(name));
            }
            out.push_str("</tr></thead>");
        }
        Table { columns: columns.to_vec(), out }
    }

    /// A line above the columns.
    pub fn note(&mut self, text: &str) {
        let _ = write!(self.out, "<caption class=\"soft\">{}</caption>", escape(text));
    }

    /// A row of cells that are HTML; the last one spans the columns that are left.
    pub fn row(&mut self, cells: &[String]) {
        self.out.push_str("<tr>");
        for (i, (cell, (name, text))) in cells.iter().zip(&self.columns).enumerate() {
            let spanned = self.columns.len() - i;
            let last = i + 1 == cells.len() && spanned > 1;
            let class = if *text || last { " class=\"text\"" } else { "" };
            let span = if last { format!(" colspan=\"{spanned}\"") } else { String::new() };
            // The first cell names the row.
            let label = match i == 0 || last || name.is_empty() {
                true => String::new(),
                false => format!(" data-label=\"{}\"", escape(name)),
            };
            let _ = write!(self.out, "<td{class}{span}{label}>{cell}</td>");
        }
        self.out.push_str("</tr>");
    }

    pub fn finish(self) -> String {
        self.out + "</table></div>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_carry_the_names_of_their_columns() {
        let mut t = Table::new(&[("variant", true), ("<n>", false), ("ms", false)]);
        t.row(&["a".into(), "1".into(), "2".into()]);
        t.row(&["b".into(), "it failed".into()]);
        let page = t.finish();
        assert!(page.contains("<th>&lt;n&gt;</th>") && !page.contains("<n>"), "{page}");
        assert!(page.contains("<td data-label=\"ms\">2</td>"), "{page}");
        assert!(page.contains("<td class=\"text\" colspan=\"2\">it failed</td>"), "{page}");
    }
}
