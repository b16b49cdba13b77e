//! Volumes of intensities and of labels, on a grid that knows where it lies in the patient.
//!
//! Values are in NIfTI's order: `i` fastest, then `j`, then `k`. Slices are taken by anatomy, not
//! by array axis (see [`Plane`]).

mod geometry;
mod regrid;
mod slice;
mod stack;

pub(crate) use geometry::NiftiForms;
pub use geometry::VolumeGeometry;
pub use slice::{Plane, Slice};
pub use stack::MaskStack;

use crate::{Error, Result};

fn check(what: &'static str, geometry: &VolumeGeometry, got: usize) -> Result<()> {
    let expected = geometry.len();
    if expected == got {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            expected,
            got,
        })
    }
}

/// Intensities on a grid, in the unit of their source (CT: Hounsfield units).
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    geometry: VolumeGeometry,
    data: Vec<f32>,
}

impl Volume {
    /// Wraps values, `i` fastest. Fails if their number does not fit the geometry.
    pub fn new(geometry: VolumeGeometry, data: Vec<f32>) -> Result<Self> {
        check("Volume", &geometry, data.len())?;
        Ok(Self { geometry, data })
    }

    /// Shape and place.
    pub const fn geometry(&self) -> &VolumeGeometry {
        &self.geometry
    }

    /// The values, `i` fastest.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// Labels on a grid; 0 is background.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelVolume {
    geometry: VolumeGeometry,
    data: Vec<u16>,
}

impl LabelVolume {
    /// Wraps labels, `i` fastest. Fails if their number does not fit the geometry.
    pub fn new(geometry: VolumeGeometry, data: Vec<u16>) -> Result<Self> {
        check("LabelVolume", &geometry, data.len())?;
        Ok(Self { geometry, data })
    }

    /// All background.
    pub fn zeros(geometry: VolumeGeometry) -> Self {
        let data = vec![0; geometry.len()];
        Self { geometry, data }
    }

    /// Shape and place.
    pub const fn geometry(&self) -> &VolumeGeometry {
        &self.geometry
    }

    /// The labels, `i` fastest.
    pub fn data(&self) -> &[u16] {
        &self.data
    }

    /// The labels, `i` fastest, to change in place.
    pub fn data_mut(&mut self) -> &mut [u16] {
        &mut self.data
    }

    /// The labels that occur, background left out, in ascending order.
    pub fn labels(&self) -> Vec<u16> {
        crate::raster::labels_of(&self.data)
    }
}
