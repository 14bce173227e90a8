//! Slides from outside.

use super::{Dir, ampoule, expect, photo_model, write_photo};
use ampoule_imaging::pyramid::{Pyramid, TILE};
use ampoule_imaging::slide::Slide;
use ampoule_onnx as onnx;
use ampoule_pipeline::RECIPE_KEY;
use std::path::Path;

const SIZE: [usize; 2] = [1300, 900];

/// Writes a grey pyramid of `SIZE`.
fn write_slide(path: &Path, mpp: Option<f64>, value: impl Fn(usize, usize) -> u8) {
    let [w, h] = SIZE;
    let mut p = Pyramid::new(std::fs::File::create(path).unwrap(), w as u64, h as u64, mpp).unwrap();
    for ty in 0..h.div_ceil(TILE) {
        for tx in 0..w.div_ceil(TILE) {
            let tile: Vec<u8> =
                (0..TILE * TILE).map(|i| value(tx * TILE + i % TILE, ty * TILE + i / TILE)).collect();
            p.put(tx as u64, ty as u64, &tile).unwrap();
        }
    }
    p.finish().unwrap();
}

/// Bright in a rectangle from (400, 200) to (1000, 700), with a dark hole from (600, 400) to (700, 500).
fn rectangle(x: usize, y: usize) -> u8 {
    let inside = (400..1000).contains(&x) && (200..700).contains(&y);
    let hole = (600..700).contains(&x) && (400..500).contains(&y);
    if inside && !hole { 240 } else { 20 }
}

/// A model for slides: class 1 where it is bright, on pixels of one micron for delineations.
fn slide_model(path: &Path, whole: bool, more: &str) {
    photo_model(path, whole);
    let mut g = onnx::read_file(path).unwrap();
    let recipe = g.meta(RECIPE_KEY).unwrap().to_owned();
    g.set_meta(RECIPE_KEY, format!("{recipe}[slide]\nwindow = 128\n{more}\n"));
    onnx::write_file(&g, path).unwrap();
}

fn setup(more: &str) -> Dir {
    let d = Dir::new();
    slide_model(&d.path("bright.onnx"), false, more);
    write_slide(&d.path("a.tif"), Some(0.5), rectangle);
    d
}

const EVERYWHERE: &str = "mpp = 0.5\noverlap = 0.25\ntissue = \"none\"";

fn features(path: &Path) -> Vec<serde_json::Value> {
    let v: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(v["type"], "FeatureCollection");
    v["features"].as_array().unwrap().clone()
}

