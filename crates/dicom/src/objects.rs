//! Objects that are no slices of a volume, and what they are called.

use crate::walk::Pixels;
use dicom_dictionary_std::uids;

/// Storage classes that hold no slices, with what they are.
const OTHERS: &[(&str, &str)] = &[
    (uids::MEDIA_STORAGE_DIRECTORY_STORAGE, "a directory (DICOMDIR)"),
    (uids::ENCAPSULATED_PDF_STORAGE, "a PDF document"),
    (uids::ENCAPSULATED_CDA_STORAGE, "a clinical document"),
    (uids::ENCAPSULATED_STL_STORAGE, "a surface model"),
    (uids::SEGMENTATION_STORAGE, "a segmentation"),
    (uids::LABEL_MAP_SEGMENTATION_STORAGE, "a segmentation"),
    (uids::SURFACE_SEGMENTATION_STORAGE, "a segmentation of surfaces"),
    (uids::RT_STRUCTURE_SET_STORAGE, "a structure set of radiotherapy"),
    (uids::RT_DOSE_STORAGE, "a dose of radiotherapy"),
    (uids::RT_PLAN_STORAGE, "a plan of radiotherapy"),
    (uids::RAW_DATA_STORAGE, "raw data"),
    (uids::SPATIAL_REGISTRATION_STORAGE, "a registration"),
    (uids::MR_SPECTROSCOPY_STORAGE, "a spectrum"),
    (uids::PARAMETRIC_MAP_STORAGE, "a parametric map"),
    (uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE, "a whole slide"),
    (uids::ULTRASOUND_IMAGE_STORAGE, "an ultrasound image"),
    (uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE, "an ultrasound clip"),
    (uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE, "a radiograph"),
    (uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, "a radiograph"),
    (uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING, "a radiograph"),
];

/// Beginnings of storage classes that hold no slices, with what they are.
const FAMILIES: &[(&str, &str)] = &[
    ("1.2.840.10008.5.1.4.1.1.7", "a secondary capture"),
    ("1.2.840.10008.5.1.4.1.1.88.", "a structured report"),
    ("1.2.840.10008.5.1.4.1.1.11.", "a presentation state"),
    ("1.2.840.10008.5.1.4.1.1.9.", "a waveform"),
];

/// What an object is, with its article, where it holds no slices of a volume: by its storage class, its type, the values of
/// a pixel, and its pixels.
pub(crate) fn other(class: &str, image_type: &[String], samples: i64, pixels: &Pixels) -> Option<String> {
    if let Some((_, what)) = OTHERS.iter().find(|(uid, _)| *uid == class) {
        return Some((*what).into());
    }
    if let Some((_, what)) = FAMILIES.iter().find(|(begin, _)| class.starts_with(begin)) {
        return Some((*what).into());
    }
    match pixels {
        Pixels::None => return Some("an object without pixels".into()),
        Pixels::Float => return Some("an image in floating point".into()),
        Pixels::Native { .. } | Pixels::Fragments(_) => {}
    }
    if image_type.iter().any(|t| t.eq_ignore_ascii_case("LOCALIZER")) {
        return Some("a localizer".into());
    }
    (samples != 1).then(|| "an image in colours".into())
}
