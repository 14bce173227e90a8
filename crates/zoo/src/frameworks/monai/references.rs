//! The values of a bundle's configuration: references (`@id`), expressions (`$…`) and copies of other parts (`%id`), of
//! those parts only that are asked for.
//!
//! What cannot be evaluated stays as a mark with the reason, and is an error where its value is needed ([`known`]).

use super::super::config::Config;
use super::super::files::Files;
use super::super::{json, yaml};
use super::evaluate::{DEEP, Level, evaluate};
use super::expression::{parse, reference_length};
use super::operations::truth;
use crate::Result;
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Deepest nesting of values and chain of references, and most values that may be copied.
const DEPTH: usize = 48;
const VALUES: usize = 1 << 18;
const MANY: &str = "references copy too many values";
/// Keys of the mark of what is not evaluated.
const EXPRESSION: &str = "_expression_";
const REASON: &str = "_reason_";
/// Keys that say nothing about values.
const ASIDE: [&str; 2] = ["_requires_", "_desc_"];

/// A configuration whose parts are evaluated as they are asked for.
pub(super) struct References<'a> {
    files: &'a Files,
    root: Value,
    /// Values that may still be resolved or copied.
    left: Cell<usize>,
    /// How deep values and expressions stand that are resolved right now.
    depth: Cell<usize>,
    /// Other configuration files that parts are copied of.
    others: RefCell<HashMap<String, Rc<Value>>>,
}

/// The ids on the way to a value, so that none refers to itself.
type Trail<'t> = &'t mut Vec<String>;

/// A step of the way to a value.
type Step = Rc<str>;

fn parts(id: &str) -> Vec<Step> {
    id.replace('#', "::").split("::").filter(|p| !p.is_empty()).map(Step::from).collect()
}

/// What a text counts beside others.
fn long(text: &str) -> usize {
    text.len() / 64
}

