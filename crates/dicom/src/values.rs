//! Values of elements, as far as they make sense.

use crate::Error;
use dicom_core::Tag;
use dicom_core::header::HasLength;
use dicom_object::InMemDicomObject;

/// A text without the spaces and zeros that fill it up.
pub(crate) fn text(o: &InMemDicomObject, tag: Tag) -> Option<String> {
    o.get(tag)?.to_str().ok().map(|t| trimmed(&t))
}

fn trimmed(t: &str) -> String {
    t.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()
}

/// All texts of an element.
pub(crate) fn texts(o: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let all = o.get(tag).and_then(|e| e.to_multi_str().ok());
    all.map(|t| t.iter().map(|t| trimmed(t)).collect()).unwrap_or_default()
}

/// A whole number.
pub(crate) fn int(o: &InMemDicomObject, tag: Tag) -> Option<i64> {
    o.get(tag)?.to_int().ok()
}

/// A whole number, `absent` where there is no value; an error where the value is no such number.
pub(crate) fn int_or(o: &InMemDicomObject, tag: Tag, absent: i64) -> Result<i64, Error> {
    match o.get(tag).filter(|e| !e.is_empty()) {
        None => Ok(absent),
        Some(e) => e.to_int().map_err(|_| Error::damaged(format!("{tag} is no whole number"))),
    }
}

/// A finite number, `absent` where there is no value; an error where the value is no such number.
pub(crate) fn float_or(o: &InMemDicomObject, tag: Tag, absent: f64) -> Result<f64, Error> {
    match o.get(tag).filter(|e| !e.is_empty()) {
        None => Ok(absent),
        Some(e) => {
            let value = e.to_float64().ok().filter(|v| v.is_finite());
            value.ok_or_else(|| Error::damaged(format!("{tag} is no number")))
        }
    }
}

/// Finite numbers; none where one of them is not.
pub(crate) fn floats(o: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    let all = o.get(tag).and_then(|e| e.to_multi_float64().ok()).unwrap_or_default();
    if all.iter().all(|v| v.is_finite()) { all } else { Vec::new() }
}

/// Three numbers.
pub(crate) fn three(o: &InMemDicomObject, tag: Tag) -> Option<[f64; 3]> {
    floats(o, tag).try_into().ok()
}

/// Two numbers.
pub(crate) fn two(o: &InMemDicomObject, tag: Tag) -> Option<[f64; 2]> {
    floats(o, tag).try_into().ok()
}

/// Items of a sequence.
pub(crate) fn items(o: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    o.get(tag).and_then(|e| e.items()).unwrap_or_default()
}
