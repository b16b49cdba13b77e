//! A sample as files: pictures or arrays, and its recipe.
//!
//! Value k of a label map is the k-th target. Where targets overlap the smaller one is on top, and each target that is
//! partly covered keeps its whole mask: as a picture of its own, in the archive, or as COCO's run lengths. The recipe
//! comes last: it lists the others with their hashes.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use synthfm_image::{
    GreyDepth, Mask, compressed_rle, encode_grey_png, encode_label_png, encode_mask_png,
};
use synthfm_synth::params::TargetKind;
use synthfm_synth::{Sample, SampleParams, VolumeParams, render};

use super::Format;
use super::files::{File, FileHash};
use super::settings::Settings;
use super::{npz, volumes};
use crate::output::VERSION;

/// A recipe file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Version of synthfm that drew it.
    pub(crate) synthfm: String,
    /// Everything that was drawn.
    pub(crate) recipe: SampleParams,
    /// The targets in the order of their label values.
    pub(crate) targets: Vec<TargetRecord>,
    /// The other files of the sample.
    #[serde(default)]
    pub(crate) files: Vec<FileHash>,
}

/// One target in a recipe file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetRecord {
    /// Value in the label map.
    pub(super) label: u16,
    /// Identifier in the recipe.
    pub(super) id: u16,
    pub(super) kind: TargetKind,
    pub(super) area_px: usize,
    /// File of the target's whole mask, if other targets cover a part of it in the label map.
    pub(super) mask: Option<String>,
    /// Mask and box of the target in a COCO data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) coco: Option<CocoMask>,
}

/// A mask as COCO has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CocoMask {
    /// Left, top, width and height in pixels.
    pub(super) bbox: [usize; 4],
    /// Compressed run lengths.
    pub(super) counts: String,
}

/// The name of sample `index`.
pub(super) fn case_name(index: u64) -> String {
    format!("synth_{index:08}")
}

/// The sample of a file name that begins with [`case_name`].
pub(super) fn index_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("synth_")?;
    let end = rest
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(rest.len());
    let index = rest[..end].parse().ok()?;
    name.starts_with(&case_name(index)).then_some(index)
}

/// The name of the recipe of sample `index`.
pub(super) fn recipe_name(format: Format, index: u64) -> String {
    let case = case_name(index);
    match format {
        Format::Webdataset => format!("{case}.json"),
        Format::Nnunet | Format::Npz | Format::Coco => format!("recipes/{case}.json"),
    }
}

/// Draws and renders sample `index` of a folder, or volume `index`, and gives its files, the recipe last.
pub(super) fn files_of(settings: &Settings, index: u64) -> Result<Vec<File>> {
    let (config, seed) = (&settings.generator, settings.seed);
    if config.volume.is_some() {
        return volumes::files(&VolumeParams::draw(config, seed, index));
    }
    let params = SampleParams::draw(config, seed, index);
    files(settings.format, &params, &render(&params))
}

/// The files of a sample, the recipe last.
pub(super) fn files(format: Format, params: &SampleParams, sample: &Sample) -> Result<Vec<File>> {
    let case = case_name(params.index);
    let labels = sample.target_labels();
    let mut files = Vec::new();
    let mut targets = Vec::new();
    for (label, target) in (1u16..).zip(&sample.targets) {
        let covered = || labels.mask_of(label) != target.mask;
        let mask = match format {
            Format::Nnunet if covered() => Some(format!("masksTr/{case}_{label}.png")),
            Format::Webdataset if covered() => Some(format!("{case}.mask_{label}.png")),
            _ => None,
        };
        if let Some(name) = &mask {
            files.push(file(name, encode_mask_png(&target.mask)?));
        }
        targets.push(TargetRecord {
            label,
            id: target.id,
            kind: target.kind,
            area_px: target.mask.area(),
            mask,
            coco: (format == Format::Coco).then(|| coco_mask(&target.mask)),
        });
    }
    let image = || encode_grey_png(&sample.image, 0.0..=1.0, GreyDepth::Eight);
    match format {
        Format::Nnunet => {
            let depth = GreyDepth::of_labels(&labels);
            files.push(file(&format!("imagesTr/{case}_0000.png"), image()?));
            let labels = encode_label_png(&labels, depth)?;
            files.push(file(&format!("labelsTr/{case}.png"), labels));
        }
        Format::Webdataset => {
            files.push(file(&format!("{case}.png"), image()?));
            let labels = encode_label_png(&labels, GreyDepth::Sixteen)?;
            files.push(file(&format!("{case}.mask.png"), labels));
        }
        Format::Coco => files.push(file(&format!("images/{case}.png"), image()?)),
        Format::Npz => {
            let archive = npz::archive(sample, &labels)?;
            files.push(file(&format!("samples/{case}.npz"), archive));
        }
    }
    let record = Record {
        synthfm: VERSION.to_owned(),
        recipe: params.clone(),
        targets,
        files: files.iter().map(File::hash).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&record).context("writing the recipe as JSON")?;
    json.push(b'\n');
    files.push(file(&recipe_name(format, params.index), json));
    Ok(files)
}

