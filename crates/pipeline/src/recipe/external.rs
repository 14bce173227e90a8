//! Recipes in formats of other programs: WSInfer's `config.json` and `metadata.json` of MONAI bundles.

use super::{
    About, Activation, Back, Colours, Decide, Divisor, Input, Kind, Label, Method, Middle, Network, Outputs,
    Recipe, Rule, SizeKey, Slide, SlideRule, SpacingRule, Step, Task, TissueRule, VERSION, Weighting,
};
use crate::recipe::input::Agree;
use serde_json::Value;

/// The recipe that a JSON text means.
pub(super) fn parse(text: &str) -> Result<Recipe, String> {
    let v: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let wsinfer = v.get("class_names").is_some() && v.get("patch_size_pixels").is_some();
    match v.get("network_data_format") {
        _ if wsinfer => self::wsinfer(&v),
        Some(_) => monai(&v),
        None => Err("it is neither WSInfer's config.json nor a MONAI bundle's metadata.json".into()),
    }
}

fn number(v: &Value, key: &str) -> Result<f64, String> {
    v.get(key).and_then(Value::as_f64).ok_or_else(|| format!("`{key}` is missing or no number"))
}

fn three(v: &Value, key: &str) -> Result<Vec<f64>, String> {
    let list: Option<Vec<f64>> = v.get(key).and_then(|v| serde_json::from_value(v.clone()).ok());
    list.filter(|l| l.len() == 3).ok_or_else(|| format!("`{key}` is not a list of three numbers"))
}

/// One class alone is a probability against the rest.
fn with_rest(mut classes: Vec<String>, many: Activation) -> (Vec<String>, Activation) {
    match classes.len() {
        1 => {
            classes.insert(0, "other".into());
            (classes, Activation::Sigmoid)
        }
        _ => (classes, many),
    }
}

fn recipe(
    name: String,
    task: Task,
    classes: Vec<String>,
    activation: Activation,
    preprocess: Vec<Step>,
) -> Recipe {
    let text = String::new;
    let about =
        About { name, task, description: text(), reference: text(), license: text(), intended_use: text() };
    let image = Input {
        name: "image".into(),
        kind: Kind::Image,
        colours: Colours::Rgb,
        suffix: Vec::new(),
        series: Vec::new(),
        modality: None,
        frame: None,
        grid: Agree::Same,
    };
    let several = activation == Activation::Sigmoid && classes.len() > 2;
    Recipe {
        version: VERSION,
        model: about,
        input: vec![image],
        preprocess,
        network: vec![Network { activation, ..Network::plain() }],
        decide: Decide {
            rule: if several && task == Task::Segmentation { Rule::Threshold } else { Rule::Argmax },
            ..Decide::default()
        },
        label: classes.into_iter().enumerate().map(|(i, c)| Label::named(i, c)).collect(),
        dropped: Vec::new(),
        postprocess: Vec::new(),
        slide: None,
        tiles: None,
        outputs: Outputs::default(),
    }
}

/// Whether the name of a classifier's first class says that nothing is there.
fn is_nothing(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    let begins = [
        "other",
        "background",
        "nothing",
        "none",
        "negative",
        "normal",
        "benign",
        "healthy",
        "no_",
        "no-",
        "no ",
        "non",
        "nomet",
        "notum",
        "notil",
        "not_",
        "not-",
    ];
    name == "no" || name.contains("negative") || begins.iter().any(|b| name.starts_with(b))
}

