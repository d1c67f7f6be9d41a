//! Builds the shipped policies, and the one that the demo swaps live, to components.

use portcullis_wasm_build::{BuildError, Source, build_components};

const PACKAGES: [&str; 7] = [
    "portcullis-plugin-api-key",
    "portcullis-plugin-external-auth",
    "portcullis-plugin-headers",
    "portcullis-plugin-ip-filter",
    "portcullis-plugin-jwt",
    "portcullis-plugin-rate-limit",
    "portcullis-example-live",
];

fn main() -> Result<(), BuildError> {
    build_components(Source::Packages(&PACKAGES), "plugin").map(drop)
}
