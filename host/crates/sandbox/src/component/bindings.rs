//! Host traits and types of the contract, generated from `wit/`.
//!
//! Only the imports are generated. Hooks are all optional, so they are looked up by name: see `hooks.rs`.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "portcullis:policy/imports",
    imports: {
        // The one function that waits.
        "portcullis:policy/http-client.send": async | trappable,
        default: trappable,
    },
});
