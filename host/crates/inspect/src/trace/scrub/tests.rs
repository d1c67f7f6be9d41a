use portcullis_model::{Name, Secret};
use serde_json::json;

use super::Scrubber;

fn scrubber() -> Scrubber {
    let secrets = [
        (Name::from("long"), Secret::new(b"hunter2-hunter2\n".as_slice())),
        (Name::from("part"), Secret::new(b"hunter2".as_slice())),
        (Name::from("pin"), Secret::new(b"42".as_slice())),
        (Name::from("bytes"), Secret::new([0xff_u8, 0xfe, 0xfd, 0xfc].as_slice())),
    ];
    Scrubber::of_secrets(secrets.iter().map(|(name, secret)| (name, secret)))
}

#[test]
fn secrets_are_marked_wherever_they_stand() {
    let mut value = json!({
        "list": ["Bearer hunter2-hunter2", "hunter2", "plain"],
        "hex": "00fffefdfc00",
        "named hunter2": null,
    });
    scrubber().scrub(&mut value);
    assert_eq!(
        value,
        json!({
            "list": ["Bearer [secret:long]", "[secret:part]", "plain"],
            "hex": "00[secret:bytes]00",
            "named [secret:part]": null,
        })
    );
}

#[test]
fn a_short_one_is_marked_where_it_is_all() {
    let mut value = json!(["42", "1427"]);
    scrubber().scrub(&mut value);
    assert_eq!(value, json!(["[secret:pin]", "1427"]));
}

#[test]
fn a_field_is_marked_with_its_parts_and_words_stay_words() {
    let mut scrubber = Scrubber::default();
    scrubber.add_field(b"Bearer abcdefgh-ijklmnop", "[removed:authorization]");
    scrubber.add_field(b"demo-key", "[removed:x-api-key]");
    let mut value =
        json!(["abcdefgh-ijklmnop", "client:demo-key", "demo-keys", "Bearer abcdefgh-ijklmnop", "Bearer"]);
    scrubber.scrub(&mut value);
    let (token, key) = ("[removed:authorization]", "[removed:x-api-key]");
    assert_eq!(value, json!([token, format!("client:{key}"), "demo-keys", token, "Bearer"]));
}

#[test]
fn nothing_of_it_is_printed() {
    assert!(!format!("{:?}", scrubber()).contains("hunter"));
}
