//! What is wrong with options beside each other and the data there is. Which options have an effect only with others is a
//! table, so that none is accepted and does nothing.

use crate::data::Data;
use crate::mixed_precision::Precision;
use crate::options::Options;
use crate::options_error::OptionsError;
use crate::prune::Share;
use crate::quantize::Preset;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Options that do something only where `holds`.
struct Rule {
    options: &'static [&'static str],
    holds: fn(&Options, &Data) -> bool,
    otherwise: Otherwise,
}

/// What is said where a rule's options are given in vain.
enum Otherwise {
    /// Another option is missing; why, where that is not plain.
    Needs(&'static str, Option<&'static str>),
    /// Another option is in the way.
    NoEffect(&'static str),
}

use Otherwise::{Needs, NoEffect};

const BETWEEN: &str = "the steps are there for training between them";
const KEPT: &str = "Winograd INT8 is kept only within limits";
const FLOAT: &str = "with --precision fp32 or bf16 nothing is quantized";
const LEARNED: &str = "--qat learns the quantizers itself";
const FIXED: &str =
    "the weight of distillation is against that of labels, so that it takes --labels and --teacher";
const UNTAUGHT: &str = "without --teacher the network learns from the labels alone";
const EVERY: &str = "--precision auto with --validate takes every layer (--preset all)";
const UNCALIBRATED: &str = "with --precision fp32 or bf16 and no training nothing is calibrated";

/// All rules. The first that is broken is told.
const RULES: &[Rule] = &[
    Rule {
        options: &["labels", "teacher", "student", "features", "qat", "distill", "temperature", "on-logits"],
        holds: |_, d| d.finetune.is_some(),
        otherwise: Needs("finetune", None),
    },
    Rule { options: &["learn-scales", "qat-epochs"], holds: |o, _| o.qat.qat, otherwise: Needs("qat", None) },
    Rule {
        options: &["global", "importance", "keep-weights", "prune-steps", "force"],
        holds: |o, _| o.prune.prune.is_some(),
        otherwise: Needs("prune", None),
    },
    Rule {
        options: &["speedup"],
        holds: |o, _| o.prune.prune == Some(Share::Auto),
        otherwise: Needs("prune auto", None),
    },
    Rule {
        options: &["global"],
        holds: |o, _| o.prune.prune != Some(Share::Auto),
        otherwise: NoEffect("--prune auto chooses the share of each layer by the time that it takes"),
    },
    Rule {
        options: &["epochs", "rate", "optimizer", "schedule", "decay", "augment", "patience", "mixed"],
        holds: |_, d| d.finetune.is_some(),
        otherwise: Needs("finetune", None),
    },
    Rule {
        options: &["prune-steps"],
        holds: |_, d| d.finetune.is_some(),
        otherwise: Needs("finetune", Some(BETWEEN)),
    },
    // Pruning draws batches too, for what it measures on them.
    Rule {
        options: &["batch", "patch", "steps", "seed"],
        holds: |o, d| o.trains(d),
        otherwise: Needs("finetune", None),
    },
    Rule {
        options: &["distill"],
        holds: |o, d| d.labels.is_some() && o.distill.teacher.is_some(),
        otherwise: NoEffect(FIXED),
    },
    Rule {
        options: &["temperature", "on-logits", "features"],
        holds: |o, d| o.distill.teacher.is_some() || d.labels.is_none(),
        otherwise: NoEffect(UNTAUGHT),
    },
    Rule { options: &["truth"], holds: |_, d| d.validate.is_some(), otherwise: Needs("validate", None) },
    Rule {
        options: &["resample-truth"],
        holds: |_, d| d.truth.is_some() || d.labels.is_some(),
        otherwise: Needs("truth", None),
    },
    Rule {
        options: &["winograd"],
        holds: |_, d| d.validate.is_some(),
        otherwise: Needs("validate", Some(KEPT)),
    },
    Rule {
        options: &["winograd", "rounding", "equalize", "keep-bias", "preset", "calibration-method"],
        holds: |o, _| o.precision.precision.quantizes(),
        otherwise: NoEffect(FLOAT),
    },
    Rule {
        options: &["winograd", "rounding", "equalize", "keep-bias"],
        holds: |o, _| !o.qat.qat,
        otherwise: NoEffect(LEARNED),
    },
    Rule {
        options: &["preset"],
        holds: |o, d| {
            let all = o.precision.precision == Precision::Auto && d.validate.is_some();
            !(all && o.int8.preset == Preset::Performance)
        },
        otherwise: NoEffect(EVERY),
    },
    Rule {
        options: &["calibrate"],
        holds: |o, d| o.precision.precision.quantizes() || o.trains(d),
        otherwise: NoEffect(UNCALIBRATED),
    },
];

impl Options {
    /// Checks the options against each other and against the data there is.
    pub fn check(&self, data: &Data) -> Result<(), OptionsError> {
        self.check_given(data, &BTreeSet::new())
    }

