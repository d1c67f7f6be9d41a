use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use portcullis_http::RequestHead;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// A folder `root` with files, and a secret beside it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("docs/empty")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    fs::write(root.join("a.txt"), "abcdefghij").unwrap();
    fs::write(root.join("docs/index.html"), "<p>").unwrap();
    fs::write(root.join("docs/a b;c.css"), "p{}").unwrap();
    fs::write(root.join(".git/config"), "hidden").unwrap();
    folder
}

fn wanted(
    folder: &Path,
    path: &str,
    symlinks: Symlinks,
    fields: &[(&str, &str)],
) -> Result<Wanted, FileError> {
    let mut request = RequestHead::default();
    for (name, value) in fields {
        request.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    Ok(Wanted {
        root: folder.join("root"),
        path: FilePath::of(path)?,
        index: "index.html".to_owned(),
        symlinks,
        conditions: conditions_of(&request),
        content: true,
        codings: Vec::new(),
    })
}

fn get(
    folder: &Path,
    path: &str,
    symlinks: Symlinks,
    fields: &[(&str, &str)],
) -> Result<FoundFile, FileError> {
    match find(&wanted(folder, path, symlinks, fields)?, &Permits::new(1))? {
        Found::File(file) => Ok(*file),
        Found::Folder => panic!("{path} is a folder"),
    }
}

/// The content of a file, or why it has no content.
fn content(folder: &Path, path: &str, symlinks: Symlinks) -> Result<String, String> {
    let found = get(folder, path, symlinks, &[]).map_err(|error| error.to_string())?;
    assert_eq!((found.selection, found.length), (Selection::Whole, found.first.len() as u64));
    Ok(String::from_utf8(found.first.to_vec()).unwrap())
}

#[test]
fn files_are_found_with_what_is_known_of_them() {
    let folder = folder();
    let found = get(folder.path(), "/docs/a%20b;c.css", Symlinks::Inside, &[]).unwrap();
    assert_eq!((&found.first[..], found.media_type), (&b"p{}"[..], "text/css; charset=utf-8"));
    assert!(found.rest.is_none() && found.modified.is_some());
    // It has just been written, so that its tag is weak.
    assert!(found.etag.starts_with("W/\"3-"), "{}", found.etag);
    let index = get(folder.path(), "/docs/", Symlinks::Inside, &[]).unwrap();
    assert_eq!((&index.first[..], index.media_type), (&b"<p>"[..], "text/html; charset=utf-8"));
    let bare = find(&wanted(folder.path(), "/docs", Symlinks::Inside, &[]).unwrap(), &Permits::new(1));
    assert!(matches!(bare, Ok(Found::Folder)), "{bare:?}");
}

#[test]
fn folders_are_not_listed_and_only_regular_files_are_served() {
    let folder = folder();
    let root = folder.path().join("root");
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    fs::create_dir_all(root.join("odd/index.html")).unwrap();
    let no_index = "the path names a folder, which has no `index.html`";
    for (path, expected) in [
        ("/", no_index),
        ("/docs/empty/", no_index),
        ("/docs/empty", no_index),
        ("/nothing/", no_index),
        ("/a.txt/", no_index),
        ("/a.txt/x", "there is no such file"),
        ("/nothing", "there is no such file"),
        ("/pipe", "it is not a regular file"),
        ("/socket", "it is not a regular file"),
        ("/odd/", "it is not a regular file"),
        ("/.git/config", "the path names a hidden file"),
    ] {
        assert_eq!(content(folder.path(), path, Symlinks::Inside), Err(expected.to_owned()), "{path}");
    }
    let long = format!("/{}", "a".repeat(5000));
    assert_eq!(content(folder.path(), &long, Symlinks::Inside), Err("there is no such file".to_owned()));
}

#[test]
fn links_lead_out_of_the_folder_only_if_the_operator_says_so() {
    let folder = folder();
    let root = folder.path().join("root");
    symlink("docs/index.html", root.join("inside")).unwrap();
    symlink("../a.txt", root.join("docs/up")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink(folder.path(), root.join("absolute")).unwrap();
    symlink(root.join("a.txt"), root.join("absolute-inside")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    let link = Err("a symbolic link on the way is not followed, as `symlinks` says".to_owned());
    let ok = |text: &str| Ok(text.to_owned());
    for (path, inside, refuse, follow) in [
        ("/inside", ok("<p>"), link.clone(), ok("<p>")),
        ("/docs/up", ok("abcdefghij"), link.clone(), ok("abcdefghij")),
        ("/out", link.clone(), link.clone(), ok("secret")),
        ("/absolute/secret", link.clone(), link.clone(), ok("secret")),
        ("/absolute-inside", link.clone(), link.clone(), ok("abcdefghij")),
        ("/loop", link.clone(), link.clone(), link.clone()),
        (
            "/dangling",
            Err("there is no such file".to_owned()),
            link.clone(),
            Err("there is no such file".to_owned()),
        ),
        ("/magic/etc/hostname", link.clone(), link.clone(), link.clone()),
    ] {
        assert_eq!(content(folder.path(), path, Symlinks::Inside), inside, "{path} inside");
        assert_eq!(content(folder.path(), path, Symlinks::Refuse), refuse, "{path} refuse");
        assert_eq!(content(folder.path(), path, Symlinks::Follow), follow, "{path} follow");
    }
}

#[test]
fn what_takes_the_place_of_the_folder_is_served() {
    let folder = folder();
    let (root, old) = (folder.path().join("root"), folder.path().join("old"));
    assert_eq!(content(folder.path(), "/a.txt", Symlinks::Inside), Ok("abcdefghij".to_owned()));
    fs::rename(&root, &old).unwrap();
    let gone = content(folder.path(), "/a.txt", Symlinks::Inside).unwrap_err();
    assert!(gone.starts_with("the folder cannot be opened"), "{gone}");
    symlink("new", &root).unwrap();
    fs::create_dir(folder.path().join("new")).unwrap();
    fs::write(folder.path().join("new/a.txt"), "new").unwrap();
    assert_eq!(content(folder.path(), "/a.txt", Symlinks::Refuse), Ok("new".to_owned()));
}

#[test]
fn a_large_file_is_read_on_from_the_descriptor_that_was_opened() {
    let folder = folder();
    let path = folder.path().join("root/large");
    let content: Vec<u8> = (0..PIECE_BYTES * 2 + 5).map(|at| (at % 251) as u8).collect();
    fs::write(&path, &content).unwrap();
    let permits = Permits::new(1);
    let open = |fields: &[(&str, &str)]| {
        let wanted = wanted(folder.path(), "/large", Symlinks::Inside, fields).unwrap();
        find(&wanted, &permits).map(|found| match found {
            Found::File(file) => *file,
            Found::Folder => panic!("a folder"),
        })
    };
    let found = open(&[]).unwrap();
    // Another file takes its name.
    fs::rename(folder.path().join("root/a.txt"), &path).unwrap();
    let (mut whole, mut rest) = (found.first.to_vec(), found.rest.unwrap());
    while rest.length() > 0 {
        let piece = rest.read().unwrap();
        rest.advance(piece.len());
        whole.extend(piece);
    }
    assert!(whole == content && permits.taken() == 1);
    fs::write(&path, &content).unwrap();
    assert!(matches!(open(&[]), Err(FileError::Busy)), "one is open");
    // What is read at once is not open any more.
    assert_eq!(open(&[("range", "bytes=10-19")]).unwrap().first, content[10..20]);
    drop(rest);
    let found = open(&[("range", "bytes=1-")]).unwrap();
    assert_eq!(found.selection, Selection::Part(1..content.len() as u64));
    assert_eq!((found.first.len() as u64, found.length), (PIECE_BYTES, content.len() as u64));
    let rest = found.rest.unwrap();
    assert_eq!(rest.read().unwrap(), content[1 + PIECE_BYTES as usize..1 + 2 * PIECE_BYTES as usize]);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(PIECE_BYTES + 100).unwrap();
    assert!(matches!(rest.read(), Err(FileError::CutShort)));
}

#[test]
fn another_content_has_another_tag_even_at_the_same_time() {
    let folder = folder();
    let path = folder.path().join("root/a.txt");
    let then = SystemTime::now() - std::time::Duration::from_secs(1000);
    let tag = || {
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(then).unwrap();
        get(folder.path(), "/a.txt", Symlinks::Inside, &[]).unwrap().etag
    };
    let first = tag();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "jihgfedcba").unwrap();
    assert_ne!(first, tag());
    // Old enough, it is strong.
    let metadata = fs::metadata(&path).unwrap();
    let changed = u64::try_from(metadata.ctime()).unwrap();
    assert!(is_settled(&metadata, changed + UNSETTLED) && !is_settled(&metadata, changed + UNSETTLED - 1));
    assert!(etag(&metadata, true).starts_with('"') && etag(&metadata, false).starts_with("W/\""));
}

#[test]
fn an_encoded_file_stands_in_if_it_is_not_older() {
    let folder = folder();
    let root = folder.path().join("root");
    let set = |name: &str, text: &str, seconds: u64| {
        let path = root.join(name);
        fs::write(&path, text).unwrap();
        let time = UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    set("app.js", "plain", 1000);
    set("app.js.br", "brotli", 1000);
    set("app.js.gz", "old", 999);
    set("docs/index.html", "start", 1000);
    set("docs/index.html.zst", "zstd", 2000);
    fs::create_dir(root.join("app.js.zst")).unwrap();
    let found = |path: &str, codings: &[Coding]| {
        let mut wanted = wanted(folder.path(), path, Symlinks::Inside, &[]).unwrap();
        wanted.codings = codings.to_vec();
        match find(&wanted, &Permits::new(1)).unwrap() {
            Found::File(file) => {
                (file.coding, String::from_utf8(file.first.to_vec()).unwrap(), file.media_type, file.etag)
            }
            Found::Folder => panic!("{path} is a folder"),
        }
    };
    let (coding, content, media_type, tag) = found("/app.js", &Coding::ALL);
    assert_eq!(
        (coding, &*content, media_type),
        (Some(Coding::Brotli), "brotli", "text/javascript; charset=utf-8")
    );
    let (coding, content, _, plain) = found("/app.js", &[Coding::Gzip, Coding::Zstd]);
    assert_eq!((coding, &*content), (None, "plain"));
    assert_ne!(tag, plain);
    let (coding, content, media_type, _) = found("/docs/", &[Coding::Gzip, Coding::Zstd]);
    assert_eq!((coding, &*content, media_type), (Some(Coding::Zstd), "zstd", "text/html; charset=utf-8"));
    // By its own name it is a file like any other.
    assert_eq!(found("/app.js.br", &Coding::ALL).0, None);
}

#[test]
fn no_link_leads_out_by_way_of_an_encoded_file() {
    let folder = folder();
    symlink(folder.path().join("secret"), folder.path().join("root/a.txt.gz")).unwrap();
    let mut wanted = wanted(folder.path(), "/a.txt", Symlinks::Inside, &[]).unwrap();
    wanted.codings = Coding::ALL.to_vec();
    match find(&wanted, &Permits::new(1)).unwrap() {
        Found::File(file) => assert_eq!((file.coding, &*file.first), (None, &b"abcdefghij"[..])),
        Found::Folder => panic!("it is a file"),
    }
}
