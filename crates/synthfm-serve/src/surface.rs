//! The surface of a structure for a view in 3-D, by surface nets (Gibson, MICCAI 1998): one vertex in each cell of eight
//! voxels that are not all alike, at the mean of the places where the cell's edges cross the surface, and a quad around
//! each of these edges. Large structures are looked at in blocks of voxels.

use synthfm_image::VolumeGeometry;

use super::annotation::BitVolume;

/// Blocks along the longest side of a structure.
const MOST_BLOCKS: usize = 112;
/// A cell's corners: bit 0 for the next voxel along `i`, 1 along `j`, 2 along `k`.
const CORNERS: [[usize; 3]; 8] = [
    [0, 0, 0],
    [1, 0, 0],
    [0, 1, 0],
    [1, 1, 0],
    [0, 0, 1],
    [1, 0, 1],
    [0, 1, 1],
    [1, 1, 1],
];
/// Pairs of corners that differ in one axis.
const EDGES: [[usize; 2]; 12] = [
    [0, 1],
    [2, 3],
    [4, 5],
    [6, 7],
    [0, 2],
    [1, 3],
    [4, 6],
    [5, 7],
    [0, 4],
    [1, 5],
    [2, 6],
    [3, 7],
];

/// Triangles in the patient.
#[derive(Debug, Default)]
pub(super) struct Surface {
    /// LPS millimetres.
    points: Vec<[f32; 3]>,
    /// Counter-clockwise as seen from outside.
    triangles: Vec<[u32; 3]>,
}

impl Surface {
    /// The surface of a structure; nothing for an empty one.
    pub(super) fn of(bits: &BitVolume, grid: &VolumeGeometry) -> Self {
        match Blocks::of(bits, grid) {
            Some(blocks) => blocks.surface(grid),
            None => Self::default(),
        }
    }

    /// Numbers of points and triangles, then points and triangles, all little-endian: `u32`, `u32`, `f32` xyz, `u32` abc.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let counts = [self.points.len() as u32, self.triangles.len() as u32];
        let counts = counts.into_iter().flat_map(u32::to_le_bytes);
        let points = self.points.iter().flatten().flat_map(|v| v.to_le_bytes());
        let triangles = self.triangles.iter().flatten();
        counts
            .chain(points)
            .chain(triangles.flat_map(|v| v.to_le_bytes()))
            .collect()
    }
}

/// The box that a structure fills in blocks, with an empty block on every side.
struct Blocks {
    shape: [usize; 3],
    /// The first voxel of block 1.
    start: [usize; 3],
    /// Voxels along the side of a block.
    side: usize,
    inside: Vec<bool>,
}

impl Blocks {
    fn of(bits: &BitVolume, grid: &VolumeGeometry) -> Option<Self> {
        let [ni, nj, _] = grid.shape();
        let place = |voxel: usize| [voxel % ni, voxel / ni % nj, voxel / (ni * nj)];
        let (mut start, mut end) = ([usize::MAX; 3], [0; 3]);
        for at in bits.voxels().map(place) {
            for axis in 0..3 {
                start[axis] = start[axis].min(at[axis]);
                end[axis] = end[axis].max(at[axis] + 1);
            }
        }
        let longest = (0..3)
            .map(|axis| end[axis].saturating_sub(start[axis]))
            .max()?;
        if longest == 0 {
            return None;
        }
        let side = longest.div_ceil(MOST_BLOCKS);
        let shape = [0, 1, 2].map(|axis| (end[axis] - start[axis]).div_ceil(side) + 2);
        let mut counts = vec![0usize; shape.iter().product()];
        for at in bits.voxels().map(place) {
            let [i, j, k] = [0, 1, 2].map(|axis| (at[axis] - start[axis]) / side + 1);
            counts[i + shape[0] * (j + shape[1] * k)] += 1;
        }
        // A block is inside where half of its voxels are.
        let half = side.pow(3).div_ceil(2);
        Some(Self {
            shape,
            start,
            side,
            inside: counts.into_iter().map(|count| count >= half).collect(),
        })
    }

