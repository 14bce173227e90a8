//! The whole data set.

use super::frames::frames;
use super::segments::segments;
use super::shared::{self, number, sequence, text, words};
use super::{Kind, Origin, Segmentation};
use crate::Error;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

/// The object without the file's own description.
pub(super) fn object(
    s: &Segmentation,
    origin: &Origin,
    study: &InMemDicomObject,
) -> Result<InMemDicomObject, Error> {
    let mut o = InMemDicomObject::new_empty();
    shared::copy(study, &mut o);
    let (source, [date, time]) = (&origin.headers[0], s.moment);
    let series = format!("{}|{}", source.study_uid, source.series_uid);
    let uid = |purpose: &str| (s.uid)(&format!("{purpose}|{series}"));
    let name = |t: &str, most: usize| {
        t.chars().filter(|c| !c.is_control() && *c != '\\').take(most).collect::<String>()
    };
    let (class, kind) = match s.kind {
        Kind::Binary => (uids::SEGMENTATION_STORAGE, "BINARY"),
        Kind::Labelmap => (uids::LABEL_MAP_SEGMENTATION_STORAGE, "LABELMAP"),
    };
    for (tag, vr, value) in [
        (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192".to_owned()),
        (tags::SOP_CLASS_UID, VR::UI, class.into()),
        (tags::SOP_INSTANCE_UID, VR::UI, uid("instance")),
        (tags::SERIES_INSTANCE_UID, VR::UI, uid("series")),
        (tags::MODALITY, VR::CS, "SEG".into()),
        (tags::SERIES_DESCRIPTION, VR::LO, name(&format!("Segmentation by {}", s.model), 64)),
        (tags::CONTENT_DATE, VR::DA, date.into()),
        (tags::CONTENT_TIME, VR::TM, time.into()),
        (tags::SERIES_DATE, VR::DA, date.into()),
        (tags::SERIES_TIME, VR::TM, time.into()),
        (tags::MANUFACTURER, VR::LO, "Ampoule".into()),
        (tags::MANUFACTURER_MODEL_NAME, VR::LO, name(s.model, 64)),
        (tags::DEVICE_SERIAL_NUMBER, VR::LO, "0".into()),
        (tags::SOFTWARE_VERSIONS, VR::LO, name(s.version, 64)),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, String::new()),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO, String::new()),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference(origin, &uid)),
        (tags::CONTENT_LABEL, VR::CS, "SEGMENTATION".into()),
        (tags::CONTENT_DESCRIPTION, VR::LO, name(&format!("Labels of the model {}", s.model), 64)),
        (tags::CONTENT_CREATOR_NAME, VR::PN, String::new()),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into()),
        (tags::LOSSY_IMAGE_COMPRESSION, VR::CS, if source.lossy { "01" } else { "00" }.into()),
        (tags::SEGMENTATION_TYPE, VR::CS, kind.into()),
        (tags::SEGMENTS_OVERLAP, VR::CS, "NO".into()),
    ] {
        o.put(text(tag, vr, &value));
    }
    o.put(words(tags::IMAGE_TYPE, VR::CS, &["DERIVED", "PRIMARY"]));
    // A number behind those of scanners' series.
    let series_number = source.series_number.filter(|n| (0..1_000_000).contains(n)).unwrap_or(0) + 9000;
    o.put(text(tags::SERIES_NUMBER, VR::IS, &series_number.to_string()));
    o.put(text(tags::INSTANCE_NUMBER, VR::IS, "1"));
    let made = frames(s, origin)?;
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, source.rows as u16),
        (tags::COLUMNS, source.columns as u16),
        (tags::BITS_ALLOCATED, made.bits),
        (tags::BITS_STORED, made.bits),
        (tags::HIGH_BIT, made.bits - 1),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        o.put(number(tag, value));
    }
    o.put(sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![shared::referenced_series(origin)]));
    let organization = uid("dimensions");
    o.put(sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![shared::organization(&organization)]));
    o.put(sequence(tags::DIMENSION_INDEX_SEQUENCE, shared::dimensions(&organization, s.kind)));
    o.put(sequence(tags::SEGMENT_SEQUENCE, segments(s)));
    o.put(sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared::groups(origin)]));
    if s.kind == Kind::Labelmap {
        o.put(number(tags::PIXEL_PADDING_VALUE, 0));
    }
    o.put(text(tags::NUMBER_OF_FRAMES, VR::IS, &made.items.len().to_string()));
    o.put(sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, made.items));
    o.put(DataElement::new(tags::PIXEL_DATA, made.vr, made.pixels));
    Ok(o)
}

/// The frame of reference of the series, else one of its own.
fn frame_of_reference(origin: &Origin, uid: &dyn Fn(&str) -> String) -> String {
    match origin.headers[0].frame_of_reference.as_str() {
        "" => uid("frame of reference"),
        own => own.to_owned(),
    }
}