    /// The same where more is known to be given, by its name: what stands there with the value of a default is told from
    /// what does not stand there.
    pub fn check_given(&self, data: &Data, given: &BTreeSet<String>) -> Result<(), OptionsError> {
        self.check_ranges()?;
        if self.distill.student.is_some() && self.prune.prune.is_some() {
            let why = "a student replaces the network, pruning makes it smaller";
            return Err(OptionsError::Conflict { first: "student", second: "prune", why });
        }
        let precision = self.precision.precision;
        if self.qat.qat && precision != Precision::Int8 {
            let why = "quantization-aware training makes INT8";
            return Err(OptionsError::Conflict { first: "qat", second: "precision", why });
        }
        let mut all = self.changed();
        all.extend(given.iter().cloned());
        let data_given = [
            ("labels", data.labels.is_some()),
            ("truth", data.truth.is_some()),
            ("resample-truth", data.resample_truth),
        ];
        all.extend(data_given.iter().filter(|d| d.1).map(|d| d.0.to_owned()));
        in_vain(self, data, &all)?;
        let judged = data.validate.is_some() || data.finetune.is_some();
        if self.prune.removes_half() && !judged && !self.prune.force {
            return Err(OptionsError::Unjudged);
        }
        let calibrates = precision.quantizes() || self.trains(data);
        if calibrates && data.calibrate.is_none() && data.finetune.is_none() {
            return Err(OptionsError::NoCalibration);
        }
        Ok(())
    }

    /// Names of the options that have another value than their default.
    fn changed(&self) -> BTreeSet<String> {
        let table = |o: &Options| match serde_json::to_value(o) {
            Ok(Value::Object(table)) => table,
            // Options are a table; the tests write and read it.
            _ => Map::new(),
        };
        let default = table(&Options::default());
        let own = table(self).into_iter();
        own.filter(|(k, v)| default.get(k) != Some(v)).map(|(k, _)| k).collect()
    }

