//! Typed values from nodes: a serde `Deserializer` whose every error knows the most specific place.
//!
//! A `Deserialize` of ours says what is wrong with `D::Error::custom`; the error takes the place of the value that was
//! being read, and a hint if the message was made by [`fault::with_hint`].

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor, value::StrDeserializer,
};

use super::{
    mark::{Mark, escaped, quoted},
    node::{Key, Node, UNSET, Value},
    scalar::{Scalar, Untyped},
};
use crate::error::UserError;
use fault::Fault;
use path::Path;

mod fault;
mod path;

impl Node {
    /// Returns this node as a type. Untagged and flattened types are read without their types being asked for, so
    /// there a plain `3` is a number even where the field is a text, and errors name the place of the whole value.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, UserError> {
        T::deserialize(Reader { node: self, path: &Path::Root }).map_err(|fault| fault.into_error(self, &Path::Root))
    }
}

#[derive(Clone, Copy)]
struct Reader<'de, 'p> {
    node: &'de Node,
    path: &'p Path<'p>,
}

impl<'de> Reader<'de, '_> {
    fn scalar(&self, expected: &dyn de::Expected) -> Result<&'de Scalar, Fault> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Ok(scalar),
            _ => Err(self.wrong_type(expected)),
        }
    }

    fn wrong_type(&self, expected: &dyn de::Expected) -> Fault {
        let found = match &self.node.value {
            Value::Unset => de::Unexpected::Other("`!unset`"),
            Value::List(_) => de::Unexpected::Seq,
            Value::Map(_) => de::Unexpected::Map,
            Value::Scalar(scalar) => match scalar.untyped() {
                Untyped::Null => de::Unexpected::Unit,
                Untyped::Bool(bool) => de::Unexpected::Bool(bool),
                Untyped::Int(int) => de::Unexpected::Signed(int),
                Untyped::Float(float) => de::Unexpected::Float(float),
                Untyped::Text(text) => de::Unexpected::Str(text),
            },
        };
        de::Error::invalid_type(found, expected)
    }

    fn whole_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let scalar = self.scalar(&visitor)?;
        let Some(number) = scalar.int() else { return Err(self.wrong_type(&visitor)) };
        match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => visitor.visit_i64(number),
            (_, Ok(number)) => visitor.visit_u64(number),
            _ => Err(de::Error::invalid_value(
                de::Unexpected::Other(&format!("the number {}", quoted(&scalar.text))),
                &visitor,
            )),
        }
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.scalar(&visitor)?.float() {
            Some(number) => visitor.visit_f64(number),
            None => Err(self.wrong_type(&visitor)),
        }
    }
}

macro_rules! read_as {
    ($read:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> { self.$read(visitor) })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Unset => visitor.visit_borrowed_str(UNSET),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) => match scalar.untyped() {
                Untyped::Null => visitor.visit_unit(),
                Untyped::Bool(bool) => visitor.visit_bool(bool),
                Untyped::Int(int) => visitor.visit_i64(int),
                Untyped::Float(float) => visitor.visit_f64(float),
                Untyped::Text(text) => visitor.visit_borrowed_str(text),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.scalar(&visitor)?.bool() {
            Some(bool) => visitor.visit_bool(bool),
            None => Err(self.wrong_type(&visitor)),
        }
    }

    read_as!(whole_number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64);
    read_as!(number: deserialize_f32 deserialize_f64);

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let scalar = self.scalar(&visitor)?;
        visitor.visit_borrowed_str(&scalar.text)
    }

    read_as!(deserialize_str: deserialize_string deserialize_char deserialize_identifier deserialize_bytes
        deserialize_byte_buf);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.is_null() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.is_null() => visitor.visit_unit(),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::List(items) = &self.node.value else { return Err(self.wrong_type(&visitor)) };
        visitor.visit_seq(Items { items, next: 0, path: self.path })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(items) if items.len() == len => self.deserialize_seq(visitor),
            Value::List(items) => Err(Fault::wrong(&format!("a list of {len}"), &format!("a list of {}", items.len()))),
            _ => Err(self.wrong_type(&format!("a list of {len}").as_str())),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Map(entries) = &self.node.value else { return Err(self.wrong_type(&visitor)) };
        visitor.visit_map(Entries { entries, next: 0, path: self.path })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    /// A variant without a value is a text, one with a value a map of one key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let choice = match &self.node.value {
            Value::Unset => Choice { name: UNSET, value: None, path: self.path },
            Value::Scalar(scalar) if !scalar.is_null() => Choice { name: &scalar.text, value: None, path: self.path },
            Value::Map(entries) => match entries.as_slice() {
                [(key, node)] => Choice { name: &key.text, value: Some((key, node)), path: self.path },
                [(first, _), (second, _), ..] => {
                    return Err(Fault::second_choice(first, second, variants).at(&second.mark, self.path));
                }
                [] => return Err(Fault::wrong(&fault::one_of(variants), "an empty map")),
            },
            _ => return Err(self.wrong_type(&fault::one_of(variants).as_str())),
        };
        visitor.visit_enum(choice)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

