//! Images, masks, label maps and volumes; their geometry, their files, and segmentation metrics.
//!
//! No tensors and no randomness. Arrays are row-major `[row, col]`; `(x, y)` exists only inside
//! [`Point2`], in pixels, x to the right, y down, with the origin at the centre of the top-left
//! pixel. Patient coordinates are LPS millimetres.

mod error;
mod geometry;
mod raster;

pub use error::{Error, Result};
pub use geometry::{BoxXyxy, Point2, Size};
pub use raster::{Image, LabelMap, Mask, RgbImage};
