//! Whole slides against what OpenSlide reads (`scripts/golden_scanners.py`), and files that are damaged or of another kind.

use ampoule_dicom::{Place, open_slide, whole_slides};
use ampoule_imaging::photo::Photo;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/slides")
}

fn places(folder: &Path) -> Vec<Place> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all.into_iter().map(Place::file).collect()
}

#[test]
fn levels_read_as_in_openslide() {
    let text = std::fs::read_to_string(folder().join("golden.json")).unwrap();
    let golden: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(golden.len() >= 4);
    for (name, want) in golden {
        let found = whole_slides(&places(&folder().join(&name)), 1 << 30);
        assert_eq!((found.slides.len(), found.failed.len()), (1, 0), "{name}: {:?}", found.failed);
        assert_eq!(found.slides[0].name, "3_HE_section");
        let [label] = &found.others[..] else { panic!("{name}: {:?}", found.others) };
        assert!(label.what.contains("label"), "{}", label.what);
        let slide =
            open_slide(&found.slides[0].places, 1 << 20, 1 << 30).unwrap_or_else(|e| panic!("{name}: {e}"));
        let levels: Vec<[u64; 2]> = slide.levels.iter().map(|l| [l.width, l.height]).collect();
        let wanted: Vec<[u64; 2]> = serde_json::from_value(want["levels"].clone()).unwrap();
        assert_eq!((levels, slide.kind), (wanted, "DICOM"), "{name}");
        assert!((slide.mpp.unwrap() - want["mpp"].as_f64().unwrap()).abs() < 1e-6, "{name}: {:?}", slide.mpp);
        for picture in want["pictures"].as_array().unwrap() {
            let level = picture[0].as_u64().unwrap() as usize;
            let expected = Photo::read(&folder().join(picture[1].as_str().unwrap())).unwrap();
            let got = slide.region(level, 0, 0, expected.width, expected.height).unwrap();
            let apart = got.rgb.iter().zip(&expected.rgb).map(|(a, b)| a.abs_diff(*b));
            let most = apart.max().unwrap_or(0);
            let bound = if ["full_j2k", "plain"].contains(&name.as_str()) { 0 } else { 4 };
            assert!(most <= bound, "{name}, level {level}: {most}");
        }
    }
}

/// The first level of a slide with bytes changed, opened.
fn changed(name: &str, change: impl Fn(&mut Vec<u8>)) -> Result<(), String> {
    let mut bytes = std::fs::read(folder().join(name).join("0.dcm")).unwrap();
    change(&mut bytes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let slide = open_slide(&[Place::file(file.path())], 1 << 20, 1 << 28).map_err(|e| e.to_string())?;
    let l = slide.levels[0].clone();
    slide.region(0, 0, 0, l.width as usize, l.height as usize).map(drop).map_err(|e| e.to_string())
}

/// Replaces the value of an element of explicit VR that is found by its tag.
fn set(bytes: &mut [u8], tag: [u8; 4], value: &[u8]) {
    let at = bytes.windows(4).position(|w| w == tag).unwrap();
    bytes[at + 8..at + 8 + value.len()].copy_from_slice(value);
}

#[test]
fn damaged_levels_are_refused() {
    // Total Pixel Matrix Columns, Rows; Columns; Bits Allocated.
    let (columns, width, bits) = ([0x48, 0, 6, 0], [0x28, 0, 0x11, 0], [0x28, 0, 0, 1]);
    for (name, want, tag, value) in [
        ("full_jpeg", "tiles are described", columns, &[0, 8, 0, 0][..]),
        ("full_jpeg", "(0048,0006) is", columns, &[0xff; 4]),
        ("full_jpeg", "tiles are described", width, &[64, 0]),
        ("full_jpeg", "bits a sample", bits, &[16, 0]),
        ("sparse", "beyond the image", columns, &[100, 0, 0, 0]),
        ("sparse", "do not lie side by side", width, &[100, 0]),
    ] {
        let e = changed(name, |b| set(b, tag, value)).unwrap_err();
        assert!(e.contains(want), "{name}: {e}");
    }
    assert!(changed("full_jpeg", |_| {}).is_ok());
    for cut in [200, 900, 3000, 8000] {
        assert!(changed("full_jpeg", |b| b.truncate(b.len() - cut)).is_err(), "{cut}");
    }
}

#[test]
fn slices_of_volumes_are_no_slides() {
    let all = ampoule_dicom::entries(&folder().with_file_name("axial.zip")).unwrap();
    let found = whole_slides(&all, 1 << 30);
    assert!(found.slides.is_empty() && found.failed.is_empty());
    assert!(found.others.iter().any(|o| o.what == "a slice of a volume"), "{:?}", found.others);
}
