//! Memory that is asked for before it is taken.

use std::hint::black_box;

use crate::error::{Error, Result};
use crate::geometry::Size;

/// Whether the system has so many bytes for what is made of an image.
///
/// What is allocated piece by piece cannot fail as an error: the process would end. So the whole is asked for first and
/// given back. Other threads may take it in between; the more is asked for beyond the need, the less they can do.
///
/// # Errors
/// [`Error::Memory`] where the system refuses.
pub fn check_room(size: Size, bytes: u64) -> Result<()> {
    let refused = |_| Error::Memory { size, bytes };
    let count = usize::try_from(bytes).map_err(|_| Error::Memory { size, bytes })?;
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(count).map_err(refused)?;
    drop(black_box(room));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_any_system_has_is_refused() {
        let size = Size::new(3, 5);
        assert!(check_room(size, 1 << 20).is_ok());
        let told = check_room(size, u64::MAX / 2).unwrap_err().to_string();
        assert!(
            told.starts_with("an image of 3x5 (height x width) takes"),
            "{told}"
        );
    }
}
