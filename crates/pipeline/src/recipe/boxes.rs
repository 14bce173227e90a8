//! Recipes whose networks find boxes (`crop`): what they look for, when they run, and what must hold of them.

use super::schema::{Section, unknown};
use super::{Kind, Network, PostStep, Recipe, Role, Step, Task};

impl Network {
    /// Values, as this network's channels are numbered, of the labels that its box is around.
    pub(crate) fn looks_for(&self) -> Vec<u16> {
        let wanted = |name: &String| self.crop.as_ref().is_some_and(|c| c.labels.contains(name));
        self.labels.iter().zip(0u16..).filter(|(name, _)| wanted(name)).map(|(_, i)| i).collect()
    }
}

impl Recipe {
    /// Takes out the networks that run only where labels were chosen, and the labels that are in no result from what results
    /// have; returns those networks.
    pub(crate) fn set_aside(&mut self) -> Vec<Network> {
        let asks = |n: &Network| n.crop.as_ref().is_some_and(|c| c.subset);
        let (aside, rest) = self.network.drain(..).partition(asks);
        self.network = rest;
        if self.label.iter().any(|l| l.auxiliary) {
            self.name_channels();
            let (auxiliary, label) = self.label.drain(..).partition(|l| l.auxiliary);
            (self.label, self.dropped) = (label, auxiliary);
        }
        aside
    }

    /// Makes the boxes of networks that look for what a user chose those around `names`.
    pub(super) fn look_for(&mut self, names: &[String]) -> Result<(), String> {
        for network in &mut self.network {
            let Some(crop) = network.crop.as_mut().filter(|c| c.subset) else { continue };
            if let Some(strange) = names.iter().find(|n| !network.labels.contains(n)) {
                return Err(format!(
                    "the label `{strange}` is none of those by which the model finds the part of the image that it segments"
                ));
            }
            crop.labels = names.to_vec();
            crop.subset = false;
        }
        Ok(())
    }

    /// Whether some steps are done to labels before they return to the image's own grid.
    pub(crate) fn returns_late(&self) -> bool {
        self.postprocess.iter().any(|p| p.step == PostStep::Return {})
    }
}

/// Notes what does not fit together about boxes, and about labels that return late.
pub(super) fn check(r: &Recipe, top: &Section) {
    for (i, n) in r.network.iter().enumerate() {
        let Some(crop) = &n.crop else { continue };
        let wrong = |m: String| top.wrong_item("network", i, m);
        if i > 0 && r.network[i - 1].role() != Role::Crop {
            wrong("networks with `crop` come before all others".into());
        }
        if r.kind() != Kind::Volume || r.model.task != Task::Segmentation {
            wrong("`crop` is for segmentations of volumes".into());
        }
        if n.labels.is_empty() {
            wrong("with `crop` it must name its `labels`, in the order of its channels".into());
        }
        if n.labels.len() == 1 {
            wrong("with `crop` each place gets the label whose channel is highest, so it needs one for what is not looked for, too".into());
        }
        let known: Vec<&str> = n.labels.iter().map(String::as_str).filter(|l| !l.is_empty()).collect();
        for strange in crop.labels.iter().filter(|l| !known.contains(&l.as_str())) {
            wrong(format!("the label `{strange}` of `crop` {}", unknown(strange, &known)));
        }
    }
    let late: Vec<usize> =
        (0..r.postprocess.len()).filter(|i| r.postprocess[*i].step == PostStep::Return {}).collect();
    let Some(first) = late.first() else { return };
    if let Some(twice) = late.get(1) {
        top.wrong_item("postprocess", *twice, "labels return once");
    }
    let interpolates =
        |s: &Step| matches!(s, Step::Resample { back, .. } | Step::Resize { back, .. } if !back.is_nearest());
    if r.kind() != Kind::Volume {
        top.wrong_item("postprocess", *first, "`return` is for volumes");
    }
    if r.preprocess.iter().any(interpolates) {
        let reason = "labels can return late only where all steps of [[preprocess]] have `back = \"nearest\"` or \"nearest-exact\"";
        top.wrong_item("postprocess", *first, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
version = 2
[model]
name = "x"
task = "segmentation"
[[input]]
name = "a"
[[preprocess]]
step = "resample"
spacing = 1.5
method = "linear"
rule = "zoom"
back = "nearest"
[[network]]
outputs = ["rough"]
labels = ["none", "liver", "spleen"]
crop = { subset = true, margin-mm = 20, empty = "background", truncate = true }
[[network]]
outputs = ["fine"]
labels = ["none", "liver", "spleen", "cyst"]
[[label]]
name = "none"
[[label]]
name = "liver"
[[label]]
name = "spleen"
[[label]]
name = "cyst"
auxiliary = true
[[postprocess]]
step = "largest"
[[postprocess]]
step = "return"
"#;

    fn outputs(r: &Recipe) -> String {
        r.network.iter().flat_map(|n| n.outputs.clone()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn networks_that_look_for_what_is_wanted_run_where_something_is() {
        let read = Recipe::parse(TEXT, "").unwrap();
        assert_eq!(Recipe::parse(&read.to_text(), "").unwrap(), read);
        let mut all = read.clone();
        assert_eq!((all.set_aside().len(), outputs(&all).as_str()), (1, "fine"));
        let named = |r: &Recipe| r.label.iter().map(|l| l.name.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!((named(&all).as_str(), all.dropped.len()), ("none liver spleen", 1));
        let again = Recipe::parse(&all.to_text(), "").unwrap();
        assert!(again.label.iter().any(|l| l.name == "cyst" && l.auxiliary));
        let mut some = all.clone();
        some.network.splice(0..0, read.clone().set_aside());
        some.keep_labels(&["spleen".to_owned()]).unwrap();
        assert_eq!((outputs(&some).as_str(), named(&some).as_str()), ("rough fine", "none spleen"));
        assert_eq!((some.network[0].looks_for(), some.dropped.len()), (vec![2], 2));
        let mut whole = read.clone();
        whole.outputs.whole_only = "the rough network is not there".into();
        assert!(whole.keep_labels(&["spleen".to_owned()]).unwrap_err().contains("not there"));
        let mut unknown = read;
        unknown.network[0].labels.pop();
        assert!(unknown.keep_labels(&["spleen".to_owned()]).unwrap_err().contains("is none of those"));
    }

    #[test]
    fn boxes_that_do_not_fit_are_reported() {
        for (from, to, words) in [
            ("subset = true, ", "", "either `labels` or `subset"),
            ("subset = true, ", "labels = [\"livers\"], ", "did you mean `liver`"),
            ("back = \"nearest\"", "back = \"linear\"", "return late"),
            ("margin-mm = 20", "margin-mm = -1", "0 to 1000"),
            ("step = \"largest\"", "step = \"return\"", "return once"),
            ("labels = [\"none\", \"liver\", \"spleen\"]\ncrop", "crop", "must name its `labels`"),
            (
                "outputs = [\"fine\"]",
                "outputs = [\"fine\"]\ncrop = { labels = [\"liver\"] }",
                "takes no `bounds`",
            ),
            ("task = \"segmentation\"", "task = \"regression\"", "`crop` is for segmentations"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            let told = Recipe::parse(&text, "").unwrap_err().to_string();
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
