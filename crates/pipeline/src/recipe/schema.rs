//! Reading TOML by a schema, so that one pass tells everything that is wrong: file, line, and for an
//! unknown key the nearest that is known.

use crate::error::Problem;
use crate::nearest;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Collects what is wrong while a text is read.
pub(super) struct Problems<'t> {
    text: &'t str,
    /// Where each stands in the text, and what it says.
    list: RefCell<Vec<(usize, String)>>,
}

impl<'t> Problems<'t> {
    pub fn new(text: &'t str) -> Self {
        Problems { text, list: RefCell::default() }
    }

    pub fn add(&self, at: usize, message: impl Into<String>) {
        self.list.borrow_mut().push((at, message.into()));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.borrow().len()
    }

    /// All problems in the order of their lines.
    pub fn into_list(self) -> Vec<Problem> {
        let ends: Vec<usize> = self.text.match_indices('\n').map(|(at, _)| at).collect();
        let told = |(at, message)| Problem { line: 1 + ends.partition_point(|end| *end < at), message };
        let mut list: Vec<Problem> = self.list.into_inner().into_iter().map(told).collect();
        list.sort_by_key(|p| p.line);
        list
    }
}

/// A value that is one of a few names.
pub trait Choice: Sized + Copy + PartialEq + 'static {
    /// The names and what they stand for.
    const NAMES: &'static [(&'static str, Self)];

    /// The name of this value.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|n| n.1 == self).map_or("", |n| n.0)
    }
}

/// Declares an enum whose values are written as names in recipes.
macro_rules! choices {
    ($(#[$meta:meta])* $kind:ident { $($(#[$doc:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        pub enum $kind { $($(#[$doc])* #[serde(rename = $name)] $value,)+ }
        impl $crate::recipe::schema::Choice for $kind {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, $kind::$value),)+];
        }
    };
}
pub(super) use choices;

/// A table of the text, read key by key.
pub(super) struct Section<'a, 't> {
    table: &'a DeTable<'a>,
    /// Where it begins in the text.
    at: usize,
    /// Its name as people write it, for messages.
    name: String,
    seen: RefCell<BTreeSet<&'static str>>,
    problems: &'a Problems<'t>,
}

impl<'a, 't> Section<'a, 't> {
    pub fn new(
        table: &'a DeTable<'a>,
        at: usize,
        name: impl Into<String>,
        problems: &'a Problems<'t>,
    ) -> Self {
        Section { table, at, name: name.into(), seen: RefCell::default(), problems }
    }

    /// Where the value of `key` stands, or the section where it is missing.
    fn place(&self, key: &str) -> usize {
        self.find(key).map_or(self.at, |v| v.span().start)
    }

    fn find(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(k, _)| k.get_ref().as_ref() == key).map(|(_, v)| v)
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.seen.borrow_mut().insert(key);
        self.find(key)
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Notes that the value of `key` is wrong.
    pub fn wrong(&self, key: &str, message: impl std::fmt::Display) {
        let name = if self.name.is_empty() { "the recipe" } else { &self.name };
        self.problems.add(self.place(key), format!("{name}: `{key}` {message}"));
    }

    /// Notes that table `i` of the list under `key` is wrong.
    pub fn wrong_item(&self, key: &str, i: usize, message: impl std::fmt::Display) {
        let item = self.find(key).and_then(|v| v.get_ref().as_array()?.get(i));
        let at = item.map_or_else(|| self.place(key), |v| v.span().start);
        self.problems.add(at, format!("{key} {}: {message}", i + 1));
    }

    /// Notes that the section is wrong.
    pub fn wrong_here(&self, message: impl std::fmt::Display) {
        let name = if self.name.is_empty() { "the recipe" } else { &self.name };
        self.problems.add(self.at, format!("{name}: {message}"));
    }

    fn want<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl Fn(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let found = read(value.get_ref());
        if found.is_none() {
            self.wrong(key, format_args!("must be {what}, not {}", kind(value.get_ref())));
        }
        found
    }

    /// What `read` gives, or a problem where `key` is missing.
    pub fn needed<T>(&self, key: &'static str, value: Option<T>) -> Option<T> {
        if !self.has(key) {
            self.wrong_here(format_args!("`{key}` is missing"));
        }
        value
    }

    pub fn text(&self, key: &'static str) -> Option<String> {
        self.want(key, "a text in quotation marks", |v| v.as_str().map(str::to_owned))
    }

    pub fn flag(&self, key: &'static str) -> Option<bool> {
        self.want(key, "true or false", |v| v.as_bool())
    }

    pub fn number(&self, key: &'static str) -> Option<f64> {
        self.want(key, "a number", number)
    }

    /// A number for which `fits` holds; `range` describes those for the error message.
    pub fn number_where(&self, key: &'static str, range: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
        let v = self.number(key)?;
        if fits(v) {
            return Some(v);
        }
        self.wrong(key, format_args!("must be {range}, not {v}"));
        None
    }

