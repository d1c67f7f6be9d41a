use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use super::{Known, Stamp, Watch, content_of, has_changed_since, way_to};

const DEADLINE: Duration = Duration::from_secs(240);

/// Short, for tests that are not about it.
const SETTLE: Duration = Duration::from_millis(50);

/// Longer than the watcher needs to find out that nothing happened.
const SILENCE: Duration = Duration::from_millis(500);

/// So long that a test would fail, not wait.
const NEVER: Duration = Duration::from_secs(600);

struct Watched {
    dir: tempfile::TempDir,
    watch: Watch,
    changes: Receiver<()>,
}

/// Watches `files` of a new folder that `prepare` has filled.
fn watched(prepare: impl Fn(&Path), files: &[&str]) -> Watched {
    watched_with(prepare, files, SETTLE)
}

/// The same, with that settle time.
fn watched_with(prepare: impl Fn(&Path), files: &[&str], settle: Duration) -> Watched {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let (sender, changes) = mpsc::sync_channel(16);
    let watch = Watch::start(move || sender.send(()).unwrap_or_default()).unwrap();
    // The files were written just now and read "later", so that only what comes after this counts.
    let paths = files.iter().map(|file| dir.path().join(file));
    let read_at = SystemTime::now() + Duration::from_secs(3600);
    watch.files(paths, read_at, settle).recv_timeout(DEADLINE).unwrap();
    Watched { dir, watch, changes }
}

impl Watched {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn expect_change(&self) {
        self.changes.recv_timeout(DEADLINE).unwrap();
    }

