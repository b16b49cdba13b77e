//! In which arithmetic images are encoded: `--precision f32|bf16|f16|auto`.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Arithmetic;
use crate::error::{Error, Result};
use crate::kernels::Isa;

/// A precision as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrecisionChoice {
    /// Single precision.
    #[default]
    F32,
    /// Products of bf16 values, summed in single precision; for processors that have them.
    Bf16,
    /// Products of half-precision values, summed in single precision; for GPUs that have them.
    F16,
    /// bf16 or half precision where the device has such products, else single precision.
    Auto,
}

impl PrecisionChoice {
    /// What that means on a device.
    ///
    /// # Errors
    /// [`Error::NoBf16`] or [`Error::NoF16`] where the device does not compute in it.
    pub fn on(self, device: &Device) -> Result<Arithmetic> {
        let is_cpu = *device == Device::flex();
        let has_bf16 = is_cpu && Isa::best().multiplies_bf16();
        let has_f16 = !is_cpu && device.supports_dtype(DType::F16);
        match self {
            Self::Bf16 | Self::Auto if has_bf16 => Ok(Arithmetic::Bf16),
            Self::F16 | Self::Auto if has_f16 => Ok(Arithmetic::F16),
            Self::F32 | Self::Auto => Ok(Arithmetic::F32),
            Self::Bf16 => Err(Error::NoBf16),
            Self::F16 => Err(Error::NoF16),
        }
    }

    /// What that means for the products of a training step, forward and backward. Half precision is not trained in: its
    /// range is too small for gradients.
    ///
    /// # Errors
    /// [`Error::NoBf16`] where the device does not compute in bf16, [`Error::UntrainedF16`] for f16.
    pub fn for_training(self, device: &Device) -> Result<Arithmetic> {
        match self {
            Self::F16 => Err(Error::UntrainedF16),
            Self::Auto if self.on(device)? == Arithmetic::F16 => Ok(Arithmetic::F32),
            Self::F32 | Self::Bf16 | Self::Auto => self.on(device),
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            "auto" => Ok(Self::Auto),
            _ => Err(Error::UnknownPrecision {
                name: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Auto => "auto",
        })
    }
}

impl Serialize for PrecisionChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrecisionChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print_alike() {
        for name in ["f32", "bf16", "f16", "auto"] {
            let choice: PrecisionChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
        }
        let error = "f8".parse::<PrecisionChoice>().unwrap_err().to_string();
        assert!(error.contains("f32, bf16, f16"), "{error}");
    }

    #[test]
    fn bf16_needs_a_processor_that_has_it() {
        let device = Device::flex();
        let on = |choice: PrecisionChoice| choice.on(&device);
        assert_eq!(on(PrecisionChoice::F32).unwrap(), Arithmetic::F32);
        let trained = |choice: PrecisionChoice| choice.for_training(&device);
        assert_eq!(trained(PrecisionChoice::F32).unwrap(), Arithmetic::F32);
        let refused = trained(PrecisionChoice::F16).unwrap_err().to_string();
        assert!(refused.contains("f16"), "{refused}");
        let auto = on(PrecisionChoice::Auto).unwrap();
        assert_eq!(trained(PrecisionChoice::Auto).unwrap(), auto);
        let error = on(PrecisionChoice::F16).unwrap_err().to_string();
        assert!(error.contains("needs a GPU"), "{error}");
        if Isa::best().multiplies_bf16() {
            assert_eq!(on(PrecisionChoice::Bf16).unwrap(), Arithmetic::Bf16);
            assert_eq!(on(PrecisionChoice::Auto).unwrap(), Arithmetic::Bf16);
        } else {
            let error = on(PrecisionChoice::Bf16).unwrap_err().to_string();
            assert!(error.contains("--precision f32"), "{error}");
            assert_eq!(on(PrecisionChoice::Auto).unwrap(), Arithmetic::F32);
        }
    }
}
