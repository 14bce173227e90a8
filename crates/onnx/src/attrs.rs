//! Typed access to a node's attributes that remembers which were read, so that an attribute which
//! nobody understood makes the node unsupported instead of silently wrong.

use crate::proto::{AttributeProto, AttributeType, NodeProto};
use ampoule_graph::Tensor;
use std::cell::RefCell;

type R<T> = Result<T, String>;

pub(super) struct Attrs<'a> {
    node: &'a NodeProto,
    read: RefCell<Vec<bool>>,
}

impl<'a> Attrs<'a> {
    pub fn new(node: &'a NodeProto) -> Self {
        Attrs { node, read: RefCell::new(vec![false; node.attribute.len()]) }
    }

    fn get(&self, name: &str, kind: AttributeType) -> R<Option<&'a AttributeProto>> {
        let Some(i) = self.node.attribute.iter().position(|a| a.name == name) else { return Ok(None) };
        self.read.borrow_mut()[i] = true;
        let a = &self.node.attribute[i];
        if !a.ref_attr_name.is_empty() {
            return Err(format!("attribute {name} refers to a function's attribute"));
        }
        if a.r#type != kind as i32 && a.r#type != 0 {
            return Err(format!("attribute {name} has type {}, not {}", a.r#type, kind as i32));
        }
        Ok(Some(a))
    }

    pub fn int(&self, name: &str, default: i64) -> R<i64> {
        Ok(self.get(name, AttributeType::Int)?.map_or(default, |a| a.i))
    }

    pub fn opt_int(&self, name: &str) -> R<Option<i64>> {
        Ok(self.get(name, AttributeType::Int)?.map(|a| a.i))
    }

    pub fn flag(&self, name: &str, default: bool) -> R<bool> {
        Ok(self.int(name, default as i64)? != 0)
    }

    pub fn float(&self, name: &str, default: f32) -> R<f32> {
        Ok(self.get(name, AttributeType::Float)?.map_or(default, |a| a.f))
    }

    pub fn opt_float(&self, name: &str) -> R<Option<f32>> {
        Ok(self.get(name, AttributeType::Float)?.map(|a| a.f))
    }

    pub fn ints(&self, name: &str) -> R<Option<Vec<i64>>> {
        Ok(self.get(name, AttributeType::Ints)?.map(|a| a.ints.clone()))
    }

    pub fn floats(&self, name: &str) -> R<Option<Vec<f32>>> {
        Ok(self.get(name, AttributeType::Floats)?.map(|a| a.floats.clone()))
    }

    pub fn sizes(&self, name: &str) -> R<Vec<usize>> {
        let ints = self.ints(name)?.unwrap_or_default();
        let sizes: Option<Vec<usize>> = ints.iter().map(|&i| usize::try_from(i).ok()).collect();
        sizes.ok_or_else(|| format!("attribute {name} is negative: {ints:?}"))
    }

    pub fn text(&self, name: &str, default: &str) -> R<String> {
        let Some(a) = self.get(name, AttributeType::String)? else { return Ok(default.into()) };
        String::from_utf8(a.s.to_vec()).map_err(|_| format!("attribute {name} is not UTF-8"))
    }

    pub fn tensor(&self, name: &str) -> R<Option<Tensor>> {
        let Some(a) = self.get(name, AttributeType::Tensor)? else { return Ok(None) };
        let t = a.t.as_ref().ok_or_else(|| format!("attribute {name} holds no tensor"))?;
        crate::tensor_from_proto(t, None, u64::MAX).map(Some).map_err(|e| e.to_string())
    }

    /// Fails when an attribute was never asked for.
    pub fn finish(&self) -> R<()> {
        match self.read.borrow().iter().position(|r| !r) {
            Some(i) => Err(format!("attribute {} is not understood", self.node.attribute[i].name)),
            None => Ok(()),
        }
    }
}
