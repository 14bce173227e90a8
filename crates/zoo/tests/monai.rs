//! Bundles of MONAI whose configurations have references, expressions and parts that are not known.

use ampoule_pipeline::recipe::{Axis, Kind, PadMode, Rule};
use ampoule_pipeline::{RECIPE_KEY, Recipe};
use ampoule_testing::workspace;
use ampoule_zoo::{Archive, Opened};
use serde_json::{Value, json};
use std::path::Path;

/// The definition of a golden network, and the shapes of its weights.
fn golden(name: &str) -> [Value; 2] {
    let path = workspace().join("crates/zoo/tests/golden/named/monai.zip");
    let mut zip = Archive::new(std::fs::File::open(path).unwrap(), ampoule_torch::Budget::default()).unwrap();
    let v: Value = serde_json::from_slice(&zip.read(&format!("{name}.json")).unwrap()).unwrap();
    [v["definition"].clone(), v["shapes"].clone()]
}

/// Writes a file of safetensors of zeros.
fn zeros(shapes: &Value, path: &Path) {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, dims) in shapes.as_object().unwrap() {
        let size: u64 = dims.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product();
        header.insert(
            name.clone(),
            json!({"dtype": "F32", "shape": dims, "data_offsets": [at, at + 4 * size]}),
        );
        at += 4 * size;
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + at as usize, 0);
    std::fs::write(path, bytes).unwrap();
}

/// Opens a bundle with a golden network's weights in `weights`.
fn open(network: &str, weights: &str, config: &Value, metadata: &Value) -> Result<Opened, String> {
    let d = tempfile::tempdir().unwrap();
    for part in ["configs", "models"] {
        std::fs::create_dir_all(d.path().join(part)).unwrap();
    }
    std::fs::write(d.path().join("configs/inference.json"), config.to_string()).unwrap();
    std::fs::write(d.path().join("configs/metadata.json"), metadata.to_string()).unwrap();
    zeros(&golden(network)[1], &d.path().join("models").join(weights));
    ampoule_zoo::open(d.path()).map_err(|e| e.to_string())
}

fn recipe(opened: &Opened) -> Recipe {
    let text = opened.graph.meta(RECIPE_KEY).unwrap_or_else(|| panic!("{:?}", opened.notes));
    Recipe::parse(text, "recipe").unwrap()
}

fn metadata() -> Value {
    json!({"name": "bundle", "monai_version": "1.4.0"})
}

/// Volumes of two channels, three labels; numbers by expressions.
fn volumes() -> Value {
    json!({
        "imports": ["$import glob"], "bundle_root": "/data/bundle", "image": "$monai.utils.CommonKeys.IMAGE", "labels": {"a": 1, "b": 2},
        "contrasts": 2, "first": 4, "fine": false, "size": "$[16] * 3", "raw": true,
        "spacing": "$[1.5, 1.5, 2.0] if not @fine else [1.0, 1.0, 1.0]",
        "network_def": {"_target_": "AttentionUnet", "_desc_": "small", "spatial_dims": "$len(@size)", "in_channels": "@contrasts",
            "out_channels": "$len(@labels) + 1", "channels": "$[@first, @first * 2, @first * 4]", "strides": "$[@contrasts, 2]"},
        "network": "$@network_def.to(@device)",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "begin": [{"_target_": "LoadImaged", "keys": "@image"},
            {"_target_": "Orientationd", "keys": "@image", "axcodes": "RAS", "_requires_": "$print('x')"},
            {"_target_": "Spacingd", "keys": "@image", "pixdim": "@spacing", "mode": "bilinear"},
            {"_target_": "RandGaussianNoised", "keys": "@image", "_disabled_": "$@raw and not @fine"}],
        "end": [{"_target_": "ScaleIntensityRanged", "keys": "@image", "a_min": "$-@contrasts * 100", "a_max": 250, "b_min": 0, "b_max": 1, "clip": "True"},
            {"_target_": "EnsureTyped", "keys": "@image", "device": "@device"}],
        "preprocessing": {"_target_": "Compose", "transforms": "$@begin + @end"},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@size", "overlap": "$1 - 3 / 4", "padding_mode": "replicate", "device": "@device"},
        "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": "$len(@labels) > 1"},
            {"_target_": "Invertd", "keys": "pred", "transform": "$copy.deepcopy(@preprocessing)", "nearest_interp": "@fine"},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": true}]},
        "loader": {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/' + ('fine.pt' if @fine else 'coarse.pt')"},
    })
}

