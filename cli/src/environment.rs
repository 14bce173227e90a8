//! Environment variables. Only this file reads any; libraries are told.

use ampoule_zoo::Folders;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Tier to run where `--isa` is not given: `AMPOULE_ISA`.
pub fn isa() -> Option<String> {
    std::env::var("AMPOULE_ISA").ok().filter(|s| !s.is_empty())
}

/// What clients of `serve` must know: `AMPOULE_TOKEN`.
#[cfg(feature = "serve")]
pub fn token() -> Option<String> {
    std::env::var("AMPOULE_TOKEN").ok().filter(|s| !s.is_empty())
}

/// Folder of fetched models: `AMPOULE_MODELS`, else `ampoule/models` below `XDG_DATA_HOME`, `LOCALAPPDATA` (Windows) or
/// `~/.local/share`; `None` where none of these is set.
pub fn models() -> Option<PathBuf> {
    models_by(&|name| std::env::var_os(name))
}

/// Folder of TotalSegmentator's weights: `TOTALSEG_WEIGHTS_PATH`, else where that program puts them in the home folder.
fn totalsegmentator_weights() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || set("HOME").or_else(|| set("USERPROFILE"));
    set("TOTALSEG_WEIGHTS_PATH").or_else(|| home().map(|h| h.join(".totalsegmentator/nnunet/results")))
}

/// Folders in which models are looked for by name; `weights` is what was typed.
pub fn folders(weights: Option<&Path>) -> Folders {
    let weights = weights.map(Path::to_owned).or_else(totalsegmentator_weights);
    Folders { models: models(), weights }
}

/// File with this machine's constants for the choice of algorithms: `AMPOULE_CALIBRATION`, else
/// `ampoule/calibration.json` beside the folder of models; `None` where none is set, or the variable is empty.
pub fn calibration() -> Option<PathBuf> {
    match std::env::var_os("AMPOULE_CALIBRATION") {
        Some(v) if v.is_empty() => None,
        Some(v) => Some(v.into()),
        None => data_by(&|name| std::env::var_os(name)).map(|p| p.join("calibration.json")),
    }
}

/// The folder of the program's data.
fn data_by(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("XDG_DATA_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .map(|p| p.join("ampoule"))
        .or_else(|| folder("HOME").map(|p| p.join(".local/share/ampoule")))
}

fn models_by(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let own = variable("AMPOULE_MODELS").filter(|v| !v.is_empty()).map(PathBuf::from);
    own.or_else(|| data_by(variable).map(|p| p.join("models")))
}

/// The variable of this name, for texts that name one themselves.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_folder_counts() {
        let of = |set: &[(&str, &str)]| {
            models_by(&|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("HOME", "/h")]), Some("/h/.local/share/ampoule/models".into()));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]), Some("/x/ampoule/models".into()));
        assert_eq!(of(&[("HOME", "/h"), ("LOCALAPPDATA", "/l")]), Some("/l/ampoule/models".into()));
        assert_eq!(of(&[("HOME", "/h"), ("AMPOULE_MODELS", "/m")]), Some("/m".into()));
        assert_eq!(
            of(&[("HOME", "/h"), ("AMPOULE_MODELS", "")]),
            Some("/h/.local/share/ampoule/models".into())
        );
    }
}
