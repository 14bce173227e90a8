//! Networks of torchvision, timm and segmentation-models-pytorch by name, against what the packages compute with the same
//! weights. Both sides make them by one rule from names and shapes (`scripts/golden_named.py`).

use ampoule_engine::{Options, Session};
use ampoule_testing::workspace;
use ampoule_zoo::Archive;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Largest difference, in parts of the largest value.
const NEAR: f64 = 2e-4;

/// Numbers in [-0.5, 0.5) by name and place.
fn hashed(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    (0..count as u32).map(move |i| {
        let mut h = i.wrapping_mul(0x9e37_79b1).wrapping_add(seed);
        h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
        h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
        h ^= h >> 16;
        (h >> 8) as f32 / (1 << 24) as f32 - 0.5
    })
}

/// Scale and shift of the numbers of a tensor.
fn rule(name: &str, dims: &[usize], deep: f64) -> (f64, f32) {
    let has = |part: &str| name.contains(part);
    if name == "input" {
        return (2.0, 0.0);
    }
    if name.ends_with("running_mean") {
        return (0.4, 0.0);
    }
    if name.ends_with("running_var") {
        return (1.0, 1.0);
    }
    if has("token") || has("pos_embed") || has("bias_table") {
        return (1.0, 0.0);
    }
    if has("gamma") || has("layer_scale") {
        return (0.5, 0.5);
    }
    if dims.len() < 2 {
        return if name.ends_with("weight") { (0.5, 1.0) } else { (0.2, 0.0) };
    }
    let fan: usize = dims[1..].iter().product();
    let gain = if dims.len() == 4 && dims[1] == 1 { deep } else { 1.4 };
    (2.0 * gain * (3.0 / fan as f64).sqrt(), 0.0)
}

fn made(name: &str, dims: &[usize], deep: f64) -> Vec<f32> {
    let (scale, shift) = rule(name, dims, deep);
    hashed(name, dims.iter().product()).map(|v| v * scale as f32 + shift).collect()
}

