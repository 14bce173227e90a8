//! The node tests of the `onnx` wheel, against the reference and against the engine.
//!
//! `AMPOULE_ONNX_NODES` names the folder `onnx/backend/test/data/node` (or `.venv` holds the wheel,
//! see `scripts/oracles.sh`). Without it the test says so and passes. Every case whose operators
//! are supported must pass; `docs/operators.md` must hold the table, and is rewritten when
//! `AMPOULE_WRITE_TABLE` is set.

use ampoule_engine::{Options, Session};
use ampoule_graph::{DType, Tensor, eval};
use ampoule_onnx as onnx;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The defaults, with the features that `AMPOULE_ISA` asks for.
fn defaults() -> Options {
    Options { isa: ampoule_testing::asked_tier(), ..Default::default() }
}

fn folder() -> Option<PathBuf> {
    if let Some(p) = std::env::var_os("AMPOULE_ONNX_NODES") {
        return Some(p.into());
    }
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
    let python = std::fs::read_dir(lib).ok()?.flatten().next()?.path();
    Some(python.join("site-packages/onnx/backend/test/data/node")).filter(|p| p.is_dir())
}

/// Why a case is not run, as printed in the table.
enum Verdict {
    Passed,
    Unsupported,
    Failed(String),
}

fn tensors(dir: &Path, kind: &str) -> Option<Vec<(String, Tensor)>> {
    let mut out = Vec::new();
    for i in 0.. {
        let Ok(bytes) = std::fs::read(dir.join(format!("{kind}_{i}.pb"))) else { break };
        out.push(onnx::tensor_from_bytes(&bytes).ok()?);
    }
    Some(out)
}

fn close(got: &Tensor, want: &Tensor) -> Result<(), String> {
    if got.dims() != want.dims() || got.dtype() != want.dtype() {
        return Err(format!(
            "{:?} {:?} instead of {:?} {:?}",
            got.dtype(),
            got.dims(),
            want.dtype(),
            want.dims()
        ));
    }
    let (Some(a), Some(b)) = (got.to_f64(), want.to_f64()) else { return Err("not numeric".into()) };
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        let ok = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-7 + 1e-3 * y.abs();
        if !ok {
            return Err(format!("element {i}: {x} instead of {y}"));
        }
    }
    Ok(())
}

fn numeric(t: DType) -> bool {
    t.is_float() || t.is_int()
}

fn run(dir: &Path) -> Verdict {
    let graph = match onnx::read_file(&dir.join("model.onnx")) {
        Ok(g) => g,
        Err(onnx::Error::Opset { .. }) => return Verdict::Unsupported,
        Err(e) => return Verdict::Failed(e.to_string()),
    };
    let data = dir.join("test_data_set_0");
    let (Some(inputs), Some(outputs)) = (tensors(&data, "input"), tensors(&data, "output")) else {
        return Verdict::Unsupported;
    };
    let all_numeric = inputs.iter().chain(&outputs).all(|(_, t)| numeric(t.dtype()));
    if !graph.unsupported().is_empty() || !all_numeric || inputs.len() != graph.inputs.len() {
        return Verdict::Unsupported;
    }
    let compare = |who: &str, got: Result<Vec<Tensor>, String>| -> Result<(), String> {
        let got = got.map_err(|e| format!("{who}: {e}"))?;
        got.iter().zip(&outputs).try_for_each(|(g, (_, w))| close(g, w).map_err(|e| format!("{who}: {e}")))
    };
    let given: Vec<Tensor> = inputs.iter().map(|i| i.1.clone()).collect();
    let by_reference = eval::run(&graph, &given).map_err(|e| e.to_string());
    // A round trip through the writer must mean the same.
    let written = onnx::to_bytes(&graph).map_err(|e| e.to_string()).and_then(|b| {
        let again = onnx::from_bytes(b.into(), None, &onnx::Limits::default()).map_err(|e| e.to_string())?;
        eval::run(&again, &given).map_err(|e| e.to_string())
    });
    // In the engine what describes shapes must be constant: integer inputs are bound.
    let by_engine = (|| {
        let mut g = graph.clone();
        let mut rest = Vec::new();
        let names: Vec<String> = g.inputs.iter().map(|i| g.value(*i).name.clone()).collect();
        for ((_, t), name) in inputs.iter().zip(&names) {
            // Scalars are limits, ratios and scales: parameters too.
            if t.dtype().is_int() || name == "scales" || name == "roi" || t.dims().is_empty() {
                g.bind(name, t.clone()).map_err(|e| e.to_string())?;
            } else {
                rest.push(t.clone());
            }
        }
        let shapes: Vec<Vec<usize>> = rest.iter().map(|t| t.dims().to_vec()).collect();
        let options = Options { threads: 2, ..defaults() };
        let mut s = Session::new(g, &shapes, &options).map_err(|e| e.to_string())?;
        s.run_tensors(&rest).map_err(|e| e.to_string())
    })();
    let all = compare("reference", by_reference)
        .and_then(|()| compare("written and read", written))
        .and_then(|()| compare("engine", by_engine));
    match all {
        Ok(()) => Verdict::Passed,
        Err(e) => Verdict::Failed(e),
    }
}

