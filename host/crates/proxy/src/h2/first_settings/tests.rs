use super::FirstSettings;

fn frame(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut frame = vec![0, 0, (settings.len() * 6) as u8, 4, 0, 0, 0, 0, 0];
    for (id, value) in settings {
        frame.extend(id.to_be_bytes());
        frame.extend(value.to_be_bytes());
    }
    frame
}

#[test]
fn finds_the_size_however_the_bytes_arrive() {
    let mut bytes = frame(&[(3, 100), (6, 16_384), (4, 65_535)]);
    bytes.extend(frame(&[(6, 1)]));
    for step in 1..bytes.len() {
        let mut settings = FirstSettings::default();
        let found: Vec<_> = bytes.chunks(step).filter_map(|piece| settings.read(piece)).collect();
        assert_eq!(found, [16_384], "in steps of {step}: once, and of the first frame alone");
    }
}

#[test]
fn finds_nothing_if_there_is_nothing() {
    assert_eq!(FirstSettings::default().read(&frame(&[(3, 100)])), None);
    assert_eq!(FirstSettings::default().read(&frame(&[])), None);
    assert_eq!(FirstSettings::default().read(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None);
}

#[test]
fn keeps_no_more_than_it_needs() {
    let mut settings = FirstSettings::default();
    let mut endless = vec![0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0];
    endless.extend([0; 600]);
    assert_eq!(settings.read(&endless), None);
    assert!(!settings.done);
    assert_eq!(settings.read(&[0; 100_000]), None);
    assert!(settings.done && settings.bytes.is_empty());
}
