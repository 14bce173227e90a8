//! GaNDLF's `data_preprocessing` as steps of a recipe.

use super::super::config::Config;
use super::version::{DECLARED, OLDEST, Origin, RESCALED};
use crate::Result;
use ampoule_pipeline::recipe::*;
use serde_json::Value;

/// Largest side of an image or a patch.
pub(super) const SIDE: usize = 8192;
/// Keys in the order in which GaNDLF 0.1.3 and later apply them, whatever the order of the file.
const KNOWN: [&str; 25] = [
    "to_canonical",
    "threshold",
    "clip",
    "clamp",
    "crop_external_zero_planes",
    "crop",
    "centercrop",
    "normalize_by_val",
    "normalize_imagenet",
    "normalize_standardize",
    "normalize_div_by_255",
    "normalize",
    "normalize_nonZero",
    "normalize_nonZero_masked",
    "rescale",
    "rgba2rgb",
    "rgb2rgba",
    "histogram_matching",
    "histogram_equalization",
    "adaptive_histogram_equalization",
    "resample",
    "resize_image",
    "resize_patch",
    "stain_normalization",
    "resample_min",
];
/// Other names that GaNDLF 0.1.3 and later accept, and then drop together with what they say.
const DROPPED: [(&str, &str); 9] = [
    ("normalize_nonzero", "normalize_nonZero"),
    ("normalize_nonzero_masked", "normalize_nonZero_masked"),
    ("rgbatorgb", "rgba2rgb"),
    ("rgba_to_rgb", "rgba2rgb"),
    ("rgbtorgba", "rgb2rgba"),
    ("rgb_to_rgba", "rgb2rgba"),
    ("resize", "resize_image"),
    ("resize_images", "resize_image"),
    ("resample_minimum", "resample_min"),
];
/// Keys that bring images and patches to a size.
const RESIZES: [&str; 4] = ["resize", "resize_image", "resize_images", "resize_patch"];
/// Keys of which GaNDLF takes one at most.
const BOUNDS: [&str; 3] = ["threshold", "clip", "clamp"];

/// What images are, and which GaNDLF read the configuration.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Images have three axes.
    pub volume: bool,
    /// They are patches of slides.
    pub slides: bool,
    pub origin: Origin,
}

/// A key with its value.
type Key<'a> = (&'a str, Config<'a>);

/// The steps of `data_preprocessing`.
pub(super) fn steps(config: &Config, seen: Seen, notes: &mut Vec<String>) -> Result<Vec<Step>> {
    let mut into = Vec::new();
    let mut last = None;
    let Some(given) = config.get("data_preprocessing") else { return Ok(into) };
    if let Some((_, c)) = given.entries()?.into_iter().filter(|(k, _)| BOUNDS.contains(k)).nth(1) {
        return Err(c.wrong("stands beside another of threshold, clip and clamp, of which GaNDLF takes one"));
    }
    if seen.origin.before(OLDEST) {
        notes.push(format!("GaNDLF before {OLDEST}, with which the model was trained, is not known to preprocess as later versions do; compare some of its results"));
    }
    for (key, c) in keys(&given, seen, notes)? {
        step(key, &c, seen, &mut into, &mut last, notes)?;
    }
    // Normalisation comes last, wherever it stands.
    into.extend(last);
    Ok(into)
}

