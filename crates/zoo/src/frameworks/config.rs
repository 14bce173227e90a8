//! Configurations of other programs as trees of values, read with the place in every message.

use crate::{Error, Result};
use serde_json::Value;
use std::path::PathBuf;

/// A value of a configuration file, with where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Config<'a> {
    value: &'a Value,
    file: PathBuf,
    place: String,
}

impl<'a> Config<'a> {
    /// The whole of a file.
    pub fn root(value: &'a Value, file: PathBuf) -> Config<'a> {
        Config { value, file, place: String::new() }
    }

    /// Something is wrong with this value.
    pub fn wrong(&self, reason: impl std::fmt::Display) -> Error {
        let reason = match self.place.as_str() {
            "" => reason.to_string(),
            place => format!("`{place}` {reason}"),
        };
        Error::Folder { path: self.file.clone(), reason }
    }

    /// The same value where it stands under another place.
    pub fn below(mut self, place: &str) -> Config<'a> {
        self.place = place.to_owned();
        self
    }

    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// What stands under a key; `None` where there is nothing or null.
    pub fn get(&self, key: &str) -> Option<Config<'a>> {
        let value = self.value.get(key).filter(|v| !v.is_null())?;
        let place = if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) };
        Some(Config { value, file: self.file.clone(), place })
    }

    /// What must stand under a key.
    pub fn need(&self, key: &str) -> Result<Config<'a>> {
        self.get(key).ok_or_else(|| self.wrong(format_args!("has no `{key}`")))
    }

    pub fn text(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong(format_args!("is {}; a text is expected", self.value)))
    }

    pub fn number(&self) -> Result<f64> {
        let found = self.value.as_f64().filter(|v| v.is_finite());
        found.ok_or_else(|| self.wrong(format_args!("is {}; a number is expected", self.value)))
    }

    pub fn flag(&self) -> Result<bool> {
        self.value
            .as_bool()
            .ok_or_else(|| self.wrong(format_args!("is {}; true or false is expected", self.value)))
    }

    /// A whole number from 0 to `most`.
    pub fn size(&self, most: usize) -> Result<usize> {
        let whole = |v: f64| (v.fract() == 0.0 && (0.0..=most as f64).contains(&v)).then_some(v as usize);
        self.value.as_f64().and_then(whole).ok_or_else(|| {
            self.wrong(format_args!("is {}; a whole number up to {most} is expected", self.value))
        })
    }

    /// The items of a list.
    pub fn list(&self) -> Result<Vec<Config<'a>>> {
        let list = self.value.as_array().ok_or_else(|| self.wrong("is no list"))?;
        let item =
            |(i, value)| Config { value, file: self.file.clone(), place: format!("{}[{i}]", self.place) };
        Ok(list.iter().enumerate().map(item).collect())
    }

    /// The entries of a table in the order of the file.
    pub fn entries(&self) -> Result<Vec<(&'a str, Config<'a>)>> {
        let map = self.value.as_object().ok_or_else(|| self.wrong("is no table"))?;
        let entry = |(key, value): (&'a String, &'a Value)| {
            let place = if self.place.is_empty() { key.clone() } else { format!("{}.{key}", self.place) };
            (key.as_str(), Config { value, file: self.file.clone(), place })
        };
        Ok(map.iter().map(entry).collect())
    }

    pub fn sizes(&self, most: usize) -> Result<Vec<usize>> {
        self.list()?.iter().map(|c| c.size(most)).collect()
    }

    pub fn numbers(&self) -> Result<Vec<f64>> {
        self.list()?.iter().map(Config::number).collect()
    }

    /// A list of `n`, or one number for all.
    pub fn sizes_or_one(&self, n: usize, most: usize) -> Result<Vec<usize>> {
        if self.value.is_number() {
            return Ok(vec![self.size(most)?; n]);
        }
        let list = self.sizes(most)?;
        match list.len() == n {
            true => Ok(list),
            false => Err(self.wrong(format_args!("has {} numbers; {n} are expected", list.len()))),
        }
    }
}
