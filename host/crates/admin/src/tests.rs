//! The socket, its server and its client together.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Answers, AskError, ControlSocket, Refused, Request, Requests, SocketError, Surroundings, ask};

/// Says a text so many times.
#[derive(Debug, Serialize, Deserialize)]
struct Echo {
    text: String,
    #[serde(default)]
    times: usize,
}

impl Request for Echo {
    type Answer = String;
    const NAME: &'static str = "echo";
    const CHANGES: bool = false;
}

/// Changes something, in name only.
#[derive(Debug, Serialize, Deserialize)]
struct Change {}

impl Request for Change {
    type Answer = ();
    const NAME: &'static str = "change";
    const CHANGES: bool = true;
}

/// Never ends.
#[derive(Debug, Serialize, Deserialize)]
struct Hang {}

impl Request for Hang {
    type Answer = ();
    const NAME: &'static str = "hang";
    const CHANGES: bool = false;
    const TIMEOUT: Duration = Duration::from_millis(20);
}

/// Of a version that does not exist yet.
#[derive(Debug, Serialize, Deserialize)]
struct Later {}

impl Request for Later {
    type Answer = ();
    const NAME: &'static str = "later";
    const CHANGES: bool = false;
}

struct Handle;

impl Answers<Echo> for Handle {
    async fn answer(&self, request: Echo) -> Result<String, Refused> {
        match request.times {
            0 => Err(Refused::new("nothing would be said").help("ask for once at least")),
            times => Ok(request.text.repeat(times)),
        }
    }
}

impl Answers<Change> for Handle {
    async fn answer(&self, _: Change) -> Result<(), Refused> {
        Ok(())
    }
}

impl Answers<Hang> for Handle {
    async fn answer(&self, _: Hang) -> Result<(), Refused> {
        std::future::pending().await
    }
}

fn requests() -> Requests<Handle> {
    Requests::new(Handle).with::<Echo>().with::<Change>().with::<Hang>()
}

async fn open(path: &Path) -> Result<ControlSocket, SocketError> {
    ControlSocket::open(path, requests()).await
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Asks on a thread, as the command line does.
async fn asked<R: Request + Sync>(path: &Path, request: R) -> Result<R::Answer, AskError> {
    let places = vec![path.to_path_buf()];
    tokio::task::spawn_blocking(move || ask(&places, &request)).await.unwrap()
}

/// Writes bytes to the socket and reads the whole answer.
async fn raw(path: &Path, bytes: impl Into<Vec<u8>>) -> String {
    let (path, bytes) = (path.to_path_buf(), bytes.into());
    let exchange = move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(240))).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test]
async fn a_request_is_answered_by_its_type() {
    let folder = folder();
    let socket = open(&folder.path().join("s")).await.unwrap();
    let answer = asked(socket.path(), Echo { text: "ab".to_owned(), times: 2 }).await.unwrap();
    assert_eq!(answer, "abab");
    asked(socket.path(), Change {}).await.unwrap();
}

#[tokio::test]
async fn a_refusal_reads_as_the_gateway_said_it() {
    let folder = folder();
    let socket = open(&folder.path().join("s")).await.unwrap();
    let error = asked(socket.path(), Echo { text: String::new(), times: 0 }).await.unwrap_err();
    assert_eq!(error.to_string(), "nothing would be said\n  = help: ask for once at least");
}

