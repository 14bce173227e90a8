//! `ampoule inspect`.

use super::{json, options, say};
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use ampoule_engine::Session;
use ampoule_graph::{Dim, Graph, onnx};
use serde_json::{Value, json as object};
use std::collections::BTreeMap;

pub fn run(g: &Global, model: &str, size: [usize; 3], output: Option<&str>, profile: bool) -> Outcome {
    let path = ampoule_zoo::resolve(model)?;
    let fail = |e: ampoule_graph::Error| Failure::input(format!("{}: {e}", path.display()));
    let mut graph = onnx::read_file(&path).map_err(fail)?;
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    for n in &graph.nodes {
        *operators.entry(n.op.name()).or_default() += 1;
    }
    let parameters = graph.parameter_count();
    let inputs: Vec<String> = graph.inputs.iter().map(|i| describe(&graph, *i)).collect();
    let outputs: Vec<String> = graph.outputs.iter().map(|i| describe(&graph, *i)).collect();
    let unsupported = graph.unsupported();
    let meta: BTreeMap<String, String> =
        graph.metadata.iter().filter(|(k, _)| k != ampoule_pipeline::RECIPE_KEY).cloned().collect();
    let recipe = graph.meta(ampoule_pipeline::RECIPE_KEY).map(str::to_owned);
    let mut networks = Vec::new();
    if unsupported.is_empty() {
        let counts = ampoule_graph::passes::optimize(&mut graph).map_err(fail)?;
        let rewrites: BTreeMap<&str, usize> = counts.into_iter().filter(|c| c.1 > 0).collect();
        let names: Vec<String> = graph.outputs.iter().map(|o| graph.value(*o).name.clone()).collect();
        for name in names.iter().filter(|n| output.is_none_or(|o| o == *n)) {
            let found = network(g, &graph, name, size, profile, &rewrites);
            networks.push(found.map_err(|e| e.about(path.display()))?);
        }
        if let (Some(o), true) = (output, networks.is_empty()) {
            return Err(Failure::usage(format!("there is no output `{o}`; there are {}", names.join(", "))));
        }
    }
    let unsupported: Vec<String> = unsupported.iter().map(|u| format!("{} ({})", u.op, u.reason)).collect();
    if g.json {
        json(&object!({
            "file": path.display().to_string(), "parameters": parameters, "inputs": inputs, "outputs": outputs,
            "operators": operators, "unsupported": unsupported, "metadata": meta, "networks": networks,
        }))?;
        return Ok(Code::Done);
    }
    say(format!("{}: {:.2} M parameters", path.display(), parameters as f64 / 1e6));
    for (what, list) in [("input", inputs), ("output", outputs), ("unsupported", unsupported)] {
        list.iter().for_each(|l| say(format!("  {what:8} {l}")));
    }
    let ops: Vec<String> = operators.iter().map(|(k, v)| format!("{v} {k}")).collect();
    say(format!("  operators {}", ops.join(", ")));
    meta.iter().for_each(|(k, v)| say(format!("  {k}: {v}")));
    for n in &networks {
        print_network(n, g.verbose || profile);
    }
    if recipe.is_some() || g.recipe.is_some() {
        print_plan(g, model, size)?;
    }
    if let (Some(r), true) = (recipe, g.verbose) {
        say(format!("recipe:\n{r}"));
    }
    Ok(Code::Done)
}

/// What the recipe's labels take beside the network, for an image of `size` on the network's grid.
fn print_plan(g: &Global, model: &str, size: [usize; 3]) -> Result<(), Failure> {
    let loaded = super::load(g, model)?;
    // Sizes are given in the tensor's order, slowest first.
    let dims = match loaded.recipe.kind() {
        ampoule_pipeline::recipe::Kind::Image => [size[2], size[1], 1],
        ampoule_pipeline::recipe::Kind::Volume => [size[2], size[1], size[0]],
    };
    if let Some(p) = ampoule_pipeline::planned(&loaded, dims, g.max_ram)? {
        let [x, y, z] = p.input;
        say(format!(
            "recipe `{}` on {}x{}x{}: {} windows of {x}x{y}x{z}, scores and labels {:.0} MiB ({} labels at a time)",
            loaded.recipe.model.name,
            dims[0],
            dims[1],
            dims[2],
            p.windows,
            p.bytes as f64 / 1048576.0,
            p.labels_at_a_time
        ));
    }
    Ok(())
}

