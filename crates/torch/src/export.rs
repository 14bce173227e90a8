//! Archives of `torch.export.save` (`.pt2`): the exported program as JSON, and its weights.
//!
//! Two layouts are read: one JSON file beside two checkpoints (PyTorch before 2.8), and the archive of
//! `models/model.json` with weights as entries of their own.

use crate::aten;
use crate::budget::Budget;
use crate::net::{Followed, Net, Stop, computed_type, wrong};
use crate::outline::{finished, input, output};
use crate::value::Value;
use crate::{Archive, Error, Result, checkpoint};
use ampoule_graph::{DType, Dim, Graph, Tensor};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::io::Cursor;
use std::rc::Rc;

const OLD: &str = "serialized_exported_program.json";

/// The entry that holds the program, and the folder it is in.
fn program_entry(names: &[String]) -> Option<(&String, String)> {
    let main = names.iter().find(|n| n.ends_with("models/model.json") || n.ends_with(OLD))?;
    let folder = main.trim_end_matches("models/model.json").trim_end_matches(OLD).to_owned();
    Some((main, folder))
}

/// Whether an archive with these entries is an exported program.
pub(crate) fn is_one(names: &[String]) -> bool {
    program_entry(names).is_some()
}

fn bad(reason: impl Into<String>) -> Error {
    Error::Archive(reason.into())
}

/// Makes a graph of an exported program.
pub(crate) fn graph(bytes: &[u8], names: &[String], budget: Budget) -> Result<Graph> {
    let mut zip = Archive::new(Cursor::new(bytes), budget)?;
    let (main, folder) = program_entry(names).ok_or(Error::NoProgram)?;
    let json: Json = serde_json::from_slice(&zip.read(main)?).map_err(|e| bad(format!("{main}: {e}")))?;
    let mut weights = HashMap::new();
    if main.ends_with(OLD) {
        for name in [
            "serialized_state_dict.pt",
            "serialized_constants.pt",
            "serialized_state_dict.json",
            "serialized_constants.json",
        ] {
            old_weights(&mut zip, names, &format!("{folder}{name}"), budget, &mut weights)?;
        }
    } else {
        for kind in ["weights", "constants"] {
            new_weights(&mut zip, names, &folder, kind, budget, &mut weights)?;
        }
    }
    let mut net = Net::default();
    let mut exported = Exported { values: HashMap::new(), weights, net: &mut net };
    let result = exported.follow(&json);
    let place = net.place.clone();
    if let (Some(e), Err(Stop::Wrong(_) | Stop::Free(_)) | Ok(_)) = (net.unsupported(), &result) {
        return Err(e.into());
    }
    result.map_err(|stop| match stop {
        Stop::Error(e) => e,
        Stop::Wrong(reason) => Error::Code { place, reason },
        Stop::Free(reason) => Error::Free { place, reason },
        Stop::Size { symbol, size } => Error::Code { place, reason: format!("`{symbol}` has to be {size}") },
        Stop::Rank(rank) => Error::Code { place, reason: format!("{rank} axes are needed") },
    })
}

type Weights = HashMap<String, Tensor>;

/// Tensors of a checkpoint inside the archive.
fn old_weights(
    zip: &mut Archive<Cursor<&[u8]>>,
    names: &[String],
    entry: &str,
    budget: Budget,
    out: &mut Weights,
) -> Result<()> {
    if names.iter().any(|n| n == entry) {
        let bytes = zip.read(entry)?;
        if !bytes.is_empty() {
            out.extend(checkpoint::from_bytes(&bytes, budget)?.tensors);
        }
    }
    Ok(())
}

