//! What the tests share: the recorded outputs of Meta's code and comparisons with them.

use std::io::Write as _;
use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

use crate::{
    DeviceChoice, DeviceInfo, EncoderConfig, ModelFile, ModelHints, Sam, SamConfig,
    SmallEncoderConfig,
};

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The decoder of `sam_tiny` has 4 heads, which its file does not tell.
pub(crate) const TINY: ModelHints = ModelHints {
    decoder_heads: Some(4),
};

/// `sam_tiny` from its safetensors file.
pub(crate) fn sam_tiny() -> Sam {
    sam_tiny_on(&Device::flex())
}

pub(crate) fn sam_tiny_on(device: &Device) -> Sam {
    ModelFile::open_with(&fixture("sam_tiny.safetensors"), &TINY)
        .unwrap()
        .load(device)
        .unwrap()
}

/// Where models are tested: every device that this build finds. Builds for GPUs say if it is the CPU alone, which
/// fails where `SYNTHFM_REQUIRE_GPU` is set.
pub(crate) fn every_device() -> Vec<Device> {
    let found = crate::devices();
    if cfg!(feature = "gpu") && found.len() == 1 {
        let required = std::env::var_os("SYNTHFM_REQUIRE_GPU").is_some();
        assert!(!required, "there is no GPU, nor a software device");
        // Unlike `eprintln!`, this is shown for tests that pass, too.
        let _ = writeln!(std::io::stderr(), "SKIPPED on GPUs: none was found");
    }
    let open = |device: &DeviceInfo| device.name.parse::<DeviceChoice>().unwrap().open();
    found.iter().map(|d| open(d).unwrap().device).collect()
}

/// Those of [`every_device`] that are not the CPU.
#[cfg(feature = "gpu")]
pub(crate) fn gpus() -> Vec<Device> {
    every_device().split_off(1)
}

/// A small model of our own kind with made-up weights: finer maps of 16 x 16 and 32 x 32, and prompts as maps.
pub(crate) fn sam_small() -> Sam {
    sam_small_on(&Device::flex())
}

pub(crate) fn sam_small_on(device: &Device) -> Sam {
    Sam::new(&small_config(), device).map(&mut Filler(device))
}

/// Our own encoder and decoder, with all their parts.
pub(crate) fn small_config() -> SamConfig {
    let small = SmallEncoderConfig {
        channels: [8, 8, 8, 8],
        blocks: [1, 1, 1],
        attention_blocks: 1,
        num_heads: 2,
    };
    SamConfig {
        high_res_features: true,
        prompt_embed_dim: 32,
        decoder_heads: 2,
        dense_prompts: 1,
        click_reach: true,
        mask_refiner: 1,
        ..SamConfig::with_encoder(64, EncoderConfig::Small(small))
    }
}

/// A model of given sizes, every parameter with values of its own.
pub(crate) fn filled(config: &SamConfig) -> Sam {
    let device = Device::flex();
    Sam::new(config, &device).map(&mut Filler(&device))
}

/// A part of a model, every parameter with values of its own.
pub(crate) fn fill<M: Module>(module: M) -> M {
    module.map(&mut Filler(&Device::flex()))
}

/// Gives every parameter values of its own: our own encoder starts from zeros.
struct Filler<'a>(&'a Device);

impl ModuleMapper for Filler<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let value = |i: usize| (0.7 * i as f32 + shape.num_elements() as f32).sin() / 5.0;
        let values = (0..shape.num_elements()).map(value).collect();
        let data = TensorData::new(values, shape.clone());
        Param::initialized(param.id, Tensor::from_data(data, self.0))
    }
}

/// What Meta's code computed with `sam_tiny`.
pub(crate) struct Recorded {
    bytes: Vec<u8>,
    /// Where its tensors lie.
    device: Device,
}

impl Recorded {
    pub(crate) fn open() -> Self {
        Self::of("sam_tiny_io.safetensors")
    }

    /// Another recording.
    pub(crate) fn of(name: &str) -> Self {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let device = Device::flex();
        Self { bytes, device }
    }

    pub(crate) fn on(self, device: &Device) -> Self {
        let device = device.clone();
        Self { device, ..self }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.names().into_iter().map(ToOwned::to_owned).collect()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.tensor(name).unwrap().shape().to_vec()
    }

    /// Values of any stored type as `f32`.
    pub(crate) fn values(&self, name: &str) -> Vec<f32> {
        use safetensors::Dtype;
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::U8 => data.iter().map(|&v| f32::from(v)).collect(),
            Dtype::F32 => data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            Dtype::F64 => data
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32)
                .collect(),
            Dtype::I64 => data
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32)
                .collect(),
            other => panic!("{name} has type {other:?}"),
        }
    }

    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let data = TensorData::new(self.values(name), self.shape(name));
        Tensor::from_data(data, &self.device)
    }

    /// Asserts that `got` is the recorded tensor within 1e-4 of its largest magnitude: both sides
    /// compute in `f32`, in different orders.
    pub(crate) fn assert_close(&self, name: &str, got: &[f32]) {
        assert_close(name, got, &self.values(name));
    }

    pub(crate) fn assert_tensor<const D: usize>(&self, name: &str, got: Tensor<D>) {
        assert_eq!(got.dims().to_vec(), self.shape(name), "{name}");
        self.assert_close(name, &values(got));
    }
}

/// A tensor's values.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// The largest difference, as a part of the largest expected magnitude.
pub(crate) fn worst_difference(got: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let differences = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    // A NaN is a difference, which `max` would pass over.
    let worst = differences.fold(0f32, |m, d| if d > m || d.is_nan() { d } else { m });
    if worst == 0.0 { 0.0 } else { worst / largest }
}

/// Asserts that the largest difference is at most 1e-4 of the largest expected magnitude.
pub(crate) fn assert_close(name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{name}: number of values");
    let worst = worst_difference(got, expected);
    assert!(
        worst <= 1e-4,
        "{name}: differs by {worst} of the largest value"
    );
}