/// WSInfer's: a classifier of patches, with torchvision's transforms.
fn wsinfer(v: &Value) -> Result<Recipe, String> {
    let names = v.get("class_names").and_then(|n| serde_json::from_value::<Vec<String>>(n.clone()).ok());
    let names = names.ok_or("`class_names` is not a list of names")?;
    if v.get("num_classes").and_then(Value::as_u64).is_some_and(|n| n != names.len() as u64) {
        return Err("`num_classes` is not the number of `class_names`".into());
    }
    let (mut resize, mut crop, mut normalise) = (None, None, Step::Divide { by: Divisor::Number(255.0) });
    // The only order that a recipe has.
    let order = ["Resize", "CenterCrop", "ToTensor", "Normalize"];
    let mut reached = 0;
    for t in v.get("transform").and_then(Value::as_array).into_iter().flatten() {
        let kind = t.get("name").and_then(Value::as_str).unwrap_or_default();
        let arguments = t.get("arguments").cloned().unwrap_or_default();
        let size = || -> Result<Vec<usize>, String> {
            let size = arguments.get("size").cloned().unwrap_or_default();
            let one = size.as_u64().map(|n| vec![n as usize]);
            let many = || serde_json::from_value::<Vec<usize>>(size.clone()).ok();
            one.or_else(many).filter(|s| (1..=2).contains(&s.len())).ok_or(format!("{kind} has no size"))
        };
        if let Some(at) = order.iter().position(|o| *o == kind) {
            if at < reached {
                return Err(format!("its transforms stand in another order than {}", order.join(", ")));
            }
            reached = at + 1;
        }
        let known = ["size", "mean", "std", "interpolation", "antialias", "inplace"];
        let strange = arguments.as_object().and_then(|a| a.keys().find(|k| !known.contains(&k.as_str())));
        let filter = arguments.get("interpolation").cloned().unwrap_or("bilinear".into());
        if let Some(k) = strange {
            return Err(format!("its transform `{kind}` has the argument `{k}`, which is not known"));
        }
        if filter != "bilinear" && filter != 2 {
            return Err(format!("its transform `{kind}` interpolates by {filter}; bilinear is known"));
        }
        match kind {
            "Resize" => {
                let (size, shorter) = match size()?[..] {
                    [h, w] => (vec![w, h], None),
                    ref one => (Vec::new(), Some(one[0])),
                };
                resize = Some(bilinear(size, shorter));
            }
            "CenterCrop" => {
                let s = size()?;
                crop = Some(Step::CentreCrop { size: vec![s[s.len() - 1], s[0]], rule: Middle::Torchvision });
            }
            "ToTensor" => {}
            "Normalize" => {
                let (mean, deviation) = (three(&arguments, "mean")?, three(&arguments, "std")?);
                normalise = Step::MeanDeviation { mean, deviation, maximum: 255.0 };
            }
            other => {
                return Err(format!(
                    "its transform `{other}` is not known (Resize, CenterCrop, ToTensor, Normalize are)"
                ));
            }
        }
    }
    let (classes, activation) = with_rest(names, Activation::Softmax);
    let name = v.get("name").or(v.get("architecture")).and_then(Value::as_str).unwrap_or("wsinfer");
    let steps = resize.into_iter().chain(crop).chain([normalise]).collect();
    let background = classes.first().is_some_and(|c| is_nothing(c));
    let mut r = recipe(name.into(), Task::Classification, classes, activation, steps);
    if !background {
        // The first class is one like the others, and no background.
        r.label.iter_mut().for_each(|l| l.value += 1);
    }
    r.slide = Some(Slide {
        mpp: Some(number(v, "spacing_um_px")?),
        level: None,
        window: number(v, "patch_size_pixels")? as usize,
        overlap: 0.0,
        blend: Weighting::Average,
        rule: SlideRule::Wsinfer,
        tissue: TissueRule::Wsinfer,
        clip: false,
        smallest: 0.0,
    });
    Ok(r)
}

/// The first of a bundle's inputs or outputs.
fn first<'a>(v: &'a Value, side: &str) -> Option<&'a Value> {
    v.get("network_data_format")?.get(side)?.as_object()?.values().next()
}

fn monai_shape(v: &Value) -> Option<&Vec<Value>> {
    first(v, "inputs")?.get("spatial_shape")?.as_array()
}