/// Tensors that are entries of their own, described by a JSON file.
fn new_weights(
    zip: &mut Archive<Cursor<&[u8]>>,
    names: &[String],
    folder: &str,
    kind: &str,
    budget: Budget,
    out: &mut Weights,
) -> Result<()> {
    let place = format!("{folder}data/{kind}/");
    old_weights(zip, names, &format!("{place}model.pt"), budget, out)?;
    let config = format!("{place}model_{kind}_config.json");
    if !names.contains(&config) {
        return Ok(());
    }
    let json: Json =
        serde_json::from_slice(&zip.read(&config)?).map_err(|e| bad(format!("{config}: {e}")))?;
    for (name, about) in json["config"].as_object().into_iter().flatten() {
        let path = about["path_name"].as_str().ok_or_else(|| bad(format!("weight `{name}` has no path")))?;
        if path.contains(['/', '\\']) || path.starts_with('.') {
            return Err(bad(format!("weight `{name}` lies outside the archive's folder")));
        }
        let bytes = zip.read(&format!("{place}{path}"))?;
        if about["use_pickle"].as_bool() == Some(true) {
            let inside = checkpoint::from_bytes(&bytes, budget)?;
            let tensor = inside.tensors.into_values().next();
            out.extend(tensor.map(|t| (name.clone(), t)));
            continue;
        }
        out.insert(name.clone(), raw(name, &about["tensor_meta"], bytes)?);
    }
    Ok(())
}

/// A tensor of plain bytes.
fn raw(name: &str, meta: &Json, bytes: Vec<u8>) -> Result<Tensor> {
    let wrong = |what: &str| bad(format!("weight `{name}`: {what}"));
    let list = |key: &str| -> Option<Vec<usize>> {
        meta[key].as_array()?.iter().map(|n| usize::try_from(n["as_int"].as_u64()?).ok()).collect()
    };
    let (Some(dims), Some(strides)) = (list("sizes"), list("strides")) else { return Err(wrong("no sizes")) };
    let dtype = meta["dtype"].as_i64().and_then(element).ok_or_else(|| wrong("an unknown element type"))?;
    let offset = meta["storage_offset"]["as_int"].as_u64().unwrap_or(0) as usize;
    crate::rebuild::strided(&bytes.into(), dtype, offset, dims, &strides)
        .ok_or_else(|| wrong("its bytes do not fill its sizes"))
}

/// An element type by the number that exported programs give it.
fn element(code: i64) -> Option<DType> {
    Some(match code {
        1 => DType::U8,
        2 => DType::I8,
        3 => DType::I16,
        4 => DType::I32,
        5 => DType::I64,
        6 => DType::F16,
        7 => DType::F32,
        8 => DType::F64,
        12 => DType::Bool,
        13 => DType::Bf16,
        _ => return None,
    })
}

struct Exported<'a> {
    values: HashMap<String, Value>,
    weights: Weights,
    net: &'a mut Net,
}

