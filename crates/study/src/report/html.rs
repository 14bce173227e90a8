//! The report: one file without network or scripts.

mod advice;
mod cases;
mod speed;
mod table;
mod verdicts;

use super::svg::{colour, escape};
use crate::results::{Results, WorkloadResult};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use table::Table;

/// The page of one study, or of several machines' studies. `folders` are where their pictures lie; `notes` say
/// what keeps them from being compared.
pub fn html(all: &[Results], notes: &[String], folders: &[PathBuf]) -> String {
    let title = all.first().map_or("Study", |r| r.title.as_str());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{}</title><style>{}</style></head><body>\n",
        escape(title),
        include_str!("style.css")
    );
    let _ = write!(out, "<h1>{}</h1>", escape(title));
    if all.len() > 1 {
        hardware(&mut out, all, notes);
    }
    for (i, r) in all.iter().enumerate() {
        if all.len() > 1 {
            let _ = write!(out, "<h1>{}</h1>", escape(&r.machine.cpu));
        }
        study(&mut out, r, folders.get(i).map(PathBuf::as_path), i);
    }
    out + "</body></html>\n"
}

/// Everything of one study.
fn study(out: &mut String, r: &Results, folder: Option<&Path>, number: usize) {
    advice::advice(out, r);
    let count: usize = r.workloads.iter().map(|w| w.variants.len()).sum();
    let _ = write!(
        out,
        "<p class=\"soft\">{} on {} cores, {} MiB; {}; ampoule {}. {count} variants of {} models under {} profiles, \
         {} rounds each.</p>",
        escape(&r.machine.cpu),
        r.machine.cores,
        r.machine.memory_mib,
        date(r.finished),
        escape(&r.program),
        r.workloads.len(),
        r.spec.profiles.len(),
        r.spec.rounds
    );
    let sections: [(&str, &str, fn(&mut String, &Results, &WorkloadResult)); 8] = [
        ("speed", "Speed", speed::speed),
        ("pareto", "Latency against utility", speed::pareto),
        ("memory", "Memory and size", speed::memory),
        ("scaling", "Cores and tiers", speed::scaling),
        ("stages", "Where the time of a case goes", speed::stages),
        ("layers", "Layers", speed::layers),
        ("cases", "Case by case", cases::agreement),
        ("utility", "All metrics", verdicts::all),
    ];
    out.push_str("<nav>");
    let links = [("verdicts", "Verdicts")].into_iter().chain(sections.iter().map(|s| (s.0, s.1)));
    for (id, name) in
        links.chain([("worst", "Worst cases"), ("conventions", "Conventions"), ("made", "Made by")])
    {
        let _ = write!(out, "<a href=\"#{id}{number}\">{name}</a> ");
    }
    out.push_str("</nav>");
    verdicts::verdicts(out, r, number);
    for (id, name, section) in sections {
        let _ = write!(out, "<h2 id=\"{id}{number}\">{name}</h2>");
        for w in &r.workloads {
            let mut part = String::new();
            section(&mut part, r, w);
            if !part.is_empty() {
                let _ = write!(out, "<h3>{}</h3>{part}", escape(&w.name));
            }
        }
    }
    let _ = write!(out, "<h2 id=\"worst{number}\">Worst cases</h2>");
    cases::pictures(out, r, folder);
    let _ = write!(out, "<h2 id=\"conventions{number}\">Conventions and limits</h2>{}", CONVENTIONS);
    made(out, r, number);
}

const CONVENTIONS: &str = "<ul>\
<li>A <b>case</b> is one file: reading it, preparing it, the network, and its labels. <b>Network</b> is the part in \
the network alone. Times are medians of steady runs, after one cold and one warm run; cold ones are given apart.</li>\
<li>Every cell (a variant of a model under a profile) is measured in rounds, each in a fresh process pinned to the \
profile's cores, all variants in turns. <b>Speedup</b> is the baseline's time over the variant's, paired by rounds: \
geometric mean with Student's 95 % interval.</li>\
<li><b>Memory</b> is the highest resident memory of the cell's process, input and program included. A profile's \
limit is set on the process; a variant that does not fit is a row that says so.</li>\
<li>A <b>gain</b> in utility is positive where the variant is better, on the same cases: for shares its value minus the \
baseline's, for distances (HD95, mm, or pixels of tiles) the baseline's minus its value. A loss is a negative gain. Cases of one group (a patient, a slide) count once. Two claims are judged, each with 97.5 % confidence, by limits \
that the study's file set beforehand: the <b>mean loss</b> is below the margin, and <b>few cases</b> lose much. \
<b>Non-inferior</b>: both are established. <b>Inferior</b>: one is refuted. Else it is <b>not established</b>, which is no \
claim of equality; the number of cases that would establish it is given.</li>\
<li>The mean's bound is the betting bound of Waudby-Smith and Ramdas, counting no case for more than the loss that counts as \
much or twice the largest loss seen; of labels Tango's score interval; of AUROC DeLong's. The bound of the share of cases is \
Clopper and Pearson's. Wilcoxon (zeros after Pratt) and McNemar are support, not the verdict; no correction is made for \
several metrics.</li>\
<li>HD95 of a case in which only one mask is empty is the image's diagonal, and the case is counted as missed. A case \
that fails counts as one without a result.</li>\
<li>Without truth, the baseline's results are the truth, and metrics are agreement with it.</li>\
<li>Peers read the same network, written to ONNX with its dimensions fixed, inside the same preparation and decisions. \
PyTorch runs it node by node in a Python process that reports its own times; carrying values there is not counted. \
OpenVINO: latency hint, one stream, the variant's precision; ONNX Runtime: all graph optimisations, denormals flushed; \
PyTorch: eager, no gradients, denormals flushed. All have the profile's threads.</li>\
</ul>";

