use super::{CacheWishes, WishError};

#[test]
fn what_is_said_is_bounded() {
    let mut wishes = CacheWishes::default();
    for number in 0..CacheWishes::PARTS_MAX {
        assert_eq!(wishes.vary_by("name", &number.to_string()), Ok(()));
        assert_eq!(wishes.vary_by("name", &number.to_string()), Ok(()), "it was said before");
    }
    assert_eq!(wishes.vary_by("name", "another"), Err(WishError::TooLarge));
    assert_eq!(wishes.parts().count(), CacheWishes::PARTS_MAX);
    for number in 0..CacheWishes::TAGS_MAX {
        assert_eq!(wishes.add_tag(&number.to_string()), Ok(()));
    }
    assert_eq!(wishes.add_tag("another"), Err(WishError::TooLarge));
    assert_eq!(wishes.tags().count(), CacheWishes::TAGS_MAX);
}

#[test]
fn what_is_out_of_bounds_changes_nothing() {
    let mut wishes = CacheWishes::default();
    for wrong in ["", "a\nb", "a\0", "\x7f"] {
        assert_eq!(wishes.add_tag(wrong), Err(WishError::Invalid), "{wrong:?}");
        assert_eq!(wishes.vary_by(wrong, "value"), Err(WishError::Invalid), "{wrong:?}");
    }
    let long = |bytes: usize| "x".repeat(bytes);
    assert_eq!(wishes.add_tag(&long(CacheWishes::TAG_BYTES_MAX + 1)), Err(WishError::TooLarge));
    assert_eq!(wishes.vary_by(&long(CacheWishes::NAME_BYTES_MAX + 1), ""), Err(WishError::TooLarge));
    assert_eq!(wishes.vary_by("a", &long(CacheWishes::VALUE_BYTES_MAX + 1)), Err(WishError::TooLarge));
    assert!(wishes.parts().next().is_none() && wishes.tags().next().is_none());
    assert_eq!(wishes.add_tag(&long(CacheWishes::TAG_BYTES_MAX)), Ok(()));
    assert_eq!(
        wishes.vary_by(&long(CacheWishes::NAME_BYTES_MAX), &long(CacheWishes::VALUE_BYTES_MAX)),
        Ok(())
    );
}

#[test]
fn nothing_is_left_for_the_next_exchange() {
    let mut wishes = CacheWishes::default();
    assert_eq!((wishes.vary_by("a", "b\nc"), wishes.add_tag("t")), (Ok(()), Ok(())));
    wishes.bypass();
    assert_eq!(wishes.parts().next(), Some(("a", "b\nc")));
    wishes.clear();
    assert!(!wishes.is_bypassed() && wishes.parts().next().is_none() && wishes.tags().next().is_none());
}
