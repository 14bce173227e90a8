//! Sliding windows: starts are equal, weights agree within float32 (nnU-Net's times 10).

use crate::golden::Topic;
use ampoule_imaging::window::{Tiling, Weights, positions, weights};

#[test]
fn windows_start_where_the_frameworks_start_them() {
    let t = Topic::read("windows");
    let list = |v: &serde_json::Value, i: usize| -> Vec<usize> {
        v[i].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
    };
    for case in t.cases("starts") {
        let (size, window, overlap) = (case.triple("size"), case.triple("window"), case.number("overlap"));
        for i in 0..3 {
            let at = |tiling| positions(tiling, size[i], window[i], 1);
            assert_eq!(at(Tiling::NnUnet { overlap }), list(&case.fields["nnunet"], i), "{}", case.fields);
            assert_eq!(at(Tiling::Monai { overlap }), list(&case.fields["monai"], i), "{}", case.fields);
        }
    }
    for case in t.cases("grid") {
        let (size, window, overlap) = (case.triple("size"), case.triple("window"), case.triple("overlap"));
        for i in 0..3 {
            let got = positions(Tiling::TorchIo { overlap: overlap[i] }, size[i], window[i], 1);
            assert_eq!(got, list(&case.fields["starts"], i), "{}", case.fields);
        }
    }
}

#[test]
fn weights_are_the_frameworks() {
    let t = Topic::read("windows");
    for (kind, half) in [("nnunet", false), ("nnunet half", true)] {
        for case in t.cases(kind) {
            let rule = Weights::NnUnet { sigma: case.number("sigma"), peak: case.number("peak"), half };
            case.check("want", &weights(rule, case.triple_of("want")), if half { 0.0 } else { 1e-6 });
        }
    }
    for case in t.cases("monai") {
        let rule = Weights::Monai { sigma: case.number("sigma") };
        case.check("want", &weights(rule, case.triple_of("want")), 2e-7);
    }
    for (kind, rule) in [("constant", Weights::Constant), ("hann", Weights::Hann)] {
        for case in t.cases(kind) {
            case.check("want", &weights(rule, case.triple_of("want")), 2e-7);
        }
    }
}
