//! Options of pruning.

use super::importance::Importance;
use clap::Args;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Share of the channels to prune.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// This share, above 0 and below 1.
    Ratio(f64),
    /// What makes the network as fast as [`PruneOptions::speedup`] asks.
    Auto,
}

/// A text that is no share of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// A share of nothing.
    #[error("0 prunes nothing; leave it out")]
    Nothing,
    /// A number that is no share.
    #[error("the share must be above 0 and below 1; 1 would prune everything")]
    Range,
    /// No number, and not `auto`.
    #[error("a share such as 0.5, or auto")]
    Text,
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        if text == "auto" {
            return Ok(Share::Auto);
        }
        match text.parse::<f64>() {
            Ok(0.0) => Err(ShareError::Nothing),
            Ok(r) if r > 0.0 && r < 1.0 => Ok(Share::Ratio(r)),
            Ok(_) => Err(ShareError::Range),
            Err(_) => Err(ShareError::Text),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Ratio(r) => write!(f, "{r}"),
            Share::Auto => f.write_str("auto"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Share::Ratio(r) => s.serialize_f64(*r),
            Share::Auto => s.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        let text = match Written::deserialize(d)? {
            Written::Number(r) => r.to_string(),
            Written::Text(t) => t,
        };
        text.parse().map_err(|e| de::Error::custom(format!("{text}: {e}")))
    }
}

/// Options of structured pruning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Pruning")]
pub struct PruneOptions {
    /// Share of the channels to prune, above 0 and below 1, or `auto` for --speedup.
    #[arg(long, value_name = "RATIO")]
    pub prune: Option<Share>,
    /// How many times faster `--prune auto` makes the network.
    #[arg(long, value_name = "TIMES", default_value_t = PruneOptions::default().speedup)]
    pub speedup: f64,
    /// Rank channels across the whole network instead of within each layer. Needs --prune with a share, not auto.
    #[arg(long)]
    pub global: bool,
    /// Importance of channels: L1 or L2 norm of their filters (l1, l2), distance to the geometric median (median), or
    /// activation. Needs --prune.
    #[arg(long, value_enum, default_value_t, value_name = "MEASURE", hide_possible_values = true)]
    pub importance: Importance,
    /// Prune in so many steps, with training between them [default: 3 with --finetune, else 1].
    /// Needs --prune and --finetune.
    #[arg(long, value_name = "N")]
    pub prune_steps: Option<u16>,
    /// No least-squares reconstruction of pruned layers. Needs --prune.
    #[arg(long)]
    pub keep_weights: bool,
    /// Write a network that lost half of its channels or more although there is nothing to judge it by (no --validate and no
    /// --finetune). Needs --prune.
    #[arg(long)]
    pub force: bool,
}

impl PruneOptions {
    /// Whether half of the channels or more are removed; a network of half the channels does a quarter of the
    /// multiplications.
    pub fn removes_half(&self) -> bool {
        match self.prune {
            None => false,
            Some(Share::Ratio(share)) => share >= 0.5,
            Some(Share::Auto) => self.speedup >= 4.0,
        }
    }
}

impl Default for PruneOptions {
    fn default() -> Self {
        PruneOptions {
            prune: None,
            speedup: 2.0,
            global: false,
            importance: Importance::default(),
            prune_steps: None,
            keep_weights: false,
            force: false,
        }
    }
}
