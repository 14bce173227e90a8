//! Which file of a bundle has the weights.

use super::super::files::Files;
use super::references::References;

/// Where weights are unless the configuration loads others.
const USUAL: &str = "models/model.pt";

/// A path of the configuration as one within the bundle; `None` where it leads elsewhere.
fn within(path: &str, root: &str) -> Option<String> {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    let strange = parts.iter().any(|p| *p == ".." || p.contains('\\'));
    (!strange && !parts.is_empty()).then(|| parts.join("/"))
}

/// The file that the configuration's `CheckpointLoader` loads, if the bundle has it, else `models/model.pt`; `None` where there is
/// neither.
pub(super) fn of(files: &Files, references: &References, notes: &mut Vec<String>) -> Option<String> {
    let root = references.value("bundle_root");
    let root = root.as_str().unwrap_or_default();
    let given = references.given("CheckpointLoader", "load_path");
    let loaded = given.iter().find_map(|path| within(path.as_str()?, root));
    let usual = files.has(USUAL).then(|| USUAL.to_owned());
    match loaded {
        Some(file) if files.has(&file) => Some(file),
        Some(file) => {
            if usual.is_some() {
                notes.push(format!(
                    "the bundle loads {file}, which it does not have; its weights are those of {USUAL}"
                ));
            }
            usual
        }
        None => {
            if usual.is_some() && given.iter().any(|path| !path.is_string()) {
                notes.push(format!("which weights it loads is not evaluated; they are those of {USUAL}"));
            }
            usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn weights_are_those_that_the_bundle_loads() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("models")).unwrap();
        for name in ["model.pt", "other.pt"] {
            std::fs::write(folder.path().join("models").join(name), "x").unwrap();
        }
        let files = Files::folder(folder.path());
        let of = |config: Value| {
            let mut notes = Vec::new();
            let found = of(&files, &References::new(&files, config, &Value::Null), &mut notes);
            (found.unwrap_or_default(), notes.len())
        };
        let loads = |path: &str| {
            json!({"bundle_root": "/data/bundle", "name": "other.pt", "file": "@name",
            "handlers": [{"_target_": "CheckpointLoader", "load_path": path}]})
        };
        assert_eq!(of(json!({})), ("models/model.pt".into(), 0));
        assert_eq!(of(loads("$@bundle_root + '/models/' + @file")), ("models/other.pt".into(), 0));
        assert_eq!(of(loads("./models/other.pt")), ("models/other.pt".into(), 0));
        assert_eq!(of(loads("$@bundle_root + '/models/gone.pt'")), ("models/model.pt".into(), 1));
        assert_eq!(of(loads("$scripts.newest()")), ("models/model.pt".into(), 1));
        let mut off = loads("models/other.pt");
        off["handlers"][0]["_disabled_"] = json!(true);
        assert_eq!(of(off), ("models/model.pt".into(), 0));
        let handlers = loads("models/other.pt")["handlers"].clone();
        let nested = json!({"evaluator": {"_target_": "SupervisedEvaluator", "val_handlers": handlers}});
        assert_eq!(of(nested), ("models/other.pt".into(), 0));
        assert_eq!(of(loads("../../etc/model.pt")), ("models/model.pt".into(), 0));
    }
}