/// The keys in the order in which they are applied.
fn keys<'a>(given: &Config<'a>, seen: Seen, notes: &mut Vec<String>) -> Result<Vec<Key<'a>>> {
    let mut all = given.entries()?;
    if all.iter().any(|(k, _)| *k == "resample") {
        all.retain(|(key, _)| {
            let stays = !RESIZES.contains(key);
            if !stays {
                notes.push(format!("{key} is left out, as GaNDLF does where there is `resample`"));
            }
            stays
        });
    }
    let origin = seen.origin;
    if !origin.from(DECLARED) || origin.parsed {
        // Of names for one thing the first counts, and GaNDLF adds `resize_image` itself to what it saves.
        let images: Vec<usize> = (0..all.len()).filter(|i| RESIZES[..3].contains(&all[*i].0)).collect();
        images.into_iter().skip(1).rev().for_each(|i| drop(all.remove(i)));
    }
    if origin.parsed || origin.before(DECLARED) {
        return Ok(all);
    }
    let declared: Vec<Key> =
        KNOWN.iter().filter_map(|k| all.iter().find(|(own, _)| own == k).cloned()).collect();
    if origin.from(DECLARED) {
        for (key, c) in &all {
            let dropped = DROPPED.iter().find(|d| d.0 == *key);
            match dropped {
                Some((_, name)) => notes.push(format!(
                    "data_preprocessing.{key} is left out: GaNDLF 0.1.3 and later know it by the name {name} alone and trained without it"
                )),
                None if !KNOWN.contains(key) => {
                    return Err(c.wrong(
                        "is refused by GaNDLF 0.1.3 and later, with which the model was trained; give the configuration that trained it",
                    ));
                }
                None => {}
            }
        }
        if effects(&declared) != effects(&all) {
            let names: Vec<&str> = effects(&declared);
            notes.push(format!(
                "preprocessing in the order of GaNDLF 0.1.3 and later, which is not that of the file: {}",
                names.join(", ")
            ));
        }
        return Ok(declared);
    }
    if effects(&declared) != effects(&all) {
        notes.push(format!(
            "neither the checkpoint nor `version` tells which GaNDLF trained the model; data_preprocessing is applied in the order of the file ({}), as before 0.1.3; later versions apply {}",
            effects(&all).join(", "),
            effects(&declared).join(", ")
        ));
    }
    Ok(all)
}

/// Keys in the order of what they do: the first that normalises comes last, and what is for training does not count.
fn effects<'a>(keys: &[Key<'a>]) -> Vec<&'a str> {
    let normal = |k: &&str| k.to_lowercase().contains("normalize");
    let names = || keys.iter().map(|k| k.0).filter(|k| *k != "crop_external_zero_planes");
    names().filter(|k| !normal(k)).chain(names().find(normal)).collect()
}

/// A step that normalises, by its key in lower case.
fn normalisation(lower: &str, volume: bool) -> Option<Step> {
    let z = |over, outside| Step::ZScore {
        over,
        // torchio takes the colours of an image together.
        channels: if volume { Channels::Each } else { Channels::Together },
        outside,
        ddof: 1,
        least_deviation: None,
        scale: 1.0,
        shift: 0.0,
    };
    let colours = |mean: [f64; 3], deviation: [f64; 3]| Step::MeanDeviation {
        mean: mean.into(),
        deviation: deviation.into(),
        maximum: 255.0,
    };
    match lower {
        "normalize" => Some(z(Over::All, Outside::Change)),
        "normalize_positive" => Some(z(Over::Positive, Outside::Change)),
        "normalize_nonzero" => Some(z(Over::Nonzero, Outside::Change)),
        "normalize_nonzero_masked" => Some(z(Over::Nonzero, Outside::Keep)),
        "normalize_imagenet" => Some(colours([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])),
        "normalize_standardize" => Some(colours([0.5; 3], [0.5; 3])),
        "normalize_div_by_255" => Some(Step::Divide { by: Divisor::Number(255.0) }),
        _ => None,
    }
}

