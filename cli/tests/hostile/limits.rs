//! A network's limit of memory: the least that is named, and that it is kept while loading and running.

use super::harness::{Dir, start, wait};
use super::images::{photo_model, picture};
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

/// The figure in front of the first ` MiB` of a refusal.
fn figure(text: &str) -> u64 {
    let before = text.split_once(" MiB").and_then(|(before, _)| before.split(' ').next_back());
    before.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no figure: {text}"))
}

/// What needs most differs with the limit: reading the photo, its scores, or drawing the picture to check it by.
#[test]
fn a_photo_is_refused_with_the_least_limit_of_all_its_stages() {
    let d = Dir::new();
    photo_model(&d, "");
    d.write("a.png", picture(3000));
    let run = |limit: u64| {
        let most = format!("{limit}M");
        let args = ["run", "m.onnx", "a.png", "-o", "out", "--threads", "2", "--max-ram", &most];
        wait(start(&d, &args), "run")
    };
    let plan = |limit: u64| {
        let most = format!("{limit}M");
        let args = ["plan", "m.onnx", "a.png", "--no-seconds", "--threads", "2", "--max-ram", &most];
        wait(start(&d, &args), "plan")
    };
    let mut all = Vec::new();
    let first = figure(&run(1).text);
    for limit in [1, 30, 60, first * 2 / 3, first - 8] {
        for ended in [run(limit), plan(limit)] {
            assert_eq!(ended.code, Some(5), "{limit} MiB, {first} at first: {}", ended.text);
            assert!(ended.peak_mib <= first, "{} MiB to refuse {limit}", ended.peak_mib);
            all.push(figure(&ended.text));
        }
    }
    let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
    assert!(most - least <= APART, "other figures under other limits: {all:?}");
    for ended in [plan(*most + APART), run(*most + APART)] {
        assert_eq!(ended.code, Some(0), "{most} MiB are named and refused: {}", ended.text);
        assert!(ended.peak_mib <= most + APART, "{} MiB under {most}", ended.peak_mib);
    }
}
