//! A pickle machine that builds data and calls nothing.
//!
//! It knows the opcodes of protocols 0 to 5 that tensors in plain containers need. Classes are
//! never imported: `GLOBAL` leaves a name, `REDUCE` and `NEWOBJ` leave a record of what would have
//! been called, and the reader above decides which records it understands. Everything else is an
//! error.

use crate::{Budget, Error, Result};
use std::collections::HashMap;

/// Index of an object on the machine's heap.
pub type Id = usize;

/// A value as the pickle describes it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian two's complement.
    Long(Vec<u8>),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`, not imported.
    Global(String),
    /// A call that was not made: callable, arguments, and what `BUILD` or `SETITEMS` added.
    Call {
        callable: Id,
        args: Id,
        state: Option<Id>,
        items: Vec<(Id, Id)>,
    },
    /// A persistent id: a reference to a storage.
    Persistent(Id),
}

/// A finished pickle: its heap and the id of the result.
#[derive(Debug)]
pub struct Pickle {
    heap: Vec<Value>,
    /// The result.
    pub root: Id,
    /// Bytes consumed.
    pub length: usize,
}

/// More opcodes than any checkpoint of this field has: each makes an object, or a reference to one.
const OPCODES: usize = 8_000_000;
/// Opcodes after which the memory that is left is looked at again.
const ROUND: usize = 1 << 16;
/// Most bytes that an opcode takes beside the bytes of its text: an object, a place on the stack and in a container, a
/// memo's entry, each with the room that growing leaves.
const OPCODE_BYTES: u64 = 256;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    heap: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

fn bad(reason: impl Into<String>) -> Error {
    Error::Pickle(reason.into())
}

/// Reads the pickle at the start of `bytes`.
pub fn read(bytes: &[u8], budget: Budget) -> Result<Pickle> {
    let mut m = Machine { bytes, at: 0, heap: vec![], stack: vec![], marks: vec![], memo: HashMap::new() };
    // Text and bytes are copied from the pickle, so that they are no more than it.
    budget.ask("its texts", bytes.len() as u64)?;
    for opcode in 0.. {
        if opcode > OPCODES {
            return Err(bad(format!("more than {OPCODES} objects; save only the state dict")));
        }
        // What is held grows in steps: the largest of them copies all there is.
        if opcode % ROUND == 0 {
            budget.ask("its objects", OPCODE_BYTES * (ROUND + opcode / 4) as u64)?;
        }
        if m.step()? {
            break;
        }
    }
    let root = m.pop()?;
    Ok(Pickle { heap: m.heap, root, length: m.at })
}

impl Machine<'_> {
    fn take(&mut self, n: u64) -> Result<&[u8]> {
        let end =
            usize::try_from(n).ok().and_then(|n| self.at.checked_add(n)).filter(|&e| e <= self.bytes.len());
        let end = end.ok_or_else(|| bad("it ends inside a value"))?;
        let out = &self.bytes[self.at..end];
        self.at = end;
        Ok(out)
    }

    fn number<const N: usize>(&mut self) -> Result<u64> {
        let b = self.take(N as u64)?;
        Ok(b.iter().rev().fold(0, |n, &x| n << 8 | x as u64))
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().position(|&b| b == b'\n').ok_or_else(|| bad("a line without end"))?;
        let text = String::from_utf8(rest[..n].to_vec()).map_err(|_| bad("a name that is not UTF-8"))?;
        self.at += n + 1;
        Ok(text)
    }

    fn text(&mut self, n: u64) -> Result<Value> {
        let b = self.take(n)?.to_vec();
        String::from_utf8(b).map(Value::Text).map_err(|_| bad("text that is not UTF-8"))
    }

    fn text_or_bytes(&mut self, n: u64) -> Result<Value> {
        let b = self.take(n)?.to_vec();
        Ok(String::from_utf8(b).map_or_else(|e| Value::Bytes(e.into_bytes()), Value::Text))
    }

    /// A key of the memo that is written as a line.
    fn key(&mut self) -> Result<u64> {
        self.line()?.trim().parse().map_err(|_| bad("a reference that is not a number"))
    }

    fn push(&mut self, v: Value) {
        self.heap.push(v);
        self.stack.push(self.heap.len() - 1);
    }

    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(bad("the stack is empty"));
        }
        self.stack.pop().ok_or_else(|| bad("the stack is empty"))
    }

    fn until_mark(&mut self) -> Result<Vec<Id>> {
        let at = self.marks.pop().ok_or_else(|| bad("no mark"))?;
        Ok(self.stack.split_off(at.min(self.stack.len())))
    }

    fn top(&self) -> Result<Id> {
        self.stack.last().copied().ok_or_else(|| bad("the stack is empty"))
    }

    fn memoize(&mut self, key: u64) -> Result<()> {
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let id = *self.memo.get(&key).ok_or_else(|| bad("an unknown reference"))?;
        self.stack.push(id);
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let id = self.top()?;
        match &mut self.heap[id] {
            Value::List(list) => list.extend(items),
            // A class of its own that is a list; its items are its state.
            Value::Call { items: own, .. } => own.extend(items.into_iter().map(|i| (i, i))),
            _ => return Err(bad("items for something that is not a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<()> {
        let id = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(bad("a key without value"));
        }
        let pairs = pairs.iter().map(|p| (p[0], p[1]));
        match &mut self.heap[id] {
            Value::Dict(d) => d.extend(pairs),
            Value::Call { items, .. } => items.extend(pairs),
            _ => return Err(bad("items for something that is not a dictionary")),
        }
        Ok(())
    }

    fn long(&mut self, n: u64) -> Result<Value> {
        let b = self.take(n)?.to_vec();
        if b.len() > 8 {
            return Ok(Value::Long(b));
        }
        let negative = b.last().is_some_and(|x| x & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..b.len()].copy_from_slice(&b);
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    /// Executes one opcode; `true` at the end.
    fn step(&mut self) -> Result<bool> {
        let op = self.take(1)?[0];
        if op == b'.' {
            return Ok(true);
        }
        if !self.change(op)? {
            let value = match self.number_or_text(op)? {
                Some(value) => value,
                None => self.object(op)?,
            };
            self.push(value);
        }
        Ok(false)
    }

    /// Executes an opcode that changes the stack, the memo or an object; `false` for those that push a new value.
    fn change(&mut self, op: u8) -> Result<bool> {
        match op {
            0x80 => {
                let protocol = self.number::<1>()?;
                if protocol > 5 {
                    return Err(bad(format!("pickle protocol {protocol}")));
                }
            }
            // Frames only group bytes.
            0x95 => drop(self.number::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.until_mark()?),
            b'2' => {
                let id = self.top()?;
                self.stack.push(id);
            }
            b'q' => self.number::<1>().and_then(|k| self.memoize(k))?,
            b'r' => self.number::<4>().and_then(|k| self.memoize(k))?,
            b'p' => self.key().and_then(|k| self.memoize(k))?,
            b'g' => self.key().and_then(|k| self.recall(k))?,
            0x94 => self.memoize(self.memo.len() as u64)?,
            b'h' => self.number::<1>().and_then(|k| self.recall(k))?,
            b'j' => self.number::<4>().and_then(|k| self.recall(k))?,
            0x90 => {
                let items = self.until_mark()?;
                let id = self.top()?;
                match &mut self.heap[id] {
                    Value::Set(set) => set.extend(items),
                    _ => return Err(bad("items for something that is not a set")),
                }
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.until_mark()?;
                self.append(items)?;
            }
            b's' => {
                let v = self.pop()?;
                let k = self.pop()?;
                self.set_items(vec![k, v])?;
            }
            b'u' => {
                let items = self.until_mark()?;
                self.set_items(items)?;
            }
            b'd' => {
                let items = self.until_mark()?;
                self.push(Value::Dict(vec![]));
                self.set_items(items)?;
            }
            b'b' => self.set_state()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Gives the object below the top of the stack its state.
    fn set_state(&mut self) -> Result<()> {
        let given = self.pop()?;
        let id = self.top()?;
        match &mut self.heap[id] {
            Value::Call { state, .. } => *state = Some(given),
            // Attributes of a container: `_metadata` of a state dict.
            Value::Dict(_) | Value::List(_) | Value::Set(_) => {}
            _ => return Err(bad("state for something that is not an object")),
        }
        Ok(())
    }

    /// The number, truth value, text or bytes that an opcode pushes; `None` for other opcodes.
    fn number_or_text(&mut self, op: u8) -> Result<Option<Value>> {
        Ok(Some(match op {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(self.number::<4>()? as u32 as i32 as i64),
            b'K' => Value::Int(self.number::<1>()? as i64),
            b'M' => Value::Int(self.number::<2>()? as i64),
            0x8a => {
                let n = self.number::<1>()?;
                self.long(n)?
            }
            0x8b => {
                let n = self.number::<4>()?;
                self.long(n)?
            }
            b'G' => {
                let b = self.take(8)?;
                Value::Float(f64::from_bits(b.iter().fold(0, |n, &x| n << 8 | x as u64)))
            }
            b'I' => match self.line()?.as_str() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                n => Value::Int(n.trim().parse().map_err(|_| bad("an integer that is not one"))?),
            },
            b'L' => {
                let n = self.line()?;
                Value::Int(n.trim_end_matches('L').parse().map_err(|_| bad("an integer that is not one"))?)
            }
            b'F' => Value::Float(self.line()?.parse().map_err(|_| bad("a number that is not one"))?),
            0x8c => {
                let n = self.number::<1>()?;
                self.text(n)?
            }
            b'X' => {
                let n = self.number::<4>()?;
                self.text(n)?
            }
            // Text of Python 2, which may be bytes.
            b'U' => {
                let n = self.number::<1>()?;
                self.text_or_bytes(n)?
            }
            b'T' => {
                let n = self.number::<4>()?;
                self.text_or_bytes(n)?
            }
            0x8d => {
                let n = self.number::<8>()?;
                self.text(n)?
            }
            b'S' => Value::Text(quoted(&self.line()?)?),
            b'V' => Value::Text(self.line()?),
            0x8e | 0x96 => {
                let n = self.number::<8>()?;
                Value::Bytes(self.take(n)?.to_vec())
            }
            b'C' => {
                let n = self.number::<1>()?;
                Value::Bytes(self.take(n)?.to_vec())
            }
            b'B' => {
                let n = self.number::<4>()?;
                Value::Bytes(self.take(n)?.to_vec())
            }
            _ => return Ok(None),
        }))
    }

    /// The record of a call.
    fn call(&mut self, callable: Id, args: Id) -> Result<Value> {
        if !matches!(self.heap[args], Value::Tuple(_)) {
            return Err(bad("arguments that are not a tuple"));
        }
        Ok(Value::Call { callable, args, state: None, items: vec![] })
    }

    /// The container, global or object that an opcode pushes. Opcodes of no checkpoint are refused.
    fn object(&mut self, op: u8) -> Result<Value> {
        Ok(match op {
            b')' => Value::Tuple(vec![]),
            b']' => Value::List(vec![]),
            b'}' => Value::Dict(vec![]),
            0x8f => Value::Set(vec![]),
            0x91 => Value::Set(self.until_mark()?),
            b't' => Value::Tuple(self.until_mark()?),
            b'l' => Value::List(self.until_mark()?),
            0x85..=0x87 => {
                let n = op as usize - 0x84;
                let mut items = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                Value::Tuple(items)
            }
            b'c' => {
                let module = self.line()?;
                Value::Global(format!("{module}.{}", self.line()?))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.heap[module], &self.heap[name]) {
                    (Value::Text(m), Value::Text(n)) => Value::Global(format!("{m}.{n}")),
                    _ => return Err(bad("a global whose name is not text")),
                }
            }
            b'R' | 0x81 => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.call(callable, args)?
            }
            0x92 => {
                let (_keywords, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, args)?
            }
            b'i' => {
                let module = self.line()?;
                let name = self.line()?;
                self.push(Value::Global(format!("{module}.{name}")));
                let callable = self.pop()?;
                let args = self.until_mark()?;
                self.push(Value::Tuple(args));
                let args = self.pop()?;
                self.call(callable, args)?
            }
            b'o' => {
                let mut all = self.until_mark()?;
                if all.is_empty() {
                    return Err(bad("an object without class"));
                }
                let callable = all.remove(0);
                self.push(Value::Tuple(all));
                let args = self.pop()?;
                self.call(callable, args)?
            }
            b'P' => {
                let name = self.line()?;
                self.push(Value::Text(name));
                Value::Persistent(self.pop()?)
            }
            b'Q' => Value::Persistent(self.pop()?),
            other => return Err(bad(format!("opcode 0x{other:02x} is not accepted in a checkpoint"))),
        })
    }
}

/// The text of a line in quotes, as protocol 0 writes it: `\\`, `\'`, `\n`, `\t`, `\r` and `\xHH` are escapes.
fn quoted(line: &str) -> Result<String> {
    let line = line.trim();
    let inside = ['\'', '"']
        .iter()
        .find_map(|&q| line.strip_prefix(q).and_then(|l| l.strip_suffix(q)))
        .ok_or_else(|| bad("text without quotes"))?;
    let mut out = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('x') => {
                let hex: String = chars.by_ref().take(2).collect();
                let code = u8::from_str_radix(&hex, 16).map_err(|_| bad("an escape that is not one"))?;
                out.push(code as char);
            }
            Some(other) => out.push(other),
            None => return Err(bad("text that ends inside an escape")),
        }
    }
    Ok(out)
}

