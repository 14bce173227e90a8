//! All options of `optimize`: one type for each technique, the same on the command line and in study files.

use crate::data::Data;
use crate::distill::DistillOptions;
use crate::equalization::EqualizationOptions;
use crate::finetune::{FinetuneOptions, QatOptions};
use crate::int8::Int8Options;
use crate::mixed_precision::PrecisionOptions;
use crate::options_error::OptionsError;
use crate::prune::{PruneOptions, Share};
use crate::rounding::{Rounding, RoundingOptions};
use crate::winograd_int8::WinogradOptions;
use clap::Args;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// What to do with a network. Names of options are those of the command line, without the dashes in front.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize)]
pub struct Options {
    /// What the network computes in.
    #[command(flatten)]
    #[serde(flatten)]
    pub precision: PrecisionOptions,
    /// Post-training quantization.
    #[command(flatten)]
    #[serde(flatten)]
    pub int8: Int8Options,
    /// Rounding of weights.
    #[command(flatten)]
    #[serde(flatten)]
    pub rounding: RoundingOptions,
    /// Cross-layer equalization.
    #[command(flatten)]
    #[serde(flatten)]
    pub equalization: EqualizationOptions,
    /// Winograd INT8.
    #[command(flatten)]
    #[serde(flatten)]
    pub winograd: WinogradOptions,
    /// Pruning.
    #[command(flatten)]
    #[serde(flatten)]
    pub prune: PruneOptions,
    /// Fine-tuning.
    #[command(flatten)]
    #[serde(flatten)]
    pub finetune: FinetuneOptions,
    /// Quantization-aware training.
    #[command(flatten)]
    #[serde(flatten)]
    pub qat: QatOptions,
    /// Distillation.
    #[command(flatten)]
    #[serde(flatten)]
    pub distill: DistillOptions,
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(d)?;
        let mut known = Vec::new();
        let options = Options {
            precision: take(&mut map, &mut known).map_err(D::Error::custom)?,
            int8: take(&mut map, &mut known).map_err(D::Error::custom)?,
            rounding: take(&mut map, &mut known).map_err(D::Error::custom)?,
            equalization: take(&mut map, &mut known).map_err(D::Error::custom)?,
            winograd: take(&mut map, &mut known).map_err(D::Error::custom)?,
            prune: take(&mut map, &mut known).map_err(D::Error::custom)?,
            finetune: take(&mut map, &mut known).map_err(D::Error::custom)?,
            qat: take(&mut map, &mut known).map_err(D::Error::custom)?,
            distill: take(&mut map, &mut known).map_err(D::Error::custom)?,
        };
        match map.keys().next() {
            Some(unknown) => {
                let known: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
                let text = format!("unknown field `{unknown}`, expected one of {}", known.join(", "));
                Err(D::Error::custom(text))
            }
            None => Ok(options),
        }
    }
}

/// Takes the options of one technique out of `map`, and adds their names to `known`.
fn take<T: DeserializeOwned + Serialize + Default>(
    map: &mut Map<String, Value>,
    known: &mut Vec<String>,
) -> Result<T, serde_json::Error> {
    let Value::Object(own) = serde_json::to_value(T::default())? else {
        return Err(serde_json::Error::custom("options of a technique are a table"));
    };
    let given = own.keys().filter_map(|k| map.remove_entry(k)).collect();
    known.extend(own.into_iter().map(|(k, _)| k));
    serde_json::from_value(Value::Object(given))
}

impl Options {
    /// Whether the network is pruned or trained before it is quantized.
    pub fn trains(&self, data: &Data) -> bool {
        data.finetune.is_some() || self.prune.prune.is_some()
    }

