//! Commands that only look leave nothing on disk: they may run as root, and what root made the gateway's user cannot
//! use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::harness::portcullis_with;

const CONFIG: &str = "[server]\naccess-log = { file = \"logs/access.log\" }\ncache-dir = \"cache\"\n\
     control = \"run/edge.sock\"\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
     [upstreams.app]\nendpoints = [\"127.0.0.1:9\"]\n\
     [policies.stamp]\nplugin = \"builtin:headers\"\nconfig = { response = { set = { x-stamp = \"1\" } } }\n\
     [routes.all]\nuse = [\"stamp\"]\nto = \"app\"\n";

/// Each file and folder under `dir`, with its size and the time of its last change.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (metadata.len(), metadata.modified().unwrap()));
    }
    found
}

#[tokio::test]
async fn looking_at_a_config_leaves_nothing_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    std::fs::write(dir.path().join("portcullis.toml"), CONFIG).unwrap();
    std::fs::write(dir.path().join("next.toml"), CONFIG.replace("\"1\"", "\"2\"")).unwrap();
    let before = tree(dir.path());
    let home = dir.path().to_str().unwrap();
    let places = [("HOME", home), ("XDG_CACHE_HOME", home), ("TMPDIR", home)];
    for (code, arguments) in [
        (0, &["validate"][..]),
        (0, &["validate", "--against", "next.toml"]),
        (0, &["routes"]),
        (0, &["schema"]),
        (0, &["explain", "GET", "http://localhost/"]),
        (1, &["diff", "portcullis.toml", "next.toml"]),
        (0, &["plugins", "list"]),
        (1, &["status"]),
        (1, &["reload"]),
    ] {
        let ran = portcullis_with(dir.path(), &places, arguments).await;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(tree(dir.path()), before, "{arguments:?}");
    }
}

#[tokio::test]
async fn validate_refuses_what_run_could_not_open() {
    let dir = tempfile::tempdir().unwrap();
    for (config, expected) in [
        (CONFIG.to_owned(), "access log file"),
        (CONFIG.replace("logs/access.log", "."), "is a folder"),
        (CONFIG.replace("logs/", "").replace("\"cache\"", "\"portcullis.toml\""), "is not a folder"),
        (CONFIG.replace("logs/", "").replace("\"cache\"", "\"portcullis.toml/cache\""), "is not a folder"),
        (CONFIG.replace("logs/", "").replace("\"cache\"", "\"open\""), "others can write to"),
        (CONFIG.replace("logs/", "").replace("run/edge.sock", "open/edge.sock"), "of your own"),
    ] {
        use std::os::unix::fs::PermissionsExt;
        let open = dir.path().join("open");
        std::fs::create_dir_all(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::write(dir.path().join("portcullis.toml"), config).unwrap();
        let before = tree(dir.path());
        let ran = portcullis_with(dir.path(), &[], ["validate"]).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stderr.contains(expected), "no {expected:?} in:\n{}", ran.stderr);
        assert_eq!(tree(dir.path()), before);
    }
}