impl Pickle {
    /// The value behind an id.
    pub fn get(&self, id: Id) -> &Value {
        &self.heap[id]
    }

    /// The `n`-th object of the heap, for walking over all of them.
    pub fn nth(&self, n: usize) -> Option<&Value> {
        self.heap.get(n)
    }

    /// Text behind an id.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(t) => Some(t),
            _ => None,
        }
    }

    /// An integer behind an id.
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// Elements of a tuple or list.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(v) | Value::List(v) | Value::Set(v) => Some(v),
            _ => None,
        }
    }

    /// What a recorded call is made of: the name of the function or class, and its arguments.
    pub fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        let Value::Call { callable, args, .. } = self.get(id) else { return None };
        let Value::Global(name) = self.get(*callable) else { return None };
        Some((name, self.items(*args)?))
    }

    /// Key-value pairs of a dictionary, an `OrderedDict` (built from pairs or filled later), or an
    /// object's state.
    pub fn pairs(&self, id: Id) -> Option<Vec<(Id, Id)>> {
        match self.get(id) {
            Value::Dict(d) => Some(d.clone()),
            Value::Call { callable, args, state, items } => {
                let ordered = *self.get(*callable) == Value::Global("collections.OrderedDict".into());
                let mut all = items.clone();
                if ordered && let Some([list]) = self.items(*args) {
                    for pair in self.items(*list)? {
                        let [k, v] = self.items(*pair)? else { return None };
                        all.push((*k, *v));
                    }
                }
                if let (false, Some(s)) = (ordered, state) {
                    match self.get(*s) {
                        Value::Dict(d) => all.extend(d),
                        _ => return None,
                    }
                }
                Some(all)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_malicious_pickle_is_only_described() {
        // cos\nsystem\n(S'..' is refused at the string opcode; with BINUNICODE the call stays a record.
        let p = b"cos\nsystem\nX\x04\x00\x00\x00true\x85R.";
        let p = read(p, Budget::default()).unwrap();
        let Value::Call { callable, .. } = p.get(p.root) else { panic!() };
        assert_eq!(p.get(*callable), &Value::Global("os.system".into()));
        assert!(p.pairs(p.root).is_some_and(|v| v.is_empty()));
    }

    #[test]
    fn containers_numbers_and_memo() {
        // {"a": [1, -2, True], "b": same list}
        let p =
            b"\x80\x02}q\x00(X\x01\x00\x00\x00a]q\x01(K\x01J\xfe\xff\xff\xff\x88eX\x01\x00\x00\x00bh\x01u.";
        let p = read(p, Budget::default()).unwrap();
        let pairs = p.pairs(p.root).unwrap();
        assert_eq!(p.text(pairs[1].0), Some("b"));
        assert_eq!(pairs[0].1, pairs[1].1);
        let list = p.items(pairs[0].1).unwrap();
        assert_eq!((p.int(list[1]), p.get(list[2])), (Some(-2), &Value::Bool(true)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, Budget::default());
        }
    }
}
