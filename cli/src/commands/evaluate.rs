//! `ampoule evaluate`.

use super::{json, say};
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use std::path::Path;

pub fn run(g: &Global, predictions: &Path, truth: &Path, csv: Option<&Path>) -> Outcome {
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
    say(format!(
        "{} cases, {} missed: Dice mean {:.4}, median {:.4}, least {:.4}; HD95 mean {:.2}, most {:.2} mm; volume off by {:.2} %",
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
