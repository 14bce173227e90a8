//! The part of `ampoule optimize` that prunes and trains.

use super::super::{open, say};
use crate::args::{Global, TrainingArgs};
use crate::exit::Failure;
use ampoule_compress::prune::Importance;
use ampoule_pipeline::RECIPE_KEY;
use ampoule_study::training::{Amount, Augment, Prune, Trained, Training, Tutor};
use ampoule_train::{Kind, Schedule};

/// What is asked for, if anything is.
pub fn plan(g: &Global, a: &TrainingArgs) -> Result<Option<Training>, Failure> {
    if a.finetune.is_none() && a.prune.is_none() {
        return Ok(None);
    }
    let usage = |what: &str| Failure::usage(what.to_owned());
    if a.student.is_some() && a.prune.is_some() {
        return Err(usage("--student replaces the network, --prune makes it smaller; choose one"));
    }
    if !(0.0..=1.0).contains(&a.distill) {
        return Err(usage("--distill must be 0 to 1"));
    }
    if !(a.temperature > 0.0 && a.temperature <= 100.0) {
        return Err(usage("--temperature must be above 0 and at most 100"));
    }
    if a.rate.is_some_and(|r| !(r > 0.0 && r <= 10.0)) || !(0.0..=1.0).contains(&a.decay) {
        return Err(usage("--rate must be above 0 and at most 10, --decay 0 to 1"));
    }
    let prune = a.prune.as_deref().map(|text| amount(text, a)).transpose()?.map(|amount| Prune {
        amount,
        importance: Importance::parse(&a.importance).unwrap_or(Importance::Median),
        steps: a.prune_steps.map_or(if a.finetune.is_some() { 3 } else { 1 }, usize::from),
        reconstruct: !a.keep_weights,
    });
    let tutor = match a.teacher.as_deref() {
        None => None,
        Some("original") => Some(Tutor::Original),
        Some(model) => {
            let opened = open(g, model)?;
            let recipe = opened.graph.meta(RECIPE_KEY).map(str::to_owned).or(opened.recipe);
            let recipe = recipe.ok_or_else(|| {
                Failure::input(format!("{model}: it carries no recipe, so it cannot be a teacher"))
            })?;
            Some(Tutor::Model { graph: Box::new(opened.graph), recipe, sha256: opened.sha256 })
        }
    };
    let sgd = a.optimizer == "sgd";
    let usual = match (sgd, &a.student) {
        (true, _) => 0.01,
        (_, Some(_)) => 1e-3,
        _ => 3e-4,
    };
    Ok(Some(Training {
        data: a.finetune.clone(),
        labels: a.labels.clone(),
        tutor,
        student: a.student.clone(),
        prune,
        quantized: a.qat,
        learn_scales: a.learn_scales,
        epochs: a.epochs.into(),
        quantized_epochs: a.qat_epochs.into(),
        rate: a.rate.unwrap_or(usual),
        batch: a.batch.map(usize::from),
        patch: a.patch.map(usize::from),
        steps: a.steps.map(|n| n as usize),
        optimizer: match a.optimizer.as_str() {
            "sgd" => Kind::SGD,
            "adam" => Kind::ADAM,
            _ => Kind::ADAMW,
        },
        schedule: match a.schedule.as_str() {
            "step" => Schedule::Step { every: 0, factor: 0.1 },
            "constant" => Schedule::Constant,
            _ => Schedule::Cosine,
        },
        decay: a.decay,
        distill: a.distill,
        temperature: a.temperature,
        on_logits: a.on_logits,
        features: a.features.clone(),
        augment: Augment::parse(&a.augment).unwrap_or(Augment::Light),
        seed: a.seed,
        patience: usize::from(a.patience).max(1),
        mixed: a.mixed,
        ..Training::default()
    }))
}

/// How much `--prune` takes away.
fn amount(text: &str, a: &TrainingArgs) -> Result<Amount, Failure> {
    if text == "auto" {
        if !(a.speedup > 1.0 && a.speedup <= 100.0) {
            return Err(Failure::usage("--speedup must be above 1 and at most 100".to_owned()));
        }
        return Ok(Amount::Faster(a.speedup));
    }
    let ratio: f64 =
        text.parse().map_err(|_| Failure::usage(format!("--prune {text}: a share such as 0.5, or auto")))?;
    if ratio == 0.0 {
        return Err(Failure::usage("--prune 0 prunes nothing; leave it out".to_owned()));
    }
    if !(ratio > 0.0 && ratio < 1.0) {
        let message =
            format!("--prune {text}: the share must be above 0 and below 1; 1 would prune everything");
        return Err(Failure::usage(message));
    }
    Ok(if a.global { Amount::Global(ratio) } else { Amount::Each(ratio) })
}

/// Says what was done.
pub fn tell(t: &Trained) {
    for f in &t.frozen {
        say(format!("not pruned: {}: {}", f.layer, f.reason));
    }
    let [before, after] = t.channels.iter().fold([0, 0], |s, c| [s[0] + c.channels[0], s[1] + c.channels[1]]);
    if !t.channels.is_empty() {
        say(format!("channels: {after} of {before} in {} groups of layers", t.channels.len()));
    }
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
    say(format!("trained on {} cases in {:.0} s", t.cases[0], t.seconds));
}
