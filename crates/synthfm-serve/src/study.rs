//! An opened image or volume: its slices for the page and for the model.
//!
//! A picture is a volume of one axial slice whose spacing is unknown. The page gets intensities as 16-bit steps over
//! their range, so that window and level act at once; the model gets 8 bits through the window that the page shows.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use sha2::{Digest, Sha256};
use synthfm_image::{
    FileFormat, ImageFile, OpenOptions, Picture, Plane, Presentation, ReadOptions, RgbImage,
    ScanInfo, Size, Volume, VolumeGeometry, hex, open_scan,
};

use super::annotation::PlaneName;
use super::directions;

/// Longest side of a slice: what a browser's canvas shows.
pub(super) const MAX_SIDE: usize = 16_384;
const STEPS: f32 = 65_535.0;
/// Black and white of 8-bit values.
const BYTES: [f32; 2] = [0.0, 255.0];

/// An image in memory.
#[derive(Debug)]
pub(super) struct Study {
    grid: VolumeGeometry,
    pixels: Pixels,
    is_picture: bool,
    /// Shown as black and white unless the page says otherwise.
    window: [f32; 2],
    scale: Scale,
    /// Whether the values of a volume look like Hounsfield units.
    hounsfield: bool,
    /// Facts about the file beside its values.
    info: Option<ScanInfo>,
    /// Which volume this is, in a file with several.
    volumes: Option<Volumes>,
}

/// The volumes of a file, of which one is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Volumes {
    pub(super) count: u64,
    /// Counted from 1.
    pub(super) shown: u64,
}

#[derive(Debug)]
enum Pixels {
    Grey(Volume),
    Rgb(RgbImage),
}

/// `intensity = offset + step * value` for the 16-bit values of the page.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Scale {
    /// The lowest value.
    offset: f32,
    step: f32,
    /// The highest value.
    high: f32,
}

/// Size, spacing and number of slices of a plane of the image.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PlaneInfo {
    name: PlaneName,
    slices: usize,
    height: usize,
    width: usize,
    /// Between rows and between columns; both 1 where it is not known.
    spacing_mm: [f64; 2],
    /// Where slice numbers lead: L, R, P, A, S or I, as in [`VolumeGeometry::axis_codes`].
    along: char,
    /// Array indices `i, j, k` of the first pixel of slice 0.
    first_voxel: [usize; 3],
    /// How they change from a column to the next, from a row to the next, and from a slice to the next.
    voxel_steps: [[i64; 3]; 3],
    /// Where the left, right, upper and lower edge lead in the patient: L, R, P, A, S or I, with a second or third letter
    /// where the axis is oblique; `None` where the file does not say.
    letters: Option<[String; 4]>,
}

impl Study {
    /// Reads a file, or an image of a folder of DICOM files, of at most `max_bytes`. Of a file with several volumes
    /// `series` is the number of one, from 1, and the first by default. Data files of detached headers must lie below
    /// `root`.
    pub(super) fn read(
        path: &Path,
        series: Option<&str>,
        max_bytes: u64,
        root: &Path,
    ) -> synthfm_image::Result<Self> {
        let options = OpenOptions {
            read: ReadOptions { max_bytes },
            series: series.map(str::to_owned),
            first_of_several: true,
            data_root: Some(root.to_owned()),
        };
        let shown = series.and_then(|number| number.parse().ok());
        let scan = open_scan(path, &options)?;
        let volumes = scan.info.volumes;
        let mut study = match scan.content {
            ImageFile::Volume(volume) => Self::of_volume(volume, &scan.info)?,
            ImageFile::Picture(picture) => Self::of_picture(picture, &scan.info)?,
        };
        if scan.info.inverted {
            study.invert();
        }
        let mut info = scan.info;
        if study.is_blank() {
            let note = "no value of the image is a finite number: there is nothing to see";
            info.warnings.push(note.to_owned());
        }
        study.info = Some(info);
        study.volumes = (volumes > 1).then_some(Volumes {
            count: volumes,
            shown: shown.unwrap_or(1),
        });
        let planes = study.planes();
        let longest = planes.iter().map(|p| p.height.max(p.width)).max();
        let shape = study.grid.shape();
        let problem = if study.grid.is_empty() {
            format!("an image without pixels ({shape:?})")
        } else if longest > Some(MAX_SIDE) {
            format!("{shape:?} pixels; up to {MAX_SIDE} along each side can be shown")
        } else if u32::try_from(study.grid.len()).is_err() {
            format!("{shape:?} voxels; up to {} can be annotated", u32::MAX)
        } else {
            return Ok(study);
        };
        Err(synthfm_image::Error::Unsupported {
            path: path.to_owned(),
            problem,
        })
    }

