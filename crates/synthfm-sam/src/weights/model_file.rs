//! A model on disk or in the binary: weights with their configuration.
//!
//! Three forms: a folder with `model.safetensors` and `config.json`, one safetensors file with the
//! configuration in its metadata, or Meta's bare checkpoints, whose configuration is inferred. Loading
//! is strict: every key must be there with its shape, and no other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::infer::{infer_config, nearest_published};
use super::names::{KeyPath, ParameterKey, parameter_keys};
use super::published_names::{Part, in_file, part_of};
use super::store::TensorStore;
use super::unused::is_unused;
use crate::config::{EncoderConfig, Preparation, SamConfig};
use crate::error::{Error, KeyDifferences, Misshapen, Result};
use crate::sam::Sam;
use synthfm_image::hex;

/// Weights within a model folder.
const WEIGHTS_NAME: &str = "model.safetensors";
/// Configuration within a model folder.
const CONFIG_NAME: &str = "config.json";
/// Largest configuration read.
const MAX_CONFIG: u64 = 1 << 20;

/// What a bare checkpoint does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelHints {
    /// Attention heads of the mask decoder; 8, as in every published SAM, where `None`.
    pub decoder_heads: Option<usize>,
}

/// The container of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsFormat {
    /// safetensors.
    Safetensors,
    /// `PyTorch`'s pickled state dict.
    Pth,
}

/// A model file whose weights have not been read.
pub struct ModelFile {
    config: SamConfig,
    store: TensorStore,
    /// Why the configuration is a guess.
    guessed: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What a model file is and whether its keys are those of its configuration.
#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    /// `medsam`, `vit_b`, `vit_l`, `vit_h`, `vit_t`, `sam2_tiny`, `sam2.1_tiny` and so on to `large`; `vit`, `tiny_vit` or
    /// `hiera` of other sizes; or `small`.
    pub kind: &'static str,
    /// The container.
    pub format: WeightsFormat,
    /// The sizes, stored or inferred.
    pub config: SamConfig,
    /// Why the sizes are those of the nearest published model; `None` where the file tells them.
    pub guessed: Option<String>,
    /// SHA-256 of the weights file, in hexadecimal.
    pub sha256: String,
    /// Values under `image_encoder`.
    pub image_encoder_parameters: usize,
    /// Values under `prompt_encoder`, the fixed position matrix included.
    pub prompt_encoder_parameters: usize,
    /// Values under `mask_decoder`.
    pub mask_decoder_parameters: usize,
    /// Values of SAM 2's memory of earlier frames; 0 for other models.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory_parameters: usize,
    /// Keys in the file that have no influence on a mask, as MobileSAM's classifier.
    pub unused: Vec<String>,
    /// Keys that are missing, unexpected or of another shape.
    pub differences: KeyDifferences,
}

