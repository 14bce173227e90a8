//! `ampoule evaluate`.

use super::{json, note, say, say_first};
use crate::args::{Evaluate, Global};
use crate::exit::{Code, Failure, Outcome};
use ampoule_eval::{Comparing, Evaluation, LikeMetrics, Metrics, Summary};
use std::path::Path;

pub fn run(g: &Global, a: &Evaluate) -> Outcome {
    let of_classes = a.predictions.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    in_vain(a, of_classes)?;
    let (predictions, truth, csv) = (&a.predictions, &a.truth, a.csv.as_deref());
    if of_classes {
        return classes(g, a);
    }
    if ampoule_eval::holds_tiles(predictions) {
        if a.like.is_some() {
            return Err(Failure::usage("--like is for NIfTI files; save the tiles as such"));
        }
        return tiles(g, a, csv);
    }
    let e = ampoule_eval::evaluate(predictions, truth, &comparing(a))?;
    e.notes.iter().for_each(note);
    if let Some(path) = csv {
        if path.exists() && !g.overwrite {
            return Err(Failure::usage(format!("{} exists; use --overwrite to replace it", path.display())));
        }
        ampoule_files::write_atomic(path, |out| out.write_all(e.to_csv().as_bytes()))
            .map_err(|x| Failure::usage(format!("{}: {x}", path.display())))?;
    }
    if g.json {
        json(&e)?;
        return Ok(left_out(&e.unpaired, &e.failed));
    }
    table(&e);
    match &e.total {
        Some(t) => say(summary(t)),
        None => e.labels.iter().for_each(|l| say(format!("label {}: {}", l.label, summary(&l.summary)))),
    }
    like(&e.like);
    name_left_out(&e.unpaired, &e.failed);
    Ok(left_out(&e.unpaired, &e.failed))
}

/// Metrics by another package's definitions, and their means over the cases that have one.
fn like(rows: &[LikeMetrics]) {
    let number = |v: Option<f64>| v.map_or("none".into(), |v| format!("{v:.4}"));
    for r in rows {
        let label = r.label.map_or(String::new(), |l| format!(" label {l}"));
        let values: Vec<String> = r.values.iter().map(|(n, v)| format!("{n} {}", number(*v))).collect();
        say(format!("{}{label}: {}", r.case, values.join(", ")));
    }
    for (i, (name, _)) in rows.first().iter().flat_map(|r| r.values.iter().enumerate()) {
        let all = rows.iter().filter_map(|r| r.values[i].1);
        let finite: Vec<f64> = all.filter(|v| v.is_finite()).collect();
        let mean = (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64);
        say(format!("{name}: mean {} of {} of {}", number(mean), finite.len(), rows.len()));
    }
}

/// Refuses options that do nothing for a table of classes, or for masks.
fn in_vain(a: &Evaluate, table: bool) -> Result<(), Failure> {
    let masks = [
        ("--groups", a.groups.is_some()),
        ("--instances", a.instances),
        ("--resample-truth", a.resample_truth),
        ("--like", a.like.is_some()),
    ];
    match (masks.iter().find(|m| m.1), a.reliability.is_some()) {
        (Some((option, _)), _) if table => {
            Err(Failure::usage(format!("{option} is for masks; a table of classes has a column `group`")))
        }
        (_, true) if !table => {
            Err(Failure::usage("--reliability is for classes; masks have no probabilities"))
        }
        (_, _) => Ok(()),
    }
}

/// How the command line says that files are compared.
fn comparing(a: &Evaluate) -> Comparing {
    Comparing {
        grouping: a.groups.clone(),
        instances: a.instances,
        like: a.like,
        resample_truth: a.resample_truth,
    }
}

