use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::prepare;
use crate::cli::DemoArguments;

fn arguments(dir: &Path) -> DemoArguments {
    DemoArguments { dir: dir.to_path_buf(), http: None, https: None, reset: false }
}

fn upstreams(port: u16) -> [SocketAddr; 2] {
    [port, port + 1].map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
}

fn config(dir: &Path) -> String {
    fs::read_to_string(dir.join("portcullis.toml")).unwrap()
}

#[test]
fn an_untouched_config_follows_the_flags_and_remembers_them() {
    let dir = tempfile::tempdir().unwrap();
    prepare(&arguments(dir.path()), upstreams(1000)).unwrap();
    assert!(config(dir.path()).contains("127.0.0.1:8080"));
    let http = Some(SocketAddr::from(([127, 0, 0, 1], 9080)));
    prepare(&DemoArguments { http, ..arguments(dir.path()) }, upstreams(1000)).unwrap();
    assert!(config(dir.path()).contains("127.0.0.1:9080"));
    let files = prepare(&arguments(dir.path()), upstreams(1000)).unwrap();
    assert!(config(dir.path()).contains("127.0.0.1:9080"));
    assert!(!files.kept);
}

#[test]
fn an_edited_config_is_kept_until_a_reset() {
    let dir = tempfile::tempdir().unwrap();
    prepare(&arguments(dir.path()), upstreams(1000)).unwrap();
    fs::write(dir.path().join("portcullis.toml"), "# mine").unwrap();
    for _ in 0..2 {
        assert!(prepare(&arguments(dir.path()), upstreams(1000)).unwrap().kept);
        assert_eq!(config(dir.path()), "# mine");
    }
    let http = Some(SocketAddr::from(([127, 0, 0, 1], 9080)));
    let error = prepare(&DemoArguments { http, ..arguments(dir.path()) }, upstreams(1000)).unwrap_err();
    assert!(error.to_string().contains("--reset"), "{error}");
    prepare(&DemoArguments { reset: true, ..arguments(dir.path()) }, upstreams(1000)).unwrap();
    assert!(config(dir.path()).contains("127.0.0.1:8080"));
}

#[test]
fn the_upstreams_are_written_each_time_and_the_certificate_once() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    prepare(&arguments(dir.path()), upstreams(1000)).unwrap();
    let certificate = read("localhost.pem");
    prepare(&arguments(dir.path()), upstreams(2000)).unwrap();
    assert!(read("upstreams.toml").contains("127.0.0.1:2001"));
    assert_eq!(read("localhost.pem"), certificate);
}

#[test]
fn the_key_is_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    prepare(&arguments(dir.path()), upstreams(1000)).unwrap();
    let mode = fs::metadata(dir.path().join("localhost.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_rebuilt_live_plugin_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    prepare(&arguments(dir.path()), upstreams(1000)).unwrap();
    fs::write(dir.path().join("live.wasm"), "rebuilt").unwrap();
    for _ in 0..2 {
        prepare(&arguments(dir.path()), upstreams(1000)).unwrap();
        assert_eq!(fs::read(dir.path().join("live.wasm")).unwrap(), b"rebuilt");
    }
}
