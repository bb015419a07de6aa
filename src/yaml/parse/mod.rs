//! From text to [`Node`]s, within limits that keep any file cheap to read.
//!
//! The events of the parser are kept in a flat list first; an alias is then read again from where its anchor stands,
//! so that what it stands for counts against the limits like everything written out.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{
    mark::{Mark, Source, quoted},
    node::{Key, Node, UNSET, Value},
    scalar::Scalar,
};
use crate::error::UserError;

mod syntax;

/// The largest file, in bytes.
const FILE_BYTES: usize = 1 << 20;
/// How many values and keys a file may stand for.
const NODES: usize = 20_000;
/// How many lists and maps may stand inside each other.
const DEPTH: usize = 32;
/// How many aliases a file may hold.
const ALIASES: usize = 64;
/// How much text a file may stand for, in bytes: an alias of a long text is as costly as the text.
const TEXT_BYTES: usize = 2 * FILE_BYTES;

/// Returns the one document a file holds. An empty file is a null.
pub(crate) fn parse(name: &str, text: &str) -> Result<Node, UserError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let small = text.len() <= FILE_BYTES;
    let source = Arc::new(Source { name: name.into(), text: if small { text.into() } else { String::new() } });
    let start = Mark { source: Arc::clone(&source), line: 1, column: 1 };
    if !small {
        return Err(too_much(&start, format_args!("the file has {} bytes, at most {FILE_BYTES} are read", text.len())));
    }
    refuse_control_characters(&source)?;

    let tree = Tree {
        events: events(&source)?,
        anchors: HashMap::new(),
        open: Vec::new(),
        next: 0,
        depth: 0,
        nodes: 0,
        bytes: 0,
        source: &source,
    };
    tree.read(start)
}

/// The parser would take most of them as text, from where they reach logs and terminals.
fn refuse_control_characters(source: &Arc<Source>) -> Result<(), UserError> {
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let Some((at, found)) = source.text.char_indices().find(|(_, c)| control(*c)) else { return Ok(()) };

    let before = &source.text[..at];
    let line_start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let ends = before.matches(['\n', '\r']).count() - before.matches("\r\n").count();
    let column = before[line_start..].chars().count();
    Err(mark(source, ends + 1, column)
        .error("yaml_syntax", format_args!("the control character U+{:04X} is not allowed", u32::from(found)))
        .hint(format!("if it is meant, write \"\\u{:04X}\" in double quotes", u32::from(found))))
}

fn events<'t>(source: &'t Arc<Source>) -> Result<Vec<(Event<'t>, Span)>, UserError> {
    let options =
        granit_parser::options! { flow_nesting_limit: DEPTH, block_nesting_limit: DEPTH, emit_comments: false };
    let mut events = Vec::new();
    let (mut documents, mut nodes, mut aliases) = (0, 0, 0);
    for event in Parser::new_from_str_with_options(&source.text, options) {
        let (event, span) = event.map_err(|error| syntax_error(source, &error))?;
        let mark = place(source, &span);
        match &event {
            Event::DocumentStart(..) => documents += 1,
            Event::Alias(_) => aliases += 1,
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => nodes += 1,
            Event::SequenceEnd | Event::MappingEnd => {}
            _ => continue,
        }
        if documents > 1 {
            return Err(mark
                .error("yaml_syntax", "a second document starts here, a file holds one")
                .hint("remove the `---`, or move what follows to a file of its own"));
        }
        if nodes > NODES {
            return Err(too_many_nodes(&mark));
        }
        if aliases > ALIASES {
            return Err(too_much(&mark, format_args!("more than {ALIASES} aliases")));
        }
        if !matches!(event, Event::DocumentStart(..)) {
            events.push((event, span));
        }
    }
    Ok(events)
}

struct Tree<'t> {
    source: &'t Arc<Source>,
    events: Vec<(Event<'t>, Span)>,
    /// Where the node of an anchor stands in `events`.
    anchors: HashMap<usize, usize>,
    /// The anchors whose aliases are being read.
    open: Vec<usize>,
    next: usize,
    depth: usize,
    nodes: usize,
    bytes: usize,
}

impl<'t> Tree<'t> {
    fn read(mut self, start: Mark) -> Result<Node, UserError> {
        for (at, (event, _)) in self.events.iter().enumerate() {
            if let Some(anchor) = event.anchor_id() {
                self.anchors.insert(anchor, at);
            }
        }
        if self.events.is_empty() {
            let nothing = Scalar { text: String::new(), plain: true };
            return Ok(Node { mark: start, value: Value::Scalar(nothing) });
        }
        self.node()
    }