/// A line for each case, and for each label where there are several.
fn table(e: &Evaluation) {
    let distance = |v: Option<f64>, m: &Metrics| distance(v, m.missed(), 2);
    let several = !e.labels.is_empty();
    let label = |text: &str| if several { format!("{text:>5} ") } else { String::new() };
    say(format!(
        "case                         {} Dice    IoU  HD95 mm  ASSD mm  within 1 mm  volume ml   ref. ml",
        label("label")
    ));
    for c in &e.cases {
        let m = &c.metrics;
        say(format!(
            "{:28} {}{:.4} {:.4} {:>8} {:>8} {:12.4} {:10.1} {:9.1}",
            c.case,
            label(&c.label.map_or(String::new(), |l| l.to_string())),
            m.dice,
            m.iou,
            distance(m.hd95_mm, m),
            distance(m.assd_mm, m),
            m.surface_dice_1mm,
            m.volume_ml,
            m.truth_ml
        ));
    }
}

/// A distance of a case; where only one of both is empty, which of them.
fn distance(v: Option<f64>, missed: bool, digits: usize) -> String {
    let none = if missed { "missed" } else { "no ref." };
    v.map_or(none.into(), |v| format!("{v:.digits$}"))
}

/// Number of cases that a mean leaves out or puts something in for, where there are any.
fn counted(n: usize, what: &str) -> String {
    if n > 0 { format!(", {n} {what}") } else { String::new() }
}

fn summary(t: &Summary) -> String {
    let distances = match (t.hd95_mm_mean, t.hd95_mm_max) {
        (Some(mean), Some(most)) => {
            let at_diagonal = match t.missed + t.false_positives {
                0 => String::new(),
                n => format!(" ({n} at the image's diagonal)"),
            };
            format!("HD95 mean {mean:.2}, most {most:.2} mm{at_diagonal}")
        }
        _ => "no HD95: no case with something in both".to_owned(),
    };
    let volumes = match t.volume_difference_percent {
        Some(v) => {
            let without = t.false_positives + t.absent;
            let of = if without > 0 { format!(" of {} cases", t.n - without) } else { String::new() };
            format!("volume off by {v:.2} %{of}")
        }
        None => "no volume difference: nothing in the ground truth".to_owned(),
    };
    format!(
        "{} cases{}, {} missed, {} false positive{}: Dice mean {:.4}{}, median {:.4}, least {:.4}; {distances}; {volumes}",
        t.n,
        if t.groups < t.n { format!(" in {} groups", t.groups) } else { String::new() },
        t.missed,
        t.false_positives,
        counted(t.absent, "with nothing in both (Dice 1)"),
        t.dice_mean,
        interval(t.dice_ci95),
        t.dice_median,
        t.dice_min,
    )
}

/// Files on one side only are counted and named.
fn name_left_out(unpaired: &[String], failed: &[String]) {
    say_first(
        failed
            .iter()
            .map(|f| format!("failed: {f}"))
            .chain(unpaired.iter().map(|u| format!("left out: {u}"))),
    );
    if !unpaired.is_empty() {
        say(format!("{} left out", unpaired.len()));
    }
}

/// The exit code: files that were left out are no success.
fn left_out(unpaired: &[String], failed: &[String]) -> Code {
    if unpaired.is_empty() && failed.is_empty() { Code::Done } else { Code::SomeFailed }
}

/// A 95 % interval as text; nothing where there is none.
fn interval(ends: Option<[f64; 2]>) -> String {
    ends.map_or(String::new(), |[low, high]| format!(" (95 % {low:.4} to {high:.4})"))
}

