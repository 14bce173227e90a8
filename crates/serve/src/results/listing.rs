//! The list of cases.

use super::folder::Folder;
use super::review::Review;
use crate::refusal::Refusal;
use ampoule_imaging::picture::palette;
use ampoule_pipeline::{Made, Record};
use serde_json::{Value, json};

/// All cases of a folder with what a list shows of them.
pub(crate) fn listing(folder: &Folder) -> Result<Value, Refusal> {
    let (cases, reviews) = (folder.cases()?, folder.reviews()?);
    Ok(cases.iter().enumerate().map(|(n, made)| one(n, made, &reviews)).collect())
}

fn one(n: usize, made: &Made, reviews: &[Review]) -> Value {
    let mut out = json!({ "n": n, "name": made.name, "status": made.status, "warnings": [] });
    if let Some(reason) = &made.reason {
        out["reason"] = reason.as_str().into();
    }
    if let Some(review) = reviews.iter().find(|r| r.case == made.name) {
        out["verdict"] = review.verdict.as_str().into();
        out["comment"] = review.comment.as_str().into();
    }
    if let Some(record) = &made.record {
        of_record(&mut out, made, record);
    }
    out
}

fn of_record(out: &mut Value, made: &Made, r: &Record) {
    let kind = match (&r.slide, r.orientation.is_empty()) {
        (Some(_), _) => "slide",
        (None, false) => "volume",
        (None, true) => "photo",
    };
    let labels = r.labels.iter().enumerate().map(|(i, m)| {
        let [red, green, blue] = palette(i);
        json!({
            "name": m.name, "value": m.value, "ml": m.ml, "mm2": m.mm2, "share": m.share,
            "colour": [red, green, blue],
        })
    });
    out["kind"] = kind.into();
    out["labels"] = labels.collect();
    out["model"] = r.model.as_str().into();
    out["task"] = r.task.as_str().into();
    out["summary"] = r.summary().into();
    out["scores"] = r.scores.iter().map(|(name, v)| json!([name, v])).collect();
    out["warnings"] = r.warnings.as_slice().into();
    out["seconds"] = r.timings_ms.get("total").and_then(Value::as_f64).map(|ms| ms / 1e3).into();
    out["precision"] = r.precision.as_str().into();
    out["mask"] = (!made.outputs("labels").is_empty()).into();
    out["picture"] = (!made.outputs("picture").is_empty()).into();
    out["heat"] = match kind {
        "slide" => made.outputs("probability").len(),
        _ => made.outputs("heat").len(),
    }
    .into();
}
