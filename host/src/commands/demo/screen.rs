//! What the demo shows: what runs, and what to try.

use std::path::{Path, PathBuf};

use portcullis_proxy::Listening;

use super::files::Files;

/// The path of the live policy's source in the repository.
const SOURCE: &str = "examples/live-policy/src/lib.rs";

/// The text for a gateway that listens on `listening`.
pub(crate) fn text(files: &Files, listening: &[Listening]) -> String {
    let url = |wanted: bool| {
        let found = listening.iter().find(|listener| listener.tls == wanted);
        found.map(|Listening { address, .. }| match wanted {
            // The certificate names it, as people do.
            true if address.ip().is_loopback() => format!("https://localhost:{}", address.port()),
            true => format!("https://{address}"),
            false => format!("http://{address}"),
        })
    };
    let mut text = String::from("\nPortcullis is running. Press Ctrl-C to end it.\n\n");
    text.push_str(&format!("  config     {}", files.config.display()));
    text.push_str(if files.kept { "  (yours, kept)\n" } else { "\n" });
    for Listening { name, address, tls, .. } in listening {
        text.push_str(&format!("  {name:10} {}://{address}\n", if *tls { "https" } else { "http" }));
    }
    if let Some(http) = url(false) {
        text.push_str(&commands(&http));
    }
    if let Some(https) = url(true) {
        let authority = files.authority.display();
        text.push_str(&format!(
            "\nThe same over TLS, by HTTP/2 and by HTTP/1.1:\n\
             \x20 curl --cacert {authority} {https}/ -o /dev/null -sw '%{{http_code}} over HTTP/%{{http_version}}\\n'\n\
             \x20 curl --cacert {authority} --http1.1 {https}/\n"
        ));
    }
    if let Some(base) = url(false).or_else(|| url(true)) {
        text.push_str(&live(&base, &files.live));
    }
    text.push_str(&format!(
        "\nOr edit {} and save it: it is checked and swapped in without dropping a connection,\n\
         and a mistake is shown here with its line while the gateway goes on as it was.\n\n",
        files.config.display()
    ));
    text
}

fn commands(http: &str) -> String {
    format!(
        "
Open, and balanced over two servers: ask twice and see who answers
  curl {http}/

Behind policies: 401 without the key, 200 with it
  curl -i {http}/private/hello
  curl -i -H 'x-api-key: demo-key' {http}/private/hello

Until the rate limit says 429
  for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    curl -s -o /dev/null -w '%{{http_code}}\\n' -H 'x-api-key: demo-key' {http}/private/hello
  done
"
    )
}

fn live(base: &str, live: &Path) -> String {
    let try_it = format!(
        "\nA policy that you swap in while traffic flows:\n  \
         curl {base}/live/hello\n"
    );
    let live = std::path::absolute(live).unwrap_or_else(|_| live.to_path_buf());
    let how = match repository() {
        Some(root) => format!(
            "Its source is {}\n\
             Change the greeting, then in another terminal build it, and ask again:\n  \
             cd {}\n  \
             cargo build --profile plugin --target wasm32-wasip2 -p portcullis-example-live &&\n    \
             cp target/wasm32-wasip2/plugin/portcullis_example_live.wasm {}\n",
            root.join(SOURCE).display(),
            root.display(),
            live.display(),
        ),
        None => format!(
            "Its source is {SOURCE} in Portcullis' repository, which is not around here. Any policy built for\n\
             wasm32-wasip2 does: copy it to {} and ask again.\n",
            live.display(),
        ),
    };
    format!("{try_it}{how}")
}

/// The repository that the user stands in, or else the one that the binary was built in.
fn repository() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let binary = std::env::current_exe().ok();
    let starts = here.iter().chain(&binary);
    starts
        .flat_map(|start| start.ancestors())
        .find(|folder| folder.join(SOURCE).is_file())
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{Files, Listening, text};

    #[test]
    fn the_commands_name_the_actual_addresses_and_files() {
        let files = Files {
            dir: "demo".into(),
            config: "demo/portcullis.toml".into(),
            authority: "demo/ca.pem".into(),
            live: "demo/live.wasm".into(),
            kept: false,
        };
        let listening = |name: &str, port: u16, tls| Listening {
            name: name.into(),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            tls,
            connections: 0,
        };
        let text = text(&files, &[listening("http", 9080, false), listening("https", 9443, true)]);
        for expected in [
            "curl http://127.0.0.1:9080/\n",
            "curl -i -H 'x-api-key: demo-key' http://127.0.0.1:9080/private/hello",
            "curl --cacert demo/ca.pem --http1.1 https://localhost:9443/\n",
            "curl http://127.0.0.1:9080/live/hello",
            "/demo/live.wasm",
        ] {
            assert!(text.contains(expected), "no {expected:?} in:\n{text}");
        }
    }
}
