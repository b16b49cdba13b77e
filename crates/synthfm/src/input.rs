//! From a file to the 8-bit picture that a model sees, and from a mask back to a file of the same grid.
//!
//! 8-bit pictures are taken as they are; 16-bit ones and volumes pass through a window, by default the 0.5 and
//! 99.5 percentiles of the whole picture or volume, as in the evaluation.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use synthfm_image::{
    Image, ImageFile, LabelFile, LabelMap, LabelVolume, Mask, Picture, Plane, ReadOptions,
    RgbImage, Volume, VolumeGeometry, read_image, read_labels, write_label_nifti, write_mask_png,
};
use synthfm_train::dataset::percentile_window;

use crate::cli::{ViewArgs, numbers};
use crate::output::usage;

/// Radiology's windows for CT: name, width, level in Hounsfield units.
pub(crate) const WINDOWS: [(&str, f64, f64); 6] = [
    ("abdomen", 400.0, 40.0),
    ("lung", 1500.0, -600.0),
    ("bone", 1800.0, 400.0),
    ("brain", 80.0, 40.0),
    ("mediastinum", 350.0, 50.0),
    ("liver", 150.0, 30.0),
];

/// Intensities from black to white, given by width and level (centre).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    low: f32,
    high: f32,
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = WINDOWS.iter().find(|(name, ..)| *name == text);
        let [width, level] = match named {
            Some(&(_, width, level)) => [width, level],
            None => numbers(
                text,
                "width,level or abdomen, lung, bone, brain, mediastinum, liver",
            )?,
        };
        if width <= 0.0 {
            return Err("the width must be above 0".to_owned());
        }
        let [low, high] = [level - width / 2.0, level + width / 2.0].map(|v| v as f32);
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err("the window is out of range".to_owned());
        }
        Ok(Self { low, high })
    }
}

/// Which part of a file is shown, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) slice: Option<usize>,
    pub(crate) plane: Plane,
    pub(crate) window: Option<Window>,
}

impl From<&ViewArgs> for View {
    fn from(args: &ViewArgs) -> Self {
        Self {
            slice: args.slice,
            plane: args.axis.into(),
            window: args.window,
        }
    }
}

/// Where the picture lies in its file.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// It is the file.
    Picture,
    /// A slice of a volume.
    Slice {
        geometry: Box<VolumeGeometry>,
        plane: Plane,
        index: usize,
    },
}

/// What a model sees of a file.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) rgb: RgbImage,
    pub(crate) place: Place,
    /// Intensities shown as black and white; `None` if they were taken as they are.
    pub(crate) window: Option<[f32; 2]>,
}

/// Reads a picture, or one slice of a volume.
pub(crate) fn read(path: &Path, view: View) -> Result<Input> {
    match read_image(path, &ReadOptions::default())? {
        ImageFile::Picture(picture) => of_picture(path, picture, view),
        ImageFile::Volume(volume) => of_volume(path, &volume, view),
    }
}

fn of_picture(path: &Path, picture: Picture, view: View) -> Result<Input> {
    if view.slice.is_some() {
        return Err(usage(format!(
            "--slice is for volumes; {} is a picture",
            path.display()
        )));
    }
    let (rgb, window) = match (picture, view.window) {
        (Picture::Rgb(_), Some(_)) => {
            let path = path.display();
            return Err(usage(format!(
                "--window is for intensities; {path} is a colour picture"
            )));
        }
        (Picture::Rgb(rgb), None) => (rgb, None),
        (Picture::Grey(image), None) if is_8_bit(&image) => (image.to_rgb8(0.0, 255.0), None),
        (Picture::Grey(image), window) => {
            let [low, high] = limits(window, image.data());
            (image.to_rgb8(low, high), Some([low, high]))
        }
    };
    let place = Place::Picture;
    Ok(Input { rgb, place, window })
}

fn is_8_bit(image: &Image) -> bool {
    let mut values = image.data().iter();
    values.all(|&v| (0.0..=255.0).contains(&v) && v.fract() == 0.0)
}

fn of_volume(path: &Path, volume: &Volume, view: View) -> Result<Input> {
    let (geometry, plane) = (volume.geometry(), view.plane);
    let count = geometry.slice_count(plane);
    let index = match view.slice {
        Some(index) => index,
        None if count == 1 => 0,
        None => {
            let path = path.display();
            return Err(usage(format!(
                "{path} is a volume of {count} {plane} slices: choose one with --slice (0 to {})",
                count.saturating_sub(1)
            )));
        }
    };
    let slice = volume
        .slice(plane, index)
        .with_context(|| path.display().to_string())?;
    let [low, high] = limits(view.window, volume.data());
    Ok(Input {
        rgb: slice.image.to_rgb8(low, high),
        place: Place::Slice {
            geometry: Box::new(geometry.clone()),
            plane,
            index,
        },
        window: Some([low, high]),
    })
}

