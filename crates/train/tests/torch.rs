//! Whole networks against PyTorch: outputs, gradients, and three steps of every optimizer, on every tier
//! (scripts/golden_train.py).

use ampoule_graph::passes;
use ampoule_kernels::Features;
use ampoule_onnx as onnx;
use ampoule_runtime::Pool;
use ampoule_testing::{relative_error, tiers};
use ampoule_train::{Dims, Kind, Machine, Net, Optimizer, Options, build, loss};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What PyTorch computed.
struct Golden {
    arrays: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    labels: Vec<u8>,
    losses: BTreeMap<String, Vec<f64>>,
}

fn golden(name: &str) -> Golden {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let v: serde_json::Value = serde_json::from_str(&text).unwrap();
    let data = std::fs::read(folder.join(format!("{name}.bin"))).unwrap();
    let floats: Vec<f32> = data.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
    let arrays = v["arrays"].as_object().unwrap().iter().map(|(k, a)| {
        let dims: Vec<usize> =
            a["dims"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
        let (at, n) = (a["at"].as_u64().unwrap() as usize, dims.iter().product::<usize>());
        (k.clone(), (dims, floats[at..at + n].to_vec()))
    });
    Golden {
        arrays: arrays.collect(),
        labels: v["labels"].as_array().unwrap().iter().map(|l| l.as_u64().unwrap() as u8).collect(),
        losses: serde_json::from_value(v["losses"].clone()).unwrap(),
    }
}

/// Channels outermost to innermost.
fn last(dims: &[usize], v: &[f32]) -> Vec<f32> {
    let (n, c) = (dims[0], dims[1]);
    let volume: usize = dims[2..].iter().product();
    let mut out = vec![0.0; v.len()];
    for i in 0..n {
        for k in 0..c {
            for p in 0..volume {
                out[(i * volume + p) * c + k] = v[(i * c + k) * volume + p];
            }
        }
    }
    out
}

fn net(name: &str, g: &Golden, isa: Features, threads: usize, max_bytes: Option<u64>) -> Net {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.onnx"));
    let mut graph = onnx::read_file(&file).unwrap();
    passes::trainable(&mut graph).unwrap();
    let on = Machine::new(isa, Arc::new(Pool::new(threads)));
    let options = Options { max_bytes, ..Options::default() };
    let mut net = build(&graph, &[g.arrays["x"].0.clone()], on, &options).unwrap();
    net.input(0).copy_from_slice(&last(&g.arrays["x"].0, &g.arrays["x"].1));
    net
}

fn total_loss(dims: &Dims, z: &[f32], labels: &[u8], grad: &mut [f32]) -> f64 {
    let mut l = loss::cross_entropy(dims, z, labels, &[], 0.05, 1.0, grad);
    if dims[1..4] != [1, 1, 1] {
        l += loss::soft_dice(dims, z, labels, 1.0, grad);
    }
    l
}

/// One run there and back; returns the loss and the outputs.
fn run(net: &mut Net, g: &Golden) -> (f64, Vec<f32>) {
    let x = last(&g.arrays["x"].0, &g.arrays["x"].1);
    net.input(0).copy_from_slice(&x);
    net.forward();
    let dims = net.outputs[0].dims;
    let z = net.output(0).to_vec();
    let mut grad = vec![0.0; z.len()];
    let l = total_loss(&dims, &z, &g.labels, &mut grad);
    net.gradient(0).copy_from_slice(&grad);
    net.backward();
    (l, z)
}

/// Golden arrays of a kind, one a parameter. Up to three parameters of a network have none here: biases before
/// instance normalisation are removed, because nothing depends on them.
fn wanted(g: &Golden, kind: &str) -> usize {
    g.arrays.keys().filter(|k| k.split('/').next() == Some(kind)).count()
}

#[test]
fn gradients_are_those_of_pytorch() {
    for name in ["residual", "volume", "mobile", "plain"] {
        let g = golden(name);
        for isa in tiers() {
            let mut n = net(name, &g, isa, 2, None);
            let (l, own) = run(&mut n, &g);
            let z = last(&g.arrays["z"].0, &g.arrays["z"].1);
            assert!(relative_error(&own, &z) < 1e-4, "{name} {}: outputs", isa.name());
            assert!((l - g.losses["sgd"][0]).abs() < 1e-4, "{name}: loss {l} {}", g.losses["sgd"][0]);
            let mut seen = 0;
            for p in &n.params.list {
                let Some((_, want)) = g.arrays.get(&format!("grad/{}", p.name)) else { continue };
                seen += 1;
                // Biases before batch normalisation have no gradient but rounding.
                let scale = want.iter().fold(0f32, |m, x| m.max(x.abs()));
                if scale < 1e-6 {
                    assert!(p.grad.iter().all(|g| g.abs() < 1e-4), "{name}: {} should be 0", p.name);
                    continue;
                }
                let e = relative_error(&p.grad, want);
                assert!(e < 1e-3, "{name} on {}: gradient of {} is off by {e}", isa.name(), p.name);
            }
            assert!(seen > 0 && seen + 3 >= wanted(&g, "grad"), "{name}: {seen} gradients");
        }
    }
}

#[test]
fn three_steps_are_those_of_pytorch() {
    for name in ["residual", "volume", "mobile", "plain"] {
        let g = golden(name);
        for (key, kind) in [("sgd", Kind::SGD), ("adam", Kind::ADAM), ("adamw", Kind::ADAMW)] {
            let isa = *tiers().last().unwrap();
            let mut n = net(name, &g, isa, 2, None);
            let mut optimizer = Optimizer::new(kind, 0.01, false, &n.params);
            for step in 0..3 {
                let (l, _) = run(&mut n, &g);
                let want = g.losses[key][step];
                assert!((l - want).abs() < 2e-3 * want.abs().max(1.0), "{name} {key} {step}: {l} {want}");
                optimizer.step(&mut n.params, 0.01);
            }
            if key != "sgd" {
                // Adam divides by the size of a gradient, and so magnifies that of rounding.
                continue;
            }
            let mut seen = 0;
            for p in &n.params.list {
                let Some((_, want)) = g.arrays.get(&format!("{key}/{}", p.name)) else { continue };
                seen += 1;
                let e = relative_error(&p.values, want);
                assert!(e < 1e-3, "{name} {key}: {} is off by {e}", p.name);
            }
            assert!(seen > 0 && seen + 3 >= wanted(&g, key), "{name} {key}: {seen} parameters");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for name in ["residual", "volume", "mobile"] {
        let g = golden(name);
        let isa = *tiers().last().unwrap();
        let mut first = net(name, &g, isa, 1, None);
        run(&mut first, &g);
        for threads in [2, 3] {
            let mut n = net(name, &g, isa, threads, None);
            run(&mut n, &g);
            assert_eq!(bits(&n), bits(&first), "{name}, {threads} threads");
        }
    }
}

fn bits(n: &Net) -> Vec<u32> {
    n.params.list.iter().flat_map(|p| p.grad.iter().map(|g| g.to_bits())).collect()
}

/// Convolutions in a row.
fn chain() -> ampoule_graph::Graph {
    use ampoule_graph::op::{Unary, Window};
    use ampoule_graph::{Dim, Tensor, build::Builder};
    let mut b = Builder::new("chain");
    let mut x = b.input("x", &[2, 4, 24, 20].map(Dim::Known));
    for layer in 0..32 {
        let w: Vec<f32> = (0..4 * 4 * 9).map(|i| ((i * 7 + layer * 3) % 13) as f32 / 20.0 - 0.3).collect();
        x = b.conv(x, Tensor::f32(&[4, 4, 3, 3], &w), None, Window::of(&[3, 3]).pad(1));
        x = b.unary(x, Unary::Tanh);
    }
    b.output(x, "z", &[2, 4, 24, 20].map(Dim::Known));
    b.finish()
}

#[test]
fn checkpoints_save_memory_and_change_no_bit() {
    let graph = chain();
    let make = |max_bytes: Option<u64>| {
        let on = Machine::new(*tiers().last().unwrap(), Arc::new(Pool::new(2)));
        build(&graph, &[vec![2, 4, 24, 20]], on, &Options { max_bytes, ..Options::default() })
    };
    let step = |n: &mut Net| {
        n.input(0).iter_mut().enumerate().for_each(|(i, x)| *x = (i % 17) as f32 / 8.0 - 1.0);
        n.forward();
        let labels: Vec<u8> = (0..2 * 24 * 20).map(|i| (i % 4) as u8).collect();
        let (dims, z) = (n.outputs[0].dims, n.output(0).to_vec());
        let mut grad = vec![0.0; z.len()];
        loss::cross_entropy(&dims, &z, &labels, &[], 0.0, 1.0, &mut grad);
        n.gradient(0).copy_from_slice(&grad);
        n.backward();
        bits(n)
    };
    let mut whole = make(None).unwrap();
    let want = step(&mut whole);
    let fixed = 2 * whole.params.bytes() as u64;
    let mut smallest = whole.arena_bytes();
    for share in [90, 80, 70, 60, 50, 45, 10] {
        let most = fixed + whole.arena_bytes() * share / 100;
        match make(Some(most)) {
            Ok(mut n) => {
                assert!(n.arena_bytes() + fixed <= most && n.repeated() > whole.repeated());
                smallest = smallest.min(n.arena_bytes());
                assert_eq!(step(&mut n), want, "within {share} % is another result");
            }
            Err(e) => assert!(share < 45 && e.to_string().contains("MiB"), "{share} %: {e}"),
        }
    }
    assert!(smallest <= whole.arena_bytes() / 2, "{smallest} of {}", whole.arena_bytes());
}
