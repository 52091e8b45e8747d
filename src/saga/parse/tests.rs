use super::*;
#[test]
fn scratch() {
    for path in std::env::var("FILES").unwrap().split(' ') {
        let text = std::fs::read_to_string(path).unwrap();
        match parse(path, &text) {
            Ok(parsed) => {
                println!("{path} ok {:02x?}", &parsed.saga.fingerprint[..4]);
                for w in parsed.warnings {
                    println!("{}", w.render(&text, Ink::Plain));
                }
            }
            Err(list) => {
                for w in list {
                    println!("{}", w.render(&text, Ink::Plain));
                }
            }
        }
    }
}
