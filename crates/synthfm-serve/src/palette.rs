//! Colours of structures, told apart on grey images and with colour-deficient eyes (after Okabe and Ito 2008).

use std::collections::BTreeSet;

/// `#rrggbb`.
pub(super) const COLOURS: [&str; 12] = [
    "#ffb000", "#38b6ff", "#00c48c", "#ff6f61", "#c792ff", "#f0e442", "#ff8ad8", "#7fd4c1",
    "#d98a3d", "#9fb4ff", "#b5e06b", "#e0e0e0",
];

/// The colour of the structure with this identifier, counted from 1.
pub(super) fn colour(id: u16) -> &'static str {
    COLOURS[usize::from(id.saturating_sub(1)) % COLOURS.len()]
}

/// The colour of a new structure: that of its identifier, or another one where `taken` has that.
pub(super) fn free_colour(id: u16, taken: &BTreeSet<&str>) -> &'static str {
    let own = colour(id);
    let mut candidates = std::iter::once(own).chain(COLOURS);
    let is_free = |colour: &&str| !taken.iter().any(|used| used.eq_ignore_ascii_case(colour));
    candidates.find(is_free).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_structure_has_a_colour_of_its_own() {
        let free = |id: u16, taken: &[&'static str]| {
            let taken: BTreeSet<&str> = taken.iter().copied().collect();
            free_colour(id, &taken)
        };
        assert_eq!(free(2, &COLOURS[..1]), COLOURS[1]);
        assert_eq!(free(1, &COLOURS[..2]), COLOURS[2]);
        assert_eq!(free(14, &COLOURS), COLOURS[1]);
    }
}
