//! `ampoule doctor`.

use super::{json, options, say, tier};
use crate::args::{Doctor, Global};
use crate::exit::{Code, Failure, Outcome};
use ampoule_kernels::registry::{Choice, choices, distinct_sets};
use ampoule_kernels::{
    Availability, Costs, FEATURE_SETS, Family, Features, Operation, gemm::KERNELS, measure,
};
use serde_json::json as object;
use std::time::Duration;

pub fn run(g: &Global, a: &Doctor) -> Outcome {
    options(g)?;
    if a.calibrate {
        return calibrate(g);
    }
    let chosen = ampoule_kernels::choose(tier(g)?.as_deref()).map_err(|e| Failure::usage(e.to_string()))?;
    let machine = Machine::measured();
    if g.json {
        json(&machine.to_json(chosen))?
    } else {
        machine.print(chosen)
    }
    Ok(Code::Done)
}

/// Measures the constants of the estimates and keeps them.
fn calibrate(g: &Global) -> Outcome {
    let path = crate::environment::calibration().ok_or_else(|| {
        Failure::usage(
            "there is no folder to keep the constants in; set HOME, or AMPOULE_CALIBRATION to a file",
        )
    })?;
    let sets = match tier(g)? {
        Some(name) => vec![ampoule_kernels::choose(Some(&name)).map_err(|e| Failure::usage(e.to_string()))?],
        None => ampoule_kernels::available(),
    };
    let measured: Vec<(Features, Costs)> =
        sets.into_iter().map(|isa| (isa, measure::calibrate(isa))).collect();
    if let Some((isa, _)) = measured.iter().find(|(isa, costs)| !costs.plausible(*isa)) {
        let name = isa.name();
        let message =
            format!("the measurement of {name} is not plausible; is the machine busy? Nothing was kept");
        return Err(Failure { code: Code::SomeFailed, message });
    }
    crate::calibration::write(&path, &measured)?;
    if g.json {
        json(
            &object!({ "file": path.display().to_string(), "sets": measured.iter().map(costs_json).collect::<Vec<_>>() }),
        )?;
        return Ok(Code::Done);
    }
    for (isa, costs) in &measured {
        print_costs(isa.name(), costs);
    }
    say(format!("kept in {}", path.display()));
    Ok(Code::Done)
}

fn costs_json((isa, costs): &(Features, Costs)) -> serde_json::Value {
    object!({
        "set": isa.name(), "rates": costs.rates, "memory_ns_per_byte": costs.memory,
        "transform_4_ns": costs.transform_4, "transform_2_ns": costs.transform_2,
        "transform_int8_ns": costs.transform_int8,
    })
}

/// Constants, as the table of shipped ones has them.
fn print_costs(name: &str, c: &Costs) {
    let [f32, bf16, u8, i16] = c.rates;
    say(format!(
        "{name:11} GMAC/s f32 {f32:.1}, bf16 {bf16:.1}, u8 {u8:.1}, i16 {i16:.1}; memory {:.3} ns a byte; transforms in and out, ns: F4 {:.0} {:.0}, F2 {:.0} {:.0}, INT8 {:.0} {:.0}",
        c.memory,
        c.transform_4[0],
        c.transform_4[1],
        c.transform_2[0],
        c.transform_2[1],
        c.transform_int8[0],
        c.transform_int8[1]
    ));
}

/// What this machine has and reaches.
struct Machine {
    cpu: Option<String>,
    threads: usize,
    /// All of it and what is free, in bytes.
    memory: [Option<u64>; 2],
    /// Multiply-accumulates per second of each micro-kernel that runs here, on one core.
    ceilings: Vec<(&'static str, f64)>,
    /// Bytes per second of one core.
    bandwidth: f64,
    models: Vec<&'static str>,
}

impl Machine {
    fn measured() -> Self {
        let folder = crate::environment::models();
        let fetched = |name: &str| folder.as_ref().is_some_and(|f| f.join(format!("{name}.onnx")).is_file());
        let round = Duration::from_millis(10);
        Machine {
            cpu: ampoule_pipeline::cpu_model(),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory: [ampoule_pipeline::total_memory(), ampoule_pipeline::available_memory()],
            ceilings: KERNELS
                .iter()
                .filter_map(|k| measure::kernel_macs(k, round).map(|macs| (k.name, macs)))
                .collect(),
            bandwidth: measure::triad_bytes(128 << 20),
            models: ampoule_zoo::CATALOG.iter().map(|e| e.name).filter(|n| fetched(n)).collect(),
        }
    }

