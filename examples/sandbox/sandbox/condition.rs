//! The conditions of OData's `$filter`, SOQL's `WHERE` and HubSpot's search: one tree, and a parser for the first two.

use std::cmp::Ordering;

use super::clock;
use super::table::{Cell, Column, Type};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Test {
    Equal,
    Unequal,
    Greater,
    AtLeast,
    Less,
    AtMost,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare { column: &'static str, test: Test, value: Cell },
    OneOf { column: &'static str, values: Vec<Cell> },
}

impl Condition {
    /// Returns the condition that every row meets.
    pub(crate) fn always() -> Condition {
        Condition::All(Vec::new())
    }

    /// Says whether a row meets the condition; a comparison with nothing fails, except for equality with it.
    pub(crate) fn holds(&self, cell: &dyn Fn(&str) -> Cell) -> bool {
        match self {
            Condition::All(parts) => parts.iter().all(|part| part.holds(cell)),
            Condition::Any(parts) => parts.iter().any(|part| part.holds(cell)),
            Condition::Not(part) => !part.holds(cell),
            Condition::OneOf { column, values } => values.contains(&cell(column)),
            Condition::Compare { column, test, value } => {
                let found = cell(column);
                match test {
                    Test::Equal => found == *value,
                    Test::Unequal => found != *value,
                    Test::Greater => found.compare(value) == Some(Ordering::Greater),
                    Test::AtLeast => found.compare(value).is_some_and(Ordering::is_ge),
                    Test::Less => found.compare(value) == Some(Ordering::Less),
                    Test::AtMost => found.compare(value).is_some_and(Ordering::is_le),
                }
            }
        }
    }

    /// Returns a value that a column must reach for the condition to hold, where the condition says so outright.
    pub(crate) fn lower_bound(&self, key: &str) -> Option<&Cell> {
        match self {
            Condition::All(parts) => parts.iter().filter_map(|part| part.lower_bound(key)).max_by(|a, b| a.order(b)),
            Condition::Any(parts) if parts.len() == 1 => parts[0].lower_bound(key),
            Condition::Compare { column, test: Test::Greater | Test::AtLeast | Test::Equal, value }
                if *column == key =>
            {
                Some(value)
            }
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `eq`, `ge`; a quote in a text is doubled; `and` binds closer than `or`.
    OData,
    /// `=`, `>=`; a quote in a text is escaped; `AND` beside `OR` needs parentheses.
    Soql,
}

#[derive(PartialEq, Debug)]
pub(crate) enum Problem {
    Syntax(String),
    UnknownColumn(String),
    WrongType { column: String, kind: Type, quoted: bool },
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Token {
    Word(String),
    Text(String),
    Symbol(&'static str),
}

/// Splits a query into words, texts and symbols.
pub(crate) fn tokens(query: &str, dialect: Dialect) -> Result<Vec<Token>, Problem> {
    let symbols = ["(", ")", ",", ">=", "<=", "!=", "<>", "=", ">", "<"];
    let mut found = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (text, after) = quoted(&rest[1..], dialect)?;
            found.push(Token::Text(text));
            rest = after;
        } else if let Some(symbol) = symbols.iter().find(|symbol| rest.starts_with(**symbol)) {
            found.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let ends = |c: char| c.is_whitespace() || "(),'<>=!".contains(c);
            let end = rest.find(ends).unwrap_or(rest.len());
            if end == 0 {
                return Err(Problem::Syntax(format!("unexpected '{first}'")));
            }
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

/// Reads a text after its opening quote; returns it and what follows its closing one.
fn quoted(from: &str, dialect: Dialect) -> Result<(String, &str), Problem> {
    let mut text = String::new();
    let mut chars = from.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, dialect) {
            ('\'', Dialect::OData) if from[at + 1..].starts_with('\'') => {
                text.push('\'');
                chars.next();
            }
            ('\'', _) => return Ok((text, &from[at + 1..])),
            ('\\', Dialect::Soql) => text.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => text.push(c),
        }
    }
    Err(Problem::Syntax("unterminated string literal".to_owned()))
}

/// A walk over tokens; `find` gives the column of a name.
pub(crate) struct Parser<'a> {
    pub(crate) tokens: &'a [Token],
    pub(crate) at: usize,
    pub(crate) dialect: Dialect,
    pub(crate) find: &'a dyn Fn(&str) -> Option<Column>,
}

/// Returns the condition that an OData `$filter` states.
pub(crate) fn odata_filter(filter: &str, columns: &[Column]) -> Result<Condition, Problem> {
    let tokens = tokens(filter, Dialect::OData)?;
    let find = |name: &str| super::table::column(columns, name);
    let mut parser = Parser { tokens: &tokens, at: 0, dialect: Dialect::OData, find: &find };
    let condition = parser.condition()?;
    match parser.peek() {
        None => Ok(condition),
        Some(token) => Err(Problem::Syntax(format!("unexpected {token:?}"))),
    }
}

impl Parser<'_> {
    pub(crate) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Takes the next token if it is this word, in any case.
    pub(crate) fn takes(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    pub(crate) fn takes_symbol(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.at += usize::from(is);
        is
    }

    pub(crate) fn word(&mut self) -> Result<String, Problem> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            other => Err(Problem::Syntax(format!("expected a name, found {other:?}"))),
        }
    }

    pub(crate) fn column(&mut self) -> Result<Column, Problem> {
        let name = self.word()?;
        (self.find)(&name).ok_or(Problem::UnknownColumn(name))
    }

    pub(crate) fn condition(&mut self) -> Result<Condition, Problem> {
        let first = self.conjunction()?;
        if !matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case("or")) {
            return Ok(first);
        }
        let mixed = |part: &Condition, bare: bool| bare && matches!(part, Condition::All(_));
        let mut parts = vec![first];
        while self.takes("or") {
            let bare = !matches!(self.peek(), Some(Token::Symbol("(")));
            let part = self.conjunction()?;
            if self.dialect == Dialect::Soql && mixed(&part, bare) {
                return Err(Problem::Syntax("unexpected token: AND".to_owned()));
            }
            parts.push(part);
        }
        Ok(Condition::Any(parts))
    }

    fn conjunction(&mut self) -> Result<Condition, Problem> {
        let mut parts = vec![self.term()?];
        while self.takes("and") {
            parts.push(self.term()?);
        }
        if self.dialect == Dialect::Soql
            && parts.len() > 1
            && matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case("or"))
        {
            return Err(Problem::Syntax("unexpected token: OR".to_owned()));
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
    }

    fn term(&mut self) -> Result<Condition, Problem> {
        if self.takes("not") {
            return Ok(Condition::Not(Box::new(self.term()?)));
        }
        if self.takes_symbol("(") {
            let inner = self.condition()?;
            self.closes()?;
            return Ok(inner);
        }
        let column = self.column()?;
        if self.takes("in") {
            return self.one_of(column);
        }
        let test = self.test()?;
        let value = self.literal(column)?;
        Ok(Condition::Compare { column: column.name, test, value })
    }

    fn one_of(&mut self, column: Column) -> Result<Condition, Problem> {
        if !self.takes_symbol("(") {
            return Err(Problem::Syntax("expected a list".to_owned()));
        }
        let mut values = vec![self.literal(column)?];
        while self.takes_symbol(",") {
            values.push(self.literal(column)?);
        }
        self.closes()?;
        Ok(Condition::OneOf { column: column.name, values })
    }

    fn closes(&mut self) -> Result<(), Problem> {
        if self.takes_symbol(")") { Ok(()) } else { Err(Problem::Syntax("expected ')'".to_owned())) }
    }

    fn test(&mut self) -> Result<Test, Problem> {
        let found = match self.peek() {
            Some(Token::Word(word)) if self.dialect == Dialect::OData => word.as_str(),
            Some(Token::Symbol(symbol)) if self.dialect == Dialect::Soql => symbol,
            other => return Err(Problem::Syntax(format!("expected an operator, found {other:?}"))),
        };
        let test = match found {
            "eq" | "=" => Test::Equal,
            "ne" | "!=" | "<>" => Test::Unequal,
            "gt" | ">" => Test::Greater,
            "ge" | ">=" => Test::AtLeast,
            "lt" | "<" => Test::Less,
            "le" | "<=" => Test::AtMost,
            other => return Err(Problem::Syntax(format!("unknown operator '{other}'"))),
        };
        self.at += 1;
        Ok(test)
    }

    fn literal(&mut self, column: Column) -> Result<Cell, Problem> {
        let token = self.peek().cloned();
        self.at += 1;
        let (word, quoted) = match token {
            Some(Token::Text(text)) if column.kind == Type::Text => return Ok(Cell::Text(text)),
            Some(Token::Text(text)) => (text, true),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => return Ok(Cell::Null),
            Some(Token::Word(word)) => (word, false),
            other => return Err(Problem::Syntax(format!("expected a value, found {other:?}"))),
        };
        let wrong = Problem::WrongType { column: column.name.to_owned(), kind: column.kind, quoted };
        let value = match column.kind {
            _ if quoted => None,
            Type::Text => None,
            Type::Int => word.parse().ok().map(Cell::Int),
            Type::Bool => word.to_ascii_lowercase().parse().ok().map(Cell::Bool),
            // SOQL takes no bare date for a date-time, and no date-time for a date.
            Type::Time if self.dialect == Dialect::Soql && !word.contains('T') => None,
            Type::Time => clock::parse(&word).map(Cell::Time),
            Type::Day => clock::parse(&word).filter(|_| word.len() == 10).map(|_| Cell::Day(word)),
        };
        value.ok_or(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "Id", kind: Type::Int },
        Column { name: "Name", kind: Type::Text },
        Column { name: "UpdatedDate", kind: Type::Time },
        Column { name: "LevyPayer", kind: Type::Bool },
    ];

    fn holds(filter: &str) -> bool {
        let cell = |column: &str| match column {
            "Id" => Cell::Int(7),
            "Name" => Cell::text("O'Brien (Leeds)"),
            "UpdatedDate" => Cell::Time(clock::parse("2025-11-25T10:57:52.6880167Z").unwrap()),
            _ => Cell::Null,
        };
        odata_filter(filter, COLUMNS).unwrap().holds(&cell)
    }

    #[test]
    fn odata_reads_comparisons_lists_and_texts() {
        for filter in [
            "Id eq 7",
            "Id in (1,7, 9)",
            "Name eq 'O''Brien (Leeds)'",
            "UpdatedDate ge 2025-11-25T10:57:52.6880167Z and UpdatedDate le 2025-11-25T10:57:53Z",
            "UpdatedDate gt 2025-11-25T10:57:52.688Z",
            "UpdatedDate ge 2025-11-25T11:57:52+01:00",
            "(Id gt 100 or Id lt 10) and not (Id eq 8)",
            "Id eq 1 and Id eq 2 or Id eq 7",
            "LevyPayer eq null",
        ] {
            assert!(holds(filter), "{filter}");
        }
        for filter in
            ["Id ne 7", "UpdatedDate gt 2025-11-25T10:57:52.6880167Z", "LevyPayer ge true", "Id eq 7 and (Id eq 1)"]
        {
            assert!(!holds(filter), "{filter}");
        }
    }

    #[test]
    fn odata_refuses_what_the_service_would() {
        let refused = |filter| odata_filter(filter, COLUMNS).unwrap_err();
        assert_eq!(refused("Nme eq 'x'"), Problem::UnknownColumn("Nme".into()));
        let quoted = Problem::WrongType { column: "UpdatedDate".into(), kind: Type::Time, quoted: true };
        assert_eq!(refused("UpdatedDate ge '2025-11-25T10:57:52Z'"), quoted);
        for filter in ["Id eq", "Id = 7", "Id eq 7 Id", "(Id eq 7", "Name eq 'open", "", "Id eq 7 and"] {
            assert!(matches!(refused(filter), Problem::Syntax(_)), "{filter}");
        }
    }

    #[test]
    fn a_key_bound_is_found_only_where_it_must_hold() {
        let bound = |filter| odata_filter(filter, COLUMNS).unwrap().lower_bound("Id").cloned();
        assert_eq!(bound("UpdatedDate ge 2025-01-01T00:00:00Z and Id gt 40"), Some(Cell::Int(40)));
        assert_eq!(bound("Id gt 40 or Id lt 3"), None);
        assert_eq!(bound("not (Id gt 40)"), None);
    }
}
