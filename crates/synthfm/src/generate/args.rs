//! The flags of `synthfm generate`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use synthfm_synth::{SizeConfig, VolumeSize};

use super::Shard;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("result").args(["out", "preview", "verify"]).required(true).multiple(true))]
pub(crate) struct GenerateArgs {
    /// Folder for the samples; a folder of the same configuration is continued
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Number of samples
    #[arg(long, value_name = "N", required_unless_present_any = ["recipe", "verify"], value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) count: Option<u64>,
    /// Seed of the data set
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Index of the first sample
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 48))]
    pub(crate) start: u64,
    /// Size in pixels: one side, or height x width as in 512x768; 128 to 2048 each
    #[arg(long, value_parser = parse_size)]
    pub(crate) size: Option<SizeConfig>,
    /// Make volumes with a drawn spacing, as NIfTI; slices x rows x columns as in --volume=32x96x96 [default: 64x128x128,
    /// or what the configuration's section `volume` says]
    #[arg(long, value_name = "DxHxW", num_args = 0..=1, default_missing_value = "", require_equals = true, conflicts_with = "size", value_parser = parse_volume_size)]
    pub(crate) volume: Option<VolumeChoice>,
    /// A TOML file, or the name of a preset: any (default), paper, ct, mr, us, xray, micro, retina
    #[arg(long, value_name = "FILE|PRESET")]
    pub(crate) config: Option<String>,
    /// Change one field of the configuration, such as mixture.body=0.5 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Layout of the files
    #[arg(long, value_enum, default_value_t = Format::Nnunet)]
    pub(crate) format: Format,
    /// Make only part I of N, counted from 0, so that N machines can fill one folder [default: the task's own part in
    /// a Slurm array, otherwise all]
    #[arg(long, value_name = "I/N", requires = "out")]
    pub(crate) shard: Option<Shard>,
    /// Samples per tar file of a WebDataset [default: 1000]
    #[arg(long, value_name = "N", requires = "out", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) shard_size: Option<u64>,
    /// A contact sheet of the first 100 samples with their outlines and the gist of their recipes; three planes of each
    /// volume
    #[arg(long, value_name = "SHEET.png")]
    pub(crate) preview: Option<PathBuf>,
    /// Render one sample again from its recipe
    #[arg(long, value_name = "SAMPLE.json", conflicts_with_all = ["count", "seed", "start", "size", "volume", "config", "set", "shard", "shard_size"])]
    pub(crate) recipe: Option<PathBuf>,
    /// Check a generated folder: hashes, missing and surplus files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "count", "seed", "start", "size", "volume", "config", "set", "format", "shard", "shard_size", "preview", "recipe"])]
    pub(crate) verify: Option<PathBuf>,
    /// With --verify: render N samples again, evenly over the set, and compare their bytes
    #[arg(long, value_name = "N", default_value_t = 0, requires = "verify", conflicts_with_all = ["out", "preview", "recipe"], value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) rerender: u64,
}

/// Layouts of generated data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// nnU-Net v2: imagesTr, labelsTr, dataset.json; also recipes and masks of overlapping targets
    Nnunet,
    /// COCO instances: images, annotations.json; also recipes
    Coco,
    /// WebDataset: tar files of image, 16-bit labels, masks of overlapping targets, recipe
    Webdataset,
    /// One NumPy archive per sample: image, labels, masks; also recipes
    Npz,
}

fn parse_size(text: &str) -> Result<SizeConfig, String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let side = |part: &str| part.parse().ok().filter(|side| (128..=2048).contains(side));
    match (side(height), side(width)) {
        (Some(height), Some(width)) => Ok(SizeConfig { height, width }),
        _ => Err(
            "one side or HEIGHTxWIDTH expected, 128 to 2048 each, such as 1024 or 512x768".into(),
        ),
    }
}

/// Size of the volumes to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeChoice {
    /// As the configuration says.
    Configured,
    /// Slices, rows and columns.
    Sized(VolumeSize),
}

/// Slices, rows and columns; nothing for those of the configuration.
fn parse_volume_size(text: &str) -> Result<VolumeChoice, String> {
    if text.is_empty() {
        return Ok(VolumeChoice::Configured);
    }
    let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok()).collect();
    let Some(&[depth, height, width]) = sides.as_deref() else {
        return Err("SLICESxROWSxCOLUMNS expected, such as 64x128x128".into());
    };
    Ok(VolumeChoice::Sized(VolumeSize {
        depth,
        height,
        width,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let size = parse_size("512x768").unwrap();
        assert_eq!((size.height, size.width), (512, 768));
        assert_eq!(parse_size("256").unwrap().width, 256);
        for text in ["", "x", "127", "512x2049", "512x512x512", "-512"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        let size = VolumeSize {
            depth: 20,
            height: 96,
            width: 128,
        };
        let choice = parse_volume_size("20x96x128");
        assert_eq!(choice, Ok(VolumeChoice::Sized(size)));
        assert_eq!(parse_volume_size(""), Ok(VolumeChoice::Configured));
        for text in ["20", "20x96", "20x96x128x3", "20x-1x3", "axbxc"] {
            assert!(parse_volume_size(text).is_err(), "{text}");
        }
    }
}
