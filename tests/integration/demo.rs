//! `portcullis demo`, tried as its screen says.

use crate::harness::{TestClient, TestGateway, curl, sh};

/// What a rebuilt live plugin would be: the shipped one with another greeting in its data.
fn rebuilt(component: &[u8], greeting: &str) -> Vec<u8> {
    let old = b"hello from version 1";
    assert_eq!(old.len(), greeting.len(), "lengths stand in the code");
    let mut bytes = component.to_vec();
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    bytes[at..at + old.len()].copy_from_slice(greeting.as_bytes());
    bytes
}

#[tokio::test]
async fn the_open_route_is_balanced_over_both_servers() {
    let demo = TestGateway::builder().start_demo().await;
    let mut client = TestClient::h1(demo.address("http")).await;
    let mut seen = [client.get("/").await.text(), client.get("/").await.text()]
        .map(|text| text.lines().next().unwrap().to_owned());
    seen.sort();
    assert_eq!(seen, ["hello from upstream one", "hello from upstream two"]);
}

#[tokio::test]
async fn the_private_route_wants_the_key_shapes_fields_and_limits() {
    let demo = TestGateway::builder().start_demo().await;
    let mut client = TestClient::h1(demo.address("http")).await;
    assert_eq!(client.get("/private/hello").await.status, 401);
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let reply = client.get_with("/private/hello", &[("x-api-key", "demo-key")]).await;
        if reply.status == 200 {
            assert_eq!(
                (reply.header("x-frame-options").as_str(), reply.header("server").as_str()),
                ("DENY", "")
            );
            assert!(reply.text().contains("x-authenticated-by: portcullis"), "{}", reply.text());
            assert!(!reply.text().contains("demo-key"), "the key went to the upstream");
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses.first(), Some(&200));
    assert_eq!(statuses.last(), Some(&429));
}

#[tokio::test]
async fn curl_believes_the_certificate_and_speaks_both_protocols() {
    let demo = TestGateway::builder().start_demo().await;
    let url = format!("https://localhost:{}/", demo.address("https").port());
    let authority = demo.dir().join("ca.pem");
    for (flag, expected) in [("--http2", "200 2"), ("--http1.1", "200 1.1")] {
        let authority = authority.to_str().unwrap();
        let format = "%{http_code} %{http_version}";
        let ran = curl(["--cacert", authority, flag, &url, "-o", "/dev/null", "-w", format]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_rebuilt_plugin_is_swapped_in_on_an_open_connection() {
    let demo = TestGateway::builder().start_demo().await;
    let mut client = TestClient::h1(demo.address("http")).await;
    assert_eq!(client.get("/live/hello").await.text(), "hello from version 1, 127.0.0.1\n");
    let component = std::fs::read(demo.dir().join("live.wasm")).unwrap();
    demo.write_and_wait("live.wasm", rebuilt(&component, "hello from version 2")).await;
    assert_eq!(client.get("/live/hello").await.text(), "hello from version 2, 127.0.0.1\n");
    let line = demo.wait_for_log("a reload", |line| line.text("event") == Some("reloaded")).await;
    assert!(line.message.ends_with("policy `live` runs another version of its plugin"), "{}", line.message);
}

#[tokio::test]
async fn a_half_written_plugin_is_refused_and_the_whole_one_taken() {
    let demo = TestGateway::builder().start_demo().await;
    let mut client = TestClient::h1(demo.address("http")).await;
    let component = std::fs::read(demo.dir().join("live.wasm")).unwrap();
    let rebuilt = rebuilt(&component, "hello from version 3");
    let refusal = demo.write_and_expect_refusal("live.wasm", &rebuilt[..rebuilt.len() / 2]).await;
    assert!(refusal.contains("live.wasm"), "{refusal}");
    assert_eq!(client.get("/live/hello").await.text(), "hello from version 1, 127.0.0.1\n");
    demo.write_and_wait("live.wasm", rebuilt).await;
    assert_eq!(client.get("/live/hello").await.text(), "hello from version 3, 127.0.0.1\n");
}

#[tokio::test]
async fn it_says_what_to_try_and_ends_cleanly() {
    let mut demo = TestGateway::builder().start_demo().await;
    let http = demo.address("http");
    demo.wait_for_access_line("the commands", |line| {
        line.contains(&format!("curl http://{http}/live/hello"))
    })
    .await;
    demo.signal(rustix::process::Signal::INT);
    assert_eq!(demo.wait().await.code(), Some(0));
    assert!(demo.stdout().iter().any(|line| line.starts_with("The demo has ended")), "{:?}", demo.stdout());
}

#[tokio::test]
async fn a_busy_port_names_the_flags() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let arguments =
        ["demo", "--dir", dir.path().to_str().unwrap(), "--http", &address, "--https", "127.0.0.1:0"];
    let ran = crate::harness::portcullis(arguments).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&address) && ran.stderr.contains("--http"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_edited_config_that_is_wrong_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("portcullis.toml");
    std::fs::write(&config, "[listeners.web]\nadress = \"127.0.0.1:0\"\n").unwrap();
    let ran = crate::harness::portcullis(["demo", "--dir", dir.path().to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("`adress`") && ran.stderr.contains("demo --reset"), "{}", ran.stderr);
    assert!(std::fs::read_to_string(&config).unwrap().contains("adress"));
}

#[tokio::test]
async fn the_printed_commands_do_what_the_screen_says() {
    let demo = TestGateway::builder().start_demo().await;
    demo.wait_for_access_line("the end of the screen", |line| line.contains("the gateway goes on as it was"))
        .await;
    let screen = demo.stdout();
    let commands: Vec<&str> = screen
        .iter()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("curl "))
        .collect();
    let run = async |which: &str, expected: &str| {
        let Some(command) = commands.iter().find(|command| command.contains(which)) else {
            panic!("no command with {which:?} in {commands:?}")
        };
        let ran = sh(command).await;
        assert!(
            ran.stdout.contains(expected),
            "{command}: no {expected:?} in:\n{}{}",
            ran.stdout,
            ran.stderr
        );
        ran.stdout
    };
    let open = format!("curl http://{}/", demo.address("http"));
    let answers = [run(&open, "hello from upstream").await, run(&open, "hello from upstream").await];
    let names = answers.map(|answer| answer.lines().next().unwrap().to_owned());
    assert_ne!(names[0], names[1], "asked twice, two servers answer");
    run("-i http", "HTTP/1.1 401").await;
    run("x-api-key: demo-key", "HTTP/1.1 200").await;
    run("over HTTP/", "200 over HTTP/2").await;
    run("--http1.1", "hello from upstream").await;
    run("/live/hello", "hello from version 1").await;

    let script: Vec<&str> = screen
        .iter()
        .map(String::as_str)
        .skip_while(|line| !line.starts_with("  for "))
        .take_while(|line| *line != "  done")
        .chain(["done"])
        .collect();
    let ran = sh(&script.join("\n")).await;
    assert!(ran.stdout.starts_with("200\n") && ran.stdout.ends_with("429\n"), "{}{}", ran.stdout, ran.stderr);
}