struct Items<'de, 'p> {
    items: &'de [Node],
    next: usize,
    path: &'p Path<'p>,
}

impl<'de> de::SeqAccess<'de> for Items<'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let path = Path::Item(self.path, self.next);
        self.next += 1;
        seed.deserialize(Reader { node, path: &path }).map(Some).map_err(|fault| fault.at_value(node, &path))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Entries<'de, 'p> {
    entries: &'de [(Key, Node)],
    next: usize,
    path: &'p Path<'p>,
}

impl<'de> de::MapAccess<'de> for Entries<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        seed.deserialize(KeyReader(&key.text)).map(Some).map_err(|fault| fault.at_key(&key.mark, self.path))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (key, node) = &self.entries[self.next];
        let path = Path::Key(self.path, &key.text);
        self.next += 1;
        seed.deserialize(Reader { node, path: &path }).map_err(|fault| fault.at_value(node, &path))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len() - self.next)
    }
}

/// A key is text, or what its text spells where a number is asked for.
struct KeyReader<'de>(&'de str);

impl<'de> KeyReader<'de> {
    fn whole_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.parse() {
            Ok(number) => visitor.visit_i64(number),
            Err(_) => visitor.visit_borrowed_str(self.0),
        }
    }
}

impl<'de> Deserializer<'de> for KeyReader<'de> {
    type Error = Fault;

    read_as!(whole_number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(StrDeserializer::new(self.0))
    }

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// A variant of an enum, with the key and the value where it has them.
struct Choice<'de, 'p> {
    name: &'de str,
    value: Option<(&'de Key, &'de Node)>,
    path: &'p Path<'p>,
}

impl<'de> Choice<'de, '_> {
    fn read<T>(self, read: impl FnOnce(Reader<'de, '_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let Some((_, node)) = self.value else { return Err(Fault::value_missing(self.name)) };
        let path = Path::Key(self.path, self.name);
        read(Reader { node, path: &path }).map_err(|fault| fault.at_value(node, &path))
    }
}

impl<'de> de::EnumAccess<'de> for Choice<'de, '_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name: StrDeserializer<'de, Fault> = self.name.into_deserializer();
        match (seed.deserialize(name), self.value) {
            (Ok(variant), _) => Ok((variant, self)),
            (Err(fault), Some((key, _))) => Err(fault.at_key(&key.mark, self.path)),
            (Err(fault), None) => Err(fault),
        }
    }
}

impl<'de> de::VariantAccess<'de> for Choice<'de, '_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        if self.value.is_none() {
            return Ok(());
        }
        self.read(|reader| match &reader.node.value {
            Value::Scalar(scalar) if scalar.is_null() => Ok(()),
            _ => Err(reader.wrong_type(&"no value")),
        })
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.read(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.read(|reader| reader.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.read(|reader| reader.deserialize_map(visitor))
    }
}

#[cfg(test)]
mod tests;
