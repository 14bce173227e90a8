//! A network's limit of memory: the least that is named, and that it is kept while loading and running.

use super::harness::{Dir, start, wait};
use ampoule_graph::Graph;
use ampoule_graph::op::{Unary, Window};
use ampoule_testing::{Network, known};
use std::path::Path;

/// What a process holds beside the network differs from one to the next, in MiB.
const APART: u64 = 4;

/// Convolutions with batch normalisations, which are folded into copies of their weights; with `residual`, sums around pairs.
fn normalised(widths: &[usize], residual: bool) -> Graph {
    let mut n = Network::new("normalised", 5);
    let dims = known(&[1, widths[0], 24, 24]);
    let mut x = n.b.input("image", &dims);
    for pair in widths.windows(2) {
        let before = x;
        x = n.conv_without_bias(x, [pair[0], pair[1]], Window::of(&[3, 3]).pad(1));
        x = n.batch_norm(x, pair[1]);
        x = n.b.unary(x, Unary::Relu);
        if residual && pair[0] == pair[1] {
            x = n.b.add(x, before);
        }
    }
    n.b.output(x, "scores", &known(&[1, widths[widths.len() - 1], 24, 24]));
    n.b.finish()
}

/// Exit code, the limit that is named where it does not fit, and the peak, under a limit in MiB.
fn under(d: &Dir, limit: u64) -> (Option<i32>, Option<u64>, u64) {
    let most = format!("{limit}M");
    let args = ["inspect", "m.onnx", "--profile", "--json", "--threads", "2", "--max-ram", &most];
    let ended = wait(start(d, &args), "inspect");
    let named =
        ended.text.split_once(" MiB").and_then(|(before, _)| before.split(' ').next_back()?.parse().ok());
    assert!(ended.code == Some(0) || named.is_some(), "{limit} MiB: {}", ended.text);
    (ended.code, named, ended.peak_mib)
}

/// The least limit that is named, which must be the same whatever the limit was, and must be kept; in MiB.
fn least(graph: &Graph) -> u64 {
    let d = Dir::new();
    ampoule_onnx::write_file(graph, Path::new(&d.path("m.onnx"))).unwrap();
    let named = |limit| match under(&d, limit) {
        (Some(5), Some(named), _) => named,
        other => panic!("{limit} MiB: {other:?}"),
    };
    let first = named(1);
    for limit in [first / 4, first / 2, first - 4] {
        let again = named(limit);
        assert!(again.abs_diff(first) <= APART, "{first} MiB at 1, {again} at {limit}");
    }
    let limit = first + APART;
    let (code, _, peak) = under(&d, limit);
    assert_eq!(code, Some(0), "{limit} MiB are refused");
    assert!(peak <= limit, "{peak} MiB under {limit}");
    first
}

#[test]
fn networks_with_batch_normalisation_keep_the_limit_that_they_name() {
    // 34 MiB of weights, mapped; and a file small enough to be read.
    let large = least(&normalised(&[64, 256, 512, 512, 512, 512], false));
    // Weights, their folded copies, the program.
    assert!(large <= 100, "{large} MiB for 34 MiB of weights");
    least(&normalised(&[64, 256, 256, 512, 512, 512], true));
    least(&normalised(&[32, 256, 256, 256], true));
}
