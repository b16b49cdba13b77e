//! Flags of verbs that open images: which series, and how much memory a file may ask for.

use clap::Args;
use synthfm_image::{OpenOptions, ReadOptions};

/// What to open, and how much of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct OpenArgs {
    /// Of a folder of DICOM files: the number that `synthfm info FOLDER` gives an image, or its Series Instance UID
    /// [default: the image with most slices]. Of a NIfTI, NRRD or TIFF file with several volumes: which one, from 1
    #[arg(long, value_name = "N|UID")]
    pub(crate) series: Option<String>,
    /// Most memory for the values of a file, and most bytes of a file, such as 512MiB or 8G
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_bytes)]
    pub(crate) max_memory: u64,
}

impl OpenArgs {
    /// The same for the library.
    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            read: ReadOptions {
                max_bytes: self.max_memory,
            },
            series: self.series.clone(),
            ..OpenOptions::default()
        }
    }
}

/// Bytes with a unit: powers of 1024, whether written as `M`, `MB` or `MiB`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("{text:?}: a size such as 512MiB or 8G expected");
    let lower = text.trim().to_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number
        .checked_mul(1 << shift)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1000", 1000),
            ("512MiB", 512 << 20),
            ("8G", 8 << 30),
            ("3 kb", 3 << 10),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "G", "0", "1.5G", "-1", "5 apples", "99999999T"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
