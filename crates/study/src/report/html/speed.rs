//! Times and memory.

use super::table::Table;
use super::{figure, grid, key, ms};
use crate::report::svg::{self, Lines, escape, short};
use crate::results::{Cell, Results, WorkloadResult};

/// The row of a variant under a profile.
fn cell<'a>(r: &'a Results, w: &WorkloadResult, variant: &str, profile: &str) -> Option<&'a Cell> {
    r.cells.iter().find(|c| (&*c.workload, &*c.variant, &*c.profile) == (&w.name, variant, profile))
}

/// Those that have numbers.
fn good<'a>(
    r: &'a Results,
    w: &'a WorkloadResult,
    profile: &'a str,
) -> impl Iterator<Item = (usize, &'a Cell)> {
    let find = move |(i, v): (usize, &'a crate::results::VariantResult)| {
        cell(r, w, &v.name, profile).filter(|c| c.error.is_none()).map(|c| (i, c))
    };
    w.variants.iter().enumerate().filter_map(find)
}

pub(super) fn speed(out: &mut String, r: &Results, w: &WorkloadResult) {
    let mut figures = String::new();
    for p in &r.spec.profiles {
        let rows: Vec<_> = w
            .variants
            .iter()
            .enumerate()
            .filter(|v| v.1.name != r.baseline)
            .map(|(i, v)| (v.name.clone(), cell(r, w, &v.name, &p.name).and_then(|c| c.speedup_total), i))
            .collect();
        let what = format!("{}, {}: speedup of a case over {}", w.name, p.name, r.baseline);
        figure(
            &mut figures,
            &svg::forest(&what, &rows),
            &escape(&format!("{}: speedup end to end over {}, 95 % interval", p.name, r.baseline)),
        );
    }
    grid(out, &figures);
    let mut table = Table::new(&[
        ("variant", true),
        ("profile", true),
        ("load, ms", false),
        ("first case, ms", false),
        ("network, ms", false),
        ("case, ms", false),
        ("p90, ms", false),
        ("runs", false),
        ("cases a second", false),
        ("J a case", false),
        ("peak, MiB", false),
        ("network speedup", false),
        ("case speedup", false),
    ]);
    for (i, v) in w.variants.iter().enumerate() {
        for p in &r.spec.profiles {
            let Some(c) = cell(r, w, &v.name, &p.name) else { continue };
            let names = [key(i, &v.name), escape(&p.name)];
            if let Some(e) = &c.error {
                let [variant, profile] = names;
                table.row(&[variant, profile, escape(e)]);
                continue;
            }
            let ratio = |e: Option<crate::results::Estimate>| {
                e.map_or("–".into(), |e| format!("{:.2} ({:.2} to {:.2})", e.value, e.low, e.high))
            };
            let some = |v: Option<f64>| v.map_or("–".into(), short);
            let [variant, profile] = names;
            table.row(&[
                variant,
                profile,
                ms(c.load_ms),
                ms(c.first_ms),
                ms(c.network_ms),
                ms(c.total_ms),
                c.p90_ms.map_or("–".into(), ms),
                c.runs.to_string(),
                c.throughput_error.as_deref().map_or_else(|| some(c.throughput), escape),
                some(c.joules),
                c.peak_mib.map_or("–".into(), |m| format!("{m:.0}")),
                ratio(c.speedup_network),
                ratio(c.speedup_total),
            ]);
        }
    }
    out.push_str(&table.finish());
}

pub(super) fn pareto(out: &mut String, r: &Results, w: &WorkloadResult) {
    // The metrics with a difference in them; the first of the study's otherwise.
    let metrics: Vec<(String, Option<u16>)> = {
        let mut list: Vec<(String, Option<u16>)> = Vec::new();
        for u in w.variants.iter().flat_map(|v| &v.utility) {
            if !list.contains(&(u.metric.clone(), u.class)) {
                list.push((u.metric.clone(), u.class));
            }
        }
        list
    };
    let mut figures = String::new();
    let Some(p) = r.spec.profiles.first() else { return };
    for (metric, class) in metrics {
        let mut points = Vec::new();
        for (i, c) in good(r, w, &p.name) {
            let v = &w.variants[i];
            if let Some(u) = v.utility.iter().find(|u| u.metric == metric && u.class == class) {
                points.push((
                    c.total_ms,
                    u.variant,
                    format!("{}: {} ms, {:.4}", v.name, ms(c.total_ms), u.variant),
                    i,
                ));
            }
        }
        let name = class.map_or(metric.clone(), |c| format!("{metric} of class {c}"));
        let what = format!("{}: latency against {name}", w.name);
        let names: Vec<String> = points.iter().map(|p| key(p.3, &w.variants[p.3].name)).collect();
        let picture = svg::scatter(&what, &points, ["milliseconds a case", &name], true, Lines::None);
        figure(
            &mut figures,
            &picture,
            &format!("{}, mean {}: {}", escape(&p.name), escape(&name), names.join(" ")),
        );
    }
    grid(out, &figures);
}

