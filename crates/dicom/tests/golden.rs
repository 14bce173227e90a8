//! Series that `scripts/golden_dicom.py` wrote, against the grid and the values of dcm2niix and pydicom.

use ampoule_dicom::{Error, Place, Scan, entries, read, scan};
use ampoule_imaging::geometry::{Affine, Orientation};
use std::path::PathBuf;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn places(name: &str) -> Vec<Place> {
    entries(&golden().join(format!("{name}.zip"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn scanned(name: &str) -> Scan {
    scan(&places(name), 1 << 30)
}

fn rows(v: &serde_json::Value) -> Affine {
    let row = |i: usize| [0, 1, 2, 3].map(|j| v[i][j].as_f64().unwrap());
    Affine([0, 1, 2].map(row))
}

fn json() -> serde_json::Map<String, serde_json::Value> {
    let text = std::fs::read_to_string(golden().join("golden.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap().as_object().unwrap().clone()
}

/// What a lossy decoder may differ by from another.
fn tolerance(name: &str) -> f32 {
    match name {
        "jpeg_baseline" => 1.0,
        "pet" => 1e-3,
        _ => 0.0,
    }
}

#[test]
fn grids_and_values_are_those_of_dcm2niix_and_pydicom() {
    for (name, want) in json() {
        let found = scanned(&name);
        assert_eq!((found.series.len(), found.failed.len()), (1, 0), "{name}: {:?}", found.failed);
        let series = &found.series[0];
        let shape = series.shape.as_ref().unwrap_or_else(|e| panic!("{name}: {e}"));
        let volume = read(&series.places, None, 1 << 30).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(shape.dims, volume.image.dims(), "{name}");
        let affine = volume.image.affine();
        let turn = Orientation::of(&affine);
        let values = turn.to_canonical(&volume.image.to_f32().0);
        let size = [0, 1, 2].map(|i| want["shape"][i].as_u64().unwrap() as usize);
        assert_eq!(values.dims, size, "{name}");
        let apart =
            canonical(&affine, volume.image.dims()).largest_displacement(&rows(&want["affine"]), size);
        assert!(apart < 1e-4, "{name}: {apart} mm");
        let pairs = values.data.iter().zip(want["values"].as_array().unwrap());
        let most = pairs.map(|(v, w)| (v - w.as_f64().unwrap() as f32).abs()).fold(0.0, f32::max);
        assert!(most <= tolerance(&name), "{name}: values are up to {most} apart");
        // The axes of the file are those that dcm2niix writes, too; it turns what was acquired in 3D to RAS.
        let turned = !["ct", "pet", "implicit", "j2k_signed", "enhanced"].contains(&name.as_str());
        if let Some(own) = want.get("dcm2niix").filter(|_| !turned) {
            let theirs = [0, 1, 2].map(|i| own["shape"][i].as_u64().unwrap() as usize);
            let apart = affine.largest_displacement(&rows(&own["affine"]), theirs);
            assert!(theirs == volume.image.dims() && apart < 1e-4, "{name}: {theirs:?}, {apart} mm");
        }
    }
}

/// The affine of a volume whose axes are turned to right, anterior, superior.
fn canonical(a: &Affine, dims: [usize; 3]) -> Affine {
    let o = Orientation::of(a);
    let mut out = *a;
    let mut origin = [0, 1, 2].map(|r| a.0[r][3]);
    for i in 0..3 {
        let sign = if o.flip[i] { -1.0 } else { 1.0 };
        for (r, origin) in origin.iter_mut().enumerate() {
            out.0[r][o.axis[i]] = sign * a.0[r][i];
            *origin += if o.flip[i] { a.0[r][i] * (dims[i] as f64 - 1.0) } else { 0.0 };
        }
    }
    (0..3).for_each(|r| out.0[r][3] = origin[r]);
    out
}

#[test]
fn several_series_are_told_apart_and_other_objects_are_named() {
    let found = scanned("two");
    let names: Vec<String> = found.series.iter().map(|s| s.name()).collect();
    // A description that holds the patient's name gives no name.
    assert_eq!(names, ["3_T1_mprage_sag", "series_5"]);
    assert!(found.series.iter().all(|s| s.shape.is_ok() && s.modality == "MR"));
    let others: Vec<(&str, usize)> = found.others.iter().map(|o| (o.what.as_str(), o.count)).collect();
    assert_eq!(others, [("a PDF document", 1), ("a localizer", 1)]);
    assert_eq!((found.failed.len(), found.foreign), (0, 1));
    let [first, second] = [&found.series[0], &found.series[1]];
    for text in ["3", "t1 MPRAGE", first.uid.as_str()] {
        assert!(first.is_meant_by(text) && !second.is_meant_by(text), "{text}");
    }
    assert!(!first.is_meant_by("") && !second.is_meant_by("Muster"));
    assert_eq!(first.described(), "series 3 `T1 mprage sag` (MR, 7 files)");
}

#[test]
fn images_at_one_position_are_frames_where_an_attribute_tells_them_apart() {
    let found = scanned("echoes");
    let series = &found.series[0];
    let shape = series.shape.as_ref().unwrap();
    assert_eq!((shape.frames, shape.by, shape.dims[2]), (2, "echo time", 7));
    let e = read(&series.places, None, 1 << 30).unwrap_err();
    assert!(e.to_string().contains("echo time (4.5, 9)") && e.to_string().contains("--frame"), "{e}");
    let [a, b] = [0, 1].map(|f| read(&series.places, Some(f), 1 << 30).unwrap());
    assert!(a.image.raw != b.image.raw && a.slices.len() == 7);
    assert!(read(&series.places, Some(2), 1 << 30).is_err());
}

#[test]
fn tilted_gantries_are_straightened_as_by_dcm2niix() {
    let text = std::fs::read_to_string(golden().join("tilt.json")).unwrap();
    let golden: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(golden.len(), 2);
    for (name, want) in golden {
        let found = scanned(&name);
        let series = &found.series[0];
        let volume = read(&series.places, None, 1 << 30).unwrap().image;
        let size = [0, 1, 2].map(|i| want["shape"][i].as_u64().unwrap() as usize);
        assert_eq!((volume.dims(), series.shape.as_ref().unwrap().dims), (size, size), "{name}");
        let apart = volume.affine().largest_displacement(&rows(&want["affine"]), size);
        // It straightens to a part of a row and leaves its header at whole rows, a tenth of a millimetre off here.
        assert!(apart < 0.11, "{name}: {apart} mm");
        // dcm2niix rounds to whole numbers.
        let values = volume.to_f32().0;
        let pairs = values.data.iter().zip(want["values"].as_array().unwrap());
        let most = pairs.map(|(v, w)| (v - w.as_f64().unwrap() as f32).abs()).fold(0.0, f32::max);
        assert!(most <= 0.501, "{name}: values are up to {most} apart");
        assert!(
            volume.warnings.iter().any(|n| n.contains("tilted by 13.1 degrees")),
            "{:?}",
            volume.warnings
        );
    }
}

#[test]
fn missing_slices_are_named() {
    let all = places("axial");
    let whole = scan(&all, 1 << 30);
    let order = read(&whole.series[0].places, None, 1 << 30).unwrap().slices;
    let file = |k: usize| whole.series[0].places[order[k][0]].clone();
    let without = |k: usize| {
        let rest: Vec<Place> = all.iter().filter(|p| **p != file(k)).cloned().collect();
        scan(&rest, 1 << 30).series.remove(0).shape
    };
    let Err(e) = without(3) else { panic!("a gap is no volume") };
    let text = e.to_string();
    assert!(text.contains("a slice is missing") && text.contains(&file(2).name()), "{text}");
    assert!(text.contains(&file(4).name()) && text.contains("3.000 mm"), "{text}");
    let one = scan(&all[..1], 1 << 30).series.remove(0).shape.unwrap_err();
    assert!(matches!(one, Error::OneSlice), "{one}");
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let places = places("axial");
    let e = read(&places, None, 20_000).unwrap_err();
    assert!(e.is_memory(), "{e}");
}
