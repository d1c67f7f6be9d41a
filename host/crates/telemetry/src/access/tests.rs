use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_model::{AccessLogFormat, LogTarget};

use super::{AccessLog, AccessLogError, BUFFER_BYTES};
use crate::record::AccessRecord;
use crate::record::tests::record;

const LONG: Duration = Duration::from_secs(240);

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-access-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn config(format: AccessLogFormat, file: &Path) -> portcullis_model::AccessLog {
    portcullis_model::AccessLog { format, target: LogTarget::File(file.to_owned()) }
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn all_that_workers_flushed_is_in_the_file() {
    let folder = Folder::new("flush");
    let file = folder.0.join("access.log");
    let log = AccessLog::open(&config(AccessLogFormat::Json, &file)).unwrap();
    let (mut one, mut other) = (log.worker(), log.worker());
    one.record(&record(), std::iter::empty(), std::iter::empty());
    assert!(log.sync(LONG));
    assert!(lines(&file).is_empty(), "it is still in the worker's buffer");
    one.flush();
    other.record(&record(), [("k", "v")].into_iter(), std::iter::empty());
    drop(other);
    assert!(log.sync(LONG));
    let lines = lines(&file);
    assert_eq!(lines.len(), 2);
    for line in lines {
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }
}

#[test]
fn records_of_several_workers_are_in_the_order_in_which_they_ended() {
    let folder = Folder::new("order");
    let file = folder.0.join("access.log");
    let log = AccessLog::open(&config(AccessLogFormat::Text, &file)).unwrap();
    let mut workers = [log.worker(), log.worker(), log.worker()];
    let paths: Vec<String> = (0..300).map(|at| format!("/{at}")).collect();
    for (at, path) in paths.iter().enumerate() {
        let worker = &mut workers[at * 7 % 3];
        worker.record(
            &AccessRecord { path: path.as_bytes(), ..record() },
            std::iter::empty(),
            std::iter::empty(),
        );
        // Each hands over at different moments.
        if at % 50 == 49 {
            workers[at / 50 % 3].tick();
        }
    }
    drop(workers);
    assert!(log.sync(LONG));
    let written: Vec<_> =
        lines(&file).iter().map(|line| line.split(' ').nth(6).unwrap().to_owned()).collect();
    assert_eq!(written, paths);
}

#[test]
fn a_full_buffer_is_handed_on_by_itself() {
    let folder = Folder::new("full");
    let file = folder.0.join("access.log");
    let log = AccessLog::open(&config(AccessLogFormat::Text, &file)).unwrap();
    let mut writer = log.worker();
    let mut bytes = 0;
    while bytes < BUFFER_BYTES {
        writer.record(&record(), std::iter::empty(), std::iter::empty());
        bytes = if writer.batch.lines.is_empty() { BUFFER_BYTES } else { writer.batch.lines.len() };
    }
    assert!(writer.batch.lines.is_empty());
    assert!(log.sync(LONG));
    assert!(!lines(&file).is_empty());
}

#[test]
fn after_a_rotation_records_go_to_the_new_file() {
    let folder = Folder::new("rotate");
    let (file, moved) = (folder.0.join("access.log"), folder.0.join("access.log.1"));
    let log = AccessLog::open(&config(AccessLogFormat::Text, &file)).unwrap();
    let mut writer = log.worker();
    let mut write = || {
        writer.record(&record(), std::iter::empty(), std::iter::empty());
        writer.flush();
        assert!(log.sync(LONG));
    };
    write();
    std::fs::rename(&file, &moved).unwrap();
    write();
    assert!(log.reopen());
    write();
    assert_eq!((lines(&moved).len(), lines(&file).len()), (2, 1));
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let file = Path::new("/nonexistent/access.log");
    let error = AccessLog::open(&config(AccessLogFormat::Text, file)).unwrap_err();
    assert!(matches!(error, AccessLogError::File { .. }));
    assert!(error.to_string().contains("/nonexistent/access.log"), "{error}");
}

#[test]
fn off_writes_nothing_and_opens_nothing() {
    let log = AccessLog::open(&config(AccessLogFormat::Off, Path::new("/nonexistent/access.log"))).unwrap();
    let mut writer = log.worker();
    assert!(!log.is_enabled() && !writer.is_enabled() && log.is_same(&AccessLog::off()));
    writer.record(&record(), std::iter::empty(), std::iter::empty());
    assert!(writer.batch.lines.is_empty());
    assert!(log.reopen() && log.sync(Duration::ZERO));
}
