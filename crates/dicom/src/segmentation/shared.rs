//! Elements, what is copied of patient and study, and what all frames share.

use super::codes::{Code, DERIVED, SOURCE};
use super::{Kind, Origin};
use crate::values;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// What files an object in an archive: the modules Patient and General Study as far as the standard requires them, sorted.
pub(crate) const COPIED: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
];

/// Copies the elements of patient and study; one that is missing is empty.
pub(crate) fn copy(study: &InMemDicomObject, into: &mut InMemDicomObject) {
    for (tag, vr) in
        COPIED.iter().zip([VR::CS, VR::DA, VR::TM, VR::SH, VR::PN, VR::LO, VR::DA, VR::CS, VR::UI, VR::SH])
    {
        into.put(text(*tag, vr, &values::text(study, *tag).unwrap_or_default()));
    }
}

pub(crate) fn text(tag: Tag, vr: VR, value: &str) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

pub(crate) fn words(tag: Tag, vr: VR, values: &[&str]) -> InMemElement {
    let all = values.iter().map(|v| (*v).to_owned()).collect();
    DataElement::new(tag, vr, PrimitiveValue::Strs(all))
}

pub(crate) fn number(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

pub(crate) fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

pub(crate) fn item(elements: impl IntoIterator<Item = InMemElement>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

/// Decimal strings of at most 16 characters.
pub(crate) fn decimals(tag: Tag, values: &[f64]) -> InMemElement {
    let all: Vec<String> = values.iter().map(|v| decimal(*v)).collect();
    words(tag, VR::DS, &all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn decimal(v: f64) -> String {
    // 0 has no sign.
    let v = if v == 0.0 { 0.0 } else { v };
    let fits = |t: &String| t.len() <= 16;
    let exact = Some(v.to_string()).filter(fits);
    let rounded = || (0..=14).rev().map(|digits| format!("{v:.digits$}")).find(fits);
    let short = || (0..=8).rev().map(|digits| format!("{v:.digits$e}")).find(fits);
    exact.or_else(|| rounded().filter(|_| v.abs() > 1e-6)).or_else(short).unwrap_or_else(|| "0".into())
}

/// A sequence of one code.
pub(crate) fn coded(tag: Tag, code: &Code<'_>) -> InMemElement {
    let one = item([
        text(tags::CODE_VALUE, VR::SH, code.value),
        text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, code.scheme),
        text(tags::CODE_MEANING, VR::LO, code.meaning),
    ]);
    sequence(tag, vec![one])
}

/// The series with all instances that the labels were found in.
pub(super) fn referenced_series(origin: &Origin) -> InMemDicomObject {
    let one = |h: &crate::header::Header| {
        item([
            text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &h.sop_class),
            text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &h.sop_uid),
        ])
    };
    item([
        text(tags::SERIES_INSTANCE_UID, VR::UI, &origin.headers[0].series_uid),
        sequence(tags::REFERENCED_INSTANCE_SEQUENCE, origin.headers.iter().map(one).collect()),
    ])
}

pub(super) fn organization(uid: &str) -> InMemDicomObject {
    item([text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, uid)])
}

/// Frames are counted by segment, where they have one, then by position.
pub(super) fn dimensions(organization: &str, kind: Kind) -> Vec<InMemDicomObject> {
    let one = |(pointer, group, label): (Tag, Tag, &str)| {
        let tag = |at: Tag, value: Tag| DataElement::new(at, VR::AT, PrimitiveValue::from(value));
        item([
            text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization),
            tag(tags::DIMENSION_INDEX_POINTER, pointer),
            tag(tags::FUNCTIONAL_GROUP_POINTER, group),
            text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label),
        ])
    };
    let segment = (tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "Segment Number");
    let position = (tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Image Position Patient");
    match kind {
        Kind::Binary => [segment, position].map(one).into(),
        Kind::Labelmap => vec![one(position)],
    }
}

/// What all frames share: distances and directions.
pub(super) fn groups(origin: &Origin) -> InMemDicomObject {
    let slices = &origin.stack.frames[origin.frame];
    let first = &slices[0];
    let distance = origin.stack.affine.spacing()[2];
    let measures = item([
        decimals(tags::PIXEL_SPACING, &first.spacing),
        decimals(tags::SLICE_THICKNESS, &[distance]),
        decimals(tags::SPACING_BETWEEN_SLICES, &[distance]),
    ]);
    let orientation = item([decimals(tags::IMAGE_ORIENTATION_PATIENT, &first.orientation.concat())]);
    item([
        sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![measures]),
        sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation]),
    ])
}

/// The image that a frame was derived from.
pub(super) fn derivation(origin: &Origin, instance: usize, frame: usize) -> InMemDicomObject {
    let h = &origin.headers[instance];
    let mut source = item([
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &h.sop_class),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &h.sop_uid),
        coded(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, &SOURCE),
        text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES"),
    ]);
    if h.frames.len() > 1 {
        source.put(text(tags::REFERENCED_FRAME_NUMBER, VR::IS, &(frame + 1).to_string()));
    }
    item([
        sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![source]),
        coded(tags::DERIVATION_CODE_SEQUENCE, &DERIVED),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_fit_in_sixteen_characters() {
        for (v, want) in [
            (0.9, "0.9"),
            (-0.0, "0"),
            (-12.345678901234567, "-12.345678901235"),
            (1.23456789012345e-9, "1.23456789e-9"),
        ] {
            assert_eq!(decimal(v), want);
        }
        for v in [1e300, -1e-300, 123_456_789.123_456_79, f64::MIN_POSITIVE] {
            assert!(decimal(v).len() <= 16, "{}", decimal(v));
        }
    }
}