#[test]
fn a_slide_becomes_outlines_a_table_a_map_and_areas() {
    let d = setup(EVERYWHERE);
    let run = ["run", "bright.onnx", "a.tif", "-o", "out", "--save-probabilities", "--threads", "2"];
    expect(&ampoule(&d, &run), 0, &["a.tif: bright 0.07", "windows in"]);
    let files = ["a.csv", "a.geojson", "a_ampoule.json", "a_overlay.png", "a_prob_bright.tif"];
    assert_eq!(d.results("out"), files);
    let all = features(&d.path("out/a.geojson"));
    assert_eq!(all.len(), 1);
    let (rings, p) = (&all[0]["geometry"]["coordinates"], &all[0]["properties"]);
    assert_eq!((rings.as_array().unwrap().len(), p["objectType"].as_str()), (2, Some("annotation")));
    assert_eq!(p["classification"]["name"], "bright");
    assert!(p["classification"]["color"].as_array().unwrap().len() == 3);
    let area = p["measurements"]["Area µm^2"].as_f64().unwrap();
    // 300 by 250 pixels of one micron less a hole of 50 by 50.
    assert!((area - 72_500.0).abs() < 1.0, "{area}");
    for (ring, bounds) in [(0, [400.0, 200.0, 1000.0, 700.0]), (1, [600.0, 400.0, 700.0, 500.0])] {
        let points: Vec<[f64; 2]> = serde_json::from_value(rings[ring].clone()).unwrap();
        assert_eq!(points.first(), points.last());
        let axis = |i: usize| points.iter().map(move |p| p[i]);
        let least = |i: usize| axis(i).fold(f64::MAX, f64::min);
        let most = |i: usize| axis(i).fold(0.0, f64::max);
        assert_eq!([least(0), least(1), most(0), most(1)], bounds, "ring {ring}");
    }
    let table = std::fs::read_to_string(d.path("out/a.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("minx,miny,width,height,prob_dark,prob_bright"));
    assert!(lines.next().unwrap().starts_with("0,0,128,128,0.99"));
    // Steps of 96; the last windows end at the border.
    assert!(table.contains("\n1172,772,128,128,"));
    let map = Slide::open(&d.path("out/a_prob_bright.tif"), 1 << 20).unwrap();
    assert_eq!((map.levels[0].width, map.levels[0].height), (650, 450));
    assert!((map.mpp.unwrap() - 1.0).abs() < 1e-6);
    let pixels = map.region(0, 0, 0, 650, 450).unwrap();
    assert!(pixels.at(250, 150)[0] > 250 && pixels.at(100, 100)[0] < 5 && pixels.at(325, 225)[0] < 5);
    let overlay = ampoule_imaging::photo::Photo::read(&d.path("out/a_overlay.png")).unwrap();
    assert_eq!((overlay.width, overlay.height), (1300, 900));
    assert_ne!(overlay.at(500, 300)[0], overlay.at(500, 300)[1]);
    assert_eq!(overlay.at(100, 100), [20; 3]);
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(d.path("out/a_ampoule.json")).unwrap()).unwrap();
    assert_eq!(record["labels"][0]["mm2"], 0.0725);
    // Most of it is one colour, and windows of one colour are computed once.
    let windows = &record["windows"];
    assert_eq!(windows["all"].as_u64(), Some(table.lines().count() as u64 - 1));
    assert!(windows["reused"].as_u64() > Some(20), "{windows}");
    let slide = &record["slide"];
    assert_eq!((slide["mpp"].as_f64(), slide["downsample"].as_f64()), (Some(0.5), Some(2.0)));
    // Finished slides are kept; changed files are not overwritten.
    expect(&ampoule(&d, &run), 0, &["kept from an earlier run"]);
    std::fs::write(d.path("out/a.csv"), "mine").unwrap();
    expect(&ampoule(&d, &run), 2, &["--overwrite"]);
    assert_eq!(std::fs::read_to_string(d.path("out/a.csv")).unwrap(), "mine");
    // What fails leaves earlier results as they were, and what was killed is taken up again.
    let failing = [&run[..], &["--overwrite", "--max-ram", "20M"]].concat();
    expect(&ampoule(&d, &failing), 5, &["MiB"]);
    assert_eq!(std::fs::read_to_string(d.path("out/a.csv")).unwrap(), "mine");
    std::fs::write(d.path("out/.a.ampoule-lock"), "elsewhere 1\nwriting\n").unwrap();
    std::fs::write(d.path("out/.a.csv.tmp-1"), "half").unwrap();
    expect(&ampoule(&d, &run), 0, &["windows in"]);
    assert_eq!(d.results("out"), files);
    expect(&ampoule(&d, &[&run[..], &["--overwrite"]].concat()), 0, &["windows in"]);
}

#[test]
fn any_number_of_threads_and_any_memory_give_the_same_files() {
    let d = setup(EVERYWHERE);
    let run = |out: &str, more: &[&str]| {
        let run = ["run", "bright.onnx", "a.tif", "-o", out, "--save-probabilities"];
        expect(&ampoule(&d, &[&run[..], more].concat()), 0, &[]);
        ["a.geojson", "a.csv", "a_prob_bright.tif", "a_overlay.png"]
            .map(|f| std::fs::read(d.path(&format!("{out}/{f}"))).unwrap())
    };
    let one = run("one", &["--threads", "1"]);
    assert!(one == run("three", &["--threads", "3"]));
    assert!(one == run("little", &["--threads", "3", "--max-ram", "300M"]));
    expect(&ampoule(&d, &["run", "bright.onnx", "a.tif", "-o", "none", "--max-ram", "20M"]), 5, &["MiB"]);
    assert!(d.results("none").is_empty());
    // Compressed outlines hold the same.
    run("packed", &[]);
    expect(&ampoule(&d, &["run", "bright.onnx", "a.tif", "-o", "gz", "--gzip"]), 0, &[]);
    let packed = std::fs::File::open(d.path("gz/a.geojson.gz")).unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
    assert!(text == one[0]);
}

#[test]
fn a_classifier_looks_at_tiles_of_a_slide() {
    let d = Dir::new();
    slide_model(&d.path("bright.onnx"), true, "mpp = 0.5\ntissue = \"none\"");
    write_slide(&d.path("a.tif"), Some(0.5), rectangle);
    expect(&ampoule(&d, &["run", "bright.onnx", "a.tif", "-o", "out"]), 0, &["a.tif: bright 0.0"]);
    let all = features(&d.path("out/a.geojson"));
    // Windows of 128 pixels: 11 across and 8 down.
    assert_eq!(all.len(), 88);
    let tile = |i: usize| &all[i]["properties"];
    assert!(tile(0)["objectType"] == "tile" && tile(0)["classification"]["name"] == "dark");
    let middle = &all[3 * 11 + 4];
    assert_eq!(middle["geometry"]["coordinates"][0][0], serde_json::json!([512, 384]));
    assert_eq!(middle["properties"]["classification"]["name"], "bright");
    assert!(middle["properties"]["measurements"]["prob_bright"].as_f64().unwrap() > 0.6);
    let table = std::fs::read_to_string(d.path("out/a.csv")).unwrap();
    assert_eq!(table.lines().count(), 89);
    assert!(table.lines().last().unwrap().starts_with("1172,772,128,128,"));
}

#[test]
fn others_recipes_are_taken() {
    let d = setup(EVERYWHERE);
    photo_model(&d.path("whole.onnx"), true);
    let config = r#"{"spec_version":"1.0","architecture":"x","num_classes":2,"class_names":["Other","Tumor"],
        "patch_size_pixels":64,"spacing_um_px":1.0,"transform":[{"name":"Resize","arguments":{"size":32}},
        {"name":"ToTensor"},{"name":"Normalize","arguments":{"mean":[0,0,0],"std":[1,1,1]}}]}"#;
    std::fs::write(d.path("config.json"), config).unwrap();
    // All of the slide has no colour, so tissue is found nowhere: a result, with a note.
    let run = ["run", "whole.onnx", "a.tif", "-o", "out", "--recipe", "config.json"];
    expect(&ampoule(&d, &run), 0, &["Tumor 0.00 mm²", "no tissue was found"]);
    std::fs::write(d.path("config.json"), config.replace("\"Resize\"", "\"Blur\"")).unwrap();
    expect(&ampoule(&d, &run), 3, &["Blur"]);
    std::fs::write(d.path("config.json"), "{}").unwrap();
    expect(&ampoule(&d, &run), 3, &["neither WSInfer's config.json"]);
}

