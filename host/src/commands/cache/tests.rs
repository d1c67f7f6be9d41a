use portcullis_admin::{CacheInspectAnswer, CacheNow, CachePurged, CachedResponse};

use super::{inspection, purges};

fn purged(kind: &str, target: &str, in_memory: u64, on_disk: u64) -> CachePurged {
    CachePurged {
        cache: "c".to_owned(),
        kind: kind.to_owned(),
        target: target.to_owned(),
        in_memory,
        on_disk,
        lasting: true,
        ..CachePurged::default()
    }
}

#[test]
fn a_purge_says_what_it_met() {
    assert_eq!(
        purges(&[purged("tag", "a\u{1b}b", 1, 0)], false),
        "c: 1 response with tag `a\\u{1b}b` removed\n"
    );
    assert_eq!(
        purges(&[purged("all", "everything", 2, 3)], true),
        "c: 2 responses in memory and 3 on the disk in it marked stale\n"
    );
    let mut nothing = purged("url", "a.test/", 0, 0);
    nothing.urls = vec!["http://a.test/".to_owned(), "https://a.test/".to_owned()];
    nothing.notes = vec!["stored with the same path: http://b.test/".to_owned()];
    nothing.lasting = false;
    assert_eq!(
        purges(&[nothing], false),
        "c: nothing is stored of `a.test/`\n  looked for: http://a.test/, https://a.test/\n  stored with the same \
         path: http://b.test/\n  the disk could not write it down: after a restart they may be there again, so repeat \
         it\n"
    );
}

#[test]
fn an_inspection_says_what_is_stored_and_what_would_happen() {
    let now = CacheNow {
        route: Some("r".to_owned()),
        cache: Some("c".to_owned()),
        result: Some("validate".to_owned()),
        status: Some("fwd=stale".to_owned()),
        why: "it is stale".to_owned(),
        url: Some("http://a.test/".to_owned()),
    };
    let stored = CachedResponse {
        cache: "c".to_owned(),
        tier: "memory".to_owned(),
        url: "http://a.test/".to_owned(),
        key: vec!["upstream: app".to_owned()],
        varies: vec![("accept".to_owned(), None)],
        status: 200,
        bytes: Some(1),
        age_s: 70,
        ttl_s: -10,
        purged_s: Some(3),
        stale_if_error_s: 60,
        etag: Some("\"1\"".to_owned()),
        tags: vec!["t".to_owned()],
        ..CachedResponse::default()
    };
    let answer = CacheInspectAnswer { now, responses: vec![stored], similar: Vec::new() };
    assert_eq!(
        inspection(&answer),
        "now: validate, for it is stale\n  route `r`, cache `c`: fwd=stale\n  http://a.test/\n\n200 in `c`, memory, 1 \
         byte\n  http://a.test/\n  upstream: app\n  varies by accept: (absent)\n  1 min 10 s old, stale for 10 s\n  \
         marked stale by a purge 3 s ago\n  may be used stale for 1 min 0 s if the upstream fails\n  validated by etag \
         \"1\"\n  tags: t\n"
    );
}
