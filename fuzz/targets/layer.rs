//! Whatever a registry gives as a layer: a component no larger than it may be, or an error; a layer that is a component
//! as it lies is left as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_registry::{COMPONENT_BYTES_MAX, LayerFormat, component};

fuzz_target!(|input: &[u8]| {
    if let Ok((format, component)) = component(input.to_vec()) {
        assert!(component.len() as u64 <= COMPONENT_BYTES_MAX);
        if format == LayerFormat::Wasm {
            assert_eq!(component, input);
        }
    }
});
