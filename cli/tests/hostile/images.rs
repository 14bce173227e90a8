//! Images, recipes and tables.

use super::harness::{Dir, refused};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Unary, Window};
use ampoule_graph::{Dim, Tensor};
use std::io::Write;

/// A segmentation network of photos, with its recipe; `steps` are preprocessing steps.
pub fn photo_model(d: &Dir, steps: &str) {
    let mut b = Builder::new("bright");
    let size = |name: &str| Dim::Symbol(name.into());
    let x = b.input("image", &[Dim::Known(1), Dim::Known(3), size("h"), size("w")]);
    let w = Tensor::f32(&[1, 3, 1, 1], &[0.01; 3]);
    let y = b.conv(x, w, Some(Tensor::f32(&[1], &[-1.0])), Window::of(&[1, 1]));
    let y = b.unary(y, Unary::Sigmoid);
    b.output(y, "prob", &[Dim::Known(1), Dim::Known(1), size("h"), size("w")]);
    let mut g = b.finish();
    let recipe = format!(
        "version = 2\n[model]\nname = \"bright\"\ntask = \"segmentation\"\n[[input]]\nname = \"image\"\nkind = \"image\"\n{steps}\n[[network]]\noutputs = [\"prob\"]\n[decide]\nrule = \"threshold\"\n[[label]]\nname = \"bright\"\nvalue = 1\nchannel = 0\n"
    );
    g.set_meta(ampoule_pipeline::RECIPE_KEY, recipe);
    ampoule_onnx::write_file(&g, &d.path("m.onnx")).unwrap();
}

/// An 8-bit binary PPM would be no input; a small PNG is made by hand.
pub fn png(width: u32, height: u32, rows: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(kind);
        out.extend(data);
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        out.extend(crc.sum().to_be_bytes());
    };
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    chunk(b"IHDR", &head);
    let mut z = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    z.write_all(rows).unwrap();
    chunk(b"IDAT", &z.finish().unwrap());
    chunk(b"IEND", &[]);
    out
}

/// A picture of one colour.
pub fn picture(side: u32) -> Vec<u8> {
    let row: Vec<u8> = std::iter::once(0).chain(std::iter::repeat_n(200, 3 * side as usize)).collect();
    png(side, side, &row.repeat(side as usize))
}

#[test]
fn pictures_that_claim_more_than_they_hold_are_refused() {
    let d = Dir::new();
    photo_model(&d, "");
    d.write("claims.png", png(30_000, 30_000, &[0; 100]));
    refused(&d, &["run", "m.onnx", "claims.png", "-o", "a", "--max-ram", "1G"], 5, &["claims.png"]);
    let d2 = Dir::new();
    photo_model(&d2, "");
    d2.write("cut.png", &picture(64)[..80]);
    refused(&d2, &["run", "m.onnx", "cut.png", "-o", "a"], 3, &["cut.png"]);
    // A deflate bomb in one chunk: 64 MiB of zeros for 32 rows of 32 pixels.
    d2.write("bomb.png", png(32, 32, &vec![0; 64 << 20]));
    let ended = super::harness::wait(
        super::harness::start(&d2, &["run", "m.onnx", "bomb.png", "-o", "b"]),
        "bomb.png",
    );
    assert!(ended.peak_mib < 200 && !ended.text.contains("panicked"), "{} MiB", ended.peak_mib);
}

#[test]
fn recipes_that_ask_for_absurd_sizes_are_refused_before_memory_is_taken() {
    for step in [
        "[[preprocess]]\nstep = \"pad\"\nsize = [200000, 200000]",
        "[[preprocess]]\nstep = \"pad\"\nmultiple = 1000000",
        "[[preprocess]]\nstep = \"resize\"\nsize = [200000, 200000]\nmethod = \"nearest\"",
    ] {
        let d = Dir::new();
        photo_model(&d, step);
        d.write("a.png", picture(16));
        let ended = super::harness::wait(
            super::harness::start(&d, &["run", "m.onnx", "a.png", "-o", "out", "--max-ram", "300M"]),
            step,
        );
        assert!(matches!(ended.code, Some(2 | 3 | 5)), "{step}: {:?} {}", ended.code, ended.text);
        assert!(ended.peak_mib < 400 && !ended.text.contains("panicked"), "{step}: {} MiB", ended.peak_mib);
    }
}

#[test]
fn results_of_others_are_drawn_or_refused_in_seconds() {
    for text in ["{}", "[]", "{\"cells\": [{\"median_ms\": 1e308}]}", "nonsense", ""] {
        let d = Dir::new();
        std::fs::create_dir(d.path("study")).unwrap();
        d.write("study/results.json", text);
        refused(&d, &["report", "study"], 3, &["results.json"]);
    }
}

#[test]
fn tables_of_one_endless_line_are_refused() {
    let d = Dir::new();
    photo_model(&d, "");
    d.write("list.csv", vec![b'a'; 8 << 20]);
    let ended = super::harness::wait(
        super::harness::start(&d, &["run", "m.onnx", "list.csv", "-o", "out"]),
        "list.csv",
    );
    assert!(matches!(ended.code, Some(2 | 3)) && !ended.text.contains("panicked"), "{}", ended.text);
    assert!(ended.peak_mib < 200, "{} MiB", ended.peak_mib);
}

#[test]
fn recipes_of_a_hundred_thousand_labels_are_refused_in_seconds() {
    let d = Dir::new();
    photo_model(&d, &"[[label]]\nname = \"x\"\n".repeat(100_000));
    d.write("a.png", picture(16));
    let ended = refused(&d, &["run", "m.onnx", "a.png", "-o", "out"], 3, &["occurs twice", "more"]);
    assert!(ended.seconds < 40.0 && ended.text.len() < 20_000, "{} s", ended.seconds);
}

#[test]
fn tables_of_many_rows_take_seconds() {
    let d = Dir::new();
    d.write("many.csv", format!("file,label\n{}", "a.png,disc\n".repeat(100_000)));
    let ended = refused(&d, &["evaluate", "many.csv", "many.csv"], 3, &["many.csv"]);
    assert!(ended.seconds < 40.0, "{} s", ended.seconds);
}
