//! Columns: star-shaped cross-sections along an axis, as a table of radii by height and direction.
//!
//! Directions are tabulated by the diamond angle `y / (|x| + |y|)`, which needs no transcendental function.

use super::form::Section;

/// Directions of the table.
const DIRECTIONS: usize = 128;
/// Most heights of the table.
const MAX_HEIGHTS: usize = 256;
/// Heights of the table per section.
const PER_SECTION: usize = 6;

/// Radii and centres of a column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Long axis, and the two axes of its cross-sections.
    pub(super) axes: [usize; 3],
    /// First and last height.
    pub(super) ends: [f32; 2],
    heights: usize,
    per_unit: f32,
    /// `[height, direction]`, the first direction again at the end.
    radii: Vec<f32>,
    centres: Vec<[f32; 2]>,
    /// Extent of the cross-sections along both axes.
    pub(super) across: [[f32; 2]; 2],
}

/// The numbers interpolated between sections: centre, half axes, angle, waves.
type Numbers = Vec<f32>;

fn numbers(section: &Section, waves: usize) -> Numbers {
    let Section {
        centre,
        axes,
        angle,
        waves: own,
        ..
    } = section;
    let mut all = vec![centre[0], centre[1], axes[0], axes[1], *angle];
    // Waves as cosine and sine amplitudes, so that a phase never turns the long way round.
    for k in 0..waves {
        let [amplitude, phase] = own.get(k).copied().unwrap_or_default();
        let (sin, cos) = libm::sincosf(phase);
        all.extend([amplitude * cos, amplitude * sin]);
    }
    all
}

/// Cubic Hermite curve between two sections, with the slopes of a Catmull-Rom spline over uneven distances.
fn between(ats: &[f32], rows: &[Numbers], k: usize, at: f32) -> Numbers {
    let last = rows.len() - 1;
    let span = ats[k + 1] - ats[k];
    let t = ((at - ats[k]) / span).clamp(0.0, 1.0);
    let slope = |j: usize, i: usize| {
        let (low, high) = (j.saturating_sub(1), (j + 1).min(last));
        (rows[high][i] - rows[low][i]) / (ats[high] - ats[low]) * span
    };
    let s = 1.0 - t;
    let weights = [
        s * s * (1.0 + 2.0 * t),
        t * t * (3.0 - 2.0 * t),
        s * s * t,
        -s * t * t,
    ];
    (0..rows[k].len())
        .map(|i| {
            (weights[0] * rows[k][i] + weights[1] * rows[k + 1][i])
                + (weights[2] * slope(k, i) + weights[3] * slope(k + 1, i))
        })
        .collect()
}

/// Direction of a place in the table, as a unit vector.
fn direction(index: usize) -> [f32; 2] {
    let a = index as f32 * (4.0 / DIRECTIONS as f32) - 1.0;
    let (x, y) = if a < 1.0 {
        (1.0 - a.abs(), a)
    } else {
        (-(1.0 - (2.0 - a).abs()), 2.0 - a)
    };
    let length = (x * x + y * y).sqrt();
    [x / length, y / length]
}

/// Radius of a section in a direction.
fn radius(row: &[f32], [dx, dy]: [f32; 2]) -> f32 {
    let axes = [row[2], row[3]].map(|axis| axis.abs().max(1e-6));
    let (sin, cos) = libm::sincosf(row[4]);
    let local = [cos * dx + sin * dy, cos * dy - sin * dx];
    let (u, v) = (local[0] / axes[0], local[1] / axes[1]);
    let base = 1.0 / (u * u + v * v).sqrt();
    let t = libm::atan2f(v, u);
    let mut share = 1.0;
    for (k, wave) in row[5..].chunks_exact(2).enumerate() {
        let (sin, cos) = libm::sincosf((k + 2) as f32 * t);
        share += wave[0] * cos - wave[1] * sin;
    }
    base * share.max(0.05)
}

