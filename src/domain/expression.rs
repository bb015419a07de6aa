//! Expressions decide and compute over the values of a record or an answer: MiniJinja expressions, bounded and strict.

use std::sync::{Arc, OnceLock};

use minijinja::value::Object;
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
    pub(crate) names: Arc<[String]>,
}

impl Expression {
    /// Compiles an expression. The error says what is wrong, in one line.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let compiled = environment().compile_expression_owned(text.to_owned()).map_err(|error| reason(text, &error))?;
        let mut names = compiled.undeclared_variables(false);
        // MiniJinja 3.1 does not look into what is sliced, so it is asked again without the slices.
        if let Ok(unsliced) = environment().compile_expression_owned(without_slices(text)) {
            names.extend(unsliced.undeclared_variables(false));
        }
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        Ok(Expression { compiled, names: names.into() })
    }

    /// Evaluates over named values.
    pub(crate) fn evaluate(&self, names: Value) -> Result<Value, String> {
        self.compiled.eval(names).map_err(|error| error.to_string())
    }

    /// Evaluates over the values of its names, in their order.
    pub(crate) fn evaluate_with(&self, values: impl Iterator<Item = Value>) -> Result<Value, String> {
        self.evaluate(Value::from_object(Named { names: Arc::clone(&self.names), values: values.collect() }))
    }
}

/// The values of an expression's names: made for each record, so nothing is copied that need not be.
#[derive(Debug)]
struct Named {
    names: Arc<[String]>,
    values: Vec<Value>,
}

impl Object for Named {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let position = self.names.iter().position(|name| key.as_str() == Some(name))?;
        self.values.get(position).cloned()
    }
}

/// An expression of a manifest, compiled when the manifest is read.
#[derive(Debug, Clone)]
pub(crate) struct Condition(Arc<Expression>);

impl Condition {
    /// Returns whether it holds. What it asks for may be absent: then it does not.
    pub(crate) fn holds(&self, names: &Value) -> bool {
        self.0.evaluate(names.clone()).is_ok_and(|value| value.is_true())
    }

    /// Evaluates it, for those who want to know why it cannot be.
    #[cfg(test)]
    pub(crate) fn evaluate(&self, names: Value) -> Result<Value, String> {
        self.0.evaluate(names)
    }
}

impl<'de> serde::Deserialize<'de> for Condition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Expression::new(&text).map(|compiled| Condition(Arc::new(compiled))).map_err(serde::de::Error::custom)
    }
}

/// Returns an expression without its slices (`[1:]`): the names it reads stay the same.
fn without_slices(text: &str) -> String {
    static SLICE: OnceLock<Option<regex::Regex>> = OnceLock::new();
    let slice = SLICE.get_or_init(|| regex::Regex::new(r"\[[^\[\]]*:[^\[\]]*\]").ok());
    let mut text = text.to_owned();
    while let Some(shorter) =
        slice.as_ref().map(|slice| slice.replace_all(&text, "").into_owned()).filter(|shorter| *shorter != text)
    {
        text = shorter;
    }
    text
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
        assert_eq!(*expression.names, ["first", "last"]);
        assert_eq!(
            expression.evaluate(context! {first => "Zoë", last => "O'Neill"}).unwrap().as_str(),
            Some("Zoë O'Neill")
        );
    }

    #[test]
    fn the_names_of_a_person_are_cut_from_one_text() {
        let cut = |text: &str| {
            let values = [Value::from("Grace van Taylor")].into_iter();
            Expression::new(text).unwrap().evaluate_with(values).unwrap().to_string()
        };
        assert_eq!(cut("full_name"), "Grace van Taylor");
        assert_eq!(cut("(full_name|default('', true)|split)[:1]|join(' ')"), "Grace");
        assert_eq!(cut("(full_name|default('', true)|split)[1:]|join(' ')"), "van Taylor");
    }

    #[test]
    fn what_is_missing_is_an_error_and_what_never_ends_is_stopped() {
        assert!(Expression::new("a ~ b").unwrap().evaluate(context! {a => 1}).is_err());
        let endless = Expression::new("range(100000)|map('string')|join").unwrap();
        assert!(endless.evaluate(context! {}).is_err());
        assert!(Expression::new("a ~").unwrap_err().contains("is not an expression"));
    }
}
