use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Loss, Output, Sink};

const LONG: Duration = Duration::from_secs(240);

/// Takes a piece only when the test allows it, and reports each attempt.
#[derive(Debug)]
struct Gate {
    asked: SyncSender<()>,
    go: Receiver<io::Result<()>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.send(()).unwrap();
        self.go.recv().unwrap()?;
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Gate {}

fn report(loss: Loss) -> Option<Vec<u8>> {
    Some(
        format!(
            "lost {} {}{}\n",
            loss.lines,
            loss.error.map_or_else(String::new, |error| error.to_string()),
            if loss.recovered { " recovered" } else { "" }
        )
        .into_bytes(),
    )
}

#[test]
fn a_reader_that_stands_still_costs_lines_and_never_time() {
    let ((asked, asks), (goes, go)) = (sync_channel(100), sync_channel(100));
    let written = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate { asked, go, written: Arc::clone(&written) };
    let sink = Sink::start("test", Box::new(gate), 2, report, None).unwrap();
    sink.send(b"1\n".to_vec(), 1);
    asks.recv_timeout(LONG).unwrap();
    // The thread writes the first; two wait; there is no room for more.
    for (line, lines) in [(b"2\n", 1), (b"3\n", 1), (b"4\n", 3), (b"5\n", 4)] {
        sink.send(line.to_vec(), lines);
    }
    assert!(!sink.sync(Duration::from_millis(5)));
    for _ in 0..10 {
        goes.send(Ok(())).unwrap();
    }
    assert!(sink.sync(LONG));
    assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "1\nlost 7 \n2\n3\n");
}

#[test]
fn a_failed_write_is_told_of_and_the_next_one_is_made() {
    let ((asked, _asks), (goes, go)) = (sync_channel(100), sync_channel(100));
    let written = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate { asked, go, written: Arc::clone(&written) };
    let sink = Sink::start("test", Box::new(gate), 100, report, None).unwrap();
    goes.send(Err(io::Error::other("full"))).unwrap();
    for _ in 0..10 {
        goes.send(Ok(())).unwrap();
    }
    sink.send(b"1\n".to_vec(), 1);
    sink.send(b"2\n".to_vec(), 1);
    assert!(sink.sync(LONG));
    assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "lost 1 full\n2\nlost 0  recovered\n");
}

/// A disk with room for this many bytes.
#[derive(Debug)]
struct Disk {
    room: Arc<Mutex<usize>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = self.room.lock().unwrap();
        let taken = bytes.len().min(*room);
        if taken == 0 {
            return Err(io::Error::other("full"));
        }
        *room -= taken;
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Disk {}

#[test]
fn a_disk_that_was_full_tears_one_line_and_none_after_it() {
    static TOTAL: AtomicU64 = AtomicU64::new(0);
    let (room, written) = (Arc::new(Mutex::new(7)), Arc::default());
    let disk = Disk { room: Arc::clone(&room), written: Arc::clone(&written) };
    let quiet = |_| None;
    let sink = Sink::start("test", Box::new(disk), 100, quiet, Some(&TOTAL)).unwrap();
    // The first fits, the second is torn, the third is lost.
    sink.send(b"one\ntwo..\n".to_vec(), 2);
    sink.send(b"three\n".to_vec(), 1);
    assert!(sink.sync(LONG));
    assert_eq!(TOTAL.load(Ordering::Relaxed), 2);
    *room.lock().unwrap() = 1000;
    sink.send(b"four\nfive\n".to_vec(), 2);
    sink.send(b"six\n".to_vec(), 1);
    assert!(sink.sync(LONG));
    assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "one\ntwo\nfour\nfive\nsix\n");
    assert_eq!(TOTAL.load(Ordering::Relaxed), 2);
}
