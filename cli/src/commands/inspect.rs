//! `ampoule inspect`.

mod series;

use super::{Opened, json, locate, network_options, open, say};
use crate::args::{Global, Inspect};
use crate::exit::{Code, Failure, Outcome};
use ampoule_engine::{Options, Session};
use ampoule_graph::{Dim, Graph};
use ampoule_pipeline::population::POPULATION_KEY;
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Batch, CasePlan, Described, Planner, least};
use serde_json::{Value, json as object};
use std::collections::BTreeMap;

pub fn run(g: &Global, a: &Inspect) -> Outcome {
    if let Some(done) = series::inspect(g, &a.model)? {
        return Ok(done);
    }
    let (model, size, output, profile) = (&a.model, a.size.0, a.output.as_deref(), a.profile);
    let path = locate(g, model)?;
    let opened = open(g, model)?;
    let graph = opened.graph.clone();
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    for n in &graph.nodes {
        *operators.entry(n.op.name()).or_default() += 1;
    }
    let parameters = graph.parameter_count();
    let inputs: Vec<String> = graph.inputs.iter().map(|i| describe(&graph, *i)).collect();
    let outputs: Vec<String> = graph.outputs.iter().map(|i| describe(&graph, *i)).collect();
    let unsupported = graph.unsupported();
    // The recipe is shown by itself, and the calibration cases are numbers for programs.
    let shown = |k: &String| ![ampoule_pipeline::RECIPE_KEY, POPULATION_KEY].contains(&k.as_str());
    let meta: BTreeMap<String, String> = graph.metadata.iter().filter(|(k, _)| shown(k)).cloned().collect();
    let recipe = graph.meta(ampoule_pipeline::RECIPE_KEY).map(str::to_owned);
    let mut networks = Vec::new();
    let plan = match (unsupported.is_empty(), recipe.is_some() || g.recipe.is_some()) {
        (true, true) => {
            // Networks of one size see no image of another, which is no fault of the model.
            let whole = opened.recipe()?.is_image_level();
            match Plan::of(g, opened, size) {
                Err(e) if whole && e.code != Code::Memory => None,
                plan => Some(plan?),
            }
        }
        _ => None,
    };
    if unsupported.is_empty() {
        let names: Vec<String> = graph.outputs.iter().map(|o| graph.value(*o).name.clone()).collect();
        for name in names.iter().filter(|n| output.is_none_or(|o| o == *n)) {
            let input = plan.as_ref().and_then(|p| p.input(name));
            let found = network(g, &graph, name, size, input, profile);
            networks.push(found.map_err(|e| e.about(&path))?);
        }
        if let (Some(o), true) = (output, networks.is_empty()) {
            return Err(Failure::usage(format!("there is no output `{o}`; there are {}", names.join(", "))));
        }
    }
    let unsupported: Vec<String> = unsupported.iter().map(|u| format!("{} ({})", u.op, u.reason)).collect();
    if g.json {
        json(&object!({
            "plan": plan.as_ref().map(Plan::json),
            "file": path.to_string(), "parameters": parameters, "inputs": inputs, "outputs": outputs,
            "operators": operators, "unsupported": unsupported, "metadata": meta, "networks": networks,
        }))?;
        return Ok(Code::Done);
    }
    say(format!("{}: {:.2} M parameters", &path, parameters as f64 / 1e6));
    for (what, list) in [("input", inputs), ("output", outputs), ("unsupported", unsupported)] {
        list.iter().for_each(|l| say(format!("  {what:8} {l}")));
    }
    let ops: Vec<String> = operators.iter().map(|(k, v)| format!("{v} {k}")).collect();
    say(format!("  operators {}", ops.join(", ")));
    meta.iter().for_each(|(k, v)| say(format!("  {k}: {v}")));
    for n in &networks {
        print_network(n, g.verbose || profile);
    }
    if let Some(text) = plan.as_ref().map(Plan::text) {
        say(text);
    }
    if let (Some(r), true) = (recipe, g.verbose) {
        say(format!("recipe:\n{r}"));
    }
    Ok(Code::Done)
}

/// What the recipe makes of an image.
struct Plan {
    recipe: String,
    /// Sizes of the image on the network's grid along x, y and z.
    dims: [usize; 3],
    /// Outputs that give the result.
    outputs: Vec<String>,
    planned: CasePlan,
}

