use super::{Answered, parse_h2load, parse_wrk};

const WRK: &str = "\
Running 2s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.31ms  208.90us   6.05ms   92.78%
    Req/Sec    48.76k     2.55k   51.45k    85.00%
  97040 requests in 2.00s, 16.01MB read
Requests/sec:  48501.36
Transfer/sec:      8.00MB
";

const H2LOAD: &str = "\
finished in 2.00s, 24601.50 req/s, 3.61MB/s
requests: 49203 total, 49843 started, 49203 done, 49203 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 49203 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 7.21MB (7560000) total, 1.2MB (1260000) headers (space savings 90.00%), 4.69MB (4920300) data
";

#[test]
fn reads_what_wrk_says() {
    assert_eq!(parse_wrk(WRK).unwrap(), Answered { requests: 97_040, per_second: 48_501.36 });
}

#[test]
fn reads_what_h2load_says() {
    assert_eq!(parse_h2load(H2LOAD).unwrap(), Answered { requests: 49_203, per_second: 24_601.5 });
}

#[test]
fn a_refusal_is_no_answer() {
    assert!(parse_wrk(&format!("{WRK}  Non-2xx or 3xx responses: 12\n")).is_err());
    assert!(parse_wrk(&format!("{WRK}  Socket errors: connect 0, read 3, write 0, timeout 0\n")).is_err());
    assert!(parse_h2load(&H2LOAD.replace("0 failed", "1 failed")).is_err());
    assert!(parse_h2load(&H2LOAD.replace("49203 2xx", "49000 2xx")).is_err());
}

#[test]
fn silence_and_another_form_are_errors() {
    assert!(parse_wrk("").is_err());
    assert!(parse_wrk(&WRK.replace("97040", "0")).is_err());
    assert!(parse_h2load("").is_err());
}
