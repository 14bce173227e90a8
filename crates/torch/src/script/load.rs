//! From an archive to its code, data and constants.

use super::ast::{Class, Function, Module};
use super::parser;
use crate::budget::Meter;
use crate::checkpoint::{folder, little_endian, refuse_hostile};
use crate::net::{Followed, Net, Stop, wrong};
use crate::pickle::{self, Id, Pickle};
use crate::rebuild;
use crate::storage::Storages;
use crate::value::{Object, Value};
use crate::{Archive, Budget, Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Cursor;
use std::rc::Rc;

/// Bytes of all code; that of the largest networks is a few megabytes.
const CODE: usize = 64 << 20;
/// Objects in one another.
const DEPTH: usize = 100;

/// A TorchScript archive.
pub(crate) struct Program<'a> {
    code: HashMap<String, String>,
    parsed: RefCell<HashMap<String, Rc<Module>>>,
    data: Pickle,
    constants: Option<Pickle>,
    data_storages: RefCell<Storages<'a>>,
    constant_storages: RefCell<Storages<'a>>,
    budget: Budget,
}

impl<'a> Program<'a> {
    /// Whether an archive with these entries is TorchScript.
    pub fn is_one(names: &[String]) -> bool {
        names.iter().any(|n| n.contains("/code/__torch__") && n.ends_with(".py"))
            && names.iter().any(|n| n.ends_with("/data.pkl"))
    }

    /// Reads the code and the pickles; tensors are read when the program is followed.
    pub fn read(bytes: &'a [u8], budget: Budget) -> Result<Self> {
        let mut zip = Archive::new(Cursor::new(bytes), budget)?;
        let names = zip.names();
        let folder = folder(&names, "data.pkl")?;
        little_endian(&mut zip, &names, &folder)?;
        let mut code = HashMap::new();
        let mut size = 0;
        let start = format!("{folder}code/");
        for name in names.iter().filter(|n| n.starts_with(&start) && n.ends_with(".py")) {
            let text = zip.read(name)?;
            size += text.len();
            if size > CODE {
                return Err(Error::Archive(format!("more than {CODE} bytes of code")));
            }
            let text = String::from_utf8(text).map_err(|_| Error::Archive(format!("{name} is not text")))?;
            code.insert(name[start.len()..].to_owned(), text);
        }
        let data = pickle::read(&zip.read(&format!("{folder}data.pkl"))?, budget)?;
        refuse_hostile(&data)?;
        let constants = format!("{folder}constants.pkl");
        let constants = match names.contains(&constants) {
            true => Some(pickle::read(&zip.read(&constants)?, budget)?),
            false => None,
        };
        let again = Archive::new(Cursor::new(bytes), budget)?;
        Ok(Program {
            code,
            parsed: RefCell::default(),
            data,
            constants,
            data_storages: RefCell::new(Storages::archived(zip, format!("{folder}data/"))),
            constant_storages: RefCell::new(Storages::archived(again, format!("{folder}constants/"))),
            budget,
        })
    }

    /// The parsed file of a module path, `__torch__.torch.nn.functional`.
    fn module(&self, path: &str) -> Result<Option<Rc<Module>>> {
        let file = format!("{}.py", path.replace('.', "/"));
        if let Some(m) = self.parsed.borrow().get(&file) {
            return Ok(Some(m.clone()));
        }
        let Some(text) = self.code.get(&file) else { return Ok(None) };
        let module = parser::module(text, &file)
            .map_err(|e| Error::Code { place: format!("{file}:{}", e.line), reason: e.reason })?;
        let module = Rc::new(module);
        self.parsed.borrow_mut().insert(file, module.clone());
        Ok(Some(module))
    }

    /// The function of this dotted name.
    pub(super) fn function(&self, path: &str) -> Result<Option<Rc<Function>>> {
        let Some((module, name)) = path.rsplit_once('.') else { return Ok(None) };
        let module = self.module(module)?;
        Ok(module.and_then(|m| m.functions.iter().find(|f| &*f.name == name).cloned()))
    }

    /// The class of this dotted name.
    pub(super) fn class(&self, path: &str) -> Result<Option<Rc<Class>>> {
        let Some((module, name)) = path.rsplit_once('.') else { return Ok(None) };
        let module = self.module(module)?;
        Ok(module.and_then(|m| m.classes.iter().find(|c| &*c.0 == name).map(|c| c.1.clone())))
    }