    fn at(&self, [i, j, k]: [usize; 3]) -> bool {
        self.inside[i + self.shape[0] * (j + self.shape[1] * k)]
    }

    fn surface(&self, grid: &VolumeGeometry) -> Surface {
        let cells = self.shape.map(|n| n - 1);
        let mut surface = Surface::default();
        let mut vertices = vec![u32::MAX; cells.iter().product()];
        let number = |[i, j, k]: [usize; 3]| i + cells[0] * (j + cells[1] * k);
        let all = || {
            let [ni, nj, nk] = cells;
            (0..nk).flat_map(move |k| (0..nj).flat_map(move |j| (0..ni).map(move |i| [i, j, k])))
        };
        for cell in all() {
            if let Some(point) = self.vertex(cell) {
                vertices[number(cell)] = surface.points.len() as u32;
                surface.points.push(self.in_patient(point, grid));
            }
        }
        // Whether the array's axes form a right-handed system in the patient decides which side of a quad is outside.
        let is_right_handed = determinant(grid) > 0.0;
        for cell in all() {
            for axis in 0..3 {
                let (b, c) = ((axis + 1) % 3, (axis + 2) % 3);
                if cell[b] == 0 || cell[c] == 0 {
                    continue;
                }
                let mut next = cell;
                next[axis] += 1;
                let [here, there] = [self.at(cell), self.at(next)];
                if here == there {
                    continue;
                }
                let around = [[0, 0], [1, 0], [1, 1], [0, 1]].map(|[db, dc]| {
                    let mut beside = cell;
                    beside[b] -= db;
                    beside[c] -= dc;
                    vertices[number(beside)]
                });
                surface.quad(around, here == is_right_handed);
            }
        }
        surface
    }

    /// The mean of the middles of a cell's edges that cross the surface, in blocks; `None` where none does.
    fn vertex(&self, cell: [usize; 3]) -> Option<[f64; 3]> {
        let corner = |corner: usize| {
            let mut at = cell;
            for (at, step) in at.iter_mut().zip(CORNERS[corner]) {
                *at += step;
            }
            at
        };
        let (mut sum, mut count) = ([0.0; 3], 0);
        for [a, b] in EDGES.map(|[a, b]| [corner(a), corner(b)]) {
            if self.at(a) != self.at(b) {
                count += 1;
                for axis in 0..3 {
                    sum[axis] += (a[axis] + b[axis]) as f64 / 2.0;
                }
            }
        }
        (count > 0).then(|| sum.map(|v| v / f64::from(count)))
    }

    fn in_patient(&self, point: [f64; 3], grid: &VolumeGeometry) -> [f32; 3] {
        let side = self.side as f64;
        // The middle of block 1 is the middle of its voxels.
        let voxel = [0, 1, 2]
            .map(|axis| self.start[axis] as f64 + (point[axis] - 1.0) * side + (side - 1.0) / 2.0);
        let rows = grid.patient_from_voxel();
        rows.map(|row| (row[3] + (0..3).map(|axis| row[axis] * voxel[axis]).sum::<f64>()) as f32)
    }
}

impl Surface {
    fn quad(&mut self, [a, b, c, d]: [u32; 4], forward: bool) {
        let quad = if forward { [a, b, c, d] } else { [a, d, c, b] };
        let [a, b, c, d] = quad;
        self.triangles.extend([[a, b, c], [a, c, d]]);
    }
}