/// What a value counts without those in it.
fn own(v: &Value) -> usize {
    1 + match v {
        Value::String(s) => long(s),
        Value::Object(map) => map.keys().map(|k| long(k)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
    }
}

fn unread(expression: &str, reason: &str) -> Value {
    let reason: String = reason.chars().take(300).collect();
    json!({EXPRESSION: expression, REASON: reason})
}

/// The expression and the reason of a mark.
fn mark(v: &Value) -> Option<(&str, &str)> {
    Some((v.get(EXPRESSION)?.as_str()?, v.get(REASON)?.as_str()?))
}

/// Refuses a value that needs an expression that is not evaluated.
pub(super) fn known(c: &Config) -> Result<()> {
    fn first(v: &Value) -> Option<(&str, &str)> {
        match v {
            Value::Array(list) => list.iter().find_map(first),
            Value::Object(map) => mark(v).or_else(|| map.values().find_map(first)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
    first(c.value()).map_or(Ok(()), |found| Err(refused(c, found)))
}

/// The same of the value itself, not of what is in it.
pub(super) fn known_itself(c: &Config) -> Result<()> {
    mark(c.value()).map_or(Ok(()), |found| Err(refused(c, found)))
}

/// The text of an expression that is not evaluated, with its `$`.
pub(super) fn expression<'a>(c: &Config<'a>) -> Option<&'a str> {
    mark(c.value()).map(|m| m.0)
}

fn refused(c: &Config, (expression, reason): (&str, &str)) -> crate::Error {
    let expression: String = expression.chars().filter(|c| !c.is_control()).take(200).collect();
    c.wrong(format_args!("is `{expression}`, which is not evaluated ({reason})"))
}

/// Whether a component is switched off; `None` where that is not known.
fn disabled(v: &Value) -> Option<bool> {
    match v.get("_disabled_") {
        None => Some(false),
        Some(Value::String(s)) => Some(s.trim().eq_ignore_ascii_case("true")),
        Some(other) if mark(other).is_some() => None,
        Some(other) => Some(truth(other)),
    }
}

impl<'a> References<'a> {
    /// The values of a configuration beside a bundle's metadata, which are `_meta_` there.
    pub fn new(files: &'a Files, config: Value, metadata: &Value) -> References<'a> {
        let mut root = Map::new();
        if let Value::Object(map) = config {
            // Keys with separators change what stands deeper.
            let (nested, plain): (Vec<_>, Vec<_>) =
                map.into_iter().partition(|(k, _)| k.contains('#') || k.contains("::"));
            root.extend(plain);
            nested.into_iter().for_each(|(k, v)| set(&mut root, &parts(&k), v));
        }
        root.entry("_meta_").or_insert_with(|| metadata.clone());
        let left = Cell::new(VALUES);
        References { files, root: Value::Object(root), left, depth: Cell::new(0), others: RefCell::default() }
    }

    /// The value of an id; null where there is none.
    pub fn value(&self, id: &str) -> Value {
        match self.root.get(id) {
            Some(_) => self.there(id),
            None => Value::Null,
        }
    }

    /// The values of these ids as a table; what is not at the top may stand in the evaluator.
    pub fn values(&self, ids: &[&str]) -> Value {
        let one = |id: &&str| {
            let nested = || self.root.get("evaluator").is_some_and(|e| e.get(id).is_some());
            let v = match self.root.get(id).is_none_or(Value::is_null) && nested() {
                true => self.there(&format!("evaluator::{id}")),
                false => self.value(id),
            };
            ((*id).to_owned(), v)
        };
        Value::Object(ids.iter().map(one).collect())
    }

    fn there(&self, id: &str) -> Value {
        self.reference(id, &[], &mut Vec::new()).unwrap_or_else(|e| unread(&format!("@{id}"), &e))
    }

    /// What components of a class are given under a key, where they are not switched off: wherever they stand, those at the top
    /// first.
    pub fn given(&self, class: &str, key: &str) -> Vec<Value> {
        let mut found = Vec::new();
        self.search(&self.root, &[], class, &mut found);
        found.sort_by_key(|(place, _): &(Vec<Step>, &Value)| place.len());
        let one = |(place, v): (Vec<Step>, &Value)| {
            let given = v.get(key).filter(|v| !v.is_null())?;
            Some(self.resolved(given, &[&place[..], &[key.into()]].concat(), &mut Vec::new()))
        };
        found.into_iter().filter_map(one).collect()
    }

    fn search<'s>(&self, v: &'s Value, place: &[Step], class: &str, out: &mut Vec<(Vec<Step>, &'s Value)>) {
        if place.len() >= DEPTH {
            return;
        }
        let inside = |step: Step| [place, &[step][..]].concat();
        match v {
            Value::Array(list) => {
                for (i, v) in list.iter().enumerate().filter(|(_, v)| v.is_array() || v.is_object()) {
                    self.search(v, &inside(i.to_string().into()), class, out);
                }
            }
            Value::Object(map) => {
                let off = map.get("_disabled_").map(|flag| {
                    let flag = self.resolved(flag, &inside("_disabled_".into()), &mut Vec::new());
                    disabled(&json!({"_disabled_": flag}))
                });
                if off == Some(Some(true)) {
                    return;
                }
                let target = map.get("_target_").and_then(Value::as_str);
                if target.is_some_and(|t| t.rsplit('.').next() == Some(class)) {
                    out.push((place.to_vec(), v));
                }
                for (k, v) in map.iter().filter(|(_, v)| v.is_array() || v.is_object()) {
                    self.search(v, &inside(k.as_str().into()), class, out);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Takes so many values off those that are left.
    fn spend(&self, n: usize) -> std::result::Result<(), String> {
        let left = self.left.get().checked_sub(n);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| MANY.into())
    }

    /// Takes a value with all in it off those that are left.
    fn charge(&self, v: &Value) -> std::result::Result<(), String> {
        self.spend(own(v))?;
        match v {
            Value::Array(list) => list.iter().try_for_each(|v| self.charge(v)),
            Value::Object(map) => map.values().try_for_each(|v| self.charge(v)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// A value with what it refers to, where it stands at `place`.
    fn resolved(&self, v: &Value, place: &[Step], trail: Trail) -> Value {
        let level = Level::below(&self.depth);
        if level.is_err() || place.len() > DEPTH {
            return unread("", DEEP);
        }
        // What is left out in the end counts as well: it takes its time.
        if self.spend(own(v)).is_err() {
            return unread("", MANY);
        }
        match v {
            Value::String(s) => self.text(s, place, trail),
            Value::Array(list) => self.list(list, place, trail),
            Value::Object(map) => self.table(map, place, trail),
            Value::Null | Value::Bool(_) | Value::Number(_) => v.clone(),
        }
    }

    fn list(&self, list: &[Value], place: &[Step], trail: Trail) -> Value {
        let mut out = Vec::new();
        for (i, v) in list.iter().enumerate() {
            let v = self.resolved(v, &[place, &[i.to_string().into()][..]].concat(), trail);
            if self.left.get() == 0 {
                return unread("", MANY);
            }
            // Components of a list that are switched off are left out, as MONAI does.
            if v.get("_target_").is_none() || disabled(&v) != Some(true) {
                out.push(v);
            }
        }
        Value::Array(out)
    }

    fn table(&self, map: &Map<String, Value>, place: &[Step], trail: Trail) -> Value {
        let mut out = Map::new();
        for (k, v) in map.iter().filter(|(k, _)| !ASIDE.contains(&k.as_str())) {
            let v = self.resolved(v, &[place, &[k.as_str().into()][..]].concat(), trail);
            if self.left.get() == 0 {
                return unread("", MANY);
            }
            out.insert(k.clone(), v);
        }
        Value::Object(out)
    }

    fn text(&self, s: &str, place: &[Step], trail: Trail) -> Value {
        let found = if let Some(expression) = s.strip_prefix('$') {
            self.evaluated(expression, place, trail)
        } else if let Some(id) =
            s.strip_prefix('@').filter(|id| !id.is_empty() && reference_length(id) == id.len())
        {
            self.reference(&id.replace('#', "::"), place, trail)
        } else if let Some(id) = s.strip_prefix('%').filter(|id| !id.is_empty()) {
            self.copied(id, place, trail)
        } else {
            return Value::String(s.to_owned());
        };
        found.unwrap_or_else(|reason| unread(s, &reason))
    }

    fn evaluated(&self, text: &str, place: &[Step], trail: Trail) -> std::result::Result<Value, String> {
        let text = text.trim();
        if text.starts_with("import ") || text.starts_with("from ") {
            return Err("it imports a module".into());
        }
        self.spend(1 + text.len() / 8)?;
        let told = |what: String| match what.starts_with('@') || what == DEEP {
            true => what,
            false => format!("it has {what}"),
        };
        let expression = parse(text).map_err(told)?;
        let mut lookup = |id: &str| {
            let v = self.reference(id, place, trail).map_err(|e| format!("@{id}: {e}"))?;
            match mark(&v) {
                Some((_, reason)) => Err(format!("@{id}: {reason}")),
                None => Ok(v),
            }
        };
        let found = evaluate(&expression, &mut lookup, &self.depth).map_err(told)?;
        self.charge(&found)?;
        Ok(found)
    }

    /// The id that a reference at `place` means: separators before it go up from there.
    fn absolute(id: &str, place: &[Step]) -> std::result::Result<Vec<Step>, String> {
        let up = id.split("::").take_while(|p| p.is_empty()).count();
        let own = parts(id);
        match up {
            0 => Ok(own),
            n if n <= place.len() => Ok([&place[..place.len() - n], &own[..]].concat()),
            _ => Err("it goes beyond the top of the configuration".into()),
        }
    }

    fn reference(&self, id: &str, place: &[Step], trail: Trail) -> std::result::Result<Value, String> {
        let path = Self::absolute(id, place)?;
        let whole = path.join("::");
        if trail.contains(&whole) {
            return Err("it refers to itself".into());
        }
        if trail.len() >= DEPTH {
            return Err("references follow one another too far".into());
        }
        self.spend(1 + long(&whole))?;
        trail.push(whole);
        let found = self.at(&path, trail);
        trail.pop();
        let found = found?;
        self.charge(&found)?;
        Ok(found)
    }

    /// The value at a path, which may lead through what others refer to.
    fn at(&self, path: &[Step], trail: Trail) -> std::result::Result<Value, String> {
        let mut here = &self.root;
        let mut other;
        let mut done = false;
        for (i, part) in path.iter().enumerate() {
            if let (Value::String(s), false) = (here, done) {
                let _level = Level::below(&self.depth)?;
                other = self.text(s, &path[..i], trail);
                here = &other;
                done = true;
                if let Some((_, reason)) = mark(here) {
                    return Err(reason.to_owned());
                }
            }
            let inside = match here {
                Value::Array(list) => part.parse::<usize>().ok().and_then(|n| list.get(n)),
                Value::Object(map) => map.get(&**part),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            };
            here = inside.ok_or_else(|| format!("there is no `{}`", path.join("::")))?;
        }
        Ok(if done { here.clone() } else { self.resolved(here, path, trail) })
    }

    /// A copy of what stands elsewhere, in this file or in another one of the bundle, with its references read here.
    fn copied(&self, id: &str, place: &[Step], trail: Trail) -> std::result::Result<Value, String> {
        let id = id.replace('#', "::");
        let file = [".json", ".yaml", ".yml"].iter().find_map(|end| {
            let at = id.to_lowercase().find(end)? + end.len();
            (id.is_char_boundary(at) && (at == id.len() || id[at..].starts_with("::"))).then_some(at)
        });
        let (root, path) = match file {
            Some(at) => (self.other(&id[..at])?, parts(&id[at..])),
            None => (Rc::new(Value::Null), Self::absolute(&id, place)?),
        };
        let mut here = if file.is_some() { &*root } else { &self.root };
        for part in &path {
            let inside = match here {
                Value::Array(list) => part.parse::<usize>().ok().and_then(|n| list.get(n)),
                other => other.get(&**part),
            };
            here = inside.ok_or_else(|| format!("there is no `{id}`"))?;
        }
        if here.as_str().is_some_and(|s| s.starts_with('%')) {
            return Err("it copies what is a copy itself".into());
        }
        let whole = format!("%{id}");
        if trail.contains(&whole) || trail.len() >= DEPTH {
            return Err("it refers to itself".into());
        }
        self.charge(here)?;
        trail.push(whole);
        let found = self.resolved(here, place, trail);
        trail.pop();
        Ok(found)
    }

    /// Another configuration file of the bundle.
    fn other(&self, name: &str) -> std::result::Result<Rc<Value>, String> {
        if let Some(found) = self.others.borrow().get(name) {
            return Ok(found.clone());
        }
        let plain = name.trim_start_matches("./");
        let outside = plain.starts_with('/') || plain.contains('\\') || plain.split('/').any(|p| p == "..");
        let places = [plain.to_owned(), format!("configs/{plain}")];
        let there = places.iter().find(|p| !outside && self.files.has(p));
        let there = there.ok_or_else(|| format!("the bundle has no file `{plain}`"))?;
        let read = match there.ends_with(".json") {
            true => json(self.files, there).map_err(|e| e.to_string())?,
            false => {
                let text = self.files.text(there).map_err(|e| e.to_string())?;
                yaml::parse(&text).map_err(|e| format!("{plain}: {e}"))?
            }
        };
        let read = Rc::new(read);
        self.others.borrow_mut().insert(name.to_owned(), read.clone());
        Ok(read)
    }
}

/// Puts a value at a path, where the tables and lists on its way are there.
fn set(root: &mut Map<String, Value>, path: &[Step], v: Value) {
    let Some((last, way)) = path.split_last() else { return };
    let Some((first, way)) = way.split_first() else {
        root.insert(last.to_string(), v);
        return;
    };
    let mut here = root.get_mut(&**first);
    for part in way {
        here = here.and_then(|h| match h {
            Value::Array(list) => part.parse::<usize>().ok().and_then(|n| list.get_mut(n)),
            other => other.get_mut(&**part),
        });
    }
    match here {
        Some(Value::Object(map)) => drop(map.insert(last.to_string(), v)),
        Some(Value::Array(list)) => {
            if let Some(item) = last.parse::<usize>().ok().and_then(|n| list.get_mut(n)) {
                *item = v;
            }
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(config: Value, then: impl Fn(&References) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("configs")).unwrap();
        let other = "net:\n  _target_: UNet\n  in_channels: '@channels'\n";
        std::fs::write(folder.path().join("configs/train.yaml"), other).unwrap();
        let files = Files::folder(folder.path());
        then(&References::new(&files, config, &json!({"version": "0.1"})))
    }

    #[test]
    fn references_expressions_and_copies_become_values() {
        let config = json!({
            "channels": 2, "sizes": [[1, 2], {"x": 7}], "alias": "@sizes", "off": "$not True",
            "net": "%train.yaml::net", "again": "%sizes#1", "deep": {"a": {"own": 5, "up": "@##b", "same": "@#own"}, "b": 9},
            "list": [{"_target_": "A", "_disabled_": "$@channels == 2"}, {"_target_": "B", "_disabled_": "@off", "_desc_": "x"},
                     {"_target_": "C", "_disabled_": "False"}],
            "sum": "$@sizes::0 + [@alias#1#x]", "net#out": "$@_meta_::version", "mail": "a@b", "at": "@ b",
            "net2": {"in": 1}, "net2#in": 3, "sizes::0::1": 8,
        });
        with(config, |r| {
            assert_eq!(r.value("sum"), json!([1, 8, 7]));
            assert_eq!(r.value("net"), json!({"_target_": "UNet", "in_channels": 2}));
            assert_eq!(r.value("again"), json!({"x": 7}));
            assert_eq!(r.value("deep")["a"], json!({"own": 5, "up": 9, "same": 5}));
            assert_eq!(r.value("list").as_array().unwrap().len(), 2);
            assert_eq!(r.value("list")[0].get("_desc_"), None);
            assert_eq!(r.value("net2"), json!({"in": 3}));
            assert_eq!((r.value("mail"), r.value("at")), (json!("a@b"), json!("@ b")));
            assert_eq!(r.value("nothing"), Value::Null);
            assert_eq!(r.resolved(&json!("$@_meta_::version + '!'"), &[], &mut Vec::new()), json!("0.1!"));
        });
    }

    #[test]
    fn what_is_not_evaluated_is_refused_where_it_is_needed() {
        let config = json!({"a": "@b", "b": "$@a", "device": "$torch.device('cpu')", "self": ["@self"], "gone": "@nothing::x",
            "t": {"_target_": "X", "size": "$scripts.size(@device)", "keys": "image"}, "file": "%../secret.json::x", "m": "%again", "again": "%m",
            "list": [{"_target_": "A", "_disabled_": "$os.path.exists('x')"}]});
        with(config, |r| {
            let told = |id: &str| {
                let v = r.value(id);
                known(&Config::root(&v, "inference.json".into()).below(id))
                    .err()
                    .map(|e| e.to_string())
                    .unwrap_or_default()
            };
            for (id, want) in [
                ("a", "itself"),
                ("self", "itself"),
                ("gone", "there is no `nothing::x`"),
                ("device", "torch.device"),
                ("t", "a call of `scripts.size`"),
                ("file", "no file"),
                ("m", "is a copy itself"),
                ("list", "os.path.exists"),
            ] {
                assert!(told(id).contains(want), "{id}: {}", told(id));
            }
            let t = r.value("t");
            let c = Config::root(&t, "inference.json".into());
            assert!(known_itself(&c).is_ok() && known(&c.need("keys").unwrap()).is_ok());
            assert!(
                known(&c.need("size").unwrap())
                    .unwrap_err()
                    .to_string()
                    .contains("`size` is `$scripts.size(@device)`")
            );
        });
    }

    #[test]
    fn copies_of_copies_come_to_an_end() {
        let mut config = Map::new();
        config.insert("a0".into(), json!([1, 2, 3]));
        for i in 1..40 {
            config.insert(format!("a{i}"), json!([format!("@a{}", i - 1), format!("@a{}", i - 1)]));
            config.insert(format!("s{i}"), json!(format!("$@s{} + @s{}", i - 1, i - 1)));
        }
        config.insert("s0".into(), json!(1));
        let told = with(Value::Object(config), |r| {
            ["a39", "s39"]
                .map(|id| known(&Config::root(&r.value(id), "x".into())).err().map(|e| e.to_string()))
        });
        assert!(told.iter().all(|t| t.as_ref().is_some_and(|t| t.contains("too many"))), "{told:?}");
    }

    #[test]
    fn what_is_left_out_and_long_texts_count() {
        let off: Vec<Value> = vec![json!({"_target_": "X", "_disabled_": true}); 20_000];
        let many = |id: &str| vec![json!(id); 1000];
        let config = json!({"big": off, "a": many("@big"), "text": "x".repeat(1 << 16)});
        let began = std::time::Instant::now();
        assert!(with(config, |r| r.value("a").to_string()).contains(MANY));
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
        for way in ["@text", "$@text", "%text"] {
            let config = json!({"text": "x".repeat(1 << 16), "b": many(way)});
            let got = with(config, |r| r.value("b").to_string());
            assert!(got.contains(MANY) && got.len() < 1 << 12, "{way}: {}", got.len());
        }
        let config = json!({"b": vec![json!("$list(range(4096))"); 1000]});
        assert!(with(config, |r| r.value("b").to_string()).contains(MANY));
    }

    #[test]
    fn nesting_fits_in_a_small_stack() {
        let nested = |n: usize, inner: String| format!("{}{inner}{}", "[".repeat(n), "]".repeat(n));
        let mut config = Map::new();
        for i in 0..46 {
            let id = |what: &str| format!("{what}{i}");
            let before = |what: &str| if i == 0 { "1".to_owned() } else { format!("@{what}{}", i - 1) };
            let lists = |text: String| (0..40).fold(Value::String(text), |v, _| json!([v]));
            config.insert(id("a"), lists(format!("${}", nested(46, before("a")))));
            config.insert(id("e"), json!(format!("${}", nested(20, before("e")))));
            config.insert(id("l"), lists(before("l")));
            config.insert(id("p"), json!(format!("{}::0", before("p"))));
            config.insert(id("s"), json!(format!("${} + 1{}", before("s"), " + 1".repeat(80))));
            config.insert(id("n"), json!(before("n")));
        }
        config.insert("long".into(), json!(format!("$1{}", "+1".repeat(500))));
        let names = ["a45", "e45", "l45", "p45", "s45", "long"];
        let run = move || {
            with(Value::Object(config.clone()), |r| {
                let told = names
                    .map(|id| known(&Config::root(&r.value(id), "x".into())).err().map(|e| e.to_string()));
                (told, r.value("n45"), r.value("e0"), r.depth.get())
            })
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
        let (told, chain, shallow, depth) = thread.join().unwrap();
        for (id, told) in names.iter().zip(&told) {
            let deep = told
                .as_ref()
                .is_some_and(|t| t.contains(DEEP) || (*id == "p45" && t.contains("there is no")));
            assert!(deep, "{id}: {told:?}");
        }
        assert_eq!((chain, depth), (json!("1"), 0));
        assert_eq!(shallow.to_string(), nested(20, "1".into()));
    }

    #[test]
    fn components_are_found_wherever_they_stand() {
        let component = |path: &str, more: Value| {
            let mut v = json!({"_target_": "ignite.CheckpointLoader", "load_path": path});
            v.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            v
        };
        let config = json!({
            "off": true, "ev": {"name": "deep", "list": [[component("@####name", json!({}))]]},
            "gone": {"_disabled_": true, "inside": component("x", json!({}))},
            "handlers": [component("a", json!({})), component("b", json!({"_disabled_": "@off"})), component("c", json!({"_disabled_": "no"})),
                component("d", json!({"_disabled_": "$os.path.exists('x')"}))],
        });
        with(config, |r| {
            assert_eq!(r.given("CheckpointLoader", "load_path"), ["a", "c", "d", "deep"]);
        });
    }

    #[test]
    fn parts_of_the_evaluator_are_those_that_are_not_at_the_top() {
        let config =
            json!({"n": 3, "x": 1, "evaluator": {"_target_": "E", "inferer": {"size": "@n"}, "x": 2}});
        with(config, |r| {
            assert_eq!(r.values(&["inferer", "x", "y"]), json!({"inferer": {"size": 3}, "x": 1, "y": null}));
        });
    }
}
