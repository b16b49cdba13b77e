//! Contact sheets: many samples at a glance, targets outlined in colours, the gist of the recipe below.

use synthfm_image::draw::{self, Colour};
use synthfm_image::{Mask, Result, RgbImage, Size};

use crate::config::VolumeSize;
use crate::params::{Effect, Modality, NoiseParams, SampleParams, SceneKind};
use crate::sample::Sample;
use crate::volume::{VolumeParams, VolumeSample, VolumeScene};

/// Longer side of a picture in pixels, and the width of a tile: 42 letters.
const PICTURE_PX: usize = 256;
/// From one line of text to the next.
const LINE_PX: usize = 10;
/// Lines of text.
const LINES: usize = 2;
/// Between tiles.
const GAP_PX: usize = 6;

const TEXT: Colour = [225; 3];

/// Colours of the outlines, repeated.
const COLOURS: [Colour; 8] = [
    [230, 60, 60],
    [60, 200, 80],
    [80, 140, 255],
    [240, 200, 40],
    [220, 80, 220],
    [60, 210, 210],
    [250, 140, 40],
    [160, 220, 120],
];

/// The sample with its outlines, shrunk to at most 256 pixels, above two lines of text: index, kind of scene, look
/// and number of targets; noise in the order in which it acts.
pub fn tile(params: &SampleParams, sample: &Sample) -> Result<RgbImage> {
    let picture = picture(sample)?;
    let Size { height, width } = picture.size();
    let mut tile = RgbImage::zeros(Size::new(height + 2 + LINES * LINE_PX, PICTURE_PX));
    let stride = 3 * PICTURE_PX;
    let lines = tile.data_mut().chunks_exact_mut(stride);
    for (to, from) in lines.zip(picture.data().chunks_exact(3 * width)) {
        to[..3 * width].copy_from_slice(from);
    }
    for (n, line) in summary(params, sample.targets.len()).iter().enumerate() {
        draw::text(&mut tile, (height + 2 + n * LINE_PX, 2), line, TEXT);
    }
    Ok(tile)
}

/// Side of each of the three planes of a volume in pixels.
const PLANE_PX: usize = 128;

/// Strength of the label colours.
const TINT: f32 = 0.35;

