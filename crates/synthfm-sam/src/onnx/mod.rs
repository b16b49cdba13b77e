//! Export to ONNX: image encoder and decoder as two graphs, in the form that annotation tools load.
//!
//! The decoder has the interface of Meta's `SamOnnxModel`, which SAM's web demo, labelme (osam), samexporter
//! and `AnyLabeling` run; the encoder's input is either what labelme and samexporter prepare themselves or the
//! plain image of samexporter's `--use-preprocess` and `AnyLabeling`. Weights go from file to file: the model
//! is never held in memory.

mod decoder;
mod graph;
mod layers;
mod proto;
#[cfg(test)]
mod tests;
mod tiny_vit;
mod transformer;
mod vit;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};

use crate::config::{EncoderConfig, SamConfig};
use crate::error::{Error, Result};
use crate::image_encoder::interpolate_rows;
use crate::weights::{ModelFile, TensorStore, ensure_published, transpose};
use graph::{Constant, Content, Graph, Shapes, Side, Value};
use write::File;

/// Protocol buffers end at 2 GiB; what else a file holds takes less than the rest.
const LARGEST: u64 = (2 << 30) - (64 << 20);

/// Which masks the decoder returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnnxMasks {
    /// One: the best of the alternatives for a single click, the single mask for more prompts (Meta's
    /// `return_single_mask`).
    #[default]
    Best,
    /// All: the single mask, then the alternatives.
    All,
}

/// What the encoder takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnnxInput {
    /// `x` `[1, 3, S, S]`: resized, normalised and padded (labelme and osam, samexporter).
    #[default]
    Tensor,
    /// `input_image` `[height, width, 3]`: RGB from 0 to 255, resized so that it fits S × S (`AnyLabeling`,
    /// samexporter with `--use-preprocess`).
    Image,
}

/// The form of an exported model.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnnxOptions {
    /// Which masks the decoder returns.
    pub masks: OnnxMasks,
    /// What the encoder takes.
    pub input: OnnxInput,
}

/// Where an exported model goes.
#[derive(Debug, Clone)]
pub struct OnnxFiles {
    /// The image encoder's file.
    pub encoder: PathBuf,
    /// The decoder's file.
    pub decoder: PathBuf,
}

impl OnnxFiles {
    /// `NAME.encoder.onnx` and `NAME.decoder.onnx` for `NAME` or `NAME.onnx`.
    pub fn named(path: &Path) -> Self {
        let base = match path.extension() {
            Some(ending) if ending == "onnx" => path.with_extension(""),
            _ => path.to_owned(),
        };
        let with = |ending: &str| {
            let mut name = base.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            encoder: with(".encoder.onnx"),
            decoder: with(".decoder.onnx"),
        }
    }
}

impl ModelFile {
    /// Writes the model as two ONNX files; where one would exceed the format's 2 GiB, its weights lie in a
    /// third beside it. Returns every file written. `progress` gets the number of values after each tensor.
    ///
    /// Fails for SAM 2, and for our own encoder, whose finer maps and prompt maps the tools' interface has no place for.
    pub fn export_onnx(
        &self,
        options: OnnxOptions,
        files: &OnnxFiles,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<PathBuf>> {
        self.export_within(options, files, LARGEST, progress)
    }

    fn export_within(
        &self,
        options: OnnxOptions,
        files: &OnnxFiles,
        limit: u64,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<PathBuf>> {
        ensure_published(self.config())?;
        if self.config().is_sam2() {
            return Err(Error::Sam2Onnx);
        }
        self.ensure_keys()?;
        let shapes = self.store().tensors().iter();
        let shapes: Shapes = shapes
            .map(|(key, info)| (key.clone(), info.shape.clone()))
            .collect();
        let mut read = |constant: &Constant| {
            let bytes = values(self.store(), constant).map_err(io::Error::other)?;
            progress(constant.shape.iter().product());
            Ok(bytes)
        };
        let mut written = Vec::new();
        let config = self.config();
        for (path, name) in [(&files.encoder, "encoder"), (&files.decoder, "decoder")] {
            let mut graph = Graph::new(&shapes);
            match name {
                "encoder" => encoder(&mut graph, config, options.input)?,
                _ => decoder::build(&mut graph, config, options.masks),
            }
            let (graph, constants) = graph.finish(name);
            let file = File {
                graph,
                constants,
                metadata: vec![("config".to_owned(), config.to_json())],
                limit,
            };
            written.extend(file.write(path, &mut read)?);
        }
        Ok(written)
    }
}

/// The graph from an image to its embedding.
fn encoder(graph: &mut Graph<'_>, config: &SamConfig, input: OnnxInput) -> Result<()> {
    let (c, g, side) = (
        config.prompt_embed_dim,
        config.embedding_side(),
        config.image_size,
    );
    let image = match input {
        OnnxInput::Tensor => graph.input("x", &[1, 3, side, side].map(Side::Fixed)),
        OnnxInput::Image => prepared(graph, config),
    };
    let embedding = match &config.encoder {
        EncoderConfig::Vit(vit) => vit::encoder(graph, config, vit, &image),
        EncoderConfig::TinyVit(tiny) => tiny_vit::encoder(graph, config, tiny, &image),
        EncoderConfig::Hiera(_) => return Err(Error::Sam2Onnx),
        EncoderConfig::Small(_) => return Err(Error::NotPublished),
    };
    graph.output(
        &embedding,
        "image_embeddings",
        &[1, c, g, g].map(Side::Fixed),
    );
    Ok(())
}

/// Normalises a resized image and fills it up with zeros: `[height, width, 3]` -> `[1, 3, S, S]`.
fn prepared(graph: &mut Graph<'_>, config: &SamConfig) -> Value {
    let side = config.image_size as i64;
    let sides = [
        Side::Free("image_height"),
        Side::Free("image_width"),
        Side::Fixed(3),
    ];
    let image = graph.input("input_image", &sides);
    let mean = graph.floats("pixel_mean", &[3], config.pixel_mean.to_vec());
    let std = graph.floats("pixel_std", &[3], config.pixel_std.to_vec());
    let centred = graph.sub(&image, &mean);
    let normal = graph.div(&centred, &std);
    let planes = graph.transpose(&normal, &[2, 0, 1]);

    let shape = graph.unary("Shape", &image);
    let size = graph.narrow(&shape, 0, 0, 2);
    let full = graph.integers(&[side, side]);
    let missing = graph.sub(&full, &size);
    let none = graph.integers(&[0, 0, 0, 0]);
    let pads = graph.concat(&[&none, &missing], 0);
    let padded = graph.pad(&planes, &pads);
    graph.reshape(&padded, &[1, 3, side, side])
}

/// A constant's values as little-endian bytes.
fn values(store: &TensorStore, constant: &Constant) -> Result<Vec<u8>> {
    let floats = match &constant.content {
        Content::Integers(values) => {
            return Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect());
        }
        Content::Floats(values) => values.clone(),
        Content::Weight(key) => store.read(key)?,
        Content::Transposed(key) => {
            let [columns, rows] = [constant.shape[0], constant.shape[1]];
            transpose(&store.read(key)?, rows, columns)
        }
        Content::Interpolated(key) => {
            let shape = store.tensors()[key].shape.clone();
            let table = TensorData::new(store.read(key)?, shape);
            let table = Tensor::<2>::from_data(table, &Device::flex());
            let rows = interpolate_rows(table, constant.shape[0]);
            rows.into_data_as::<f32>().iter::<f32>().collect()
        }
    };
    Ok(floats.iter().flat_map(|v| v.to_le_bytes()).collect())
}
