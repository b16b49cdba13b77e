//! Sizes on the command line.

/// Names of units with their bytes, longer names first. Single letters are powers of 1024, as in `ls` and `dd`.
const UNITS: [(&str, u64); 14] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("b", 1),
    ("", 1),
];

/// Bytes: a whole number, alone or with a unit.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_lowercase();
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?.trim_end(), factor)))
        .unwrap_or((&lower, &1));
    let number = number.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| {
            "a whole number of bytes, kB, MB, GB (powers of 1000), KiB, MiB, GiB or K, M, G (powers of 1024) expected, \
             such as 2GiB"
                .to_owned()
        })
}

/// Bytes, at least one.
pub(crate) fn parse_some_bytes(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes == 0 {
        return Err("more than 0 bytes expected".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("7b", 7),
            ("3kB", 3000),
            ("2 GiB", 2 << 30),
            ("500MB", 500_000_000),
            ("1tib", 1 << 40),
            ("8G", 8 << 30),
            ("3 k", 3 << 10),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1",
            "1.5GB",
            "99999999999GiB",
            "two",
            "5 apples",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert!(parse_some_bytes("0").is_err());
        assert_eq!(parse_some_bytes("1"), Ok(1));
    }
}
