//! Colours of structures, told apart on grey images and with colour-deficient eyes (after Okabe and Ito 2008).

/// `#rrggbb`.
pub(super) const COLOURS: [&str; 12] = [
    "#ffb000", "#38b6ff", "#00c48c", "#ff6f61", "#c792ff", "#f0e442", "#ff8ad8", "#7fd4c1",
    "#d98a3d", "#9fb4ff", "#b5e06b", "#e0e0e0",
];

/// The colour of the structure with this identifier, counted from 1.
pub(super) fn colour(id: u16) -> &'static str {
    COLOURS[usize::from(id.saturating_sub(1)) % COLOURS.len()]
}