    /// The module that the archive is of, with its weights as constants of `net`.
    pub(super) fn root(&self, net: &mut Net) -> Followed<Value> {
        let storages = &mut self.data_storages.borrow_mut();
        let mut loader =
            Loader { p: &self.data, storages, net, done: HashMap::new(), meter: Meter::new(self.budget) };
        loader.value(self.data.root, "", 0)
    }

    /// The class of the module that the archive is of.
    pub(super) fn root_class(&self) -> Option<&str> {
        self.data.call(self.data.root).map(|c| c.0)
    }

    /// Constants of the code, `CONSTANTS.c0` and so on.
    pub(super) fn constants(&self, net: &mut Net) -> Followed<Vec<Value>> {
        let Some(p) = &self.constants else { return Ok(vec![]) };
        refuse_hostile(p)?;
        let storages = &mut self.constant_storages.borrow_mut();
        let mut loader = Loader { p, storages, net, done: HashMap::new(), meter: Meter::new(self.budget) };
        Ok(loader.value(p.root, "constant", 0)?.items().unwrap_or_default())
    }
}

/// Objects of a pickle as values.
struct Loader<'p, 'b, 's, 'n> {
    p: &'p Pickle,
    storages: &'b mut Storages<'s>,
    net: &'n mut Net,
    done: HashMap<Id, Value>,
    meter: Meter,
}

impl Loader<'_, '_, '_, '_> {
    fn value(&mut self, id: Id, path: &str, depth: usize) -> Followed<Value> {
        if let Some(v) = self.done.get(&id) {
            return Ok(v.clone());
        }
        if depth > DEPTH {
            return Err(Stop::Error(Error::Pickle("modules nested too deeply".into())));
        }
        let value = self.made(id, path, depth)?;
        self.done.insert(id, value.clone());
        Ok(value)
    }

    fn all(&mut self, ids: &[Id], path: &str, depth: usize) -> Followed<Vec<Value>> {
        ids.iter().map(|&i| self.value(i, path, depth + 1)).collect()
    }

    fn made(&mut self, id: Id, path: &str, depth: usize) -> Followed<Value> {
        self.meter.take("its modules", 128)?;
        Ok(match self.p.get(id) {
            pickle::Value::None => Value::None,
            pickle::Value::Bool(b) => Value::Bool(*b),
            pickle::Value::Int(n) => Value::Int(*n),
            pickle::Value::Float(x) => Value::Float(*x),
            pickle::Value::Text(t) => Value::Text(t.as_str().into()),
            pickle::Value::Tuple(items) => Value::Tuple(self.all(items, path, depth)?.into()),
            pickle::Value::List(items) | pickle::Value::Set(items) => {
                Value::list(self.all(items, path, depth)?)
            }
            pickle::Value::Dict(pairs) => {
                let mut out = Vec::new();
                for &(k, v) in pairs {
                    out.push((self.value(k, path, depth + 1)?, self.value(v, path, depth + 1)?));
                }
                Value::Dict(Rc::new(RefCell::new(out)))
            }
            pickle::Value::Global(name) => Value::Path(name.as_str().into()),
            pickle::Value::Call { .. } => self.object(id, path, depth)?,
            pickle::Value::Long(_) | pickle::Value::Bytes(_) | pickle::Value::Persistent(_) => {
                return wrong("the module holds bytes");
            }
        })
    }

    fn object(&mut self, id: Id, path: &str, depth: usize) -> Followed<Value> {
        if let Some(t) = rebuild::tensor(self.p, id, self.storages, &mut self.meter)? {
            let name = if path.is_empty() { "weight" } else { path };
            let id = self.net.weight(name, &t)?;
            return Ok(self.net.tensor(id));
        }
        let Some((class, args)) = self.p.call(id) else {
            return wrong("the module holds an object without class");
        };
        if class.starts_with("torch.jit._pickle.") {
            let Some(&inner) = args.first() else { return wrong("an empty list of a type of its own") };
            return self.value(inner, path, depth + 1);
        }
        if matches!(class, "collections.OrderedDict" | "torch.device" | "torch.Generator") {
            return Ok(Value::None);
        }
        let mut fields = HashMap::new();
        for (k, v) in self.p.pairs(id).unwrap_or_default() {
            let Some(name) = self.p.text(k) else { continue };
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if below.len() > 4096 {
                return wrong("a name of more than 4096 bytes");
            }
            fields.insert(Rc::from(name), self.value(v, &below, depth + 1)?);
        }
        let object = Object { class: class.into(), fields: RefCell::new(fields) };
        Ok(Value::Object(Rc::new(object)))
    }
}