fn sizes(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

/// Writes a file of safetensors with the tensors of these shapes.
fn checkpoint(shapes: &Value, path: &Path, deep: f64) {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    let shapes = shapes.as_object().unwrap();
    for (name, dims) in shapes {
        let bytes = 4 * sizes(dims).iter().product::<usize>();
        header.insert(name.clone(), json!({"dtype": "F32", "shape": dims, "data_offsets": [at, at + bytes]}));
        at += bytes;
    }
    let header = Value::Object(header).to_string();
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    for (name, dims) in shapes {
        for v in made(name, &sizes(dims), deep) {
            file.write_all(&v.to_le_bytes()).unwrap();
        }
    }
    file.flush().unwrap();
}

/// All networks of an archive of golden files, with the largest difference of each.
fn compare(archive: &str) {
    let path = workspace().join("crates/zoo/tests/golden/named").join(archive);
    let mut zip =
        Archive::new(std::fs::File::open(&path).unwrap(), ampoule_torch::Budget::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let only = std::env::var("AMPOULE_NAMED").unwrap_or_default();
    let mut failed = Vec::new();
    for name in zip.names() {
        if !name.contains(&only) {
            continue;
        }
        let golden: Value = serde_json::from_slice(&zip.read(&name).unwrap()).unwrap();
        match one(&golden, folder.path()) {
            Ok(d) if d < NEAR => println!("{name}: largest difference {d:.1e}"),
            Ok(d) => failed.push(format!("{name}: largest difference {d:.1e}")),
            Err(e) => failed.push(format!("{name}: {e}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The largest difference of a network, in parts of its largest value.
fn one(golden: &Value, folder: &Path) -> Result<f64, String> {
    let deep = golden["deep"].as_f64().unwrap();
    let graph = match golden["arch"].as_str() {
        Some(arch) => {
            let file: PathBuf = folder.join("weights.safetensors");
            checkpoint(&golden["shapes"], &file, deep);
            ampoule_zoo::import(&file, arch).map_err(|e| e.to_string())?
        }
        None => {
            let bundle = bundle(golden, folder, deep);
            ampoule_zoo::open(&bundle).map_err(|e| e.to_string())?.graph
        }
    };
    let dims = sizes(&golden["input"]);
    let options = Options { threads: 2, isa: ampoule_testing::asked_tier(), ..Default::default() };
    let mut s = Session::new(graph, std::slice::from_ref(&dims), &options).map_err(|e| e.to_string())?;
    s.set_input(0, &made("input", &dims, 1.0)).map_err(|e| e.to_string())?;
    s.run().map_err(|e| e.to_string())?;
    let out = s.output(0).map_err(|e| e.to_string())?;
    if *out.dims != sizes(&golden["output"])[..] {
        return Err(format!("its output is {:?}, not {}", out.dims, golden["output"]));
    }
    let step = golden["step"].as_u64().unwrap() as usize;
    let got: Vec<f32> = out.to_vec().into_iter().step_by(step).collect();
    let want: Vec<f64> = golden["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let worst = got.iter().zip(&want).fold(0.0, |m: f64, (a, b)| m.max((f64::from(*a) - b).abs()));
    // A value that is no number is as far as can be.
    Ok(if got.iter().all(|v| v.is_finite()) { worst / largest } else { f64::INFINITY })
}

/// A bundle of MONAI with a network as it is defined there.
fn bundle(golden: &Value, folder: &Path, deep: f64) -> PathBuf {
    let to = folder.join("bundle");
    for part in ["configs", "models"] {
        std::fs::create_dir_all(to.join(part)).unwrap();
    }
    let window = &sizes(&golden["input"])[2..];
    let inferer = json!({"_target_": "SlidingWindowInferer", "roi_size": window});
    let inference = json!({"network_def": golden["definition"], "inferer": inferer});
    std::fs::write(to.join("configs/inference.json"), inference.to_string()).unwrap();
    let metadata = json!({"name": "defined", "monai_version": golden["definition"]["_monai_"]});
    std::fs::write(to.join("configs/metadata.json"), metadata.to_string()).unwrap();
    checkpoint(&golden["shapes"], &to.join("models/model.pt"), deep);
    to
}

#[test]
fn networks_of_torchvision_agree() {
    compare("tv.zip");
}

#[test]
fn networks_of_timm_agree() {
    compare("timm.zip");
}

#[test]
fn networks_of_segmentation_models_agree() {
    compare("smp.zip");
}

#[test]
fn networks_that_bundles_of_monai_define_agree() {
    compare("monai.zip");
}

#[test]
fn networks_of_other_programs_agree() {
    compare("other.zip");
}

#[test]
fn weights_of_another_network_are_refused_by_name_and_shape() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resnet18-0123abcd.safetensors");
    let whole = json!({"conv1.weight": [4, 3, 7, 7]});
    checkpoint(&whole, &file, 1.4);
    let said = ampoule_zoo::open(&file).unwrap_err().to_string();
    assert!(said.contains("resnet18-0123abcd") && said.contains("`bn1.weight` is missing"), "{said}");
    // Channels that do not follow from one another.
    let mut shapes = whole;
    for part in ["weight", "bias", "running_mean", "running_var"] {
        shapes[format!("bn1.{part}")] = json!([4]);
    }
    shapes["layer1.0.conv1.weight"] = json!([4, 3, 3, 3]);
    checkpoint(&shapes, &file, 1.4);
    let said = ampoule_zoo::open(&file).unwrap_err().to_string();
    assert!(
        said.contains("`layer1.0.conv1.weight` is [4, 3, 3, 3]") && said.contains("4 channels"),
        "{said}"
    );
    let said = ampoule_zoo::import(&file, "resnetblur50").unwrap_err().to_string();
    assert!(said.contains("resnetblur50") && said.contains("resnet#"), "{said}");
}

/// The shapes of a golden network.
fn shapes(archive: &str, name: &str) -> Value {
    let path = workspace().join("crates/zoo/tests/golden/named").join(archive);
    let mut zip =
        Archive::new(std::fs::File::open(&path).unwrap(), ampoule_torch::Budget::default()).unwrap();
    let golden: Value = serde_json::from_slice(&zip.read(&format!("{name}.json")).unwrap()).unwrap();
    golden["shapes"].clone()
}

#[test]
fn folders_that_packages_share_open_by_their_configuration() {
    let d = tempfile::tempdir().unwrap();
    checkpoint(&shapes("timm.zip", "timm_vit"), &d.path().join("model.safetensors"), 1.4);
    let with = |config: Value| {
        std::fs::write(d.path().join("config.json"), config.to_string()).unwrap();
        ampoule_zoo::open(d.path()).map_err(|e| e.to_string())
    };
    let mut own = json!({"architecture": "vit_small_patch16_224", "num_classes": 5, "pretrained_cfg": {
        "input_size": [3, 64, 64], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic", "crop_pct": 0.9}});
    let opened = with(own.clone()).unwrap();
    let recipe =
        ampoule_pipeline::Recipe::parse(opened.graph.meta(ampoule_pipeline::RECIPE_KEY).unwrap(), "recipe")
            .unwrap();
    assert_eq!(recipe.label.len(), 5);
    let text = recipe.to_text();
    assert!(text.contains("shorter = 71") && text.contains("bicubic") && text.contains("0.25"), "{text}");
    own["architecture"] = "vit_small_patch16_clip_224".into();
    assert!(with(own.clone()).unwrap_err().contains("vit_small_patch16_clip_224"));
    // WSInfer's configuration beside weights.
    let wsinfer = json!({"architecture": "vit_small_patch16_224", "num_classes": 5, "class_names": ["a", "b", "c", "d", "e"], "name": "x",
        "patch_size_pixels": 64, "spacing_um_px": 0.5, "transform": [{"name": "Resize", "arguments": {"size": 64}}, {"name": "ToTensor"}]});
    let opened = with(wsinfer).unwrap();
    assert!(opened.graph.meta(ampoule_pipeline::RECIPE_KEY).unwrap().contains("0.5"));
    // A segmentation, with what its weights tell, and with what they do not.
    checkpoint(&shapes("smp.zip", "smp_fpn"), &d.path().join("model.safetensors"), 1.4);
    let mut fpn = json!({"_model_class": "FPN", "encoder_name": "resnet18", "classes": 3, "upsampling": 4, "activation": null});
    assert!(with(fpn.clone()).unwrap().notes[0].contains("recipe"));
    fpn["upsampling"] = 2.into();
    assert!(with(fpn).unwrap_err().contains("`upsampling` is 2"));
}
