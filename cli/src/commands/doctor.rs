//! `ampoule doctor`.

use super::{json, options, say, tier_name};
use crate::args::Global;
use crate::exit::{Code, Outcome};
use ampoule_kernels::{FEATURE_SETS, gemm::KERNELS, measure};
use serde_json::json as object;
use std::time::Duration;

pub fn run(g: &Global) -> Outcome {
    options(g)?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let chosen = tier_name(g)?;
    let mib = |b: Option<u64>| b.map(|b| b >> 20);
    let tiers: Vec<_> = FEATURE_SETS.iter().map(|s| (s.name, s.features.supported())).collect();
    let tiles: Vec<(&str, f64)> = KERNELS
        .iter()
        .filter_map(|k| measure::kernel_macs(k, Duration::from_millis(10)).map(|m| (k.name, m / 1e9)))
        .collect();
    let bandwidth = measure::triad_bytes(128 << 20) / 1e9;
    let folder = crate::environment::models();
    let fetched: Vec<&str> = ampoule_zoo::CATALOG
        .iter()
        .filter(|e| folder.as_ref().is_some_and(|f| f.join(format!("{}.onnx", e.name)).is_file()))
        .map(|e| e.name)
        .collect();
    if g.json {
        json(&object!({
            "version": env!("CARGO_PKG_VERSION"), "cpu": ampoule_pipeline::cpu_model(), "threads": threads,
            "tiers": tiers.iter().map(|t| object!({"name": t.0, "available": t.1})).collect::<Vec<_>>(),
            "tier": chosen, "memory_mb": mib(ampoule_pipeline::total_memory()),
            "memory_available_mb": mib(ampoule_pipeline::available_memory()),
            "tiles": tiles.iter().map(|t| object!({"kernel": t.0, "gmac_s": t.1})).collect::<Vec<_>>(),
            "triad_gb_s": bandwidth, "models": fetched,
        }))?;
        return Ok(Code::Done);
    }
    say(format!("ampoule {}", env!("CARGO_PKG_VERSION")));
    say(format!("cpu       {}", ampoule_pipeline::cpu_model().unwrap_or_else(|| "unknown".into())));
    say(format!("threads   {threads}"));
    let list: Vec<String> =
        tiers.iter().map(|(n, ok)| if *ok { (*n).into() } else { format!("({n} missing)") }).collect();
    say(format!("tiers     {}; in use: {chosen}", list.join(" ")));
    if let (Some(t), Some(a)) =
        (mib(ampoule_pipeline::total_memory()), mib(ampoule_pipeline::available_memory()))
    {
        say(format!("memory    {t} MiB, {a} MiB available"));
    }
    for (name, m) in tiles {
        say(format!("ceiling   {name:24} {m:6.1} GMAC/s on one core"));
    }
    say(format!("bandwidth {bandwidth:.1} GB/s on one core (triad over 128 MiB)"));
    say(format!("models    {}", if fetched.is_empty() { "none fetched".into() } else { fetched.join(", ") }));
    Ok(Code::Done)
}
