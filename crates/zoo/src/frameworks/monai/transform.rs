//! What all transforms of MONAI have: a class, and arguments.

use super::super::config::Config;
use super::references::{known, known_itself};
use crate::Result;
use serde_json::Value;

/// Names that end like those of dictionary transforms and are none.
const ARRAYS: [&str; 4] = ["CropForeground", "SpatialPad", "DivisiblePad", "Pad"];
/// Arguments that say where values come from and how they are held.
const PLAIN: [&str; 8] =
    ["_target_", "_disabled_", "_mode_", "keys", "allow_missing_keys", "lazy", "dtype", "device"];
/// Deepest `Compose` in another.
const DEPTH: usize = 8;

/// The class of a component of MONAI's own; the whole of its name where it is another's.
pub(super) fn own(target: &str) -> &str {
    let last = target.rsplit('.').next().unwrap_or(target);
    if last == target || target.starts_with("monai.") { last } else { target }
}

/// Whether a transform is switched off.
fn off(c: &Config) -> Result<bool> {
    known_itself(c)?;
    let Some(d) = c.get("_disabled_") else { return Ok(false) };
    known(&d)?;
    Ok(d.value()
        .as_str()
        .map_or(d.value() == true || d.value() == 1, |s| s.trim().eq_ignore_ascii_case("true")))
}

/// The class of a transform without the ending of dictionary transforms (`d`, `D`, `Dict`); `None` where it is switched off.
pub(super) fn class(c: &Config) -> Result<Option<String>> {
    if off(c)? {
        return Ok(None);
    }
    let target = c.need("_target_")?;
    known(&target)?;
    if let Some(mode) = c.get("_mode_").filter(|m| m.value() != "default") {
        return Err(mode.wrong("is another way to use the transform than `default`, which is not known"));
    }
    if let Some(kind) = c.get("dtype") {
        known(&kind)?;
        let text = kind.value().to_string();
        if ["int", "bool"].iter().any(|word| text.contains(word)) {
            return Err(kind.wrong(format_args!("is {text}, which rounds values and is not known")));
        }
    }
    let last = own(target.text()?);
    let plain = ["Dict", "d", "D"].iter().find_map(|end| last.strip_suffix(end));
    let ours = !last.contains('.');
    Ok(Some(plain.filter(|_| ours && !ARRAYS.contains(&last)).unwrap_or(last).to_owned()))
}

/// Refuses arguments that are not in `list` and say something, and those in it that are not evaluated.
pub(super) fn only(c: &Config, list: &[&str]) -> Result<()> {
    only_but(c, list, &[])
}

/// The same, not looking at those in `aside`.
pub(super) fn only_but(c: &Config, list: &[&str], aside: &[&str]) -> Result<()> {
    let says = |v: &Value| !(v.is_null() || v == false);
    for (key, v) in c.entries()?.into_iter().filter(|(k, _)| !aside.contains(k)) {
        if list.contains(&key) {
            known(&v)?;
        } else if says(v.value()) && !PLAIN.contains(&key) {
            known(&v)?;
            let value = v.value();
            return Err(
                c.wrong(format_args!("has {key} = {value}, which changes what it does and is not known"))
            );
        }
    }
    Ok(())
}

/// A flag, also as the text of one. Python takes any text as true, so `"False"` means what nobody meant.
pub(super) fn switch(c: &Config, key: &str) -> Result<bool> {
    match c.get(key) {
        None => Ok(false),
        Some(v) if v.value().as_str().is_some_and(|s| s.eq_ignore_ascii_case("true")) => Ok(true),
        Some(v) => v.flag(),
    }
}

/// A value, or the first of a list: an argument for each key of a transform.
pub(super) fn first<'a>(c: &Config<'a>, key: &str) -> Option<Config<'a>> {
    let given = c.get(key)?;
    Some(given.list().ok().and_then(|l| l.first().cloned()).unwrap_or(given)).filter(|v| !v.value().is_null())
}

/// Items of a `Compose` and of those in it, of a list, or the transform itself.
pub(super) fn list<'a>(c: &Config<'a>) -> Result<Vec<Config<'a>>> {
    let mut out = Vec::new();
    gather(c, &mut out, 0)?;
    Ok(out)
}

fn gather<'a>(c: &Config<'a>, out: &mut Vec<Config<'a>>, depth: usize) -> Result<()> {
    known_itself(c)?;
    if depth > DEPTH {
        return Err(c.wrong("is nested too deeply"));
    }
    if c.value().is_array() {
        return c.list()?.iter().try_for_each(|t| gather(t, out, depth + 1));
    }
    match c.get("transforms") {
        Some(_) if off(c)? => Ok(()),
        Some(inner) => {
            if let Some(target) = c.get("_target_") {
                known(&target)?;
                if own(target.text()?) != "Compose" {
                    return Err(target.wrong("holds other transforms in a way that is not known"));
                }
            }
            gather(&inner, out, depth + 1)
        }
        None => {
            out.push(c.clone());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_lose_the_ending_of_dictionary_transforms_alone() {
        for (name, want) in [
            ("CropForegroundd", "CropForeground"),
            ("monai.transforms.SpatialPadD", "SpatialPad"),
            ("DivisiblePadDict", "DivisiblePad"),
            ("SpatialPad", "SpatialPad"),
            ("LoadImaged", "LoadImage"),
            ("Spacing", "Spacing"),
        ] {
            let value = json!({"_target_": name});
            assert_eq!(class(&Config::root(&value, "x".into())).unwrap().as_deref(), Some(want), "{name}");
        }
        let off = json!({"_target_": "Spacingd", "_disabled_": "True"});
        assert_eq!(class(&Config::root(&off, "x".into())).unwrap(), None);
    }

    #[test]
    fn transforms_of_others_keep_their_whole_name() {
        let class = |t: Value| class(&Config::root(&t, "x".into())).map_err(|e| e.to_string());
        assert_eq!(class(json!({"_target_": "scripts.my.Spacingd"})), Ok(Some("scripts.my.Spacingd".into())));
        assert_eq!(class(json!({"_target_": "Padd", "_mode_": "default"})), Ok(Some("Pad".into())));
        assert_eq!(class(json!({"_target_": "Spacingd", "_disabled_": 1})), Ok(None));
        assert!(
            class(json!({"_target_": "Spacingd", "_mode_": "callable"})).is_err_and(|e| e.contains("_mode_"))
        );
        let nested = json!({"_target_": "Compose", "transforms": [{"_target_": "A"}, {"_target_": "Compose", "transforms": [{"_target_": "B"}]},
            {"_target_": "Compose", "_disabled_": true, "transforms": [{"_target_": "C"}]}]});
        assert_eq!(list(&Config::root(&nested, "x".into())).unwrap().len(), 2);
        let one_of = json!({"_target_": "OneOf", "transforms": [{"_target_": "A"}, {"_target_": "B"}]});
        assert!(list(&Config::root(&one_of, "x".into())).is_err());
    }
}
