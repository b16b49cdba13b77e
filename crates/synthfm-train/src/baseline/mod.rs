//! Segmenters that need no model: the floor under every table.
//! [`Disc`] knows nothing of the image; [`RandomWalker`] (Grady 2006) is the best-known classical method for clicks.
//! Differs: both also answer boxes.

mod disc;
mod random_walker;

pub use disc::Disc;
pub use random_walker::RandomWalker;
