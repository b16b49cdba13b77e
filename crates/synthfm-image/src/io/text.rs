//! Small files and messages that every program of the project writes in the same way.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::write_atomically;
use crate::{Error, Result};

/// Characters of a message on the terminal; longer ones are cut.
const MAX_MESSAGE_CHARS: usize = 4000;

/// Writes a line to standard error. A closed or full standard error, as behind `2>&1 | head`, loses the line and ends
/// nothing.
pub fn tell(text: &str) {
    let text = printable(text);
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A message for the terminal: as [`escaped`], and what is very long is cut.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{} … (cut)", escaped(&text[..end]))),
        None => escaped(text),
    }
}

/// A text for the terminal: control characters, which names of files and DICOM attributes may hold, and characters that
/// turn the direction of writing are written as escapes. Line breaks stay.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = |c: char| c == '\n' || !(c.is_control() || turns(c));
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for c in text.chars() {
        if plain(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    Cow::Owned(out)
}

/// Writes `value` as indented JSON, whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}

/// Makes a folder and those above it.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// An error with its causes on one line. A cause that the text before it quotes already is not said twice.
pub fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = |text| Outer {
            text,
            source: io::Error::other("no such file"),
        };
        let quoted = error("a.png: no such file");
        assert_eq!(one_line(&quoted), "a.png: no such file");
        assert_eq!(one_line(&error("reading")), "reading: no such file");
    }

    #[test]
    fn terminals_get_no_control_characters() {
        assert_eq!(printable("a\nb"), "a\nb");
        assert_eq!(
            printable("\u{1b}[2Jname\u{7}\u{9b}"),
            "\\u{1b}[2Jname\\u{7}\\u{9b}"
        );
        assert_eq!(escaped("a\u{202e}gnp.exe"), "a\\u{202e}gnp.exe");
        let listing = "name\u{1b}\n".repeat(1 << 12);
        assert_eq!(escaped(&listing).lines().count(), 1 << 12);
        assert!(!escaped(&listing).contains('\u{1b}'));
        let long = "ä".repeat(1 << 20);
        let cut = printable(&long);
        assert!(cut.chars().count() < MAX_MESSAGE_CHARS + 20 && cut.ends_with("(cut)"));
    }

    #[test]
    fn json_ends_with_a_line_feed_and_folders_are_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a/b");
        create_folder(&path).expect("a new folder");
        let file = path.join("c.json");
        write_json(&file, &[1, 2]).expect("a file in it");
        let text = fs::read_to_string(&file).expect("the file");
        assert_eq!(text, "[\n  1,\n  2\n]\n");
        let refused = create_folder(&file.join("d")).expect_err("a file is no folder");
        assert!(refused.to_string().contains("c.json"), "{refused}");
    }
}