impl ModelFile {
    /// Opens a model folder or weights file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &ModelHints::default())
    }

    /// Opens a model folder or weights file; `hints` fill in what a bare checkpoint does not tell.
    pub fn open_with(path: &Path, hints: &ModelHints) -> Result<Self> {
        if path.is_dir() {
            let config = SamConfig::from_json(&read_config(&path.join(CONFIG_NAME))?)?;
            let store = TensorStore::open(&path.join(WEIGHTS_NAME))?;
            return Ok(Self {
                config,
                store,
                guessed: None,
            });
        }
        Self::from_store(TensorStore::open(path)?, hints)
    }

    /// A safetensors file held in memory.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        Self::from_store(
            TensorStore::from_bytes(bytes.into())?,
            &ModelHints::default(),
        )
    }

    fn from_store(store: TensorStore, hints: &ModelHints) -> Result<Self> {
        let config = match store.metadata("config").filter(|text| is_own_config(text)) {
            Some(text) => SamConfig::from_json(text)?,
            None => infer_config(&store, hints)?,
        };
        Ok(Self {
            config,
            store,
            guessed: None,
        })
    }

    /// The configuration with the weights of another file.
    #[cfg(test)]
    pub(super) fn with_weights_of(self, path: &Path) -> Self {
        let store = TensorStore::open(path).expect("a weights file of the test");
        Self { store, ..self }
    }

    /// Opens a model folder or weights file for [`ModelFile::report`] even where it does not tell its sizes:
    /// it is then compared with the published model that has the most in common with it.
    pub fn open_to_report(path: &Path) -> Result<Self> {
        let error = match Self::open(path) {
            Err(error @ (Error::Weights { .. } | Error::Config { .. })) if path.is_file() => error,
            opened => return opened,
        };
        // What cannot be opened at all fails again, for the same reason.
        let store = TensorStore::open(path)?;
        if store.metadata("config").is_some_and(is_own_config) {
            return Err(error);
        }
        Ok(Self {
            config: nearest_published(&store),
            store,
            guessed: Some(error.to_string()),
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &SamConfig {
        &self.config
    }

    /// The model for another input side, where its weights allow it: a convolutional encoder takes any,
    /// a vision transformer's position tables only their own ([`ModelFile::load`] then reports them).
    pub fn at_image_size(mut self, image_size: usize) -> Result<Self> {
        self.config.image_size = image_size;
        self.config.validate()?;
        Ok(self)
    }

    /// SHA-256 of the weights file, in hexadecimal.
    pub fn sha256(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        self.store.for_each_chunk(|chunk| hasher.update(chunk))?;
        Ok(hex(&hasher.finalize()))
    }

    /// Reads the weights into a model on `device`.
    pub fn load(&self, device: &Device) -> Result<Sam> {
        self.load_with(device, &mut |_| ())
    }

    /// Values that [`ModelFile::load`] reads.
    pub fn parameters(&self) -> usize {
        let tensors = self.store.tensors().iter();
        tensors
            .filter(|(key, _)| !is_unused(&self.config, key))
            .map(|(_, info)| info.elements())
            .sum()
    }

    /// Reads the weights into a model on `device`, one tensor at a time; `progress` gets the number of
    /// values after each.
    pub fn load_with(&self, device: &Device, progress: &mut dyn FnMut(usize)) -> Result<Sam> {
        let sam = self.ensure_keys_of(Sam::new(&self.config, device))?;
        self.read_into(sam, device, progress)
    }

    /// Reads the weights over those of `sam` on `device`, a model that may have parts which models of ours got later:
    /// they keep their values.
    pub fn load_over(&self, sam: Sam, device: &Device) -> Result<Sam> {
        let mut differences = self.compare(&parameter_keys(&sam));
        differences.missing.retain(|key| !is_later_part(key));
        if !differences.is_empty() {
            return Err(self.differs(differences));
        }
        self.read_into(sam, device, &mut |_| ())
    }

    fn read_into(&self, sam: Sam, device: &Device, progress: &mut dyn FnMut(usize)) -> Result<Sam> {
        let mut loader = Loader {
            path: KeyPath::default(),
            config: &self.config,
            store: &self.store,
            device,
            progress,
            failure: None,
        };
        let sam = sam.map(&mut loader);
        match loader.failure {
            None => Ok(sam),
            Some(error) => Err(error),
        }
    }

    /// Fails where the keys are not those of the model.
    pub(crate) fn ensure_keys(&self) -> Result<()> {
        self.ensure_keys_of(Sam::new(&self.config, &Device::flex()))
            .map(|_| ())
    }

    fn ensure_keys_of(&self, sam: Sam) -> Result<Sam> {
        let differences = self.compare(&parameter_keys(&sam));
        if differences.is_empty() {
            return Ok(sam);
        }
        Err(self.differs(differences))
    }

    fn differs(&self, differences: KeyDifferences) -> Error {
        Error::Keys {
            differences,
            path: self.store.path().to_owned(),
        }
    }

    /// The weights, by key.
    pub(crate) fn store(&self) -> &TensorStore {
        &self.store
    }

    /// Describes the file and compares its keys with those its configuration asks for.
    pub fn report(&self) -> Result<ModelReport> {
        let sam = Sam::new(&self.config, &Device::flex());
        let parameters = |part: Part| {
            let tensors = self.store.tensors().iter();
            let of_part = tensors.filter(|(key, _)| {
                part_of(&self.config, key) == Some(part) && !is_unused(&self.config, key)
            });
            of_part.map(|(_, info)| info.elements()).sum()
        };
        Ok(ModelReport {
            kind: kind(&self.config),
            format: if self.store.is_pytorch() {
                WeightsFormat::Pth
            } else {
                WeightsFormat::Safetensors
            },
            config: self.config.clone(),
            guessed: self.guessed.clone(),
            sha256: self.sha256()?,
            image_encoder_parameters: parameters(Part::ImageEncoder),
            prompt_encoder_parameters: parameters(Part::PromptEncoder),
            mask_decoder_parameters: parameters(Part::MaskDecoder),
            memory_parameters: parameters(Part::Memory),
            unused: self
                .store
                .tensors()
                .keys()
                .filter(|key| is_unused(&self.config, key))
                .cloned()
                .collect(),
            differences: self.compare(&parameter_keys(&sam)),
        })
    }

    fn compare(&self, expected: &[ParameterKey]) -> KeyDifferences {
        let expected: BTreeMap<Cow<'_, str>, &[usize]> = expected
            .iter()
            .map(|p| (in_file(&self.config, &p.key), p.shape.as_slice()))
            .collect();
        let found = self.store.tensors();
        let missing = expected
            .keys()
            .filter(|key| !found.contains_key(key.as_ref()));
        let unexpected = found
            .keys()
            .filter(|key| !expected.contains_key(key.as_str()) && !is_unused(&self.config, key));
        let misshapen = expected.iter().filter_map(|(key, &shape)| {
            let info = found.get(key.as_ref())?;
            (!fits(key, shape, &info.shape)).then(|| Misshapen {
                key: key.clone().into_owned(),
                expected: shape.to_vec(),
                found: info.shape.clone(),
            })
        });
        KeyDifferences {
            missing: missing.map(|key| key.clone().into_owned()).collect(),
            unexpected: unexpected.cloned().collect(),
            misshapen: misshapen.collect(),
        }
    }
}

/// Whether a stored shape can be used. Relative-position tables may have any length: they are
/// interpolated.
fn fits(key: &str, expected: &[usize], found: &[usize]) -> bool {
    let table = key.ends_with(".rel_pos_h") || key.ends_with(".rel_pos_w");
    expected == found || (table && found.len() == 2 && found[0] > 0 && found[1] == expected[1])
}

/// Whether metadata called `config` is this crate's, which names an encoder.
fn is_own_config(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|v| v.get("encoder").is_some())
}

fn kind(config: &SamConfig) -> &'static str {
    let presets = SamConfig::published();
    let preset = presets.iter().find(|(_, preset)| preset == config);
    if config.preparation == Preparation::MedSam {
        return "medsam";
    }
    match (&config.encoder, preset) {
        (_, Some((name, _))) => name,
        (EncoderConfig::Vit(_), None) => "vit",
        (EncoderConfig::TinyVit(_), None) => "tiny_vit",
        (EncoderConfig::Hiera(_), None) => "hiera",
        (EncoderConfig::Small(_), None) => "small",
    }
}

