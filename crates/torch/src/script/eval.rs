//! Partial evaluation of serialized code.

use super::Program;
use super::ast::*;
use crate::aten;
use crate::net::{Followed, Net, Stop, wrong};
use crate::value::{Object, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Most expressions and statements that are evaluated: unrolled networks take some ten thousand.
const STEPS: u64 = 3_000_000;
/// Most calls in one another.
const DEPTH: usize = 100;

type Frame = HashMap<Rc<str>, Value>;

/// How a block ends.
enum Flow {
    Next,
    Return(Value),
}

struct Machine<'a, 'p> {
    program: &'a Program<'p>,
    net: &'a mut Net,
    constants: Vec<Value>,
    steps: u64,
    depth: usize,
    file: Rc<str>,
}

fn main<'p>(program: &Program<'p>) -> Followed<Rc<Function>> {
    let class = program.root_class().unwrap_or("").to_owned();
    let found =
        program.class(&class)?.and_then(|c| c.methods.iter().find(|m| &*m.name == "forward").cloned());
    found.map_or_else(|| wrong(format!("`{class}` has no method `forward`")), Ok)
}

/// Names of the tensors that `forward` has to be given.
pub(super) fn inputs(program: &Program) -> Followed<Vec<String>> {
    let mut out = Vec::new();
    for p in main(program)?.parameters.iter().skip(1).filter(|p| p.default.is_none()) {
        match &p.kind {
            None => out.push(p.name.to_string()),
            Some(Expr::Name(kind)) if &**kind == "Tensor" => out.push(p.name.to_string()),
            // What may be left out is left out.
            Some(Expr::Index(of, _)) if matches!(&**of, Expr::Name(n) if &**n == "Optional") => break,
            Some(_) => return wrong(format!("its input `{}` is not a tensor", p.name)),
        }
    }
    if out.is_empty() { wrong("it takes no tensor") } else { Ok(out) }
}

/// Calls `forward`.
pub(super) fn forward(program: &Program, net: &mut Net, inputs: Vec<Value>) -> Followed<Value> {
    let constants = program.constants(net)?;
    let root = program.root(net)?;
    let function = main(program)?;
    let mut m = Machine { program, net, constants, steps: 0, depth: 0, file: "".into() };
    let args = [vec![root], inputs].concat();
    m.call(&function, args, vec![])
}

/// Whether a block does nothing but raise an exception.
fn only_raises(block: &[Stmt]) -> bool {
    block.iter().any(|s| match s {
        Stmt::Raise(_) => true,
        Stmt::Expr(Expr::Call { callee, .. }) => {
            matches!(&**callee, Expr::Attribute(_, name) if &**name == "RaiseException")
        }
        _ => false,
    })
}

impl Machine<'_, '_> {
    fn step(&mut self) -> Followed<()> {
        self.steps += 1;
        if self.steps > STEPS {
            return wrong(format!("it takes more than {STEPS} steps; it may loop for ever"));
        }
        Ok(())
    }

    fn at(&mut self, line: u32) {
        self.net.place = format!("{}:{line}", self.file);
    }

    fn call(&mut self, f: &Rc<Function>, args: Vec<Value>, named: Vec<aten::Named>) -> Followed<Value> {
        if self.depth >= DEPTH {
            return wrong(format!("it calls functions more than {DEPTH} deep"));
        }
        if args.len() > f.parameters.len() {
            return wrong(format!(
                "`{}` gets {} arguments and has {}",
                f.name,
                args.len(),
                f.parameters.len()
            ));
        }
        let mut frame = Frame::new();
        for (p, v) in f.parameters.iter().zip(args) {
            frame.insert(p.name.clone(), v);
        }
        for (name, v) in named {
            frame.insert(name, v);
        }
        let file = std::mem::replace(&mut self.file, f.file.clone());
        let place = self.net.place.clone();
        self.depth += 1;
        for p in &f.parameters {
            if !frame.contains_key(&p.name) {
                let value = match &p.default {
                    Some(d) => self.eval(d, &mut frame)?,
                    None if matches!(&p.kind, Some(Expr::Index(of, _)) if matches!(&**of, Expr::Name(n) if &**n == "Optional")) => {
                        Value::None
                    }
                    None => return wrong(format!("`{}` is not given its argument `{}`", f.name, p.name)),
                };
                frame.insert(p.name.clone(), value);
            }
        }
        let flow = self.block(&f.body, &mut frame)?;
        self.depth -= 1;
        self.file = file;
        self.net.place = place;
        Ok(match flow {
            Flow::Return(v) => v,
            Flow::Next => Value::None,
        })
    }