fn file(name: &str, bytes: Vec<u8>) -> File {
    File {
        name: name.to_owned(),
        bytes,
    }
}

fn coco_mask(mask: &Mask) -> CocoMask {
    let bbox = mask.bounding_box().map_or([0; 4], |region| {
        let side = |low: f64, high: f64| (high - low) as usize + 1;
        let (min, max) = (region.min, region.max);
        [
            min.x as usize,
            min.y as usize,
            side(min.x, max.x),
            side(min.y, max.y),
        ]
    });
    CocoMask {
        bbox,
        counts: compressed_rle(mask),
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::{Image, LabelMap, Size};
    use synthfm_synth::{GeneratorConfig, Target};

    use super::*;

    /// Two targets, the second one covered by the first.
    fn sample() -> (SampleParams, Sample) {
        let size = Size::new(1, 4);
        let target = |id, bits: [u8; 4]| Target {
            id,
            kind: TargetKind::Organ,
            mask: Mask::new(size, bits.iter().map(|&b| b == 1).collect()).unwrap(),
        };
        let sample = Sample {
            image: Image::zeros(size),
            label_map: LabelMap::zeros(size),
            targets: vec![target(7, [0, 1, 0, 0]), target(9, [1, 1, 1, 0])],
        };
        (
            SampleParams::draw(&GeneratorConfig::default(), 1, 3),
            sample,
        )
    }

    fn record(format: Format) -> (Vec<String>, Record) {
        let (params, sample) = sample();
        let mut files = files(format, &params, &sample).unwrap();
        let names = files.iter().map(|file| file.name.clone()).collect();
        let recipe = files.pop().unwrap();
        let record: Record = serde_json::from_slice(&recipe.bytes).unwrap();
        let hashes: Vec<FileHash> = files.iter().map(File::hash).collect();
        assert_eq!(record.files, hashes);
        (names, record)
    }

    #[test]
    fn smaller_targets_lie_on_top_and_covered_ones_keep_their_mask() {
        assert_eq!(sample().1.target_labels().data(), [2, 1, 2, 0]);
        for (format, mask, others) in [
            (
                Format::Nnunet,
                "masksTr/synth_00000003_2.png",
                [
                    "imagesTr/synth_00000003_0000.png",
                    "labelsTr/synth_00000003.png",
                    "recipes/synth_00000003.json",
                ],
            ),
            (
                Format::Webdataset,
                "synth_00000003.mask_2.png",
                [
                    "synth_00000003.png",
                    "synth_00000003.mask.png",
                    "synth_00000003.json",
                ],
            ),
        ] {
            let (names, record) = record(format);
            assert_eq!(names[0], mask);
            assert_eq!(names[1..], others);
            let masks: Vec<_> = record.targets.iter().map(|t| t.mask.as_deref()).collect();
            assert_eq!(masks, [None, Some(mask)]);
            assert_eq!((record.targets[1].id, record.targets[1].area_px), (9, 3));
        }
    }

    #[test]
    fn coco_masks_are_whole_also_where_they_are_covered() {
        let (names, record) = record(Format::Coco);
        assert_eq!(
            names,
            ["images/synth_00000003.png", "recipes/synth_00000003.json"]
        );
        let masks: Vec<_> = record.targets.iter().map(|t| t.coco.as_ref()).collect();
        let [Some(first), Some(second)] = masks[..] else {
            panic!("two masks expected");
        };
        assert_eq!((first.bbox, &*first.counts), ([1, 0, 1, 1], "112"));
        assert_eq!((second.bbox, &*second.counts), ([0, 0, 3, 1], "031"));
    }

    #[test]
    fn names_and_indices_belong_together() {
        assert_eq!(index_of("synth_00000012_0000.png"), Some(12));
        assert_eq!(index_of("synth_123456789.json"), Some(123_456_789));
        for name in [
            "synth_12.png",
            "synth_.png",
            "other",
            "synth_99999999999999999999",
        ] {
            assert_eq!(index_of(name), None, "{name}");
        }
    }
}