fn limits(window: Option<Window>, values: &[f32]) -> [f32; 2] {
    match window {
        Some(Window { low, high }) => [low, high],
        None => percentile_window(values).into(),
    }
}

impl Place {
    /// The ending of a mask file.
    pub(crate) const fn ending(&self) -> &'static str {
        match self {
            Self::Picture => ".png",
            Self::Slice { .. } => ".nii.gz",
        }
    }

    /// Slice and plane, for records.
    pub(crate) fn slice(&self) -> Option<(usize, String)> {
        match self {
            Self::Picture => None,
            Self::Slice { plane, index, .. } => Some((*index, plane.to_string())),
        }
    }

    /// Refuses names that do not fit the kind of file, before any work is done.
    pub(crate) fn check_name(&self, path: &Path) -> Result<()> {
        let name = path.to_string_lossy().to_lowercase();
        let (endings, expected): (&[&str], _) = match self {
            Self::Picture => (&[".png"], "the mask of a picture is a .png file"),
            Self::Slice { .. } => (
                &[".nii", ".nii.gz"],
                "the mask of a volume is a .nii or .nii.gz file on the volume's grid",
            ),
        };
        let fits = endings.iter().any(|ending| name.ends_with(ending));
        if fits {
            return Ok(());
        }
        Err(usage(format!("-o {}: {expected}", path.display())))
    }

    /// Writes a mask on the grid of the input; a slice's mask is a volume that is empty elsewhere.
    pub(crate) fn write_mask(&self, path: &Path, mask: &Mask) -> Result<()> {
        match self {
            Self::Picture => write_mask_png(path, mask)?,
            Self::Slice {
                geometry,
                plane,
                index,
            } => {
                let mut labels = LabelVolume::zeros((**geometry).clone());
                labels.insert_slice(*plane, *index, mask, 1)?;
                write_label_nifti(path, &labels)?;
            }
        }
        Ok(())
    }

    /// Reads a mask on the grid of the input: everything but 0 is inside.
    pub(crate) fn read_mask(&self, path: &Path, input: &RgbImage) -> Result<Mask> {
        let labels = match (self, read_labels(path, &ReadOptions::default())?) {
            (_, LabelFile::Map(labels)) => labels,
            (
                Self::Slice {
                    geometry,
                    plane,
                    index,
                },
                LabelFile::Volume(labels),
            ) if labels.geometry().shape() == geometry.shape() => labels.slice(*plane, *index)?,
            (_, LabelFile::Volume(labels)) => {
                let shape = labels.geometry().shape();
                bail!(
                    "{}: a volume of {shape:?} does not lie on the grid of the input",
                    path.display()
                );
            }
        };
        inside(path, &labels, input)
    }
}

fn inside(path: &Path, labels: &LabelMap, input: &RgbImage) -> Result<Mask> {
    let (size, expected) = (labels.size(), input.size());
    if size != expected {
        bail!(
            "{}: the mask has {size} pixels, the input {expected}",
            path.display()
        );
    }
    Ok(Mask::new(
        size,
        labels.data().iter().map(|&v| v != 0).collect(),
    )?)
}

#[cfg(test)]
mod tests {
    use synthfm_image::Size;

    use super::*;

    #[test]
    fn windows_have_names_and_numbers() {
        let window = |text: &str| text.parse::<Window>();
        assert_eq!(
            window("abdomen"),
            Ok(Window {
                low: -160.0,
                high: 240.0
            })
        );
        assert_eq!(window("1500,-600"), window("lung"));
        for text in ["", "belly", "0,40", "-5,40", "1", "1e300,0", "nan,0"] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_pictures_are_stretched_and_shallow_ones_are_not() {
        let view = View {
            slice: None,
            plane: Plane::Axial,
            window: None,
        };
        let grey = |values: Vec<f32>| {
            Picture::Grey(Image::new(Size::new(1, values.len()), values).unwrap())
        };
        let shallow = of_picture(Path::new("a"), grey(vec![3.0, 200.0]), view).unwrap();
        assert_eq!((shallow.rgb.data()[0], shallow.window), (3, None));
        let deep = of_picture(Path::new("a"), grey(vec![1000.0, 3000.0]), view).unwrap();
        assert_eq!((deep.rgb.data()[0], deep.rgb.data()[3]), (0, 255));
        assert_eq!(deep.window, Some([1000.0, 3000.0]));
        // Fractions from 0 to 1, as in arrays, are no 8-bit values.
        let fractions = of_picture(Path::new("a"), grey(vec![0.0, 0.5, 1.0]), view).unwrap();
        assert_eq!(fractions.rgb.data()[3], 128);
    }
}