    fn check_ranges(&self) -> Result<(), OptionsError> {
        let within = |n: Option<u32>, least: u32, most: u32| n.is_none_or(|n| (least..=most).contains(&n));
        let (p, f, d) = (&self.prune, &self.finetune, &self.distill);
        let faster = p.prune != Some(Share::Auto) || (p.speedup > 1.0 && p.speedup <= 100.0);
        let checks = [
            (faster, "speedup", "above 1 and at most 100"),
            (within(p.prune_steps.map(u32::from), 1, 20), "prune-steps", "1 to 20"),
            (f.rate.is_none_or(|r| r > 0.0 && r <= 10.0), "rate", "above 0 and at most 10"),
            ((0.0..=1.0).contains(&f.decay), "decay", "0 to 1"),
            (within(f.batch.map(u32::from), 1, 1024), "batch", "1 to 1024"),
            (within(f.patch.map(u32::from), 8, 4096), "patch", "8 to 4096"),
            (within(f.steps, 1, 100_000), "steps", "1 to 100000"),
            ((0.0..=1.0).contains(&d.distill), "distill", "0 to 1"),
            (d.temperature > 0.0 && d.temperature <= 100.0, "temperature", "above 0 and at most 100"),
        ];
        match checks.into_iter().find(|c| !c.0) {
            Some((_, option, range)) => Err(OptionsError::Range { option, range }),
            None => Ok(()),
        }
    }
}

/// The first of the options `given` that does nothing beside the others.
fn in_vain(o: &Options, data: &Data, given: &BTreeSet<String>) -> Result<(), OptionsError> {
    for rule in RULES.iter().filter(|r| !(r.holds)(o, data)) {
        let Some(&option) = rule.options.iter().find(|name| given.contains(**name)) else { continue };
        return Err(match rule.otherwise {
            Needs(needs, why) => OptionsError::Needs { option, needs, why },
            NoEffect(why) => OptionsError::NoEffect { option, why },
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn parsed(text: &str) -> Result<Options, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn contradictions_are_found() {
        let some = || Some(PathBuf::from("x"));
        let all = Data { calibrate: some(), validate: some(), finetune: some(), ..Data::default() };
        let calibrated = Data { calibrate: some(), ..Data::default() };
        let labelled = Data { labels: some(), ..all.clone() };
        for (text, data, says) in [
            (r#"{"prune": 0.5, "student": "unet-8"}"#, &all, "choose one of --student and --prune"),
            (r#"{"qat": true}"#, &calibrated, "--qat needs --finetune"),
            (r#"{"qat": true, "precision": "fp32"}"#, &all, "choose one of --qat and --precision"),
            (r#"{"learn-scales": true}"#, &all, "--learn-scales needs --qat"),
            (r#"{"winograd": true}"#, &calibrated, "--winograd needs --validate"),
            (r#"{"rounding": "adaptive", "qat": true}"#, &all, "--rounding has no effect"),
            (r#"{"equalize": true, "precision": "bf16"}"#, &all, "--equalize has no effect"),
            (r#"{"qat": true, "precision": "auto"}"#, &all, "choose one of --qat and --precision"),
            (r#"{"epochs": 3}"#, &calibrated, "--epochs needs --finetune"),
            (r#"{"seed": 2}"#, &calibrated, "--seed needs --finetune"),
            (r#"{"qat-epochs": 2}"#, &all, "--qat-epochs needs --qat"),
            (r#"{"prune": 0.5}"#, &calibrated, "give --validate FOLDER, or --force"),
            (r#"{"prune": "auto", "speedup": 4.0}"#, &calibrated, "or --force"),
            (r#"{"force": true}"#, &calibrated, "--force needs --prune"),
            (r#"{"prune": 0.5, "prune-steps": 2}"#, &calibrated, "--prune-steps needs --finetune"),
            (r#"{"importance": "l2"}"#, &all, "--importance needs --prune"),
            (r#"{"prune": 0.5, "speedup": 3.0}"#, &all, "--speedup needs --prune auto"),
            (r#"{"prune": "auto", "global": true}"#, &all, "--global has no effect"),
            (r#"{"precision": "bf16", "preset": "all"}"#, &calibrated, "--preset has no effect"),
            (
                r#"{"precision": "fp32", "calibration-method": "kl"}"#,
                &all,
                "--calibration-method has no effect",
            ),
            (r#"{"temperature": 3.0}"#, &calibrated, "--temperature needs --finetune"),
            (r#"{"temperature": 3.0}"#, &labelled, "--temperature has no effect"),
            (r#"{"distill": 0.3}"#, &all, "--distill has no effect"),
            (r#"{"prune": "auto", "speedup": 1.0}"#, &calibrated, "--speedup must be above 1"),
            (r#"{"distill": 1.5}"#, &labelled, "--distill must be 0 to 1"),
            (r#"{"patch": 4}"#, &all, "--patch must be 8"),
            (r#"{}"#, &Data::default(), "give --calibrate"),
        ] {
            let e = parsed(text).unwrap().check(data).unwrap_err().to_string();
            assert!(e.contains(says), "{text}: {e}");
        }
        parsed(r#"{"precision": "fp32"}"#).unwrap().check(&Data::default()).unwrap();
        parsed(r#"{"prune": "auto"}"#).unwrap().check(&calibrated).unwrap();
        parsed(r#"{"prune": 0.5, "seed": 2, "force": true}"#).unwrap().check(&calibrated).unwrap();
        parsed(r#"{"teacher": "original", "distill": 0.3}"#).unwrap().check(&labelled).unwrap();
    }

    #[test]
    fn what_was_typed_with_the_value_of_a_default_counts_as_given() {
        let some = || Some(PathBuf::from("x"));
        let data = Data { calibrate: some(), ..Data::default() };
        let typed = |name: &str| BTreeSet::from([name.to_owned()]);
        let e = Options::default().check_given(&data, &typed("epochs")).unwrap_err().to_string();
        assert!(e.contains("--epochs needs --finetune"), "{e}");
        let float = parsed(r#"{"precision": "fp32"}"#).unwrap();
        float.check(&data).unwrap();
        let e = float.check_given(&data, &typed("calibrate")).unwrap_err().to_string();
        assert!(e.contains("--calibrate has no effect"), "{e}");
        let auto = parsed(r#"{"precision": "auto"}"#).unwrap();
        let validated = Data { validate: some(), ..data };
        assert!(auto.check_given(&validated, &typed("preset")).is_err());
    }

    #[test]
    fn rules_name_options_that_there_are() {
        use clap::CommandFactory;
        let command = <Line as CommandFactory>::command();
        let known = |name: &str| {
            ["labels", "truth", "calibrate", "resample-truth", "groups"].contains(&name)
                || command.get_arguments().any(|a| a.get_long() == Some(name))
        };
        for name in RULES.iter().flat_map(|r| r.options) {
            assert!(known(name), "{name}");
        }
    }
}