#[test]
fn two_folds_are_averaged() {
    let d = setup(EVERYWHERE);
    write_photo(&d.path("tile.png"), 30, 20, 15);
    let mut g = onnx::read_file(&d.path("bright.onnx")).unwrap();
    let run = |out: &str, more: &[&str]| {
        let run = ["run", "bright.onnx", "tile.png", "-o", out];
        ampoule(&d, &[&run[..], more].concat())
    };
    expect(&run("one", &[]), 0, &["tile.png: "]);
    expect(&run("two", &["--fold", "bright.onnx"]), 0, &["tile.png: "]);
    let mask = |out: &str| std::fs::read(d.path(&format!("{out}/tile_mask.png"))).unwrap();
    assert_eq!(mask("one"), mask("two"));
    g.values[g.outputs[0].0 as usize].name = "other".into();
    onnx::write_file(&g, &d.path("strange.onnx")).unwrap();
    expect(&run("three", &["--fold", "strange.onnx"]), 3, &["logits", "other"]);
}

#[test]
fn slides_that_cannot_be_worked_on_get_a_sentence() {
    let d = setup(EVERYWHERE);
    let run = |model: &str, slide: &str, out: &str, more: &[&str]| {
        ampoule(&d, &[&["run", model, slide, "-o", out][..], more].concat())
    };
    // No pixel size, and a way out.
    write_slide(&d.path("nompp.tif"), None, rectangle);
    expect(&run("bright.onnx", "nompp.tif", "x1", &[]), 3, &["nompp.tif", "--mpp"]);
    assert!(d.results("x1").is_empty());
    expect(&run("bright.onnx", "nompp.tif", "x2", &["--mpp", "0.5"]), 0, &["bright 0.07"]);
    expect(&run("bright.onnx", "nompp.tif", "x2", &["--mpp", "0"]), 2, &["0.02 to 50"]);
    // Pixels much too coarse, or only a little.
    expect(&run("bright.onnx", "a.tif", "x3", &["--mpp", "4"]), 3, &["times as large"]);
    expect(&run("bright.onnx", "a.tif", "x4", &["--mpp", "1.5"]), 0, &["enlarged"]);
    // A recipe that says nothing of slides, and one that asks for a level that is not there.
    photo_model(&d.path("plain.onnx"), false);
    expect(&run("plain.onnx", "a.tif", "x5", &[]), 3, &["[slide]"]);
    slide_model(&d.path("level.onnx"), false, "level = 9");
    expect(&run("level.onnx", "a.tif", "x6", &[]), 3, &["level 9", "has 4"]);
    slide_model(
        &d.path("level.onnx"),
        false,
        "level = 1\ntissue = \"none\"\noverlap = 0.5\nblend = \"average\"",
    );
    expect(&run("level.onnx", "nompp.tif", "x7", &[]), 0, &["nompp.tif: bright 2"]);
    // A slide smaller than a window; a blank one.
    slide_model(&d.path("wide.onnx"), false, "mpp = 4.0\ntissue = \"none\"");
    expect(&run("wide.onnx", "a.tif", "x8", &[]), 0, &["bright 0.07"]);
    slide_model(&d.path("otsu.onnx"), false, "mpp = 0.5");
    write_slide(&d.path("blank.tif"), Some(0.5), |_, _| 250);
    expect(&run("otsu.onnx", "blank.tif", "x9", &[]), 0, &["no tissue was found", "0 windows"]);
    // A damaged tile leaves nothing behind; the rest of a folder is done.
    let mut bytes = std::fs::read(d.path("a.tif")).unwrap();
    bytes[8..400].fill(0x55);
    std::fs::create_dir(d.path("many")).unwrap();
    std::fs::write(d.path("many/bad.tif"), &bytes).unwrap();
    std::fs::write(d.path("many/worse.svs"), b"not a slide").unwrap();
    std::fs::copy(d.path("a.tif"), d.path("many/good.tif")).unwrap();
    write_photo(&d.path("many/tile.png"), 30, 20, 15);
    expect(&run("bright.onnx", "many", "x10", &[]), 1, &["bad.tif: ", "worse.svs", "good.tif: bright 0.07"]);
    let failures = std::fs::read_to_string(d.path("x10/failures.csv")).unwrap();
    assert!(failures.contains("bad.tif") && failures.contains("worse.svs") && failures.lines().count() == 3);
    let left = d.names("x10");
    assert!(left.contains(&"predictions.csv".into()) && left.contains(&"good.geojson".into()));
    assert!(left.iter().all(|n| !n.starts_with("bad") && !n.contains("tmp-")), "{left:?}");
    // A slide that was cut off is not read as far as a photo's decoder gets.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/imaging/tests/golden/slides");
    let text = std::fs::read(golden.join("ome.tif")).unwrap();
    let cut: Vec<u8> = text[..text.len() / 2].to_vec();
    std::fs::write(d.path("cut.tif"), cut).unwrap();
    expect(&run("bright.onnx", "cut.tif", "x13", &[]), 3, &["cut.tif: "]);
    // A slide and a tile that want the same names, then two slides.
    write_photo(&d.path("many/good.png"), 30, 20, 15);
    expect(&run("bright.onnx", "many", "x14", &[]), 1, &["2 failed"]);
    let names = d.names("x14");
    let both = ["good_tif.geojson", "good_png_mask.png"];
    assert!(both.iter().all(|n| names.contains(&(*n).to_owned())), "{names:?}");
}

