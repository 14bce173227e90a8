//! The tree of serialized TorchScript code.

use std::rc::Rc;

/// An expression, with the line of calls for messages.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Name(Rc<str>),
    Attribute(Box<Expr>, Rc<str>),
    Call {
        callee: Box<Expr>,
        args: Vec<Expr>,
        named: Vec<(Rc<str>, Expr)>,
        line: u32,
    },
    Index(Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// `-x`, `not x`, `~x` by the operator of torch that stands for it.
    Unary(&'static str, Box<Expr>),
    /// `x + y` and others by the operator of torch that stands for them.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// `a if condition else b`
    If(Box<Expr>, Box<Expr>, Box<Expr>),
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stmt {
    Pass,
    Expr(Expr),
    /// Targets of a tuple, or one; and whether the value is unpacked.
    Assign {
        targets: Vec<Expr>,
        unpack: bool,
        value: Expr,
        line: u32,
    },
    If {
        condition: Expr,
        then: Vec<Stmt>,
        other: Vec<Stmt>,
        line: u32,
    },
    For {
        targets: Vec<Expr>,
        over: Expr,
        body: Vec<Stmt>,
        line: u32,
    },
    While {
        condition: Expr,
        body: Vec<Stmt>,
        line: u32,
    },
    Return(Option<Expr>),
    Raise(u32),
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameter {
    pub name: Rc<str>,
    pub kind: Option<Expr>,
    pub default: Option<Expr>,
}

/// A function or method.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub name: Rc<str>,
    /// The file it stands in.
    pub file: Rc<str>,
    pub parameters: Vec<Parameter>,
    pub body: Vec<Stmt>,
}

/// A class: its methods, its fields in order, and those fields that have a value.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Class {
    pub methods: Vec<Rc<Function>>,
    pub fields: Vec<Rc<str>>,
    pub values: Vec<(Rc<str>, Expr)>,
}

/// What a file holds, by name.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub functions: Vec<Rc<Function>>,
    pub classes: Vec<(Rc<str>, Rc<Class>)>,
}
