//! Constants with names: read from and written as `auto,NAME=VALUE,..`, so that they can be measured again.

use std::fmt;

/// A constant's name, and how it is read and set.
pub(crate) type Constant<P> = (&'static str, fn(&P) -> f64, fn(&mut P, f64));

/// The largest value of a constant, on either side of 0.
const MAX: f64 = 1e4;

/// A constant that is a real number.
macro_rules! real {
    ($name:ident) => {
        (stringify!($name), |p| p.$name, |p, value| p.$name = value)
    };
}

/// A constant that is a whole number.
macro_rules! whole {
    ($name:ident) => {
        (
            stringify!($name),
            |p| p.$name as f64,
            |p, value| p.$name = value as usize,
        )
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
    for (name, get, _) in constants {
        if get(policy).total_cmp(&get(&usual)).is_ne() {
            write!(f, ",{name}={}", get(policy))?;
        }
    }
    Ok(())
}

/// The usual constants with those of `parts` set, each `NAME=VALUE`; the part that is not understood otherwise.
pub(crate) fn read_changed<'t, P: Default>(
    parts: impl Iterator<Item = &'t str>,
    constants: &[Constant<P>],
) -> Result<P, String> {
    let mut policy = P::default();
    for part in parts {
        let found = part.split_once('=').and_then(|(name, value)| {
            let (_, _, set) = constants.iter().find(|(known, ..)| *known == name)?;
            let value = value.parse().ok().filter(|v: &f64| v.abs() <= MAX)?;
            Some((set, value))
        });
        let (set, value) = found.ok_or_else(|| part.to_owned())?;
        set(&mut policy, value);
    }
    Ok(policy)
}

/// All names, separated by commas.
pub(crate) fn names<P>(constants: &[Constant<P>]) -> String {
    let names: Vec<&str> = constants.iter().map(|(name, ..)| *name).collect();
    names.join(", ")
}