#[test]
fn regions_end_with_tissue_where_the_recipe_says_so() {
    let d = Dir::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/imaging/tests/golden/slides");
    std::fs::copy(golden.join("jpeg420.tif"), d.path("a.tif")).unwrap();
    let record = |more: &str, out: &str| -> serde_json::Value {
        slide_model(&d.path("bright.onnx"), false, more);
        let run = ["run", "bright.onnx", "a.tif", "-o", out, "--mpp", "2", "--json"];
        let o = ampoule(&d, &run);
        expect(&o, 0, &["tissue_mm2"]);
        serde_json::from_slice(&o.stdout).unwrap()
    };
    // Nearly all of the picture is bright: tissue with dark nuclei on pale glass.
    let whole = record("mpp = 2.0\ntissue = \"otsu-without-pens\"", "whole");
    let clipped = record("mpp = 2.0\ntissue = \"otsu-without-pens\"\nclip = true", "clipped");
    let area = |r: &serde_json::Value| r["labels"][0]["mm2"].as_f64().unwrap();
    let tissue = clipped["slide"]["tissue_mm2"].as_f64().unwrap();
    assert!((0.12..0.2).contains(&tissue), "{tissue}");
    // Areas are of tissue, whether outlines are cut there or not.
    assert!(area(&whole) <= whole["slide"]["tissue_mm2"].as_f64().unwrap(), "{whole}");
    assert!((area(&clipped) - tissue).abs() < 0.06 * tissue, "{clipped}");
}

