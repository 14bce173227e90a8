//! Limits on memory: less of it gives the same outputs.

use crate::defaults;
use crate::graphs::*;
use ampoule_engine::{Options, Precision, Session};
use ampoule_graph::Graph;
use ampoule_kernels::Features;
use ampoule_testing::{random, relative_error};

/// What a network did to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Planned,
    Streamed,
    Tiled,
}

/// Runs with at most `max` bytes, and says what was needed and how it was done.
fn limited(
    graph: &Graph,
    dims: &[usize],
    input: &[f32],
    precision: Precision,
    max: u64,
) -> Option<(Vec<f32>, u64, How)> {
    let options = Options { max_bytes: Some(max), threads: 2, precision, ..defaults() };
    let mut s = Session::new(graph.clone(), &[dims.to_vec()], &options).ok()?;
    let need = s.arena_bytes() + s.weight_bytes();
    assert!(need <= max);
    for _ in 0..2 {
        s.set_input(0, input).unwrap();
        s.run().unwrap();
    }
    let how = match (s.streamed(), s.tiles()) {
        (true, _) => How::Streamed,
        (false, 1) => How::Planned,
        (false, _) => How::Tiled,
    };
    Some((s.output(0).unwrap().to_vec(), need, how))
}

#[test]
fn less_memory_gives_the_same_outputs() {
    let nets = [
        (local3d(), &[How::Planned, How::Streamed][..]),
        (chain3d(), &[How::Planned]),
        (norms3d(), &[How::Planned, How::Streamed]),
        (local2d(), &[How::Planned, How::Tiled]),
        (norms2d(), &[How::Planned, How::Streamed]),
    ];
    let cases = nets.into_iter().flat_map(|n| [Precision::Fp32, Precision::Bf16].map(|p| (n.clone(), p)));
    let mut fulls = Vec::new();
    for (((graph, dims), ways), precision) in cases {
        let input = random(dims.iter().product(), 11);
        let (want, full, _) = limited(&graph, &dims, &input, precision, u64::MAX).unwrap();
        let (mut max, mut least, mut seen) = (full - 1, full, vec![How::Planned]);
        // Streaming keeps bits; only the smallest weights do not.
        let mut streamed_alike = 0;
        while let Some((got, need, how)) = limited(&graph, &dims, &input, precision, max) {
            // Two algorithms in bfloat16 differ by the errors of both.
            let most = if precision == Precision::Fp32 { 5e-6 } else { 4e-2 };
            let e = relative_error(&got, &want);
            assert!(e < most, "{} within {max} bytes, {how:?}: {e:.1e}", graph.name);
            streamed_alike += usize::from(how == How::Streamed && got == want);
            (least, max) = (need, need - 1);
            seen.push(how);
        }
        seen.sort();
        seen.dedup();
        println!("{} in {}: {full} bytes, at least {least}", graph.name, precision.name());
        fulls.push(full);
        assert_eq!(seen, ways, "{}", graph.name);
        assert!(streamed_alike > 0 || graph.name != "local3d", "other bits");
        // A chain may be planned tightly unasked.
        let share = if seen.len() > 1 { 0.9 } else { 1.0 };
        assert!(least as f64 <= share * full as f64, "{}: {full} to {least}", graph.name);
        // The refusal names the least.
        let max_bytes = Some(least - 1);
        let options = Options { max_bytes, threads: 2, precision, ..defaults() };
        let Err(ampoule_engine::Error::Memory { needed_mib, .. }) = Session::new(graph, &[dims], &options)
        else {
            panic!("less than the least is enough");
        };
        assert_eq!(needed_mib, least.div_ceil(1 << 20));
    }
    // bfloat16 takes clearly less (inputs, outputs and weights stay float32).
    assert!(fulls.chunks(2).all(|f| 10 * f[1] < 9 * f[0]), "{fulls:?}");
}

#[test]
fn weights_that_take_less_are_tried_before_the_image_is_divided() {
    let (graph, dims) = heavy2d();
    let input = random(dims.iter().product(), 3);
    let fastest = Session::new(graph.clone(), std::slice::from_ref(&dims), &defaults()).unwrap();
    if !fastest.steps().iter().any(|s| s.kernel.starts_with("winograd")) {
        // Where products are slow beside transforms there is one form of weights only.
        assert!(!fastest.isa().contains(Features::AVX512), "{}", fastest.isa().name());
        return;
    }
    let full = fastest.arena_bytes() + fastest.weight_bytes();
    let (want, ..) = limited(&graph, &dims, &input, Precision::Fp32, u64::MAX).unwrap();
    let (got, need, how) = limited(&graph, &dims, &input, Precision::Fp32, full - 1).unwrap();
    assert_eq!(how, How::Planned);
    assert!(3 * need < 2 * full, "{need} of {full} bytes");
    let e = relative_error(&got, &want);
    assert!(e < 5e-6, "{e:.1e}");
}

#[test]
fn the_plan_is_a_promise_and_limits_hold() {
    let (graph, dims) = unet3d();
    let s = Session::new(graph.clone(), std::slice::from_ref(&dims), &defaults()).unwrap();
    let need = s.arena_bytes() + s.weight_bytes();
    let with = |max| Options { max_bytes: Some(max), ..defaults() };
    assert!(Session::new(graph.clone(), std::slice::from_ref(&dims), &with(need)).is_ok());
    let refused = Session::new(graph.clone(), std::slice::from_ref(&dims), &with(need - 1));
    assert!(matches!(refused, Err(ampoule_engine::Error::Memory { .. })));
    let wrong = Session::new(graph, &[vec![1, 3, 12, 10, 9]], &defaults());
    assert!(matches!(wrong, Err(ampoule_engine::Error::InputShape { .. })));
}

#[test]
fn more_values_at_once_than_fit_are_refused_without_a_search() {
    use ampoule_graph::build::Builder;
    use ampoule_graph::op::Unary;
    use ampoule_graph::{Dim, Graph};
    let mut b = Builder::new("wide");
    let dims = [1, 1, 8, 8, 8];
    let known = dims.map(Dim::Known);
    let x = b.input("x", &known);
    // All of them are there before the first is added.
    let values: Vec<_> = (0..6000).map(|_| b.unary(x, Unary::Sigmoid)).collect();
    let sum = values.into_iter().reduce(|a, v| b.add(a, v)).unwrap();
    b.output(sum, "y", &known);
    let wide: Graph = b.finish();
    let options = |max| Options { max_bytes: Some(max), ..defaults() };
    let Err(ampoule_engine::Error::Memory { needed_mib, limit_mib }) =
        Session::new(wide.clone(), &[dims.to_vec()], &options(4 << 20))
    else {
        panic!("6000 values of 2 KiB at once do not fit into 4 MiB");
    };
    assert!((11..=12).contains(&needed_mib) && limit_mib == 4, "{needed_mib} of {limit_mib}");
    assert!(Session::new(wide, &[dims.to_vec()], &options(64 << 20)).is_ok());
}