impl Plan {
    /// For an image of `size`, slowest first, as the tensors of networks have it.
    fn of(g: &Global, model: Opened, size: [usize; 3]) -> Result<Plan, Failure> {
        let mut loaded = model.model(g)?;
        let dims = match loaded.recipe.kind() {
            Kind::Image => [size[2], size[1], 1],
            Kind::Volume => [size[2], size[1], size[0]],
        };
        let files = loaded.recipe.input.len();
        let image = Described { dims, spacing: [1.0; 3], voxel_bytes: 4, canonical: true, files };
        let planned = Planner::new(&loaded).described(&mut loaded, &image, &Batch::default())?;
        let outputs = loaded.recipe.last().outputs.clone();
        Ok(Plan { recipe: loaded.recipe.model.name.clone(), dims, outputs, planned })
    }

    /// Sizes of the tensor that the network of an output takes, where the recipe says.
    fn input(&self, output: &str) -> Option<Vec<usize>> {
        let own = self.outputs.iter().any(|o| o == output);
        own.then(|| self.planned.network.tensor.clone())
    }

    fn text(&self) -> String {
        let n = &self.planned.network;
        let ([a, b, c], [x, y, z]) = (self.dims, n.input);
        let stages: Vec<String> =
            self.planned.stages.iter().map(|s| format!("{} {:.0}", s.name, mib(s.bytes))).collect();
        format!(
            "recipe `{}` on a float32 image of {a}x{b}x{c}: {} windows of {x}x{y}x{z}, {} labels at a time; peak {} MiB with the program (beside it {}; network {:.0}, scores and labels {:.0})",
            self.recipe,
            n.windows,
            n.labels_at_a_time,
            self.planned.peak.div_ceil(1 << 20),
            stages.join(", "),
            mib(n.network),
            mib(n.scores)
        )
    }

    fn json(&self) -> Value {
        let p = &self.planned;
        let n = &p.network;
        object!({
            "recipe": self.recipe, "image": self.dims, "windows": n.windows, "input": n.tensor,
            "labels_at_a_time": n.labels_at_a_time, "network_mb": mib(n.network),
            "scores_mb": mib(n.scores), "peak_memory_bytes": p.peak, "upper_bound": p.bound,
        })
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1048576.0
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
    input: Option<Vec<usize>>,
    profile: bool,
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
            match &input {
                Some(dims) if dims.len() == shape.len() => dims.clone(),
                _ => shape.iter().enumerate().map(one).collect(),
            }
        })
        .collect();
    part.release();
    let options = Options { explain: g.verbose, ..network_options(g)? };
    let mut session = Session::new(part, &shapes, &options).map_err(|e| least(e, g.memory_limit()))?;
    let rewrites: BTreeMap<&str, usize> = session.rewrites().iter().copied().filter(|c| c.1 > 0).collect();
    if profile {
        for i in 0..session.inputs() {
            session.input(i)?.iter_mut().enumerate().for_each(|(k, v)| *v = (k % 97) as f32 / 97.0);
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
    let missed: Vec<String> = session.missed().iter().map(ToString::to_string).collect();
    let slow = session.steps().iter().filter(|s| s.kernel == "reference").count();
    Ok(object!({
        "reference_steps": slow,
        "output": name, "shapes": shapes, "gmac": session.macs() as f64 / 1e9,
        "planned_peak_mb": (session.arena_bytes() + session.weight_bytes()) as f64 / 1048576.0,
        "activations_mb": session.arena_bytes() as f64 / 1048576.0,
        "weights_mb": session.weight_bytes() as f64 / 1048576.0,
        "isa": session.isa().name(), "threads": session.threads(), "rewrites": rewrites, "steps": steps,
        "not_applied": missed,
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
    if let Some(slow) = n["reference_steps"].as_u64().filter(|s| *s > 0) {
        say(format!(
            "  {slow} of the steps have no kernel and run in the float64 reference, which is slow; `-v` lists them as `reference`"
        ));
    }
    if !steps {
        return;
    }
    for s in n["steps"].as_array().into_iter().flatten() {
        let time = s["ms"].as_f64().map_or(String::new(), |t| format!("{t:9.2} ms "));
        let text = |k: &str| s[k].as_str().unwrap_or("").to_owned();
        let gmac = s["macs"].as_f64().unwrap_or(0.0) / 1e9;
        say(format!("  {time}{:20} {:28} {} {gmac:.2} GMAC", text("op"), text("kernel"), s["shape"]));
    }
    for missed in n["not_applied"].as_array().into_iter().flatten() {
        say(format!("  {}", missed.as_str().unwrap_or("")));
    }
}
