use super::{Bans, RECORD, Record, Standing, newest, read};
use crate::store::key::Key;
use crate::store::purges::{Hashes, Mode, Purge};

fn log(records: &[Record]) -> Vec<u8> {
    let mut log = Vec::new();
    records.iter().for_each(|record| record.encode(&mut log));
    log
}

fn records() -> Vec<Record> {
    let (base, number) = Record::next_epoch(0);
    vec![
        base,
        Record::new(&Purge::Tag(b"red"), Mode::Hard, number + 1, 10),
        Record::new(&Purge::Prefix(b"https://a/"), Mode::Soft, number + 2, 20),
    ]
}

#[test]
fn reads_what_it_wrote_and_every_epoch_is_above_the_last() {
    let records = records();
    assert_eq!(read(&log(&records)).unwrap(), records);
    let (next, number) = Record::next_epoch(newest(&records));
    assert!(number > newest(&records) && next.number == number);
}

#[test]
fn a_record_cut_short_is_the_end_and_a_broken_one_hides_purges() {
    let (records, whole) = (records(), log(&records()));
    let second = log(&records[..2]).len();
    for end in second..whole.len() {
        assert_eq!(read(&whole[..end]).unwrap(), records[..2], "{end}");
    }
    for at in 0..second {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        assert!(read(&broken).is_none(), "{at}");
    }
    assert!(read(b"").is_none());
    assert!(read(&[0; 100]).is_none());
    assert!(read(&log(&records[1..])).is_none());
    assert!(whole.len() > 3 * RECORD);
}

#[test]
fn files_stand_as_the_purges_after_them_say() {
    let hashes = Hashes::default();
    let key = Key::new(b"https://a/b", 0..11);
    let names = hashes.names(&key, &[b"red"]);
    let mut bans = Bans::default();
    let stands = |bans: &Bans, asked, validated| bans.standing(&names, key.url(), asked, validated);
    assert_eq!(stands(&bans, 0, 0), Standing::Kept);
    bans.add(&hashes, &Record::new(&Purge::Prefix(b"https://a/"), Mode::Soft, 5, 50));
    bans.add(&hashes, &Record::new(&Purge::Tag(b"blue"), Mode::Hard, 6, 60));
    assert_eq!(stands(&bans, 4, 4), Standing::StaleSince(50));
    assert_eq!(stands(&bans, 4, 5), Standing::Kept);
    bans.add(&hashes, &Record::new(&Purge::Tag(b"red"), Mode::Hard, 7, 70));
    assert_eq!(stands(&bans, 6, 9), Standing::Removed);
    assert_eq!(stands(&bans, 7, 7), Standing::Kept);
    for what in [Purge::Key(b"https://a/b"), Purge::Url(b"https://a/b"), Purge::Prefix(b"")] {
        let mut bans = Bans::default();
        bans.add(&hashes, &Record::new(&what, Mode::Hard, 8, 80));
        assert_eq!((stands(&bans, 7, 9), stands(&bans, 8, 8)), (Standing::Removed, Standing::Kept));
    }
}
