//! Metrics of label maps against scipy and scikit-image (scripts/golden_tiles.py).

use ampoule_eval::{Comparing, tiles};
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiles").join(name)
}

#[test]
fn label_maps_are_measured_as_elsewhere() {
    let text = std::fs::read_to_string(golden("tiles.json")).unwrap();
    let want: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut seen = 0;
    for kind in ["one", "several"] {
        let found =
            tiles(&golden(&format!("{kind}/p")), &golden(&format!("{kind}/t")), &Comparing::default())
                .unwrap();
        assert!(found.unpaired.is_empty());
        for t in &found.tiles {
            let key = format!("{kind} {} {}", t.tile, t.class);
            let want = &want[&key];
            let near = |got: f64, what: &str| {
                let want = want[what].as_f64().unwrap();
                // Distances are held in float32.
                assert!((got - want).abs() < 1e-5 * (1.0 + want), "{key} {what}: {got}, {want}");
            };
            near(t.dice, "dice");
            near(t.iou, "iou");
            near(t.object_f1, "object_f1");
            match t.hd95_px {
                Some(d) => near(d, "hd95_px"),
                None => assert!(want["hd95_px"].is_null(), "{key}"),
            }
            assert_eq!(serde_json::to_value(t.objects).unwrap(), want["objects"], "{key}");
            seen += 1;
        }
        let classes: Vec<u16> = found.total.iter().map(|c| c.class).collect();
        assert_eq!(classes, if kind == "one" { vec![255] } else { vec![1, 2] });
    }
    assert_eq!(seen, want.as_object().unwrap().len());
    // One file against one of another name; sizes that differ.
    let (a, b) = (golden("one/p/tile0_labels.png"), golden("one/t/tile1_mask.png"));
    let e = tiles(&a, &b, &Comparing::default()).unwrap_err().to_string();
    assert!(e.contains("61x50") && e.contains("61x57"), "{e}");
    assert!(tiles(&golden("one/p"), &golden("missing"), &Comparing::default()).is_err());
}

#[test]
fn gandlf_s_names_hold_what_others_compute() {
    let text = std::fs::read_to_string(golden("../gandlf.json")).unwrap();
    let want: serde_json::Value = serde_json::from_str(&text).unwrap();
    let near = |at: &str, got: &serde_json::Value, want: &serde_json::Value| {
        let (g, w) = (got.as_f64().unwrap_or(f64::NAN), want.as_f64().unwrap());
        assert!((g - w).abs() < 1e-5, "{at}: {g} for {w}");
    };
    let mut compared = 0;
    for (key, want) in want["segmentation"].as_object().unwrap() {
        let (kind, tile) = key.split_once('/').unwrap();
        let found =
            tiles(&golden(&format!("{kind}/p")), &golden(&format!("{kind}/t")), &Comparing::default())
                .unwrap();
        let got = &found.gandlf[tile];
        for (name, w) in want.as_object().unwrap() {
            match w.as_object() {
                Some(inner) => inner.iter().for_each(|(k, w)| near(k, &got[name][k], w)),
                None => near(name, &got[name], w),
            }
            compared += 1;
        }
    }
    assert!(compared > 40);
    for (name, want) in want["classification"].as_object().unwrap() {
        let file = |kind: &str| golden(&format!("../{name}_{kind}.csv"));
        let got = ampoule_eval::classification(&file("predictions"), &file("truth")).unwrap().gandlf;
        for (k, w) in want.as_object().unwrap() {
            match w.as_array() {
                Some(list) => list.iter().enumerate().for_each(|(i, w)| near(k, &got[k][i], w)),
                None => near(k, &got[k], w),
            }
        }
    }
}
