use super::{Numbered, Room};

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