/// One key of `data_preprocessing`.
fn step(
    key: &str,
    c: &Config,
    seen: Seen,
    into: &mut Vec<Step>,
    last: &mut Option<Step>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let volume = seen.volume;
    let number = |k: &str, usual: f64| c.get(k).map_or(Ok(usual), |v| v.number());
    let lower = key.to_lowercase();
    if seen.slides && RESIZES[..3].contains(&key) {
        notes.push(format!(
            "{key} is left out: GaNDLF resizes the images it trains on, and not the patches of slides"
        ));
        return Ok(());
    }
    if lower.starts_with("resize") && !volume {
        notes.push(format!("{key}: SimpleITK cuts off fractions, by its last bits also some that are none; grey values may differ from GaNDLF's by one"));
    }
    let normalize = normalisation(&lower, volume);
    if c.value() == &Value::Bool(false) {
        if normalize.is_none() && lower != "to_canonical" {
            return Ok(());
        }
        // The key alone counts there, in training as in inference.
        notes.push(format!("{key}: false is done all the same, as in GaNDLF"));
    }
    if normalize.is_some() {
        // The first of them counts.
        if last.is_none() {
            *last = normalize;
        }
        return Ok(());
    }
    let moved = |s: &Step| matches!(s, Step::Resize { .. } | Step::Resample { .. } | Step::CentreCrop { .. });
    match lower.as_str() {
        "to_canonical" if !volume => return Err(c.wrong("turns photos by half a turn, which is not known")),
        "to_canonical" if into.iter().any(moved) => {
            return Err(
                c.wrong("turns a volume after it was cropped, resampled or resized, which is not known")
            );
        }
        "to_canonical" => into.insert(0, Step::Orient { to: "RAS".into() }),
        "clip" | "clamp" => into.push(Step::Clip {
            low: number("min", f64::MIN_POSITIVE)?,
            high: number("max", f32::MAX as f64)?,
        }),
        "threshold" => into.push(Step::Threshold {
            low: number("min", f64::MIN_POSITIVE)?,
            high: number("max", f32::MAX as f64)?,
        }),
        "rescale" => into.extend(rescale(c, seen, notes)?),
        // Training only.
        "crop_external_zero_planes" => {}
        // Images are read without transparency.
        "rgba2rgb" | "rgbatorgb" | "rgba_to_rgb" => {}
        "centercrop" => {
            into.push(Step::CentreCrop {
                size: sizes(c, if volume { 3 } else { 2 })?,
                rule: Middle::Torchio,
            });
        }
        "resample" => into.extend(resample(c, notes)?),
        "resize_patch" => {
            into.extend(resize(c, volume, SpacingRule::Nnunet)?);
        }
        // Images are resized by SimpleITK before anything else, patches by torchio.
        "resize" | "resize_image" | "resize_images" => {
            if matches!(into.first(), Some(Step::Orient { .. })) {
                return Err(c.wrong("resizes a volume from the origin of its file before `to_canonical` turns it, which is not known"));
            }
            drop(into.splice(0..0, resize(c, volume, SpacingRule::Simpleitk)?));
        }
        "histogram_matching" | "histogram_equalization" | "adaptive_histogram_equalization" if volume => {
            notes.push(format!(
                "{key} does nothing in GaNDLF 0.1.5, which drops its result, and nothing here"
            ));
        }
        "stain_normalization" => {
            notes.push(format!(
                "{key} does nothing in GaNDLF 0.1.5, which does not look at it, and nothing here"
            ));
        }
        "resample_min" | "resample_minimum" if c.get("resolution").is_none() => {}
        "resample_min" | "resample_minimum" => {
            return Err(
                c.wrong("is not known; GaNDLF brings voxels above 1 mm to 1 mm there, whatever it says")
            );
        }
        _ => {
            return Err(c.wrong("changes what the network sees and is not known; write a recipe (`ampoule generate recipe FOLDER` prints one without it once the key is removed)"));
        }
    }
    Ok(())
}

/// torchio's `Resample` to voxel sizes, with its rule for corners.
fn resample(c: &Config, notes: &mut Vec<String>) -> Result<Option<Step>> {
    let Some(r) = c.get("resolution") else { return Ok(None) };
    let list = if r.value().is_number() { vec![r.number()?; 3] } else { r.numbers()? };
    let [x, y, z] = list[..] else { return Err(r.wrong("must be three voxel sizes")) };
    notes.push("results return to the grid of the image; GaNDLF leaves them on the grid that it resampled to, and cuts off what it interpolates where a file holds whole numbers".into());
    Ok(Some(Step::Resample {
        spacing: [x, y, z],
        method: Method::Linear,
        rule: SpacingRule::TorchioCorner,
        separate: None,
        across: Across::Nearest,
        back: Back::Nearest,
    }))
}

/// A size along each axis; images of two axes may have a third of one pixel.
fn sizes(c: &Config, axes: usize) -> Result<Vec<usize>> {
    let mut size = c.sizes(SIDE)?;
    if size.len() == 3 && axes == 2 && size[2] == 1 {
        size.pop();
    }
    if size.len() != axes || size.contains(&0) {
        return Err(c.wrong(format_args!("must be {axes} sizes above 0")));
    }
    Ok(size)
}

/// The image brought to a size. Photos hold whole numbers, of which SimpleITK cuts off what is interpolated.
fn resize(c: &Config, volume: bool, rule: SpacingRule) -> Result<Vec<Step>> {
    let axes = if volume { 3 } else { 2 };
    let size = if c.value().is_number() { vec![c.size(SIDE)?.max(1); axes] } else { sizes(c, axes)? };
    let resize = Step::Resize {
        size: SizeKey { size, shorter: None },
        method: Method::Linear,
        rule,
        back: Back::Nearest,
    };
    Ok(match volume {
        true => vec![resize],
        // What rounding took from a whole number is given back first.
        false => vec![resize, Step::Scale { by: 1.0, add: 1e-3 }, Step::Truncate {}],
    })
}

