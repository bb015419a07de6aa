//! What went wrong in the syntax, in words for whoever wrote the file.

use granit_parser::ErrorKind;

/// Returns what is wrong and, where there is one, the usual cure.
pub(super) fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let (message, hint) = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => ("a tab is used as indentation".into(), "indent with spaces"),
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("a text cannot start with `{character}`"), "put the text in quotes")
        }
        ErrorKind::MappingValueNotAllowed => {
            ("`:` is not expected here".into(), "put a text that holds `: ` in quotes, and check the indentation")
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation => {
            ("this does not belong to what stands above it".into(), "check the indentation of this line")
        }
        ErrorKind::SimpleKeyExpected => ("the `:` after this key is missing".into(), "write `key: value`"),
        ErrorKind::BlockSequenceEntryNotAllowed => {
            ("a list cannot start here".into(), "start it on a line of its own below the key")
        }
        ErrorKind::UnclosedQuotedScalar => ("this quote is never closed".into(), "check the quotes"),
        ErrorKind::UnclosedFlowCollection { open } => (format!("this `{open}` is never closed"), "check the brackets"),
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            ("nothing was opened that this closes".into(), "check the brackets")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar => {
            ("the text goes on after its closing quote".into(), "write a single quote inside single quotes as `''`")
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("the text goes on after its closing quote".into(), "write a double quote inside double quotes as `\\\"`")
        }
        ErrorKind::UnknownQuotedScalarEscape => (
            "this text in double quotes holds an unknown escape".into(),
            "write a backslash as `\\\\`, or use single quotes",
        ),
        ErrorKind::UnknownAnchor => {
            ("no anchor of this name stands above".into(), "a text that starts with `*` has to be quoted")
        }
        other => return (other.to_string(), None),
    };
    (message, Some(hint))
}
