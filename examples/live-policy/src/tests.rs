use portcullis_sdk::testing::MockExchange;

use super::*;

#[test]
fn answers_its_own_path() {
    let mut exchange = MockExchange::new("GET", "/live/hello").client_address("127.0.0.1");
    let Decision::Reply(reply) = exchange.request_head(&mut Live) else { panic!("the policy answers") };
    assert_eq!((reply.status, reply.body), (200, format!("{GREETING}, 127.0.0.1\n").into_bytes()));
}

#[test]
fn lets_others_through_and_marks_the_answer() {
    let mut exchange = MockExchange::new("GET", "/live/other");
    assert_eq!(exchange.request_head(&mut Live), Decision::Next);
    assert_eq!(exchange.response_head(&mut Live), Decision::Next);
    assert_eq!(exchange.response_header("x-live").as_deref(), Some(GREETING));
}
