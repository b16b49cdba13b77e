//! In which arithmetic images are encoded: `--precision f32|bf16|auto`.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::kernels::Isa;
use crate::ops::Arithmetic;

/// A precision as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrecisionChoice {
    /// Single precision.
    #[default]
    F32,
    /// Products of bf16 values, summed in single precision; for processors that have them.
    Bf16,
    /// bf16 where the processor has such products, else single precision.
    Auto,
}

impl PrecisionChoice {
    /// What that means on a device. GPUs compute in single precision.
    pub(crate) fn on(self, device: &Device) -> Result<Arithmetic> {
        let available = *device == Device::flex() && Isa::best().multiplies_bf16();
        match (self, available) {
            (Self::F32, _) | (Self::Auto, false) => Ok(Arithmetic::F32),
            (Self::Bf16 | Self::Auto, true) => Ok(Arithmetic::Bf16),
            (Self::Bf16, false) => Err(Error::NoBf16),
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
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
            Self::Auto => "auto",
        })
    }
}

impl Serialize for PrecisionChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print_alike() {
        for name in ["f32", "bf16", "auto"] {
            let choice: PrecisionChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
        }
        let error = "f16".parse::<PrecisionChoice>().unwrap_err().to_string();
        assert!(error.contains("f32, bf16"), "{error}");
    }

    #[test]
    fn bf16_needs_a_processor_that_has_it() {
        let device = Device::flex();
        let on = |choice: PrecisionChoice| choice.on(&device);
        assert_eq!(on(PrecisionChoice::F32).unwrap(), Arithmetic::F32);
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