/// MONAI's: what its metadata state. They give no pixel size, so slides are read at their finest level.
fn monai(v: &Value) -> Result<Recipe, String> {
    let image = first(v, "inputs").ok_or("it has no inputs")?;
    let out = first(v, "outputs").ok_or("it has no outputs")?;
    let shape = monai_shape(v).ok_or("its input has no spatial_shape")?;
    if shape.len() != 2 {
        return Err(format!("its network takes {} axes; images have two", shape.len()));
    }
    let channels = number(image, "num_channels")?;
    if channels != 3.0 {
        return Err(format!("its network takes {channels} channels; images have three"));
    }
    let range: Vec<f64> =
        image.get("value_range").and_then(|r| serde_json::from_value(r.clone()).ok()).unwrap_or_default();
    let normalise = match range[..] {
        [a, b] if a == 0.0 && b > 0.0 => Step::Divide { by: Divisor::Number(255.0 / b) },
        [a, b] if a == -b && b > 0.0 => {
            Step::MeanDeviation { mean: vec![0.5; 3], deviation: vec![0.5 / b; 3], maximum: 255.0 }
        }
        _ => {
            return Err(
                "its value_range says neither 0 to n nor -n to n; write a recipe (docs/recipes.md)".into()
            );
        }
    };
    let task = match out.get("format").and_then(Value::as_str).unwrap_or_default() {
        "classification" | "classes" => Task::Classification,
        "segmentation" => Task::Segmentation,
        other => {
            return Err(format!(
                "its output's format is `{other}`; classification and segmentation are known"
            ));
        }
    };
    let defined = out.get("channel_def").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut names: Vec<(usize, String)> =
        defined.iter().filter_map(|(k, n)| Some((k.parse().ok()?, n.as_str()?.to_owned()))).collect();
    names.sort();
    let count = number(out, "num_channels")? as usize;
    if names.len() != count || count == 0 {
        return Err(format!("its channel_def names {} of {count} channels", names.len()));
    }
    let names = names.into_iter().map(|n| n.1).collect();
    let kind = out.get("type").and_then(Value::as_str).unwrap_or_default();
    let (names, activation) = with_rest(names, Activation::Softmax);
    let activation = if kind.starts_with("probabilit") { Activation::None } else { activation };
    let whole = |v: &Value| v.as_u64().or_else(|| v.as_str()?.parse().ok()).map(|n| n as usize);
    let name = v.get("name").and_then(Value::as_str).unwrap_or("monai").to_owned();
    let mut r = recipe(name, task, names, activation, vec![normalise]);
    if let (Some(h), Some(w)) = (whole(&shape[0]), whole(&shape[1])) {
        if task == Task::Classification {
            r.preprocess.insert(0, bilinear(vec![w, h], None));
        }
        r.slide = Some(Slide {
            mpp: None,
            level: Some(0),
            window: w.max(h),
            overlap: if task == Task::Classification { 0.0 } else { 0.25 },
            blend: Weighting::Gaussian,
            rule: SlideRule::Covering,
            tissue: TissueRule::Otsu,
            clip: false,
            smallest: 0.0,
        });
    }
    Ok(r)
}

