//! Small files and messages that every program of the project writes in the same way.

use std::error::Error as StdError;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::write_atomically;
use crate::{Error, Result};

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