    fn to_json(&self, chosen: Features) -> serde_json::Value {
        let distinct = distinct_sets();
        let sets = FEATURE_SETS.iter().map(|s| {
            let own = distinct.iter().find(|d| d.0.name == s.name);
            let operations = own.map(|d| d.1.iter().map(|o| o.name()).collect::<Vec<_>>());
            object!({
                "name": s.name, "available": s.features.supported(), "features": names(s.features),
                "distinct_operations": operations.unwrap_or_default(),
            })
        });
        let [memory, available] = self.memory.map(|b| b.map(|b| b >> 20));
        object!({
            "version": env!("CARGO_PKG_VERSION"), "cpu": self.cpu, "threads": self.threads,
            "features": names(Features::detected()), "note": tile_registers_note(),
            "tiers": sets.collect::<Vec<_>>(), "tier": chosen.name(),
            "kernels": choices(chosen).iter().map(choice_json).collect::<Vec<_>>(),
            "memory_mb": memory, "memory_available_mb": available,
            "tiles": self.ceilings.iter()
                .map(|(name, macs)| object!({"kernel": name, "gmac_s": macs / 1e9})).collect::<Vec<_>>(),
            "triad_gb_s": self.bandwidth / 1e9, "models": self.models,
        })
    }

    fn print(&self, chosen: Features) {
        say(format!("ampoule {}", env!("CARGO_PKG_VERSION")));
        say(format!("cpu       {}", self.cpu.as_deref().unwrap_or("unknown")));
        say(format!("threads   {}", self.threads));
        let sets = FEATURE_SETS.iter().map(|s| match s.features.supported() {
            true => s.name.to_owned(),
            false => format!("({} missing)", s.name),
        });
        let list: Vec<String> = sets.collect();
        say(format!("tiers     {}; in use: {}", list.join(" "), chosen.name()));
        if let Some(note) = tile_registers_note() {
            say(format!("note      {note}"));
        }
        if let [Some(total), Some(free)] = self.memory.map(|b| b.map(|b| b >> 20)) {
            say(format!("memory    {total} MiB, {free} MiB available"));
        }
        let constants = crate::environment::calibration().filter(|p| p.is_file());
        let constants = constants.map_or("shipped".to_owned(), |p| p.display().to_string());
        say(format!("constants {constants}"));
        print_kernels(chosen);
        for (name, macs) in &self.ceilings {
            say(format!("ceiling   {name:24} {:6.1} GMAC/s on one core", macs / 1e9));
        }
        say(format!("bandwidth {:.1} GB/s on one core (triad over 128 MiB)", self.bandwidth / 1e9));
        let models = if self.models.is_empty() { "none fetched".into() } else { self.models.join(", ") };
        say(format!("models    {models}"));
    }
}

/// Why a matrix unit that the CPU has is not used.
fn tile_registers_note() -> Option<&'static str> {
    match ampoule_kernels::tile_registers() {
        Availability::Available | Availability::Absent => None,
        Availability::NotSaved => Some(
            "this CPU has a matrix unit (AMX), which the operating system or the hypervisor does not enable; vectors are used",
        ),
        Availability::Denied => Some(
            "this CPU has a matrix unit (AMX), and the operating system does not permit this process to use it (a sandbox?); vectors are used",
        ),
    }
}

/// Names of features.
fn names(features: Features) -> Vec<&'static str> {
    features.iter().map(|f| f.name()).collect()
}

/// What runs of one operation.
fn choice_json(c: &Choice) -> serde_json::Value {
    object!({
        "family": c.operation.family().name(), "operation": c.operation.name(),
        "kernels": c.kernels.iter().map(|k| &k.name).collect::<Vec<_>>(),
        "fallback": c.kernels.is_empty().then(|| c.operation.fallback().map(Operation::name)).flatten(),
        "preferred": c.preferred.map(|(k, _)| &k.name),
        "missing": c.preferred.map(|(_, missing)| names(missing)),
    })
}

/// What runs in place of the preferred kernels of an operation: the set of other kernels, or another
/// operation.
fn stands_in(c: &Choice) -> &'static str {
    match (c.needs(), c.operation.fallback()) {
        (Some(needs), _) => needs.name(),
        (None, Some(other)) => other.name(),
        (None, None) => "nothing",
    }
}

/// Prints which kernels run, by family, and which better ones do not, by the features that they lack.
fn print_kernels(chosen: Features) {
    let all = choices(chosen);
    for family in Family::ALL {
        let own = all.iter().filter(|c| c.operation.family() == family);
        let list: Vec<String> =
            own.filter_map(|c| c.needs().map(|n| format!("{} {}", c.operation.name(), n.name()))).collect();
        if !list.is_empty() {
            say(format!("kernels   {:12} {}", family.name(), list.join(", ")));
        }
    }
    let mut lacking: Vec<(Features, &str, Vec<&str>)> = Vec::new();
    for c in &all {
        let Some((_, missing)) = c.preferred else { continue };
        let instead = stands_in(c);
        match lacking.iter_mut().find(|l| (l.0, l.1) == (missing, instead)) {
            Some(l) => l.2.push(c.operation.name()),
            None => lacking.push((missing, instead, vec![c.operation.name()])),
        }
    }
    for (missing, instead, operations) in lacking {
        let missing = names(missing).join(" ");
        say(format!("fallback  without {missing}: {instead} for {}", operations.join(", ")));
    }
}