fn determinant(grid: &VolumeGeometry) -> f64 {
    let [x, y, z] = grid.patient_from_voxel();
    x[0] * (y[1] * z[2] - y[2] * z[1]) - x[1] * (y[0] * z[2] - y[2] * z[0])
        + x[2] * (y[0] * z[1] - y[1] * z[0])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use synthfm_image::{Plane, run_lengths};

    use super::*;

    fn grid(shape: [usize; 3], left: f64) -> VolumeGeometry {
        let affine = [
            [left, 0.0, 0.0, 10.0],
            [0.0, 2.0, 0.0, 20.0],
            [0.0, 0.0, 3.0, 30.0],
        ];
        VolumeGeometry::new(shape, affine).unwrap()
    }

    fn bits(grid: &VolumeGeometry, inside: impl Fn([usize; 3]) -> bool) -> BitVolume {
        let mut bits = BitVolume::default();
        let [ni, nj, nk] = grid.shape();
        assert_eq!(grid.slice_axis(Plane::Axial), 2);
        for k in 0..nk {
            let mut row = vec![false; ni * nj];
            for (place, voxel) in grid.slice_voxels(Plane::Axial, k).unwrap().enumerate() {
                row[place] = inside([voxel % ni, voxel / ni % nj, k]);
            }
            bits.set_slice(grid, Plane::Axial, k, &run_lengths(row))
                .unwrap();
        }
        bits
    }

    /// Volume by the divergence theorem; positive where triangles turn outwards.
    fn volume(surface: &Surface) -> f64 {
        let at = |n: u32| surface.points[n as usize].map(f64::from);
        let six = surface.triangles.iter().map(|&[a, b, c]| {
            let ([ax, ay, az], [bx, by, bz], [cx, cy, cz]) = (at(a), at(b), at(c));
            ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx)
        });
        six.sum::<f64>() / 6.0
    }

    /// Every edge belongs to two triangles that run along it in opposite directions.
    fn is_closed(surface: &Surface) -> bool {
        let mut edges: BTreeMap<[u32; 2], i32> = BTreeMap::new();
        for &[a, b, c] in &surface.triangles {
            for [from, to] in [[a, b], [b, c], [c, a]] {
                *edges.entry([from.min(to), from.max(to)]).or_default() +=
                    if from < to { 1 } else { -1 };
            }
        }
        edges.values().all(|sum| *sum == 0)
    }

    #[test]
    fn one_voxel_is_a_box_of_a_third_of_its_side() {
        for left in [1.0, -1.0] {
            let grid = grid([5, 4, 3], left);
            let surface = Surface::of(&bits(&grid, |at| at == [2, 1, 1]), &grid);
            assert_eq!((surface.points.len(), surface.triangles.len()), (8, 12));
            // Each corner is the mean of three middles, one of them half a voxel along each axis: a sixth from the centre.
            let x: Vec<f32> = surface
                .points
                .iter()
                .map(|p| p[0] - (10.0 + 2.0 * left as f32))
                .collect();
            assert!(
                x.iter().all(|x| (x.abs() - 1.0 / 6.0).abs() < 1e-5),
                "{x:?}"
            );
            assert!(is_closed(&surface));
            assert!(
                (volume(&surface) - 6.0 / 27.0).abs() < 1e-4,
                "{}",
                volume(&surface)
            );
        }
    }

    #[test]
    fn a_large_ball_is_closed_and_has_its_volume() {
        let grid = VolumeGeometry::with_spacing([260, 250, 240], [1.0; 3]).unwrap();
        let inside = |[i, j, k]: [usize; 3]| {
            let far = |at: usize, middle: f64| (at as f64 - middle).powi(2);
            far(i, 130.0) + far(j, 125.0) + far(k, 120.0) < 115.0 * 115.0
        };
        let surface = Surface::of(&bits(&grid, inside), &grid);
        assert!(is_closed(&surface));
        let ball = 4.0 / 3.0 * std::f64::consts::PI * 115f64.powi(3);
        let share = volume(&surface) / ball;
        assert!((0.95..1.02).contains(&share), "{share}");
        assert!(surface.triangles.len() < 200_000);
        let bytes = surface.bytes();
        assert_eq!(
            bytes.len(),
            8 + 12 * (surface.points.len() + surface.triangles.len())
        );
    }

    #[test]
    fn nothing_has_no_surface_and_the_edge_of_the_image_is_closed() {
        let grid = grid([5, 4, 3], 1.0);
        assert!(
            Surface::of(&BitVolume::default(), &grid)
                .triangles
                .is_empty()
        );
        let all = Surface::of(&bits(&grid, |_| true), &grid);
        assert!(is_closed(&all) && volume(&all) > 0.0);
    }
}
