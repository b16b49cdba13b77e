//! Number types of array files, decoded through `f64`.
//!
//! `f64` holds every 32-bit value exactly; 64-bit integers beyond 2^53 are rounded.

/// Type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// Which byte of a value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Calls a macro with the Rust type of an element and the function that makes its values `f64`.
macro_rules! by_type {
    ($element:expr, $decode:ident) => {
        match $element {
            Element::Bool => $decode!(u8, |v| f64::from(v != 0)),
            Element::U8 => $decode!(u8, f64::from),
            Element::I8 => $decode!(i8, f64::from),
            Element::U16 => $decode!(u16, f64::from),
            Element::I16 => $decode!(i16, f64::from),
            Element::U32 => $decode!(u32, f64::from),
            Element::I32 => $decode!(i32, f64::from),
            Element::U64 => $decode!(u64, |v| v as f64),
            Element::I64 => $decode!(i64, |v| v as f64),
            Element::F16 => $decode!(u16, half),
            Element::F32 => $decode!(f32, f64::from),
            Element::F64 => $decode!(f64, f64::from),
        }
    };
}

impl Element {
    /// Bytes of one value.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The least and the greatest value; infinite for floating-point numbers.
    pub(super) const fn range(self) -> [f64; 2] {
        match self {
            Self::Bool => [0.0, 1.0],
            Self::U8 => [0.0, u8::MAX as f64],
            Self::I8 => [i8::MIN as f64, i8::MAX as f64],
            Self::U16 => [0.0, u16::MAX as f64],
            Self::I16 => [i16::MIN as f64, i16::MAX as f64],
            Self::U32 => [0.0, u32::MAX as f64],
            Self::I32 => [i32::MIN as f64, i32::MAX as f64],
            Self::U64 => [0.0, u64::MAX as f64],
            Self::I64 => [i64::MIN as f64, i64::MAX as f64],
            Self::F16 | Self::F32 | Self::F64 => [f64::NEG_INFINITY, f64::INFINITY],
        }
    }

    /// Converts every value; stops at the first that `convert` refuses.
    pub(super) fn decode<T, E>(
        self,
        order: ByteOrder,
        bytes: &[u8],
        convert: impl Fn(f64) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        macro_rules! decode {
            ($type:ty, $to_f64:expr) => {{
                let (values, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                let value = |&raw: &[u8; size_of::<$type>()]| match order {
                    ByteOrder::Little => <$type>::from_le_bytes(raw),
                    ByteOrder::Big => <$type>::from_be_bytes(raw),
                };
                values
                    .iter()
                    .map(|raw| convert($to_f64(value(raw))))
                    .collect()
            }};
        }
        by_type!(self, decode)
    }

    /// Converts values into as many places; stops at the end of either.
    pub(super) fn decode_into<T>(
        self,
        order: ByteOrder,
        bytes: &[u8],
        out: &mut [T],
        convert: impl Fn(f64) -> T,
    ) {
        macro_rules! decode {
            ($type:ty, $to_f64:expr) => {{
                let (values, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                let places = out.iter_mut().zip(values);
                match order {
                    ByteOrder::Little => {
                        for (place, &raw) in places {
                            *place = convert($to_f64(<$type>::from_le_bytes(raw)));
                        }
                    }
                    ByteOrder::Big => {
                        for (place, &raw) in places {
                            *place = convert($to_f64(<$type>::from_be_bytes(raw)));
                        }
                    }
                }
            }};
        }
        by_type!(self, decode);
    }
}

/// Value of an IEEE half-precision number, which `f64` holds exactly.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 31, f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * (-24f64).exp2(),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * (f64::from(exponent) - 25.0).exp2(),
    };
    if bits >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

/// Largest distance of a label from its integer: slopes and floating-point formats leave such remainders.
const LABEL_TOLERANCE: f64 = 1e-3;

/// The label that `value` is, or `value` itself if it is none.
pub(super) fn label(value: f64) -> Result<u16, f64> {
    let nearest = value.round();
    let is_label = (value - nearest).abs() <= LABEL_TOLERANCE
        && (0.0..=f64::from(u16::MAX)).contains(&nearest);
    if is_label {
        Ok(nearest as u16)
    } else {
        Err(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_and_signs() {
        let keep = |v: f64| Ok::<f64, ()>(v);
        let decode = |element: Element, order, bytes: &[u8]| element.decode(order, bytes, keep);
        let bytes = [0xff, 0xfe, 0x00, 0x02];
        for (element, order, want) in [
            (Element::U16, ByteOrder::Big, vec![65534.0, 2.0]),
            (Element::U16, ByteOrder::Little, vec![65279.0, 512.0]),
            (Element::I16, ByteOrder::Big, vec![-2.0, 2.0]),
            (Element::I8, ByteOrder::Little, vec![-1.0, -2.0, 0.0, 2.0]),
            (Element::Bool, ByteOrder::Little, vec![1.0, 1.0, 0.0, 1.0]),
            (Element::U32, ByteOrder::Big, vec![4_294_836_226.0]),
        ] {
            assert_eq!(decode(element, order, &bytes), Ok(want), "{element:?}");
        }
        let halves: Vec<u8> = [0x3c00u16, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x3555]
            .iter()
            .flat_map(|bits| bits.to_be_bytes())
            .collect();
        let want = [
            1.0,
            -2.0,
            65504.0,
            2f64.powi(-24),
            f64::INFINITY,
            0.333_251_953_125,
        ];
        assert_eq!(
            decode(Element::F16, ByteOrder::Big, &halves),
            Ok(want.to_vec())
        );
        let double = (-1.25f64).to_be_bytes();
        assert_eq!(
            decode(Element::F64, ByteOrder::Big, &double),
            Ok(vec![-1.25])
        );
    }

    #[test]
    fn labels_are_small_integers() {
        assert_eq!(label(65535.0), Ok(65535));
        assert_eq!(label(-0.0), Ok(0));
        // 3 stored as 30 with a slope of 0.1 in single precision, and the largest remainder.
        assert_eq!(label(30.0 * f64::from(0.1f32)), Ok(3));
        assert_eq!((label(1.001), label(-0.001)), (Ok(1), Ok(0)));
        for bad in [-1.0, 65536.0, 0.5, 1.002, -0.002, f64::INFINITY] {
            assert_eq!(label(bad), Err(bad));
        }
        assert!(label(f64::NAN).is_err());
    }
}
