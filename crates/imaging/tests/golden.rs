//! Against nibabel, scipy and scikit-image: `tests/golden` is made by `scripts/golden_imaging.py`.

use ampoule_imaging::geometry::Orientation;
use ampoule_imaging::metrics::{SurfaceDistances, counts};
use ampoule_imaging::regions::{Connectivity, fill_holes, keep_largest};
use ampoule_imaging::resample::{Border, Order, resize};
use ampoule_imaging::window::{Style, importance};
use ampoule_imaging::{Nifti, Volume};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("golden.json")).unwrap()).unwrap()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn dims(v: &Value) -> [usize; 3] {
    [0, 1, 2].map(|i| v[i].as_u64().unwrap() as usize)
}

fn volume(d: &Value, v: &Value) -> Volume<f32> {
    Volume::new(dims(d), floats(v).into_iter().map(|x| x as f32).collect())
}

fn mask(d: &Value, v: &Value) -> Volume<u8> {
    volume(d, v).map(|x| x as u8)
}

fn close(got: impl IntoIterator<Item = f64>, want: &[f64], tolerance: f64, what: &str) {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what} [{i}]: {a} instead of {b}");
    }
}

#[test]
fn nifti_files_read_as_nibabel_reads_them() {
    for f in golden()["files"].as_array().unwrap() {
        let name = f["file"].as_str().unwrap();
        let image = Nifti::read(&folder().join(name), None).unwrap();
        let (v, bad) = image.to_f32();
        assert_eq!(bad, 0);
        close(v.data.iter().map(|&x| x as f64), &floats(&f["values"]), 1e-4, name);
        let want: Vec<f64> = (0..3).flat_map(|r| floats(&f["affine"][r])).collect();
        close(image.affine().0.into_iter().flatten(), &want, 1e-5, name);
        assert_eq!(Orientation::of(&image.affine()).codes(), f["axes"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn what_is_written_reads_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for f in golden()["files"].as_array().unwrap() {
        let name = f["file"].as_str().unwrap();
        let image = Nifti::read(&folder().join(name), None).unwrap();
        for ending in ["nii", "nii.gz"] {
            let path = dir.path().join(format!("copy.{ending}"));
            image.write(&path).unwrap();
            let again = Nifti::read(&path, None).unwrap();
            assert_eq!(again.raw, image.raw, "{name}");
            assert_eq!(again.affine(), image.affine());
            assert_eq!(again.header.scaling(), image.header.scaling());
        }
        let all = Volume::filled(image.dims(), 1u8);
        assert_eq!(image.masked(&all).raw, image.raw);
        let none = Volume::filled(image.dims(), 0u8);
        assert!(image.masked(&none).to_f32().0.data.iter().all(|&v| v == 0.0), "{name}");
        let m = image.with_mask(&all);
        assert_eq!((m.header.scaling(), m.raw.len()), ((1.0, 0.0), all.data.len()));
    }
}

#[test]
fn resampling_matches_scikit_image() {
    let g = golden();
    let r = &g["resampling"];
    let v = volume(&r["dims"], &r["values"]);
    for c in r["cases"].as_array().unwrap() {
        let order = match c["order"].as_u64().unwrap() {
            0 => Order::Nearest,
            1 => Order::Linear,
            _ => Order::Cubic,
        };
        let border = if c["mode"] == "edge" { Border::Edge } else { Border::Zero };
        let got = resize(&v, dims(&c["shape"]), order, border, c["anti_aliasing"].as_bool().unwrap());
        let what = format!("{order:?} {border:?} to {}", c["shape"]);
        close(got.data.iter().map(|&x| x as f64), &floats(&c["values"]), 2e-3, &what);
    }
}

#[test]
fn importance_map_matches_scipy() {
    let g = golden();
    let w = &g["window"];
    let map = importance(Style::NnUnet, dims(&w["tile"]));
    close(map.data.iter().map(|&x| x as f64), &floats(&w["nnunet"]), 1e-6, "nnU-Net's map");
}

#[test]
fn regions_and_distances_match_scipy() {
    let g = golden();
    let r = &g["regions"];
    let mut m = mask(&r["dims"], &r["mask"]);
    assert_eq!(keep_largest(&mut m, Connectivity::Full) as u64, r["components"].as_u64().unwrap());
    assert_eq!(m, mask(&r["dims"], &r["largest"]));
    fill_holes(&mut m);
    assert_eq!(m, mask(&r["dims"], &r["filled"]));
    let other = mask(&r["dims"], &r["other"]);
    let spacing = [0, 1, 2].map(|i| r["spacing"][i].as_f64().unwrap());
    let d = SurfaceDistances::new(&m, &other, spacing);
    let number = |k: &str| r[k].as_f64().unwrap();
    close([counts(&m, &other).dice()], &[number("dice")], 1e-12, "Dice");
    close([d.hd95()], &[number("hd95")], 1e-5, "HD95");
    close([d.surface_dice(1.0)], &[number("surface_dice")], 1e-12, "surface Dice");
    close([d.assd()], &[number("assd")], 1e-5, "ASSD");
}