#[tokio::test]
async fn what_the_gateway_does_not_know_is_told_with_its_version() {
    let folder = folder();
    let socket = open(&folder.path().join("s")).await.unwrap();
    let error = asked(socket.path(), Later {}).await.unwrap_err().to_string();
    for expected in [env!("CARGO_PKG_VERSION"), "/v1/later", "restart", "change, echo, hang"] {
        assert!(error.contains(expected), "no {expected} in {error}");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let folder = folder();
    let socket = open(&folder.path().join("s")).await.unwrap();
    let error = asked(socket.path(), Hang {}).await.unwrap_err().to_string();
    assert!(error.contains("`hang` took longer than 20ms"), "{error}");
}

#[tokio::test]
async fn plain_http_does_as_well() {
    let folder = folder();
    let socket = open(&folder.path().join("s")).await.unwrap();
    let path = socket.path();
    let post = |name: &str, body: &str| {
        format!("POST /v1/{name} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    for (request, status, body) in [
        (post("echo", r#"{"text":"a","times":1}"#), "200 OK", "\"a\"\n"),
        (post("echo", r#"{"text":"a"}"#), "409 Conflict", "nothing would be said"),
        (post("echo", "{}"), "400 Bad Request", "missing field `text`"),
        (post("echo", "{"), "400 Bad Request", "no parameters of `echo`"),
        (post("nothing", ""), "404 Not Found", "/v1/nothing"),
        (post("change", ""), "200 OK", "null\n"),
        ("GET /v1/change HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "405 Method Not Allowed", "use POST"),
        ("GET /v1/hang HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "504 Gateway Timeout", "longer"),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "404 Not Found", "/v1/change, /v1/echo"),
        ("nonsense\r\n\r\n".to_owned(), "400 Bad Request", ""),
    ] {
        let answer = raw(path, request.clone()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}\n{answer}");
        assert!(answer.contains(body), "{request}\n{answer}");
    }
}

#[tokio::test]
async fn a_body_is_bounded() {
    let folder = folder();
    let socket = open(&folder.path().join("s")).await.unwrap();
    let with = |bytes: usize| {
        let text = "x".repeat(bytes - r#"{"text":"","times":1}"#.len());
        let body = format!(r#"{{"text":"{text}","times":1}}"#);
        format!("POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    assert!(raw(socket.path(), with(64 << 10)).await.starts_with("HTTP/1.1 200 OK"));
    let answer = raw(socket.path(), with((64 << 10) + 1)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_gone_at_the_end() {
    let folder = folder();
    let path = folder.path().join("made/s");
    let socket = open(&path).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.path().join("made"))), (0o600, 0o700));
    drop(socket);
    assert!(!path.exists());
    let error = asked(&path, Change {}).await.unwrap_err();
    assert!(matches!(error, AskError::NotRunning { .. }), "{error}");
}

#[test]
fn nobody_is_answered_but_the_gateways_user_and_root() {
    let may = crate::server::may_ask;
    assert!(may(1000, 1000) && may(0, 1000) && may(0, 0));
    assert!(!may(1001, 1000) && !may(1000, 0), "also where somebody has opened the socket up");
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced() {
    let folder = folder();
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let error = asked(&path, Change {}).await.unwrap_err();
    assert!(matches!(error, AskError::NotRunning { .. }), "{error}");
    let socket = open(&path).await.unwrap();
    asked(socket.path(), Change {}).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_somebody_holds_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("s");
    let first = open(&path).await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, SocketError::Held { .. }), "{error}");
    asked(first.path(), Change {}).await.unwrap();
    // Gone from its name, as when another has taken its place: that one is not removed.
    std::fs::remove_file(&path).unwrap();
    let second = open(&path).await.unwrap();
    drop(first);
    asked(second.path(), Change {}).await.unwrap();
}

#[tokio::test]
async fn who_can_read_the_folder_cannot_keep_a_gateway_out_of_it() {
    let folder = folder();
    // systemd gives RuntimeDirectory the mode 0755, so that everybody can open it, and lock what they have opened.
    let opened = std::fs::File::open(folder.path()).unwrap();
    opened.lock().unwrap();
    let socket = open(&folder.path().join("socket")).await.unwrap();
    let turn = std::fs::metadata(folder.path().join(".portcullis-turn")).unwrap();
    assert_eq!(turn.mode() & 0o777, 0o600, "which nobody else can open");
    drop(socket);
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("s");
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(open(&path).await.unwrap_err(), SocketError::Occupied { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[tokio::test]
async fn a_folder_that_others_can_write_to_is_refused() {
    let folder = folder();
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    for (mode, refused) in [(0o770, true), (0o707, true), (0o755, false)] {
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(mode)).unwrap();
        match open(&shared.join("s")).await {
            Err(SocketError::Folder { reason, .. }) => {
                assert!(refused && reason.contains(&format!("{mode:o}")), "{reason}");
            }
            other => assert!(!refused && other.is_ok(), "{mode:o}: {other:?}"),
        }
    }
}

fn surroundings(folder: &Path) -> Surroundings {
    Surroundings {
        runtime_directory: None,
        xdg_runtime_dir: None,
        temp_dir: folder.to_path_buf(),
        user: std::fs::metadata(folder).unwrap().uid(),
    }
}

#[test]
fn two_configs_have_two_places_and_a_config_has_one() {
    let folder = folder();
    let (one, two) = (folder.path().join("one/edge.toml"), folder.path().join("two/edge.toml"));
    for config in [&one, &two] {
        std::fs::create_dir(config.parent().unwrap()).unwrap();
        std::fs::write(config, "").unwrap();
    }
    let around = surroundings(folder.path());
    let place = |config: &Path| around.place(config).unwrap();
    assert_ne!(place(&one), place(&two));
    assert_eq!(place(&one), place(&folder.path().join("two/../one/./edge.toml")));
    assert!(around.places(&one).contains(&place(&one)));
    let name = place(&one).file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("edge-") && name.ends_with(".sock"), "{name}");
}

#[test]
fn a_config_is_found_by_a_link_to_it_and_stays_where_its_link_is_turned() {
    let folder = folder();
    let real = folder.path().join("v1.toml");
    std::fs::write(&real, "").unwrap();
    std::fs::write(folder.path().join("v2.toml"), "").unwrap();
    let link = folder.path().join("edge.toml");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let around = surroundings(folder.path());
    let (by_real, by_link) = (around.place(&real).unwrap(), around.place(&link).unwrap());
    assert!(around.places(&link).contains(&by_real));
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("v2.toml", &link).unwrap();
    assert_eq!(around.place(&link).unwrap(), by_link);
}

#[test]
fn the_first_folder_that_can_be_its_own_is_taken() {
    let folder = folder();
    let config = Path::new("/nowhere/edge.toml");
    let [runtime, xdg] = ["runtime", "xdg"].map(|name| folder.path().join(name));
    std::fs::create_dir(&xdg).unwrap();
    let place =
        |around: &Surroundings| around.place(config).map(|path| PathBuf::from(path.parent().unwrap()));
    // Root has one more place, which a test leaves alone.
    let around = Surroundings { user: 1, ..surroundings(folder.path()) };
    assert_eq!(place(&around).unwrap(), folder.path().join("portcullis-1"));
    let around = Surroundings { xdg_runtime_dir: Some(xdg.clone()), ..around };
    assert_eq!(place(&around).unwrap(), xdg.join("portcullis"));
    let around = Surroundings { runtime_directory: Some(runtime.clone()), ..around };
    assert_eq!(place(&around).unwrap(), runtime);
    std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(place(&around).unwrap(), xdg.join("portcullis"));
    for folder in [xdg.join("portcullis"), folder.path().join("portcullis-1")] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let error = place(&around).unwrap_err();
    for expected in ["runtime", "xdg/portcullis", "portcullis-1", "chmod go-w"] {
        assert!(error.contains(expected), "no {expected} in {error}");
    }
}

#[test]
fn a_place_fits_into_an_address() {
    let config = PathBuf::from(format!("/nowhere/{}.toml", "long".repeat(50)));
    for place in surroundings(Path::new("/tmp")).places(&config) {
        assert!(place.as_os_str().len() < 100, "{}", place.display());
    }
}

#[test]
fn root_finds_gateways_of_other_users_and_no_traps() {
    let folder = folder();
    let config = Path::new("/nowhere/edge.toml");
    let (theirs, open, trap) = ("portcullis-4242", "portcullis-4243", "portcullis-4244");
    for name in [theirs, open, trap] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::set_permissions(folder.path().join(open), std::fs::Permissions::from_mode(0o777)).unwrap();
    let found = |user: u32, name: &str| {
        let around = Surroundings { user, ..surroundings(folder.path()) };
        around.places(config).iter().any(|place| place.parent() == Some(&folder.path().join(name)))
    };
    // Only root can give a folder away.
    if surroundings(folder.path()).user == 0 {
        std::os::unix::fs::chown(folder.path().join(theirs), Some(4242), None).unwrap();
        std::os::unix::fs::chown(folder.path().join(open), Some(4243), None).unwrap();
        assert!(found(0, theirs));
    }
    // Others can write to it, or it belongs to another user than its name says.
    assert!(!found(0, open) && !found(0, trap));
    // No other process looks there.
    assert!(!found(1, theirs));
}

#[tokio::test]
async fn a_folder_for_everybody_is_not_to_be_closed_to_them() {
    let folder = folder();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let error = open(&folder.path().join("s")).await.unwrap_err().to_string();
    assert!(error.contains("choose a folder of your own, such as /run/portcullis"), "{error}");
    assert!(!error.contains("chmod"), "{error}");
}
