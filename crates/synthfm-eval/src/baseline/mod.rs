//! Segmenters that need no model: the floor under every table.
//! [`Disc`] knows nothing of the image; [`FloodFill`] is region growing, and [`RandomWalker`] (Grady 2006) the best-known
//! classical method for clicks. Differs: all of them also answer boxes.

mod disc;
mod flood_fill;
mod random_walker;

pub use disc::Disc;
pub use flood_fill::FloodFill;
pub use random_walker::RandomWalker;
