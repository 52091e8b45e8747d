//! The web page: files that are part of the program, and nothing else.
//!
//! ```text
//!   /  /orders  /sagas/order/orders/101 …  ──▶ index.html ──▶ /assets/js/main.js ──▶ the page that belongs to the path
//! ```
//!
//! Every path of the page answers the same document; the script in it looks at the address and asks the API. Nothing is fetched
//! from anywhere else, no style or script stands in the document, and the content security policy holds browsers to that. A path
//! of no page stays what it was: a problem.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use super::access::Door;
use super::layers::unknown_path;
use crate::saga::journal::hex;

/// The page loads from where it came from and talks to nobody else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Browsers ask each time whether a file is still the same, so a new Escrow is seen at once; the answer is a few bytes.
const CACHE_CONTROL: &str = "no-cache";

/// Every path that shows the page; the script has the same list.
pub const PATHS: &[&str] = &[
    "/",
    "/orders",
    "/sagas/{saga}/orders/{order_id}",
    "/actions",
    "/actions/{id}",
    "/map",
    "/map/{saga}",
    "/incidents",
    "/incidents/{id}",
    "/quarantine",
    "/quarantine/{id}",
    "/sagas",
    "/sagas/{saga}",
    "/system",
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// One file of the page.
pub struct Asset {
    /// Below `/assets/`.
    pub path: &'static str,
    content_type: &'static str,
    pub content: &'static [u8],
}

macro_rules! assets {
    ($($path:literal: $content_type:expr),* $(,)?) => {
        &[$(Asset { path: $path, content_type: $content_type, content: include_bytes!(concat!("assets/", $path)) }),*]
    };
}

/// Every file, the document first.
pub const ASSETS: &[Asset] = assets![
    "index.html": "text/html; charset=utf-8",
    "escrow.css": "text/css; charset=utf-8",
    "pages.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "js/act.js": JAVASCRIPT,
    "js/api.js": JAVASCRIPT,
    "js/dialog.js": JAVASCRIPT,
    "js/diff.js": JAVASCRIPT,
    "js/dom.js": JAVASCRIPT,
    "js/graph.js": JAVASCRIPT,
    "js/live.js": JAVASCRIPT,
    "js/main.js": JAVASCRIPT,
    "js/search.js": JAVASCRIPT,
    "js/session.js": JAVASCRIPT,
    "js/show.js": JAVASCRIPT,
    "js/table.js": JAVASCRIPT,
    "js/theme.js": JAVASCRIPT,
    "js/time.js": JAVASCRIPT,
    "js/virtual.js": JAVASCRIPT,
    "js/pages/action.js": JAVASCRIPT,
    "js/pages/actions.js": JAVASCRIPT,
    "js/pages/incidents.js": JAVASCRIPT,
    "js/pages/map.js": JAVASCRIPT,
    "js/pages/now.js": JAVASCRIPT,
    "js/pages/order.js": JAVASCRIPT,
    "js/pages/order_steps.js": JAVASCRIPT,
    "js/pages/order_trail.js": JAVASCRIPT,
    "js/pages/orders.js": JAVASCRIPT,
    "js/pages/quarantine.js": JAVASCRIPT,
    "js/pages/sagas.js": JAVASCRIPT,
    "js/pages/system.js": JAVASCRIPT,
];

/// What names the content of each file, in the order of [`ASSETS`].
static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| ASSETS.iter().map(|asset| format!("\"{}\"", short_hash(asset.content))).collect());

/// The routes of the page.
pub fn router() -> Router<Door> {
    let pages = PATHS.iter().fold(Router::new(), |router, path| router.route(path, get(show_page)));
    pages.route("/assets/{*path}", get(show_asset))
}

async fn show_page(headers: HeaderMap) -> Response {
    answer(0, &headers)
}

async fn show_asset(Path(path): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    match ASSETS.iter().position(|asset| asset.path == path) {
        Some(at) => answer(at, &headers),
        None => unknown_path(uri).await.into_response(),
    }
}

/// The file, or that the browser has it already.
fn answer(at: usize, asked: &HeaderMap) -> Response {
    let (asset, tag) = (&ASSETS[at], TAGS[at].as_str());
    let has_it = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut response = if has_it {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type))], asset.content).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
    headers.extend(HeaderValue::from_str(tag).ok().map(|tag| (header::ETAG, tag)));
    response
}

/// Enough of a hash to tell versions of one file apart.
fn short_hash(content: &[u8]) -> String {
    hex(&Sha256::digest(content)[..12])
}
