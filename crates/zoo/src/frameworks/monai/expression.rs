//! Expressions of a bundle (`$…`) as trees: the part of Python's expressions that configurations use. Nothing is executed.

/// Longest text of an expression, most of its words and signs, and deepest nesting.
const LONGEST: usize = 8192;
const TOKENS: usize = 1024;
const DEPTH: usize = 48;

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Between {
    Add,
    Sub,
    Mul,
    Div,
    Floor,
    Rest,
    Power,
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
    NotIn,
    Is,
    IsNot,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    None,
    Bool(bool),
    Whole(i64),
    Real(f64),
    Text(String),
    Name(String),
    /// `@id::key`, with the separators before its first name for those that count from where they stand.
    Reference(String),
    List(Vec<Expr>),
    Table(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    Plus(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// The value, the condition, and the other value.
    If(Box<[Expr; 3]>),
    /// A first value, and those it is compared with in a chain.
    Chain(Box<Expr>, Vec<(Between, Expr)>),
    Two(Between, Box<[Expr; 2]>),
    Item(Box<[Expr; 2]>),
    /// `value[from:to]`.
    Part(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    Attribute(Box<Expr>, String),
    /// Arguments have names where they were given so.
    Call(Box<Expr>, Vec<(Option<String>, Expr)>),
    /// A function of one argument.
    Lambda(String, Box<Expr>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Whole(i64),
    Real(f64),
    Text(String),
    Name(String),
    Reference(String),
    Symbol(&'static str),
}

/// Longer symbols stand before those that begin them.
const SYMBOLS: [&str; 28] = [
    "**", "//", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ",", ":", ".", "+", "-", "*", "/", "%",
    "<", ">", "=", "&", "|", "^", "~", ";",
];

/// Length of the reference after an `@`: separators, and names between separators.
pub(super) fn reference_length(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let separator = if rest.starts_with("::") { 2 } else { usize::from(rest.starts_with('#')) };
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let name: usize = rest[separator..].chars().take_while(|c| word(*c)).map(char::len_utf8).sum();
        // A name stands at the beginning or behind a separator.
        if separator + name == 0 || (separator == 0 && at > 0) {
            return at;
        }
        at += separator + name;
    }
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let mut end = 0;
    let bytes = text.as_bytes();
    while let Some(b) = bytes.get(end) {
        let sign = matches!(b, b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        if !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_') || sign) {
            break;
        }
        end += 1;
    }
    let digits = text[..end].replace('_', "");
    let token = match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(n), _) => Token::Whole(n),
        (Err(_), _) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            return Err("a whole number beyond all bounds".into());
        }
        (Err(_), Ok(v)) if v.is_finite() => Token::Real(v),
        (Err(_), _) => return Err(format!("the number `{}`", &text[..end])),
    };
    Ok((token, end))
}

fn quoted(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Token::Text(out), at + c.len_utf8())),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, own)) if "\\'\"".contains(own) => out.push(own),
                Some((_, other)) => return Err(format!("the text with `\\{other}`")),
                None => break,
            },
            _ => out.push(c),
        }
    }
    Err("a text without its end".into())
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = match c {
            '@' => {
                let n = reference_length(&rest[1..]);
                (Token::Reference(rest[1..1 + n].replace('#', "::")), 1 + n)
            }
            '0'..='9' => number(rest)?,
            '.' if rest[1..].starts_with(|d: char| d.is_ascii_digit()) => number(rest)?,
            '\'' | '"' => quoted(rest, c)?,
            _ if c.is_alphabetic() || c == '_' => {
                let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Name(rest[..n].to_owned()), n)
            }
            _ => match SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
                Some(s) => (Token::Symbol(s), s.len()),
                None => return Err(format!("the sign `{c}`")),
            },
        };
        out.push(token);
        at += length;
        if out.len() > TOKENS {
            return Err(format!("more than {TOKENS} words and signs"));
        }
    }
    Ok(out)
}