impl Exported<'_> {
    fn follow(&mut self, json: &Json) -> Followed<Graph> {
        let module = &json["graph_module"];
        let graph = &module["graph"];
        let specs = module["signature"]["input_specs"].as_array();
        let Some(specs) = specs else { return wrong("the program has no signature") };
        for spec in specs {
            self.input(spec, graph)?;
        }
        self.nodes(graph)?;
        let specs = module["signature"]["output_specs"].as_array();
        let results =
            specs.into_iter().flatten().filter_map(|s| s["user_output"]["arg"]["as_tensor"]["name"].as_str());
        let results: Vec<&str> = results.collect();
        if results.is_empty() {
            return wrong("the program gives no tensor");
        }
        if self.net.unsupported().is_some() {
            return wrong("operators are not known");
        }
        for (i, name) in results.iter().enumerate() {
            let value = self.value_named(name)?;
            let id = self.net.operand(&value)?;
            let name = if results.len() == 1 { "output".to_owned() } else { format!("output_{i}") };
            output(self.net, id, &name)?;
        }
        finished(self.net)
    }

    fn value_named(&self, name: &str) -> Followed<Value> {
        match self.values.get(name) {
            Some(v) => Ok(v.clone()),
            None => wrong(format!("`{name}` is used before it is computed")),
        }
    }

    /// An input of the graph: a weight, or one that the user gives.
    fn input(&mut self, spec: &Json, graph: &Json) -> Followed<()> {
        let Some((kind, about)) = spec.as_object().and_then(|s| s.iter().next()) else {
            return wrong("an empty input");
        };
        let weight = match kind.as_str() {
            "parameter" => about["parameter_name"].as_str(),
            "buffer" => about["buffer_name"].as_str(),
            "tensor_constant" => about["tensor_constant_name"].as_str(),
            "user_input" => {
                let Some(name) = about["arg"]["as_tensor"]["name"].as_str() else {
                    // Numbers that were fixed when the program was exported.
                    return Ok(());
                };
                let meta = &graph["tensor_values"][name];
                let dims = meta["sizes"].as_array().into_iter().flatten().map(dim).collect();
                let dtype =
                    meta["dtype"].as_i64().and_then(element).and_then(computed_type).unwrap_or(DType::F32);
                let id = input(self.net, name, dtype, dims);
                let value = self.net.tensor(id);
                self.values.insert(name.to_owned(), value);
                return Ok(());
            }
            "constant_input" | "token" => return Ok(()),
            other => return wrong(format!("an input of the kind `{other}`")),
        };
        let (Some(weight), Some(name)) = (weight, about["arg"]["name"].as_str()) else {
            return wrong("an input without name");
        };
        let Some(t) = self.weights.get(weight) else {
            return wrong(format!("the weight `{weight}` is not in the archive"));
        };
        let id = self.net.weight(weight, &t.clone())?;
        let value = self.net.tensor(id);
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    fn nodes(&mut self, graph: &Json) -> Followed<()> {
        let Some(nodes) = graph["nodes"].as_array() else { return wrong("the program has no nodes") };
        for node in nodes {
            self.node(node)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &Json) -> Followed<()> {
        let target = node["target"].as_str().unwrap_or("");
        let outputs = node["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.net.place = place(node, outputs);
        let (mut args, mut named) = (Vec::new(), Vec::new());
        for i in node["inputs"].as_array().into_iter().flatten() {
            let value = self.argument(&i["arg"])?;
            match (i["name"].as_str().unwrap_or(""), i["kind"].as_i64()) {
                ("", _) => args.push(value),
                // Numbered names are those of operators without a schema.
                (_, Some(1)) if target.starts_with("_operator.") => args.push(value),
                (name, _) => named.push((Rc::from(name), value)),
            }
        }
        let result = self.call(target, args, named)?;
        self.store(outputs, result)
    }

    fn call(&mut self, target: &str, mut args: Vec<Value>, mut named: Vec<aten::Named>) -> Followed<Value> {
        if let Some(op) = target.strip_prefix("torch.ops.aten.") {
            let name = op.split('.').next().unwrap_or(op);
            // Plain values go by place.
            if name.starts_with("sym_size") {
                args.extend(named.drain(..).map(|n| n.1));
            }
            return aten::call(self.net, name, &args, &named);
        }
        args.extend(named.drain(..).map(|n| n.1));
        let name = match target
            .trim_start_matches("torch.ops.")
            .trim_start_matches("_operator.")
            .trim_start_matches("math.")
        {
            "getitem" => "__getitem__",
            "truediv" => "div",
            "mod" => "remainder",
            "and_" => "__and__",
            "or_" => "__or__",
            "not_" => "__not__",
            "trunc" => "floor",
            "torch.sym_max" => "max",
            "torch.sym_min" => "min",
            "torch.sym_float" => "Float",
            "torch.sym_int" => "Int",
            "torch.sym_not" => "__not__",
            name if target.starts_with("_operator.") || target.starts_with("math.") => name,
            other => {
                self.net.note_unknown(&other.replace('.', "::"));
                return Ok(Value::Poison);
            }
        };
        aten::call(self.net, name, &args, &[])
    }

    /// Gives the results of a node their names.
    fn store(&mut self, outputs: &[Json], result: Value) -> Followed<()> {
        let single = |v: &Json| -> Option<String> {
            let named = v["as_tensor"]["name"].as_str().or(v["as_sym_int"]["as_name"].as_str());
            let named =
                named.or(v["as_sym_bool"]["as_name"].as_str()).or(v["as_sym_float"]["as_name"].as_str());
            named.map(str::to_owned)
        };
        if let [only] = outputs {
            if let Some(list) = only["as_tensors"].as_array() {
                let items = result.items();
                for (i, name) in list.iter().enumerate() {
                    let value = match (&result, &items) {
                        (Value::Poison, _) => Value::Poison,
                        (_, Some(items)) if i < items.len() => items[i].clone(),
                        _ => return wrong("it gives fewer tensors than the program names"),
                    };
                    if let Some(name) = name["name"].as_str() {
                        self.values.insert(name.to_owned(), value);
                    }
                }
                return Ok(());
            }
            if let Some(name) = single(only) {
                let value = match result.items() {
                    Some(items) if items.len() == 1 => items[0].clone(),
                    _ => result,
                };
                self.values.insert(name, value);
            }
            return Ok(());
        }
        let items = result.items().unwrap_or_default();
        for (i, o) in outputs.iter().enumerate() {
            let value = if let Value::Poison = result {
                Value::Poison
            } else {
                items.get(i).cloned().unwrap_or(Value::None)
            };
            if let Some(name) = single(o) {
                self.values.insert(name, value);
            }
        }
        Ok(())
    }

    /// The value of an argument.
    fn argument(&mut self, arg: &Json) -> Followed<Value> {
        let Some((kind, v)) = arg.as_object().and_then(|a| a.iter().next()) else { return Ok(Value::None) };
        let symbolic = |this: &Self, v: &Json| -> Followed<Value> {
            if let Some(n) = v["as_int"].as_i64() {
                return Ok(Value::Int(n));
            }
            if let Some(b) = v["as_bool"].as_bool() {
                return Ok(Value::Bool(b));
            }
            if let Some(x) = v["as_float"].as_f64() {
                return Ok(Value::Float(x));
            }
            this.value_named(v["as_name"].as_str().unwrap_or("?"))
        };
        let list = |f: &mut dyn FnMut(&Json) -> Followed<Value>| -> Followed<Value> {
            let items = v.as_array().into_iter().flatten().map(f).collect::<Followed<Vec<_>>>()?;
            Ok(Value::list(items))
        };
        match kind.as_str() {
            "as_none" => Ok(Value::None),
            "as_tensor" => self.value_named(v["name"].as_str().unwrap_or("?")),
            "as_tensors" => list(&mut |v| self.value_named(v["name"].as_str().unwrap_or("?"))),
            "as_optional_tensors" => list(&mut |v| match v["as_tensor"]["name"].as_str() {
                Some(name) => self.value_named(name),
                None => Ok(Value::None),
            }),
            "as_int" => Ok(v.as_i64().map_or(Value::None, Value::Int)),
            "as_float" => Ok(number(v)),
            "as_bool" => Ok(Value::Bool(v.as_bool().unwrap_or(false))),
            "as_string" => Ok(Value::Text(v.as_str().unwrap_or("").into())),
            "as_ints" => list(&mut |v| Ok(Value::Int(v.as_i64().unwrap_or(0)))),
            "as_floats" => list(&mut |v| Ok(number(v))),
            "as_bools" => list(&mut |v| Ok(Value::Bool(v.as_bool().unwrap_or(false)))),
            "as_sym_int" | "as_sym_bool" | "as_sym_float" => symbolic(self, v),
            "as_sym_ints" | "as_sym_bools" | "as_sym_floats" => list(&mut |v| symbolic(self, v)),
            // As TorchScript numbers types: from zero, and bfloat16 with a gap.
            "as_scalar_type" => Ok(match v.as_i64() {
                Some(13) => Value::Int(15),
                Some(n) => Value::Int(n - 1),
                None => Value::None,
            }),
            "as_memory_format" | "as_layout" | "as_device" => Ok(Value::None),
            other => wrong(format!("an argument of the kind `{other}`")),
        }
    }
}

/// A number; infinities are text in JSON.
fn number(v: &Json) -> Value {
    match (v.as_f64(), v.as_str()) {
        (Some(x), _) => Value::Float(x),
        (None, Some("Infinity" | "inf")) => Value::Float(f64::INFINITY),
        (None, Some("-Infinity" | "-inf")) => Value::Float(f64::NEG_INFINITY),
        _ => Value::None,
    }
}

/// A size of an input.
fn dim(v: &Json) -> Dim {
    match (v["as_int"].as_u64(), v["as_expr"]["expr_str"].as_str()) {
        (Some(n), _) => Dim::Known(n as usize),
        (None, Some(s)) if !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || c == '_') => {
            Dim::Symbol(s.to_owned())
        }
        _ => Dim::Unknown,
    }
}

/// Where a node stands: its result's name, and the module it belongs to.
fn place(node: &Json, outputs: &[Json]) -> String {
    let name = outputs.first().and_then(|o| o["as_tensor"]["name"].as_str()).unwrap_or("node");
    let stack = node["metadata"]["nn_module_stack"].as_str().unwrap_or("");
    let module = stack.rsplit(';').next().and_then(|m| m.split(',').nth(1)).unwrap_or("");
    if module.is_empty() { name.to_owned() } else { format!("{name} in {module}") }
}