fn read_config(path: &Path) -> Result<String> {
    let io = |e| Error::io(path, e);
    let mut text = String::new();
    let file = fs::File::open(path).map_err(io)?;
    file.take(MAX_CONFIG)
        .read_to_string(&mut text)
        .map_err(io)?;
    Ok(text)
}

/// What our own models have not always had.
const LATER_PARTS: [&str; 2] = ["mask_decoder.click_reach.", "mask_decoder.mask_refiner."];

fn is_later_part(key: &str) -> bool {
    LATER_PARTS.iter().any(|part| key.starts_with(part))
}

/// Puts each stored tensor in its parameter's place; keeps the first failure.
struct Loader<'a> {
    path: KeyPath,
    config: &'a SamConfig,
    store: &'a TensorStore,
    device: &'a Device,
    progress: &'a mut dyn FnMut(usize),
    failure: Option<Error>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.failure.is_some() {
            return param;
        }
        let key = self.path.key();
        let key = in_file(self.config, &key);
        let key = key.as_ref();
        if is_later_part(key) && !self.store.tensors().contains_key(key) {
            return param;
        }
        match self.store.read(key) {
            Ok(values) => {
                (self.progress)(values.len());
                let mut shape = self.store.tensors()[key].shape.clone();
                let values = if self.path.transposed(D) {
                    let turned = transpose(&values, shape[0], shape[1]);
                    shape.reverse();
                    turned
                } else {
                    values
                };
                let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.failure = Some(error);
                param
            }
        }
    }
}

/// `[rows, cols]` to `[cols, rows]`, in blocks that fit the cache.
pub(crate) fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0.0; values.len()];
    for row0 in (0..rows).step_by(BLOCK) {
        for col0 in (0..cols).step_by(BLOCK) {
            for row in row0..(row0 + BLOCK).min(rows) {
                for col in col0..(col0 + BLOCK).min(cols) {
                    out[col * rows + row] = values[row * cols + col];
                }
            }
        }
    }
    out
}
