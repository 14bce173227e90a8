//! A picture as a Secondary Capture Image (PS3.3, A.8).

use super::{Derived, Source};
use crate::Error;
use crate::segmentation::shared::{number, sequence, text, words};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

pub(super) fn object(
    d: &Derived,
    source: &Source,
    [width, height]: [usize; 2],
    rgb: &[u8],
) -> Result<InMemDicomObject, Error> {
    let (Ok(columns), Ok(rows)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(Error::Unsupported("the picture is too large for DICOM".into()));
    };
    if rgb.len() != 3 * width * height {
        return Err(Error::damaged("the picture has another number of pixels than its size says"));
    }
    let class = uids::SECONDARY_CAPTURE_IMAGE_STORAGE;
    let mut o = d.begun(source, class, "OT", "Picture", 9200);
    o.put(words(tags::IMAGE_TYPE, VR::CS, &["DERIVED", "SECONDARY"]));
    for (tag, vr, value) in [
        (tags::CONVERSION_TYPE, VR::CS, "WSD"),
        (tags::BURNED_IN_ANNOTATION, VR::CS, "YES"),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"),
        (tags::PATIENT_ORIENTATION, VR::CS, ""),
        (
            tags::DERIVATION_DESCRIPTION,
            VR::ST,
            "Planes of the series with outlines of the labels that were found; not for diagnosis",
        ),
    ] {
        o.put(text(tag, vr, value));
    }
    o.put(sequence(tags::SOURCE_IMAGE_SEQUENCE, source.instances()));
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 3),
        (tags::PLANAR_CONFIGURATION, 0),
        (tags::ROWS, rows),
        (tags::COLUMNS, columns),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        o.put(number(tag, value));
    }
    let mut pixels = rgb.to_vec();
    pixels.resize(pixels.len().next_multiple_of(2), 0);
    o.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(pixels)));
    Ok(o)
}
