//! What expressions of a bundle come to. Whoever evaluates one gives the values of references.

use super::expression::Expr;
use super::functions::{function, is_known};
use super::operations::{arithmetic, compared, item, kind, part, real, signed, truth};
use serde_json::{Map, Value};
use std::cell::Cell;

/// Deepest nesting of expressions and of the values that they refer to, all together.
const DEPTH: usize = 100;
/// What is told of more.
pub(super) const DEEP: &str = "it is nested too deeply";
/// Modules whose names are values where nothing is called, such as `torch.float32`.
const MODULES: [&str; 4] = ["torch", "np", "numpy", "monai"];
/// The keys that MONAI names as constants.
const KEYS: [&str; 5] = ["IMAGE", "LABEL", "PRED", "LOSS", "METADATA"];

/// Gives the value of a reference.
pub(super) type Lookup<'a> = dyn FnMut(&str) -> Result<Value, String> + 'a;

/// One more level of nesting, as long as it is kept.
pub(super) struct Level<'a>(&'a Cell<usize>);

impl Level<'_> {
    pub fn below(depth: &Cell<usize>) -> Result<Level<'_>, String> {
        if depth.get() >= DEPTH {
            return Err(DEEP.into());
        }
        depth.set(depth.get() + 1);
        Ok(Level(depth))
    }
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
enum Data {
    Value(Value),
    /// A name of a module.
    Name(String),
}

/// The value of an expression that stands so deep; an error says what is not evaluated.
pub(super) fn evaluate(e: &Expr, lookup: &mut Lookup, depth: &Cell<usize>) -> Result<Value, String> {
    match data(e, lookup, depth)? {
        Data::Value(v) => Ok(v),
        Data::Name(name) => {
            let root = name.split('.').next().unwrap_or_default();
            match MODULES.contains(&root) && name.contains('.') {
                true => Ok(Value::String(name)),
                false => Err(format!("the name `{name}`")),
            }
        }
    }
}

fn plain(e: &Expr, lookup: &mut Lookup, depth: &Cell<usize>) -> Result<Value, String> {
    match data(e, lookup, depth)? {
        Data::Value(v) => Ok(v),
        Data::Name(name) => Err(format!("the name `{name}`")),
    }
}

fn data(e: &Expr, lookup: &mut Lookup, depth: &Cell<usize>) -> Result<Data, String> {
    let d = depth;
    let _level = Level::below(d)?;
    let value = match e {
        Expr::None => Value::Null,
        Expr::Bool(b) => Value::Bool(*b),
        Expr::Whole(n) => Value::from(*n),
        Expr::Real(v) => real(*v)?,
        Expr::Text(t) => Value::String(t.clone()),
        Expr::Reference(r) => lookup(r)?,
        Expr::Name(n) => return Ok(Data::Name(n.clone())),
        Expr::List(items) => items.iter().map(|i| plain(i, lookup, d)).collect::<Result<_, _>>()?,
        Expr::Table(items) => {
            let mut out = Map::new();
            for (k, v) in items {
                let Value::String(key) = plain(k, lookup, d)? else {
                    return Err("a table whose keys are no texts".into());
                };
                out.insert(key, plain(v, lookup, d)?);
            }
            Value::Object(out)
        }
        Expr::Not(v) => Value::Bool(!truth(&plain(v, lookup, d)?)),
        Expr::Minus(v) => signed(true, &plain(v, lookup, d)?)?,
        Expr::Plus(v) => signed(false, &plain(v, lookup, d)?)?,
        Expr::And(a, b) => match plain(a, lookup, d)? {
            left if truth(&left) => plain(b, lookup, d)?,
            left => left,
        },
        Expr::Or(a, b) => match plain(a, lookup, d)? {
            left if truth(&left) => left,
            _ => plain(b, lookup, d)?,
        },
        Expr::If(parts) => {
            let [value, condition, other] = &**parts;
            return data(if truth(&plain(condition, lookup, d)?) { value } else { other }, lookup, d);
        }
        Expr::Chain(first, rest) => {
            let mut left = plain(first, lookup, d)?;
            for (way, right) in rest {
                let right = plain(right, lookup, d)?;
                if !compared(*way, &left, &right)? {
                    return Ok(Data::Value(Value::Bool(false)));
                }
                left = right;
            }
            Value::Bool(true)
        }
        Expr::Two(way, sides) => {
            let [a, b] = &**sides;
            arithmetic(*way, plain(a, lookup, d)?, plain(b, lookup, d)?)?
        }
        Expr::Item(parts) => {
            let [of, at] = &**parts;
            item(&plain(of, lookup, d)?, &plain(at, lookup, d)?)?
        }
        Expr::Part(of, from, to) => {
            let mut end = |e: &Option<Box<Expr>>| e.as_ref().map(|e| plain(e, lookup, d)).transpose();
            let (from, to) = (end(from)?, end(to)?);
            part(&plain(of, lookup, d)?, from.as_ref(), to.as_ref())?
        }
        Expr::Attribute(of, name) => return attribute(data(of, lookup, d)?, name),
        Expr::Call(of, arguments) => call(of, arguments, lookup, d)?,
        Expr::Lambda(..) => return Err("a function (`lambda`)".into()),
    };
    Ok(Data::Value(value))
}