#[test]
fn expressions_of_a_bundle_are_evaluated_where_they_are_needed() {
    let opened = open("monai_attention_unet", "coarse.pt", &volumes(), &metadata()).unwrap();
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    let r = recipe(&opened);
    let text = r.to_text();
    assert!(text.contains("spacing = [1.5, 1.5, 2.0]") && text.contains("low = -200.0"), "{text}");
    let w = r.network[0].window.as_ref().unwrap();
    assert_eq!((&w.size[..], w.overlap, w.border), (&[16; 3][..], 0.25, PadMode::Edge));
    assert_eq!((r.label.len(), r.input.len()), (3, 2));
    // What the network needs is refused where it is not evaluated.
    let mut odd = volumes();
    odd["network_def"]["channels"] = "$scripts.channels(@first)".into();
    let told = open("monai_attention_unet", "coarse.pt", &odd, &metadata()).unwrap_err();
    assert!(told.contains("`network_def.channels` is `$scripts.channels(@first)`"), "{told}");
    odd["network_def"] = json!({"_target_": "Generator"});
    let told = open("monai_attention_unet", "coarse.pt", &odd, &metadata()).unwrap_err();
    assert!(told.contains("Generator") && told.contains("model.ts"), "{told}");
    odd["network_def"] = "$torch.load('x')".into();
    let told = open("monai_attention_unet", "coarse.pt", &odd, &metadata()).unwrap_err();
    assert!(told.contains("`network_def` is `$torch.load('x')`"), "{told}");
}

#[test]
fn a_bundle_of_unknown_transforms_takes_a_recipe() {
    for (at, what, told) in [
        ("begin", json!({"_target_": "scripts.MyWarpd", "keys": "image"}), "scripts.MyWarp"),
        ("end", json!({"_target_": "Resized", "spatial_size": "$scripts.size()"}), "$scripts.size()"),
        ("end", json!({"_target_": "Flipd", "_disabled_": "$os.path.exists('x')"}), "$os.path.exists('x')"),
    ] {
        let mut config = volumes();
        config[at].as_array_mut().unwrap().push(what);
        let opened = open("monai_attention_unet", "model.pt", &config, &metadata()).unwrap();
        assert_eq!(opened.graph.meta(RECIPE_KEY), None);
        let note = opened.notes.last().unwrap();
        assert!(note.contains(told) && note.contains("--recipe") && note.contains("preprocessing"), "{note}");
        let whole = open("monai_attention_unet", "model.pt", &volumes(), &metadata()).unwrap();
        let options = ampoule_engine::Options { threads: 1, ..Default::default() };
        let given = whole.graph.meta(RECIPE_KEY);
        assert!(ampoule_pipeline::Model::from_graph(opened.graph, given, String::new(), options).is_ok());
    }
    let mut config = volumes();
    config["inferer"] = json!({"_target_": "scripts.MyInferer"});
    let opened = open("monai_attention_unet", "model.pt", &config, &metadata()).unwrap();
    assert!(opened.notes.last().unwrap().contains("scripts.MyInferer"), "{:?}", opened.notes);
    // The weights that it loads are not there, and it says whose it has.
    assert!(opened.notes[0].contains("coarse.pt"), "{:?}", opened.notes);
}

#[test]
fn slices_of_volumes_and_regions_over_one_another_are_a_recipe() {
    let config = json!({
        "network_def": golden("monai_segresnet_deconv")[0],
        "inferer": {"_target_": "SliceInferer", "roi_size": [16, 24], "spatial_dim": 1},
        "preprocessing": [{"_target_": "LoadImaged"}, {"_target_": "ScaleIntensityd"}],
        "postprocessing": [{"_target_": "AsDiscreted", "argmax": true}],
    });
    let r = recipe(&open("monai_segresnet_deconv", "model.pt", &config, &metadata()).unwrap());
    assert_eq!((r.input[0].kind, r.network[0].slices), (Kind::Volume, Axis::Y));
    assert_eq!(r.network[0].window.as_ref().unwrap().size, [16, 1, 24]);
    let mut config = volumes();
    config["postprocessing"]["transforms"] = json!([{"_target_": "Activationsd", "sigmoid": true}, {"_target_": "AsDiscreted", "threshold": 0.5},
        {"_target_": "Lambdad", "func": "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"}]);
    let r = recipe(&open("monai_attention_unet", "model.pt", &config, &metadata()).unwrap());
    assert_eq!(r.decide.rule, Rule::Regions);
    let labels: Vec<(usize, u16)> = r.label.iter().map(|l| (l.channel, l.value)).collect();
    assert_eq!(labels, [(1, 2), (0, 1), (2, 4)]);
    config["postprocessing"]["transforms"][2]["func"] = "$lambda x: x[2:]".into();
    let opened = open("monai_attention_unet", "model.pt", &config, &metadata()).unwrap();
    assert!(opened.notes.last().unwrap().contains("$lambda x: x[2:]"), "{:?}", opened.notes);
}

#[test]
fn a_swin_unetr_needs_its_window_and_its_version() {
    let [definition, _] = golden("monai_swin_unetr_old");
    let with = |roi: Value, metadata: Value| {
        let config = json!({"network_def": definition, "inferer": {"_target_": "SlidingWindowInferer", "roi_size": roi}});
        open("monai_swin_unetr_old", "model.pt", &config, &metadata).map(|_| ())
    };
    assert_eq!(with(json!([64, 32, 32]), metadata()), Ok(()));
    assert_eq!(with(json!(64), metadata()), Ok(()));
    assert!(with(json!([48, 32, 32]), metadata()).unwrap_err().contains("multiples of 32"));
    assert!(with(Value::Null, metadata()).unwrap_err().contains("roi_size"));
    assert!(with(json!([64, 32, 32]), json!({"name": "x"})).unwrap_err().contains("monai_version"));
}