    fn expect_silence(&self) {
        assert!(self.changes.recv_timeout(SILENCE).is_err(), "a change was reported");
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn a_file_written_in_place_is_noticed_once() {
    let watched = watched(|dir| write(dir, "a.toml", "one"), &["a.toml"]);
    write(watched.dir.path(), "a.toml", "two");
    watched.expect_change();
    watched.expect_silence();
}

#[test]
fn a_file_replaced_by_renaming_is_noticed_each_time() {
    let watched = watched(|dir| write(dir, "a.toml", "one"), &["a.toml"]);
    for text in ["two", "three"] {
        write(watched.dir.path(), ".a.toml.swp", text);
        std::fs::rename(watched.path(".a.toml.swp"), watched.path("a.toml")).unwrap();
        watched.expect_change();
    }
}

#[test]
fn a_file_that_appears_or_goes_is_noticed() {
    let watched = watched(|_| (), &["plugin.wasm"]);
    write(watched.dir.path(), "plugin.wasm", "one");
    watched.expect_change();
    std::fs::remove_file(watched.path("plugin.wasm")).unwrap();
    watched.expect_change();
}

#[test]
fn other_files_and_equal_content_are_no_change() {
    let watched = watched(|dir| write(dir, "a.toml", "one"), &["a.toml"]);
    write(watched.dir.path(), "access.log", "a line");
    write(watched.dir.path(), "a.toml", "one");
    watched.expect_silence();
}

#[test]
fn a_swapped_data_link_as_kubernetes_makes_it_is_noticed() {
    use std::os::unix::fs::symlink;
    let prepare = |dir: &Path| {
        std::fs::create_dir(dir.join("..1")).unwrap();
        write(dir, "..1/a.toml", "one");
        symlink("..1", dir.join("..data")).unwrap();
        symlink("..data/a.toml", dir.join("a.toml")).unwrap();
    };
    let watched = watched(prepare, &["a.toml"]);
    for (at, text) in ["two", "three"].into_iter().enumerate() {
        let folder = format!("..{}", at + 2);
        std::fs::create_dir(watched.path(&folder)).unwrap();
        write(watched.dir.path(), &format!("{folder}/a.toml"), text);
        symlink(&folder, watched.path("..data_tmp")).unwrap();
        std::fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
        watched.expect_change();
    }
}

#[test]
fn a_folder_that_is_replaced_is_noticed_by_the_poll() {
    let prepare = |dir: &Path| {
        for (folder, text) in [("certs", "one"), ("new", "two")] {
            std::fs::create_dir(dir.join(folder)).unwrap();
            write(dir, &format!("{folder}/site.pem"), text);
        }
    };
    let watched = watched(prepare, &["certs/site.pem"]);
    std::fs::rename(watched.path("certs"), watched.path("old")).unwrap();
    std::fs::rename(watched.path("new"), watched.path("certs")).unwrap();
    watched.expect_change();
    write(watched.dir.path(), "certs/site.pem", "three");
    watched.expect_change();
}

#[test]
fn a_file_that_is_added_to_a_watched_folder_is_noticed() {
    let watched = watched(|dir| std::fs::create_dir(dir.join("conf.d")).unwrap(), &["conf.d"]);
    write(watched.dir.path(), "conf.d/more.toml", "one");
    watched.expect_change();
}

#[test]
fn a_file_that_changed_while_it_was_read_counts_as_changed() {
    let watched = watched(|dir| write(dir, "a.toml", "one"), &["a.toml"]);
    write(watched.dir.path(), "b.toml", "written after reading began");
    let files = ["a.toml", "b.toml"].map(|file| watched.path(file));
    let read_at = SystemTime::now() - Duration::from_secs(3600);
    watched.watch.files(files, read_at, SETTLE).recv_timeout(DEADLINE).unwrap();
    watched.expect_change();
}

#[test]
fn a_file_is_waited_for_until_its_writer_has_closed_it() {
    use std::io::Write;
    let watched = watched(|dir| write(dir, "a.toml", "one"), &["a.toml"]);
    let mut file = std::fs::File::create(watched.path("a.toml")).unwrap();
    for part in ["a first part", "and another"] {
        file.write_all(part.as_bytes()).unwrap();
        watched.expect_silence();
    }
    drop(file);
    watched.expect_change();
    watched.expect_silence();
}

#[test]
fn a_new_file_of_a_watched_folder_is_waited_for_as_well() {
    use std::io::Write;
    let watched = watched(|dir| std::fs::create_dir(dir.join("conf.d")).unwrap(), &["conf.d"]);
    let mut file = std::fs::File::create(watched.path("conf.d/more.toml")).unwrap();
    watched.expect_silence();
    file.write_all(b"a part").unwrap();
    watched.expect_silence();
    drop(file);
    watched.expect_change();
}

#[test]
fn parts_that_are_written_one_by_one_are_one_change() {
    let settle = Duration::from_secs(3);
    let watched = watched_with(|dir| write(dir, "a.toml", "a long text, of many words"), &["a.toml"], settle);
    write(watched.dir.path(), "a.toml", "a short one");
    watched.expect_silence();
    std::fs::OpenOptions::new()
        .append(true)
        .open(watched.path("a.toml"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b", and the rest of it"))
        .unwrap();
    watched.expect_change();
    watched.expect_silence();
}

#[test]
fn several_files_that_change_one_after_another_are_one_change() {
    let settle = Duration::from_secs(3);
    let prepare = |dir: &Path| ["a.toml", "b.toml"].iter().for_each(|name| write(dir, name, "one"));
    let watched = watched_with(prepare, &["a.toml", "b.toml"], settle);
    for name in ["a.toml", "b.toml"] {
        write(watched.dir.path(), "new", "two");
        std::fs::rename(watched.path("new"), watched.path(name)).unwrap();
        watched.expect_silence();
    }
    watched.expect_change();
    watched.expect_silence();
}

#[test]
fn a_sole_file_that_is_renamed_into_place_need_not_settle() {
    let watched = watched_with(|dir| write(dir, "a.toml", "one"), &["a.toml"], NEVER);
    write(watched.dir.path(), "new", "two");
    std::fs::rename(watched.path("new"), watched.path("a.toml")).unwrap();
    watched.expect_change();
}

#[test]
fn a_link_that_swaps_a_whole_folder_need_not_settle() {
    use std::os::unix::fs::symlink;
    let prepare = |dir: &Path| {
        for folder in ["1", "2"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
            for name in ["a.toml", "b.toml"] {
                write(dir, &format!("{folder}/{name}"), folder);
            }
        }
        symlink("1", dir.join("now")).unwrap();
    };
    let watched = watched_with(prepare, &["now/a.toml", "now/b.toml"], NEVER);
    symlink("2", watched.path("new")).unwrap();
    std::fs::rename(watched.path("new"), watched.path("now")).unwrap();
    watched.expect_change();
}

#[test]
fn a_log_file_in_a_watched_folder_keeps_nothing_from_settling() {
    use std::io::Write;
    let prepare = |dir: &Path| {
        std::fs::create_dir(dir.join("conf.d")).unwrap();
        write(dir, "conf.d/access.log", "");
    };
    let settle = Duration::from_secs(1);
    let watched = watched_with(prepare, &["conf.d"], settle);
    let mut log = std::fs::OpenOptions::new().append(true).open(watched.path("conf.d/access.log")).unwrap();
    let (ended, end) = mpsc::sync_channel::<()>(0);
    let writer = std::thread::spawn(move || {
        while end.recv_timeout(Duration::from_millis(20)).is_err_and(|e| e == mpsc::RecvTimeoutError::Timeout)
        {
            log.write_all(b"a line\n").unwrap();
        }
    });
    write(watched.dir.path(), "conf.d/more.toml", "one");
    watched.expect_change();
    drop(ended);
    writer.join().unwrap();
}

#[test]
fn nothing_is_watched_once_there_are_no_files_and_again_when_there_are() {
    let watched = watched(|dir| write(dir, "a.toml", "one"), &["a.toml"]);
    let watch = |files: Vec<PathBuf>, read_at| {
        watched.watch.files(files, read_at, SETTLE).recv_timeout(DEADLINE).unwrap();
    };
    watch(Vec::new(), SystemTime::now());
    write(watched.dir.path(), "a.toml", "two");
    watched.expect_silence();
    watch(vec![watched.path("a.toml")], SystemTime::now() + Duration::from_secs(3600));
    write(watched.dir.path(), "a.toml", "three");
    watched.expect_change();
}

#[test]
fn the_way_to_a_file_names_each_link() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("real")).unwrap();
    write(&root, "real/file", "");
    std::os::unix::fs::symlink("real", root.join("link")).unwrap();
    let way: Vec<_> = way_to(&root.join("link/file")).into_iter().collect();
    assert_eq!(way, [root.join("link"), root.join("link/file"), root.join("real/file")]);
}

#[test]
fn a_file_that_comes_while_it_is_looked_at_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let later = SystemTime::now() + Duration::from_secs(3600);
    let mut known = Known { content: content_of(&path), stamp: Stamp::of(&path), holds: false };
    assert!(!has_changed_since(later, &known, Stamp::of(&path)), "it is missing as it was");
    // Between the look at its stamp and the reading of its content.
    std::fs::write(&path, "new").unwrap();
    known.content = content_of(&path);
    assert!(has_changed_since(later, &known, Stamp::of(&path)), "it came");
    known.stamp = Stamp::of(&path);
    assert!(!has_changed_since(later, &known, Stamp::of(&path)), "it is as it was read");
    assert!(
        has_changed_since(SystemTime::UNIX_EPOCH, &known, Stamp::of(&path)),
        "it is younger than the reading"
    );
    std::fs::write(dir.path().join("b"), "newer").unwrap();
    std::fs::rename(dir.path().join("b"), &path).unwrap();
    assert!(has_changed_since(later, &known, Stamp::of(&path)), "it was replaced");
}
