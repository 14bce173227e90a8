//! Networks drawn at random, pruned.

use crate::{deaf, prepared};
use ampoule_graph::{Graph, Tensor, eval, infer};
use ampoule_optimize::prune::{Importance, Ratio, Structure, importance, remove, select};
use ampoule_testing::{drawn_by, drawn_seeds, random, relative_error};

/// How many seeds are drawn where nobody asks for more.
const SEEDS: u64 = 40;

fn reference(g: &Graph, dims: &[usize], input: &[f32]) -> Vec<f32> {
    let mut g = g.clone();
    infer::infer(&mut g).unwrap();
    eval::run(&g, &[Tensor::f32(dims, input)]).unwrap()[0].to_f32().unwrap()
}

#[test]
fn drawn_networks_without_channels_are_those_that_do_not_read_them() {
    let (mut smaller, mut wrong) = (0, Vec::new());
    for seed in drawn_seeds(SEEDS) {
        let d = drawn_by(seed);
        let input = random(d.dims.iter().product(), seed);
        let g = prepared(d.graph.clone());
        let s = Structure::of(&g);
        let scores = importance(&g, &s, Importance::L2, None);
        for ratio in [Ratio::Each(0.4), Ratio::Global(0.6)] {
            let keep = select(&s, &scores, &ratio);
            let small = remove(&g, &s, &keep).unwrap_or_else(|e| panic!("seed {seed}: {e}: {:#?}", d.layers));
            smaller += usize::from(small.parameter_count() < g.parameter_count());
            let (got, want) =
                (reference(&small, &d.dims, &input), reference(&deaf(&g, &s, &keep), &d.dims, &input));
            let e = relative_error(&got, &want);
            if e.is_nan() || e > 1e-4 {
                wrong.push(format!("seed {seed} {ratio:?}: {e:.1e}: {:#?}", d.layers));
            }
        }
    }
    println!("drawn networks pruned: {smaller}");
    assert!(smaller > 0 && wrong.is_empty(), "{}", wrong.join("\n"));
}
