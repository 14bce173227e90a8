//! What can be done with one network, as a line of JSON that grows, the last of which counts: `network FILE ARRAYS.npz`.
//!
//! FILE is an ONNX file, a TorchScript or a torch.export archive; ARRAYS.npz holds its inputs `x0`, `x1`, … and what the
//! framework computes of them, `y0`, `y1`, …. Tells whether it opens, how far the outputs are off as a share of the largest
//! value, the steps that run on the reference kernel, and whether INT8, pruning of half of the channels and a step of
//! training work. `scripts/network_table.py` makes the inputs and a page of the lines.

use ampoule_engine::{Options, Session};
use ampoule_graph::{DType, Graph, Tensor, passes};
use ampoule_optimize::prune::{
    Importance, Moments, Ratio, Structure, importance, reconstruct, remove, select,
};
use ampoule_optimize::{Collector, Method, Plan, Preset, quantize};
use ampoule_runtime::Pool;
use ampoule_torch::{Budget, InputShape};
use ampoule_train::{Kind, Machine, Optimizer, build};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

type Done<T> = Result<T, Box<dyn std::error::Error>>;
type Arrays = BTreeMap<String, Tensor>;

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, file, arrays] = &args[..] else { return Err("usage: network FILE ARRAYS.npz".into()) };
    let arrays = ampoule_torch::npz::read(&std::fs::read(arrays)?, Budget::default())?;
    let (graph, free) = match open(file.as_ref(), &arrays) {
        Ok(opened) => opened,
        Err(e) => {
            println!("{}", json!({ "loads": tried::<()>(Err(e)) }));
            return Ok(());
        }
    };
    // What is found is told at once: the program may be ended before it is done.
    let mut found = json!({ "loads": { "free": free } });
    println!("{found}");
    type Part = fn(&Graph, &Arrays) -> Done<Value>;
    let parts: [(&str, Part); 4] =
        [("run", compared), ("int8", in_int8), ("pruned", half_pruned), ("step", one_step)];
    for (name, part) in parts {
        found[name] = tried(part(&graph, &arrays));
        println!("{found}");
    }
    Ok(())
}

/// What came of it, or why nothing did.
fn tried<T: Into<Value>>(result: Done<T>) -> Value {
    match result {
        Ok(value) => value.into(),
        Err(e) => {
            let mut text = e.to_string();
            let mut source = e.source();
            while let Some(e) = source {
                text = format!("{text}: {e}");
                source = e.source();
            }
            json!({ "failed": text })
        }
    }
}

/// The network with the sizes of the inputs, and whether it also opens without them.
fn open(file: &Path, arrays: &Arrays) -> Done<(Graph, bool)> {
    let shapes = shapes(arrays);
    if file.extension().is_some_and(|e| e == "onnx") {
        let mut graph = ampoule_onnx::read_file(file)?;
        let free = graph.value(graph.inputs[0]).dims().is_none();
        shapes.iter().enumerate().for_each(|(i, dims)| graph.set_input_dims(i, dims));
        return Ok((graph, free));
    }
    let bytes = std::fs::read(file)?;
    let free = ampoule_torch::graph(&bytes, &[], Budget::default()).is_ok();
    let known: Vec<InputShape> = shapes.iter().map(|s| s.iter().map(|&d| Some(d)).collect()).collect();
    Ok((ampoule_torch::graph(&bytes, &known, Budget::default())?, free))
}

fn shapes(arrays: &Arrays) -> Vec<Vec<usize>> {
    arrays.iter().filter(|(name, _)| name.starts_with("x")).map(|(_, t)| t.dims().to_vec()).collect()
}

/// Outputs of a network on the inputs.
fn outputs(graph: &Graph, arrays: &Arrays, options: &Options) -> Done<(Vec<Vec<f32>>, Session)> {
    let mut session = Session::new(graph.clone(), &shapes(arrays), options)?;
    for (i, (name, x)) in arrays.iter().filter(|(name, _)| name.starts_with("x")).enumerate() {
        session.set_input(i, &x.to_f32().ok_or_else(|| format!("{name} holds no numbers"))?)?;
    }
    session.run()?;
    let all = (0..graph.outputs.len()).map(|i| Ok(session.output(i)?.to_vec())).collect::<Done<_>>()?;
    Ok((all, session))
}

/// Threads of a run: one, as many files are best looked at side by side.
const THREADS: usize = 1;

/// Options of a plain run.
fn plain() -> Options {
    Options { threads: THREADS, ..Options::default() }
}

/// The largest difference from the framework as a share of the largest value, and steps on the reference kernel.
fn compared(graph: &Graph, arrays: &Arrays) -> Done<Value> {
    let (got, session) = outputs(graph, arrays, &plain())?;
    let mut worst = 0f32;
    for (i, (name, y)) in arrays.iter().filter(|(name, _)| name.starts_with("y")).enumerate() {
        let want = y.to_f32().ok_or_else(|| format!("{name} holds no numbers"))?;
        let own = got.get(i).ok_or_else(|| format!("there is no output {i}"))?;
        if own.len() != want.len() {
            return Err(format!("{name} has {} values, {} are expected", own.len(), want.len()).into());
        }
        let largest = want.iter().fold(1e-30f32, |m, v| m.max(v.abs()));
        let apart = want.iter().zip(own).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        let finite = own.iter().all(|v| v.is_finite());
        worst = worst.max(if finite { apart / largest } else { f32::INFINITY });
    }
    let all = session.steps();
    let reference: Vec<&str> = all.iter().filter(|s| s.kernel == "reference").map(|s| &s.op[..]).collect();
    let error = if worst.is_finite() { json!(worst) } else { json!("not finite") };
    Ok(json!({ "error": error, "steps": all.len(), "reference": reference }))
}

