//! How long a training step takes and what it needs:
//! `step MODEL.onnx 4x3x256x256 [threads] [steps] [MiB] [mixed]`.

use ampoule_graph::passes;
use ampoule_onnx as onnx;
use ampoule_runtime::Pool;
use ampoule_train::{Kind, Machine, Optimizer, Options, build, clip, loss};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, or: u64| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(or);
    let file = args.get(1).ok_or("usage: step MODEL.onnx SHAPE [threads] [steps] [MiB] [mixed]")?;
    let shape: Vec<usize> =
        args.get(2).ok_or("a shape is missing")?.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let mut graph = onnx::read_file(file.as_ref())?;
    passes::trainable(&mut graph)?;
    let mut on = Machine::new(ampoule_kernels::choose(None)?, Arc::new(Pool::new(number(3, 2) as usize)));
    on.mixed = args.get(6).is_some_and(|a| a == "mixed");
    let max_bytes = Some(number(5, 0) << 20).filter(|m| *m > 0);
    let mut net = build(&graph, &[shape], on, &Options { max_bytes, ..Options::default() })?;
    let mut optimizer = Optimizer::new(Kind::ADAMW, 1e-3, false, &net.params);
    net.input(0).iter_mut().enumerate().for_each(|(i, x)| *x = ((i * 31 % 101) as f32 - 50.0) / 50.0);
    let dims = net.outputs[0].dims;
    let pixels: usize = dims[..4].iter().product();
    let labels: Vec<u8> = (0..pixels).map(|i| (i / 7 % 2) as u8).collect();
    let input = net.input(0).to_vec();
    let mut times = Vec::new();
    for step in 0..number(4, 6) {
        let start = Instant::now();
        net.input(0).copy_from_slice(&input);
        net.forward();
        let there = start.elapsed();
        let logits = net.output(0).to_vec();
        let mut grad = vec![0.0; logits.len()];
        let l = loss::cross_entropy(&dims, &logits, &labels, &[], 0.0, 1.0, &mut grad);
        net.gradient(0).copy_from_slice(&grad);
        net.backward();
        let back = start.elapsed();
        clip(&mut net.params, 5.0);
        optimizer.step(&mut net.params, 1e-3);
        let all = start.elapsed();
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        println!(
            "step {step}: {:.0} ms (there {:.0}, back {:.0}, optimizer {:.0}), loss {l:.4}",
            ms(all),
            ms(there),
            ms(back - there),
            ms(all - back)
        );
        times.push(ms(all));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "median {:.0} ms; arena {} MiB, held {} MiB, {} layers twice",
        times[times.len() / 2],
        net.arena_bytes() >> 20,
        net.bytes() >> 20,
        net.repeated()
    );
    if let Some(line) = std::fs::read_to_string("/proc/self/status")?.lines().find(|l| l.starts_with("VmHWM"))
    {
        println!("{line}");
    }
    Ok(())
}
