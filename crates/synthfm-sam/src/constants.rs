//! Constants with names: read from and written as `auto,NAME=VALUE,..`, so that they can be measured again.

use std::fmt;
use std::ops::RangeInclusive;

/// A constant's name, the values that it may have, and how it is read and set.
pub(crate) struct Constant<P> {
    pub(crate) name: &'static str,
    /// Both ends are allowed; what takes time or memory grows with a constant, so that each has an upper end.
    pub(crate) range: RangeInclusive<f64>,
    /// Whether values between whole numbers are refused.
    pub(crate) whole: bool,
    pub(crate) get: fn(&P) -> f64,
    pub(crate) set: fn(&mut P, f64),
}

/// A constant that is a real number, with the values that it may have.
macro_rules! real {
    ($name:ident, $range:expr) => {
        Constant {
            name: stringify!($name),
            range: $range,
            whole: false,
            get: |p| p.$name,
            set: |p, value| p.$name = value,
        }
    };
}

/// A constant that is a whole number, with the values that it may have.
macro_rules! whole {
    ($name:ident, $range:expr) => {
        Constant {
            name: stringify!($name),
            range: $range,
            whole: true,
            get: |p| p.$name as f64,
            set: |p, value| p.$name = value as usize,
        }
    };
}

pub(crate) use {real, whole};

/// The constants that differ from the usual ones, each as `,NAME=VALUE`.
pub(crate) fn write_changed<P: Default>(
    f: &mut fmt::Formatter<'_>,
    policy: &P,
    constants: &[Constant<P>],
) -> fmt::Result {
    let usual = P::default();
    for Constant { name, get, .. } in constants {
        if get(policy).total_cmp(&get(&usual)).is_ne() {
            write!(f, ",{name}={}", get(policy))?;
        }
    }
    Ok(())
}

/// The usual constants with those of `parts` set, each `NAME=VALUE`.
///
/// # Errors
/// The part that is not understood, and what is expected in its place.
pub(crate) fn read_changed<'t, P: Default>(
    parts: impl Iterator<Item = &'t str>,
    constants: &[Constant<P>],
) -> Result<P, (String, String)> {
    let mut policy = P::default();
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let Some(constant) = constants.iter().find(|known| known.name == name) else {
            return Err((part.to_owned(), expected(constants)));
        };
        let value = value.parse().ok().filter(|v| constant.allows(*v));
        let value = value.ok_or_else(|| (part.to_owned(), constant.expected()))?;
        (constant.set)(&mut policy, value);
    }
    Ok(policy)
}

impl<P> Constant<P> {
    fn allows(&self, value: f64) -> bool {
        self.range.contains(&value) && (!self.whole || value.fract() == 0.0)
    }

    /// The values that it may have.
    fn expected(&self) -> String {
        let Self { name, range, .. } = self;
        let number = if self.whole { "whole number" } else { "number" };
        format!(
            "{name}: a {number} from {} to {} expected",
            range.start(),
            range.end()
        )
    }
}

/// What is expected where text does not begin with a constant's name.
pub(crate) fn expected<P>(constants: &[Constant<P>]) -> String {
    let names: Vec<&str> = constants.iter().map(|known| known.name).collect();
    format!(
        "auto with any of {} as ,NAME=VALUE expected",
        names.join(", ")
    )
}
