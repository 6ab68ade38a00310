//! Texts from elsewhere as they may be printed: control characters, with which a name could command a terminal or make up
//! lines of a log, are written as escapes.

use std::borrow::Cow;

use serde_json::Value;

/// A text that belongs into one line.
pub fn text(text: &str) -> Cow<'_, str> {
    escaped(text, "\\n")
}

/// A text for the log, in which a line goes on indented: none can be taken for another message.
pub fn message(text: &str) -> Cow<'_, str> {
    escaped(text.trim_end_matches('\n'), "\n    ")
}

/// The name of an interface by its index, or `#INDEX` where there is none. The kernel takes nearly every byte in it.
pub fn interface(ifindex: u32) -> String {
    match nix::net::if_::if_indextoname(ifindex) {
        Ok(name) => text(&name.to_string_lossy()).into_owned(),
        Err(_) => format!("#{ifindex}"),
    }
}

/// All texts in what another process answered.
pub fn json(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(string) => {
            if let Cow::Owned(escaped) = text(string) {
                *string = escaped;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(json),
        Value::Object(entries) => {
            if entries.keys().any(|key| key.contains(char::is_control)) {
                let all = std::mem::take(entries).into_iter();
                *entries = all.map(|(key, value)| (text(&key).into_owned(), value)).collect();
            }
            entries.values_mut().for_each(json);
        }
    }
}

fn escaped<'a>(text: &'a str, line_end: &str) -> Cow<'a, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str(line_end),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert!(matches!(text("é plain"), Cow::Borrowed("é plain")));
        assert_eq!(text("a\x1b[2J\u{9b}\n\x7f"), "a\\u{1b}[2J\\u{9b}\\n\\u{7f}");
        assert_eq!(message("a\nERROR b\x1b\n"), "a\n    ERROR b\\u{1b}");
    }

    #[test]
    fn an_answer_is_escaped_throughout() {
        let mut value = serde_json::json!({"a\u{9b}": ["b\n", {"c": "d\x1b"}, 1, null, true]});
        json(&mut value);
        let escaped = serde_json::json!({"a\\u{9b}": ["b\\n", {"c": "d\\u{1b}"}, 1, null, true]});
        assert_eq!(value, escaped);
    }
}