#[test]
fn every_supported_case_passes() {
    let Some(folder) = folder() else {
        println!("SKIPPED: the onnx wheel is not installed; run scripts/oracles.sh");
        return;
    };
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.path()).collect();
    cases.sort();
    assert!(cases.len() > 1000, "onnx 1.22.0 has 1765 cases, found {}", cases.len());
    let mut table: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut failures = Vec::new();
    for dir in &cases {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(bytes) = std::fs::read(dir.join("model.onnx")) else { continue };
        let model = <onnx::proto::ModelProto as prost::Message>::decode(&bytes[..]).unwrap();
        let nodes = &model.graph.as_ref().unwrap().node;
        let op = if nodes.len() == 1 { nodes[0].op_type.clone() } else { "(several operators)".into() };
        let domain = nodes.iter().any(|n| n.domain.contains("training") || n.domain.contains("ml"));
        let op = if domain { "(other domains)".into() } else { op };
        let row = table.entry(op).or_default();
        match run(dir) {
            Verdict::Passed => row[0] += 1,
            Verdict::Unsupported => row[1] += 1,
            Verdict::Failed(e) => failures.push(format!("{name}: {e}")),
        }
    }
    let passed: usize = table.values().map(|r| r[0]).sum();
    println!(
        "{passed} passed, {} failed, {} unsupported",
        failures.len(),
        table.values().map(|r| r[1]).sum::<usize>()
    );
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
    if std::env::var_os("AMPOULE_WRITE_TABLE").is_some() {
        std::fs::write(&page, written(&table)).unwrap();
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert!(passed > 600, "only {passed} cases ran");
    let stands = std::fs::read_to_string(&page).unwrap();
    assert!(
        stands == written(&table),
        "docs/operators.md is another table; write it with AMPOULE_WRITE_TABLE=1"
    );
}

/// The page for `table`: cases that pass and that are refused, by operator.
fn written(table: &BTreeMap<String, [usize; 2]>) -> String {
    let mut text = String::from(HEADER);
    for (op, [pass, refused]) in table.iter().filter(|(_, r)| r[0] > 0) {
        text += &format!("| {op} | {pass} | {refused} |\n");
    }
    let none: Vec<&str> = table.iter().filter(|(_, r)| r[0] == 0).map(|(op, _)| op.as_str()).collect();
    text + &format!("\nNot supported at all: {}.\n", none.join(", "))
}

const HEADER: &str = "# Operators\n\n\
Node tests of `onnx==1.22.0` by operator. Every case whose operators and element types are supported \
passes three times: in the reference, after a round trip through the writer, and in the engine. The \
others are refused by name (other element types, outputs such as pooling indices, training modes, \
sequences).\n\n\
Made by `scripts/oracles.sh && AMPOULE_WRITE_TABLE=1 cargo test -p ampoule-engine --test onnx_nodes`.\n\n\
| operator | pass | refused |\n|---|---|---|\n";
