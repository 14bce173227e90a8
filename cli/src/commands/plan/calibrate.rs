//! How fast this machine is: three cases made for it are run by a process of their own, as `run` does it. Two of them say how
//! long others take, and the third how far off that is.

use super::record_in;
use crate::args::{Global, Plan};
use crate::exit::Failure;
use ampoule_files::Scratch;
use ampoule_imaging::geometry::Affine;
use ampoule_imaging::photo::{Photo, write_rgb};
use ampoule_imaging::{Nifti, Volume};
use ampoule_pipeline::recipe::Kind;
use ampoule_pipeline::{Batch, CasePlan, Described, Model, Planner, Record};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Sizes of the cases that are made, as shares of the typical case's along each axis.
const SHARES: [f64; 7] = [0.2, 0.25, 0.32, 0.4, 0.5, 0.7, 1.0];
/// Longest that the second case should take, in seconds.
const PATIENCE: f64 = 20.0;
/// Least voxels along an axis.
const LEAST: usize = 16;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// Seconds of a case that depend on nothing.
    case_seconds: f64,
    /// Seconds a voxel of the files: reading, preparing, writing.
    voxel_seconds: f64,
    /// Seconds a multiplication of the networks, with all threads.
    mac_seconds: f64,
    /// How far the time of a third case lies from what the two say, as a share of it.
    error: f64,
    /// Seconds from the start of a process to its first case.
    start_seconds: f64,
    /// Voxels of the cases that were run.
    voxels: [u64; 2],
}

impl Calibration {
    /// Seconds that a case will take.
    pub fn seconds(&self, p: &CasePlan) -> f64 {
        self.case_seconds + self.voxel_seconds * p.voxels as f64 + self.mac_seconds * p.macs as f64
    }

    /// The error, for people.
    pub fn told(&self) -> String {
        format!("a third one took {:.0} % more or less than two said", 100.0 * self.error)
    }
}

/// A case that was run.
struct Measured {
    voxels: f64,
    macs: f64,
    /// In the network, and in all.
    network: f64,
    total: f64,
    start: f64,
}

impl Measured {
    fn rest(&self) -> f64 {
        (self.total - self.network).max(0.0)
    }
}

/// Runs cases like `typical`, smaller ones where it would take long.
pub fn calibrate(
    g: &Global,
    a: &Plan,
    planner: &Planner,
    model: &mut Model,
    batch: &Batch,
    typical: &CasePlan,
) -> Result<Calibration, Failure> {
    let folder = Scratch::new().map_err(|e| Failure::input(format!("no temporary folder: {e}")))?;
    let mut sizes: Vec<([usize; 3], CasePlan)> = Vec::new();
    for share in SHARES {
        let dims = sized(model, typical, share);
        if sizes.last().is_some_and(|s| s.0 == dims) {
            continue;
        }
        let files = model.recipe.input.len();
        let image = Described { dims, spacing: typical.spacing, voxel_bytes: 4, canonical: true, files };
        // A size that the model cannot take is none to measure with.
        if let Ok(plan) = planner.described(model, &image, batch) {
            sizes.push((dims, plan));
        }
    }
    let Some((dims, plan)) = sizes.first() else {
        return Err(Failure::input(
            "no image could be made that the model takes; --no-seconds leaves out the time",
        ));
    };
    let run = |dims: [usize; 3], plan: &CasePlan, name: &str| {
        measured(g, a, model, &folder.path().join(name), (dims, typical.spacing), plan)
    };
    let first = run(*dims, plan, "first")?;
    let rate = first.network / first.macs.max(1.0);
    let fits = |p: &CasePlan| rate * p.macs as f64 + first.rest() * p.voxels as f64 / first.voxels < PATIENCE;
    let largest = sizes.iter().rposition(|s| fits(&s.1)).unwrap_or(0);
    let (dims, plan) = &sizes[largest];
    let second = run(*dims, plan, "second")?;
    // One between the two; the second once more where there is none.
    let (dims, plan) = &sizes[if largest > 1 { largest.div_ceil(2) } else { largest }];
    let third = run(*dims, plan, "third")?;
    Ok(fitted(&first, &second, &third))
}

/// The rates that two measurements say, and how far off the third is.
fn fitted(first: &Measured, second: &Measured, third: &Measured) -> Calibration {
    let more = second.voxels - first.voxels;
    let slope = if more > 0.0 { ((second.rest() - first.rest()) / more).max(0.0) } else { 0.0 };
    let constant = (second.rest() - slope * second.voxels).max(0.0);
    let rate = second.network / second.macs.max(1.0);
    let said = constant + slope * third.voxels + rate * third.macs;
    Calibration {
        case_seconds: constant,
        voxel_seconds: slope,
        mac_seconds: rate,
        error: (said - third.total).abs() / third.total.max(1e-9),
        start_seconds: first.start,
        voxels: [first.voxels as u64, second.voxels as u64],
    }
}

/// The sizes of a case made for it: a slide's is that of its windows.
fn sized(model: &Model, typical: &CasePlan, share: f64) -> [usize; 3] {
    let slide = typical.network.tensor.is_empty();
    let whole = if slide { typical.network.input } else { typical.dims };
    let share = if slide { 1.0 } else { share };
    let least = if model.recipe.kind() == Kind::Image { 64 } else { LEAST };
    whole.map(|n| ((n as f64 * share).round() as usize).max(least.min(n)))
}

