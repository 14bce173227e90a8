//! `ampoule evaluate`.

use super::{json, say};
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use std::path::Path;

pub fn run(g: &Global, predictions: &Path, truth: &Path, csv: Option<&Path>) -> Outcome {
    if predictions.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
        return classes(g, predictions, truth, csv);
    }
    if ampoule_study::holds_tiles(predictions) {
        return tiles(g, predictions, truth, csv);
    }
    let e = ampoule_study::evaluate(predictions, truth)?;
    if let Some(path) = csv {
        if path.exists() && !g.overwrite {
            return Err(Failure::usage(format!("{} exists; use --overwrite to replace it", path.display())));
        }
        ampoule_imaging::nifti::write_atomic(path, |out| out.write_all(e.to_csv().as_bytes()))
            .map_err(|x| Failure::usage(format!("{}: {x}", path.display())))?;
    }
    if g.json {
        json(&e)?;
        return Ok(Code::Done);
    }
    let distance = |v: Option<f64>| v.map_or("missed".into(), |v| format!("{v:.2}"));
    say("case                          Dice    IoU  HD95 mm  ASSD mm  within 1 mm  volume ml  truth ml");
    for c in &e.cases {
        let m = &c.metrics;
        say(format!(
            "{:28} {:.4} {:.4} {:>8} {:>8} {:12.4} {:10.1} {:9.1}",
            c.case,
            m.dice,
            m.iou,
            distance(m.hd95_mm),
            distance(m.assd_mm),
            m.surface_dice_1mm,
            m.volume_ml,
            m.truth_ml
        ));
    }
    let t = &e.total;
    let range = interval(t.dice_ci95);
    say(format!(
        "{} cases, {} missed: Dice mean {:.4}{range}, median {:.4}, least {:.4}; HD95 mean {:.2}, most {:.2} mm; volume off by {:.2} %",
        t.n,
        t.missed,
        t.dice_mean,
        t.dice_median,
        t.dice_min,
        t.hd95_mm_mean,
        t.hd95_mm_max,
        t.volume_difference_percent
    ));
    for u in &e.unpaired {
        say(format!("left out: {u}"));
    }
    Ok(Code::Done)
}

/// A 95 % interval in words; nothing where there is none.
fn interval(ends: Option<[f64; 2]>) -> String {
    ends.map_or(String::new(), |[low, high]| format!(" (95 % {low:.4} to {high:.4})"))
}

/// A table of classes against one of truth.
fn classes(g: &Global, predictions: &Path, truth: &Path, csv: Option<&Path>) -> Outcome {
    if csv.is_some() {
        return Err(Failure::usage("--csv is for masks; classes have --json".to_owned()));
    }
    let e = ampoule_study::classification(predictions, truth)?;
    if g.json {
        json(&e)?;
        return Ok(Code::Done);
    }
    let t = &e.total;
    let number = |v: Option<f64>| v.map_or("undefined".into(), |v| format!("{v:.4}"));
    let range = |[low, high]: [f64; 2]| format!("95 % {low:.4} to {high:.4}");
    say(format!("{} photos in {} groups", t.n, t.groups));
    say(format!("accuracy           {:.4} ({})", t.accuracy, range(t.accuracy_ci95)));
    say(format!("balanced accuracy  {:.4} ({})", t.balanced_accuracy, range(t.balanced_accuracy_ci95)));
    say(format!("macro F1           {:.4} ({})", t.macro_f1, range(t.macro_f1_ci95)));
    let interval = t.auroc_ci95.map_or(String::new(), |i| format!(" ({})", range(i)));
    say(format!("AUROC              {}{interval}", number(t.auroc)));
    say(format!("PR-AUC             {}", number(t.pr_auc)));
    say(format!("calibration error  {:.4}, Brier {:.4}", t.calibration_error, t.brier));
    say("class                 photos  sensitivity  specificity  precision      F1   AUROC  called");
    for (c, m) in t.classes.iter().enumerate() {
        let called: Vec<String> = t.confusion[c].iter().map(usize::to_string).collect();
        say(format!(
            "{:20} {:7} {:>12} {:>12} {:>10} {:7.4} {:>7}  {}",
            m.name,
            m.n,
            number(m.sensitivity),
            number(m.specificity),
            number(m.precision),
            m.f1,
            number(m.auroc),
            called.join(" ")
        ));
    }
    for u in &e.unpaired {
        say(format!("left out: {u}"));
    }
    Ok(Code::Done)
}

/// Label maps against truth.
fn tiles(g: &Global, predictions: &Path, truth: &Path, csv: Option<&Path>) -> Outcome {
    if csv.is_some() {
        return Err(Failure::usage("--csv is for masks; label maps have --json".to_owned()));
    }
    let e = ampoule_study::tiles(predictions, truth)?;
    if g.json {
        json(&e)?;
        return Ok(Code::Done);
    }
    let distance = |v: Option<f64>| v.map_or("missed".into(), |v| format!("{v:.1}"));
    say("tile                         class    Dice    IoU  HD95 px  objects found/truth/called  F1");
    for t in &e.tiles {
        let [truth, called, found] = t.objects;
        say(format!(
            "{:28} {:5} {:7.4} {:6.4} {:>8} {:>27} {:.4}",
            t.tile,
            t.class,
            t.dice,
            t.iou,
            distance(t.hd95_px),
            format!("{found}/{truth}/{called}"),
            t.object_f1
        ));
    }
    for c in &e.total {
        say(format!(
            "class {}: {} tiles, Dice mean {:.4}{}, least {:.4}, IoU mean {:.4}{}, HD95 median {} px, object F1 {:.4}{}",
            c.class,
            c.n,
            c.dice_mean,
            interval(c.dice_ci95),
            c.dice_min,
            c.iou_mean,
            interval(c.iou_ci95),
            distance(c.hd95_px_median),
            c.object_f1,
            interval(c.object_f1_ci95)
        ));
    }
    for u in &e.unpaired {
        say(format!("left out: {u}"));
    }
    Ok(Code::Done)
}
