//! Models in the forms that exporters and ONNX Runtime's optimizer write, against what ONNX Runtime computes
//! (scripts/golden_exporters.py): read, run in the reference, written, read and run again.

use ampoule_graph::{DType, Graph, Tensor, eval, passes};
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/exporters");
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn tensors(case: &Path, kind: &str) -> Vec<Tensor> {
    let read = |i: usize| std::fs::read(case.join(format!("{kind}_{i}.pb"))).ok();
    let tensor = |bytes: Vec<u8>| ampoule_onnx::tensor_from_bytes(&bytes).unwrap().1;
    (0..).map_while(read).map(tensor).collect()
}

/// Runs `g` and holds it against the golden outputs.
fn check(g: &Graph, case: &Path, how: &str) {
    let name = case.file_name().unwrap().to_string_lossy();
    let found = eval::run(g, &tensors(case, "input")).unwrap_or_else(|e| panic!("{name} {how}: {e}"));
    let wanted = tensors(case, "output");
    assert_eq!(found.len(), wanted.len(), "{name}");
    for (a, b) in found.iter().zip(&wanted) {
        assert_eq!(a.dims(), b.dims(), "{name} {how}");
        let (a, half) = (a.to_f64().unwrap(), a.dtype() == DType::F16);
        let b = b.to_f64().unwrap();
        let size = b.iter().fold(1f64, |m, v| m.max(v.abs()));
        let most = a.iter().zip(&b).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
        let allowed = if half { 4e-3 } else { 2e-5 };
        assert!(most <= allowed * size, "{name} {how}: off by {most} of {size}");
    }
}

#[test]
fn forms_of_exporters_give_the_results_of_onnx_runtime() {
    let all = cases();
    assert!(all.len() > 50, "{} cases", all.len());
    for case in all {
        let mut g = ampoule_onnx::read_file(&case.join("model.onnx")).unwrap();
        let refused = g.unsupported();
        assert!(refused.is_empty(), "{}: {refused:?}", case.display());
        check(&g, &case, "as read");
        let bytes = ampoule_onnx::to_bytes(&g).unwrap();
        let stored = ampoule_onnx::from_bytes(bytes.into(), None, &Default::default()).unwrap();
        check(&stored, &case, "as stored");
        passes::optimize(&mut g).unwrap();
        check(&g, &case, "after the passes");
    }
}

#[test]
fn parameters_that_are_computed_from_constants_become_constants() {
    for name in ["conv_of_computed_weights", "batch_norm_of_computed_scale", "blocked_weights_int4"] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/exporters/{name}/model.onnx"));
        let mut g = ampoule_onnx::read_file(&path).unwrap();
        passes::trainable(&mut g).unwrap();
        assert_eq!(g.nodes.len(), 1, "{name}: {:?}", g.nodes);
    }
}

#[test]
fn half_floats_are_widened() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/exporters/float16");
    let mut g = ampoule_onnx::read_file(&path.join("model.onnx")).unwrap();
    assert!(passes::widen(&mut g) > 0);
    ampoule_graph::infer::infer(&mut g).unwrap();
    assert!(g.values.iter().all(|v| v.dtype == Some(DType::F32)));
    let inputs: Vec<Tensor> = tensors(&path, "input");
    let wide = Tensor::f32(inputs[0].dims(), &inputs[0].to_f32().unwrap());
    let y = eval::run(&g, &[wide]).unwrap()[0].to_f64().unwrap();
    let wanted = tensors(&path, "output")[0].to_f64().unwrap();
    assert!(y.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 2e-2), "{y:?} {wanted:?}");
}
