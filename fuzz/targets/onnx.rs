//! A model file: read, its shapes inferred, simplified, written and read again; what was read must be written.
#![no_main]

use ampoule_graph::{infer, passes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = ampoule_onnx::Limits { constant_bytes: 64 << 20, ..Default::default() };
    let Ok(mut graph) = ampoule_onnx::from_bytes(data.to_vec().into(), None, &limits) else { return };
    let written = ampoule_onnx::to_bytes(&graph).expect("what was read can be written");
    ampoule_onnx::from_bytes(written.into(), None, &limits).expect("what was written can be read");
    if infer::infer(&mut graph).is_ok() {
        let _ = passes::widen(&mut graph);
        let _ = passes::optimize(&mut graph);
        graph.check().expect("passes leave a graph whole");
    }
});
