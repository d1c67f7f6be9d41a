//! Asks a server in `on-tick`, and shows what it answered in an attribute.

wit_bindgen::generate!({
    inline: "package test:guest; world tick-asks {
        import portcullis:policy/store@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/http-client@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/tick@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::{request_head, tick};
use portcullis::policy::{exchange, http_client, store};

struct TickAsks;

impl tick::Guest for TickAsks {
    fn on_tick() -> Result<(), String> {
        let answer = http_client::send(&http_client::Outbound {
            method: "GET".to_owned(),
            url: "http://a.test/tick".to_owned(),
            headers: vec![("x-from".to_owned(), "tick".to_owned())],
            body: Vec::new(),
            options: Vec::new(),
        });
        let told = match answer {
            Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
            Err(error) => format!("{error:?}"),
        };
        store::set("answer", told.as_bytes(), None).expect("the store has room");
        Ok(())
    }
}

impl request_head::Guest for TickAsks {
    fn on_request_head() -> Result<(), String> {
        let answer = store::get("answer").expect("the store is there").unwrap_or_default();
        exchange::set_attribute("result", &String::from_utf8_lossy(&answer)).expect("it fits");
        Ok(())
    }
}

export!(TickAsks);
