//! Organ outlines: Bézier anchors in a unit frame, x and y from -1 to 1, placed and jittered.
//!
//! The anchors are drawn by hand after the shapes that anatomy books show, not traced from any image;
//! each names which way it faces. A negative first axis mirrors a shape.

use super::Scene;
use crate::params::{Outline, Vec2};

/// A bean whose hilum, at x = `HILUM`, faces right.
pub(super) const BEAN: [Vec2; 10] = [
    [0.0, -1.0],
    [-0.62, -0.78],
    [-0.92, 0.0],
    [-0.62, 0.78],
    [0.0, 1.0],
    [0.52, 0.82],
    [0.62, 0.42],
    HILUM,
    [0.62, -0.42],
    [0.52, -0.82],
];
/// The anchor of [`BEAN`] that lies in its hilum.
pub(super) const HILUM_ANCHOR: usize = 7;
const HILUM: Vec2 = [0.2, 0.0];

/// A crescent with its hollow side to the right.
pub(super) const CRESCENT: [Vec2; 9] = [
    [0.15, -1.0],
    [-0.5, -0.72],
    [-0.85, 0.0],
    [-0.5, 0.74],
    [0.2, 1.0],
    [0.5, 0.66],
    [0.12, 0.25],
    [0.08, -0.3],
    [0.5, -0.72],
];

/// A wedge: high and broad on the left, a thin lobe to the upper right.
pub(super) const WEDGE: [Vec2; 11] = [
    [-0.2, -1.0],
    [-0.72, -0.8],
    [-1.0, -0.1],
    [-0.88, 0.62],
    [-0.5, 0.98],
    [-0.18, 0.62],
    [-0.05, 0.2],
    [0.28, -0.1],
    [0.95, -0.42],
    [0.98, -0.72],
    [0.5, -0.92],
];

/// A bag bent to the left at its lower end.
pub(super) const BAG: [Vec2; 10] = [
    [-0.25, -0.85],
    [0.4, -0.95],
    [0.95, -0.5],
    [0.9, 0.2],
    [0.45, 0.75],
    [-0.2, 0.95],
    [-0.8, 0.7],
    [-0.75, 0.35],
    [-0.1, 0.3],
    [0.05, -0.2],
];

/// A pear, thick below.
pub(super) const PEAR: [Vec2; 8] = [
    [0.0, -1.0],
    [-0.28, -0.5],
    [-0.56, 0.2],
    [-0.42, 0.8],
    [0.0, 1.0],
    [0.42, 0.8],
    [0.56, 0.2],
    [0.28, -0.5],
];

/// A lung in cross-section, its outer side to the left.
pub(super) const LUNG: [Vec2; 9] = [
    [0.1, -1.0],
    [-0.62, -0.7],
    [-0.98, 0.1],
    [-0.72, 0.8],
    [-0.05, 1.0],
    [0.6, 0.78],
    [0.5, 0.25],
    [0.72, -0.2],
    [0.62, -0.72],
];

/// A lung from the front, its outer side to the right: apex above, diaphragm below.
pub(super) const LUNG_FRONT: [Vec2; 13] = [
    [-0.05, -1.0],
    [0.42, -0.86],
    [0.76, -0.42],
    [0.94, 0.1],
    [1.0, 0.62],
    [0.97, 0.98],
    [0.62, 0.72],
    [0.1, 0.64],
    [-0.62, 0.86],
    [-0.6, 0.4],
    [-0.5, -0.1],
    [-0.62, -0.5],
    [-0.46, -0.86],
];

/// One half of a pair of muscles beside the spine, its inner side to the right.
pub(super) const MUSCLE: [Vec2; 7] = [
    [0.5, -0.9],
    [-0.3, -0.72],
    [-0.98, 0.05],
    [-0.6, 0.8],
    [0.35, 0.92],
    [0.95, 0.55],
    [0.92, -0.4],
];

/// A block with rounded corners: a vertebral body from the side.
pub(super) const BLOCK: [Vec2; 8] = [
    [-0.95, -0.95],
    [-0.85, 0.0],
    [-0.95, 0.95],
    [0.0, 0.88],
    [0.95, 0.95],
    [0.85, 0.0],
    [0.95, -0.95],
    [0.0, -0.88],
];

/// The front horn and body of a lateral ventricle, its outer side to the left.
pub(super) const HORN: [Vec2; 9] = [
    [0.2, -1.0],
    [-0.75, -0.95],
    [-0.6, -0.45],
    [-0.1, 0.0],
    [-0.35, 0.55],
    [-0.2, 1.0],
    [0.3, 0.7],
    [0.55, 0.1],
    [0.6, -0.6],
];

/// A drop lying on its side, tail to the right: a hippocampus across its length.
pub(super) const TAIL: [Vec2; 8] = [
    [-0.55, -0.75],
    [-0.98, -0.1],
    [-0.7, 0.7],
    [-0.1, 0.85],
    [0.5, 0.55],
    [1.0, 0.35],
    [0.55, 0.0],
    [0.1, -0.35],
];

/// Where a unit frame lies in the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// The image of (0, 0).
    pub(super) centre: Vec2,
    /// Lengths of the unit vectors; a negative one mirrors.
    pub(super) axes: Vec2,
    /// Turn of the frame, radians.
    pub(super) angle: f32,
}

impl Frame {
    pub(super) fn new(centre: Vec2, axes: Vec2, angle: f32) -> Self {
        Self {
            centre,
            axes,
            angle,
        }
    }

    /// A point of the unit frame in the image.
    pub(super) fn at(&self, [x, y]: Vec2) -> Vec2 {
        let (sin, cos) = libm::sincosf(self.angle);
        let (x, y) = (x * self.axes[0], y * self.axes[1]);
        [
            self.centre[0] + cos * x - sin * y,
            self.centre[1] + sin * x + cos * y,
        ]
    }
}

impl Scene<'_> {
    /// A template in a frame, every anchor displaced by normal numbers of this deviation.
    pub(super) fn shape(&mut self, template: &[Vec2], frame: &Frame, jitter: f32) -> Outline {
        let anchors = template.iter().map(|&[x, y]| {
            let x = x + jitter * self.rng.normal();
            frame.at([x, y + jitter * self.rng.normal()])
        });
        Outline::Bezier {
            anchors: anchors.collect(),
            radius: 0.34,
            edginess: 0.0,
        }
    }
}
