//! Hashes as text.

use std::fmt::Write;

/// Lower-case hexadecimal digits, two per byte; how hashes are written everywhere.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_digits() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