/// Relative L2 distance of the first outputs.
fn apart(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    let square = |x: f64| x * x;
    let off: f64 = got[0].iter().zip(&want[0]).map(|(a, b)| square(*a as f64 - *b as f64)).sum();
    (off / want[0].iter().map(|b| square(*b as f64)).sum::<f64>().max(1e-30)).sqrt()
}

/// Layers in INT8, and how far the result is off with the inputs themselves as calibration.
fn in_int8(graph: &Graph, arrays: &Arrays) -> Done<Value> {
    let mut g = graph.clone();
    passes::optimize(&mut g)?;
    let plan = Plan::of(&g, Preset::Performance, &BTreeSet::new());
    let seen = Collector::new(plan.tensors(&g));
    let (want, _) = outputs(&g, arrays, &Options { observe: Some(seen.observe()), ..plain() })?;
    seen.end_case("inputs")?;
    let q = quantize(&g, &plan, &seen.ranges(&plan.tensors(&g), Method::Mse)?, Preset::Performance)?;
    let (got, _) = outputs(&q, arrays, &plain())?;
    let distance = apart(&got, &want);
    if !distance.is_finite() {
        return Err("the outputs are not finite".into());
    }
    Ok(json!({ "layers": plan.layers.len(), "distance": distance }))
}

/// Numbers that training changes.
fn parameters(g: &Graph) -> usize {
    g.constants.values().filter(|t| t.dtype() == DType::F32).map(Tensor::len).sum()
}

/// The share of the parameters that is left where half of the channels go at once.
fn half_pruned(graph: &Graph, arrays: &Arrays) -> Done<Value> {
    let mut g = graph.clone();
    passes::trainable(&mut g)?;
    let s = Structure::of(&g);
    if s.groups.is_empty() {
        let why = s.frozen.first().map_or_else(|| "no layers with channels".into(), |f| f.reason.clone());
        return Err(why.into());
    }
    let moments = Moments::new(&g);
    outputs(&g, arrays, &Options { observe: Some(moments.observe()), ..plain() })?;
    let scores = importance(&g, &s, Importance::Median, Some(&moments));
    let keep = select(&s, &scores, &Ratio::Each(0.5));
    let small = remove(&reconstruct(&g, &s, &keep, &moments), &s, &keep)?;
    let (got, _) = outputs(&small, arrays, &plain())?;
    if got.iter().flatten().any(|v| !v.is_finite()) {
        return Err("the outputs are not finite".into());
    }
    let share = parameters(&small) as f64 / parameters(&g) as f64;
    Ok(json!({ "groups": s.groups.len(), "frozen": s.frozen.len(), "parameters": share }))
}

/// Whether the squares of the outputs become less by steps along the gradient.
fn one_step(graph: &Graph, arrays: &Arrays) -> Done<Value> {
    let mut g = graph.clone();
    passes::trainable(&mut g)?;
    let on = Machine::new(ampoule_kernels::choose(None)?, Arc::new(Pool::new(THREADS)));
    let mut net = build(&g, &shapes(arrays), on, &ampoule_train::Options::default())?;
    net.batch_statistics = false;
    let mut optimizer = Optimizer::new(Kind::Sgd { momentum: 0.0 }, 0.0, false, &net.params);
    let mut losses = Vec::new();
    for _ in 0..2 {
        for (i, (name, x)) in arrays.iter().filter(|(name, _)| name.starts_with("x")).enumerate() {
            let values = x.to_f32().ok_or_else(|| format!("{name} holds no numbers"))?;
            net.input(i).copy_from_slice(&channels_last(&values, x.dims()));
        }
        net.forward();
        let mut loss = 0.0;
        for i in 0..net.outputs.len() {
            let y = net.output(i).to_vec();
            let n = y.len() as f32;
            loss += y.iter().map(|v| (*v as f64).powi(2)).sum::<f64>() / n as f64;
            net.gradient(i).iter_mut().zip(&y).for_each(|(g, v)| *g = 2.0 * v / n);
        }
        net.backward();
        ampoule_train::clip(&mut net.params, 0.01);
        optimizer.step(&mut net.params, 0.01);
        losses.push(loss);
    }
    if losses.iter().any(|l| !l.is_finite()) {
        return Err("the loss is not finite".into());
    }
    Ok(json!({ "before": losses[0], "after": losses[1] }))
}

/// Values in the order of the network that is trained: channels innermost.
fn channels_last(values: &[f32], dims: &[usize]) -> Vec<f32> {
    let [n, c, rest @ ..] = dims else { return values.to_vec() };
    let pixels: usize = rest.iter().product();
    let mut out = Vec::with_capacity(values.len());
    for image in values.chunks_exact((c * pixels).max(1)).take(*n) {
        for p in 0..pixels {
            out.extend((0..*c).map(|k| image[k * pixels + p]));
        }
    }
    out
}
