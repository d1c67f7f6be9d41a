use super::{Numbered, Replaced, Room};

const ROOM: Room = Room { count: 2, bytes: 10 };

fn make(text: &'static str) -> impl FnOnce() -> Result<(&'static str, usize), &'static str> {
    move || Ok((text, text.len()))
}

#[test]
fn gives_the_same_content_the_same_number() {
    let numbered = Numbered::default();
    assert_eq!(numbered.number([1; 32], ROOM, make("one")), Ok(Some(1)));
    assert_eq!(numbered.number([2; 32], ROOM, make("two")), Ok(Some(2)));
    assert_eq!(numbered.number([1; 32], ROOM, || Err("it is made twice")), Ok(Some(1)));
    assert_eq!(numbered.get(2).as_deref(), Some(&"two"));
    assert_eq!((numbered.get(0), numbered.get(3), numbered.get(u32::MAX)), (None, None, None));
}

#[test]
fn keeps_to_its_room() {
    let numbered = Numbered::default();
    assert_eq!(numbered.number([1; 32], ROOM, make("twelve bytes")), Ok(None), "too many bytes");
    assert_eq!(numbered.number([2; 32], ROOM, make("ten bytes!")), Ok(Some(1)), "the last that fit");
    assert_eq!(numbered.number([3; 32], ROOM, make("x")), Ok(None), "one too many");
    assert_eq!(numbered.number([3; 32], ROOM, make("")), Ok(Some(2)), "a failure leaves nothing behind");
    assert_eq!(numbered.number([4; 32], ROOM, || Err("it is made for nothing")), Ok(None));
}

#[test]
fn a_failure_to_make_takes_no_number() {
    let numbered = Numbered::default();
    assert_eq!(numbered.number([1; 32], ROOM, || Err::<(&str, usize), _>("refused")), Err("refused"));
    assert_eq!(numbered.number([1; 32], ROOM, make("now")), Ok(Some(1)));
}

#[test]
fn what_is_forgotten_gives_its_room_back_and_its_number_to_no_other() {
    let numbered = Numbered::default();
    for round in 0..100 {
        let number = numbered.number([round; 32], ROOM, make("ten bytes!")).unwrap().unwrap();
        assert_eq!(number, u32::from(round) + 1);
        assert_eq!(numbered.get(number).as_deref(), Some(&"ten bytes!"));
        numbered.forget(number);
        numbered.forget(number);
        assert_eq!(numbered.get(number), None);
    }
    assert_eq!(
        numbered.number([7; 32], ROOM, make("a")),
        Ok(Some(101)),
        "made once more, under another number"
    );
    assert_eq!(numbered.number([8; 32], ROOM, make("b")), Ok(Some(102)));
    numbered.forget(101);
    assert_eq!((numbered.get(101), numbered.get(102).as_deref()), (None, Some(&"b")));
}

#[test]
fn what_is_replaced_keeps_its_number_for_those_who_make_the_old_one_again() {
    let numbered = Numbered::default();
    assert_eq!(numbered.number([1; 32], ROOM, make("one")), Ok(Some(1)));
    assert_eq!(numbered.replace(1, [2; 32], ROOM, make("ten bytes!")), Ok(Replaced::Done));
    assert_eq!(numbered.get(1).as_deref(), Some(&"ten bytes!"));
    assert_eq!(numbered.number([1; 32], ROOM, || Err("it is made twice")), Ok(Some(1)));
    assert_eq!(numbered.replace(1, [2; 32], ROOM, || Err("it is there")), Ok(Replaced::Done));
    assert_eq!(numbered.replace(1, [3; 32], ROOM, make("twelve bytes")), Ok(Replaced::NoRoom));
    assert_eq!(numbered.replace(1, [3; 32], ROOM, || Err("refused")), Err("refused"));
    assert_eq!(numbered.get(1).as_deref(), Some(&"ten bytes!"), "what was there stays");
    assert_eq!(numbered.replace(2, [3; 32], ROOM, || Err("there is none")), Ok(Replaced::Absent));
    assert_eq!(numbered.number([4; 32], ROOM, make("x")), Ok(None), "its bytes are those that it takes now");
    assert_eq!(numbered.replace(1, [4; 32], ROOM, make("four")), Ok(Replaced::Done));
    assert_eq!(numbered.number([4; 32], ROOM, make("x")), Ok(Some(2)), "another, though it was put there");
}

#[test]
fn what_is_forgotten_while_it_is_replaced_stays_forgotten() {
    let numbered = Numbered::default();
    assert_eq!(numbered.number([1; 32], ROOM, make("one")), Ok(Some(1)));
    let replaced = numbered.replace(1, [2; 32], ROOM, || {
        numbered.forget(1);
        make("two")()
    });
    assert_eq!((replaced, numbered.get(1)), (Ok(Replaced::Absent), None));
    assert_eq!(numbered.number([2; 32], ROOM, make("ten bytes!")), Ok(Some(2)), "and takes no room");
}
