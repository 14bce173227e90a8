//! Heat maps and windows of photos against ONNX Runtime (`scripts/golden_heat.py`).

use ampoule_engine::Options;
use ampoule_pipeline::{Case, HeatMap, Model, Prediction, Settings, predict_case};
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/heat").join(name)
}

fn predicted(recipe: &str, photo: &str) -> (Prediction, HeatMap) {
    let recipe = std::fs::read_to_string(file(recipe)).unwrap();
    let mut model = Model::load(&file("heat.onnx"), Some(&recipe), Options::default()).unwrap();
    let settings = Settings { heat: true, ..Settings::default() };
    let found = predict_case(&mut model, &Case::of_file(&file(photo)), settings).unwrap();
    let map = found.heat.clone().expect("a map was asked for");
    (found, map)
}

fn golden(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(file("golden.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()[name].take()
}

fn numbers(v: &serde_json::Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn largest(a: impl Iterator<Item = f32>, b: &[f64]) -> f64 {
    a.zip(b).map(|(a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max)
}

#[test]
fn hidden_parts_change_scores_as_in_onnx_runtime() {
    let want = golden("hidden");
    let (found, map) = predicted("heat.toml", "small.png");
    assert!(largest(found.numbers.iter().copied(), &numbers(&want["numbers"])) < 1e-5);
    assert_eq!((map.label as u64, map.size), (want["label"].as_u64().unwrap(), [120, 90]));
    let top = want["top"].as_f64().unwrap();
    assert!((f64::from(map.top) - top).abs() < 1e-4 && top > 0.02, "{} {top}", map.top);
    // Outside of what the network sees there is no value.
    let values: Vec<Option<f64>> = want["values"].as_array().unwrap().iter().map(|v| v.as_f64()).collect();
    assert_eq!(values.len(), map.values.len());
    for (v, want) in map.values.iter().zip(&values) {
        assert!(want.map_or(v.is_nan(), |w| (f64::from(*v) - w).abs() < 2e-3), "{v} {want:?}");
    }
    let seen = values.iter().flatten();
    assert!(seen.clone().count() > 4000 && seen.copied().fold(0.0, f64::max) > 0.9);
}

#[test]
fn larger_photos_are_seen_window_by_window() {
    let want = golden("tiles");
    let (found, map) = predicted("tiles.toml", "large.png");
    assert!(largest(found.numbers.iter().copied(), &numbers(&want["numbers"])) < 1e-5, "{:?}", found.numbers);
    assert_eq!(map.label as u64, want["label"].as_u64().unwrap());
    let size = numbers(&want["size"]);
    assert_eq!(map.size.map(|n| n as f64)[..], size[..]);
    assert!(largest(map.values.iter().copied(), &numbers(&want["values"])) < 1e-5);
    // A patch of the window's size is seen as it is.
    let (whole, _) = predicted("heat.toml", "small.png");
    let (patch, _) = predicted("tiles.toml", "small.png");
    assert_ne!(whole.numbers, patch.numbers, "it is larger than a window");
}

#[test]
fn maps_are_made_where_they_are_asked_for() {
    let recipe = std::fs::read_to_string(file("heat.toml")).unwrap();
    let mut model = Model::load(&file("heat.onnx"), Some(&recipe), Options::default()).unwrap();
    let case = Case::of_file(&file("small.png"));
    assert!(predict_case(&mut model, &case, Settings::default()).unwrap().heat.is_none());
}
