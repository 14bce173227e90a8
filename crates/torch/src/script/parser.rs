//! From words to a tree, with a bound on how deep it becomes.

use super::SyntaxError;
use super::ast::*;
use super::lexer::{Placed, Token, tokens};
use std::rc::Rc;

/// Expressions and blocks in one another.
const DEPTH: usize = 150;

struct Parser<'a> {
    tokens: &'a [Placed],
    at: usize,
    depth: usize,
    file: Rc<str>,
}

type Parsed<T> = Result<T, SyntaxError>;

/// Parses a file of serialized code.
pub(super) fn module(text: &str, file: &str) -> Parsed<Module> {
    let tokens = tokens(text)?;
    let mut p = Parser { tokens: &tokens, at: 0, depth: 0, file: file.into() };
    let mut out = Module::default();
    while p.at < p.tokens.len() {
        match p.peek_name() {
            Some("def") => out.functions.push(Rc::new(p.function()?)),
            Some("class") => out.classes.push(p.class()?),
            // `op_version_set = 1` of old archives, and imports.
            _ => p.skip_line(),
        }
    }
    Ok(out)
}

impl Parser<'_> {
    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.1)
    }

    fn wrong<T>(&self, expected: &str) -> Parsed<T> {
        Err(SyntaxError { line: self.line(), reason: format!("{expected} is expected") })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|t| &t.0)
    }

    fn peek_name(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Name(n)) => Some(n),
            _ => None,
        }
    }

    fn skip_line(&mut self) {
        while let Some(t) = self.peek() {
            let end = *t == Token::Newline;
            self.at += 1;
            if end {
                return;
            }
        }
    }

    /// Takes `sign` if it is next.
    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += found as usize;
        found
    }

    fn need(&mut self, sign: &str) -> Parsed<()> {
        if self.sign(sign) { Ok(()) } else { self.wrong(&format!("`{sign}`")) }
    }

    /// Takes the keyword `word` if it is next.
    fn word(&mut self, word: &str) -> bool {
        let found = self.peek_name() == Some(word);
        self.at += found as usize;
        found
    }

    fn name(&mut self) -> Parsed<Rc<str>> {
        match self.peek_name().map(Rc::from) {
            Some(n) => {
                self.at += 1;
                Ok(n)
            }
            None => self.wrong("a name"),
        }
    }

    fn newline(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(Token::Newline) => {
                self.at += 1;
                Ok(())
            }
            None => Ok(()),
            _ => self.wrong("the end of the line"),
        }
    }

    /// Runs `f` one level deeper.
    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(SyntaxError { line: self.line(), reason: format!("more than {DEPTH} levels") });
        }
        let out = f(self);
        self.depth -= 1;
        out
    }

    fn class(&mut self) -> Parsed<(Rc<str>, Rc<Class>)> {
        self.at += 1;
        let name = self.name()?;
        if self.sign("(") {
            while !self.sign(")") {
                if self.peek().is_none() {
                    return self.wrong("`)`");
                }
                self.at += 1;
            }
        }
        self.need(":")?;
        self.newline()?;
        let mut class = Class::default();
        if self.peek() != Some(&Token::Indent) {
            return Ok((name, Rc::new(class)));
        }
        self.at += 1;
        while self.peek().is_some() && self.peek() != Some(&Token::Dedent) {
            match self.peek_name() {
                Some("def") => {
                    let f = self.function()?;
                    class.methods.push(Rc::new(f));
                }
                Some("pass") => self.skip_line(),
                Some(_) => self.field(&mut class)?,
                None => return self.wrong("a field or method"),
            }
        }
        self.at += 1;
        Ok((name, Rc::new(class)))
    }

    /// `name : type`, `name : type = value` or `name = value`; also `__annotations__["0"] = type`.
    fn field(&mut self, class: &mut Class) -> Parsed<()> {
        let name = self.name()?;
        if self.sign("[") {
            if let Some(Token::Text(t)) = self.peek() {
                class.fields.push(t.as_str().into());
            }
            self.skip_line();
            return Ok(());
        }
        if self.sign(":") {
            self.expr()?;
        }
        class.fields.push(name.clone());
        if self.sign("=") {
            let value = self.expr()?;
            class.values.push((name, value));
        }
        self.newline()
    }

    fn function(&mut self) -> Parsed<Function> {
        self.at += 1;
        let name = self.name()?;
        self.need("(")?;
        let mut parameters = Vec::new();
        while !self.sign(")") {
            if self.sign("*") {
                self.sign(",");
                continue;
            }
            let name = self.name()?;
            let kind = if self.sign(":") { Some(self.expr()?) } else { None };
            let default = if self.sign("=") { Some(self.expr()?) } else { None };
            parameters.push(Parameter { name, kind, default });
            if !self.sign(",") {
                self.need(")")?;
                break;
            }
        }
        if self.sign("->") {
            self.expr()?;
        }
        let body = self.block()?;
        Ok(Function { name, file: self.file.clone(), parameters, body })
    }

    fn block(&mut self) -> Parsed<Vec<Stmt>> {
        self.need(":")?;
        self.newline()?;
        if self.peek() != Some(&Token::Indent) {
            return self.wrong("an indented block");
        }
        self.at += 1;
        let mut out = Vec::new();
        while self.peek().is_some() && self.peek() != Some(&Token::Dedent) {
            out.push(self.deeper(Self::statement)?);
        }
        self.at += 1;
        Ok(out)
    }

    fn statement(&mut self) -> Parsed<Stmt> {
        let line = self.line();
        if self.word("pass") {
            self.newline()?;
            return Ok(Stmt::Pass);
        }
        if self.word("if") {
            return self.branch(line);
        }
        if self.word("for") {
            let targets = self.targets()?;
            if !self.word("in") {
                return self.wrong("`in`");
            }
            let over = self.expr()?;
            return Ok(Stmt::For { targets, over, body: self.block()?, line });
        }
        if self.word("while") {
            let condition = self.expr()?;
            return Ok(Stmt::While { condition, body: self.block()?, line });
        }
        if self.word("return") {
            let value = if self.peek() == Some(&Token::Newline) { None } else { Some(self.listed()?) };
            self.newline()?;
            return Ok(Stmt::Return(value));
        }
        if self.word("raise") {
            self.skip_line();
            return Ok(Stmt::Raise(line));
        }
        if matches!(self.peek_name(), Some("with" | "break" | "continue" | "import" | "del" | "try")) {
            return self.wrong("a statement that networks need");
        }
        self.simple(line)
    }

    fn branch(&mut self, line: u32) -> Parsed<Stmt> {
        let condition = self.expr()?;
        let then = self.block()?;
        let other_line = self.line();
        let other = if self.word("elif") {
            vec![self.deeper(|p| p.branch(other_line))?]
        } else if self.word("else") {
            self.block()?
        } else {
            vec![]
        };
        Ok(Stmt::If { condition, then, other, line })
    }

    /// Names before the `in` of a loop.
    fn targets(&mut self) -> Parsed<Vec<Expr>> {
        let mut out = vec![self.postfix()?];
        while self.sign(",") {
            if self.peek_name() == Some("in") {
                break;
            }
            out.push(self.postfix()?);
        }
        Ok(out)
    }

    /// An assignment or an expression.
    fn simple(&mut self, line: u32) -> Parsed<Stmt> {
        let first = self.expr()?;
        let mut targets = vec![first];
        let mut unpack = false;
        while self.sign(",") {
            unpack = true;
            if matches!(self.peek(), Some(Token::Sign("=")) | Some(Token::Newline)) {
                break;
            }
            targets.push(self.expr()?);
        }
        if self.sign(":") {
            self.expr()?;
        }
        let augmented = [("+=", "add"), ("-=", "sub"), ("*=", "mul"), ("/=", "div")];
        let stmt = if self.sign("=") {
            let value = self.listed()?;
            if let (false, [Expr::Tuple(inside)]) = (unpack, &targets[..]) {
                Stmt::Assign { targets: inside.clone(), unpack: true, value, line }
            } else {
                Stmt::Assign { targets, unpack, value, line }
            }
        } else if let Some((_, op)) = augmented.into_iter().find(|(s, _)| self.sign(s)) {
            let value = Expr::Binary(op, Box::new(targets[0].clone()), Box::new(self.expr()?));
            Stmt::Assign { targets, unpack: false, value, line }
        } else if unpack {
            Stmt::Expr(Expr::Tuple(targets))
        } else {
            Stmt::Expr(targets.swap_remove(0))
        };
        self.newline()?;
        Ok(stmt)
    }

    /// An expression, or several with commas: a tuple.
    fn listed(&mut self) -> Parsed<Expr> {
        let first = self.expr()?;
        if !self.sign(",") {
            return Ok(first);
        }
        let mut out = vec![first];
        while self.peek() != Some(&Token::Newline) && self.peek().is_some() {
            out.push(self.expr()?);
            if !self.sign(",") {
                break;
            }
        }
        Ok(Expr::Tuple(out))
    }

    fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(|p| {
            let value = p.either()?;
            if !p.word("if") {
                return Ok(value);
            }
            let condition = p.either()?;
            if !p.word("else") {
                return p.wrong("`else`");
            }
            Ok(Expr::If(Box::new(condition), Box::new(value), Box::new(p.expr()?)))
        })
    }

    fn either(&mut self) -> Parsed<Expr> {
        let mut left = self.both()?;
        while self.word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Parsed<Expr> {
        let mut left = self.negation()?;
        while self.word("and") {
            left = Expr::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed<Expr> {
        if self.word("not") {
            return self.deeper(|p| Ok(Expr::Unary("__not__", Box::new(p.negation()?))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.binary(0)?;
        let signs = [("==", "eq"), ("!=", "ne"), ("<=", "le"), (">=", "ge"), ("<", "lt"), (">", "gt")];
        if let Some((_, op)) = signs.into_iter().find(|(s, _)| self.sign(s)) {
            return Ok(Expr::Binary(op, Box::new(left), Box::new(self.binary(0)?)));
        }
        if self.word("is") {
            let op = if self.word("not") { "__isnot__" } else { "__is__" };
            return Ok(Expr::Binary(op, Box::new(left), Box::new(self.binary(0)?)));
        }
        // The `in` of a loop is taken before: its targets are no comparisons.
        if self.word("in") {
            return Ok(Expr::Binary("__contains__", Box::new(self.binary(0)?), Box::new(left)));
        }
        Ok(left)
    }

    fn binary(&mut self, level: usize) -> Parsed<Expr> {
        const LEVELS: [&[(&str, &str)]; 5] = [
            &[("|", "__or__")],
            &[("^", "__xor__")],
            &[("&", "__and__")],
            &[("+", "add"), ("-", "sub")],
            &[("*", "mul"), ("//", "floordiv"), ("/", "div"), ("%", "remainder"), ("@", "matmul")],
        ];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, op)) = signs.iter().find(|(s, _)| self.sign(s)) {
            left = Expr::Binary(op, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        if self.sign("-") {
            let inner = self.deeper(Self::unary)?;
            return Ok(match inner {
                Expr::Int(n) => Expr::Int(n.wrapping_neg()),
                Expr::Float(x) => Expr::Float(-x),
                other => Expr::Unary("neg", Box::new(other)),
            });
        }
        if self.sign("~") {
            return self.deeper(|p| Ok(Expr::Unary("bitwise_not", Box::new(p.unary()?))));
        }
        let base = self.postfix()?;
        if self.sign("**") {
            return self.deeper(|p| Ok(Expr::Binary("pow", Box::new(base), Box::new(p.unary()?))));
        }
        Ok(base)
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let mut out = self.atom()?;
        // Each link makes the tree one level deeper.
        for link in 0.. {
            if link > DEPTH {
                return self.wrong(&format!("a chain of at most {DEPTH} links"));
            }
            let line = self.line();
            if self.sign(".") {
                out = Expr::Attribute(Box::new(out), self.name()?);
            } else if self.sign("(") {
                let (args, named) = self.arguments()?;
                out = Expr::Call { callee: Box::new(out), args, named, line };
            } else if self.sign("[") {
                let mut items = self.items("]")?;
                let index = if items.len() == 1 { items.swap_remove(0) } else { Expr::Tuple(items) };
                out = Expr::Index(Box::new(out), Box::new(index));
            } else {
                break;
            }
        }
        Ok(out)
    }

    fn arguments(&mut self) -> Parsed<(Vec<Expr>, Vec<(Rc<str>, Expr)>)> {
        let (mut args, mut named) = (Vec::new(), Vec::new());
        while !self.sign(")") {
            let keyword = matches!(self.tokens.get(self.at + 1), Some((Token::Sign("="), _)));
            if keyword && self.peek_name().is_some() {
                let name = self.name()?;
                self.need("=")?;
                named.push((name, self.expr()?));
            } else {
                args.push(self.expr()?);
            }
            if !self.sign(",") {
                self.need(")")?;
                break;
            }
        }
        Ok((args, named))
    }

    fn items(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let mut out = Vec::new();
        while !self.sign(end) {
            out.push(self.expr()?);
            if !self.sign(",") {
                self.need(end)?;
                break;
            }
        }
        Ok(out)
    }

    fn atom(&mut self) -> Parsed<Expr> {
        let Some(token) = self.peek().cloned() else { return self.wrong("an expression") };
        self.at += 1;
        Ok(match token {
            Token::Int(n) => Expr::Int(n),
            Token::Float(x) => Expr::Float(x),
            Token::Text(t) => Expr::Text(t.into()),
            Token::Name(n) => match n.as_str() {
                "None" => Expr::None,
                "True" => Expr::Bool(true),
                "False" => Expr::Bool(false),
                _ => Expr::Name(n.into()),
            },
            Token::Sign("(") => {
                if self.sign(")") {
                    return Ok(Expr::Tuple(vec![]));
                }
                let first = self.expr()?;
                if self.sign(")") {
                    return Ok(first);
                }
                self.need(",")?;
                let mut items = vec![first];
                items.extend(self.items(")")?);
                Expr::Tuple(items)
            }
            Token::Sign("[") => Expr::List(self.items("]")?),
            Token::Sign("{") => {
                let mut out = Vec::new();
                while !self.sign("}") {
                    let key = self.expr()?;
                    self.need(":")?;
                    out.push((key, self.expr()?));
                    if !self.sign(",") {
                        self.need("}")?;
                        break;
                    }
                }
                Expr::Dict(out)
            }
            Token::Sign(_) | Token::Newline | Token::Indent | Token::Dedent => {
                self.at -= 1;
                return self.wrong("an expression");
            }
        })
    }
}
