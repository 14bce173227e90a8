//! `report.html` and `results.csv` of studies.

mod csv;
mod html;
mod merge;
mod svg;

pub use csv::csv;
pub use html::html;
pub use merge::{comparison, read};
