use portcullis_model::{ContentDigest, UpstreamProtocol, UpstreamTls};
use portcullis_net::{SystemRoots, UpstreamTlsContext};

use super::{ContextCache, KEPT_MAX};

#[test]
fn keeps_a_bounded_number_and_those_that_are_used() {
    // Contexts that believe everything need no authorities here.
    let tls = UpstreamTls { server_name: None, ca: None, verify: false };
    let context = UpstreamTlsContext::build(&tls, UpstreamProtocol::Http1, &SystemRoots::new()).unwrap();
    let id = |at: usize| Some(ContentDigest::new([u8::try_from(at).unwrap(); 32]));
    let mut kept = ContextCache::default();
    for at in 0..KEPT_MAX {
        kept.keep(id(at), context.clone());
    }
    assert!(kept.find(id(0)).is_some());
    kept.keep(None, context);
    assert_eq!(kept.contexts.len(), KEPT_MAX);
    assert!(kept.find(id(0)).is_some() && kept.find(None).is_some());
    assert!(kept.find(id(1)).is_none(), "which was not used for longest");
}

#[test]
fn no_two_contexts_have_the_same_number() {
    let tls = UpstreamTls { server_name: None, ca: None, verify: false };
    let context = UpstreamTlsContext::build(&tls, UpstreamProtocol::Http1, &SystemRoots::new()).unwrap();
    let mut kept = ContextCache::default();
    let first = kept.keep(None, context.clone());
    assert_eq!(kept.find(None).unwrap().id, first.id);
    kept.contexts.clear();
    let (alone, second) = (kept.number(context.clone()), kept.keep(None, context));
    assert!(first.id < alone.id && alone.id < second.id, "{} {} {}", first.id, alone.id, second.id);
}
