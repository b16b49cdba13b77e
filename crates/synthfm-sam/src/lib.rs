//! Segment Anything (Kirillov et al. 2023) and SAM 2 (Ravi et al. 2024) in burn: image encoders, prompt encoder, mask decoder,
//! weights and predictor. The files are the boxes of the paper's Fig. 4 and parameters carry the names
//! of Meta's checkpoints. Differs from `segment_anything` in that one call may hold images with
//! different numbers of objects, and in a compact encoder that delivers finer maps as SAM 2's does.

mod carry;
mod config;
mod constants;
mod conv_blocks;
mod coverage;
mod dense_prompts;
mod embedding;
mod error;
mod geodesic_clicks;
mod hiera;
mod image_encoder;
mod layers;
mod mask_decoder;
mod mask_refiner;
mod memory;
mod onnx;
mod predictor;
mod preprocess;
mod prompt_encoder;
mod resize;
mod sam;
mod small_encoder;
#[cfg(test)]
mod testing;
mod threshold;
mod tiny_vit;
mod transformer;
mod views;
mod weights;

pub use burn::tensor::Device;
pub use carry::{Carried, CarryEnd, CarryPolicy, CarrySlices, Follower, RunEnd, SliceAnswer};
pub use config::{EncoderConfig, Preparation, SamConfig, VitConfig};
pub use embedding::{CacheOptions, CacheStats, EmbeddingCache, describe_embedding};
pub use error::{Error, KeyDifferences, Misshapen, Result};
pub use geodesic_clicks::MAPS as CLICK_MAPS;
pub use hiera::{Hiera, HieraConfig};
pub use image_encoder::{HighRes, ImageEmbedding, ImageEncoder, Vit};
pub use mask_decoder::{MaskDecoder, MaskOutput, MaskPrediction};
pub use memory::{Memory, MemoryConfig};
pub use onnx::{OnnxFiles, OnnxInput, OnnxMasks, OnnxOptions};
pub use predictor::{
    BYTES_PER_PIXEL, EncodedImage, LowResMask, MASK_THRESHOLD, PredictedMask, Prediction,
    Predictor, Prompts,
};
pub use preprocess::InputTransform;
pub use prompt_encoder::{
    LABEL_BACKGROUND, LABEL_FOREGROUND, LABEL_PADDING, PointPrompts, PromptBatch, PromptEmbedding,
    PromptEncoder,
};
pub use sam::Sam;
pub use small_encoder::{SmallEncoder, SmallEncoderConfig};
pub use synthfm_ops as ops;
pub use synthfm_ops::{DeviceChoice, DeviceInfo, OpenDevice, PrecisionChoice, devices};
pub use tiny_vit::{TinyVit, TinyVitConfig};
pub use views::{Answer, Views, Window, ZoomPolicy};
pub use weights::{
    KeyPath, ModelFile, ModelHints, ModelReport, ParameterKey, Precision, WeightMean,
    WeightsFormat, ensure_published, expected_keys, is_buffer, not_finite, parameter_keys, save,
    save_pth, weights_sha256,
};
