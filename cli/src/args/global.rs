use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options of several commands; `takes.rs` says which of them each command takes.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Threads; 0 for as many as this process may use. `bench` takes a list, for example 1,2.
    #[arg(long, global = true, default_value = "0", value_delimiter = ',', value_name = "N")]
    pub threads: Vec<usize>,
    /// Instruction-set tier [default: $AMPOULE_ISA, or the best that this CPU has]. `bench` takes a list.
    #[arg(long, global = true, value_delimiter = ',', value_name = "TIER", value_parser = tiers())]
    pub isa: Vec<String>,
    /// Numeric type. run, bench, inspect, compare, demo: fp32 (default); fp32-strict: as fp32, and never in
    /// terms of bfloat16; bf16: activations stored as bfloat16, about half
    /// the memory; bf16-fast: as bf16, and Winograd F(4x4) multiplies in bfloat16 too where the CPU can, with an error
    /// about as large as that of INT8. optimize: int8 (default); auto: the fastest of INT8, bfloat16 and float32 for each
    /// layer, as timed on this machine; bf16 or fp32: the whole network. compare applies it to the second model only.
    #[arg(long, global = true, value_name = "TYPE", value_enum)]
    pub precision: Option<Precision>,
    /// Most memory to use, for example 2G or 700M; refused with exit code 5 when it is too little [default: the limit
    /// of this container, or the machine's memory].
    #[arg(long, global = true, value_name = "BYTES", value_parser = parse_bytes)]
    pub max_ram: Option<u64>,
    /// Print JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors and what --json asks for.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print more.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Replace output files that exist.
    #[arg(long, global = true)]
    pub overwrite: bool,
    /// Recipe to use instead of the one inside the model: a file (see docs/recipes.md), or the name of one that comes with
    /// the program (dfu, glas, gandlf-histology …).
    #[arg(long, global = true, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Folder of TotalSegmentator's weights, for models called totalsegmentator-TASK [default: $TOTALSEG_WEIGHTS_PATH, or
    /// .totalsegmentator/nnunet/results in the home folder].
    #[arg(long, global = true, value_name = "FOLDER")]
    pub weights: Option<PathBuf>,
}

impl Global {
    /// Most bytes that the process may hold: what was typed, else the limit of its container.
    pub fn memory_limit(&self) -> Option<u64> {
        ampoule_pipeline::memory_limit(self.max_ram)
    }
}

/// What `--precision` takes.
// Without documentation of the variants, which would make the help of every command twice as long.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Fp32,
    Fp32Strict,
    Bf16,
    Bf16Fast,
    Int8,
    Auto,
}

impl Precision {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp32Strict => "fp32-strict",
            Precision::Bf16 => "bf16",
            Precision::Bf16Fast => "bf16-fast",
            Precision::Int8 => "int8",
            Precision::Auto => "auto",
        }
    }
}

/// Names of the tiers, as the kernels list them.
fn tiers() -> PossibleValuesParser {
    PossibleValuesParser::new(ampoule_kernels::FEATURE_SETS.iter().map(|s| s.name))
}

pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor: f64 = match unit.trim().to_ascii_lowercase().trim_end_matches(['b', 'i']) {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err("bytes with K, M or G, for example 2G".into()),
    };
    let n: f64 = number.parse().map_err(|_| "bytes with K, M or G, for example 2G".to_owned())?;
    if n > 0.0 && n * factor < 1e18 { Ok((n * factor) as u64) } else { Err("out of range".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(parse_bytes("2G").unwrap(), 2 << 30);
        assert_eq!(parse_bytes("1.5MiB").unwrap(), 3 << 19);
        assert!(parse_bytes("lots").is_err() && parse_bytes("0").is_err());
    }

    #[test]
    fn precisions_are_typed_as_they_are_named() {
        for p in Precision::value_variants() {
            assert_eq!(p.to_possible_value().unwrap().get_name(), p.name());
        }
    }
}