/// The expression of a text without its `$`; an error says what it has that is not read.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    if text.len() > LONGEST {
        return Err(format!("{} characters", text.len()));
    }
    let mut p = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let found = p.any()?;
    match p.tokens.get(p.at) {
        None => Ok(found),
        Some(_) => Err(p.strange()),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    /// What stands where something else is expected.
    fn strange(&self) -> String {
        match self.tokens.get(self.at) {
            Some(Token::Name(n)) if n == "for" => "a loop (`for`)".into(),
            Some(Token::Name(n)) => format!("the word `{n}`"),
            Some(Token::Symbol(s)) => format!("the sign `{s}`"),
            Some(Token::Reference(r)) => format!("`@{r}` where no value stands"),
            Some(Token::Text(t)) => format!("the text `{t}` where none stands"),
            Some(Token::Whole(_) | Token::Real(_)) => "a number where none stands".into(),
            None => "no end".into(),
        }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let there = matches!(self.tokens.get(self.at), Some(Token::Symbol(s)) if *s == symbol);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str) -> bool {
        self.words(&[word])
    }

    /// Steps over all of these words, or over none.
    fn words(&mut self, words: &[&str]) -> bool {
        let is =
            |(i, w): (usize, &&str)| matches!(self.tokens.get(self.at + i), Some(Token::Name(n)) if n == w);
        let there = words.iter().enumerate().all(is);
        self.at += if there { words.len() } else { 0 };
        there
    }

    fn need(&mut self, symbol: &str) -> Result<(), String> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.strange()) }
    }

    fn any(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("too deep a nesting".into());
        }
        let found = match self.word("lambda") {
            true => self.lambda(),
            false => self.conditional(),
        };
        self.depth -= 1;
        found
    }

    fn lambda(&mut self) -> Result<Expr, String> {
        match (self.tokens.get(self.at).cloned(), self.tokens.get(self.at + 1)) {
            (Some(Token::Name(name)), Some(Token::Symbol(":"))) => {
                self.at += 2;
                Ok(Expr::Lambda(name, Box::new(self.any()?)))
            }
            _ => Err("a function of several arguments (`lambda`)".into()),
        }
    }

    fn conditional(&mut self) -> Result<Expr, String> {
        let value = self.or()?;
        if !self.word("if") {
            return Ok(value);
        }
        let condition = self.or()?;
        if !self.word("else") {
            return Err(self.strange());
        }
        let other = self.any()?;
        Ok(Expr::If(Box::new([value, condition, other])))
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut left = self.and()?;
        while self.word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut left = self.not()?;
        while self.word("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, String> {
        let mut times = 0;
        while self.word("not") {
            times += 1;
        }
        let mut value = self.comparison()?;
        for _ in 0..times {
            value = Expr::Not(Box::new(value));
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let signs = [
                ("==", Between::Equal),
                ("!=", Between::Unequal),
                ("<=", Between::AtMost),
                (">=", Between::AtLeast),
                ("<", Between::Less),
                (">", Between::More),
            ];
            let sign = signs.into_iter().find(|(s, _)| self.symbol(s)).map(|s| s.1);
            let way = match sign {
                Some(sign) => sign,
                None if self.word("in") => Between::In,
                None if self.words(&["is", "not"]) => Between::IsNot,
                None if self.word("is") => Between::Is,
                None if self.words(&["not", "in"]) => Between::NotIn,
                None => break,
            };
            rest.push((way, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Chain(Box::new(first), rest) })
    }

    fn sum(&mut self) -> Result<Expr, String> {
        let mut left = self.product()?;
        loop {
            let way = match () {
                () if self.symbol("+") => Between::Add,
                () if self.symbol("-") => Between::Sub,
                () => return Ok(left),
            };
            left = Expr::Two(way, Box::new([left, self.product()?]));
        }
    }

    fn product(&mut self) -> Result<Expr, String> {
        let mut left = self.signed()?;
        loop {
            let way = match () {
                () if self.symbol("*") => Between::Mul,
                () if self.symbol("//") => Between::Floor,
                () if self.symbol("/") => Between::Div,
                () if self.symbol("%") => Between::Rest,
                () => return Ok(left),
            };
            left = Expr::Two(way, Box::new([left, self.signed()?]));
        }
    }

    fn signed(&mut self) -> Result<Expr, String> {
        let mut sign = None;
        loop {
            match () {
                () if self.symbol("-") => sign = Some(sign != Some(true)),
                () if self.symbol("+") => sign = sign.or(Some(false)),
                () => break,
            }
        }
        let base = self.chained()?;
        // A power binds more than the sign before it, and less than the one after it.
        let value = match self.symbol("**") {
            true => {
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err("too deep a nesting".into());
                }
                let power = Expr::Two(Between::Power, Box::new([base, self.signed()?]));
                self.depth -= 1;
                power
            }
            false => base,
        };
        Ok(match sign {
            Some(true) => Expr::Minus(Box::new(value)),
            Some(false) => Expr::Plus(Box::new(value)),
            None => value,
        })
    }

    /// A value with what is taken of it: items, attributes, calls.
    fn chained(&mut self) -> Result<Expr, String> {
        let mut value = self.atom()?;
        loop {
            if self.symbol("(") {
                let mut arguments = Vec::new();
                while !self.symbol(")") {
                    let name = match (self.tokens.get(self.at).cloned(), self.tokens.get(self.at + 1)) {
                        (Some(Token::Name(n)), Some(Token::Symbol("="))) => {
                            self.at += 2;
                            Some(n)
                        }
                        _ => None,
                    };
                    arguments.push((name, self.any()?));
                    if !self.symbol(",") {
                        self.need(")")?;
                        break;
                    }
                }
                value = Expr::Call(Box::new(value), arguments);
            } else if self.symbol("[") {
                let from = if self.symbol(":") { None } else { Some(self.any()?) };
                let part = from.is_none() || self.symbol(":");
                value = match (part, from) {
                    (false, Some(item)) => {
                        self.need("]")?;
                        Expr::Item(Box::new([value, item]))
                    }
                    (_, from) => {
                        let to = if self.symbol("]") { None } else { Some(self.any()?) };
                        if to.is_some() {
                            self.need("]")?;
                        }
                        Expr::Part(Box::new(value), from.map(Box::new), to.map(Box::new))
                    }
                };
            } else if self.symbol(".") {
                let Some(Token::Name(name)) = self.tokens.get(self.at).cloned() else {
                    return Err(self.strange());
                };
                self.at += 1;
                value = Expr::Attribute(Box::new(value), name);
            } else {
                return Ok(value);
            }
        }
    }

    /// Values between commas up to a closing sign, and whether a comma followed the last.
    fn items(&mut self, close: &str) -> Result<(Vec<Expr>, bool), String> {
        let mut out = Vec::new();
        let mut comma = false;
        while !self.symbol(close) {
            out.push(self.any()?);
            comma = self.symbol(",");
            if !comma {
                self.need(close)?;
                break;
            }
        }
        Ok((out, comma))
    }

    fn table(&mut self) -> Result<Expr, String> {
        let mut out = Vec::new();
        while !self.symbol("}") {
            let key = self.any()?;
            self.need(":")?;
            out.push((key, self.any()?));
            if !self.symbol(",") {
                self.need("}")?;
                break;
            }
        }
        Ok(Expr::Table(out))
    }

    fn atom(&mut self) -> Result<Expr, String> {
        let Some(token) = self.tokens.get(self.at).cloned() else { return Err(self.strange()) };
        let words = ["if", "else", "for", "in", "and", "or", "not", "is", "import", "from", "await", "yield"];
        let value = match token {
            Token::Whole(n) => Expr::Whole(n),
            Token::Real(v) => Expr::Real(v),
            Token::Text(t) => Expr::Text(t),
            Token::Reference(r) => Expr::Reference(r),
            Token::Name(n) => match n.as_str() {
                "None" => Expr::None,
                "True" => Expr::Bool(true),
                "False" => Expr::Bool(false),
                other if words.contains(&other) => return Err(self.strange()),
                _ => Expr::Name(n),
            },
            Token::Symbol("(") => {
                self.at += 1;
                let (mut inside, comma) = self.items(")")?;
                return Ok(match (inside.len(), comma) {
                    (1, false) => inside.remove(0),
                    _ => Expr::List(inside),
                });
            }
            Token::Symbol("[") => {
                self.at += 1;
                return Ok(Expr::List(self.items("]")?.0));
            }
            Token::Symbol("{") => {
                self.at += 1;
                return self.table();
            }
            Token::Symbol(_) => return Err(self.strange()),
        };
        self.at += 1;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_expression_is_told() {
        for (text, told) in [
            ("[{'image': i} for i in @datalist]", "loop"),
            ("lambda x, y: x", "several arguments"),
            ("import glob", "import"),
            ("1 2", "number"),
            ("'a", "without its end"),
            ("(1", "no end"),
            ("3.x", "number"),
            ("a ? b", "`?`"),
            ("", "no end"),
            (&"(".repeat(500), "nesting"),
            (&"-2**".repeat(200), "nesting"),
            (&"1+".repeat(9000), "characters"),
            (&"1+".repeat(900), "words and signs"),
            ("@a not", "`not`"),
            (r"'\u0041'", "\\u"),
            ("9223372036854775808", "beyond all bounds"),
            ("-1_000_000_000_000_000_000_000", "beyond all bounds"),
        ] {
            assert!(parse(text).unwrap_err().contains(told), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn references_end_where_names_do() {
        for (text, want) in
            [("a#b::0 + 1", "a#b::0"), ("a.to(x)", "a"), ("##a", "##a"), ("a]", "a"), ("", "")]
        {
            assert_eq!(&text[..reference_length(text)], want);
        }
    }
}
