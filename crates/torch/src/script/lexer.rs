//! Words of serialized TorchScript code, which is a small part of Python.

use super::SyntaxError;

/// A word of the code.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    Float(f64),
    Text(String),
    /// An operator, bracket, comma, colon, dot or equals sign.
    Sign(&'static str),
    /// The end of a statement.
    Newline,
    /// Statements from here on are one level deeper, or one level less deep.
    Indent,
    Dedent,
}

/// A word and the line it stands on, from 1.
pub(super) type Placed = (Token, u32);

/// Longest first, so that `**` is not read as `*` twice.
const SIGNS: [&str; 33] = [
    "**=", "//=", "->", "**", "//", "==", "!=", "<=", ">=", "<<", ">>", "+=", "-=", "*=", "/=", "(", ")",
    "[", "]", "{", "}", ",", ":", ".", "=", "+", "-", "*", "/", "%", "<", ">", "@",
];
/// Bitwise signs.
const BITS: [&str; 4] = ["&", "|", "^", "~"];
/// More words than any network's code has.
const TOKENS: usize = 8_000_000;

struct Lexer<'a> {
    text: &'a str,
    line: u32,
    /// Brackets that are open; lines do not end inside them.
    open: usize,
    indents: Vec<usize>,
    out: Vec<Placed>,
}

/// All words of `text`.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, SyntaxError> {
    let mut l = Lexer { text, line: 0, open: 0, indents: vec![0], out: Vec::new() };
    for line in text.lines() {
        l.line += 1;
        l.one_line(line)?;
        if l.out.len() > TOKENS {
            return Err(l.wrong("the code is too long"));
        }
    }
    if l.open > 0 {
        return Err(l.wrong("a bracket is not closed"));
    }
    while l.indents.pop().is_some_and(|n| n > 0) {
        l.push(Token::Dedent);
    }
    Ok(l.out)
}

impl<'a> Lexer<'a> {
    fn wrong(&self, reason: &str) -> SyntaxError {
        let _ = self.text;
        SyntaxError { line: self.line, reason: reason.into() }
    }

    fn push(&mut self, t: Token) {
        self.out.push((t, self.line));
    }

    fn one_line(&mut self, line: &'a str) -> Result<(), SyntaxError> {
        let rest = line.trim_start_matches(' ');
        if rest.is_empty() || rest.starts_with('#') {
            return Ok(());
        }
        if self.open == 0 {
            self.indent(line.len() - rest.len())?;
        }
        let mut rest = rest;
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\r']);
            if rest.is_empty() || rest.starts_with('#') {
                break;
            }
            rest = self.word(rest)?;
        }
        if self.open == 0 {
            self.push(Token::Newline);
        }
        Ok(())
    }

    fn indent(&mut self, n: usize) -> Result<(), SyntaxError> {
        let last = |l: &Self| l.indents.last().copied().unwrap_or(0);
        if n > last(self) {
            self.indents.push(n);
            self.push(Token::Indent);
        }
        while n < last(self) {
            self.indents.pop();
            self.push(Token::Dedent);
        }
        if n == last(self) { Ok(()) } else { Err(self.wrong("the indentation is not that of any block")) }
    }

    /// Takes one word off the front.
    fn word<'r>(&mut self, rest: &'r str) -> Result<&'r str, SyntaxError> {
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_alphabetic() || first == '_' {
            let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.push(Token::Name(rest[..n].to_owned()));
            return Ok(&rest[n..]);
        }
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            return self.number(rest);
        }
        if first == '"' || first == '\'' {
            return self.quoted(rest, first);
        }
        let sign = SIGNS.iter().chain(&BITS).find(|s| rest.starts_with(**s));
        let sign = sign.ok_or_else(|| self.wrong(&format!("`{first}` has no place in serialized code")))?;
        match *sign {
            "(" | "[" | "{" => self.open += 1,
            ")" | "]" | "}" => {
                self.open = self.open.checked_sub(1).ok_or_else(|| self.wrong("a bracket closes nothing"))?;
            }
            _ => {}
        }
        self.push(Token::Sign(sign));
        Ok(&rest[sign.len()..])
    }

    fn number<'r>(&mut self, rest: &'r str) -> Result<&'r str, SyntaxError> {
        let mut n = 0;
        let bytes = rest.as_bytes();
        while n < bytes.len() {
            let exponent = n > 0 && matches!(bytes[n - 1], b'e' | b'E') && matches!(bytes[n], b'+' | b'-');
            if !(bytes[n].is_ascii_digit() || matches!(bytes[n], b'.' | b'e' | b'E') || exponent) {
                break;
            }
            n += 1;
        }
        let text = &rest[..n];
        let token = match text.parse::<i64>() {
            Ok(i) => Token::Int(i),
            Err(_) => Token::Float(text.parse().map_err(|_| self.wrong(&format!("`{text}` is no number")))?),
        };
        self.push(token);
        Ok(&rest[n..])
    }

    fn quoted<'r>(&mut self, rest: &'r str, quote: char) -> Result<&'r str, SyntaxError> {
        let mut out = String::new();
        let mut chars = rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.push(Token::Text(out));
                return Ok(&rest[at + 1..]);
            }
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next().map(|c| c.1) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(d) if d.is_digit(8) => {
                    let mut code = d.to_digit(8).unwrap_or(0);
                    while let Some(d) = chars.peek().and_then(|c| c.1.to_digit(8)) {
                        code = (code * 8 + d) & 0x1ff;
                        chars.next();
                    }
                    out.push(char::from_u32(code).unwrap_or('?'));
                }
                Some(other) => out.push(other),
                None => break,
            }
        }
        Err(self.wrong("text that does not end on its line"))
    }
}