    pub fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let v = self.want(key, "a whole number", integer)?;
        if range.contains(&v) {
            return Some(v);
        }
        self.wrong(key, format_args!("must be {} to {}, not {v}", range.start(), range.end()));
        None
    }

    pub fn size(&self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        let range = *range.start() as i64..=*range.end() as i64;
        self.integer(key, range).map(|v| v as usize)
    }

    fn list<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl Fn(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.want(key, what, |v| v.as_array()?.iter().map(|x| read(x.get_ref())).collect())
    }

    /// A list of texts; a single text is a list of one.
    pub fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let text = |v: &DeValue| v.as_str().map(str::to_owned);
        self.want(key, "a list of texts", |v| match text(v) {
            Some(one) => Some(vec![one]),
            None => v.as_array()?.iter().map(|x| text(x.get_ref())).collect(),
        })
    }

    pub fn numbers(&self, key: &'static str) -> Option<Vec<f64>> {
        self.list(key, "a list of numbers", number)
    }

    /// Two numbers, the first not above the second.
    pub fn range(&self, key: &'static str) -> Option<[f64; 2]> {
        let list = self.list(key, "two numbers, least and most", number)?;
        match list[..] {
            [a, b] if a <= b => Some([a, b]),
            _ => {
                self.wrong(key, "must be two numbers, least and most");
                None
            }
        }
    }

    /// Sizes along axes, each within `range`; `counts` are the numbers of axes that make sense.
    pub fn sizes(
        &self,
        key: &'static str,
        counts: RangeInclusive<usize>,
        range: RangeInclusive<usize>,
    ) -> Option<Vec<usize>> {
        let list = self.list(key, "a list of whole numbers", integer)?;
        let fits = |v: &i64| usize::try_from(*v).is_ok_and(|v| range.contains(&v));
        if counts.contains(&list.len()) && list.iter().all(fits) {
            return Some(list.into_iter().map(|v| v as usize).collect());
        }
        let n = match (counts.start(), counts.end()) {
            (a, b) if a == b => a.to_string(),
            (a, b) => format!("{a} to {b}"),
        };
        self.wrong(key, format_args!("must be {n} whole numbers from {} to {}", range.start(), range.end()));
        None
    }

    pub fn choice<T: Choice>(&self, key: &'static str) -> Option<T> {
        let text = self.text(key)?;
        let found = T::NAMES.iter().find(|n| n.0 == text).map(|n| n.1);
        if found.is_none() {
            let names: Vec<&str> = T::NAMES.iter().map(|n| n.0).collect();
            self.wrong(key, format!("= \"{text}\" {}", unknown(&text, &names)));
        }
        found
    }

    /// The table under `key`.
    pub fn section(&self, key: &'static str) -> Option<Section<'a, 't>> {
        let at = self.place(key);
        let table = self.want(key, "a table", |v| v.as_table())?;
        Some(Section::new(table, at, self.inside(key), self.problems))
    }

    /// The tables under `key`, in order.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'a, 't>> {
        let list = self.want(key, "a list of tables", |v| {
            v.as_array()?
                .iter()
                .map(|x| x.get_ref().as_table().map(|t| (t, x.span().start)))
                .collect::<Option<Vec<_>>>()
        });
        let list = list.unwrap_or_default();
        let many = list.len() > 1;
        let name = |i: usize| match many {
            true => format!("{} {}", self.inside(key), i + 1),
            false => self.inside(key),
        };
        list.into_iter().enumerate().map(|(i, (t, at))| Section::new(t, at, name(i), self.problems)).collect()
    }

    /// How a table below this one is called.
    fn inside(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The key of this section that is read by its value alone, as is done with lists of several types.
    pub fn value(&self, key: &'static str) -> Option<&'a DeValue<'a>> {
        self.get(key).map(|v| v.get_ref())
    }

    /// Reports keys that nobody asked for.
    pub fn done(self) {
        let seen = self.seen.borrow();
        let known: Vec<&str> = seen.iter().copied().collect();
        for key in self.table.keys().filter(|k| !seen.contains(k.get_ref().as_ref())) {
            let text = key.get_ref();
            let what = if self.name.is_empty() { "the recipe" } else { &self.name };
            self.problems.add(key.span().start, format!("{what}: `{text}` {}", unknown(text, &known)));
        }
    }
}

/// What is said of a name that is none of `known`.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    match (nearest(name, known.iter().copied()), known) {
        (Some(k), _) => format!("is not known; did you mean `{k}`?"),
        (None, []) => "is not known".into(),
        (None, _) => format!("is not known; known here: {}", known.join(", ")),
    }
}

fn kind(v: &DeValue) -> &'static str {
    match v {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "this list",
        DeValue::Table(_) => "a table",
    }
}

fn integer(v: &DeValue) -> Option<i64> {
    let i = v.as_integer()?;
    i64::from_str_radix(i.as_str(), i.radix()).ok()
}

/// A finite number.
pub(super) fn number(v: &DeValue) -> Option<f64> {
    let found = match v {
        DeValue::Float(f) => f.as_str().parse().ok(),
        _ => integer(v).map(|i| i as f64),
    };
    found.filter(|f: &f64| f.is_finite())
}
