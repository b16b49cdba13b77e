//! The order of names that people expect: numbers in them count as numbers.

use std::cmp::Ordering;

/// Compares names so that `IM9` comes before `IM10`. Names are equal only if they are the same.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (split(left), split(right)) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((one, rest)), Some((other, others))) => {
                let order = pieces(one, other);
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (rest, others);
            }
        }
    }
}

/// The digits at the start of a name, or what comes before the next ones.
fn split(name: &str) -> Option<(&str, &str)> {
    let is_number = name.chars().next()?.is_ascii_digit();
    let end = name.find(|c: char| c.is_ascii_digit() != is_number);
    Some(name.split_at(end.unwrap_or(name.len())))
}

fn pieces(a: &str, b: &str) -> Ordering {
    let is_number = |piece: &str| piece.starts_with(|c: char| c.is_ascii_digit());
    if !is_number(a) || !is_number(b) {
        return a.cmp(b);
    }
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let sorted = [
            "",
            "007",
            "7",
            "12",
            "123456789012345678901234567890",
            "IM",
            "IM2",
            "IM2b",
            "IM10",
            "IM10.dcm",
            "a/2/10",
            "a/10/1",
            "ä1",
        ];
        for (n, a) in sorted.iter().enumerate() {
            for (m, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), n.cmp(&m), "{a:?} and {b:?}");
            }
        }
    }
}
