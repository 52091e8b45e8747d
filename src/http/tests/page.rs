//! The page: its files, what stands around them, and which paths are its own.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;

use super::support::{Answer, Api};
use crate::http::page::{ASSETS, PATHS};

/// What the page may weigh, all files together and not compressed.
const BYTES_MAX: usize = 300_000;

async fn head(api: &Api, path: &str, known: &str) -> Answer {
    api.send(Request::get(path).header("if-none-match", known).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn every_path_of_the_page_is_the_document_and_others_stay_problems() {
    let api = Api::of(vec![]);
    let document = api.get("/").await.text;
    assert!(document.starts_with("<!doctype html>"), "{document}");
    for path in PATHS {
        let path = path.replace("{saga}", "order").replace("{order_id}", "a%2Fb%20c").replace("{id}", "7");
        let answer = api.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, document.as_str()), "{path}");
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    }
    assert!(api.get("/v1/ordres").await.problem(404).contains("did you mean `/v1/orders`"));
    assert!(api.get("/v1/sagas/order/orders/1/nothing").await.problem(404).contains("no path of this API"));
    for path in ["/order", "/sagas/order/orders", "/assets/", "/assets/js/none.js", "/assets/../Cargo.toml"] {
        api.get(path).await.problem(404);
    }
    api.post("/orders", &serde_json::json!({})).await.problem(405);
}

#[tokio::test]
async fn every_file_is_guarded_and_asked_for_again_only_when_it_changed() {
    let api = Api::of(vec![]);
    for asset in ASSETS {
        let path = format!("/assets/{}", asset.path);
        let answer = api.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.text.as_bytes(), asset.content, "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer");
        assert_eq!(answer.headers["cache-control"], "no-cache");

        let tag = answer.headers["etag"].to_str().unwrap();
        for known in [tag.to_owned(), format!("\"other\", W/{tag}")] {
            let again = head(&api, &path, &known).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{path}");
            assert_eq!(again.headers["etag"], tag);
        }
        assert_eq!(head(&api, &path, "\"other\"").await.status, 200, "{path}");
    }
    let api_policy = &api.get("/v1/status").await.headers["content-security-policy"];
    assert!(!api_policy.to_str().unwrap().contains("script-src"), "answers of the API run nothing");
}

/// The folder and the table are the same, and every import and address of a file names one of them.
#[test]
fn no_file_is_missing_or_left_over_and_together_they_are_light() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page/assets");
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    assert_eq!(found, served);
    assert!(ASSETS.iter().map(|asset| asset.content.len()).sum::<usize>() < BYTES_MAX);

    let document = std::str::from_utf8(ASSETS[0].content).unwrap();
    for address in document.split('"').filter_map(|text| text.strip_prefix("/assets/")) {
        assert!(served.contains(address), "the document names {address}");
    }
    for asset in ASSETS.iter().filter(|it| it.path.starts_with("js/")) {
        let text = std::str::from_utf8(asset.content).unwrap();
        let place = std::path::Path::new(asset.path).parent().unwrap();
        for name in text.split('\'').filter(|text| text.starts_with("./") || text.starts_with("../")) {
            let (up, name) = name.strip_prefix("../").map_or((false, name), |rest| (true, rest));
            let from = if up { place.parent().unwrap() } else { place };
            let path = from.join(name.trim_start_matches("./"));
            assert!(served.contains(path.to_str().unwrap()), "{} imports {}", asset.path, path.display());
        }
    }
}

/// What the content security policy would refuse, and what would let a message's text become markup, is not in any file.
#[test]
fn nothing_in_the_files_needs_more_than_the_policy_allows() {
    let document = std::str::from_utf8(ASSETS[0].content).unwrap();
    assert!(!document.contains("style=") && !document.contains("<style"), "a style stands in the document");
    assert_eq!(document.matches("<script").count(), document.matches("<script src=").count() + 1, "one is the module");
    for asset in ASSETS {
        let text = std::str::from_utf8(asset.content).unwrap();
        for refused in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!text.contains(refused), "{} uses {refused}", asset.path);
        }
        // The one address outside that may stand in them names a language of markup and is never fetched.
        let outside = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http://") && !outside.contains("https://"), "{} names another server", asset.path);
    }
}
