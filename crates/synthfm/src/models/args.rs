//! The flags of `synthfm models`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub(crate) action: ModelsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsAction {
    /// The embedded model, and those in the folder that `SYNTHFM_MODELS` names
    List,
    /// Check that the weights of a model are whole and fit its configuration
    Verify {
        /// A model file, folder or name
        model: String,
    },
    /// Write a model as one safetensors file with its configuration
    Convert {
        /// A model file, folder or name: .pth or .safetensors with SAM's key names
        input: String,
        /// The safetensors file
        output: PathBuf,
        /// Half precision: half the size, about 3 significant digits
        #[arg(long)]
        half: bool,
    },
    /// Write the mean of the weights of several models, which is often better than each of them
    Average {
        /// Models of the same sizes, each with its share of the mean: a.safetensors=3 b.safetensors=1; without one, 1
        #[arg(required = true, num_args = 2.., value_name = "MODEL[=SHARE]")]
        models: Vec<String>,
        /// The safetensors file
        #[arg(short, long)]
        output: PathBuf,
        /// Half precision: half the size, about 3 significant digits
        #[arg(long)]
        half: bool,
    },
    /// Write a SAM or MobileSAM for other programs: the Python code of its authors, or ONNX
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A model file, folder or name
    pub(crate) model: String,
    /// The file to write; for ONNX the start of two names: OUT.encoder.onnx and OUT.decoder.onnx
    pub(crate) output: PathBuf,
    /// The form of the file
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// ONNX: what the encoder takes
    #[arg(long, value_enum, default_value_t)]
    pub(crate) onnx_input: OnnxInputKind,
    /// ONNX: which masks the decoder returns
    #[arg(long, value_enum, default_value_t)]
    pub(crate) onnx_masks: OnnxMasksKind,
}

/// Inputs of an exported encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnnxInputKind {
    /// `x` [1, 3, S, S], resized, normalised and padded: labelme (osam), samexporter
    #[default]
    Tensor,
    /// `input_image` [height, width, 3], RGB 0 to 255, resized: `AnyLabeling`, samexporter --use-preprocess
    Image,
}

/// Masks of an exported decoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnnxMasksKind {
    /// One: the best of three for one click, the single mask for more prompts
    #[default]
    Best,
    /// All four: the single mask, then the three alternatives
    All,
}

/// Forms of exported models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// For `safetensors.torch.load_file`
    Safetensors,
    /// For `torch.load`, with `weights_only=True` or without
    Pth,
    /// For ONNX Runtime and the annotation tools that use it
    Onnx,
}
