//! The corpus of the fuzz targets, replayed: what was once found stays mended. And each target over a few inputs that were made
//! from those, so that it says something also where nobody has a nightly compiler. CONTRIBUTING.md says how to fuzz.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;

/// Inputs made from each input of the corpus, where `ESCROW_FUZZ_ROUNDS` does not say.
const MADE_OF_EACH: u64 = 8;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (path, input) in paths.iter().zip(&inputs) {
        eprintln!("{}", path.display());
        run(input);
    }
    let rounds = std::env::var("ESCROW_FUZZ_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(MADE_OF_EACH);
    for (ix, input) in inputs.iter().enumerate() {
        let other = &inputs[(ix * 7 + 1) % inputs.len()];
        for round in 0..rounds {
            run(&altered(input, other, (ix as u64) << 32 | round));
        }
    }
}

/// An input like `one`, with some bytes changed and a piece of `other`; the same for the same `seed`.
fn altered(one: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % bound.max(1)
    };
    let mut bytes = one.to_vec();
    for _ in 0..=below(3) {
        if let Some(byte) = (!bytes.is_empty()).then(|| below(bytes.len())).and_then(|at| bytes.get_mut(at)) {
            *byte = u8::try_from(below(256)).unwrap();
        }
    }
    let (from, to) = (below(other.len()), below(bytes.len()));
    let piece = &other[from..(from + below(32)).min(other.len())];
    bytes.splice(to..to, piece.iter().copied());
    bytes.truncate(one.len() + below(64));
    bytes
}

#[test]
fn frames_of_the_broker() {
    replay("frames", targets::frames::run);
}

#[test]
fn messages() {
    replay("message", targets::message::run);
}

#[test]
fn stored_messages() {
    replay("stored", targets::stored::run);
}

#[test]
fn definitions() {
    replay("definition", targets::definition::run);
}

#[test]
fn expressions() {
    replay("expression", targets::expression::run);
}

#[test]
fn requests_of_the_api() {
    replay("http", targets::http::run);
}

#[test]
fn audit_trails() {
    replay("journal", targets::journal::run);
}