/// The windows and scores that OpenSlide, Pillow, scikit-image and shapely give for WSInfer's rules
/// (scripts/golden_histology.py): also windows that reach beyond the slide, holes, and objects that are too small.
#[test]
fn windows_lie_where_wsinfer_lays_them() {
    let d = Dir::new();
    photo_model(&d.path("whole.onnx"), true);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wsinfer");
    let from = |n: &str| golden.join(n).to_str().unwrap().to_owned();
    let run = ["run", "whole.onnx", &from("slide.tif"), "-o", "out", "--recipe", &from("config.json")];
    expect(&ampoule(&d, &run), 0, &["slide.tif: Tumor"]);
    let rows = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let numbers = |l: &str| l.split(',').map(|v| v.parse::<f64>().unwrap()).collect::<Vec<_>>();
        let mut rows: Vec<Vec<f64>> = rows.lines().map(numbers).collect();
        // WSInfer goes column by column.
        rows.sort_by(|a, b| a[..2].partial_cmp(&b[..2]).unwrap());
        (header.to_owned(), rows)
    };
    let (ours, theirs) = (rows(&d.path("out/slide.csv")), rows(&golden.join("patches.csv")));
    assert_eq!(ours.0, theirs.0);
    let places = |rows: &[Vec<f64>]| rows.iter().map(|r| r[..4].to_vec()).collect::<Vec<_>>();
    assert_eq!(places(&ours.1), places(&theirs.1));
    assert!(ours.1.iter().any(|r| r[0] + r[2] > 5040.0) && ours.1.iter().any(|r| r[1] + r[3] > 3640.0));
    let worst = ours.1.iter().zip(&theirs.1).map(|(a, b)| (a[5] - b[5]).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-3, "{worst}");
}
