//! A JSON list whose length and whose values' memory are bounded while it is read: a text of `1,1,1` takes twenty times
//! its size once it is values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Memory for an element of a list, which may grow to twice its length.
const ELEMENT_BYTES: u64 = 2 * size_of::<Value>() as u64;
/// Memory for an object's first entries, and for each entry beside its key's characters.
const OBJECT_BYTES: u64 = 11 * ENTRY_BYTES;
const ENTRY_BYTES: u64 = (size_of::<Value>() + size_of::<String>()) as u64;

/// What a list may take.
pub(super) struct Bounds {
    /// Entries of the list.
    pub(super) entries: usize,
    /// Bytes of memory.
    pub(super) bytes: u64,
}

/// The entries of a list, or how many there are where that is too many.
pub(super) enum List {
    Entries(Vec<Value>),
    TooMany(u64),
}

impl Bounds {
    /// Reads a list.
    ///
    /// # Errors
    /// Where the text is no list in JSON, or its values take too much memory.
    pub(super) fn read(&self, text: &str) -> serde_json::Result<List> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let list = reader.deserialize_seq(Outer(self))?;
        reader.end()?;
        Ok(list)
    }
}

struct Outer<'a>(&'a Bounds);

impl<'de> Visitor<'de> for Outer<'_> {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
        let mut left = Left(self.0.bytes);
        let mut entries = Vec::new();
        while entries.len() < self.0.entries {
            left.take(ELEMENT_BYTES)?;
            let Some(entry) = list.next_element_seed(&mut left)? else {
                return Ok(List::Entries(entries));
            };
            entries.push(entry);
        }
        let mut more = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            more += 1;
        }
        Ok(match more {
            0 => List::Entries(entries),
            more => List::TooMany(entries.len() as u64 + more),
        })
    }
}

/// Bytes that values may still take.
struct Left(u64);

impl Left {
    fn take<E: Error>(&mut self, bytes: u64) -> Result<(), E> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            E::custom("its values take more than the limit; --max-memory sets the limit")
        })?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Left {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Left {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.take(text.len() as u64)?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(&mut *self)? {
            self.take(ELEMENT_BYTES)?;
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.take(OBJECT_BYTES)?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.take(ENTRY_BYTES + key.len() as u64)?;
            object.insert(key, entries.next_value_seed(&mut *self)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, entries: usize, bytes: u64) -> Result<List, String> {
        Bounds { entries, bytes }
            .read(text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_as_serde_reads_them() {
        let text = r#" [{"a": [1, -2, 3.5, 1e300, null], "b": {"c": "tä\n", "a": true}}, "x", 18446744073709551615] "#;
        let Ok(List::Entries(entries)) = read(text, 3, 1 << 20) else {
            panic!("a list expected");
        };
        assert_eq!(
            Value::from(entries),
            serde_json::from_str::<Value>(text).unwrap()
        );
    }

    #[test]
    fn entries_are_counted_without_being_kept() {
        let text = format!("[{}1]", "1,".repeat(10_000));
        assert!(matches!(read(&text, 4, 1000), Ok(List::TooMany(10_001))));
        assert!(matches!(read("[1,2]", 2, 1000), Ok(List::Entries(e)) if e.len() == 2));
    }

    #[test]
    fn values_that_take_much_are_refused() {
        let inside = |inner: &str| format!("[[{}]]", vec![inner; 1000].join(","));
        for inner in ["1", "[]", "{}", "\"text\"", "{\"a\": {}}"] {
            let error = read(&inside(inner), 9, 60_000).err().unwrap();
            assert!(error.contains("--max-memory"), "{inner}: {error}");
        }
        assert!(read(&inside("1"), 9, 70_000).is_ok());
        assert!(read(&inside("{}"), 9, 600_000).is_err());
        assert!(read(&inside("{}"), 9, 700_000).is_ok());
    }

    #[test]
    fn other_texts_are_errors() {
        for text in ["", "{}", "1", "[1", "[1] x", "[1,]", &"[".repeat(100_000)] {
            assert!(read(text, 9, 1 << 20).is_err(), "{text:.20}");
        }
    }
}
