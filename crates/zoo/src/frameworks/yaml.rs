//! YAML files as the values that they mean, by PyYAML's rules; aliases are refused, so that a small file stays small.

use serde_json::{Map, Number, Value};
use yaml_rust2::parser::{Event, MarkedEventReceiver, Parser};
use yaml_rust2::scanner::{Marker, TScalarStyle};

/// Deepest nesting, and most values.
const DEPTH: usize = 64;
const VALUES: usize = 1_000_000;

/// A container that is being filled.
enum Open {
    List(Vec<Value>),
    Table(Map<String, Value>, Option<String>),
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    done: Option<Value>,
    count: usize,
    problem: Option<String>,
}

impl Tree {
    fn put(&mut self, v: Value) {
        match self.open.last_mut() {
            None => self.done = Some(v),
            Some(Open::List(list)) => list.push(v),
            Some(Open::Table(map, key)) => match key.take() {
                Some(key) => drop(map.insert(key, v)),
                None => {
                    *key = Some(match v {
                        Value::String(s) => s,
                        other => other.to_string(),
                    });
                }
            },
        }
    }

    fn begin(&mut self, container: Open, mark: Marker) {
        if self.open.len() >= DEPTH {
            self.wrong("is nested too deeply", mark);
        } else {
            self.open.push(container);
        }
    }

    fn wrong(&mut self, what: &str, mark: Marker) {
        self.problem.get_or_insert_with(|| format!("line {} {what}", mark.line()));
    }
}

impl MarkedEventReceiver for Tree {
    fn on_event(&mut self, event: Event, mark: Marker) {
        self.count += 1;
        if self.count > VALUES {
            self.wrong("is one of too many", mark);
        }
        if self.problem.is_some() {
            return;
        }
        match event {
            Event::Scalar(text, style, _, _) => self.put(scalar(text, style)),
            Event::SequenceStart(..) => self.begin(Open::List(Vec::new()), mark),
            Event::MappingStart(..) => self.begin(Open::Table(Map::new(), None), mark),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(list)) => self.put(Value::Array(list)),
                Some(Open::Table(map, _)) => self.put(Value::Object(map)),
                None => {}
            },
            Event::Alias(_) => self.wrong("refers to another part of the file, which is not read", mark),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart
            | Event::DocumentEnd => {}
        }
    }
}

/// What a scalar means without quotes.
fn scalar(text: String, style: TScalarStyle) -> Value {
    if style != TScalarStyle::Plain {
        return Value::String(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let digits = text.replace('_', "");
    if let Ok(n) = digits.parse::<i64>() {
        return Value::from(n);
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    match digits.parse::<f64>().ok().filter(|v| numeric && v.is_finite()).and_then(Number::from_f64) {
        Some(n) => Value::Number(n),
        None => Value::String(text),
    }
}

/// The value of the first document of a text.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut tree = Tree::default();
    let read = Parser::new_from_str(text).load(&mut tree, false);
    match (tree.problem, read) {
        (Some(problem), _) => Err(problem),
        (None, Err(e)) => Err(e.to_string()),
        (None, Ok(())) => Ok(tree.done.unwrap_or(Value::Null)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_python_reads() {
        let text = "a: 1\nb: [0.5, '1', yes, ~]\nc:\n  d: -3e-2\n  e: x y\n1: {f: on}\n";
        let v = parse(text).unwrap();
        assert_eq!(v["a"], 1);
        assert_eq!(v["b"], serde_json::json!([0.5, "1", true, null]));
        assert_eq!(v["c"], serde_json::json!({"d": -0.03, "e": "x y"}));
        assert_eq!(v["1"]["f"], true);
        assert!(parse("a: &x [1]\nb: *x\n").unwrap_err().contains("line 2"));
        assert!(parse("a: [1").is_err());
        assert!(parse(&("[".repeat(500) + &"]".repeat(500))).is_err());
    }
}
