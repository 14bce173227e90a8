//! What `ampoule optimize` says of pruning and training.

use super::super::say;
use ampoule_optimize::TrainingReport;

/// Says what was done.
pub fn tell(t: &TrainingReport) {
    for f in &t.frozen {
        say(format!("not pruned: {}: {}", f.layer, f.reason));
    }
    let [before, after] = t.channels.iter().fold([0, 0], |s, c| [s[0] + c.channels[0], s[1] + c.channels[1]]);
    if !t.channels.is_empty() {
        say(format!("channels: {after} of {before} in {} groups of layers", t.channels.len()));
    }
    t.notes.iter().for_each(|n| say(format!("note: {n}")));
    if !t.replaces.is_empty() {
        say(format!("the network takes the place of the average of {}", t.replaces.join(", ")));
    }
    let share = |[a, b]: [f64; 2]| if a > 0.0 { 100.0 * b / a } else { 100.0 };
    say(format!(
        "parameters: {} of {} ({:.1} %); a patch: {:.2} of {:.2} G multiplications ({:.1} %), {:.1} ms after {:.1} ms",
        t.parameters[1],
        t.parameters[0],
        share(t.parameters.map(|v| v as f64)),
        t.macs[1] as f64 / 1e9,
        t.macs[0] as f64 / 1e9,
        share(t.macs.map(|v| v as f64)),
        t.patch_ms[1],
        t.patch_ms[0],
    ));
    for e in &t.epochs {
        let metric = e.metric.map_or_else(String::new, |m| format!(", {m:.4} on validation"));
        match e.loss {
            Some(loss) => {
                say(format!("{}, epoch {}: loss {loss:.4}{metric} ({:.0} s)", e.phase, e.epoch, e.seconds));
            }
            None if !metric.is_empty() => say(format!("{}, at first{metric}", e.phase)),
            None => {}
        }
    }
    match t.trained() {
        true => say(format!("trained on {} cases in {:.0} s", t.cases[0], t.seconds)),
        false => say(format!("pruned with {} cases in {:.0} s, not trained", t.cases[0], t.seconds)),
    }
}
