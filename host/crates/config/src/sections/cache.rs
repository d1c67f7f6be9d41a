//! `[caches.NAME]`.

use portcullis_model::Cache;

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::references::Section;
use crate::syntax::keys::CACHE;
use crate::syntax::view::View;

/// Bytes that a cache may hold in memory by default.
const MEMORY_BYTES: usize = 64 << 20;
/// Bytes of one body by default.
const OBJECT_BYTES: u64 = 8 << 20;

/// Makes the caches.
pub(crate) fn caches(loader: &mut Loader<'_>, section: &Section<'_>) -> Vec<Cache> {
    let mut caches = Vec::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &CACHE, named.span);
        let memory_bytes_max = view.bytes("memory").unwrap_or(MEMORY_BYTES);
        let object_bytes_max = view.size("object").unwrap_or(OBJECT_BYTES);
        if object_bytes_max > memory_bytes_max as u64 / 2
            && let Some(span) = view.key_span("object").or(view.key_span("memory"))
        {
            let message = format!("cache `{}` keeps bodies that leave no room for others", named.name);
            let help = "give it `memory` for at least two of the largest bodies, or a smaller `object`";
            loader.report(Report::new(span, message, "`object` is more than half of `memory`").help(help));
        }
        let origin = loader.sources.origin(named.span);
        caches.push(Cache { name: named.name.into(), memory_bytes_max, object_bytes_max, origin });
    }
    caches
}
