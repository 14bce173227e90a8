//! Programs of PyTorch against what PyTorch computes of them (`scripts/golden_torch.py`).

use ampoule_engine::{Options, Session};
use ampoule_graph::{Graph, Tensor};
use ampoule_torch::{Budget, InputShape};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest difference, as a share of the largest value.
const TOLERANCE: f32 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The arrays that belong to an archive.
fn arrays(file: &Path) -> BTreeMap<String, Tensor> {
    let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
    let forms = ["_script", "_free", "_old", "_decomposed"];
    let stem = forms.iter().find_map(|e| stem.strip_suffix(e)).unwrap_or(&stem).to_owned();
    let bytes = std::fs::read(folder().join(format!("{stem}.npz"))).unwrap();
    ampoule_torch::npz::read(&bytes, Budget::default()).unwrap()
}

/// Archives of the folder with this ending.
fn archives(ending: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|f| f.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    files
}

/// The largest difference of any output, as a share of the largest value.
fn difference(graph: Graph, arrays: &BTreeMap<String, Tensor>) -> Result<f32, String> {
    let x = &arrays["x0"];
    let options = Options { threads: 2, ..Options::default() };
    let mut session = Session::new(graph, &[x.dims().to_vec()], &options).map_err(|e| e.to_string())?;
    session.set_input(0, &x.to_f32().unwrap()).map_err(|e| e.to_string())?;
    session.run().map_err(|e| e.to_string())?;
    let mut worst = 0f32;
    for (i, (name, y)) in arrays.iter().filter(|(n, _)| n.starts_with('y')).enumerate() {
        let (y, got) = (y.to_f32().unwrap(), session.output(i).map_err(|e| e.to_string())?.to_vec());
        if got.len() != y.len() {
            return Err(format!("{name} has {} elements, {} are expected", got.len(), y.len()));
        }
        let largest = y.iter().fold(0f32, |m, v| m.max(v.abs()));
        // A network that gives nothing shows nothing.
        if largest < 1e-6 || !largest.is_finite() {
            return Err(format!("the golden {name} is trivial"));
        }
        let apart = y.iter().zip(&got).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        worst = worst.max(if apart.is_finite() { apart / largest } else { f32::INFINITY });
    }
    Ok(worst)
}

/// Opens each archive with free sizes, else with those of its input, and runs it.
fn agree(ending: &str, least: usize) {
    let all = archives(ending);
    assert!(all.len() >= least, "{} archives", all.len());
    let mut wrong = Vec::new();
    for file in &all {
        let (name, arrays) = (file.file_name().unwrap().to_string_lossy().into_owned(), arrays(file));
        let bytes = std::fs::read(file).unwrap();
        let known: InputShape = arrays["x0"].dims().iter().map(|&d| Some(d)).collect();
        let free = ampoule_torch::graph(&bytes, &[], Budget::default());
        let how = free.as_ref().err().map_or_else(|| "free".into(), ToString::to_string);
        let made = free.or_else(|_| ampoule_torch::graph(&bytes, &[known], Budget::default()));
        match made.map_err(|e| e.to_string()).and_then(|g| difference(g, &arrays)) {
            Ok(worst) if worst <= TOLERANCE => println!("{name}: {worst:.1e} ({how})"),
            Ok(worst) => wrong.push(format!("{name}: {worst} ({how})")),
            Err(e) => wrong.push(format!("{name}: {e} ({how})")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn torchscript_computes_what_torch_does() {
    agree("ts", 12);
}

#[test]
fn exported_programs_compute_what_torch_does() {
    agree("pt2", 12);
}

#[test]
fn archives_that_are_cut_short_are_refused() {
    for file in archives("ts").into_iter().chain(archives("pt2")).step_by(5) {
        let bytes = std::fs::read(&file).unwrap();
        for share in [1, 10, 50, 90, 99] {
            let cut = &bytes[..bytes.len() * share / 100];
            assert!(
                ampoule_torch::graph(cut, &[], Budget::default()).is_err(),
                "{} at {share} %",
                file.display()
            );
        }
    }
}