    fn node(&mut self) -> Result<Node, UserError> {
        let (event, span) = self.events[self.next].clone();
        self.next += 1;
        let start = span.tag_start.unwrap_or(span.start);
        let mark = mark(self.source, start.line(), start.col());
        if let Event::Alias(anchor) = event {
            return self.alias(anchor, &mark);
        }
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(too_many_nodes(&mark));
        }
        let tag = event.tag();
        let value = match &event {
            Event::Scalar(text, style, ..) => {
                // The parser spells an absent value `~`, at a place without extent.
                let absent = *style == ScalarStyle::Plain && span.start.index() == span.end.index();
                let text = if absent { String::new() } else { text.clone().into_owned() };
                self.bytes += text.len();
                if self.bytes > TEXT_BYTES {
                    return Err(too_much(
                        &mark,
                        format_args!("with its aliases the file stands for more than {TEXT_BYTES} bytes of text"),
                    ));
                }
                tagged(Scalar { text, plain: *style == ScalarStyle::Plain }, tag, &mark)?
            }
            Event::SequenceStart(..) => {
                expect_tag(tag, "seq", &mark)?;
                self.nested(&mark, Self::list)?
            }
            _ => {
                expect_tag(tag, "map", &mark)?;
                self.nested(&mark, Self::map)?
            }
        };
        Ok(Node { mark, value })
    }

    fn alias(&mut self, anchor: usize, mark: &Mark) -> Result<Node, UserError> {
        if self.open.contains(&anchor) {
            return Err(mark.error("yaml_syntax", "this alias stands for something that contains it"));
        }
        self.open.push(anchor);
        let back = std::mem::replace(&mut self.next, self.anchors[&anchor]);
        let node = self.node()?;
        self.next = back;
        self.open.pop();
        Ok(node)
    }

    fn nested(&mut self, mark: &Mark, read: fn(&mut Self) -> Result<Value, UserError>) -> Result<Value, UserError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(too_deep(mark));
        }
        let value = read(self)?;
        self.depth -= 1;
        self.next += 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value, UserError> {
        let mut items = Vec::new();
        while self.events[self.next].0 != Event::SequenceEnd {
            items.push(self.node()?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self) -> Result<Value, UserError> {
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        while self.events[self.next].0 != Event::MappingEnd {
            let key = key(self.node()?)?;
            match lines.entry(key.text.clone()) {
                Entry::Vacant(free) => free.insert(key.mark.line),
                Entry::Occupied(first) => {
                    let message = format!("the key {} is there already, on line {}", quoted(&key.text), first.get());
                    return Err(key.mark.error("yaml_duplicate_key", message));
                }
            };
            entries.push((key, self.node()?));
        }
        Ok(Value::Map(entries))
    }
}

fn key(node: Node) -> Result<Key, UserError> {
    let error = |message| Err(node.mark.error("yaml_key", message));
    match node.value {
        Value::Scalar(scalar) if scalar.plain && scalar.text == "<<" => {
            error("merge keys are not read: write the keys out here")
        }
        Value::Scalar(scalar) if scalar.plain && scalar.text.is_empty() => error("the key before `:` is missing"),
        Value::Scalar(scalar) => Ok(Key { mark: node.mark, text: scalar.text }),
        Value::Unset => error("a key cannot be `!unset`"),
        Value::List(_) | Value::Map(_) => {
            Err(node.mark.error("yaml_key", "a key has to be text").hint("a value like `{name}` has to be quoted"))
        }
    }
}

/// Returns what a scalar is with its tag: `!!str` takes the place of quotes, `!unset` is the only tag of our own.
fn tagged(mut scalar: Scalar, tag: Option<&Tag>, mark: &Mark) -> Result<Value, UserError> {
    let Some(tag) = tag else { return Ok(Value::Scalar(scalar)) };
    if tag.original() == UNSET {
        return if scalar.is_null() {
            Ok(Value::Unset)
        } else {
            Err(mark.error("yaml_tag", "`!unset` takes no value"))
        };
    }
    scalar.plain = tag.original() != "!" && tag.core_suffix() != Some("str");
    let holds = match tag.core_suffix() {
        None if scalar.plain => return Err(unknown_tag(tag, mark)),
        None | Some("str") => true,
        Some("null") => scalar.is_null(),
        Some("bool") => scalar.bool().is_some(),
        Some("int") => scalar.int().is_some(),
        Some("float") => scalar.float().is_some(),
        Some(_) => false,
    };
    if holds {
        Ok(Value::Scalar(scalar))
    } else {
        Err(mark.error("yaml_tag", format!("the value is no {}", quoted(&tag.original()))))
    }
}

fn expect_tag(tag: Option<&Tag>, core: &str, mark: &Mark) -> Result<(), UserError> {
    match tag {
        Some(tag) if tag.original() == UNSET => Err(mark.error("yaml_tag", "`!unset` takes no value")),
        Some(tag) if tag.original() != "!" && tag.core_suffix() != Some(core) => Err(unknown_tag(tag, mark)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, mark: &Mark) -> UserError {
    mark.error("yaml_tag", format!("unknown tag {}", quoted(&tag.original())))
        .hint("a text that starts with `!` has to be quoted; the only tag of our own is `!unset`")
}

fn syntax_error(source: &Arc<Source>, error: &ScanError) -> UserError {
    let mark = mark(source, error.marker().line(), error.marker().col());
    if *error.kind() == granit_parser::ErrorKind::RecursionLimitExceeded {
        return too_deep(&mark);
    }
    let (message, hint) = syntax::explain(error.kind());
    mark.error("yaml_syntax", message).hint_if(hint.map(String::from))
}

fn too_deep(mark: &Mark) -> UserError {
    too_much(mark, format_args!("more than {DEPTH} lists and maps inside each other"))
}

fn too_many_nodes(mark: &Mark) -> UserError {
    too_much(mark, format_args!("more than {NODES} keys and values"))
}

fn too_much(mark: &Mark, message: std::fmt::Arguments<'_>) -> UserError {
    mark.error("yaml_limit", message)
}

fn place(source: &Arc<Source>, span: &Span) -> Mark {
    mark(source, span.start.line(), span.start.col())
}

fn mark(source: &Arc<Source>, line: usize, column: usize) -> Mark {
    // A file of 1 MiB has fewer lines and columns than fit.
    let fit = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Mark { source: Arc::clone(source), line: fit(line.max(1)), column: fit(column + 1) }
}

#[cfg(test)]
mod tests;
