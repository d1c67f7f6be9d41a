//! A small web server behind the gateway that answers with its name and the request that it got.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::{Request, Response};
use portcullis_admin::WebServer;

/// Starts one on a free port of the loopback address.
///
/// # Errors
/// If there is none.
pub(crate) async fn start(name: &'static str) -> io::Result<WebServer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    WebServer::start(address, move |request: &Request<Incoming>| answer(name, request)).await
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(echo(name, request))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(SERVER, HeaderValue::from_static("portcullis-demo-upstream"));
    response
}

/// The name of the server, and the request as it arrived.
fn echo<B>(name: &str, request: &Request<B>) -> String {
    let mut text = format!(
        "hello from upstream {name}\n\n{} {} {:?}\n",
        request.method(),
        request.uri(),
        request.version()
    );
    for (field, value) in request.headers() {
        text.push_str(&format!("{field}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::echo;

    #[test]
    fn tells_its_name_and_the_request() {
        let request = hyper::Request::get("/a?b").header("x-forwarded-for", "127.0.0.1").body(()).unwrap();
        assert_eq!(
            echo("one", &request),
            "hello from upstream one\n\nGET /a?b HTTP/1.1\nx-forwarded-for: 127.0.0.1\n"
        );
    }
}
