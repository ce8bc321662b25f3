//! Commands to the emulator and its answers: one JSON object per line.

use crate::direction::Counters;
use crate::impairment::Impairment;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// None: unchanged. Some(None): perfect.
pub type Setting = Option<Option<Box<Impairment>>>;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Command {
    /// Sets one or both directions of a link. The link leaves its bridge while either is impaired.
    Set {
        link: String,
        /// Interfaces in the emulator's namespace: the bridge and the ends towards `a` and `b`.
        bridge: String,
        a: String,
        b: String,
        #[serde(default, deserialize_with = "present")]
        a_to_b: Setting,
        #[serde(default, deserialize_with = "present")]
        b_to_a: Setting,
    },
    Counters,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Setting, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Set { ok: bool, attached: bool },
    Counters { ok: bool, links: BTreeMap<String, Link> },
    Refused { ok: bool, error: String },
}

impl Answer {
    pub fn refused(error: String) -> Self {
        Self::Refused { ok: false, error }
    }
}

#[derive(Debug, Serialize)]
pub struct Link {
    /// Whether the emulator carries the link now, and not its bridge.
    pub attached: bool,
    pub a_to_b: Counters,
    pub b_to_a: Counters,
    pub a_to_b_impairment: Option<Impairment>,
    pub b_to_a_impairment: Option<Impairment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Command, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn absent_null_and_given_directions_differ() {
        let text = r#"{"op":"set","link":"x/y","bridge":"l0","a":"l0a","b":"l0b","a_to_b":null}"#;
        let Ok(Command::Set { a_to_b, b_to_a, .. }) = parse(text) else { panic!("not parsed") };
        assert_eq!((a_to_b, b_to_a), (Some(None), None));
        let text = r#"{"op":"set","link":"x/y","bridge":"l0","a":"l0a","b":"l0b","b_to_a":{"loss":0.5}}"#;
        let Ok(Command::Set { b_to_a, .. }) = parse(text) else { panic!("not parsed") };
        assert_eq!(b_to_a.flatten().map(|setting| setting.loss), Some(0.5));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = r#"{"op":"set","link":"x","bridge":"l0","a":"a","b":"b","a_to_b":{"lost":1}}"#;
        assert!(parse(text).unwrap_err().contains("lost"));
        assert!(parse(r#"{"op":"explode"}"#).is_err());
    }
}
