//! A small reader of SOQL: `SELECT fields FROM object WHERE .. ORDER BY .. LIMIT n`.

use super::condition::{Condition, Dialect, Parser, Problem, Token, tokens};
use super::table::{Column, Sort};

/// What a query asks for, with the names as the object spells them.
#[derive(PartialEq, Debug)]
pub(crate) struct Select<T> {
    pub(crate) object: T,
    /// Empty for `COUNT()`.
    pub(crate) columns: Vec<Column>,
    pub(crate) filter: Condition,
    pub(crate) sorts: Vec<Sort>,
    pub(crate) limit: Option<usize>,
}

#[derive(PartialEq, Debug)]
pub(crate) enum Refusal {
    UnknownObject(String),
    Bad(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Bad(problem)
    }
}

/// Reads a query; `object` finds an object by name, and `columns` gives those it has.
pub(crate) fn parse<T: Copy>(
    query: &str,
    object: impl Fn(&str) -> Option<T>,
    columns: impl Fn(T) -> &'static [Column],
) -> Result<Select<T>, Refusal> {
    let tokens = tokens(query, Dialect::Soql)?;
    // The fields are named before the object that has them.
    let is_from = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("from"));
    let name = match tokens.iter().position(is_from).and_then(|at| tokens.get(at + 1)) {
        Some(Token::Word(name)) => name.clone(),
        _ => return Err(syntax("expecting 'from' and an object").into()),
    };
    let found = object(&name).ok_or(Refusal::UnknownObject(name))?;
    let known = columns(found);
    let find = |name: &str| known.iter().find(|column| column.name.eq_ignore_ascii_case(name)).copied();
    let mut parser = Parser { tokens: &tokens, at: 0, dialect: Dialect::Soql, find: &find };
    expect(&mut parser, "select")?;
    let columns = fields(&mut parser)?;
    expect(&mut parser, "from")?;
    parser.word()?;
    let filter = if parser.takes("where") { parser.condition()? } else { Condition::always() };
    let sorts = sorts(&mut parser)?;
    let limit = match parser.takes("limit") {
        true => Some(parser.word()?.parse().map_err(|_| syntax("LIMIT takes a number"))?),
        false => None,
    };
    match parser.peek() {
        None => Ok(Select { object: found, columns, filter, sorts, limit }),
        Some(token) => Err(syntax(&format!("unexpected {token:?}")).into()),
    }
}

fn fields(parser: &mut Parser) -> Result<Vec<Column>, Problem> {
    if parser.takes("count") {
        return match parser.takes_symbol("(") && parser.takes_symbol(")") {
            true => Ok(Vec::new()),
            false => Err(syntax("expecting COUNT()")),
        };
    }
    let mut columns = vec![parser.column()?];
    while parser.takes_symbol(",") {
        columns.push(parser.column()?);
    }
    Ok(columns)
}

fn sorts(parser: &mut Parser) -> Result<Vec<Sort>, Problem> {
    let mut sorts = Vec::new();
    if !parser.takes("order") {
        return Ok(sorts);
    }
    expect(parser, "by")?;
    loop {
        let column = parser.column()?.name;
        let descending = !parser.takes("asc") && parser.takes("desc");
        if parser.takes("nulls") && !parser.takes("first") {
            return Err(syntax("the sandbox sorts nulls first only"));
        }
        sorts.push(Sort { column, descending });
        if !parser.takes_symbol(",") {
            return Ok(sorts);
        }
    }
}

fn expect(parser: &mut Parser, word: &str) -> Result<(), Problem> {
    if parser.takes(word) { Ok(()) } else { Err(syntax(&format!("expecting '{word}', found {:?}", parser.peek()))) }
}

fn syntax(message: &str) -> Problem {
    Problem::Syntax(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::super::condition::Test;
    use super::super::table::{Cell, Type};
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "Id", kind: Type::Text },
        Column { name: "Account.Name", kind: Type::Text },
        Column { name: "IsDeleted", kind: Type::Bool },
        Column { name: "Birthdate", kind: Type::Day },
        Column { name: "SystemModstamp", kind: Type::Time },
    ];

    fn read(query: &str) -> Result<Select<()>, Refusal> {
        parse(query, |name| name.eq_ignore_ascii_case("Contact").then_some(()), |()| COLUMNS)
    }

    #[test]
    fn an_incremental_query_is_read_whole() {
        let select = read(
            "SELECT Id, account.name FROM Contact WHERE SystemModstamp >= 2025-06-01T00:00:00Z AND \
             SystemModstamp<2025-06-02T00:00:00Z ORDER BY SystemModstamp ASC, Id DESC LIMIT 5",
        )
        .unwrap();
        assert_eq!(select.columns, [COLUMNS[0], COLUMNS[1]]);
        assert_eq!(select.sorts[1], Sort { column: "Id", descending: true });
        assert_eq!(select.limit, Some(5));
        let bound = |test, text: &str| Condition::Compare {
            column: "SystemModstamp",
            test,
            value: Cell::Time(clock::parse(text).unwrap()),
        };
        let window = vec![bound(Test::AtLeast, "2025-06-01T00:00:00Z"), bound(Test::Less, "2025-06-02T00:00:00Z")];
        assert_eq!(select.filter, Condition::All(window));
    }

    #[test]
    fn key_sets_lists_and_escapes_are_read() {
        for query in [
            "select Id from Contact where (SystemModstamp = 2025-06-01T00:00:00Z and Id > 'x') or SystemModstamp > \
             2025-06-01T00:00:00.000+00:00",
            "SELECT COUNT() FROM Contact",
            r"SELECT Id FROM Contact WHERE Account.Name = 'O\'Brien (Ltd)' AND NOT (IsDeleted = TRUE)",
            "SELECT Id FROM Contact WHERE Id IN ('a', 'b') AND Birthdate >= 2001-04-17 AND Account.Name != null",
        ] {
            assert!(read(query).is_ok(), "{query}");
        }
    }

    #[test]
    fn what_the_service_refuses_is_refused() {
        assert_eq!(read("SELECT Id FROM Nothing"), Err(Refusal::UnknownObject("Nothing".into())));
        let unknown = Refusal::Bad(Problem::UnknownColumn("Nope__c".into()));
        assert_eq!(read("SELECT Id, Nope__c FROM Contact"), Err(unknown));
        let quoted = read("SELECT Id FROM Contact WHERE SystemModstamp > '2025-06-01T00:00:00Z'");
        assert!(matches!(quoted, Err(Refusal::Bad(Problem::WrongType { quoted: true, .. }))));
        for query in [
            "SELECT * FROM Contact",
            "SELECT Id",
            "SELECT Id FROM Contact WHERE",
            "SELECT Id FROM Contact WHERE Id = 'a' OR Id = 'b' AND Id = 'c'",
            "SELECT Id FROM Contact WHERE Id = 'a' AND Id = 'b' OR Id = 'c'",
            "SELECT Id FROM Contact LIMIT 5 OFFSET 2",
        ] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
