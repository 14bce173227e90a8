//! Which label each score of a network is of, and recipes of some of the labels only.

use super::{Label, Network, Recipe, Role, Rule};
use std::collections::HashMap;

/// One score that a network gives for each pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    /// The network's channel.
    pub channel: usize,
    /// The value that its label has in a label map.
    pub value: u16,
    /// The score above which it counts.
    pub threshold: f64,
    /// The label, by its number in the recipe; none where it is in no result.
    pub label: Option<usize>,
}

impl Recipe {
    /// By which rule the labels of a network are decided.
    pub(crate) fn rule_of(&self, network: &Network) -> Rule {
        if network.crop.is_some() { Rule::Argmax } else { self.decide.rule }
    }

    /// The scores of a network, in the order in which they are read. Labels of one that finds a box are numbered as its
    /// channels are.
    pub(crate) fn scored(&self, network: &Network) -> Vec<Scored> {
        if network.crop.is_some() {
            let one =
                |(channel, value)| Scored { channel, value, threshold: self.decide.threshold, label: None };
            return (0..network.labels.len()).zip(0u16..).map(one).collect();
        }
        let places: HashMap<&str, usize> =
            self.label.iter().enumerate().map(|(i, l)| (l.name.as_str(), i)).collect();
        let one = |channel: usize, l: &Label| Scored {
            channel,
            value: l.value,
            threshold: l.threshold.unwrap_or(self.decide.threshold),
            label: places.get(l.name.as_str()).copied(),
        };
        if network.labels.is_empty() {
            return self.label.iter().map(|l| one(l.channel, l)).collect();
        }
        let computed: HashMap<&str, &Label> = self.computed().map(|l| (l.name.as_str(), l)).collect();
        let named = |name: &String| computed.get(name.as_str()).copied();
        let read = network.labels.iter().enumerate();
        read.filter_map(|(channel, name)| named(name).map(|l| one(channel, l))).collect()
    }

    /// All labels that networks give: those of the results, and those that are in none.
    pub(crate) fn computed(&self) -> impl Iterator<Item = &Label> {
        self.label.iter().chain(&self.dropped)
    }

    /// Keeps the labels called `names` and the background. Part models that give none of them go; other networks
    /// decide among all their labels as before, steps after that see all, and what is not kept is in no result. The error says
    /// which name is no label.
    pub fn keep_labels(&mut self, names: &[String]) -> Result<(), String> {
        if self.is_image_level() || self.slide.is_some() {
            return Err("some labels only are for segmentations of volumes, photos and tiles".into());
        }
        let kept = |name: &str| names.iter().any(|n| n == name);
        if let Some(strange) = names.iter().find(|n| self.foreground().all(|l| l.name != **n)) {
            let known: Vec<&str> = self.foreground().map(|l| l.name.as_str()).collect();
            return Err(format!("the label `{strange}` {}", super::schema::unknown(strange, &known)));
        }
        if !self.outputs.whole_only.is_empty() {
            return Err(self.outputs.whole_only.clone());
        }
        self.look_for(names)?;
        if self.foreground().all(|l| kept(&l.name)) {
            return Ok(());
        }
        self.name_channels();
        if self.network.iter().any(|n| n.join) {
            self.keep_part_models(&kept);
        }
        if let Some(last) = self.network.last_mut() {
            last.join = false;
        }
        let (label, rest) = self.label.drain(..).partition(|l| l.value == 0 || kept(&l.name));
        let rest: Vec<Label> = rest;
        self.label = label;
        self.dropped.extend(rest);
        let networks = &self.network;
        let gives = |n: &Network, l: &Label| n.crop.is_none() && n.labels.contains(&l.name);
        self.dropped.retain(|l| networks.iter().any(|n| gives(n, l)));
        self.outputs.heat.retain(|name| kept(name));
        match self.inside_of_what_is_not_computed() {
            Some(name) => {
                Err(format!("a step of the recipe keeps what is inside the label `{name}`; name it too"))
            }
            None => Ok(()),
        }
    }

    /// Names the labels of the channels of all networks that give results, where they have no names of their own.
    pub(super) fn name_channels(&mut self) {
        let all = self.named_in_order();
        for network in &mut self.network {
            if !matches!(network.role(), Role::Bounds(_) | Role::Crop) && network.labels.is_empty() {
                network.labels.clone_from(&all);
            }
        }
    }

    /// Keeps the part models that give a label which is `kept`, each with the networks that bound what it sees, and those that
    /// find a box for all.
    fn keep_part_models(&mut self, kept: &dyn Fn(&str) -> bool) {
        let mut leading = Vec::new();
        for network in std::mem::take(&mut self.network) {
            if network.role() == Role::Crop {
                self.network.push(network);
                continue;
            }
            let leads = matches!(network.role(), Role::Bounds(_));
            let gives = network.labels.iter().any(|n| kept(n));
            leading.push(network);
            match (leads, gives) {
                (true, _) => {}
                (false, true) => self.network.append(&mut leading),
                (false, false) => leading.clear(),
            }
        }
    }

    fn inside_of_what_is_not_computed(&self) -> Option<&String> {
        let computed = |name: &String| self.computed().any(|l| l.name == *name);
        self.postprocess.iter().filter_map(|p| p.step.inside()).find(|label| !computed(label))
    }

    /// Names of the labels by the network's channel; empty for channels of no label.
    fn named_in_order(&self) -> Vec<String> {
        let channels = self.label.iter().map(|l| l.channel + 1).max().unwrap_or(0);
        let mut names = vec![String::new(); channels];
        self.label.iter().for_each(|l| names[l.channel].clone_from(&l.name));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_model_goes_with_what_bounds_it() {
        let part = |outputs: &str, more: &str| format!("[[network]]\noutputs = [\"{outputs}\"]\n{more}\n");
        let bounds = "[network.bounds]\nthreshold = 0.5";
        let text = String::from(
            "version = 2\n[model]\nname = \"x\"\ntask = \"segmentation\"\n[[input]]\nname = \"a\"\n",
        ) + &part("box a", bounds)
            + &part("a", "join = true\nlabels = [\"none\", \"liver\"]")
            + &part("box b", bounds)
            + &part("b", "labels = [\"none\", \"spleen\", \"aorta\"]")
            + "[[label]]\nname = \"none\"\n[[label]]\nname = \"liver\"\n[[label]]\nname = \"spleen\"\n[[label]]\nname = \"aorta\"\n";
        let of = |names: &[&str]| {
            let mut recipe = Recipe::parse(&text, "").unwrap();
            recipe.keep_labels(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
            let outputs: Vec<String> = recipe.network.iter().flat_map(|n| n.outputs.clone()).collect();
            (outputs.join(" "), recipe.dropped.len(), recipe.last().role())
        };
        assert_eq!(of(&["liver"]), ("box a a".into(), 0, Role::Result));
        assert_eq!(of(&["aorta"]), ("box b b".into(), 1, Role::Result));
        assert_eq!(of(&["liver", "spleen"]), ("box a a box b b".into(), 1, Role::Result));
    }
}
