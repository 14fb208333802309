//! A typed walk over a TOML tree that goes on after each mistake, since serde would stop at the first.
//!
//! Enters: the tree of a file. Leaves: plain Rust values, and `Problems` for what has the wrong type or name.
//! Must not know any key by name.

use std::ops::Range;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::problem::Problems;
use super::source::Source;
use super::suggest::nearest;
use crate::model::{Refused, shown};

/// What is being read and what was found wrong in it.
pub(super) struct Walk<'s> {
    pub source: &'s Source,
    pub problems: Problems,
}

/// The keys a table may have.
pub(super) struct Schema {
    /// As in "a project has the keys …".
    pub what: &'static str,
    pub keys: &'static [&'static str],
    /// Documented, but without effect so far.
    pub later: &'static [&'static str],
    /// Keys that are known elsewhere, and where.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

/// A table and the name messages call it by; empty for the file itself.
#[derive(Clone)]
pub(super) struct Table<'t> {
    pub name: String,
    pub span: Range<usize>,
    entries: &'t DeTable<'t>,
}

/// A value and the key messages call it by.
#[derive(Clone)]
pub(super) struct Value<'t> {
    pub name: String,
    pub span: Range<usize>,
    /// Where the key stands; the value itself for an item of a list.
    pub key_span: Range<usize>,
    content: &'t DeValue<'t>,
}

impl<'t> Table<'t> {
    /// The file itself.
    pub fn root(entries: &'t DeTable<'t>) -> Self {
        Self { name: String::new(), span: 0..0, entries }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'t>> {
        self.entries.get_key_value(key).map(|(key, value)| self.entry(key, value))
    }

    /// All values, in the order of the text.
    pub fn entries(&self) -> Vec<(&'t str, Value<'t>)> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), self.entry(key, value)))
            .collect();
        entries.sort_by_key(|(_, value)| value.key_span.start);
        entries
    }

    fn entry(
        &self,
        key: &toml::Spanned<toml::de::DeString<'t>>,
        value: &'t toml::Spanned<DeValue<'t>>,
    ) -> Value<'t> {
        let name = match self.name.as_str() {
            "" => key.get_ref().to_string(),
            table => format!("{table}.{}", key.get_ref()),
        };
        Value { name, span: value.span(), key_span: key.span(), content: value.get_ref() }
    }

    /// The same table under another name, so that messages start at the keys the author thinks of.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Complains about every key that the schema does not have.
    pub fn check_keys(&self, schema: &Schema, walk: &mut Walk<'_>) {
        self.check_keys_but(|_| false, schema, walk);
    }

    /// As [`Self::check_keys`], without those that were judged already.
    pub fn check_keys_but(&self, is_judged: impl Fn(&str) -> bool, schema: &Schema, walk: &mut Walk<'_>) {
        for (key, value) in self.entries() {
            if !schema.keys.contains(&key) && !is_judged(key) {
                let sentence = describe_unknown(schema, key, walk);
                walk.problems.add(value.key_span, sentence);
            }
        }
    }
}

fn describe_unknown(schema: &Schema, key: &str, walk: &mut Walk<'_>) -> String {
    if schema.later.contains(&key) {
        return format!("`{key}` is not available in this version");
    }
    if let Some((_, place)) = schema.elsewhere.iter().find(|(known, _)| *known == key) {
        return format!("`{key}` belongs in {place}");
    }
    if let Some(near) = nearest(key, schema.keys.iter().copied()) {
        return format!("unknown key `{}`; did you mean `{near}`?", shown(key));
    }
    walk.problems.hint(format!("{} has the keys {}", schema.what, schema.keys.join(", ")));
    format!("unknown key `{}`", shown(key))
}

impl<'t> Value<'t> {
    /// Complains that the value is of the wrong type.
    pub fn wrong(&self, expected: &str, walk: &mut Walk<'_>) {
        let got = match self.content {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            _ => format!("`{}`", shown(walk.source.text.get(self.span.clone()).unwrap_or_default())),
        };
        self.fault(&format!("expected {expected}, got {got}"), walk);
    }

