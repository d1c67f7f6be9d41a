//! Generated from `wit/`: the imports, and for each hook what exports it.
//!
//! One world for each hook, so that a component exports those that its policy has and no other. The linker drops the
//! imports that nothing calls.

wit_bindgen::generate!({
    path: "wit",
    world: "imports",
    generate_unused_types: true,
    generate_all,
});

pub mod lifecycle {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package portcullis:sdk; world lifecycle { export portcullis:policy/lifecycle@0.2.0; }",
        world: "portcullis:sdk/lifecycle",
        pub_export_macro: true,
    });
}

pub mod request_head {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package portcullis:sdk; world request-head { export portcullis:policy/request-head@0.2.0; }",
        world: "portcullis:sdk/request-head",
        pub_export_macro: true,
    });
}

pub mod request_body {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package portcullis:sdk; world request-body { export portcullis:policy/request-body@0.2.0; }",
        world: "portcullis:sdk/request-body",
        pub_export_macro: true,
    });
}

pub mod response_head {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package portcullis:sdk; world response-head { export portcullis:policy/response-head@0.2.0; }",
        world: "portcullis:sdk/response-head",
        pub_export_macro: true,
    });
}

pub mod response_body {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package portcullis:sdk; world response-body { export portcullis:policy/response-body@0.2.0; }",
        world: "portcullis:sdk/response-body",
        pub_export_macro: true,
    });
}

pub mod completed {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package portcullis:sdk; world completed { export portcullis:policy/completed@0.2.0; }",
        world: "portcullis:sdk/completed",
        pub_export_macro: true,
    });
}

pub mod tick {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package portcullis:sdk; world tick { export portcullis:policy/tick@0.2.0; }",
        world: "portcullis:sdk/tick",
        pub_export_macro: true,
    });
}
