use super::hash128;

/// The key and the inputs of the reference code: bytes 0, 1, 2, … of each length.
fn check(length: u8, expected: &str) {
    let key =
        [u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]), u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15])];
    let input: Vec<u8> = (0..length).collect();
    let bytes: Vec<u8> = hash128(key, &input).iter().flat_map(|word| word.to_le_bytes()).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected, "of {length} bytes");
}

#[test]
fn agrees_with_the_reference_vectors() {
    check(0, "a3817f04ba25a8e66df67214c7550293");
    check(1, "da87c1d86b99af44347659119b22fc45");
    check(2, "8177228da4a45dc7fca38bdef60affe4");
}

#[test]
fn depends_on_key_length_and_every_byte() {
    let base = hash128([1, 2], b"0123456789abcdef");
    assert_ne!(base, hash128([2, 2], b"0123456789abcdef"));
    assert_ne!(base, hash128([1, 3], b"0123456789abcdef"));
    assert_ne!(base, hash128([1, 2], b"0123456789abcdef\0"));
    assert_ne!(base, hash128([1, 2], b"0123456789abcdeg"));
}
