//! Host traits and types of the contract, generated from `wit/`.
//!
//! Only the imports are generated. Hooks are all optional, so they are looked up by name: see `hooks.rs`.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "portcullis:policy/imports",
    imports: {
        // The functions that wait.
        "portcullis:policy/http-client.send": async | trappable,
        "portcullis:policy/http-client.send-bytes": async | trappable,
        "portcullis:policy/http-client.send-all": async | trappable,
        "portcullis:policy/http-client.send-all-bytes": async | trappable,
        "portcullis:policy/cache-purge.url": async | trappable,
        "portcullis:policy/cache-purge.prefix": async | trappable,
        "portcullis:policy/cache-purge.tag": async | trappable,
        default: trappable,
    },
});
