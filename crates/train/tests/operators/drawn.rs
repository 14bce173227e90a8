//! Networks drawn at random: what training computes forwards, and its gradients along directions.

use crate::{in_graph_order, in_network_order};
use ampoule_graph::op::Op;
use ampoule_graph::{Graph, Tensor, eval, infer, passes};
use ampoule_runtime::Pool;
use ampoule_testing::{Drawn, Random, drawn_by, drawn_seeds, random, relative_error, tiers};
use ampoule_train::{Machine, Net, Options, Role, build};
use std::sync::Arc;

/// How many seeds are drawn where nobody asks for more.
const SEEDS: u64 = 30;
/// Parameters of a network whose gradients are looked at.
const PARAMETERS: usize = 3;

/// The network in training, where all its operators have gradients.
fn net(d: &Drawn, g: &Graph) -> Option<Net> {
    let on = Machine::new(*tiers().last().unwrap(), Arc::new(Pool::new(2)));
    build(g, std::slice::from_ref(&d.dims), on, &Options::default()).ok()
}

fn reference(g: &Graph, x: &Tensor) -> Tensor {
    let mut g = g.clone();
    infer::infer(&mut g).unwrap();
    eval::run(&g, std::slice::from_ref(x)).unwrap().remove(0)
}

/// How fast the reference's sum of `y·r` changes where `values` go along `direction`.
fn slope(
    g: &Graph,
    x: &Tensor,
    r: &[f32],
    (name, dims, values): (&str, &[usize], &[f32]),
    direction: &[f32],
) -> f64 {
    let id = g.value_named(name).unwrap();
    let step = 2e-3 / (values.len() as f32).sqrt();
    let at = |by: f32| {
        let mut g = g.clone();
        let moved: Vec<f32> = values.iter().zip(direction).map(|(v, d)| v + by * d).collect();
        g.set_constant(id, Tensor::f32(dims, &moved));
        let y = reference(&g, x).to_f64().unwrap();
        y.iter().zip(r).map(|(y, r)| y * *r as f64).sum::<f64>()
    };
    (at(step) - at(-step)) / (2.0 * step as f64)
}

#[test]
fn drawn_networks_are_trained_by_the_gradients_of_the_reference() {
    let (mut trained, mut looked_at, mut wrong) = (0, 0, Vec::new());
    for seed in drawn_seeds(SEEDS) {
        let d = drawn_by(seed);
        let mut g = d.graph.clone();
        passes::trainable(&mut g).unwrap();
        // In training they take the statistics of the batch.
        if g.nodes.iter().any(|n| matches!(n.op, Op::BatchNorm { .. })) {
            continue;
        }
        let Some(mut n) = net(&d, &g) else { continue };
        trained += 1;
        let values = random(d.dims.iter().product(), seed);
        let x = Tensor::f32(&d.dims, &values);
        n.input(0).copy_from_slice(&in_network_order(&d.dims, &values));
        n.forward();
        let wanted = reference(&g, &x);
        let e = relative_error(&in_graph_order(wanted.dims(), n.output(0)), &wanted.to_f32().unwrap());
        let what = |part: &str, e: f64| {
            format!("seed {seed}: {part} is off by {e:.1e}: {:?} {:#?}", d.dims, d.layers)
        };
        if e.is_nan() || e > if d.sensitive { 1e-3 } else { 2e-5 } {
            wrong.push(what("the output", e));
            continue;
        }
        let r = random(wanted.dims().iter().product(), seed + 1);
        n.gradient(0).copy_from_slice(&in_network_order(wanted.dims(), &r));
        n.backward();
        let mut learned: Vec<_> =
            n.params.list.iter().filter(|p| p.role != Role::Running && !p.name.is_empty()).collect();
        Random::at(&[seed]).shuffle(&mut learned);
        for p in learned.iter().take(PARAMETERS) {
            let most = p.grad.iter().fold(0f32, |m, v| m.max(v.abs()));
            // Steep ones would leave the straight part within a step, and flat ones are rounding.
            if !(1e-3..100.0).contains(&most) {
                continue;
            }
            let direction: Vec<f32> = p.grad.iter().map(|v| v / most).collect();
            let found: f64 = p.grad.iter().zip(&direction).map(|(a, b)| *a as f64 * *b as f64).sum();
            let wanted = slope(&g, &x, &r, (&p.name, &p.dims, &p.values), &direction);
            looked_at += 1;
            let e = (found - wanted).abs() / found.abs().max(wanted.abs());
            if e.is_nan() || e > 0.05 {
                wrong.push(what(&format!("the gradient of {} ({found:.4e} for {wanted:.4e})", p.name), e));
            }
        }
    }
    println!("drawn networks: {trained} trained, {looked_at} gradients");
    assert!(trained * 3 > SEEDS as usize || std::env::var_os("AMPOULE_DRAWN").is_some(), "only {trained}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
