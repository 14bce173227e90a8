//! Networks drawn at random, which hold what nobody thought of.

use crate::defaults;
use ampoule_engine::{Options, Precision, Session};
use ampoule_graph::{Graph, Tensor, eval, infer, passes};
use ampoule_testing::{Drawn, drawn_by, drawn_seeds, random, relative_error, tiers};

/// How many seeds are drawn where nobody asks for more.
const SEEDS: u64 = 30;

/// What the reference gives in float64.
fn reference(d: &Drawn, input: &[f32]) -> Vec<f32> {
    let mut graph = d.graph.clone();
    infer::infer(&mut graph).unwrap_or_else(|e| panic!("{e}: {:#?}", d.layers));
    let found =
        eval::run(&graph, &[Tensor::f32(&d.dims, input)]).unwrap_or_else(|e| panic!("{e}: {:#?}", d.layers));
    found[0].to_f32().unwrap()
}

/// Runs `d` and gives its output.
fn run(d: &Drawn, input: &[f32], options: &Options) -> Vec<f32> {
    let mut s = Session::new(d.graph.clone(), std::slice::from_ref(&d.dims), options).unwrap();
    s.set_input(0, input).unwrap();
    s.run().unwrap();
    s.output(0).unwrap().to_vec()
}

#[test]
fn drawn_networks_match_the_reference_on_every_tier() {
    let tiers = tiers();
    // One that panics is looked at alone.
    let single = drawn_seeds(SEEDS).count() == 1;
    let (mut worst, mut wrong) = ([0.0f64; 2], Vec::new());
    for seed in drawn_seeds(SEEDS) {
        let d = drawn_by(seed);
        if single {
            println!("seed {seed}: {:?} {:#?}", d.dims, d.layers);
        }
        let input = random(d.dims.iter().product(), seed);
        let want = reference(&d, &input);
        // Normalisations over few values divide by what is nearly nothing, and few outputs may cancel.
        let float32 = if d.sensitive { 1e-3 } else { 2e-5 };
        let bfloat16 = if d.sensitive || want.len() < 32 { f64::MAX } else { 0.05 };
        for (isa, (i, precision)) in tiers
            .iter()
            .flat_map(|t| [Precision::Fp32, Precision::Bf16].into_iter().enumerate().map(move |p| (t, p)))
        {
            let options =
                |threads| Options { isa: Some(isa.name().into()), threads, precision, ..defaults() };
            let got = run(&d, &input, &options(1));
            let e = relative_error(&got, &want);
            let most = [float32, bfloat16][i];
            if most < f64::MAX {
                worst[i] = worst[i].max(e);
            }
            let what = format!("seed {seed} on {} in {}", isa.name(), precision.name());
            if e.is_nan() || e > most {
                wrong.push(format!("{what}: off by {e:.1e}"));
            }
            if got != run(&d, &input, &options(3)) {
                wrong.push(format!("{what}: other bits with three threads"));
            }
        }
    }
    println!("drawn networks: largest error {:.1e} in float32, {:.1e} in bfloat16", worst[0], worst[1]);
    let list = wrong.iter().map(|w| {
        let seed = w.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a seed");
        format!("{w}: {:#?}", drawn_by(seed).layers)
    });
    assert!(wrong.is_empty(), "{}", list.collect::<Vec<_>>().join("\n"));
}

#[test]
fn passes_leave_outputs_of_drawn_networks_as_they_were() {
    for seed in drawn_seeds(SEEDS) {
        let d = drawn_by(seed);
        let input = random(d.dims.iter().product(), seed);
        let want = reference(&d, &input);
        for (name, pass) in
            [("optimize", passes::optimize as fn(&mut Graph) -> _), ("trainable", passes::trainable)]
        {
            let mut graph = d.graph.clone();
            pass(&mut graph).unwrap_or_else(|e| panic!("seed {seed}: {e}: {:#?}", d.layers));
            graph.check().unwrap();
            let e = relative_error(&reference(&Drawn { graph, ..drawn_by(seed) }, &input), &want);
            assert!(
                e < if d.sensitive { 1e-4 } else { 1e-6 },
                "seed {seed}, {name}: {e:.1e}: {:#?}",
                d.layers
            );
        }
    }
}

#[test]
fn drawn_networks_with_less_memory_give_the_same() {
    let (mut limited, mut wrong) = (0, Vec::new());
    for seed in drawn_seeds(SEEDS) {
        let d = drawn_by(seed);
        let input = random(d.dims.iter().product(), seed);
        let s = Session::new(d.graph.clone(), std::slice::from_ref(&d.dims), &defaults()).unwrap();
        let whole = s.arena_bytes() + s.weight_bytes();
        let want = run(&d, &input, &defaults());
        for share in [0.9, 0.7, 0.5, 0.3] {
            let options = Options { max_bytes: Some((whole as f64 * share) as u64), ..defaults() };
            // One that cannot be had in less is refused.
            let Ok(s) = Session::new(d.graph.clone(), std::slice::from_ref(&d.dims), &options) else {
                continue;
            };
            limited += 1;
            if (s.arena_bytes() + s.weight_bytes()) as f64 > whole as f64 * share {
                wrong.push(format!("seed {seed}: more than {share}: {:#?}", d.layers));
            }
            let e = relative_error(&run(&d, &input, &options), &want);
            if e.is_nan() || e > if d.sensitive { 1e-3 } else { 2e-5 } {
                wrong.push(format!("seed {seed}: off by {e:.1e} with {share}: {:#?}", d.layers));
            }
        }
    }
    println!("drawn networks: {limited} runs with less memory");
    assert!(limited > 0 && wrong.is_empty(), "{}", wrong.join("\n"));
}
