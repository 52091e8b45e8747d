//! Where a page ends: opaque to callers, and checked when it comes back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Page, StoreError};

/// The cursor for `place`.
pub fn write(place: &impl Serialize) -> Result<String, StoreError> {
    super::rows::json(place).map(|text| URL_SAFE_NO_PAD.encode(text))
}

/// The place the page begins after, if it is not the first.
///
/// # Errors
/// [`StoreError::BadCursor`] when it is not one that [`write()`] made for the same kind of list.
pub fn read<T: DeserializeOwned>(page: &Page) -> Result<Option<T>, StoreError> {
    let Some(text) = &page.cursor else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::BadCursor)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|_| StoreError::BadCursor)
}

/// Cuts `items`, of which one more than asked for was read, and gives the cursor of the last that stays.
pub fn cut<T, P: Serialize>(
    mut items: Vec<T>,
    limit: usize,
    place: impl Fn(&T) -> P,
) -> Result<super::Listed<T>, StoreError> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = match items.last() {
        Some(last) if more => Some(write(&place(last))?),
        Some(_) | None => None,
    };
    Ok(super::Listed { items, next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let place = (7_i64, "order".to_owned(), "ü 1".to_owned());
        let page = Page { limit: 1, cursor: Some(write(&place).unwrap()) };
        assert_eq!(read::<(i64, String, String)>(&page).unwrap(), Some(place));
        for wrong in ["", "x", "!!", "W10"] {
            let page = Page { limit: 1, cursor: Some(wrong.to_owned()) };
            assert!(matches!(read::<(i64, String, String)>(&page), Err(StoreError::BadCursor)), "{wrong}");
        }
    }
}
