//! Dictionary transforms of MONAI after the network: how scores become labels.

use super::super::config::Config;
use super::lambda;
use super::operations::truth;
use super::references::{expression, known};
use super::transform::{class, first, only};
use crate::Result;
use ampoule_pipeline::recipe::*;

/// What transforms after the network come to.
#[derive(Default)]
pub(super) struct After {
    pub activation: Activation,
    pub argmax: bool,
    pub threshold: Option<f64>,
    pub largest: Option<Components>,
    /// How values come back to the image's grid; labels that were not brought back are saved there by the nearest voxel.
    pub back: Option<Back>,
    /// Whether values came back before they were probabilities.
    pub logits: bool,
    /// Whether decided labels came back by interpolation.
    pub blurred: bool,
    /// Whether labels have a channel each.
    channels: bool,
    /// Channels and their labels, each laid over those before it.
    pub regions: Option<Vec<(usize, u16)>>,
}

/// Whose largest component stays.
pub(super) struct Components {
    /// Values of labels; all where there are none.
    pub labels: Vec<usize>,
    pub together: bool,
    pub neighbours: Neighbours,
    /// Whether `labels` are numbers of channels.
    pub by_channel: bool,
    /// Whether it is looked for before labels return to the image's grid.
    pub early: bool,
}

impl Components {
    /// Whether the components of a label are looked at.
    pub fn holds(&self, label: &Label) -> bool {
        self.labels.contains(&if self.by_channel { label.channel } else { usize::from(label.value) })
    }
}

impl After {
    /// Notes one transform.
    pub fn take(&mut self, c: &Config) -> Result<()> {
        let Some(name) = class(c)? else { return Ok(()) };
        let on = |key: &str| first(c, key).is_some_and(|v| truth(v.value()));
        match name.as_str() {
            "Activations" => {
                only(c, &["softmax", "sigmoid"])?;
                self.activation = match (on("softmax"), on("sigmoid")) {
                    (true, _) => Activation::Softmax,
                    (false, true) => Activation::Sigmoid,
                    (false, false) => self.activation,
                };
            }
            "Invert" => {
                c.get("nearest_interp").map_or(Ok(()), |n| known(&n))?;
                // Without a word it takes the nearest voxel.
                let nearest = first(c, "nearest_interp").is_none_or(|n| truth(n.value()));
                if let Some(f) = c.get("post_func") {
                    return Err(f.wrong("changes what has returned, which is not known"));
                }
                if let Some(largest) = &mut self.largest {
                    largest.early = true;
                }
                self.back = Some(if nearest { Back::Nearest } else { Back::Linear });
                self.logits = self.activation == Activation::None && !self.argmax;
                self.blurred = !nearest && (self.argmax || self.threshold.is_some());
            }
            "SaveImage" | "SaveClassification" | "EnsureType" | "CastToType" | "ToDevice" | "DeleteItems"
            | "Identity" | "ToTensor" | "ToNumpy" | "FromMetaTensor" => {}
            "Lambda" => {
                let f = c.need("func")?;
                let text = expression(&f).or(f.value().as_str()).unwrap_or_default();
                match lambda::regions(text) {
                    Some(found) if self.threshold.is_some() => self.regions = Some(found),
                    // The background has no label here, whether it has a channel or not.
                    None if self.argmax && self.channels && lambda::without_first(text) => {}
                    Some(_) | None => {
                        return Err(f.wrong(format_args!(
                            "is the function `{text}`, which changes the labels and is not known"
                        )));
                    }
                }
            }
            "AsDiscrete" => {
                only(c, &["argmax", "threshold", "to_onehot", "dim", "keepdim"])?;
                self.argmax |= on("argmax");
                self.channels |= first(c, "to_onehot").is_some_and(|n| n.value() != false);
                if let Some(given) = first(c, "threshold") {
                    self.threshold = Some(given.number()?);
                }
            }
            "KeepLargestConnectedComponent" => {
                only(c, &["applied_labels", "independent", "connectivity", "is_onehot", "num_components"])?;
                if let Some(many) = c.get("num_components").filter(|n| n.value() != 1) {
                    return Err(many.wrong("keeps several components, which is not known"));
                }
                let labels = match c.get("applied_labels").filter(|l| !l.value().is_null()) {
                    Some(list) if list.value().is_array() => list.sizes(usize::from(u16::MAX))?,
                    Some(one) => vec![one.size(usize::from(u16::MAX))?],
                    None => Vec::new(),
                };
                let neighbours = match first(c, "connectivity") {
                    Some(n) if n.value() == 1 => Neighbours::Faces,
                    Some(n) if n.value() == 2 => {
                        return Err(n.wrong("is known as 1 or 3, by faces or with corners"));
                    }
                    Some(_) | None => Neighbours::Full,
                };
                if self.largest.is_some() {
                    return Err(c.wrong("is a second one, which is not known"));
                }
                if !self.argmax && self.threshold.is_none() {
                    return Err(c.wrong("stands before labels are decided, which is not known"));
                }
                let together = first(c, "independent").is_some_and(|i| !truth(i.value()));
                let by_channel = !self.argmax && self.regions.is_none();
                self.largest = Some(Components { labels, together, neighbours, by_channel, early: false });
            }
            other => {
                return Err(c.wrong(format_args!(
                    "is the transform {}, which changes the labels and is not known",
                    c.need("_target_")?.text().unwrap_or(other)
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn after(list: Value) -> Result<After> {
        let mut out = After::default();
        let c = Config::root(&list, "inference.json".into());
        c.list()?.iter().try_for_each(|t| out.take(t)).map(|()| out)
    }

    #[test]
    fn results_come_back_as_the_bundle_says() {
        let invert =
            |nearest: Value| json!({"_target_": "Invertd", "keys": "pred", "nearest_interp": nearest});
        let soft = json!({"_target_": "Activationsd", "keys": "pred", "softmax": [true]});
        let pick = json!({"_target_": "AsDiscreted", "keys": ["pred"], "argmax": [true, false]});
        let a = after(json!([soft, invert(json!(false)), pick])).unwrap();
        assert_eq!(
            (a.back, a.logits, a.argmax, a.activation),
            (Some(Back::Linear), false, true, Activation::Softmax)
        );
        let a = after(json!([invert(Value::Null), soft, pick])).unwrap();
        assert_eq!((a.back, a.logits), (Some(Back::Nearest), true));
        let a = after(json!([{"_target_": "AsDiscreted", "keys": "pred", "threshold": [0.3]}])).unwrap();
        assert_eq!((a.threshold, a.back), (Some(0.3), None));
        let largest = json!({"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 3], "independent": false, "connectivity": 1});
        assert!(after(json!([largest])).is_err(), "labels that are not decided yet");
        let c = after(json!([pick, largest])).unwrap().largest.unwrap();
        assert_eq!((c.labels, c.together, c.neighbours), (vec![1, 3], true, Neighbours::Faces));
        assert!(!c.by_channel && !c.early);
        let cut = json!({"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5});
        assert!(after(json!([cut, largest])).unwrap().largest.unwrap().by_channel);
        assert!(after(json!([pick, largest, invert(Value::Null)])).unwrap().largest.unwrap().early);
        assert!(after(json!([pick, largest, largest])).is_err(), "two of them");
        // What Python takes as true is true.
        let a = after(json!([{"_target_": "AsDiscreted", "keys": "pred", "argmax": 1}])).unwrap();
        assert!(a.argmax);
        assert!(
            after(json!([{"_target_": "Invertd", "keys": "pred", "post_func": "$lambda x: 1 - x"}])).is_err()
        );
    }
}
