use super::*;

fn decided(last: bool, hook: impl FnOnce(&mut Piece)) -> BodyDecision {
    let mut piece = Piece::new(Bytes::from_static(b"0123456789"), last);
    hook(&mut piece);
    piece.decided()
}

fn split(decision: BodyDecision) -> (Bytes, usize, Again) {
    match decision {
        BodyDecision::Split(BodySplit { passed, kept, again }) => (passed, kept, again),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hook_that_says_nothing_lets_all_go_on() {
    assert!(matches!(decided(false, |_| {}), BodyDecision::Forward));
    assert!(matches!(decided(true, |_| {}), BodyDecision::Forward));
}

#[test]
fn what_was_let_go_and_the_rest_stay_in_order() {
    let replaced = decided(false, |piece| {
        piece.pass(2);
        assert!(piece.replace(3, Bytes::from_static(b"ab"), 10));
        assert_eq!((piece.size(), piece.read(1, 2)), (5, &b"67"[..]));
        piece.pass(1);
    });
    assert!(matches!(replaced, BodyDecision::Replace(bytes) if bytes == "01ab56789"));
}

#[test]
fn the_rest_is_kept_if_there_is_more_to_come() {
    assert!(matches!(decided(false, |piece| piece.ask(Again::WithMore)), BodyDecision::Hold));
    let kept = decided(false, |piece| {
        piece.pass(4);
        piece.ask(Again::WithMore);
    });
    assert_eq!(split(kept), (Bytes::from_static(b"0123"), 6, Again::WithMore));
    assert_eq!(split(decided(false, |piece| piece.ask(Again::AtEnd))), (Bytes::new(), 10, Again::AtEnd));
    assert!(matches!(decided(true, |piece| piece.ask(Again::AtEnd)), BodyDecision::Forward));
}

#[test]
fn a_hook_that_is_done_keeps_nothing() {
    let done = decided(false, |piece| {
        assert!(piece.replace(1, Bytes::from_static(b"x"), 10));
        piece.ask(Again::Never);
    });
    assert_eq!(split(done), (Bytes::from_static(b"x123456789"), 0, Again::Never));
}

#[test]
fn places_beyond_the_end_are_the_end() {
    decided(false, |piece| {
        assert_eq!(piece.read(8, u64::MAX), b"89");
        assert_eq!(piece.read(u64::MAX, 1), b"");
        piece.pass(u64::MAX);
        assert_eq!(piece.size(), 0);
    });
}

#[test]
fn what_takes_the_place_of_others_has_a_bound_in_all() {
    decided(false, |piece| {
        assert!(piece.replace(0, Bytes::from_static(b"abc"), 5));
        assert!(!piece.replace(9, Bytes::from_static(b"abc"), 5), "six are more than five");
        assert_eq!(piece.size(), 10, "nothing was changed");
    });
}
