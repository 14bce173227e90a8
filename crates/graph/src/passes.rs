//! Rewrites that leave every output as it was: `Graph -> Graph`, checked after each, counted, and
//! stoppable after any number of changes so that a bad one is found by bisection.

mod activations;
mod batch;
mod dead;
mod einsums;
mod fold;
mod links;
pub mod missed;
mod norms;
mod powers;
mod products;
mod quantized_moves;
mod response_norms;
mod spelled_norms;
mod widen;
mod windows;

pub use missed::Missed;
pub use widen::widen;

use crate::{Error, Graph, Result, infer};

/// One pass: returns how many rewrites it made, at most `budget`.
type Run = fn(&mut Graph, budget: usize) -> Result<usize>;

/// A named pass.
pub struct Pass {
    /// Name as printed.
    pub name: &'static str,
    run: Run,
}

/// All passes, in the order in which they run.
pub const PASSES: &[Pass] = &[
    Pass { name: "fold_constants", run: fold::fold_constants },
    Pass { name: "remove_identities", run: dead::remove_identities },
    Pass { name: "einsum_products", run: einsums::as_products },
    Pass { name: "free_batch", run: batch::free },
    Pass { name: "simplify_powers", run: powers::simplify_powers },
    Pass { name: "pool_means", run: powers::pool_means },
    Pass { name: "recognise_activations", run: activations::recognise },
    Pass { name: "recognise_group_norms", run: spelled_norms::recognise_groups },
    Pass { name: "recognise_layer_norms", run: spelled_norms::recognise_layers },
    Pass { name: "join_responses", run: response_norms::join },
    Pass { name: "pad_into_window", run: windows::pad_into_window },
    Pass { name: "fold_batch_norm", run: norms::fold_batch_norm },
    Pass { name: "fold_batch_norm_of_rows", run: products::fold_batch_norm_of_rows },
    Pass { name: "fold_affine", run: norms::fold_affine },
    Pass { name: "dead_bias", run: norms::dead_bias },
    Pass { name: "fold_columns", run: products::fold_columns },
    Pass { name: "scale_scores", run: products::scale_scores },
    Pass { name: "simplify_resize", run: windows::simplify_resize },
    Pass { name: "sink_dequantizers", run: quantized_moves::sink },
    Pass { name: "carry_quantized", run: quantized_moves::carry },
    Pass { name: "remove_dead", run: dead::remove_dead },
];

/// How often each pass changed something, in the order of [`PASSES`].
pub type Counts = Vec<(&'static str, usize)>;

/// Runs all passes until none changes anything.
pub fn optimize(graph: &mut Graph) -> Result<Counts> {
    optimize_until(graph, usize::MAX)
}

/// Passes that [`fold`] runs: what any engine must do to run a graph at all.
const FOLDING: [&str; 3] = ["fold_constants", "remove_identities", "remove_dead"];

/// Only computes constants and drops what is not needed; layers stay as they are.
pub fn fold(graph: &mut Graph) -> Result<Counts> {
    run(graph, usize::MAX, |p| FOLDING.contains(&p.name))
}

/// Passes that take parameters away that training changes, join what it has gradients for, or move quantized values about.
const FINAL: [&str; 7] = [
    "fold_batch_norm_of_rows",
    "recognise_layer_norms",
    "fold_batch_norm",
    "fold_affine",
    "fold_columns",
    "sink_dequantizers",
    "carry_quantized",
];

/// Simplifies a graph that is to be trained: normalisations keep their parameters.
pub fn trainable(graph: &mut Graph) -> Result<Counts> {
    run(graph, usize::MAX, |p| !FINAL.contains(&p.name))
}

/// Simplifies a graph that [`trainable`] made once more, now that more sizes are known: its parameters keep their names.
pub fn trained(graph: &mut Graph) -> Result<Counts> {
    run(graph, usize::MAX, |p| !FINAL.contains(&p.name) && p.name != "recognise_group_norms")
}

/// Patterns that nodes of an optimized graph nearly make, with the reason why they do not: one a node at most.
pub fn missed(graph: &Graph) -> Vec<Missed> {
    let links = links::Links::of(graph);
    let searches =
        [spelled_norms::missed, activations::missed, windows::missed, norms::missed, products::missed];
    let one = |i: usize| {
        let (pattern, reason) = searches.iter().find_map(|search| search(graph, &links, i))?;
        Some(Missed { pattern, node: graph.node_name(&graph.nodes[i]).to_owned(), reason })
    };
    (0..graph.nodes.len()).filter_map(one).collect()
}

/// Runs passes for at most `limit` rewrites in all.
pub fn optimize_until(graph: &mut Graph, limit: usize) -> Result<Counts> {
    run(graph, limit, |_| true)
}

fn run(graph: &mut Graph, limit: usize, wanted: impl Fn(&Pass) -> bool) -> Result<Counts> {
    let mut counts: Counts = PASSES.iter().map(|p| (p.name, 0)).collect();
    let mut left = limit;
    // Two rounds suffice in practice; the bound only guards against passes that undo each other.
    for _ in 0..8 {
        let mut changed = 0;
        for (pass, count) in PASSES.iter().zip(&mut counts).filter(|p| wanted(p.0)) {
            infer::infer(graph)?;
            let n = (pass.run)(graph, left)?;
            left -= n;
            changed += n;
            count.1 += n;
            if n > 0 {
                let checked = graph.sort().and_then(|()| graph.check());
                checked.map_err(|e| Error::Pass { pass: pass.name, source: Box::new(e) })?;
            }
        }
        if changed == 0 || left == 0 {
            break;
        }
    }
    infer::infer(graph)?;
    Ok(counts)
}
