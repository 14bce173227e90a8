//! Segmentation objects: written, and read back bit by bit. The files stay in `target/tmp`, where
//! `scripts/verify_segmentation.py` reads them with highdicom.

use ampoule_dicom::{Place, Segment, Segmentation, entries, read};
use ampoule_imaging::Volume;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use std::path::{Path, PathBuf};

fn places(name: &str) -> Vec<Place> {
    let zip = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.zip"));
    entries(&zip).unwrap()
}

const SEGMENTS: [Segment; 2] = [
    Segment { value: 1, name: "brain", colour: Some([255, 0, 0]) },
    Segment { value: 4, name: "bright part", colour: None },
];

/// Writes an object of `labels` and reads it back.
fn written(places: &[Place], labels: &Volume<u16>, path: &Path) -> InMemDicomObject {
    let segmentation = Segmentation {
        places,
        frame: None,
        labels,
        segments: &SEGMENTS,
        model: "tiny",
        version: "1.2.3",
        moment: ["20260102", "030405"],
        uid: &|purpose| format!("2.25.{}", purpose.bytes().map(u64::from).sum::<u64>()),
    };
    let mut bytes = Vec::new();
    segmentation.write(1 << 30, &mut bytes).unwrap();
    std::fs::write(path, &bytes).unwrap();
    dicom_object::open_file(path).unwrap().into_inner()
}

fn text(o: &InMemDicomObject, tag: dicom_core::Tag) -> String {
    o.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_owned()
}

fn floats(o: &InMemDicomObject, tag: dicom_core::Tag) -> Vec<f64> {
    o.element(tag).unwrap().to_multi_float64().unwrap()
}

fn item(o: &InMemDicomObject, tag: dicom_core::Tag) -> &InMemDicomObject {
    &o.element(tag).unwrap().items().unwrap()[0]
}

#[test]
fn every_voxel_of_a_label_is_a_bit_at_its_place() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for name in ["axial", "reversed", "negated", "sagittal", "coronal", "oblique", "enhanced", "ct"] {
        let places = places(name);
        let volume = read(&places, None, 1 << 30).unwrap();
        let image = &volume.image;
        let values = image.to_f32().0;
        let highest = values.data.iter().copied().fold(f32::MIN, f32::max);
        let labels = values.map(|v| if v > 0.6 * highest { 4 } else { u16::from(v > 0.3 * highest) });
        let o = written(&places, &labels, &folder.join(format!("{name}_seg.dcm")));
        image.with_labels(&labels).write(&folder.join(format!("{name}_mask.nii"))).unwrap();
        let frames = o.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
        assert_eq!(text(&o, tags::NUMBER_OF_FRAMES), frames.len().to_string(), "{name}");
        let bits = o.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        let shared = item(&o, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
        let direction =
            floats(item(shared, tags::PLANE_ORIENTATION_SEQUENCE), tags::IMAGE_ORIENTATION_PATIENT);
        let spacing = floats(item(shared, tags::PIXEL_MEASURES_SEQUENCE), tags::PIXEL_SPACING);
        let [columns, rows, _] = labels.dims;
        let inverse = image.affine().inverse().unwrap();
        let mut counts = [0; 2];
        for (i, frame) in frames.iter().enumerate() {
            let of = item(frame, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
            let number: usize = of.element(tags::REFERENCED_SEGMENT_NUMBER).unwrap().to_int().unwrap();
            let origin = floats(item(frame, tags::PLANE_POSITION_SEQUENCE), tags::IMAGE_POSITION_PATIENT);
            for pixel in 0..rows * columns {
                let bit = i * rows * columns + pixel;
                let (x, y) = ((pixel % columns) as f64, (pixel / columns) as f64);
                let lps = [0, 1, 2]
                    .map(|a| origin[a] + x * spacing[1] * direction[a] + y * spacing[0] * direction[3 + a]);
                let at = inverse.apply([-lps[0], -lps[1], lps[2]]);
                assert!(at.iter().all(|v| (v - v.round()).abs() < 1e-3), "{name}: {at:?}");
                let [a, b, c] = at.map(|v| v.round() as usize);
                let set = bits[bit / 8] >> (bit % 8) & 1 == 1;
                assert_eq!(set, labels.at(a, b, c) == SEGMENTS[number - 1].value, "{name}: frame {i} {at:?}");
                counts[number - 1] += usize::from(set);
            }
        }
        for (segment, count) in SEGMENTS.iter().zip(counts) {
            let want = labels.data.iter().filter(|v| **v == segment.value).count();
            assert!(count == want && want > 0, "{name}: {count} of {want} voxels");
        }
    }
}

#[test]
fn it_belongs_to_the_study_and_tells_nothing_more_of_the_patient() {
    let places = places("axial");
    let volume = read(&places, None, 1 << 30).unwrap();
    let labels = Volume::filled(volume.image.dims(), 0);
    let o = written(&places, &labels, &PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("empty_seg.dcm"));
    // Nothing was found, and there is one frame of zeros.
    assert_eq!(text(&o, tags::NUMBER_OF_FRAMES), "1");
    for (tag, want) in [
        (tags::PATIENT_NAME, "Muster^Erika"),
        (tags::PATIENT_ID, "4711"),
        (tags::PATIENT_BIRTH_DATE, "19700101"),
        (tags::PATIENT_SEX, "F"),
        (tags::STUDY_DATE, "20200102"),
        (tags::ACCESSION_NUMBER, "A7"),
        (tags::REFERRING_PHYSICIAN_NAME, ""),
        (tags::MODALITY, "SEG"),
        (tags::SERIES_NUMBER, "9001"),
    ] {
        assert_eq!(text(&o, tag), want, "{tag}");
    }
    assert!(o.get(tags::STUDY_DESCRIPTION).is_none() && o.get(tags::PATIENT_AGE).is_none());
    let segment = item(&o, tags::SEGMENT_SEQUENCE);
    let code = item(segment, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE);
    assert_eq!(
        (text(segment, tags::SEGMENT_LABEL), text(code, tags::CODE_VALUE)),
        ("brain".into(), "12738006".into())
    );
    let series = item(&o, tags::REFERENCED_SERIES_SEQUENCE);
    assert_eq!(series.element(tags::REFERENCED_INSTANCE_SEQUENCE).unwrap().items().unwrap().len(), 7);
}

#[test]
fn labels_of_another_series_are_refused() {
    let labels = Volume::filled([3, 3, 3], 1);
    let segmentation = Segmentation {
        places: &places("axial"),
        frame: None,
        labels: &labels,
        segments: &SEGMENTS,
        model: "",
        version: "",
        moment: ["", ""],
        uid: &|_| "2.25.1".into(),
    };
    assert!(segmentation.write(1 << 30, &mut Vec::new()).is_err());
}
