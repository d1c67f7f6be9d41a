//! A normal path is normal: normalising it again changes nothing, and nothing that leads elsewhere is left in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_http::{RequestHead, normalize_path, set_request_target};

fuzz_target!(|input: &str| {
    let mut once = String::new();
    if normalize_path(input, &mut once).is_ok() {
        let mut twice = String::new();
        assert_eq!(normalize_path(&once, &mut twice), Ok(()));
        assert_eq!(once, twice);
        assert!(once.starts_with('/') && !once.contains("//"));
        assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
    }
    let mut head = RequestHead::default();
    if set_request_target(&mut head, input).is_ok() {
        assert!(head.target().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
        assert_eq!(head.target().len(), head.path().len() + head.query().map_or(0, |query| query.len() + 1));
    }
});
