//! Configurations from a TOML file, changed by `--set key=value`.
//!
//! The changes act on the TOML before it becomes a configuration, so that a misspelt key is refused by name, as
//! one in the file is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::output::{refuse_pipe, usage};

/// More than any configuration needs.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads a TOML file.
pub(crate) fn read_toml(path: &Path) -> Result<Table> {
    let text = read_text(path, MAX_CONFIG_BYTES)?;
    toml::from_str(&text).with_context(|| format!("{}: not TOML", path.display()))
}

/// Reads a text file of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    refuse_pipe(path)?;
    let bytes = fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    if bytes > limit {
        bail!(
            "{}: {bytes} bytes, more than the limit of {limit}",
            path.display()
        );
    }
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{}: not a text file", path.display()))
}

/// Makes the configuration, with `key=value` applied in order over the file's values and the defaults.
pub(crate) fn resolve<T: DeserializeOwned + Serialize>(
    mut table: Table,
    changes: &[String],
) -> Result<T> {
    if !changes.is_empty() {
        let base: T = resolve(table, &[])?;
        table = Table::try_from(base).context("the configuration as TOML")?;
    }
    for change in changes {
        apply(&mut table, change)?;
    }
    table.try_into().map_err(|error: toml::de::Error| {
        let changed = if changes.is_empty() {
            String::new()
        } else {
            format!(" (with --set {})", changes.join(" --set "))
        };
        anyhow::anyhow!(
            "configuration{changed}: {}",
            error.to_string().trim_end().replace('\n', " ")
        )
    })
}

fn apply(table: &mut Table, change: &str) -> Result<()> {
    let bad = |problem: &str| usage(format!("--set {change}: {problem}"));
    let Some((path, value)) = change.split_once('=') else {
        return Err(bad("KEY=VALUE expected, such as mixture.body=0.5"));
    };
    let mut keys: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = keys
        .pop()
        .filter(|key| !key.is_empty())
        .ok_or_else(|| bad("the key is empty"))?;
    let mut inner = table;
    for key in keys {
        let next = inner
            .entry(key)
            .or_insert_with(|| Value::Table(Table::new()));
        inner = next
            .as_table_mut()
            .ok_or_else(|| bad(&format!("{key} is a value, it holds no {last}")))?;
    }
    inner.insert(last.to_owned(), parse(value.trim()));
    Ok(())
}

/// A TOML value; text that is none is taken as a string, so that quotes are not needed.
fn parse(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    parsed
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use synthfm_synth::GeneratorConfig;

    use super::*;

    fn set(changes: &[&str]) -> Result<GeneratorConfig> {
        let changes: Vec<String> = changes.iter().map(|&c| c.to_owned()).collect();
        resolve(Table::new(), &changes)
    }

    #[test]
    fn changes_reach_their_fields() {
        let config = set(&[
            "size.height=256",
            "noise.gaussian.probability = 1",
            "shapes.organs=[2, 3]",
        ]);
        // What is not named keeps its default, also inside a table without defaults of its own.
        let (changed, default) = (config.unwrap().noise, GeneratorConfig::default().noise);
        assert!((changed.gaussian.probability - 1.0).abs() < 1e-6);
        let text = |strength| format!("{strength:?}");
        assert_eq!(
            text(changed.gaussian.strength),
            text(default.gaussian.strength)
        );
        let config = set(&[
            "size.height=256",
            "mixture.body=0.5",
            "shapes.organs=[2, 3]",
        ])
        .unwrap();
        assert_eq!(config.size.height, 256);
        assert!((config.mixture.body - 0.5).abs() < 1e-6);
        assert_eq!(config.shapes.organs, [2, 3]);
    }

    #[test]
    fn wrong_changes_are_named() {
        for (change, part) in [
            ("mixture.boddy=1", "boddy"),
            ("nothing", "KEY=VALUE"),
            ("=3", "key is empty"),
            ("size.height.deep=3", "height"),
            ("size.height=tall", "tall"),
            ("size.height=1\nsize.width=2", "size.height"),
        ] {
            let error = format!("{:#}", set(&[change]).unwrap_err());
            assert!(error.contains(part), "{change}: {error}");
        }
        let twice = set(&["size.height=1", "size.height.deep=3"]).unwrap_err();
        assert!(twice.to_string().contains("height is a value"));
    }

    #[test]
    fn text_needs_no_quotes() {
        assert_eq!(parse("vit_h"), Value::String("vit_h".into()));
        assert_eq!(parse("\"vit_h\""), Value::String("vit_h".into()));
        assert_eq!(parse("1e-4"), Value::Float(1e-4));
    }
}
