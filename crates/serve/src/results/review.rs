//! What people say of results: `review.csv` in the output folder, a row a case.

use crate::refusal::Refusal;
use ampoule_files::write_atomic;
use ampoule_pipeline::{Table, csv_field as field};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

/// Longest comment in characters.
const LONGEST: usize = 2000;
/// What can be said in a word; nothing takes it back.
const VERDICTS: [&str; 3] = ["pass", "fail", ""];

/// What somebody says of a case.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub(crate) struct Review {
    pub case: String,
    /// `pass`, `fail`, or nothing.
    pub verdict: String,
    #[serde(default)]
    pub comment: String,
}

/// The table. It is read again before each change: people may edit it beside the page.
pub(super) struct Reviews {
    path: PathBuf,
    /// One change at a time.
    writing: Mutex<()>,
}

impl Reviews {
    pub fn new(path: PathBuf) -> Reviews {
        Reviews { path, writing: Mutex::default() }
    }

    /// All rows.
    pub fn all(&self) -> Result<Vec<Review>, Refusal> {
        if self.path.symlink_metadata().is_err() {
            return Ok(Vec::new());
        }
        let table = Table::read(&self.path).map_err(super::fault::failed)?;
        let column = |name: &str| table.column(&[name]);
        let (Some(case), Some(verdict), Some(comment)) =
            (column("case"), column("verdict"), column("comment"))
        else {
            let path = self.path.display();
            let message =
                format!("{path}: it is none of this program's tables; move it away to review cases");
            return Err(Refusal::new(axum::http::StatusCode::CONFLICT, message));
        };
        let row = |(_, r): (usize, Vec<String>)| Review {
            case: r[case].clone(),
            verdict: r[verdict].clone(),
            comment: r[comment].clone(),
        };
        Ok(table.rows.into_iter().map(row).collect())
    }

    /// Notes a review in the place of an earlier one of the same case.
    pub fn note(&self, mut review: Review) -> Result<(), Refusal> {
        if !VERDICTS.contains(&review.verdict.as_str()) {
            return Err(Refusal::bad("a verdict is `pass`, `fail` or empty"));
        }
        review.comment = review.comment.trim().chars().take(LONGEST).collect();
        let _one = self.writing.lock().unwrap_or_else(|e| e.into_inner());
        let mut all = self.all()?;
        let empty = review.verdict.is_empty() && review.comment.is_empty();
        match all.iter().position(|r| r.case == review.case) {
            Some(i) if empty => drop(all.remove(i)),
            Some(i) => all[i] = review,
            None if empty => {}
            None => all.push(review),
        }
        let write = |out: &mut dyn Write| {
            writeln!(out, "case,verdict,comment")?;
            all.iter().try_for_each(|r| {
                writeln!(out, "{},{},{}", field(&r.case), field(&r.verdict), field(&r.comment))
            })
        };
        let path = self.path.display();
        write_atomic(&self.path, write).map_err(|e| Refusal::fault(format!("{path}: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reviews_are_replaced_taken_back_and_kept_from_others() {
        let d = tempfile::tempdir().unwrap();
        let path = d.path().join("review.csv");
        let reviews = Reviews::new(path.clone());
        let review = |case: &str, verdict: &str, comment: &str| Review {
            case: case.into(),
            verdict: verdict.into(),
            comment: comment.into(),
        };
        reviews.note(review("a/b", "pass", "")).unwrap();
        reviews.note(review("c,d", "fail", "leaks, \"here\"\nand there")).unwrap();
        reviews.note(review("a/b", "fail", "=cmd")).unwrap();
        let all = reviews.all().unwrap();
        assert_eq!(all, [review("a/b", "fail", "=cmd"), review("c,d", "fail", "leaks, \"here\" and there")]);
        reviews.note(review("a/b", "", " ")).unwrap();
        assert_eq!(reviews.all().unwrap().len(), 1);
        assert!(reviews.note(review("a/b", "maybe", "")).is_err());
        std::fs::write(&path, "x,y\n1,2\n").unwrap();
        assert!(reviews.note(review("a/b", "pass", "")).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"x,y\n1,2\n");
    }
}
