//! What the guests share.

/// The value of a key in a flat JSON object of strings without escapes, which is all that the tests write.
#[must_use]
pub fn setting<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = config.split_once(&format!("\"{key}\":\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Puts a plugin's manifest into its component.
#[macro_export]
macro_rules! manifest {
    ($json:literal) => {
        #[used]
        #[unsafe(link_section = "portcullis:manifest")]
        static MANIFEST: [u8; $json.len()] = *$json;
    };
}