    fn of_volume(volume: Volume, info: &ScanInfo) -> synthfm_image::Result<Self> {
        let shown = Presentation::of_volume(&volume, info, None)?;
        Ok(Self {
            grid: volume.geometry().clone(),
            scale: Scale::of(volume.data()),
            hounsfield: looks_hounsfield(&volume, info, &shown)?,
            window: shown_range(&shown),
            pixels: Pixels::Grey(volume),
            is_picture: false,
            info: None,
            volumes: None,
        })
    }

    /// An image that a viewer has sent: numbers without a file. A single slice of bytes is seen as it is.
    pub(super) fn of_values(volume: Volume) -> synthfm_image::Result<Self> {
        let info = ScanInfo::of_format(FileFormat::Npy);
        let flat = volume
            .geometry()
            .shape()
            .iter()
            .filter(|&&length| length == 1)
            .count()
            > 0;
        let bytes = |v: &f32| (0.0..=255.0).contains(v) && v.fract() == 0.0;
        let window = if flat && volume.data().iter().all(bytes) {
            BYTES
        } else {
            shown_range(&Presentation::of_volume(&volume, &info, None)?)
        };
        Ok(Self {
            grid: volume.geometry().clone(),
            pixels: Pixels::Grey(volume),
            is_picture: false,
            window,
            // Of pages alone, which do not see it.
            scale: Scale {
                offset: 0.0,
                step: 1.0,
                high: 1.0,
            },
            hounsfield: false,
            info: None,
            volumes: None,
        })
    }

    fn of_picture(picture: Picture, info: &ScanInfo) -> synthfm_image::Result<Self> {
        let Size { height, width } = picture.size();
        let grid = VolumeGeometry::with_spacing([width, height, 1], [1.0; 3])?;
        Ok(match picture {
            Picture::Rgb(rgb) => Self {
                grid,
                pixels: Pixels::Rgb(rgb),
                is_picture: true,
                window: BYTES,
                scale: Scale {
                    offset: 0.0,
                    step: 1.0,
                    high: 255.0,
                },
                hounsfield: false,
                info: None,
                volumes: None,
            },
            Picture::Grey(image) => Self {
                window: shown_range(&Presentation::of_picture(&image, info, None)?),
                scale: Scale::of(image.data()),
                pixels: Pixels::Grey(Volume::new(grid.clone(), image.into_data())?),
                grid,
                is_picture: true,
                hounsfield: false,
                info: None,
                volumes: None,
            },
        })
    }

    /// Turns a picture whose lowest values are white (MONOCHROME1) into one whose lowest are black: page and model then
    /// need not know.
    fn invert(&mut self) {
        if let Pixels::Grey(volume) = &mut self.pixels {
            let data = volume.data().iter().map(|v| -v).collect();
            *volume = Volume::new(self.grid.clone(), data).expect("one value per voxel");
            self.scale = Scale::of(volume.data());
            let [low, high] = self.window;
            self.window = [-high, -low];
        }
    }

    pub(super) const fn grid(&self) -> &VolumeGeometry {
        &self.grid
    }

    /// Warnings about how the file was read.
    pub(super) fn warnings(&self) -> &[String] {
        let info = self.info.as_ref();
        info.map_or(&[], |info| info.warnings.as_slice())
    }

    /// Facts about the file beside its values.
    pub(super) const fn info(&self) -> Option<&ScanInfo> {
        self.info.as_ref()
    }

    /// The hash of the instances that form the image, where it is read from DICOM files.
    pub(super) fn identity(&self) -> Option<String> {
        let info = self.info.as_ref()?;
        info.dicom.as_ref().map(|series| series.identity())
    }

    /// A hash of the values.
    pub(super) fn content(&self) -> String {
        let mut digest = Sha256::new();
        match &self.pixels {
            Pixels::Rgb(rgb) => digest.update(rgb.data()),
            Pixels::Grey(volume) => {
                for values in volume.data().chunks(1 << 14) {
                    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                    digest.update(&bytes);
                }
            }
        }
        hex(&digest.finalize())
    }

