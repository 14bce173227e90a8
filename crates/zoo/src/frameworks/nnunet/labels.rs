//! The labels of `dataset.json`: a class for each voxel, or regions that may lie within one another.

use super::super::config::Config;
use crate::Result;
use ampoule_pipeline::recipe::{Activation, Decide, Label, Rule};
use std::collections::BTreeSet;

/// Largest value in label maps.
const MOST: usize = u16::MAX as usize;

/// What the channels of a network stand for.
#[derive(Debug, PartialEq)]
pub(super) enum Labels {
    /// One label a channel, background first.
    Classes(Vec<String>),
    /// Name of each region, and the value that it writes, in the order of channels.
    Regions(Vec<(String, u16)>),
}

/// The values that a label stands for.
fn values(c: &Config) -> Result<Vec<usize>> {
    let list = if c.value().is_array() { c.sizes(MOST)? } else { vec![c.size(MOST)?] };
    match list.is_empty() {
        true => Err(c.wrong("names no value")),
        false => Ok(list),
    }
}

impl Labels {
    pub fn read(dataset: &Config) -> Result<Labels> {
        let given = dataset.need("labels")?;
        let mut all: Vec<(String, Vec<usize>)> = Vec::new();
        for (name, c) in given.entries()? {
            // In older files names and numbers stand the other way round.
            let swapped = name.parse::<usize>().is_ok() && c.value().is_string();
            if swapped {
                return Err(given.wrong(
                    "maps numbers to names, as nnU-Net 1 has it; names are mapped to numbers in version 2",
                ));
            }
            // Voxels of this label were left out of training; no channel stands for it.
            if name != "ignore" {
                all.push((name.to_owned(), values(&c)?));
            }
        }
        if !all.iter().any(|(name, v)| name == "background" && *v == [0]) {
            return Err(given.wrong("has no `background` with value 0"));
        }
        match all.iter().any(|(_, v)| v.len() > 1) {
            true => Labels::regions(dataset, all),
            false => Labels::classes(all),
        }
    }

    fn regions(dataset: &Config, all: Vec<(String, Vec<usize>)>) -> Result<Labels> {
        let order = dataset.need("regions_class_order")?;
        let written = order.sizes(MOST)?;
        let names: Vec<String> =
            all.into_iter().filter(|(_, v)| v.iter().any(|n| *n != 0)).map(|l| l.0).collect();
        if names.len() != written.len() {
            return Err(order.wrong(format_args!(
                "has {} values for {} regions",
                written.len(),
                names.len()
            )));
        }
        Ok(Labels::Regions(names.into_iter().zip(written.into_iter().map(|v| v as u16)).collect()))
    }

    fn classes(mut all: Vec<(String, Vec<usize>)>) -> Result<Labels> {
        all.sort_by_key(|(_, v)| v[0]);
        all.dedup_by_key(|(_, v)| v[0]);
        Ok(Labels::Classes(all.into_iter().map(|l| l.0).collect()))
    }

    /// Channels of the network's output.
    pub fn count(&self) -> usize {
        match self {
            Labels::Classes(names) => names.len(),
            Labels::Regions(list) => list.len(),
        }
    }

    pub fn activation(&self) -> Activation {
        match self {
            Labels::Classes(_) => Activation::Softmax,
            Labels::Regions(_) => Activation::Sigmoid,
        }
    }

    pub fn decide(&self) -> Decide {
        match self {
            Labels::Classes(_) => Decide { rule: Rule::Argmax, ..Decide::default() },
            Labels::Regions(_) => Decide { rule: Rule::Regions, ..Decide::default() },
        }
    }

    pub fn list(&self) -> Vec<Label> {
        match self {
            Labels::Classes(names) => {
                names.iter().enumerate().map(|(i, n)| Label::named(i, n.clone())).collect()
            }
            Labels::Regions(list) => {
                let one = |(i, (name, value)): (usize, &(String, u16))| Label {
                    value: *value,
                    ..Label::named(i, name.clone())
                };
                list.iter().enumerate().map(one).collect()
            }
        }
    }

    /// Values of label maps that mean something: the channels that a cascade sees of them.
    pub fn written(&self) -> usize {
        self.list().iter().filter(|l| l.value != 0).count()
    }

    /// Refuses a cascade where the values of `dataset.json`, each a channel there, are not those that are written.
    pub fn must_all_be_written(&self, dataset: &Config) -> Result<()> {
        let given = dataset.need("labels")?;
        let mut all = BTreeSet::new();
        for (_, c) in given.entries()?.iter().filter(|(name, _)| *name != "ignore") {
            all.extend(values(c)?.into_iter().filter(|v| *v != 0));
        }
        let written: BTreeSet<usize> =
            self.list().iter().map(|l| usize::from(l.value)).filter(|v| *v != 0).collect();
        match all == written {
            true => Ok(()),
            false => Err(given.wrong(
                "has values that no region writes; a cascade has a channel for each, which is not known",
            )),
        }
    }

    /// Names of the labels that write these values.
    pub fn named(&self, values: &[usize]) -> Vec<String> {
        self.list().into_iter().filter(|l| values.contains(&(l.value as usize))).map(|l| l.name).collect()
    }
}