fn describe(graph: &Graph, id: ampoule_graph::ValueId) -> String {
    let v = graph.value(id);
    let dims = v.shape.iter().flatten().map(Dim::to_string).collect::<Vec<_>>().join("x");
    format!("{} {} {dims}", v.name, v.dtype.map_or("?", |d| d.name()))
}

fn network(
    g: &Global,
    graph: &Graph,
    name: &str,
    size: [usize; 3],
    profile: bool,
    rewrites: &BTreeMap<&str, usize>,
) -> Result<Value, Failure> {
    let part = graph.extract(&[name]).map_err(|e| Failure::input(e.to_string()))?;
    let shapes: Vec<Vec<usize>> = part
        .inputs
        .iter()
        .map(|i| {
            let shape = part.value(*i).shape.clone().unwrap_or_default();
            let spatial = shape.len().saturating_sub(2);
            let one = |(k, d): (usize, &Dim)| match d.known() {
                Some(n) => n,
                None if k < 2 => 1,
                None => size[3 - spatial.min(3) + (k - 2).min(2)],
            };
            shape.iter().enumerate().map(one).collect()
        })
        .collect();
    let mut session = Session::new(part, &shapes, &options(g)?)?;
    if profile {
        for i in 0..session.inputs() {
            session.input(i).iter_mut().enumerate().for_each(|(k, v)| *v = (k % 97) as f32 / 97.0);
        }
        session.run()?;
    }
    let steps: Vec<Value> = session
        .steps()
        .iter()
        .map(|s| {
            object!({
                "node": s.node, "op": s.op, "kernel": s.kernel, "shape": s.dims, "macs": s.macs,
                "ms": profile.then_some(s.time.as_secs_f64() * 1e3),
            })
        })
        .collect();
    Ok(object!({
        "output": name, "shapes": shapes, "gmac": session.macs() as f64 / 1e9,
        "planned_peak_mb": (session.arena_bytes() + session.weight_bytes()) as f64 / 1048576.0,
        "activations_mb": session.arena_bytes() as f64 / 1048576.0,
        "weights_mb": session.weight_bytes() as f64 / 1048576.0,
        "isa": session.isa().name(), "threads": session.threads(), "rewrites": rewrites, "steps": steps,
    }))
}

fn print_network(n: &Value, steps: bool) {
    let number = |k: &str| n[k].as_f64().unwrap_or(0.0);
    say(format!(
        "network `{}` at {}: {:.2} GMAC, planned peak {:.0} MiB (activations {:.0}, weights {:.0}), {}, {} steps",
        n["output"].as_str().unwrap_or(""),
        n["shapes"],
        number("gmac"),
        number("planned_peak_mb"),
        number("activations_mb"),
        number("weights_mb"),
        n["isa"].as_str().unwrap_or(""),
        n["steps"].as_array().map_or(0, Vec::len)
    ));
    if !steps {
        return;
    }
    for s in n["steps"].as_array().into_iter().flatten() {
        let time = s["ms"].as_f64().map_or(String::new(), |t| format!("{t:9.2} ms "));
        let text = |k: &str| s[k].as_str().unwrap_or("").to_owned();
        let gmac = s["macs"].as_f64().unwrap_or(0.0) / 1e9;
        say(format!("  {time}{:20} {:28} {} {gmac:.2} GMAC", text("op"), text("kernel"), s["shape"]));
    }
}
