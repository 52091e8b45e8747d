//! Definitions: any text is a saga or a list of findings, each with a place in the text, and a saga reads the same again.

use escrow::saga::parse::{Ink, Severity, check_together, parse};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse("saga.yaml", text) {
        Ok(parsed) => {
            let again = parse("saga.yaml", &parsed.saga.text).expect("what was read is read again").saga;
            assert_eq!(parsed.saga.fingerprint, again.fingerprint);
            assert!(parsed.warnings.iter().all(|finding| finding.severity == Severity::Warning));
            check_together(&[("saga.yaml", &parsed.saga), ("again.yaml", &again)]);
        }
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
            let lines = text.lines().count().max(1) + 1;
            for finding in findings {
                assert!(finding.line >= 1 && finding.line <= lines && finding.column >= 1, "{finding:?}");
                assert!(!finding.render(text, Ink::Plain).is_empty());
            }
        }
    }
}
