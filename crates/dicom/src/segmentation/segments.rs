//! Segments: what each label is, and what found it.

use super::codes::{self, BACKGROUND, INTELLIGENCE};
use super::shared::{coded, item, number, sequence, text};
use super::{Kind, Segment, Segmentation};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

pub(super) fn segments(s: &Segmentation) -> Vec<InMemDicomObject> {
    let all = s.segments.iter();
    match s.kind {
        Kind::Binary => all.zip(1..).map(|(segment, number)| one(s, number, segment)).collect(),
        // The numbers of segments are the values of pixels, and 0 is one of them.
        Kind::Labelmap => {
            let labels = all.map(|segment| one(s, segment.value, segment));
            std::iter::once(background()).chain(labels).collect()
        }
    }
}

/// What has no label.
fn background() -> InMemDicomObject {
    item([
        number(tags::SEGMENT_NUMBER, 0),
        text(tags::SEGMENT_LABEL, VR::LO, "Background"),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "MANUAL"),
        coded(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &BACKGROUND),
        coded(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, &BACKGROUND),
    ])
}

fn one(s: &Segmentation, count: u16, segment: &Segment) -> InMemDicomObject {
    let [category, kind] = codes::of(segment.name);
    let short = |t: &str| t.chars().filter(|c| !c.is_control() && *c != '\\').take(64).collect::<String>();
    let algorithm = item([
        coded(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, &INTELLIGENCE),
        text(tags::ALGORITHM_NAME, VR::LO, &short(s.model)),
        text(tags::ALGORITHM_VERSION, VR::LO, &short(s.version)),
    ]);
    let mut out = item([
        number(tags::SEGMENT_NUMBER, count),
        text(tags::SEGMENT_LABEL, VR::LO, &short(segment.name)),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, &short(s.model)),
        coded(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &category),
        coded(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, &kind),
        sequence(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![algorithm]),
    ]);
    if let Some(colour) = segment.colour {
        let lab = PrimitiveValue::U16(lab(colour).into_iter().collect());
        out.put(DataElement::new(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, lab));
    }
    out
}

/// A colour of sRGB in CIELab (white point D65), scaled as PS3.3, C.10.7.1.1 says.
fn lab(rgb: [u8; 3]) -> [u16; 3] {
    let linear = rgb.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    });
    let xyz = [
        ([0.4124564, 0.3575761, 0.1804375], 0.95047),
        ([0.2126729, 0.7151522, 0.0721750], 1.0),
        ([0.0193339, 0.1191920, 0.9503041], 1.08883),
    ];
    let [x, y, z] = xyz.map(|(row, white)| {
        let t: f64 = row.iter().zip(linear).map(|(a, b)| a * b).sum::<f64>() / white;
        if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 }
    });
    let scaled =
        |v: f64, low: f64, range: f64| ((v - low) / range * 65535.0).round().clamp(0.0, 65535.0) as u16;
    [
        scaled(116.0 * y - 16.0, 0.0, 100.0),
        scaled(500.0 * (x - y), -128.0, 255.0),
        scaled(200.0 * (y - z), -128.0, 255.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_scaled() {
        assert_eq!(lab([0, 0, 0]), [0, 32896, 32896]);
        let [l, a, b] = lab([255, 255, 255]);
        assert!(l > 65500 && a.abs_diff(32896) < 20 && b.abs_diff(32896) < 20, "{l} {a} {b}");
        assert!(lab([255, 0, 0])[1] > 50000);
    }
}
