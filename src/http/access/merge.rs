//! One list made of the lists of several sagas, in one order and with one cursor.
//!
//! ```text
//!   saga a:  9 7 4 ...   ─┐
//!   saga b:  8 3 2 ...   ─┼─▶  9 8 7 | next: a after 7, b after 8
//! ```
//!
//! The stores filter their lists by one saga or by none, and their cursors are their own business. So each saga's list is read by
//! itself; where the page ends within one of them, that much of it is read once more for the cursor that stands there. Nothing of
//! another saga is ever read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::store::{Listed, Page, StoreError};

/// Where the list of one saga goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    Start,
    After(String),
    End,
}

/// Reads a page of `count` lists together; `key` says what comes first (the greatest), `read` reads a page of one of them.
pub async fn merged<'a, T: Send, K: Ord>(
    count: usize,
    page: Page,
    key: impl Fn(&T) -> K + Send,
    read: impl Fn(usize, Page) -> BoxFuture<'a, Result<Listed<T>, StoreError>> + Send,
) -> Result<Listed<T>, StoreError> {
    let places = places(count, page.cursor.as_deref())?;
    let mut all = Vec::new();
    let mut fetched = Vec::with_capacity(count);
    for (at, place) in places.iter().enumerate() {
        let cursor = match place {
            Place::End => {
                fetched.push((0, None));
                continue;
            }
            Place::Start => None,
            Place::After(cursor) => Some(cursor.clone()),
        };
        let listed = read(at, Page { limit: page.limit, cursor }).await?;
        fetched.push((listed.items.len(), listed.next_cursor));
        all.extend(listed.items.into_iter().map(|item| (at, item)));
    }
    all.sort_by_key(|(_, item)| std::cmp::Reverse(key(item)));
    all.truncate(page.limit);
    let mut next = Vec::with_capacity(count);
    for (at, place) in places.into_iter().enumerate() {
        let taken = all.iter().filter(|(of, _)| *of == at).count();
        let (there, cursor) = &fetched[at];
        next.push(match (taken, cursor) {
            (0, _) if *there > 0 => place,
            (taken, _) if taken < *there => {
                let cursor = if let Place::After(cursor) = place { Some(cursor) } else { None };
                let again = read(at, Page { limit: taken, cursor }).await?;
                again.next_cursor.map_or(Place::End, Place::After)
            }
            (_, Some(cursor)) => Place::After(cursor.clone()),
            (_, None) => Place::End,
        });
    }
    let items = all.into_iter().map(|(_, item)| item).collect();
    let is_more = next.iter().any(|place| *place != Place::End);
    let written = || serde_json::to_vec(&next).map(|text| URL_SAFE_NO_PAD.encode(text));
    let next_cursor = if is_more { Some(written().map_err(|_| StoreError::BadCursor)?) } else { None };
    Ok(Listed { items, next_cursor })
}

fn places(count: usize, cursor: Option<&str>) -> Result<Vec<Place>, StoreError> {
    let Some(text) = cursor else { return Ok(vec![Place::Start; count]) };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::BadCursor)?;
    let places: Vec<Place> = serde_json::from_slice(&bytes).map_err(|_| StoreError::BadCursor)?;
    if places.len() == count { Ok(places) } else { Err(StoreError::BadCursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists of numbers, greatest first, whose cursor is the last number given.
    fn read(lists: &[Vec<u32>], at: usize, page: Page) -> BoxFuture<'static, Result<Listed<u32>, StoreError>> {
        let before = page.cursor.map_or(u32::MAX, |text| text.parse().unwrap());
        let mut items: Vec<u32> = lists[at].iter().copied().filter(|it| *it < before).collect();
        let is_more = items.len() > page.limit;
        items.truncate(page.limit);
        let next_cursor = items.last().filter(|_| is_more).map(ToString::to_string);
        Box::pin(async { Ok(Listed { items, next_cursor }) })
    }

    #[tokio::test]
    async fn pages_of_any_size_give_every_row_once_and_in_order() {
        let shapes: [&[Vec<u32>]; 4] = [
            &[vec![9, 7, 4], vec![8, 3, 2]],
            &[vec![], vec![5, 4, 3, 2, 1]],
            &[vec![10, 9, 8], vec![7], vec![6, 5, 1]],
            &[vec![]],
        ];
        for lists in shapes {
            let mut wanted: Vec<u32> = lists.iter().flatten().copied().collect();
            wanted.sort_by_key(|it| std::cmp::Reverse(*it));
            for limit in 1..=8 {
                let (mut got, mut cursor) = (Vec::new(), None);
                for _ in 0..20 {
                    let page = Page { limit, cursor };
                    let listed = merged(lists.len(), page, |it| *it, |at, page| read(lists, at, page));
                    let listed = listed.await.unwrap();
                    assert!(listed.items.len() <= limit);
                    got.extend(listed.items);
                    cursor = listed.next_cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                assert_eq!((got, cursor), (wanted.clone(), None), "{lists:?} by {limit}");
            }
        }
    }

    #[tokio::test]
    async fn a_cursor_of_another_list_is_refused() {
        let lists = [vec![3, 2, 1], vec![]];
        let listed = merged(2, Page { limit: 1, cursor: None }, |it| *it, |at, page| read(&lists, at, page)).await;
        let cursor = listed.unwrap().next_cursor;
        assert!(cursor.is_some());
        for (count, cursor) in [(1, cursor), (2, Some("x".to_owned())), (2, Some("IjEi".to_owned()))] {
            let page = Page { limit: 1, cursor };
            let listed = merged(count, page, |it| *it, |at, page| read(&lists, at, page)).await;
            assert!(matches!(listed, Err(StoreError::BadCursor)));
        }
    }
}
