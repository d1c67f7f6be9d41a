use super::Attributes;

#[test]
fn attributes_keep_their_order_and_their_last_value() {
    let mut attributes = Attributes::default();
    assert!(attributes.set("b", "1") && attributes.set("a", "2") && attributes.set("b", "3"));
    assert_eq!(attributes.get("b"), Some("3"));
    assert_eq!(attributes.get("c"), None);
    assert_eq!(attributes.iter().collect::<Vec<_>>(), [("b", "3"), ("a", "2")]);
}

#[test]
fn attributes_are_bounded_by_names_and_values_together() {
    let mut attributes = Attributes::default();
    let most = "x".repeat(Attributes::BYTES_MAX - 4);
    assert!(!attributes.set("name", &format!("{most}x")), "one byte too many");
    assert_eq!(attributes.get("name"), None);
    assert!(attributes.set("name", &most));
    assert!(!attributes.set("n", ""), "nothing fits beside it");
    // What a value takes is free again when another one takes its place.
    assert!(attributes.set("name", "short") && attributes.set("n", &most[..100]));
    assert!(!attributes.set("name", &most));
    assert_eq!(attributes.get("name"), Some("short"), "a refused value changes nothing");
    attributes.clear();
    assert!(attributes.set("name", &most) && attributes.iter().count() == 1);
}
