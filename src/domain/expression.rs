//! Expressions decide and compute over the values of a record or an answer: MiniJinja expressions, bounded and strict.

use std::sync::OnceLock;

use minijinja::{Environment, UndefinedBehavior, Value};

/// The steps one evaluation may take, so that no expression can hold up a sync.
const FUEL: u64 = 20_000;

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment
    })
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    compiled: minijinja::Expression<'static, 'static>,
    /// The names it reads, sorted.
    pub(crate) names: Vec<String>,
}

impl Expression {
    /// Compiles an expression. The error says what is wrong, in one line.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let compiled = environment().compile_expression_owned(text.to_owned()).map_err(|error| reason(text, &error))?;
        let mut names: Vec<String> = names(text)?.into_iter().collect();
        names.sort();
        Ok(Expression { compiled, names })
    }

    /// Evaluates over named values.
    pub(crate) fn evaluate(&self, names: Value) -> Result<Value, String> {
        self.compiled.eval(names).map_err(|error| error.to_string())
    }
}

/// Returns the names an expression reads. MiniJinja 3.1 overlooks those in front of a slice, so they are looked for in an
/// expression with an index in the place of each slice, which has the same names.
fn names(text: &str) -> Result<std::collections::HashSet<String>, String> {
    let indexed = without_slices(text);
    let compiled = environment().compile_expression(&indexed).map_err(|error| reason(text, &error))?;
    Ok(compiled.undeclared_variables(false))
}

/// Returns an expression with `a[(b)+(c)]` for `a[b:c]`. Its value is another one.
fn without_slices(text: &str) -> String {
    // For each bracket that is open, its parts between colons; the first one is the text outside all brackets.
    let mut open = vec![(' ', vec![String::new()])];
    let mut quote = None;
    let mut escaped = false;
    for letter in text.chars() {
        let depth = open.len();
        let Some((bracket, parts)) = open.last_mut() else { break };
        let Some(part) = parts.last_mut() else { break };
        match (quote, letter) {
            (Some(end), _) => {
                part.push(letter);
                quote = quote.filter(|_| escaped || letter != end);
                escaped = !escaped && letter == '\\';
            }
            (None, '"' | '\'') => {
                part.push(letter);
                quote = Some(letter);
            }
            (None, '[' | '(' | '{') => open.push((letter, vec![String::new()])),
            (None, ':') if *bracket == '[' => parts.push(String::new()),
            (None, ']' | ')' | '}') if depth > 1 => close(&mut open, letter),
            (None, _) => part.push(letter),
        }
    }
    while open.len() > 1 {
        close(&mut open, ' ');
    }
    open.into_iter().flat_map(|(_, parts)| parts).collect()
}

/// Puts the innermost open bracket, now complete, into the text around it.
fn close(open: &mut Vec<(char, Vec<String>)>, end: char) {
    let Some((bracket, parts)) = open.pop() else { return };
    let inner = match parts.as_slice() {
        [whole] => whole.clone(),
        parts => {
            let parts = parts.iter().map(|part| if part.trim().is_empty() { "0".into() } else { format!("({part})") });
            parts.collect::<Vec<_>>().join("+")
        }
    };
    if let Some(around) = open.last_mut().and_then(|(_, parts)| parts.last_mut()) {
        around.push(bracket);
        around.push_str(&inner);
        around.push(end);
    }
}

/// Returns what is wrong with an expression, if anything is.
pub(crate) fn check(text: &str) -> Result<(), String> {
    Expression::new(text).map(|_| ())
}

fn reason(text: &str, error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    format!("`{}` is not an expression: {detail}", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn an_expression_computes_over_named_values() {
        let expression = Expression::new("first ~ ' ' ~ last").unwrap();
        assert_eq!(expression.names, ["first", "last"]);
        assert_eq!(
            expression.evaluate(context! {first => "Zoë", last => "O'Neill"}).unwrap().as_str(),
            Some("Zoë O'Neill")
        );
    }

    #[test]
    fn names_are_found_in_front_of_slices_and_inside_them() {
        for (text, names) in [
            ("(full_name|default('', true)|split)[:1]|join(' ')", vec!["full_name"]),
            ("a[b:c] ~ d[e]", vec!["a", "b", "c", "d", "e"]),
            ("a[1:][::step]", vec!["a", "step"]),
            ("{'x[1:2]': a, \"it's\": b}['k']", vec!["a", "b"]),
            ("[a, {'k': b}][-1:]|join('[:')", vec!["a", "b"]),
            ("'\\'[' ~ a[:1]", vec!["a"]),
        ] {
            assert_eq!(Expression::new(text).unwrap().names, names, "{text}");
        }
        assert!(Expression::new("a[b").unwrap_err().contains("`a[b` is not an expression"));
    }

    #[test]
    fn what_is_missing_is_an_error_and_what_never_ends_is_stopped() {
        assert!(Expression::new("a ~ b").unwrap().evaluate(context! {a => 1}).is_err());
        let endless = Expression::new("range(100000)|map('string')|join").unwrap();
        assert!(endless.evaluate(context! {}).is_err());
        assert!(Expression::new("a ~").unwrap_err().contains("is not an expression"));
    }
}
