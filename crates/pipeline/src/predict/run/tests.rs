//! Windows that are computed once give the bits of computing each.

use super::super::Workspace;
use super::super::plan::Plan;
use crate::Model;
use crate::constant::Windows;
use crate::recipe::Activation;
use crate::tensor::Reading;
use ampoule_engine::{Observe, Options};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Unary, Window};
use ampoule_graph::{Dim, Graph, Tensor};
use ampoule_imaging::Volume;
use std::sync::Arc;

const RECIPE: &str = r#"
version = 2
[model]
name = "tiny"
task = "segmentation"
[[input]]
name = "image"
[[network]]
outputs = ["y"]
window = { size = [16, 16, 16], overlap = 0.5 }
flips = ["x", "yz"]
[[label]]
name = "a"
value = 0
[[label]]
name = "b"
value = 1
"#;

/// Two lopsided convolutions, so that borders and mirrors show; `batch` entries.
fn graph(batch: usize) -> Graph {
    let mut b = Builder::new("tiny");
    let dims = |c: usize| [batch, c, 16, 16, 16].map(Dim::Known);
    let mut x = b.input("x", &dims(1));
    for [from, to] in [[1, 5], [5, 2]] {
        let values: Vec<f32> = (0..27 * from * to).map(|i| ((i * 7 % 23) as f32 - 11.0) * 0.01).collect();
        let bias: Vec<f32> = (0..to).map(|i| 0.3 - 0.1 * i as f32).collect();
        let weights = Tensor::f32(&[to, from, 3, 3, 3], &values);
        x = b.conv(x, weights, Some(Tensor::f32(&[to], &bias)), Window::of(&[3; 3]).pad(1));
        x = b.unary(x, Unary::Sigmoid);
    }
    b.output(x, "y", &dims(2));
    b.finish()
}

/// Mostly one value below 0 and a corner of another, with something between.
fn image() -> Volume<f32> {
    let mut v = Volume::filled([70, 44, 40], -0.75f32);
    for z in 0..40 {
        for y in 0..44 {
            for x in 0..70 {
                let i = v.index(x, y, z);
                if x > 36 {
                    v.data[i] = 2.5;
                } else if (3..9).contains(&x) && y > 30 && z < 20 {
                    v.data[i] = (x * y + z) as f32 * 0.01;
                }
            }
        }
    }
    v
}

/// All scores, and how many windows were computed once.
fn scores(batch: usize, threads: usize, each: bool, most: Option<u64>) -> (Vec<u32>, Windows) {
    // Who watches, if only nothing, sees every run.
    let observe = each.then(|| Observe { names: Arc::default(), sink: Arc::new(|_| {}) });
    let options = Options { threads, observe, ..Options::default() };
    let mut model = Model::from_graph(graph(batch), Some(RECIPE), String::new(), options).unwrap();
    model.max_ram = most;
    let image = image();
    let plan = Plan::new(&model, 0, image.dims).unwrap();
    let what = Reading {
        activation: Activation::None,
        channels: &[0, 1],
        logits: false,
        all: &[0, 1],
        highest: true,
    };
    let mut ws = Workspace::default();
    let mut out = vec![0u32; 2 * plan.grid.iter().product::<usize>()];
    let grid = plan.grid;
    super::run(&mut model, 0, &plan, &[image], &what, false, &mut ws, &mut |at, size, values| {
        for (i, s) in values.chunks_exact(2).enumerate() {
            let p = [i % size[0], i / size[0] % size[1], i / (size[0] * size[1])];
            let to = [0, 1, 2].map(|k| at[k] + p[k]);
            let to = 2 * (to[0] + grid[0] * (to[1] + grid[1] * to[2]));
            (out[to], out[to + 1]) = (s[0].to_bits(), s[1].to_bits());
        }
    })
    .unwrap();
    (out, ws.windows)
}

#[test]
fn equal_constant_windows_are_computed_once_with_the_same_bits() {
    for batch in [1, 2] {
        let (want, all) = scores(batch, 1, true, None);
        assert_eq!(all.reused, 0);
        for threads in [1, 3] {
            let (got, windows) = scores(batch, threads, false, None);
            assert!(got == want, "batch {batch}, {threads} threads");
            assert_eq!(windows.all, all.all);
            assert!(windows.reused > all.all / 4, "{windows:?}");
        }
    }
}

#[test]
fn without_room_every_window_is_computed() {
    let (want, _) = scores(1, 1, true, None);
    // Less than the process holds: nothing is kept, and networks that are small enough run nevertheless.
    let held = crate::rss_bytes().unwrap() + (40 << 20);
    let (got, windows) = scores(1, 1, false, Some(held));
    assert!(got == want && windows.reused <= windows.all);
}