    /// Complains about the value.
    pub fn fault(&self, sentence: &str, walk: &mut Walk<'_>) {
        walk.problems.add(self.span.clone(), format!("{}: {sentence}", shown(&self.name)));
    }

    /// Whether the value is a table.
    pub fn is_table(&self) -> bool {
        self.content.is_table()
    }

    /// Whether the value is `false`.
    pub fn is_false(&self) -> bool {
        self.content.as_bool() == Some(false)
    }

    /// The text of a string, if it is one.
    pub fn as_text(&self) -> Option<&'t str> {
        self.content.as_str()
    }

    /// The text of a string.
    pub fn text(&self, expected: &str, walk: &mut Walk<'_>) -> Option<&'t str> {
        let text = self.content.as_str();
        if text.is_none() {
            self.wrong(expected, walk);
        }
        text
    }

    /// A string that a parser of the domain accepts.
    pub fn parse<T: FromStr<Err = Refused>>(&self, expected: &str, walk: &mut Walk<'_>) -> Option<T> {
        match self.text(expected, walk)?.parse() {
            Ok(value) => Some(value),
            Err(refused) => {
                walk.problems.refuse(self.span.clone(), &self.name, &refused);
                None
            }
        }
    }

    /// A string that one of our own checks accepts; the check says what it expected.
    pub fn checked(
        &self,
        expected: &str,
        check: impl Fn(&str) -> bool,
        walk: &mut Walk<'_>,
    ) -> Option<String> {
        let text = self.text(expected, walk)?;
        if check(text) {
            return Some(text.to_owned());
        }
        self.fault(&format!("expected {expected}, got `{}`", shown(text)), walk);
        None
    }

    pub fn flag(&self, walk: &mut Walk<'_>) -> Option<bool> {
        let flag = self.content.as_bool();
        if flag.is_none() {
            self.wrong("`true` or `false`", walk);
        }
        flag
    }

    /// A whole number of at most 128 bits.
    pub fn integer(&self, expected: &str, walk: &mut Walk<'_>) -> Option<i128> {
        let integer = self.content.as_integer();
        let number = integer.and_then(|integer| i128::from_str_radix(integer.as_str(), integer.radix()).ok());
        if number.is_none() {
            self.wrong(expected, walk);
        }
        number
    }

    /// The items of a list.
    pub fn items(&self, expected: &str, walk: &mut Walk<'_>) -> Option<Vec<Value<'t>>> {
        let Some(items) = self.content.as_array() else {
            self.wrong(expected, walk);
            return None;
        };
        let item = |(index, item): (usize, &'t toml::Spanned<DeValue<'t>>)| Value {
            name: format!("{}[{index}]", self.name),
            span: item.span(),
            key_span: item.span(),
            content: item.get_ref(),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The strings of a list that a check accepts.
    pub fn texts(&self, expected: &str, check: impl Fn(&str) -> bool, walk: &mut Walk<'_>) -> Vec<String> {
        let items = self.items(&format!("a list, each {expected}"), walk).unwrap_or_default();
        items.iter().filter_map(|item| item.checked(expected, &check, walk)).collect()
    }

    /// The strings of a list that a parser of the domain accepts; one that stands twice is a mistake.
    pub fn parse_all<T: FromStr<Err = Refused> + PartialEq>(
        &self,
        expected: &str,
        walk: &mut Walk<'_>,
    ) -> Vec<(T, Range<usize>)> {
        let mut found: Vec<(T, Range<usize>)> = Vec::new();
        for item in self.items(&format!("a list, each {expected}"), walk).unwrap_or_default() {
            let Some(value) = item.parse::<T>(expected, walk) else { continue };
            if found.iter().any(|(earlier, _)| *earlier == value) {
                item.fault("listed twice", walk);
            } else {
                found.push((value, item.span));
            }
        }
        found
    }

    /// The table below a key.
    pub fn table(&self, expected: &str, walk: &mut Walk<'_>) -> Option<Table<'t>> {
        let Some(entries) = self.content.as_table() else {
            self.wrong(expected, walk);
            return None;
        };
        Some(Table { name: self.name.clone(), span: self.span.clone(), entries })
    }
}
