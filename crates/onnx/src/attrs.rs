//! Typed access to a node's attributes that remembers which were read, so that an attribute which
//! nobody understood makes the node unsupported instead of silently wrong.

use crate::proto::{AttributeProto, AttributeType, NodeProto};
use crate::refusal::{Read, Refusal};
use crate::tensors::tensor_from_proto;
use ampoule_graph::Tensor;
use std::cell::RefCell;

pub(super) struct Attrs<'a> {
    node: &'a NodeProto,
    read: RefCell<Vec<bool>>,
}

impl<'a> Attrs<'a> {
    pub fn new(node: &'a NodeProto) -> Self {
        Attrs { node, read: RefCell::new(vec![false; node.attribute.len()]) }
    }

    fn get(&self, name: &str, kind: AttributeType) -> Read<Option<&'a AttributeProto>> {
        let Some(i) = self.node.attribute.iter().position(|a| a.name == name) else { return Ok(None) };
        self.read.borrow_mut()[i] = true;
        let a = &self.node.attribute[i];
        if !a.ref_attr_name.is_empty() {
            return Err(Refusal::OfFunction { name: name.into() });
        }
        if a.r#type != kind as i32 && a.r#type != 0 {
            return Err(Refusal::Type { name: name.into(), found: a.r#type, wanted: kind as i32 });
        }
        Ok(Some(a))
    }

    pub fn int(&self, name: &str, default: i64) -> Read<i64> {
        Ok(self.get(name, AttributeType::Int)?.map_or(default, |a| a.i))
    }

    pub fn opt_int(&self, name: &str) -> Read<Option<i64>> {
        Ok(self.get(name, AttributeType::Int)?.map(|a| a.i))
    }

    pub fn flag(&self, name: &str, default: bool) -> Read<bool> {
        Ok(self.int(name, default as i64)? != 0)
    }

    pub fn float(&self, name: &str, default: f32) -> Read<f32> {
        Ok(self.get(name, AttributeType::Float)?.map_or(default, |a| a.f))
    }

    pub fn opt_float(&self, name: &str) -> Read<Option<f32>> {
        Ok(self.get(name, AttributeType::Float)?.map(|a| a.f))
    }

    pub fn ints(&self, name: &str) -> Read<Option<Vec<i64>>> {
        Ok(self.get(name, AttributeType::Ints)?.map(|a| a.ints.clone()))
    }

    pub fn floats(&self, name: &str) -> Read<Option<Vec<f32>>> {
        Ok(self.get(name, AttributeType::Floats)?.map(|a| a.floats.clone()))
    }

    pub fn sizes(&self, name: &str) -> Read<Vec<usize>> {
        let ints = self.ints(name)?.unwrap_or_default();
        let sizes: Option<Vec<usize>> = ints.iter().map(|&i| usize::try_from(i).ok()).collect();
        sizes.ok_or_else(|| Refusal::Negative { name: name.into(), values: ints })
    }

    pub fn text(&self, name: &str, default: &str) -> Read<String> {
        let Some(a) = self.get(name, AttributeType::String)? else { return Ok(default.into()) };
        String::from_utf8(a.s.to_vec()).map_err(|_| Refusal::NotText { name: name.into() })
    }

    pub fn texts(&self, name: &str) -> Read<Option<Vec<String>>> {
        let Some(a) = self.get(name, AttributeType::Strings)? else { return Ok(None) };
        let text = |s: &bytes::Bytes| {
            String::from_utf8(s.to_vec()).map_err(|_| Refusal::NotText { name: name.into() })
        };
        a.strings.iter().map(text).collect::<Read<_>>().map(Some)
    }

    pub fn tensor(&self, name: &str) -> Read<Option<Tensor>> {
        let Some(a) = self.get(name, AttributeType::Tensor)? else { return Ok(None) };
        let t = a.t.as_ref().ok_or_else(|| Refusal::NoTensor { name: name.into() })?;
        let tensor = tensor_from_proto(t, None, u64::MAX);
        tensor.map(Some).map_err(|source| Refusal::Tensor { name: name.into(), source: Box::new(source) })
    }

    /// Fails when an attribute was never asked for.
    pub fn finish(&self) -> Read<()> {
        match self.read.borrow().iter().position(|r| !r) {
            Some(i) => Err(Refusal::NotUnderstood { name: self.node.attribute[i].name.clone() }),
            None => Ok(()),
        }
    }
}