/// Three planes of a volume through the middle of its first target (without one, through its own middle): a slice, and
/// the cuts along its rows and along its columns, in true proportions, with target colours; below them two lines of
/// text.
pub fn volume_tile(params: &VolumeParams, sample: &VolumeSample) -> Result<RgbImage> {
    let labels = sample.target_labels();
    let VolumeSize {
        depth,
        height,
        width,
    } = sample.size;
    let [z, y, x] = middle(sample);
    let [dz, dy, dx] = sample.spacing_mm;
    let longest = (dz * depth as f32)
        .max(dy * height as f32)
        .max(dx * width as f32);
    let at = |slice: usize, row: usize, col: usize| (slice * height + row) * width + col;
    let mut tile = RgbImage::zeros(Size::new(
        PLANE_PX + 2 + LINES * LINE_PX,
        3 * PLANE_PX + 2 * GAP_PX,
    ));
    let planes: [(Cut, Voxel<'_>); 3] = [
        (Cut([height, width], [dy, dx]), &|row, col| at(z, row, col)),
        (Cut([depth, width], [dz, dx]), &|row, col| at(row, y, col)),
        (Cut([depth, height], [dz, dy]), &|row, col| at(row, col, x)),
    ];
    for (k, (Cut(counts, spacing), voxel)) in planes.into_iter().enumerate() {
        let side = |axis: usize| {
            let length = counts[axis] as f32 * spacing[axis];
            ((length / longest * PLANE_PX as f32) as usize).clamp(1, PLANE_PX)
        };
        let (rows, columns) = (side(0), side(1));
        for row in 0..rows {
            for col in 0..columns {
                let voxel = voxel(row * counts[0] / rows, col * counts[1] / columns);
                let colour = tinted(sample.image[voxel], labels[voxel]);
                let pixel = row * tile.size().width + k * (PLANE_PX + GAP_PX) + col;
                tile.data_mut()[3 * pixel..3 * pixel + 3].copy_from_slice(&colour);
            }
        }
    }
    for (n, line) in volume_summary(params, sample).iter().enumerate() {
        draw::text(&mut tile, (PLANE_PX + 2 + n * LINE_PX, 2), line, TEXT);
    }
    Ok(tile)
}

/// Index of the voxel at a row and a column of a cut.
type Voxel<'a> = &'a dyn Fn(usize, usize) -> usize;

/// Numbers of voxels along both axes of a cut, and their distances.
struct Cut([usize; 2], [f32; 2]);

/// A voxel near the middle of the first target in its largest slice.
fn middle(sample: &VolumeSample) -> [usize; 3] {
    let VolumeSize {
        depth,
        height,
        width,
    } = sample.size;
    let own = sample.targets.first().and_then(|target| {
        let slice = target.largest_slice();
        let centre = target.slice(slice).centroid()?;
        Some([slice, centre.y as usize, centre.x as usize])
    });
    let [z, y, x] = own.unwrap_or([depth / 2, height / 2, width / 2]);
    [z.min(depth - 1), y.min(height - 1), x.min(width - 1)]
}

fn tinted(value: f32, label: u16) -> Colour {
    let grey = value.clamp(0.0, 1.0) * 255.0;
    if label == 0 {
        return [grey as u8; 3];
    }
    let colour = COLOURS[usize::from(label - 1) % COLOURS.len()];
    colour.map(|c| (grey * (1.0 - TINT) + f32::from(c) * TINT) as u8)
}

fn volume_summary(params: &VolumeParams, sample: &VolumeSample) -> [String; LINES] {
    let scene = match params.scene {
        VolumeScene::LabelMap => "label map",
        VolumeScene::Torso => "torso",
        VolumeScene::Head => "head",
        VolumeScene::Limb => "limb",
        VolumeScene::CloseUp => "close-up",
        VolumeScene::Vessels => "vessels",
        VolumeScene::Layered => "layers",
    };
    let (index, look, count) = (params.index, look(params.look), sample.targets.len());
    let plural = if count == 1 { "" } else { "s" };
    let VolumeSize {
        depth,
        height,
        width,
    } = sample.size;
    let [z, y, _] = sample.spacing_mm;
    [
        format!("#{index} {scene}, {look}, {count} target{plural}"),
        format!("{depth} x {height} x {width}, {z:.2} x {y:.2} mm"),
    ]
}

/// Tiles in a nearly square grid, row by row. Fails if there is none.
pub fn sheet(tiles: &[RgbImage]) -> Result<RgbImage> {
    let columns = tiles.len().isqrt();
    let columns = columns + usize::from(columns * columns < tiles.len());
    draw::grid(tiles, columns, GAP_PX)
}

fn picture(sample: &Sample) -> Result<RgbImage> {
    let size = sample.image.size();
    let longer = size.height.max(size.width).max(PICTURE_PX);
    let side = |length: usize| (length * PICTURE_PX / longer).max(1);
    let small = Size::new(side(size.height), side(size.width));
    let mut picture = draw::resize_rgb(&sample.image.to_rgb8(0.0, 1.0), small);
    for (target, &colour) in sample.targets.iter().zip(COLOURS.iter().cycle()) {
        draw::outline_on(&mut picture, &shrunk(&target.mask, small)?, colour)?;
    }
    Ok(picture)
}

/// The mask at the nearest pixels.
fn shrunk(mask: &Mask, small: Size) -> Result<Mask> {
    let size = mask.size();
    let pixel = |at: usize| {
        let (row, col) = (at / small.width, at % small.width);
        mask.at(
            row * size.height / small.height,
            col * size.width / small.width,
        )
    };
    Mask::new(small, (0..small.area()).map(pixel).collect())
}

fn summary(params: &SampleParams, targets: usize) -> [String; LINES] {
    let (index, scene, look) = (params.index, scene(params.scene), look(params.look));
    let plural = if targets == 1 { "" } else { "s" };
    let noise: Vec<&str> = params.acquisition.iter().filter_map(noise).collect();
    let noise = if noise.is_empty() {
        "no noise".to_owned()
    } else {
        noise.join(" + ")
    };
    [
        format!("#{index} {scene}, {look}, {targets} target{plural}"),
        noise,
    ]
}

const fn scene(kind: SceneKind) -> &'static str {
    match kind {
        SceneKind::LabelMap => "label map",
        SceneKind::CloseUp => "close-up",
        SceneKind::Body => "body",
        SceneKind::Sonogram => "layers",
        SceneKind::Cells => "cells",
        SceneKind::ChestRadiograph => "pair",
        SceneKind::Vessels => "vessels",
        SceneKind::Heart => "heart",
        SceneKind::Head => "head",
        SceneKind::Limb => "limb",
    }
}

