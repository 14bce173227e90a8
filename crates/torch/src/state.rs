//! The weights of a network among what a checkpoint holds.

use crate::{Checkpoint, Error, Plain, Result};
use ampoule_graph::Tensor;
use std::collections::BTreeMap;

/// The state dict of a network, names as its modules have them.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Tensors by name, without the prefixes of wrappers.
    pub tensors: BTreeMap<String, Tensor>,
    /// Where in the checkpoint they lay; empty at the top.
    pub key: String,
}

/// Where frameworks put the averaged weights, in the order in which they are looked for.
const AVERAGED: [&str; 6] =
    ["state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "average_model"];
/// Where frameworks put the weights: nnU-Net, Lightning and others, GaNDLF, MONAI.
const KEYS: [&str; 10] = [
    "network_weights",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "student",
];
/// What wrappers put before every name: data parallelism, `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

impl Checkpoint {
    /// The state dict of the network: averaged weights where `averaged` asks for them and there are some, else what
    /// lies under the key that the frameworks use, else everything.
    pub fn state(&self, averaged: bool) -> Result<State> {
        let first: &[&str] = if averaged { &AVERAGED } else { &[] };
        let keys = first.iter().chain(&KEYS).chain(if averaged { &[] } else { &AVERAGED[..] });
        // An object is a module itself, whose parts are named as they like.
        let known = |k: &&str| matches!(self.values, Plain::Dict(_)).then(|| self.values.get(k)).flatten();
        let found = keys.filter_map(|k| Some((*k, known(k)?)));
        let found = found.map(|(k, v)| (k, v.tensors())).find(|(_, t)| !t.is_empty());
        let (key, names) = match found {
            Some((key, names)) => (key, names),
            None => self.only(),
        };
        if names.is_empty() {
            return Err(Error::Pickle(format!("there are no tensors in it; it holds {}", self.holds())));
        }
        let short = |name: &str| match name.strip_prefix(key) {
            Some(rest) if !key.is_empty() => rest.trim_start_matches('.').to_owned(),
            _ => name.to_owned(),
        };
        let tensors = names.iter().map(|n| (short(n), self.tensors[*n].clone())).collect();
        Ok(State { tensors: unwrapped(tensors), key: key.to_owned() })
    }

    /// The tensors of the only part that holds any, or all.
    fn only(&self) -> (&str, Vec<&str>) {
        let Plain::Dict(entries) = &self.values else { return ("", self.values.tensors()) };
        let mut with = entries.iter().filter(|(_, v)| !v.tensors().is_empty());
        match (with.next(), with.next()) {
            (Some((Plain::Text(key), v @ (Plain::Dict(_) | Plain::Object { .. }))), None) => {
                (key, v.tensors())
            }
            _ => ("", self.values.tensors()),
        }
    }

    /// What is in it, for a message.
    fn holds(&self) -> String {
        let keys: Vec<&str> =
            self.values.entries().unwrap_or_default().iter().filter_map(|(k, _)| k.text()).take(12).collect();
        match (&self.values, keys.is_empty()) {
            (Plain::Object { class, .. }, _) => format!("an object of the class `{class}`"),
            (_, true) => "nothing with a name".into(),
            (_, false) => keys.join(", "),
        }
    }
}

impl State {
    /// The tensors below `prefix`, without it: the network inside a training module, as Lightning's `model.`.
    pub fn below(&self, prefix: &str) -> State {
        let inside =
            self.tensors.iter().filter_map(|(n, t)| Some((n.strip_prefix(prefix)?.to_owned(), t.clone())));
        State { tensors: inside.collect(), key: self.key.clone() }
    }
}

/// Names without what wrappers put into them.
fn unwrapped(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    while let Some(w) = WRAPPERS.iter().find(|w| tensors.keys().all(|n| n.starts_with(**w))) {
        tensors = tensors.into_iter().map(|(n, t)| (n[w.len()..].to_owned(), t)).collect();
    }
    // Parts of a network may be compiled on their own.
    tensors.into_iter().map(|(n, t)| (n.replace("_orig_mod.", ""), t)).collect()
}