/// Machine, versions, hashes and the command.
fn made(out: &mut String, r: &Results, number: usize) {
    let _ = write!(out, "<h2 id=\"made{number}\">Made by</h2><p><code>{}</code></p>", escape(&r.command));
    let mut table = Table::new(&[("", true), ("", true)]);
    let mut row = |name: &str, value: String| table.row(&[escape(name), escape(&value)]);
    row("machine", format!("{}, {} cores, {} MiB", r.machine.cpu, r.machine.cores, r.machine.memory_mib));
    row("system", r.machine.system.clone());
    row("tiers", r.machine.tiers.join(", "));
    for p in &r.spec.profiles {
        let tier = p.isa.as_deref().unwrap_or("best tier");
        let memory = p.memory_mib.map_or("no limit of memory".into(), |m| format!("{m} MiB"));
        row(&format!("profile {}", p.name), format!("{tier}, {} threads, {memory}", p.threads));
    }
    let mut engines: Vec<&str> =
        r.cells.iter().map(|c| c.engine.as_str()).filter(|e| !e.is_empty()).collect();
    engines.sort_unstable();
    engines.dedup();
    row("engines", engines.join(", "));
    for w in &r.workloads {
        let [c, v, t] = w.cases;
        row(
            &format!("{}: cases", w.name),
            format!("{c} to calibrate, {v} to validate, {t} to test; SHA-256 {}", w.cases_sha256),
        );
        for x in w.variants.iter().filter(|x| !x.sha256.is_empty()) {
            row(
                &format!("{}: {}", w.name, x.name),
                format!("{} SHA-256 {}", x.note, x.sha256).trim().to_owned(),
            );
        }
    }
    out.push_str(&table.finish());
}

/// Machines side by side.
fn hardware(out: &mut String, all: &[Results], notes: &[String]) {
    out.push_str("<h2>Machines side by side</h2>");
    if !notes.is_empty() {
        out.push_str("<p><span class=\"badge open\">not the same</span></p><ul>");
        notes.iter().for_each(|n| {
            let _ = write!(out, "<li>{}</li>", escape(n));
        });
        out.push_str("</ul>");
    }
    let mut names: Vec<&str> = Vec::new();
    for w in all.iter().flat_map(|r| &r.workloads) {
        if !names.contains(&w.name.as_str()) {
            names.push(&w.name);
        }
    }
    for name in names {
        let mut variants: Vec<&str> = Vec::new();
        for c in all.iter().flat_map(|r| &r.cells).filter(|c| c.workload == name) {
            if !variants.contains(&c.variant.as_str()) {
                variants.push(&c.variant);
            }
        }
        let _ =
            write!(out, "<h3>{}</h3><p class=\"soft\">Milliseconds a case, end to end.</p>", escape(name));
        let columns = [("machine", true), ("profile", true)].into_iter();
        let columns: Vec<_> = columns.chain(variants.iter().map(|v| (*v, false))).collect();
        let mut table = Table::new(&columns);
        for r in all {
            for p in &r.spec.profiles {
                let mut row = vec![escape(&r.machine.cpu), escape(&p.name)];
                for v in &variants {
                    let cell = r
                        .cells
                        .iter()
                        .find(|c| (&*c.workload, &*c.variant, &c.profile) == (name, *v, &p.name));
                    row.push(match cell {
                        Some(c) if c.error.is_none() => ms(c.total_ms),
                        Some(_) => "failed".into(),
                        None => "–".into(),
                    });
                }
                table.row(&row);
            }
        }
        out.push_str(&table.finish());
    }
}

/// Milliseconds, as all tables show them.
fn ms(v: f64) -> String {
    match v {
        v if !v.is_finite() => "–".into(),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// A name with its colour.
fn key(series: usize, name: &str) -> String {
    format!("<span class=\"key\" style=\"background:{}\"></span>{}", colour(series), escape(name))
}

/// A difference with its sign; none is no negative one.
fn signed(v: f64) -> String {
    // Rounded first: what rounds to zero has no sign.
    format!("{:+.4}", (v * 1e4).round() / 1e4 + 0.0)
}

/// Plots side by side, where there are any.
fn grid(out: &mut String, figures: &str) {
    if !figures.is_empty() {
        let _ = write!(out, "<div class=\"grid2\">{figures}</div>");
    }
}

/// A plot with words below it.
fn figure(out: &mut String, picture: &str, words: &str) {
    let _ = write!(out, "<figure>{picture}<figcaption>{words}</figcaption></figure>");
}

/// Day of a time in seconds since 1970 (civil from days; Hinnant's algorithm).
fn date(seconds: u64) -> String {
    let z = (seconds / 86_400) as i64 + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + (month <= 2) as i64;
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_dates() {
        assert_eq!(super::date(0), "1970-01-01");
        assert_eq!(super::date(1_709_164_800), "2024-02-29");
        assert_eq!(super::date(1_795_651_200), "2026-11-26");
    }
}