const fn look(look: Modality) -> &'static str {
    match look {
        Modality::Free => "free look",
        Modality::Ct => "CT",
        Modality::Mr => "MR",
        Modality::Ultrasound => "ultrasound",
        Modality::Xray => "X-ray",
        Modality::Microscopy => "microscopy",
    }
}

/// Noise by its member of the library; images along beams have speckle of their own.
const fn noise(effect: &Effect) -> Option<&'static str> {
    match effect {
        Effect::Ultrasound(_) => Some("beams"),
        Effect::Noise(NoiseParams::Gaussian { .. }) => Some("gaussian"),
        Effect::Noise(NoiseParams::Poisson { .. }) => Some("poisson"),
        Effect::Noise(NoiseParams::Perlin { .. }) => Some("perlin"),
        Effect::Noise(NoiseParams::Speckle { .. }) => Some("speckle"),
        Effect::Noise(NoiseParams::Rician { .. }) => Some("rician"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::{Image, LabelMap};

    use super::*;
    use crate::config::GeneratorConfig;

    fn drawn(height: usize, width: usize) -> (SampleParams, Sample) {
        let mut config = GeneratorConfig::default();
        (config.size.height, config.size.width) = (height, width);
        let params = SampleParams::draw(&config, 3, 1_234_567);
        let sample = Sample {
            image: Image::zeros(params.size()),
            label_map: LabelMap::zeros(params.size()),
            targets: Vec::new(),
        };
        (params, sample)
    }

    #[test]
    fn the_summary_says_what_the_recipe_holds() {
        let (mut params, _) = drawn(128, 128);
        (params.scene, params.look) = (SceneKind::LabelMap, Modality::Mr);
        let (seed, sigma, grain) = (0, 0.1, [0.0; 2]);
        params.acquisition = [
            NoiseParams::Rician { seed, sigma, grain },
            NoiseParams::Poisson { seed, counts: 9.0 },
        ]
        .map(Effect::Noise)
        .into();
        let lines = summary(&params, 1);
        assert_eq!(
            lines,
            ["#1234567 label map, MR, 1 target", "rician + poisson"]
        );
        params.acquisition.clear();
        assert_eq!(summary(&params, 0)[1], "no noise");
    }

    /// Text is drawn below the picture alone, and fits beside narrow pictures too.
    #[test]
    fn tiles_are_as_wide_as_their_text() {
        for ((height, width), shown) in [((256, 512), 128), ((1024, 128), 256), ((130, 140), 130)] {
            let (params, sample) = drawn(height, width);
            let tile = tile(&params, &sample).unwrap();
            assert_eq!(tile.size(), Size::new(shown + 22, 256));
            let (picture, text) = tile.data().split_at(3 * 256 * shown);
            assert!(picture.iter().all(|&v| v == 0));
            let lit = text.chunks_exact(3).filter(|pixel| *pixel == TEXT).count();
            assert!(lit > 300, "{lit}");
        }
    }

    #[test]
    fn sheets_are_nearly_square_and_need_a_tile() {
        let tile = RgbImage::zeros(Size::new(20, 30));
        let size = sheet(&vec![tile; 5]).unwrap().size();
        assert_eq!(size, Size::new(2 * 26 + 6, 3 * 36 + 6));
        assert!(sheet(&[]).is_err());
    }
}