/// Makes a case and runs it.
fn measured(
    g: &Global,
    a: &Plan,
    model: &Model,
    folder: &Path,
    (dims, spacing): ([usize; 3], [f64; 3]),
    plan: &CasePlan,
) -> Result<Measured, Failure> {
    let fail = |e: std::io::Error| Failure::input(format!("{}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let manifest = made(model, folder, dims, spacing).map_err(fail)?;
    let output = folder.join("out");
    let begun = Instant::now();
    let program = std::env::current_exe().map_err(fail)?;
    let done = Command::new(program)
        .args(arguments(g, a))
        .arg(&manifest)
        .arg("-o")
        .arg(&output)
        .stdout(Stdio::null())
        .output()
        .map_err(fail)?;
    let wall = begun.elapsed().as_secs_f64();
    let Some(record) = record_in(&output).and_then(|p| Record::read(&p)) else {
        let told = String::from_utf8_lossy(&done.stderr);
        let reason = told.lines().last().unwrap_or("it was stopped").to_owned();
        return Err(Failure::input(format!(
            "a case made to measure the time did not run ({reason}); --no-seconds leaves out the time"
        )));
    };
    let of = |kind: &str| record.timings_ms.get(kind).and_then(|v| v.as_f64()).unwrap_or(0.0) / 1e3;
    let (network, total) = (of("network"), of("total"));
    let (voxels, macs) = (plan.voxels.max(1) as f64, plan.macs as f64);
    Ok(Measured { voxels, macs, network, total, start: (wall - total).max(0.0) })
}

/// Arguments of `run` that say how cases are run.
fn arguments(g: &Global, a: &Plan) -> Vec<String> {
    let mut args = vec!["run".to_owned(), a.model.clone(), "--quiet".to_owned()];
    let threads = g.threads.first().copied().unwrap_or(0);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            args.extend([name.to_owned(), value]);
        }
    };
    add("--threads", (threads > 0).then(|| threads.to_string()));
    add("--isa", g.isa.first().cloned());
    add("--precision", g.precision.map(|p| p.name().to_owned()));
    add("--recipe", g.recipe.as_ref().map(|r| r.display().to_string()));
    add("--max-ram", g.max_ram.map(|m| format!("{}M", m >> 20)));
    a.fold.iter().for_each(|f| add("--fold", Some(f.clone())));
    if a.fast {
        args.push("--fast".into());
    }
    if a.save_probabilities {
        args.push("--save-probabilities".into());
    }
    args
}

/// Files of one case of these sizes, and the manifest that names them.
fn made(model: &Model, folder: &Path, dims: [usize; 3], spacing: [f64; 3]) -> std::io::Result<PathBuf> {
    let recipe = &model.recipe;
    let (mut names, mut files) = (vec!["case".to_owned()], vec!["made".to_owned()]);
    for (i, input) in recipe.input.iter().enumerate() {
        let file = match recipe.kind() {
            Kind::Volume => format!("{i}.nii.gz"),
            Kind::Image => format!("{i}.png"),
        };
        let path = folder.join(&file);
        match recipe.kind() {
            Kind::Volume => Nifti::from_f32(&blob(dims, i), placed(spacing)).write(&path)?,
            Kind::Image => ampoule_files::write_atomic(&path, |out| write_rgb(out, &spots(dims)))?,
        }
        names.push(input.name.clone());
        files.push(file);
    }
    let [names, files] = [names, files]
        .map(|l| l.iter().map(|t| ampoule_pipeline::csv_field(t)).collect::<Vec<_>>().join(","));
    let manifest = folder.join("made.csv");
    std::fs::write(&manifest, format!("{names}\n{files}\n"))?;
    Ok(manifest)
}

fn placed(spacing: [f64; 3]) -> Affine {
    let mut a = Affine([[0.0; 4]; 3]);
    (0..3).for_each(|i| a.0[i][i] = spacing[i]);
    a
}

/// A bright ball on a ground that is dark and nowhere 0, with some texture: no window equals another.
fn blob(dims: [usize; 3], channel: usize) -> Volume<f32> {
    let mut v = Volume::filled(dims, 0f32);
    let mut at = 0;
    for z in 0..dims[2] {
        for y in 0..dims[1] {
            for x in 0..dims[0] {
                let from = |i: usize, k: usize| (i as f32 + 0.5) / dims[k] as f32 - 0.5;
                let far = from(x, 0).powi(2) + from(y, 1).powi(2) + from(z, 2).powi(2);
                let texture = ((x * 7 + y * 13 + z * 29 + channel) % 23) as f32;
                v.data[at] = (if far < 0.1 { 400.0 } else { 20.0 }) + texture;
                at += 1;
            }
        }
    }
    v
}

/// The same in a plane, coloured.
fn spots(dims: [usize; 3]) -> Photo {
    let flat = blob([dims[0], dims[1], 1], 0);
    let rgb = flat.data.iter().flat_map(|v| [*v, *v * 0.5, *v * 0.4 + 30.0].map(|c| c.min(255.0) as u8));
    Photo::new(dims[0], dims[1], rgb.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_two_cases_and_the_error_is_that_of_a_third() {
        let of = |voxels: f64, macs: f64| {
            let network = 2e-9 * macs;
            Measured { voxels, macs, network, total: network + 0.1 + 1e-6 * voxels, start: 0.0 }
        };
        let exact = of(5e5, 4e9);
        let slower = Measured { total: 1.25 * exact.total, ..exact };
        let c = fitted(&of(1e5, 1e9), &of(1e6, 1e10), &slower);
        assert!((c.case_seconds - 0.1).abs() < 1e-9 && (c.voxel_seconds - 1e-6).abs() < 1e-12);
        assert!((c.mac_seconds - 2e-9).abs() < 1e-15);
        assert!((c.error - 0.2).abs() < 1e-9, "{}", c.error);
    }
}
