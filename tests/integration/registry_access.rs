//! Registries behind proxies, and with the credentials that other programs keep.

use std::net::SocketAddr;

use crate::harness::{Authority, Image, TestProxy, TestRegistry, TestUpstream, base64, portcullis_with};
use crate::registry::{Folder, V1, oci, registry_table, with_plugin};

/// A registry with TLS whose name no name server knows, and a folder with a config that wants a plugin of it.
struct Behind {
    registry: TestRegistry,
    folder: Folder,
}

impl Behind {
    async fn new(host: &str) -> Self {
        let authority = Authority::new();
        let registry = TestRegistry::start_tls(&authority.issue(&["registry.test"])).await;
        registry.push("version", "1", V1, Image::Artifact);
        let table = format!("[registries.test]\nhost = \"{host}\"\nca = \"ca.pem\"\n");
        let folder = folder(&format!("oci://{host}/version:1"), &table).await;
        folder.write("ca.pem", &authority.pem);
        Self { registry, folder }
    }
}

async fn folder(plugin: &str, more: &str) -> Folder {
    Folder::new(&with_plugin(TestUpstream::named("app").await.address(), plugin, "", more))
}

/// What `plugin lock` prints if it succeeds.
async fn locks(folder: &Folder, variables: &[(&str, &str)]) -> String {
    let ran = portcullis_with(folder.0.path(), variables, ["plugins", "lock"]).await;
    assert_eq!(ran.code, Some(0), "{variables:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// What it says if it is refused, with each of `expected` in it and none of the secrets that tests have.
async fn refuses(folder: &Folder, variables: &[(&str, &str)], expected: &[&str]) {
    let arguments = ["--log-level", "trace", "plugins", "lock"];
    let ran = portcullis_with(folder.0.path(), variables, arguments).await;
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(1), "{variables:?}: {all}");
    for expected in expected {
        assert!(all.contains(expected), "no {expected:?} in {all}");
    }
    assert!(!all.contains("s3cret") && !all.contains(&base64(b"robot:s3cret")), "{all}");
}

fn proxy_of(address: SocketAddr) -> String {
    format!("http://robot:s3cret@{address}")
}

#[tokio::test]
async fn a_registry_behind_a_proxy_is_reached_through_a_tunnel() {
    let behind = Behind::new("registry.test").await;
    behind.registry.ask_for("user", "password");
    // What another program was told: `podman login` keeps it there.
    std::fs::create_dir(behind.folder.0.path().join("containers")).unwrap();
    let entry = base64(b"user:password");
    behind
        .folder
        .write("containers/auth.json", format!(r#"{{"auths":{{"registry.test":{{"auth":"{entry}"}}}}}}"#));
    let proxy = TestProxy::start(behind.registry.address(), "Basic cm9ib3Q6czNjcmV0").await;
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let before = proxy.heads().len();
        locks(&behind.folder, &[(variable, &proxy_of(proxy.address())), ("NO_PROXY", "other.test")]).await;
        let heads = proxy.heads().split_off(before);
        // The token service is at the same host, and all of it is behind the proxy.
        assert!(heads.len() >= 3, "{heads:?}");
        for head in heads {
            assert!(
                head.starts_with("CONNECT registry.test:443 HTTP/1.1\r\nhost: registry.test:443\r\n"),
                "{head}"
            );
            assert!(
                !head.contains("\r\nauthorization:"),
                "the registry's password is not the proxy's: {head}"
            );
        }
        std::fs::remove_dir_all(behind.folder.0.path().join("cache")).unwrap();
        std::fs::remove_file(behind.folder.0.path().join("portcullis.lock")).unwrap();
    }
    // The proxy's password is not the registry's.
    assert!(
        behind.registry.requests().iter().all(|request| request.header("proxy-authorization").is_empty())
    );
}

#[tokio::test]
async fn a_proxy_that_does_not_lead_there_is_named_and_its_password_is_not() {
    let behind = Behind::new("registry.test").await;
    let (registry, folder) = (&behind.registry, &behind.folder);
    let proxy = TestProxy::start(registry.address(), "Basic c29tZWJvZHk6ZWxzZQ==").await;
    let address = proxy.address().to_string();
    let by =
        format!("registry registry.test cannot be reached by way of {address}, the proxy of HTTPS_PROXY: ");
    let help = "NO_PROXY=registry.test goes past it";
    let said = [by.as_str(), "it does not let user robot through (407)", help, "portcullis.toml:"];
    refuses(folder, &[("HTTPS_PROXY", &proxy_of(proxy.address()))], &said).await;
    let said = [by.as_str(), "it wants to know who asks (407), and no user is named"];
    refuses(folder, &[("HTTPS_PROXY", &address)], &said).await;
    assert!(registry.requests().is_empty());
    // There is no listener on port 1 of this machine.
    refuses(
        folder,
        &[("https_proxy", &proxy_of(([127, 0, 0, 1], 1).into()))],
        &["127.0.0.1:1, the proxy of https_proxy: ", help],
    )
    .await;
    let said = ["HTTPS_PROXY of the environment names no proxy", "no TLS here", "NO_PROXY=registry.test"];
    refuses(folder, &[("HTTPS_PROXY", "https://robot:s3cret@proxy.test")], &said).await;
    for (host, said) in
        [("forbidden.test", "it answered 403"), ("talkative.test", "bytes of its own into the tunnel")]
    {
        let behind = Behind::new(host).await;
        let proxy = TestProxy::start(behind.registry.address(), "").await;
        refuses(&behind.folder, &[("HTTPS_PROXY", &proxy.address().to_string())], &[said]).await;
    }
    // TLS goes through the tunnel to the registry, so that a proxy cannot take its place.
    let behind = Behind::new("other.test").await;
    let proxy = TestProxy::start(behind.registry.address(), "").await;
    let said = ["registry other.test cannot be reached", "tls: "];
    refuses(&behind.folder, &[("HTTPS_PROXY", &proxy.address().to_string())], &said).await;
}

#[tokio::test]
async fn a_proxy_passes_on_what_has_no_tls_and_is_not_asked_where_it_should_not_be() {
    let registry = TestRegistry::start().await;
    registry.push("version", "1", V1, Image::Artifact);
    let table = "[registries.test]\nhost = \"registry.test:5000\"\nplain-http = true\n";
    let behind = folder("oci://registry.test:5000/version:1", table).await;
    let proxy = TestProxy::start(registry.address(), "Basic cm9ib3Q6czNjcmV0").await;
    let said = ["of HTTP_PROXY: it wants to know who asks (407)"];
    refuses(&behind, &[("HTTP_PROXY", &proxy.address().to_string())], &said).await;
    locks(&behind, &[("HTTP_PROXY", &proxy_of(proxy.address()))]).await;
    let heads = proxy.heads();
    assert!(
        heads.last().unwrap().starts_with("GET http://registry.test:5000/v2/version/blobs/sha256:"),
        "{heads:?}"
    );

    // NO_PROXY bypasses it: then the name cannot be resolved. The other scheme's proxy is not asked either.
    let asked = proxy.heads().len();
    for variables in [
        [("HTTP_PROXY", proxy_of(proxy.address())), ("NO_PROXY", "registry.test".to_owned())],
        [("http_proxy", proxy_of(proxy.address())), ("no_proxy", ".test:5000".to_owned())],
        [("HTTP_PROXY", String::new()), ("HTTPS_PROXY", proxy_of(proxy.address()))],
    ] {
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let fresh = folder("oci://registry.test:5000/version:1", table).await;
        refuses(
            &fresh,
            &variables,
            &["registry registry.test:5000 cannot be reached: ", "the name cannot be resolved"],
        )
        .await;
    }
    // This machine is never behind a proxy.
    let near = folder(&oci(&registry, "version:1"), &registry_table(&registry)).await;
    locks(&near, &[("HTTP_PROXY", &proxy_of(proxy.address()))]).await;
    assert_eq!(proxy.heads().len(), asked);
}

/// What leads to a private address is refused before a proxy is asked, which might reach it.
#[tokio::test]
async fn a_registry_behind_a_proxy_leads_to_no_private_address() {
    let behind = Behind::new("registry.test").await;
    let proxy = TestProxy::start(behind.registry.address(), "").await;
    behind.registry.move_blobs_to("https://169.254.169.254");
    let said = ["refers to https://169.254.169.254/", "which is at a private address"];
    refuses(&behind.folder, &[("HTTPS_PROXY", &proxy.address().to_string())], &said).await;
    assert!(proxy.heads().iter().all(|head| head.starts_with("CONNECT registry.test:443 ")));
}

#[tokio::test]
async fn credentials_that_docker_keeps_are_used_where_the_config_names_none() {
    let registry = TestRegistry::start().await;
    registry.push("team/version", "1", V1, Image::Artifact);
    registry.ask_for("robot", "s3cret");
    let (plugin, table) = (oci(&registry, "team/version:1"), registry_table(&registry));
    let host = registry.address().to_string();
    let start = async |content: &str| {
        let folder = folder(&plugin, &table).await;
        folder.write("config.json", content);
        let path = folder.0.path().to_str().unwrap().to_owned();
        (folder, path)
    };
    let entry = |key: &str, pair: &str| {
        format!(r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#, base64(pair.as_bytes()))
    };

    for key in [host.clone(), format!("{host}/team"), format!("https://{host}/v1/")] {
        let (folder, path) = start(&entry(&key, "robot:s3cret")).await;
        locks(&folder, &[("DOCKER_CONFIG", &path)]).await;
    }
    let (other, path) = start(&entry(&format!("{host}/other"), "robot:s3cret")).await;
    let said = ["does not let anonymous users read team/version:1", "username and password says who asks"];
    refuses(&other, &[("DOCKER_CONFIG", &path)], &said).await;
    let (wrong, path) = start(&entry(&host, "robot:s3cret2")).await;
    let said = ["does not let user robot of ", "config.json read team/version:1"];
    refuses(&wrong, &[("DOCKER_CONFIG", &path)], &said).await;

    // A program is never run, not even one that is there.
    let (helped, path) = start(&format!(r#"{{"credHelpers":{{"{host}":"mark"}}}}"#)).await;
    helped.write("docker-credential-mark", "#!/bin/sh\necho ran > ran\n");
    std::process::Command::new("chmod")
        .args(["+x", &format!("{path}/docker-credential-mark")])
        .status()
        .unwrap();
    let search = format!("{path}:{}", std::env::var("PATH").unwrap());
    let said = ["anonymous users", "leaves them to the program docker-credential-mark, which is not run"];
    refuses(&helped, &[("DOCKER_CONFIG", &path), ("PATH", &search)], &said).await;
    assert!(!helped.0.path().join("ran").exists());

    // What cannot be read is said, without what stands in it; and what was named must be there.
    let (broken, path) = start(r#"{"auths": s3cret"#).await;
    let said = [
        "the credentials in ",
        "config.json cannot be read: it is not the JSON",
        "REGISTRY_AUTH_FILE names another",
    ];
    refuses(&broken, &[("DOCKER_CONFIG", &path)], &said).await;
    let named = [("REGISTRY_AUTH_FILE", "/nowhere/auth.json")];
    refuses(&broken, &named, &["the credentials in /nowhere/auth.json cannot be read: No such file"]).await;
    // The config's own win, whatever the files say.
    let own = format!(
        "{table}username = \"robot\"\npassword = \"token\"\n[secrets]\ntoken = {{ file = \"token\" }}\n"
    );
    let folder = folder(&plugin, &own).await;
    folder.write("token", "s3cret");
    locks(&folder, &named).await;
}