    fn block(&mut self, block: &[Stmt], frame: &mut Frame) -> Followed<Flow> {
        for s in block {
            self.step()?;
            if let Flow::Return(v) = self.statement(s, frame)? {
                return Ok(Flow::Return(v));
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, s: &Stmt, frame: &mut Frame) -> Followed<Flow> {
        match s {
            Stmt::Pass => {}
            Stmt::Expr(e) => drop(self.eval(e, frame)?),
            Stmt::Assign { targets, unpack, value, line } => {
                self.at(*line);
                let value = self.eval(value, frame)?;
                self.assign(targets, *unpack, value, frame)?;
            }
            Stmt::If { condition, then, other, line } => {
                return self.branch(condition, [then, other], *line, frame);
            }
            Stmt::For { targets, over, body, line } => {
                self.at(*line);
                return self.each(targets, over, body, frame);
            }
            Stmt::While { condition, body, line } => loop {
                self.at(*line);
                self.step()?;
                let go = self.eval(condition, frame)?;
                match self.truth(&go)? {
                    Some(true) => {}
                    Some(false) => break,
                    None => return Err(Stop::Free("a loop".into())),
                }
                if let Flow::Return(v) = self.block(body, frame)? {
                    return Ok(Flow::Return(v));
                }
            },
            Stmt::Return(None) => return Ok(Flow::Return(Value::None)),
            Stmt::Return(Some(e)) => return Ok(Flow::Return(self.eval(e, frame)?)),
            Stmt::Raise(line) => {
                self.at(*line);
                return wrong("it raises an exception");
            }
        }
        Ok(Flow::Next)
    }

    fn branch(
        &mut self,
        condition: &Expr,
        ways: [&Vec<Stmt>; 2],
        line: u32,
        frame: &mut Frame,
    ) -> Followed<Flow> {
        self.at(line);
        let decided = self.eval(condition, frame)?;
        let taken = match self.truth(&decided)? {
            Some(true) => ways[0],
            Some(false) => ways[1],
            // What is checked is taken to hold.
            None if only_raises(ways[0]) => ways[1],
            None if only_raises(ways[1]) => ways[0],
            None => {
                self.at(line);
                return Err(Stop::Free("a branch".into()));
            }
        };
        self.block(taken, frame)
    }

    /// Whether a condition holds; `None` where that depends on what is not known.
    fn truth(&mut self, v: &Value) -> Followed<Option<bool>> {
        Ok(match self.net.plain(v)? {
            Value::Bool(b) => Some(b),
            Value::Int(n) => Some(n != 0),
            Value::Float(x) => Some(x != 0.0),
            Value::Symbol(_) | Value::Tensor(_) | Value::Poison => None,
            other => match other.items() {
                Some(items) => Some(!items.is_empty()),
                None => return wrong(format!("{} as a condition", other.kind())),
            },
        })
    }

    fn each(&mut self, targets: &[Expr], over: &Expr, body: &[Stmt], frame: &mut Frame) -> Followed<Flow> {
        let range = match over {
            Expr::Call { callee, args, .. } if matches!(&**callee, Expr::Name(n) if &**n == "range") => {
                let mut bounds = Vec::new();
                for a in args {
                    let v = self.eval(a, frame)?;
                    bounds.push(match self.net.plain(&v)? {
                        Value::Int(n) => n,
                        Value::Symbol(_) => return Err(Stop::Free("how often a loop runs".into())),
                        other => return wrong(format!("a loop over {}", other.kind())),
                    });
                }
                match bounds[..] {
                    [end] => Some((0, end, 1)),
                    [start, end] => Some((start, end, 1)),
                    [start, end, step] if step != 0 => Some((start, end, step)),
                    _ => return wrong("a range that is none"),
                }
            }
            _ => None,
        };
        let mut items = match range {
            Some(_) => vec![],
            None => {
                let v = self.eval(over, frame)?;
                match v.items() {
                    Some(items) => items,
                    None => return wrong(format!("a loop over {}", v.kind())),
                }
            }
        }
        .into_iter();
        let mut at = range.map_or(0, |r| r.0);
        loop {
            self.step()?;
            let value = match range {
                Some((_, end, step)) => {
                    if (step > 0 && at >= end) || (step < 0 && at <= end) {
                        break;
                    }
                    at = at.saturating_add(step);
                    Value::Int(at.saturating_sub(step))
                }
                None => match items.next() {
                    Some(v) => v,
                    None => break,
                },
            };
            self.assign(targets, targets.len() > 1, value, frame)?;
            if let Flow::Return(v) = self.block(body, frame)? {
                return Ok(Flow::Return(v));
            }
        }
        Ok(Flow::Next)
    }

    fn assign(&mut self, targets: &[Expr], unpack: bool, value: Value, frame: &mut Frame) -> Followed<()> {
        if !unpack {
            return match targets {
                [target] => self.assign_one(target, value, frame),
                _ => wrong("an assignment without target"),
            };
        }
        if let Value::Poison = value {
            return targets.iter().try_for_each(|t| self.assign_one(t, Value::Poison, frame));
        }
        let items = match &value {
            Value::Object(o) => self.ordered(o)?,
            other => other.items(),
        };
        match items {
            Some(items) if items.len() == targets.len() => {
                targets.iter().zip(items).try_for_each(|(t, v)| self.assign_one(t, v, frame))
            }
            _ => wrong(format!("{} is taken apart into {}", value.kind(), targets.len())),
        }
    }

    /// Fields of an object in the order of its class: a named tuple.
    fn ordered(&mut self, o: &Rc<Object>) -> Followed<Option<Vec<Value>>> {
        let Some(class) = self.program.class(&o.class)? else { return Ok(None) };
        let fields = o.fields.borrow();
        Ok(class.fields.iter().map(|f| fields.get(f).cloned()).collect())
    }

    fn assign_one(&mut self, target: &Expr, value: Value, frame: &mut Frame) -> Followed<()> {
        match target {
            Expr::Name(n) => {
                frame.insert(n.clone(), value);
                Ok(())
            }
            Expr::Tuple(inner) => self.assign(inner, true, value, frame),
            Expr::Attribute(of, name) => match self.eval(of, frame)? {
                Value::Object(o) => {
                    o.fields.borrow_mut().insert(name.clone(), value);
                    Ok(())
                }
                other => wrong(format!("an attribute of {}", other.kind())),
            },
            Expr::Index(of, index) => {
                let args = [self.eval(of, frame)?, self.eval(index, frame)?, value];
                aten::call(self.net, "_set_item", &args, &[]).map(drop)
            }
            _ => wrong("an assignment to what is no variable"),
        }
    }

    fn all(&mut self, list: &[Expr], frame: &mut Frame) -> Followed<Vec<Value>> {
        list.iter().map(|e| self.eval(e, frame)).collect()
    }

    fn eval(&mut self, e: &Expr, frame: &mut Frame) -> Followed<Value> {
        self.step()?;
        Ok(match e {
            Expr::None => Value::None,
            Expr::Bool(b) => Value::Bool(*b),
            Expr::Int(n) => Value::Int(*n),
            Expr::Float(x) => Value::Float(*x),
            Expr::Text(t) => Value::Text(t.clone()),
            Expr::Name(n) => match (frame.get(n), &**n) {
                (Some(v), _) => v.clone(),
                (None, "inf") => Value::Float(f64::INFINITY),
                (None, "nan") => Value::Float(f64::NAN),
                (None, _) => Value::Path(n.clone()),
            },
            Expr::Attribute(of, name) => {
                let of = self.eval(of, frame)?;
                self.attribute(&of, name)?
            }
            Expr::Call { callee, args, named, line } => self.call_expr(callee, args, named, *line, frame)?,
            Expr::Index(of, index) => {
                let args = [self.eval(of, frame)?, self.eval(index, frame)?];
                match (&args[0], &args[1]) {
                    (Value::Poison, _) => Value::Poison,
                    (Value::Object(o), Value::Int(i)) => {
                        let items = self.ordered(&o.clone())?.unwrap_or_default();
                        let at = usize::try_from(*i).ok().and_then(|i| items.get(i).cloned());
                        at.map_or_else(|| wrong("a field that is not there"), Ok)?
                    }
                    _ => aten::call(self.net, "__getitem__", &args, &[])?,
                }
            }
            Expr::List(items) => Value::list(self.all(items, frame)?),
            Expr::Tuple(items) => Value::Tuple(self.all(items, frame)?.into()),
            Expr::Dict(pairs) => {
                let mut out = Vec::new();
                for (k, v) in pairs {
                    out.push((self.eval(k, frame)?, self.eval(v, frame)?));
                }
                Value::Dict(Rc::new(RefCell::new(out)))
            }
            Expr::Unary(op, x) => {
                let x = self.eval(x, frame)?;
                aten::call(self.net, op, &[x], &[])?
            }
            Expr::Binary(op, x, y) => {
                let args = [self.eval(x, frame)?, self.eval(y, frame)?];
                aten::call(self.net, op, &args, &[])?
            }
            Expr::And(x, y) => self.logical(x, y, false, frame)?,
            Expr::Or(x, y) => self.logical(x, y, true, frame)?,
            Expr::If(condition, then, other) => {
                let decided = self.eval(condition, frame)?;
                match self.truth(&decided)? {
                    Some(true) => self.eval(then, frame)?,
                    Some(false) => self.eval(other, frame)?,
                    None => return Err(Stop::Free("a branch".into())),
                }
            }
        })
    }

    /// `x and y`, `x or y`: the second counts where the first does not settle it.
    fn logical(&mut self, x: &Expr, y: &Expr, settles: bool, frame: &mut Frame) -> Followed<Value> {
        let first = self.eval(x, frame)?;
        match self.truth(&first)? {
            Some(b) if b == settles => Ok(Value::Bool(b)),
            Some(_) => self.eval(y, frame),
            None => {
                let second = self.eval(y, frame)?;
                match self.truth(&second)? {
                    Some(b) if b == settles => Ok(Value::Bool(b)),
                    _ => Ok(first),
                }
            }
        }
    }

    fn attribute(&mut self, of: &Value, name: &Rc<str>) -> Followed<Value> {
        match of {
            Value::Object(o) => {
                if let Some(v) = o.fields.borrow().get(name) {
                    return Ok(v.clone());
                }
                let class = self.program.class(&o.class)?;
                let given =
                    class.as_ref().and_then(|c| c.values.iter().find(|v| v.0 == *name)).map(|v| v.1.clone());
                match given {
                    Some(e) => self.eval(&e, &mut Frame::new()),
                    None if class.is_some_and(|c| c.methods.iter().any(|m| m.name == *name)) => {
                        Ok(Value::Method(o.clone(), name.clone()))
                    }
                    None => wrong(format!("`{}` has no attribute `{name}`", o.class)),
                }
            }
            Value::Path(p) if &**p == "CONSTANTS" => {
                let at = name.trim_start_matches('c').parse::<usize>().ok();
                let found = at.and_then(|i| self.constants.get(i).cloned());
                found.map_or_else(|| wrong(format!("constant `{name}` is not in the archive")), Ok)
            }
            Value::Path(p) if &**p == "math" && &**name == "inf" => Ok(Value::Float(f64::INFINITY)),
            Value::Path(p) => Ok(Value::Path(format!("{p}.{name}").into())),
            Value::Poison => Ok(Value::Poison),
            Value::Tensor(_) => match &**name {
                "shape" => aten::call(self.net, "size", std::slice::from_ref(of), &[]),
                "dtype" => aten::call(self.net, "dtype", std::slice::from_ref(of), &[]),
                "device" => Ok(Value::Text("cpu".into())),
                _ => wrong(format!("the attribute `{name}` of a tensor")),
            },
            other => wrong(format!("the attribute `{name}` of {}", other.kind())),
        }
    }

    fn call_expr(
        &mut self,
        callee: &Expr,
        args: &[Expr],
        named: &[(Rc<str>, Expr)],
        line: u32,
        frame: &mut Frame,
    ) -> Followed<Value> {
        // The first argument of these is a type.
        if let (Expr::Name(n), false) = (callee, args.is_empty()) {
            match (&**n, args) {
                ("annotate" | "unchecked_cast", [_, value]) => return self.eval(value, frame),
                ("uninitialized", _) => return Ok(Value::None),
                ("isinstance", [value, kind]) => {
                    let value = self.eval(value, frame)?;
                    return is_instance(&value, kind);
                }
                _ => {}
            }
        }
        let callee = self.eval(callee, frame)?;
        let values = self.all(args, frame)?;
        let mut by_name: Vec<aten::Named> = Vec::new();
        for (name, e) in named {
            by_name.push((name.clone(), self.eval(e, frame)?));
        }
        self.at(line);
        self.step()?;
        match callee {
            Value::Method(o, name) => {
                let class = self.program.class(&o.class)?;
                let method = class.and_then(|c| c.methods.iter().find(|m| m.name == name).cloned());
                let Some(method) = method else {
                    return wrong(format!("`{}` has no method `{name}`", o.class));
                };
                self.call(&method, [vec![Value::Object(o)], values].concat(), by_name)
            }
            Value::Path(path) => self.call_path(&path, values, by_name),
            Value::Poison => Ok(Value::Poison),
            other => wrong(format!("{} is called", other.kind())),
        }
    }

    fn call_path(&mut self, path: &str, args: Vec<Value>, named: Vec<aten::Named>) -> Followed<Value> {
        if path.starts_with("__torch__.") {
            if let Some(f) = self.program.function(path)? {
                return self.call(&f, args, named);
            }
            return self.construct(path, args);
        }
        if path == "getattr" {
            return match &args[..] {
                [of, Value::Text(name)] => self.attribute(of, name),
                _ => wrong("an attribute without name"),
            };
        }
        let name = path.rsplit('.').next().unwrap_or(path);
        match name {
            "RaiseException" => {
                let message = args.iter().find_map(|v| match v {
                    Value::Text(t) if !t.is_empty() => Some(t.to_string()),
                    _ => None,
                });
                wrong(format!(
                    "it raises an exception: {}",
                    message.unwrap_or_default().trim_end_matches([':', ' '])
                ))
            }
            "dict" if args.is_empty() => Ok(Value::Dict(Rc::default())),
            "TupleConstruct" => Ok(Value::Tuple(args.into())),
            "ListConstruct" => Ok(Value::list(args)),
            _ => {
                let known = path.starts_with("torch.")
                    || path.starts_with("ops.prim.")
                    || path.starts_with("ops.aten.");
                if known || !path.contains('.') {
                    // Python's own functions, which torch has under names of their own.
                    let name = match path {
                        "int" => "Int",
                        "float" => "Float",
                        "bool" => "Bool",
                        _ => name,
                    };
                    return aten::call(self.net, name, &args, &named);
                }
                self.net.note_unknown(&path.trim_start_matches("ops.").replace('.', "::"));
                Ok(Value::Poison)
            }
        }
    }

    /// An object of a class of the program: empty for `__new__`, else a named tuple of its fields.
    fn construct(&mut self, path: &str, args: Vec<Value>) -> Followed<Value> {
        let (path, empty) = path.strip_suffix(".__new__").map_or((path, false), |p| (p, true));
        let Some(class) = self.program.class(path)? else {
            return wrong(format!("`{path}` is not in the archive's code"));
        };
        let mut fields = HashMap::new();
        if !empty {
            for (f, v) in class.fields.iter().zip(args) {
                fields.insert(f.clone(), v);
            }
        }
        Ok(Value::Object(Rc::new(Object { class: path.into(), fields: RefCell::new(fields) })))
    }
}

/// Whether a value is of a type, as far as code asks for it.
fn is_instance(value: &Value, kind: &Expr) -> Followed<Value> {
    let name = match kind {
        Expr::Name(n) => &**n,
        Expr::Index(of, _) => match &**of {
            Expr::Name(n) => &**n,
            _ => return wrong("a type that is not known"),
        },
        Expr::Tuple(kinds) | Expr::List(kinds) => {
            for k in kinds {
                if let Value::Bool(true) = is_instance(value, k)? {
                    return Ok(Value::Bool(true));
                }
            }
            return Ok(Value::Bool(false));
        }
        _ => return wrong("a type that is not known"),
    };
    Ok(Value::Bool(match (value, name) {
        (Value::Tensor(_), "Tensor") => true,
        (Value::Int(_) | Value::Symbol(_), "int") => true,
        (Value::Float(_), "float") | (Value::Bool(_), "bool") | (Value::Text(_), "str") => true,
        (Value::List(_), "List" | "list") | (Value::Tuple(_), "Tuple" | "tuple") => true,
        (Value::Dict(_), "Dict" | "dict") | (Value::None, "NoneType") => true,
        (Value::Poison, _) => return Ok(Value::Poison),
        _ => false,
    }))
}
