//! All options of `optimize`: one type for each technique, the same on the command line and in study files.

use crate::data::Data;
use crate::distill::DistillOptions;
use crate::equalization::EqualizationOptions;
use crate::finetune::{FinetuneOptions, QatOptions};
use crate::int8::Int8Options;
use crate::mixed_precision::PrecisionOptions;
use crate::prune::PruneOptions;
use crate::rounding::RoundingOptions;
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
    let given: Map<String, Value> = own.keys().filter_map(|k| map.remove_entry(k)).collect();
    // One by one first: what is said of a value is said with its name.
    for (name, value) in &given {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        let named = |e: serde_json::Error| serde_json::Error::custom(format!("`{name}`: {e}"));
        serde_json::from_value::<T>(Value::Object(alone)).map_err(named)?;
    }
    known.extend(own.into_iter().map(|(k, _)| k));
    serde_json::from_value(Value::Object(given))
}

impl Options {
    /// Whether the network is pruned or trained before it is quantized.
    pub fn trains(&self, data: &Data) -> bool {
        data.finetune.is_some() || self.prune.prune.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixed_precision::Precision;

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
        let line = [
            "x",
            "--prune",
            "0.5",
            "--rounding",
            "adaptive",
            "--calibration-method",
            "minmax",
            "--augment",
            "full",
        ];
        let file =
            r#"{"prune": 0.5, "rounding": "adaptive", "calibration-method": "minmax", "augment": "full"}"#;
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
}