impl Column {
    /// The table of a validated form.
    pub(super) fn new(axis: u8, sections: &[Section]) -> Self {
        let axis = usize::from(axis) % 3;
        let ats: Vec<f32> = sections.iter().map(|s| s.at).collect();
        let waves = sections.iter().map(|s| s.waves.len()).max().unwrap_or(0);
        let rows: Vec<Numbers> = sections.iter().map(|s| numbers(s, waves)).collect();
        let ends = [ats[0], ats[ats.len() - 1]];
        let heights = (sections.len() * PER_SECTION).clamp(2, MAX_HEIGHTS);
        let length = (ends[1] - ends[0]).max(1e-6);
        let mut radii = Vec::with_capacity(heights * (DIRECTIONS + 1));
        let mut centres = Vec::with_capacity(heights);
        let mut across = [[f32::MAX, f32::MIN]; 2];
        let directions: Vec<[f32; 2]> = (0..DIRECTIONS).map(direction).collect();
        for height in 0..heights {
            let at = ends[0] + length * (height as f32 / (heights - 1) as f32);
            let after = ats.iter().position(|&a| a > at).unwrap_or(ats.len() - 1);
            let k = after.max(1) - 1;
            let row = between(&ats, &rows, k, at);
            let start = radii.len();
            radii.extend(directions.iter().map(|&d| radius(&row, d)));
            let most = radii[start..].iter().fold(0.0_f32, |most, &r| most.max(r));
            radii.push(radii[start]);
            centres.push([row[0], row[1]]);
            for k in 0..2 {
                across[k][0] = across[k][0].min(row[k] - most);
                across[k][1] = across[k][1].max(row[k] + most);
            }
        }
        Self {
            axes: [axis, (axis + 1) % 3, (axis + 2) % 3],
            ends,
            heights,
            per_unit: (heights - 1) as f32 / length,
            radii,
            centres,
            across,
        }
    }

    /// About the distance from the surface, negative inside.
    #[inline(always)]
    pub(super) fn distance(&self, place: [f32; 3]) -> f32 {
        let [along, u, v] = self.axes.map(|axis| place[axis]);
        let position =
            ((along - self.ends[0]) * self.per_unit).clamp(0.0, (self.heights - 1) as f32);
        let below = (position as usize).min(self.heights - 2);
        let share = position - below as f32;
        let (a, b) = (self.centres[below], self.centres[below + 1]);
        let x = u - (a[0] + (b[0] - a[0]) * share);
        let y = v - (a[1] + (b[1] - a[1]) * share);
        let t = y / (x.abs() + y.abs() + 1e-12);
        let turn = if x >= 0.0 { t } else { 2.0 - t };
        let at = (turn + 1.0) * (DIRECTIONS as f32 / 4.0);
        let index = (at as usize).min(DIRECTIONS - 1);
        let part = at - index as f32;
        let line = |start: usize| {
            let (a, b) = (self.radii[start + index], self.radii[start + index + 1]);
            a + (b - a) * part
        };
        let start = below * (DIRECTIONS + 1);
        let (low, high) = (line(start), line(start + DIRECTIONS + 1));
        let radius = low + (high - low) * share;
        let beside = (x * x + y * y).sqrt() - radius;
        beside.max(self.ends[0] - along).max(along - self.ends[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(at: f32, centre: [f32; 2], axes: [f32; 2], angle: f32) -> Section {
        Section {
            at,
            centre,
            axes,
            angle,
            waves: Vec::new(),
        }
    }

    #[test]
    fn a_cylinder_has_its_radius_in_every_direction() {
        for axis in 0..3_u8 {
            let sections = [0.0, 1.0].map(|at| section(at, [0.5, 0.4], [0.2, 0.2], 0.3));
            let column = Column::new(axis, &sections);
            for k in 0..100 {
                let (sin, cos) = libm::sincosf(k as f32 * 0.0628);
                let mut place = [0.0; 3];
                place[usize::from(axis)] = 0.37;
                place[(usize::from(axis) + 1) % 3] = 0.5 + 0.25 * cos;
                place[(usize::from(axis) + 2) % 3] = 0.4 + 0.25 * sin;
                let distance = column.distance(place);
                assert!((distance - 0.05).abs() < 2e-3, "{axis} {k}: {distance}");
            }
        }
    }

    #[test]
    fn ellipses_turn_by_their_angle_and_columns_end() {
        let angle = std::f32::consts::FRAC_PI_6;
        let sections = [0.0, 1.0].map(|at| section(at, [0.0, 0.0], [0.4, 0.1], angle));
        let column = Column::new(2, &sections);
        let (sin, cos) = libm::sincosf(angle);
        assert!(column.distance([0.4 * cos, 0.4 * sin, 0.5]).abs() < 4e-3);
        assert!(column.distance([-0.1 * sin, 0.1 * cos, 0.5]).abs() < 2e-3);
        assert!((column.distance([0.0, 0.0, 1.2]) - 0.2).abs() < 1e-5);
        assert!(column.distance([0.0, 0.0, 0.5]) < -0.09);
    }

    #[test]
    fn sections_are_met_where_they_lie() {
        let sections = [
            section(0.0, [0.0, 0.0], [0.1, 0.1], 0.0),
            section(0.2, [0.1, 0.0], [0.3, 0.3], 0.0),
            section(1.0, [0.0, 0.2], [0.2, 0.2], 0.0),
        ];
        let column = Column::new(2, &sections);
        for (at, place) in [(0.0, [0.1, 0.0]), (0.2, [0.4, 0.0]), (1.0, [0.2, 0.2])] {
            let distance = column.distance([place[0], place[1], at]);
            assert!(distance.abs() < 0.012, "{at}: {distance}");
        }
    }
}
