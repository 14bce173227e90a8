//! Segmentation objects: written, and read back bit by bit. The files stay in `target/tmp`, where
//! `scripts/verify_segmentation.py` reads them with highdicom.

use ampoule_dicom::{Place, Segment, Segmentation, SegmentationKind, entries, read};
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
    written_as(SegmentationKind::Binary, &SEGMENTS, places, labels, path)
}

fn written_as(
    kind: SegmentationKind,
    segments: &[Segment],
    places: &[Place],
    labels: &Volume<u16>,
    path: &Path,
) -> InMemDicomObject {
    let segmentation = Segmentation {
        kind,
        places,
        frame: None,
        labels,
        segments,
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
fn a_label_map_holds_every_label_at_its_place() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let brain = SEGMENTS[0];
    for (name, high) in [("axial", 4), ("sagittal", 4), ("oblique", 300), ("ct", 300), ("enhanced", 4)] {
        let places = places(name);
        let volume = read(&places, None, 1 << 30).unwrap();
        let values = volume.image.to_f32().0;
        let highest = values.data.iter().copied().fold(f32::MIN, f32::max);
        let one = |v: f32| match v / highest {
            r if r > 0.6 => high,
            r if r > 0.3 => 1,
            // No segment has this value.
            r if r > 0.25 => 2,
            _ => 0,
        };
        let labels = values.map(one);
        let segments = [Segment { value: high, name: "bright part", colour: None }, brain];
        let path = folder.join(format!("{name}_labelmap.dcm"));
        let o = written_as(SegmentationKind::Labelmap, &segments, &places, &labels, &path);
        let known = labels.map(|v| if v == 2 { 0 } else { v });
        volume.image.with_labels(&known).write(&folder.join(format!("{name}_labelmap.nii"))).unwrap();
        let wide = high > 255;
        assert_eq!(text(&o, tags::SEGMENTATION_TYPE), "LABELMAP");
        assert_eq!(
            o.element(tags::BITS_ALLOCATED).unwrap().to_int::<u16>().unwrap(),
            if wide { 16 } else { 8 }
        );
        let bytes = o.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        let pixels: Vec<u16> = match wide {
            true => bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect(),
            false => bytes.iter().map(|b| u16::from(*b)).collect(),
        };
        let frames = o.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap().items().unwrap();
        let [columns, rows, _] = known.dims;
        let mut count = 0;
        for (i, frame) in frames.iter().enumerate() {
            let content = item(frame, tags::FRAME_CONTENT_SEQUENCE);
            let z: usize = content.element(tags::DIMENSION_INDEX_VALUES).unwrap().to_int().unwrap();
            for (at, v) in pixels[i * rows * columns..][..rows * columns].iter().enumerate() {
                // The first row of a frame is the last one of the volume.
                assert_eq!(*v, known.at(at % columns, rows - 1 - at / columns, z - 1), "{name}: frame {i}");
                count += usize::from(*v > 0);
            }
        }
        assert_eq!(count, known.data.iter().filter(|v| **v > 0).count(), "{name}");
        let numbers: Vec<u16> = o
            .element(tags::SEGMENT_SEQUENCE)
            .unwrap()
            .items()
            .unwrap()
            .iter()
            .map(|s| s.element(tags::SEGMENT_NUMBER).unwrap().to_int().unwrap())
            .collect();
        assert_eq!(numbers, [0, high, 1]);
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
        kind: SegmentationKind::Labelmap,
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