/// A table of classes against one of ground truth.
fn classes(g: &Global, a: &Evaluate) -> Outcome {
    if a.csv.is_some() {
        return Err(Failure::usage("--csv is for masks; classes have --json".to_owned()));
    }
    let e = ampoule_eval::classification(&a.predictions, &a.truth)?;
    if let (Some(path), Some(c)) = (a.reliability.as_deref(), &e.calibration) {
        if path.exists() && !g.overwrite {
            return Err(Failure::usage(format!("{} exists; use --overwrite to replace it", path.display())));
        }
        super::study::write(path, c.to_svg().as_bytes())?;
    }
    if g.json {
        json(&e)?;
        return Ok(left_out(&e.unpaired, &[]));
    }
    let t = &e.total;
    let number = |v: Option<f64>| v.map_or("undefined".into(), |v| format!("{v:.4}"));
    let range = |ends: Option<[f64; 2]>| match ends {
        Some([low, high]) => format!("95 % {low:.4} to {high:.4}"),
        None => "no interval: too few groups, or all alike".to_owned(),
    };
    say(format!("{} photos in {} groups", t.n, t.groups));
    say(format!("accuracy           {:.4} ({})", t.accuracy, range(t.accuracy_ci95)));
    say(format!("balanced accuracy  {:.4} ({})", t.balanced_accuracy, range(t.balanced_accuracy_ci95)));
    say(format!("macro F1           {:.4} ({})", t.macro_f1, range(t.macro_f1_ci95)));
    say(format!("AUROC              {} ({})", number(t.auroc), range(t.auroc_ci95)));
    say(format!("PR-AUC             {}", number(t.pr_auc)));
    say(format!("calibration error  {:.4}, Brier {:.4}", t.calibration_error, t.brier));
    if let Some(c) = &e.calibration {
        say(match c.at_end {
            true => format!(
                "temperature        none: these photos are too few, or too many of them right, to fit one; calibration error {:.4}, log loss \
                 {:.4}",
                c.error[0], c.log_loss[0]
            ),
            false => format!(
                "temperature        {:.3} (fitted on these photos): calibration error {:.4} before, {:.4} after; log loss {:.4}, {:.4}",
                c.temperature, c.error[0], c.error[1], c.log_loss[0], c.log_loss[1]
            ),
        });
    }
    say("class                 photos  sensitivity  specificity  precision      F1   AUROC  predicted");
    for (c, m) in t.classes.iter().enumerate() {
        let predicted: Vec<String> = t.confusion[c].iter().map(usize::to_string).collect();
        say(format!(
            "{:20} {:7} {:>12} {:>12} {:>10} {:7.4} {:>7}  {}",
            m.name,
            m.n,
            number(m.sensitivity),
            number(m.specificity),
            number(m.precision),
            m.f1,
            number(m.auroc),
            predicted.join(" ")
        ));
    }
    name_left_out(&e.unpaired, &[]);
    Ok(left_out(&e.unpaired, &[]))
}

/// Label maps against ground truth.
fn tiles(g: &Global, a: &Evaluate, csv: Option<&Path>) -> Outcome {
    if csv.is_some() {
        return Err(Failure::usage("--csv is for masks; label maps have --json".to_owned()));
    }
    let e = ampoule_eval::tiles(&a.predictions, &a.truth, &comparing(a))?;
    e.notes.iter().for_each(note);
    if g.json {
        json(&e)?;
        return Ok(left_out(&e.unpaired, &e.failed));
    }
    say(
        "tile                         class    Dice    IoU  HD95 px  objects matched/reference/predicted  F1",
    );
    for t in &e.tiles {
        let [reference, predicted, matched] = t.objects;
        say(format!(
            "{:28} {:5} {:7.4} {:6.4} {:>8} {:>36} {:.4}",
            t.tile,
            t.class,
            t.dice,
            t.iou,
            distance(t.hd95_px, t.missed(), 1),
            format!("{matched}/{reference}/{predicted}"),
            t.object_f1
        ));
    }
    for c in &e.total {
        say(format!(
            "class {}: {} tiles{}, {} missed, {} false positive{}, Dice mean {:.4}{}, least {:.4}, IoU mean {:.4}{}, HD95 median {}, object F1 {:.4}{}",
            c.class,
            c.n,
            if c.groups < c.n { format!(" in {} groups", c.groups) } else { String::new() },
            c.missed,
            c.false_positives,
            counted(c.absent, "with nothing in both (Dice 1)"),
            c.dice_mean,
            interval(c.dice_ci95),
            c.dice_min,
            c.iou_mean,
            interval(c.iou_ci95),
            c.hd95_px_median.map_or("none".into(), |v| format!("{v:.1} px")),
            c.object_f1,
            interval(c.object_f1_ci95)
        ));
    }
    name_left_out(&e.unpaired, &e.failed);
    Ok(left_out(&e.unpaired, &e.failed))
}