/// torchvision's `Resize`.
fn bilinear(size: Vec<usize>, shorter: Option<usize>) -> Step {
    Step::Resize {
        size: SizeKey { size, shorter },
        method: Method::Bilinear,
        rule: SpacingRule::Nnunet,
        back: Back::Linear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WSINFER: &str = r#"{"spec_version":"1.0","architecture":"resnet34","num_classes":2,
        "class_names":["Other","Tumor"],"patch_size_pixels":350,"spacing_um_px":0.25,
        "transform":[{"name":"Resize","arguments":{"size":224}},{"name":"ToTensor"},
        {"name":"Normalize","arguments":{"mean":[0.7,0.5,0.6],"std":[0.1,0.15,0.11]}}]}"#;
    const MONAI: &str = r#"{"name":"metastases","network_data_format":{"inputs":{"image":{"num_channels":3,
        "spatial_shape":[224,"224"],"value_range":[0,255]}},"outputs":{"pred":{"type":"probability",
        "format":"classification","num_channels":1,"channel_def":{"0":"metastasis"}}}}}"#;

    #[test]
    fn a_first_class_that_is_one_is_no_background() {
        let values = |names: &str| {
            let text = WSINFER.replace(r#"["Other","Tumor"]"#, names);
            let text = text.replace(r#""num_classes":2,"#, "");
            Recipe::parse(&text, "").unwrap().label.iter().map(|l| l.value).collect::<Vec<_>>()
        };
        assert_eq!(values(r#"["Grade3","Grade4or5","Benign"]"#), [1, 2, 3]);
        assert_eq!(values(r#"["Nodule","Vessel"]"#), [1, 2]);
        for nothing in
            ["Other", "notumor", "NoMets", "til-negative", "background(no tissue)", "Benign", "non-tumor"]
        {
            assert_eq!(values(&format!(r#"["{nothing}","Tumor"]"#)), [0, 1], "{nothing}");
        }
    }

    #[test]
    fn what_others_state_becomes_a_recipe() {
        let r = Recipe::parse(WSINFER, "").unwrap();
        let seen = (r.model.task, r.network[0].activation, r.label.len());
        assert_eq!(seen, (Task::Classification, Activation::Softmax, 2));
        let s = r.slide.unwrap();
        assert_eq!((s.mpp, s.window, s.overlap), (Some(0.25), 350, 0.0));
        assert_eq!((s.rule, s.tissue), (SlideRule::Wsinfer, TissueRule::Wsinfer));
        assert_eq!(r.preprocess[0], bilinear(vec![], Some(224)));
        let one = WSINFER
            .replace("[\"Other\",\"Tumor\"]", "[\"Tumor\"]")
            .replace("\"num_classes\":2", "\"num_classes\":1");
        let r = Recipe::parse(&one, "").unwrap();
        assert_eq!(
            (r.network[0].activation, r.classes()),
            (Activation::Sigmoid, vec!["other".into(), "Tumor".into()])
        );
        let r = Recipe::parse(MONAI, "").unwrap();
        assert_eq!((r.network[0].activation, r.label[1].name.as_str()), (Activation::None, "metastasis"));
        assert_eq!(r.preprocess[1], Step::Divide { by: Divisor::Number(1.0) });
        for r in [WSINFER, &one, MONAI].map(|t| Recipe::parse(t, "").unwrap()) {
            assert_eq!(Recipe::parse(&r.to_text(), "").unwrap(), r);
        }
    }

    #[test]
    fn what_they_leave_open_is_asked_for() {
        for (text, from, to, words) in [
            (WSINFER, "\"Resize\"", "\"ColorJitter\"", "ColorJitter"),
            (WSINFER, "\"num_classes\":2", "\"num_classes\":3", "num_classes"),
            (WSINFER, "0.15,0.11", "0.15", "three numbers"),
            (
                WSINFER,
                "\"name\":\"ToTensor\"",
                "\"name\":\"Resize\",\"arguments\":{\"size\":9}",
                "another order",
            ),
            (WSINFER, "\"size\":224", "\"size\":224,\"max_size\":9", "max_size"),
            (WSINFER, "\"size\":224", "\"size\":224,\"interpolation\":\"nearest\"", "nearest"),
            (MONAI, "\"num_channels\":3", "\"num_channels\":4", "4 channels"),
            (MONAI, "[0,255]", "[]", "value_range"),
            (MONAI, "[224,\"224\"]", "[224,224,224]", "3 axes"),
            (MONAI, "{\"0\":\"metastasis\"}", "{}", "names 0 of 1"),
            (MONAI, "\"classification\"", "\"hoverness\"", "hoverness"),
        ] {
            let e = Recipe::parse(&text.replace(from, to), "").unwrap_err().to_string();
            assert!(e.contains(words), "{e}");
        }
    }
}
