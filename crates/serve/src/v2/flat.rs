//! Numbers of a JSON array, nested or flat, without a tree of values.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// All numbers, the innermost array first. Booleans count as 0 and 1.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Flat(pub Vec<f64>);

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flat, D::Error> {
        let mut out = Vec::new();
        Into(&mut out).take(deserializer)?;
        Ok(Flat(out))
    }
}

/// Adds numbers to a list.
struct Into<'a>(&'a mut Vec<f64>);

impl<'a> Into<'a> {
    fn take<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Into<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.take(deserializer)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("numbers, or arrays of them")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<(), E> {
        self.visit_f64(f64::from(u8::from(v)))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<(), E> {
        self.visit_f64(v as f64)
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<(), E> {
        self.visit_f64(v as f64)
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<(), E> {
        // A list that the machine has no memory for is an error, not the end.
        if self.0.len() == self.0.capacity() {
            let more = self.0.len().max(1024);
            self.0.try_reserve_exact(more).map_err(|_| E::custom("too many numbers"))?;
        }
        self.0.push(v);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Into(self.0))?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_are_the_same() {
        let read = |t: &str| serde_json::from_str::<Flat>(t).map(|f| f.0).map_err(|e| e.to_string());
        assert_eq!(read("[[1, 2.5], [-3, true]]"), Ok(vec![1.0, 2.5, -3.0, 1.0]));
        assert_eq!(read("[1,2.5,-3,1]"), Ok(vec![1.0, 2.5, -3.0, 1.0]));
        assert!(read("[\"a\"]").unwrap_err().contains("numbers"));
        assert!(read(&"[".repeat(10_000)).is_err());
    }
}