    /// Whether there is no finite value.
    fn is_blank(&self) -> bool {
        match &self.pixels {
            Pixels::Rgb(_) => false,
            Pixels::Grey(volume) => !volume.data().iter().any(|v| v.is_finite()),
        }
    }

    /// How many volumes the file has, and which one this is; `None` where there is one.
    pub(super) const fn volumes(&self) -> Option<Volumes> {
        self.volumes
    }

    pub(super) const fn is_picture(&self) -> bool {
        self.is_picture
    }

    pub(super) const fn is_colour(&self) -> bool {
        matches!(self.pixels, Pixels::Rgb(_))
    }

    pub(super) const fn window(&self) -> [f32; 2] {
        self.window
    }

    /// Whether the values of a volume look like Hounsfield units.
    pub(super) const fn is_hounsfield(&self) -> bool {
        self.hounsfield
    }

    pub(super) const fn scale(&self) -> Scale {
        self.scale
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        match &self.pixels {
            Pixels::Grey(volume) => size_of_val(volume.data()),
            Pixels::Rgb(rgb) => rgb.data().len(),
        }
    }

    /// The planes that can be looked at.
    pub(super) fn planes(&self) -> Vec<PlaneInfo> {
        let all = PlaneName::ALL.iter();
        let shown = all.take(if self.is_picture { 1 } else { 3 });
        let info = |&name: &PlaneName| {
            let plane = name.into();
            let Size { height, width } = self.grid.slice_size(plane);
            let along = self
                .grid
                .axis_codes()
                .chars()
                .nth(self.grid.slice_axis(plane));
            PlaneInfo {
                name,
                slices: self.grid.slice_count(plane),
                height,
                width,
                spacing_mm: self
                    .pixel_spacing_mm()
                    .unwrap_or_else(|| self.grid.slice_spacing_mm(plane)),
                along: along.unwrap_or('S'),
                first_voxel: directions::first_voxel(&self.grid, plane),
                voxel_steps: directions::voxel_steps(&self.grid, plane),
                letters: self
                    .has_place()
                    .then(|| directions::edge_letters(&self.grid, plane)),
            }
        };
        shown.map(info).collect()
    }

    /// Whether it is known where the voxels lie in the patient.
    fn has_place(&self) -> bool {
        !self.is_picture && self.grid.states_place()
    }

    /// LPS millimetres of array indices, where the file says so.
    pub(super) fn patient_from_voxel(&self) -> Option<[[f64; 4]; 3]> {
        self.has_place().then(|| self.grid.patient_from_voxel())
    }

    /// Where the array's axes lead, as in [`VolumeGeometry::axis_codes`].
    pub(super) fn axes(&self) -> Option<String> {
        self.has_place().then(|| self.grid.axis_codes())
    }

    /// Distances between rows and columns of a picture, where the file says so.
    fn pixel_spacing_mm(&self) -> Option<[f64; 2]> {
        let info = self.info.as_ref().filter(|_| self.is_picture)?;
        info.pixel_spacing_mm
            .filter(|spacing| spacing.iter().all(|mm| mm.is_finite() && *mm > 0.0))
    }

    /// Whether distances are in millimetres rather than in pixels.
    pub(super) fn has_spacing(&self) -> bool {
        !self.is_picture || self.pixel_spacing_mm().is_some()
    }

    /// Black and white as the file itself recommends.
    pub(super) fn own_window(&self) -> Option<[f32; 2]> {
        let info = self.info.as_ref()?;
        let windows = info
            .windows
            .iter()
            .chain(info.slice_windows.iter().flatten());
        let recommends = windows.count() > 0;
        recommends.then_some(self.window)
    }

    /// Width and level of [`Self::own_window`] as a DICOM file gives them: its width counts both ends, so that it is one
    /// more than their distance, and its level lies half a unit higher.
    pub(super) fn own_numbers(&self) -> Option<[f32; 2]> {
        let [low, high] = self.own_window()?;
        let info = self.info.as_ref()?;
        let (width, level) = (high - low, f32::midpoint(low, high));
        let counts_ends =
            info.format == FileFormat::Dicom && (level.fract().abs() - 0.5).abs() < 1e-3;
        let more = if counts_ends { 1.0 } else { 0.0 };
        Some([width + more, level + more / 2.0])
    }