fn attribute(of: Data, name: &str) -> Result<Data, String> {
    match of {
        Data::Name(module) => {
            let whole = format!("{module}.{name}");
            let constant = match (module.as_str(), name) {
                ("np" | "numpy" | "math" | "torch", "pi") => Some(real(std::f64::consts::PI)?),
                ("np" | "numpy" | "math", "e") => Some(real(std::f64::consts::E)?),
                (keys, key) if keys.ends_with("CommonKeys") && KEYS.contains(&key) => {
                    Some(Value::String(key.to_lowercase()))
                }
                _ => None,
            };
            Ok(constant.map_or(Data::Name(whole), Data::Value))
        }
        Data::Value(v) => Err(format!("`.{name}` of {}", kind(&v))),
    }
}

/// The dotted name that a call is of; `None` where it is of something else.
pub(super) fn dotted(e: &Expr) -> Option<String> {
    if let Expr::Attribute(of, name) = e {
        return Some(format!("{}.{name}", dotted(of)?));
    }
    if let Expr::Name(n) = e { Some(n.clone()) } else { None }
}

fn call(
    of: &Expr,
    arguments: &[(Option<String>, Expr)],
    lookup: &mut Lookup,
    d: &Cell<usize>,
) -> Result<Value, String> {
    if let Some(name) = dotted(of) {
        if !is_known(&name) || arguments.iter().any(|a| a.0.is_some()) {
            return Err(format!("a call of `{name}`"));
        }
        let given: Vec<Value> = arguments.iter().map(|a| plain(&a.1, lookup, d)).collect::<Result<_, _>>()?;
        return function(&name, &given);
    }
    let Expr::Attribute(of, method) = of else { return Err("a call".into()) };
    let value = plain(of, lookup, d)?;
    match (method.as_str(), &value) {
        // Where an object lives and in which mode it is changes nothing here.
        ("to" | "cpu" | "cuda" | "eval", Value::Object(m)) if m.contains_key("_target_") => Ok(value),
        ("keys", Value::Object(m)) => Ok(m.keys().cloned().map(Value::String).collect()),
        ("values", Value::Object(m)) => Ok(m.values().cloned().collect()),
        ("get", Value::Object(m)) if (1..=2).contains(&arguments.len()) => {
            let key = plain(&arguments[0].1, lookup, d)?;
            match (key.as_str().and_then(|k| m.get(k)), arguments.get(1)) {
                (Some(found), _) => Ok(found.clone()),
                (None, Some((_, usual))) => plain(usual, lookup, d),
                (None, None) => Ok(Value::Null),
            }
        }
        ("copy", Value::Array(_) | Value::Object(_)) => Ok(value),
        ("lower", Value::String(s)) => Ok(Value::String(s.to_lowercase())),
        ("upper", Value::String(s)) => Ok(Value::String(s.to_uppercase())),
        (method, value) => Err(format!("a call of `.{method}()` of {}", kind(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::parse;
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Result<Value, String> {
        let all = json!({"a": 3, "b": 4.5, "yes": true, "no": false, "list": [1, 2, 3], "names": {"x": 1, "y": 2},
            "net": {"_target_": "UNet", "channels": 8}, "text": "models", "huge": u64::MAX});
        evaluate(&parse(text)?, &mut |r| all.get(r).cloned().ok_or(format!("no @{r}")), &Cell::new(0))
    }

    #[test]
    fn expressions_are_what_python_makes_of_them() {
        for (text, want) in [
            ("@a", json!(3)),
            ("@a + @b", json!(7.5)),
            ("@a - 1", json!(2)),
            ("@a * 2", json!(6)),
            ("@a / 2", json!(1.5)),
            ("-7 // 2", json!(-4)),
            ("7 // -2", json!(-4)),
            ("-8 // -3", json!(2)),
            ("-7 % 3", json!(2)),
            ("7 % -3", json!(-2)),
            ("2 ** 3 ** 2", json!(512)),
            ("-2 ** 2", json!(-4)),
            ("2 ** -1", json!(0.5)),
            ("[1.5] * 3 if @yes else [3.0]", json!([1.5, 1.5, 1.5])),
            ("@missing if @no else 'x'", json!("x")),
            ("len(@list) + len(@names)", json!(5)),
            ("not @yes", json!(false)),
            ("(not @no)", json!(true)),
            ("@list[0] + @list[-1]", json!(4)),
            ("@list[1:]", json!([2, 3])),
            ("@list[:-1]", json!([1, 2])),
            ("@list + [4]", json!([1, 2, 3, 4])),
            ("@text + '/model.pt'", json!("models/model.pt")),
            ("[@a, @a, 20]", json!([3, 3, 20])),
            ("((@a - 1) // 2,) * 2", json!([1, 1])),
            ("1.0 - float(@a) / float(4)", json!(0.25)),
            ("@a > 2 and @b < 5", json!(true)),
            ("1 < @a < 3", json!(false)),
            ("@a == 3.0 or @missing", json!(true)),
            ("@no or @a", json!(3)),
            ("3 in @list", json!(true)),
            ("'z' not in @names", json!(true)),
            ("@net is None", json!(false)),
            ("@net is not None", json!(true)),
            ("None", Value::Null),
            ("torch.float32", json!("torch.float32")),
            ("monai.utils.CommonKeys.IMAGE", json!("image")),
            ("np.pi > 3", json!(true)),
            ("@net.to(@device)", json!({"_target_": "UNet", "channels": 8})),
            ("{'x': @a}", json!({"x": 3})),
            ("list(range(2, 5)) + [9]", json!([2, 3, 4, 9])),
            ("max(@list)", json!(3)),
            ("min(4, @a)", json!(3)),
            ("sum(@list)", json!(6)),
            ("os.path.join('a', 'b')", json!("a/b")),
            ("'it\\'s'", json!("it's")),
            ("True + 1", json!(2)),
            ("1.0 // 0.1", json!(9.0)),
            ("1.0 % 0.1", json!(0.09999999999999995)),
            ("-1.0 // 0.1", json!(-10.0)),
            ("-7.5 % 2", json!(0.5)),
            ("7.5 % -2", json!(-0.5)),
            ("9007199254740993 != 9007199254740992", json!(true)),
            ("9007199254740993 > 9007199254740992.0", json!(true)),
            ("9007199254740993 == 9007199254740992.0", json!(false)),
            ("9223372036854775807 < 1e19", json!(true)),
            ("-9223372036854775807 > -1e19", json!(true)),
            ("2 < 2.5 and 3 > 2.5 and -3 < -2.5 and -2 > -2.5", json!(true)),
            (
                "sorted([9007199254740993, 9007199254740992])",
                json!([9007199254740992_i64, 9007199254740993_i64]),
            ),
            ("-True", json!(-1)),
            ("+True", json!(1)),
            ("--True", json!(1)),
            ("-+-1.5", json!(1.5)),
            ("+@a - -2", json!(5)),
            ("{'a': 1} == {'a': 1.0}", json!(true)),
            ("{'a': [1, True]} == {'a': [1.0, 1]}", json!(true)),
            ("{'a': 1} == {'b': 1}", json!(false)),
            ("'b' in 'abc'", json!(true)),
        ] {
            assert_eq!(value(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_not_evaluated_is_told() {
        for (text, told) in [
            ("scripts.f(@a)", "a call of `scripts.f`"),
            ("os", "the name `os`"),
            ("os.sep", "the name `os.sep`"),
            ("@net.channels", "`.channels` of an object"),
            ("@net()", "a call"),
            ("@text.format(1)", "`.format()` of a text"),
            ("lambda x: x", "a function"),
            ("@missing", "no @missing"),
            ("@list[7]", "not there"),
            ("1 / 0", "division by 0"),
            ("9223372036854775807 + 1", "beyond all bounds"),
            ("10 ** 400.0", "beyond all bounds"),
            ("2 ** 99999999999", "beyond all bounds"),
            ("-9223372036854775807 - 2", "beyond all bounds"),
            ("[0] * 99999999", "too many"),
            ("'a' + 1", "a text and a number"),
            ("torch.float32 + 1", "the name"),
            ("+'a'", "the sign `+` before a text"),
            ("+[1]", "the sign `+` before a list"),
            ("-'a'", "the sign `-` before a text"),
            ("--[1]", "before a list"),
            ("1 in 'abc'", "a search of a number in a text"),
            ("9223372036854775808", "beyond all bounds"),
            ("@huge + 1", "beyond all bounds"),
            ("@huge > 1", "beyond all bounds"),
            ("-@huge", "beyond all bounds"),
            ("range(9999999)", "a call of `range`"),
            ("len(@list, key=1)", "a call of `len`"),
            ("1+".repeat(400).trim_end_matches('+'), "nested"),
        ] {
            let got = value(text);
            assert!(got.as_ref().is_err_and(|e| e.contains(told)), "{text}: {got:?}");
        }
    }
}