/// torchio's `RescaleIntensity`: values are held within percentiles, then one range becomes another. GaNDLF's parser fills in
/// what is not said from 0.1.3 on; before, torchio's own defaults hold: all values, and the range that they have.
fn rescale(c: &Config, seen: Seen, notes: &mut Vec<String>) -> Result<Vec<Step>> {
    let channels = if seen.volume { Channels::Each } else { Channels::Together };
    let filled = seen.origin.from(DECLARED);
    let pair = |key: &str| -> Result<Option<[f64; 2]>> {
        let Some(v) = c.get(key) else { return Ok(None) };
        match v.numbers()?[..] {
            [a, b] if a < b => Ok(Some([a, b])),
            _ => Err(v.wrong("must be two ascending numbers")),
        }
    };
    let (to, within, from) = (pair("out_min_max")?, pair("percentiles")?, pair("in_min_max")?);
    if (within.is_none() || from.is_none()) && !filled && !seen.origin.before(DECLARED) {
        notes.push("neither the checkpoint nor `version` tells which GaNDLF trained the model; rescale takes torchio's percentiles (0 and 100) and the image's own range where it says nothing, as before 0.1.3; later versions take 5 and 95, and 15 to 125".into());
    }
    if to.is_some_and(|t| t != [0.0, 1.0]) && seen.origin.before(RESCALED) {
        return Err(c.wrong("has an out_min_max, which GaNDLF before 0.1.0 does not hand on to torchio; write 0 and 1, which it took"));
    }
    let to = to.unwrap_or([0.0, 1.0]);
    let within = within.unwrap_or(if filled { [5.0, 95.0] } else { [0.0, 100.0] });
    let from = from.or(filled.then_some([15.0, 125.0]));
    if filled && !seen.origin.parsed && c.get("in_min_max").is_none() {
        notes.push(
            "rescale has no in_min_max; 15 to 125 is taken for it, as GaNDLF 0.1.3 and later do".into(),
        );
    }
    let mut steps = Vec::new();
    if within != [0.0, 100.0] {
        let [low, high] = within.map(|v| v / 100.0);
        steps.push(Step::PercentileClip { low, high, over: Over::All, channels });
    }
    let wide = to[1] - to[0];
    match from {
        Some([least, most]) => {
            let by = wide / (most - least);
            steps.push(Step::Scale { by, add: to[0] - least * by });
        }
        None => {
            steps.push(Step::MinMax { channels });
            if to != [0.0, 1.0] {
                steps.push(Step::Scale { by: wide, add: to[0] });
            }
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(
        version: Option<&str>,
        parsed: bool,
        flat: bool,
        value: Value,
    ) -> Result<(Vec<Step>, Vec<String>)> {
        let whole = json!({"data_preprocessing": value});
        let config = Config::root(&whole, "config.yaml".into());
        let mut notes = Vec::new();
        let origin = Origin::of(&config, version, parsed);
        let seen = Seen { volume: !flat, slides: false, origin };
        steps(&config, seen, &mut notes).map(|s| (s, notes))
    }

    fn names(steps: &[Step]) -> Vec<String> {
        let name = |s: &Step| serde_json::to_value(s).unwrap()["step"].as_str().unwrap().to_owned();
        steps.iter().map(name).collect()
    }

    fn refused(version: &str, value: Value) -> String {
        read(Some(version), false, false, value).unwrap_err().to_string()
    }

    /// The orders are those that GaNDLF's own parsers of 0.1.2 and 0.1.5 give for these configurations.
    #[test]
    fn keys_come_in_the_order_of_the_version_that_trained_the_model() {
        let given = json!({"resample": {"resolution": [1.0, 1.0, 2.0]}, "normalize": null,
            "centercrop": [40, 41, 42], "clip": {"min": 1, "max": 9}});
        let listed = ["resample", "centre-crop", "clip", "z-score"];
        let declared = ["clip", "centre-crop", "resample", "z-score"];
        let (steps, notes) = read(Some("0.1.2"), false, false, given.clone()).unwrap();
        assert_eq!(names(&steps), listed);
        assert!(!notes.iter().any(|n| n.contains("order")), "{notes:?}");
        assert_eq!(steps[1], Step::CentreCrop { size: vec![40, 41, 42], rule: Middle::Torchio });
        let (steps, notes) = read(Some("0.1.5"), false, false, given.clone()).unwrap();
        assert_eq!(names(&steps), declared);
        assert!(notes.iter().any(|n| n.ends_with("clip, centercrop, resample, normalize")), "{notes:?}");
        // What a checkpoint holds was read already; without any version the file's order is taken, which is said.
        let (steps, notes) = read(Some("0.1.5"), true, false, given.clone()).unwrap();
        assert_eq!(names(&steps), listed);
        assert!(!notes.iter().any(|n| n.contains("order")), "{notes:?}");
        let (steps, notes) = read(None, false, false, given).unwrap();
        assert_eq!(names(&steps), listed);
        assert!(notes.iter().any(|n| n.contains("neither the checkpoint")), "{notes:?}");
    }

    #[test]
    fn the_first_that_normalises_counts_in_the_order_of_the_version() {
        let given = json!({"normalize": null, "normalize_imagenet": null});
        let steps = |v: &str| names(&read(Some(v), false, true, given.clone()).unwrap().0);
        assert_eq!(steps("0.1.2"), ["z-score"]);
        assert_eq!(steps("0.1.3"), ["mean-deviation"]);
    }

    #[test]
    fn names_that_later_versions_drop_are_left_out() {
        let given = json!({"normalize_nonzero": null, "clip": {"min": 1, "max": 9}, "resize": [32, 32, 32]});
        let (steps, notes) = read(Some("0.1.5"), false, false, given.clone()).unwrap();
        assert_eq!(names(&steps), ["clip"]);
        for key in ["normalize_nonzero", "resize"] {
            assert!(notes.iter().any(|n| n.contains(&format!("{key} is left out"))), "{notes:?}");
        }
        let (steps, _) = read(Some("0.0.20"), false, false, given).unwrap();
        assert_eq!(names(&steps), ["resize", "clip", "z-score"]);
        let known = json!({"resize": [16, 16, 16], "resize_image": [32, 32, 32]});
        let (steps, _) = read(Some("0.1.5"), false, false, known).unwrap();
        assert!(matches!(&steps[..], [Step::Resize { size, .. }] if size.size == [32; 3]), "{steps:?}");
        // GaNDLF writes what it made of `resize` beside it.
        let both = json!({"resize": [32, 32, 32], "resize_image": [32, 32, 32]});
        assert_eq!(names(&read(Some("0.0.20"), true, false, both).unwrap().0), ["resize"]);
    }

    #[test]
    fn keys_that_a_version_refuses_are_refused() {
        let positive = json!({"normalize_positive": null});
        assert!(refused("0.1.4", positive.clone()).contains("normalize_positive` is refused by GaNDLF"));
        assert_eq!(names(&read(Some("0.1.2"), false, false, positive).unwrap().0), ["z-score"]);
        assert!(refused("0.1.5", json!({"stain_normalizer": {"target": "a.png"}})).contains("is refused by"));
        assert!(refused("0.1.2", json!({"clip": null, "threshold": null})).contains("takes one"));
        let said = refused("0.1.2", json!({"resample_min": {"resolution": [2, 2, 2]}}));
        assert!(said.contains("resample_min") && said.contains("1 mm"), "{said}");
        let late = json!({"centercrop": [32, 32, 32], "to_canonical": null});
        assert!(refused("0.1.2", late.clone()).contains("after it was cropped"));
        assert_eq!(names(&read(Some("0.1.3"), false, false, late).unwrap().0), ["orient", "centre-crop"]);
    }

    #[test]
    fn what_rescale_leaves_open_follows_the_version() {
        let empty = || json!({"rescale": {"out_min_max": [0.0, 2.0]}});
        let channels = Channels::Each;
        let (steps, _) = read(Some("0.1.2"), false, false, empty()).unwrap();
        assert_eq!(steps, [Step::MinMax { channels }, Step::Scale { by: 2.0, add: 0.0 }]);
        let (steps, _) = read(Some("0.1.5"), false, false, empty()).unwrap();
        let by = 2.0 / 110.0;
        let clip = Step::PercentileClip { low: 0.05, high: 0.95, over: Over::All, channels };
        assert_eq!(steps, [clip, Step::Scale { by, add: -15.0 * by }]);
        assert!(refused("0.0.20", empty()).contains("out_min_max"));
        let (steps, notes) = read(None, false, false, json!({"rescale": null})).unwrap();
        assert_eq!(steps, [Step::MinMax { channels }]);
        assert!(notes.iter().any(|n| n.contains("own range")), "{notes:?}");
    }
}
