//! Random networks: every feature set of this CPU, in float32 and bfloat16, against the float64 reference.
#![no_main]

#[path = "network.rs"]
mod network;

use ampoule_engine::{Options, Precision, Session};
use ampoule_graph::{Tensor, eval};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((graph, dims, values)) = network::of(data) else { return };
    let Ok(wanted) = eval::run(&graph, &[Tensor::f32(&dims, &values)]) else { return };
    let wanted = wanted[0].to_f32().expect("floats");
    let size = wanted.iter().fold(1f32, |m, v| m.max(v.abs()));
    for features in ampoule_kernels::available() {
        for (precision, allowed) in [(Precision::Fp32, 1e-3), (Precision::Bf16, 0.2)] {
            let options =
                Options { isa: Some(features.name().into()), threads: 1, precision, ..Options::default() };
            let mut session = Session::new(graph.clone(), &[dims.clone()], &options).expect("a session");
            session.set_input(0, &values).expect("an input");
            session.run().expect("a run");
            let found = session.output(0).expect("an output").to_vec();
            let most = found.iter().zip(&wanted).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(most <= allowed * size, "{} {precision:?}: off by {most} of {size}", features.name());
        }
    }
});
