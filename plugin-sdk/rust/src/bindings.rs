//! Generated from `wit/`: the imports, and for each hook what exports it.
//!
//! One world for each hook, so that a component exports those that its policy has and no other. The linker drops the
//! imports that nothing calls. The files in `bindings/` are written by `PORTCULLIS_BLESS=1 cargo xtask check bindings`
//! in the gateway's repository.

include!("../bindings/imports.rs");

pub mod lifecycle {
    include!("../bindings/lifecycle.rs");
}

pub mod request_head {
    include!("../bindings/request_head.rs");
}

pub mod request_body {
    include!("../bindings/request_body.rs");
}

pub mod response_head {
    include!("../bindings/response_head.rs");
}

pub mod response_body {
    include!("../bindings/response_body.rs");
}

pub mod completed {
    include!("../bindings/completed.rs");
}

pub mod tick {
    include!("../bindings/tick.rs");
}
