//! A bundle's inferer: on which windows, or slices, the network runs.

use super::super::config::Config;
use super::references::{known, known_itself};
use super::transform::own;
use crate::Result;
use ampoule_pipeline::recipe::*;
use serde_json::Value;

/// Largest side of a window.
const SIDE: usize = 8192;

/// What an inferer does.
pub(super) struct Inferer {
    /// Its windows; none where the network takes the whole image.
    pub window: Option<Window>,
    /// The axis whose slices a network of images takes of a volume.
    pub slices: Option<Axis>,
}

/// Notes what the bundle does not say of how the network is run.
pub(super) fn absent(config: &Config, notes: &mut Vec<String>) {
    let told = [
        ("inferer", "the network takes images as a whole"),
        ("postprocessing", "labels are decided by what the network gives as it is"),
    ];
    let missing = told.iter().filter(|(key, _)| config.get(key).is_none());
    notes.extend(missing.map(|(key, what)| format!("the bundle names no {key}; {what}")));
}

/// The sides of the sliding window in the tensor's order, where the inferer lists them.
pub(super) fn sizes(config: &Config) -> Option<Vec<usize>> {
    let size = config.get("inferer")?.get("roi_size")?;
    size.sizes(SIDE).ok().filter(|s| !s.contains(&0))
}

/// The side of a sliding window that is the same along all axes, where the inferer gives one number.
pub(super) fn side(config: &Config) -> Option<usize> {
    config.get("inferer")?.get("roi_size")?.size(SIDE).ok().filter(|n| *n > 0)
}

/// The axis of a `SliceInferer`, as nibabel's arrays have them; `None` for other inferers.
fn slices(c: &Config, class: &str, axes: usize) -> Result<Option<Axis>> {
    if class != "SliceInferer" {
        return Ok(None);
    }
    if axes != 2 {
        return Err(c.wrong("takes slices of volumes, for which its network must be one of images"));
    }
    let dim = c.get("spatial_dim");
    let axis = dim.as_ref().map_or(Ok(0), |d| known(d).and_then(|()| d.size(2)))?;
    Ok(Axis::of(axis))
}

/// What the bundle's inferer does with a network of so many axes.
pub(super) fn inferer(config: &Config, axes: usize) -> Result<Inferer> {
    let whole = Inferer { window: None, slices: None };
    let Some(c) = config.get("inferer") else { return Ok(whole) };
    known_itself(&c)?;
    let target = c.need("_target_")?;
    known(&target)?;
    let class = own(target.text()?);
    match class {
        "SimpleInferer" => return Ok(whole),
        "SlidingWindowInferer" | "SlidingWindowInfererAdapt" | "SliceInferer" => {}
        other => {
            return Err(target.wrong(format_args!(
                "is `{other}`, which decides what the network sees and what becomes of its output, and is not known (SlidingWindowInferer, SliceInferer and SimpleInferer are)"
            )));
        }
    }
    for key in ["roi_size", "overlap", "padding_mode", "cval", "sigma_scale", "mode", "with_coord"] {
        c.get(key).map_or(Ok(()), |v| known(&v))?;
    }
    let slices = slices(&c, class, axes)?;
    let roi = c.need("roi_size")?;
    let mut size = roi.sizes_or_one(axes, SIDE)?;
    if size.contains(&0) {
        return Err(roi.wrong("has windows of no size, which are known as SimpleInferer"));
    }
    if let Some(axis) = slices {
        size.insert(axis.index(), 1);
    }
    if let Some(said) = c.get("with_coord").filter(|w| w.value() == true) {
        return Err(said.wrong("tells the network where its windows lie, which is not known"));
    }
    fixed(&c, "cval", "0")?;
    fixed(&c, "sigma_scale", "0.125")?;
    let window = Window {
        size,
        overlap: overlap(&c)?,
        overlap_voxels: None,
        blend: blend(&c)?,
        style: WindowStyle::Monai,
        border: border(&c)?,
    };
    Ok(Inferer { window: Some(window), slices })
}

/// The share that neighbouring windows have in common.
fn overlap(c: &Config) -> Result<f64> {
    let Some(given) = c.get("overlap") else { return Ok(0.25) };
    let list = if given.value().is_array() { given.numbers()? } else { vec![given.number()?] };
    match list[..] {
        [first, ..] if list.iter().any(|o| *o != first) => {
            Err(given.wrong("differs between axes, which is not known"))
        }
        [first, ..] if (0.0..=0.94).contains(&first) => Ok(first),
        _ => Err(given.wrong(format_args!("is {}; 0 to 0.94 is known", given.value()))),
    }
}

/// The last part of a name, without upper case: members of MONAI's enumerations are called by their values.
fn word(v: &Value) -> String {
    let text = v.as_str().map_or_else(|| v.to_string(), str::to_lowercase);
    if v.is_string() { text.rsplit('.').next().unwrap_or_default().to_owned() } else { text }
}