    /// Checks the options against each other and against the data there is.
    pub fn check(&self, data: &Data) -> Result<(), OptionsError> {
        self.check_ranges()?;
        self.check_needs(data)?;
        if self.distill.student.is_some() && self.prune.prune.is_some() {
            let why = "a student replaces the network, pruning makes it smaller";
            return Err(OptionsError::Conflict { first: "student", second: "prune", why });
        }
        let precision = self.precision.precision;
        if self.qat.qat && !precision.quantizes() {
            let why = "quantization-aware training makes INT8";
            return Err(OptionsError::Conflict { first: "qat", second: "precision", why });
        }
        let calibrates = precision.quantizes() || self.trains(data);
        if calibrates && data.calibrate.is_none() && data.finetune.is_none() {
            return Err(OptionsError::NoCalibration);
        }
        self.check_effect()
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

    fn check_needs(&self, data: &Data) -> Result<(), OptionsError> {
        let (p, d, q) = (&self.prune, &self.distill, &self.qat);
        let finetune = data.finetune.is_some();
        let kept = Some("Winograd INT8 is kept only within limits");
        let checks = [
            (data.labels.is_some(), finetune, "labels", "finetune", None),
            (d.teacher.is_some(), finetune, "teacher", "finetune", None),
            (d.student.is_some(), finetune, "student", "finetune", None),
            (!d.features.is_empty(), finetune, "features", "finetune", None),
            (q.qat, finetune, "qat", "finetune", None),
            (q.learn_scales, q.qat, "learn-scales", "qat", None),
            (p.global, p.prune.is_some(), "global", "prune", None),
            (p.prune_steps.is_some(), p.prune.is_some(), "prune-steps", "prune", None),
            (p.keep_weights, p.prune.is_some(), "keep-weights", "prune", None),
            (data.truth.is_some(), data.validate.is_some(), "truth", "validate", None),
            (self.winograd.winograd, data.validate.is_some(), "winograd", "validate", kept),
        ];
        match checks.into_iter().find(|c| c.0 && !c.1) {
            Some((_, _, option, needs, why)) => Err(OptionsError::Needs { option, needs, why }),
            None => Ok(()),
        }
    }

    /// Refuses options of post-training quantization where nothing is quantized after training.
    fn check_effect(&self) -> Result<(), OptionsError> {
        let why = match (self.precision.precision.quantizes(), self.qat.qat) {
            (false, _) => "with --precision fp32 or bf16 nothing is quantized",
            (_, true) => "--qat learns the quantizers itself",
            _ => return Ok(()),
        };
        let given = [
            ("winograd", self.winograd.winograd),
            ("rounding", self.rounding.rounding != Rounding::Nearest),
            ("equalize", self.equalization.equalize),
            ("keep-bias", self.int8.keep_bias),
        ];
        match given.into_iter().find(|g| g.1) {
            Some((option, _)) => Err(OptionsError::NoEffect { option, why }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixed_precision::Precision;
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
    fn the_command_line_and_files_have_the_same_options_and_defaults() {
        use clap::{CommandFactory, Parser};
        let Value::Object(map) = serde_json::to_value(Options::default()).unwrap() else {
            panic!("no table")
        };
        let mut keys: Vec<&str> = map.keys().map(String::as_str).filter(|k| *k != "precision").collect();
        let command = Line::command();
        let mut longs: Vec<&str> = command.get_arguments().filter_map(|a| a.get_long()).collect();
        keys.sort_unstable();
        longs.sort_unstable();
        assert_eq!(keys, longs);
        assert_eq!(Line::parse_from(["x"]).options, Options::default());
        assert_eq!(parsed("{}").unwrap(), Options::default());
        // What is written is read again.
        let text = serde_json::to_string(&Options::default()).unwrap();
        assert_eq!(parsed(&text).unwrap(), Options::default());
        let line =
            ["x", "--prune", "0.5", "--rounding", "adaptive", "--ranges", "minmax", "--augment", "full"];
        let file = r#"{"prune": 0.5, "rounding": "adaptive", "ranges": "minmax", "augment": "full"}"#;
        assert_eq!(Line::parse_from(line).options, parsed(file).unwrap());
    }

    #[test]
    fn unknown_options_and_bad_values_are_named() {
        for (text, says) in [
            (r#"{"studnet": "unet-8"}"#, "unknown field `studnet`"),
            (r#"{"prune": 1.0}"#, "below 1"),
            (r#"{"prune": "fast"}"#, "or auto"),
            (r#"{"preset": "some"}"#, "unknown variant `some`"),
            (r#"{"precision": "int4"}"#, "unknown variant `int4`"),
        ] {
            let e = parsed(text).unwrap_err();
            assert!(e.contains(says), "{e}");
        }
        assert_eq!(parsed(r#"{"precision": "auto"}"#).unwrap().precision.precision, Precision::Auto);
    }

    #[test]
    fn contradictions_are_found() {
        let some = || Some(PathBuf::from("x"));
        let all = Data { calibrate: some(), validate: some(), finetune: some(), ..Data::default() };
        let calibrated = Data { calibrate: some(), ..Data::default() };
        for (text, data, says) in [
            (r#"{"prune": 0.5, "student": "unet-8"}"#, &all, "choose one of --student and --prune"),
            (r#"{"qat": true}"#, &calibrated, "--qat needs --finetune"),
            (r#"{"qat": true, "precision": "fp32"}"#, &all, "choose one of --qat and --precision"),
            (r#"{"learn-scales": true}"#, &all, "--learn-scales needs --qat"),
            (r#"{"winograd": true}"#, &calibrated, "--winograd needs --validate"),
            (r#"{"rounding": "adaptive", "qat": true}"#, &all, "--rounding has no effect"),
            (r#"{"equalize": true, "precision": "bf16"}"#, &all, "--equalize has no effect"),
            (r#"{"prune": "auto", "speedup": 1.0}"#, &calibrated, "--speedup must be above 1"),
            (r#"{"distill": 1.5}"#, &all, "--distill must be 0 to 1"),
            (r#"{"patch": 4}"#, &all, "--patch must be 8"),
            (r#"{}"#, &Data::default(), "give --calibrate"),
        ] {
            let e = parsed(text).unwrap().check(data).unwrap_err().to_string();
            assert!(e.contains(says), "{text}: {e}");
        }
        parsed(r#"{"precision": "fp32"}"#).unwrap().check(&Data::default()).unwrap();
        parsed(r#"{"prune": "auto"}"#).unwrap().check(&calibrated).unwrap();
    }
}