pub(super) fn memory(out: &mut String, r: &Results, w: &WorkloadResult) {
    let mut figures = String::new();
    for p in &r.spec.profiles {
        let rows: Vec<_> =
            good(r, w, &p.name).filter_map(|(i, c)| Some((c.variant.clone(), c.peak_mib?, i))).collect();
        let limit = p.memory_mib.map_or(String::new(), |m| {
            let over: Vec<&str> = rows.iter().filter(|r| r.1 > m as f64).map(|r| r.0.as_str()).collect();
            let over = match over.is_empty() {
                true => String::new(),
                false => format!("; above it, by what they map of files: {}", over.join(", ")),
            };
            format!(", held to {m} MiB{over}")
        });
        let what = format!("{}, {}: peak memory", w.name, p.name);
        figure(
            &mut figures,
            &svg::bars(&what, &rows, "MiB"),
            &escape(&format!("{}{limit}: highest resident memory", p.name)),
        );
    }
    let rows: Vec<_> = w
        .variants
        .iter()
        .enumerate()
        .filter(|v| v.1.bytes > 0)
        .map(|(i, v)| (v.name.clone(), v.bytes as f64 / 1e6, i))
        .collect();
    figure(
        &mut figures,
        &svg::bars(&format!("{}: size of the file", w.name), &rows, "MB"),
        "size of the model's file",
    );
    grid(out, &figures);
}

pub(super) fn scaling(out: &mut String, r: &Results, w: &WorkloadResult) {
    if r.spec.profiles.len() < 2 {
        return;
    }
    let mut figures = String::new();
    for (i, v) in w.variants.iter().enumerate() {
        let rows: Vec<_> = r
            .spec
            .profiles
            .iter()
            .filter_map(|p| cell(r, w, &v.name, &p.name).filter(|c| c.error.is_none()))
            .map(|c| (c.profile.clone(), c.total_ms, i))
            .collect();
        if rows.len() > 1 {
            let what = format!("{}, {}: profiles", w.name, v.name);
            figure(
                &mut figures,
                &svg::bars(&what, &rows, "ms"),
                &format!("{}: a case under each profile", key(i, &v.name)),
            );
        }
    }
    grid(out, &figures);
}

pub(super) fn stages(out: &mut String, r: &Results, w: &WorkloadResult) {
    let mut figures = String::new();
    for p in &r.spec.profiles {
        let rows: Vec<_> = good(r, w, &p.name).map(|(_, c)| (c.variant.clone(), c.stages.clone())).collect();
        if !rows.is_empty() {
            let what = format!("{}, {}: stages of a case", w.name, p.name);
            figure(&mut figures, &svg::stacked(&what, &rows, "ms"), &escape(&p.name));
        }
    }
    grid(out, &figures);
}

/// Layers shown of each variant.
const SHOWN: usize = 12;

pub(super) fn layers(out: &mut String, r: &Results, w: &WorkloadResult) {
    let mut figures = String::new();
    let Some(p) = r.spec.profiles.first() else { return };
    for (i, c) in good(r, w, &p.name).filter(|c| !c.1.layers.is_empty()) {
        let rows: Vec<_> = c.layers.iter().take(SHOWN).map(|l| (l.node.clone(), l.ms, i)).collect();
        let what = format!("{}, {}: slowest steps", w.name, c.variant);
        let words = format!("{}: slowest steps of a case, {}", key(i, &c.variant), escape(&p.name));
        figure(&mut figures, &svg::bars(&what, &rows, "ms"), &words);
    }
    for (i, v) in w.variants.iter().enumerate().filter(|v| !v.1.sensitivity.is_empty()) {
        let mut list: Vec<_> = v.sensitivity.iter().filter(|s| s.error > 0.0).collect();
        list.sort_by(|a, b| b.error.total_cmp(&a.error));
        let rows: Vec<_> =
            list.iter().take(SHOWN).map(|s| (s.node.clone(), -10.0 * s.error.log10(), i)).collect();
        let what = format!("{}, {}: sensitivity", w.name, v.name);
        let words = format!(
            "{}: SQNR of the output with one layer alone in INT8, the most sensitive of {} layers first",
            key(i, &v.name),
            v.sensitivity.len()
        );
        figure(&mut figures, &svg::bars(&what, &rows, "dB"), &words);
    }
    grid(out, &figures);
}