/// Refuses another number than the usual one.
fn fixed(c: &Config, key: &str, usual: &str) -> Result<()> {
    match c.get(key).filter(|v| v.value().as_f64() != usual.parse().ok()) {
        Some(said) => Err(said.wrong(format_args!("is none that is known ({usual})"))),
        None => Ok(()),
    }
}

fn blend(c: &Config) -> Result<Weighting> {
    let Some(mode) = c.get("mode") else { return Ok(Weighting::Average) };
    match word(mode.value()).as_str() {
        "gaussian" => Ok(Weighting::Gaussian),
        "constant" => Ok(Weighting::Average),
        other => {
            Err(mode.wrong(format_args!("blends windows by `{other}`; constant and gaussian are known")))
        }
    }
}

/// What lies beyond images that are smaller than a window.
fn border(c: &Config) -> Result<PadMode> {
    let Some(mode) = c.get("padding_mode") else { return Ok(PadMode::Constant) };
    match word(mode.value()).as_str() {
        "constant" => Ok(PadMode::Constant),
        "replicate" => Ok(PadMode::Edge),
        "reflect" => Ok(PadMode::Reflect),
        other => Err(mode
            .wrong(format_args!("continues images by `{other}`; constant, replicate and reflect are known"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(inferer: Value, axes: usize) -> std::result::Result<Inferer, String> {
        let config = json!({"inferer": inferer});
        super::inferer(&Config::root(&config, "inference.json".into()), axes).map_err(|e| e.to_string())
    }

    #[test]
    fn what_the_bundle_does_not_name_is_noted() {
        for (config, count) in [
            (json!({}), 2),
            (json!({"inferer": null, "postprocessing": []}), 1),
            (json!({"inferer": {}, "postprocessing": {}}), 0),
        ] {
            let mut notes = Vec::new();
            absent(&Config::root(&config, "inference.json".into()), &mut notes);
            assert_eq!(notes.len(), count, "{notes:?}");
            assert!(count == 0 || notes[0].contains("names no inferer"));
        }
    }

    #[test]
    fn slices_are_windows_of_one_voxel_through_a_volume() {
        let slice =
            |dim: Value| json!({"_target_": "SliceInferer", "roi_size": [64, 48], "spatial_dim": dim});
        for (dim, axis, size) in [
            (json!(0), Axis::X, vec![1, 64, 48]),
            (json!(1), Axis::Y, vec![64, 1, 48]),
            (json!(2), Axis::Z, vec![64, 48, 1]),
            (Value::Null, Axis::X, vec![1, 64, 48]),
        ] {
            let i = of(slice(dim), 2).unwrap();
            assert_eq!((i.slices, i.window.unwrap().size), (Some(axis), size));
        }
        assert!(of(slice(json!(2)), 3).is_err_and(|e| e.contains("one of images")));
        assert!(of(slice(json!(3)), 2).is_err_and(|e| e.contains("spatial_dim")));
    }

    #[test]
    fn windows_are_those_of_monai_and_others_are_refused_by_name() {
        let sliding = |more: Value| {
            let mut v = json!({"_target_": "monai.inferers.SlidingWindowInferer", "roi_size": 32});
            v.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(v, 3)
        };
        let w = sliding(
            json!({"padding_mode": "replicate", "mode": "monai.utils.BlendMode.GAUSSIAN", "overlap": [0.5, 0.5, 0.5]}),
        );
        let w = w.unwrap().window.unwrap();
        assert_eq!(
            (w.size, w.border, w.blend, w.overlap),
            (vec![32; 3], PadMode::Edge, Weighting::Gaussian, 0.5)
        );
        assert_eq!(
            sliding(json!({"cval": 0.0, "sigma_scale": 0.125})).unwrap().window.unwrap().overlap,
            0.25
        );
        for (more, told) in [
            (json!({"padding_mode": "circular"}), "circular"),
            (json!({"overlap": [0.5, 0.25, 0.5]}), "differs between axes"),
            (json!({"overlap": 0.97}), "0.94"),
            (json!({"mode": "other"}), "other"),
            (json!({"sigma_scale": 0.2}), "sigma_scale"),
            (json!({"roi_size": [32, 32, -1]}), "roi_size"),
            (json!({"roi_size": 0}), "no size"),
            (json!({"with_coord": true}), "with_coord"),
            (json!({"_target_": "scripts.SlidingWindowInferer"}), "scripts.SlidingWindowInferer"),
            (json!({"_target_": "SaliencyInferer"}), "SaliencyInferer"),
        ] {
            assert!(sliding(more).is_err_and(|e| e.contains(told)), "{told}");
        }
        assert!(of(json!({"_target_": "SimpleInferer"}), 3).unwrap().window.is_none());
    }
}