    /// Refuses slices that are not there.
    pub(super) fn check(&self, plane: PlaneName, index: usize) -> Result<()> {
        let count = self.grid.slice_count(plane.into());
        ensure!(
            index < count,
            "{plane} slice {index} does not exist: there are {count}, counted from 0"
        );
        ensure!(
            plane == PlaneName::Axial || !self.is_picture,
            "a picture has no {plane} plane"
        );
        Ok(())
    }

    /// A slice for the page: RGB bytes of a colour picture, otherwise 16-bit little-endian steps.
    pub(super) fn slice_bytes(&self, plane: PlaneName, index: usize) -> Result<Vec<u8>> {
        self.check(plane, index)?;
        match &self.pixels {
            Pixels::Rgb(rgb) => Ok(rgb.data().to_vec()),
            Pixels::Grey(volume) => {
                let voxels = self.grid.slice_voxels(plane.into(), index)?;
                let values = voxels.map(|voxel| self.scale.steps(volume.data()[voxel]));
                Ok(values.flat_map(u16::to_le_bytes).collect())
            }
        }
    }

    /// A slice as the model sees it.
    pub(super) fn model_input(
        &self,
        plane: PlaneName,
        index: usize,
        window: [f32; 2],
    ) -> Result<RgbImage> {
        self.check(plane, index)?;
        match &self.pixels {
            Pixels::Rgb(rgb) => windowed(rgb, window),
            Pixels::Grey(volume) => {
                let plane: Plane = plane.into();
                let slice = volume.slice(plane, index)?;
                let [low, high] = window;
                Ok(slice.image.to_rgb8(low, high))
            }
        }
    }
}

/// A colour picture through a window on each channel.
fn windowed(rgb: &RgbImage, [low, high]: [f32; 2]) -> Result<RgbImage> {
    let scale = 255.0 / (high - low);
    let map = |v: &u8| ((f32::from(*v) - low) * scale).clamp(0.0, 255.0).round() as u8;
    let data = rgb.data().iter().map(map).collect();
    RgbImage::new(rgb.size(), data).context("a picture through a window keeps its size")
}

impl Scale {
    /// Whole numbers over a range of 16 bits stay exact; anything else is divided into 65,535 steps.
    fn of(values: &[f32]) -> Self {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let (low, high) = finite().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low > high {
            return Self {
                offset: 0.0,
                step: 1.0,
                high: 1.0,
            };
        }
        let exact = high - low <= STEPS && finite().all(|v| v.fract() == 0.0);
        let wide = (f64::from(high) - f64::from(low)) / f64::from(STEPS);
        let step = if exact || high <= low {
            1.0
        } else {
            wide as f32
        };
        Self {
            offset: low,
            step,
            high,
        }
    }

    /// The nearest step; what is not finite is the lowest.
    fn steps(self, value: f32) -> u16 {
        ((value - self.offset) / self.step)
            .round()
            .clamp(0.0, STEPS) as u16
    }
}

/// Whether nobody says what a volume is and its values look like Hounsfield units, whatever window the file recommends.
fn looks_hounsfield(
    volume: &Volume,
    info: &ScanInfo,
    shown: &Presentation,
) -> synthfm_image::Result<bool> {
    let says = |shown: &Presentation| {
        let source = shown.source.as_ref();
        source.is_some_and(|source| source.contains("Hounsfield"))
    };
    if info.modality.is_some() || info.windows.is_empty() {
        return Ok(says(shown));
    }
    let bare = ScanInfo::of_format(info.format);
    Ok(says(&Presentation::of_volume(volume, &bare, None)?))
}

/// Black and white of a presentation; around a single value a window of width 1.
fn shown_range(shown: &Presentation) -> [f32; 2] {
    let Some(window) = &shown.window else {
        return BYTES;
    };
    let (low, high) = (window.low, window.high);
    if low < high {
        [low, high]
    } else {
        [low - 0.5, low + 0.5]
    }
}

/// The window of a request, or the default.
pub(super) fn window_or(window: Option<[f32; 2]>, default: [f32; 2]) -> Result<[f32; 2], String> {
    match window {
        None => Ok(default),
        Some([low, high]) if low < high && (high - low).is_finite() => Ok([low, high]),
        Some(_) => Err("the window is out of range".to_owned()),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers and halves are exact")]
mod tests;
