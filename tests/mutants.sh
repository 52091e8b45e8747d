#!/usr/bin/env bash
# Changes the pure core in one small way after another and sees whether its tests notice.
#
#   tests/mutants.sh                        all of src/saga (hours)
#   tests/mutants.sh -f 'src/saga/machine/*.rs'   any option of cargo-mutants
#
# A mutant of the whole program takes a minute to build, one of the core seconds. So this makes a package of the pure parts
# alone, with the tests that need nothing else, under target/mutants, and runs `cargo mutants` there. What survives is in
# target/mutants/mutants.out/missed.txt. Needs cargo-mutants (cargo install cargo-mutants).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly INTO=target/mutants
command -v cargo-mutants >/dev/null || { echo "mutants: please run: cargo install cargo-mutants" >&2; exit 1; }

rm -rf "$INTO/src" "$INTO/tests"
mkdir -p "$INTO/src/bus" "$INTO/src/worker" "$INTO/tests"
cp -r src/saga src/wire src/faults "$INTO/src/"
cp src/bus/topic.rs "$INTO/src/bus/"
cp src/worker/reading.rs "$INTO/src/worker/"
cp -r tests/machine tests/decide tests/definitions tests/fixtures "$INTO/tests/"
mkdir -p "$INTO/docs" && cp docs/state-machine.md "$INTO/docs/"
cp -r sagas examples rustfmt.toml Cargo.lock README.md "$INTO/" 2>/dev/null || true

# The seams without what stands behind them: the types that the pure parts move.
sed -e '/^mod canary;/d' -e '/^pub mod \(http\|memory\|plan\|rabbitmq\|services\);/d' -e '/^mod peek;/d' -e '/^pub use self::peek/d' \
    src/bus/mod.rs >"$INTO/src/bus/mod.rs"
{
    echo '//! The rows that the pure parts read.'
    echo 'use crate::saga::time::Moment;'
    echo 'pub use crate::saga::batch::StoredPayload;'
    sed -n '/^\/\/\/ Where a tap stands\./,/^}/p' src/store/mod.rs
} >"$INTO/src/store.rs"
printf '//! The pure parts of the loops.\npub mod reading;\npub mod sight;\n' >"$INTO/src/worker/mod.rs"
# Counting what could not be read needs a clock, and decides nothing.
printf '//! Sees nothing.\n#[derive(Default)]\npub struct Sight;\nimpl Sight {\n    pub fn read(&self, _: &str, _: bool) {}\n}\n' >"$INTO/src/worker/sight.rs"
printf '//! The pure core.\npub mod bus;\npub mod faults;\npub mod saga;\npub mod store;\npub mod wire;\npub mod worker;\n' >"$INTO/src/lib.rs"

# The same package without the program and what only the program needs; never built for use, so without line tables.
{
    sed -n '/^\[package\]/,/^$/p' Cargo.toml | grep -v -e '^default-run' -e '^readme'
    printf '[lib]\ndoctest = false\n\n[dependencies]\n'
    grep -E '^(futures-util|serde|serde_json|serde-saphyr|annotate-snippets|strsim|cel|jiff|uuid|sha2|base64|thiserror|percent-encoding) = ' Cargo.toml
    printf '\n[dev-dependencies]\n'
    grep -E '^(proptest|jsonschema|tempfile) = ' Cargo.toml
    printf '\n[features]\nfaults = []\n\n[profile.dev]\ndebug = false\n\n[workspace]\n'
} >"$INTO/Cargo.toml"

cd "$INTO"
# What changes nothing: planted mistakes are off here, so "never planted" is what the code says already, and how one would be
# made matters to nobody.
equal=(
    --exclude-re 'replace match guard is_planted\(\S*\) with false'
    --exclude-re 'replace \+ with . in Machine.*::send_compensation'
)
exec cargo mutants --no-shuffle --timeout 120 --colors never "${equal[@]}" "$@"
