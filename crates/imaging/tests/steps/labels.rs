//! Postprocessing: labels are equal voxel by voxel.

use crate::golden::{Case, Topic};
use ampoule_imaging::Volume;
use ampoule_imaging::postprocess::*;
use ampoule_imaging::regions::Connectivity;

fn image(topic: &Topic, case: &Case) -> Volume<u16> {
    let v = if case.has("image") { case.array("image") } else { topic.array("image", "image") };
    v.map(|x| x as u16)
}

fn labels(case: &Case) -> Vec<u16> {
    case.fields["labels"].as_array().unwrap().iter().map(|l| l.as_u64().unwrap() as u16).collect()
}

fn connectivity(case: &Case) -> Connectivity {
    [Connectivity::Faces, Connectivity::Edges, Connectivity::Full][case.number("connectivity") as usize - 1]
}

fn check(case: &Case, got: &Volume<u16>) {
    case.check("want", &got.map(f32::from), 0.0);
}

#[test]
fn components() {
    let t = Topic::read("labels");
    for case in t.cases("nnunet largest") {
        let mut v = image(&t, &case);
        keep_largest(&mut v, Select::Labels(&labels(&case)), Connectivity::Full, Ties::All);
        check(&case, &v);
    }
    for case in t.cases("largest") {
        let mut v = image(&t, &case);
        keep_largest(&mut v, Select::Labels(&labels(&case)), connectivity(&case), Ties::First);
        check(&case, &v);
    }
    for case in t.cases("small") {
        let mut v = image(&t, &case);
        remove_small(&mut v, Select::Foreground, connectivity(&case), case.number("least") as u64);
        check(&case, &v);
    }
}

#[test]
fn holes() {
    let t = Topic::read("labels");
    for case in t.cases("holes") {
        let mut v = image(&t, &case);
        let label = case.number("label") as u16;
        let holes =
            if case.has("axis") { Holes::Slices(case.number("axis") as usize) } else { Holes::Volume };
        fill_holes(&mut v, Select::Label(label), label, holes);
        check(&case, &v);
    }
}

#[test]
fn morphology_is_scipys_and_pytorchs() {
    let t = Topic::read("labels");
    let mask = t.array("mask", "image").map(|v| v as u8);
    for case in t.cases("morphology") {
        let operation = match case.text("operation") {
            "dilate" => Operation::Dilate,
            "erode" => Operation::Erode,
            "open" => Operation::Open,
            _ => Operation::Close,
        };
        let axes = [0, 1, 2].map(|i| case.fields["axes"][i].as_bool().unwrap());
        let structure = Structure { full: case.flag("full"), axes };
        let times = case.number("times") as usize;
        let got = morphology(&mask, operation, structure, times, case.flag("border"));
        check(&case, &got.map(u16::from));
    }
}
