//! Crop, pad, resample.

use crate::golden::{Case, Topic};
use ampoule_imaging::Volume;
use ampoule_imaging::crop::{Foreground, Region, bounding_box, foreground, nonzero_mask};
use ampoule_imaging::geometry::Affine;
use ampoule_imaging::pad::{Fill, pad};
use ampoule_imaging::resample::*;
use ampoule_imaging::spacing::{Rule, grid};

fn image(topic: &Topic, case: &Case) -> Volume<f32> {
    if case.has("image") { case.array("image") } else { topic.array("image", "image") }
}

fn order(n: f64) -> Order {
    [Order::Nearest, Order::Linear, Order::Linear, Order::Cubic][n as usize]
}

fn channels(case: &Case) -> Vec<Volume<f32>> {
    case.fields["channels"].as_array().unwrap().iter().map(|c| case.volume(c)).collect()
}

#[test]
fn nonzero_crop_is_nnunets() {
    for case in Topic::read("crop").cases("nnunet") {
        let channels = channels(&case);
        let mask = nonzero_mask(&channels.iter().collect::<Vec<_>>()).unwrap();
        // Where everything is 0 nnU-Net keeps the whole volume.
        let region = bounding_box(&mask).unwrap_or(Region { start: [0; 3], end: mask.dims });
        assert_eq!((region.start, region.end), (case.triple("start"), case.triple("end")));
        case.check("mask", &region.of(&mask).map(f32::from), 0.0);
    }
}

#[test]
fn foreground_crop_is_monais() {
    for case in Topic::read("crop").cases("monai") {
        let channels = channels(&case);
        let rule = Foreground {
            margin: case.triple("margin"),
            allow_smaller: case.flag("smaller"),
            divisible: case.triple("divisible"),
            ..Foreground::default()
        };
        let frame = foreground(&channels.iter().collect::<Vec<_>>(), &rule).unwrap();
        let ends = |key: &str| [0, 1, 2].map(|i| case.fields[key][i].as_i64().unwrap());
        assert_eq!((frame.start, frame.end), (ends("start"), ends("end")), "{}", case.fields);
        case.check("want", &frame.of(&channels[0], 0.0), 0.0);
    }
}

#[test]
fn padding_is_numpys() {
    let t = Topic::read("pad");
    for case in t.cases("numpy") {
        let fill = match case.text("mode") {
            "constant" => Fill::Constant(-5.0),
            "edge" => Fill::Edge,
            "reflect" => Fill::Reflect,
            _ => Fill::Symmetric,
        };
        case.check("want", &pad(&image(&t, &case), case.triple("before"), case.triple("after"), fill), 0.0);
    }
}

/// Values are near 400, where float32 has steps of 3.05e-5; all agree within one, PyTorch within two.
const TOLERANCE: f32 = 3.1e-5;

#[test]
fn thick_slices_are_nnunets() {
    let t = Topic::read("separate");
    let v = t.array("image", "image");
    for case in t.cases("separate") {
        let axis = case.number("axis") as usize;
        // The image of the case has its thick axis moved there.
        let turn = [[2, 0, 1], [0, 2, 1], [0, 1, 2]][axis];
        let (o, across) = (order(case.number("order")), order(case.number("across")));
        let got = separate(&v.permuted(turn), case.triple("to"), axis, o, across);
        case.check("want", &got, TOLERANCE);
    }
    for case in t.cases("together") {
        case.check("want", &resize(&v, case.triple("to"), Order::Cubic, Border::Edge, false), TOLERANCE);
    }
    for case in t.cases("axis") {
        let want = case.fields["axis"].as_u64().map(|a| a as usize);
        assert_eq!(lowres_axis(case.spacing("a"), case.spacing("b"), 3.0), want, "{}", case.fields);
    }
}

#[test]
fn zoom_is_scipys() {
    let t = Topic::read("resample");
    for case in t.cases("zoom") {
        let border = if case.text("mode") == "mirror" { Border::Mirror } else { Border::Edge };
        let c = [Coordinates::AlignCorners; 3];
        let got = sample(&image(&t, &case), case.triple("to"), c, order(case.number("order")), border);
        case.check("want", &got, TOLERANCE);
    }
}

#[test]
fn interpolation_is_pytorchs() {
    let t = Topic::read("resample");
    for case in t.cases("torch") {
        let (v, to) = (image(&t, &case), case.triple("to"));
        let indices = |f: fn(usize, usize) -> Vec<usize>| {
            let at = [0, 1, 2].map(|i| f(v.dims[i], to[i]));
            gather(&v, [&at[0], &at[1], &at[2]])
        };
        let got = match case.text("mode") {
            "nearest" => indices(nearest_torch),
            "nearest-exact" => indices(nearest_exact),
            _ => {
                let corners = case.flag("corners");
                let c = if corners { Coordinates::TorchAlignCorners } else { Coordinates::TorchHalfPixel };
                sample(&v, to, [c; 3], Order::Linear, Border::Edge)
            }
        };
        case.check("want", &got, 2.0 * TOLERANCE);
    }
}

#[test]
fn spacing_is_monais_torchios_gandlfs_and_simpleitks() {
    let t = Topic::read("spacing");
    let rules = [
        ("monai", Rule::Monai),
        ("torchio", Rule::TorchIo),
        ("gandlf", Rule::TorchIoCorner),
        ("simpleitk", Rule::SimpleItk),
    ];
    for (kind, rule) in rules {
        for case in t.cases(kind) {
            let v = image(&t, &case);
            let g = grid(rule, v.dims, case.spacing("old"), case.spacing("new")).unwrap();
            case.check("want", &g.resample(&v, order(case.number("order"))), TOLERANCE);
            if case.has("affine") {
                let s = case.spacing("old");
                let input = Affine([[s[0], 0.0, 0.0, -7.0], [0.0, s[1], 0.0, 11.0], [0.0, 0.0, s[2], 3.0]]);
                let got = g.affine(&input);
                for (r, c) in (0..12).map(|i| (i / 4, i % 4)) {
                    let want = case.fields["affine"][r][c].as_f64().unwrap();
                    assert!((got.0[r][c] - want).abs() < 1e-6, "{got:?} {}", case.fields);
                }
            }
        }
    }
}

#[test]
fn sizes_are_the_frameworks() {
    for case in Topic::read("spacing").cases("shape") {
        let rules = [
            ("nnunet", Rule::NnUnet),
            ("monai", Rule::Monai),
            ("torchio", Rule::TorchIo),
            ("zoom", Rule::Zoom),
        ];
        for (key, rule) in rules {
            let g = grid(rule, case.triple("dims"), case.spacing("old"), case.spacing("new")).unwrap();
            assert_eq!(g.dims, case.triple(key), "{key} {}", case.fields);
        }
    }
}
