use super::{days, time, validity};

#[test]
fn counts_days() {
    assert_eq!(days(1970, 1, 1), 0);
    assert_eq!(days(2000, 2, 29), 11_016);
    assert_eq!(days(2000, 3, 1), 11_017);
    assert_eq!(days(1950, 1, 1), -7305);
}

#[test]
fn reads_both_kinds_of_time() {
    assert_eq!(time(b"\x17\x0d491231235959Zrest"), Some((2_524_607_999, b"rest".as_slice())));
    assert_eq!(time(b"\x17\x0d500101000000Z"), Some((-631_152_000, b"".as_slice())));
    assert_eq!(time(b"\x18\x0f20500101000000Z"), Some((2_524_608_000, b"".as_slice())));
    assert_eq!(time(b"\x17\x0d499931235959Z"), None);
    assert_eq!(time(b"\x17\x0b4912312359Z"), None);
}

#[test]
fn no_prefix_of_a_certificate_panics() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2060, 1, 1);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    assert_eq!(validity(&der), Some((1_577_836_800, 2_840_140_800)));
    for length in 0..der.len() {
        assert_eq!(validity(&der[..length]), None);
    }
}
