//! The answer for each directive, from which docs/from-nginx.md has its table.

use crate::report::Verdict;
use crate::report::Verdict::{Approximated as A, Converted as C, Refused as R, Unneeded as U};

/// Directives that are answered alike.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) directives: &'static [&'static str],
    /// What can become of them.
    pub(crate) verdicts: &'static [Verdict],
    /// How, or what to do instead.
    pub(crate) how: &'static str,
}

const fn row(directives: &'static [&'static str], verdicts: &'static [Verdict], how: &'static str) -> Row {
    Row { directives, verdicts, how }
}

/// All directives that the import knows, by subject.
pub(crate) const ROWS: &[Row] = &[
    row(&["http"], &[C], "What is in it"),
    row(
        &["server"],
        &[C, A, R],
        "Routes with its `host` on its `listeners`. The default server of a socket takes all other hosts",
    ),
    row(
        &["listen"],
        &[C, A, R],
        "`listeners`, one for each address. HTTP/2 is on by default (`protocols`). Not: sockets of the file system, \
         HTTP/3, `ipv6only=off` (`[::]` is IPv6 alone)",
    ),
    row(
        &["server_name"],
        &[C, A, R],
        "`match.host`: exact names, `*.name` and `.name`. Not: regular expressions and `name.*`",
    ),
    row(
        &["location"],
        &[C, A, U, R],
        "`match.path`: `/a/` is `/a/*`, `= /a` is `/a`. `/a` without a slash at its end takes `/a` and what is \
         below it, but not `/ab`",
    ),
    row(&["upstream", "zone"], &[C, A, U], "`upstreams`"),
    row(
        &["proxy_pass", "grpc_pass"],
        &[C, A, R],
        "`to`. A path behind the address becomes `rewrite.path`. Certificates of `https` are verified. Not: \
         variables in the address",
    ),
    row(
        &["return"],
        &[C, A, R, U],
        "`redirect` or `respond`, without nginx's page for errors. 444 becomes 403. Not: variables in a text",
    ),
    row(&["rewrite"], &[C, R], "`redirect`, if it takes every path and leads away. Not: regular expressions"),
    row(
        &["if"],
        &[C, R, U],
        "A route of its own, if it only returns and asks for host, method, scheme or a field",
    ),
    row(&["limit_except"], &[C, R], "`match.method`"),
    row(&["internal"], &[C], "404"),
    row(
        &["root", "alias"],
        &[C, A, R, U],
        "`files.root`; of `alias` with `rewrite.path`. Names that begin with a dot are not served",
    ),
    row(&["index"], &[C, A, U], "`files.index`: one name"),
    row(&["try_files"], &[C, R], "`$uri $uri/ =404` is what `files` does"),
    row(&["autoindex"], &[C, R], "Folders are not listed"),
    row(&["gzip_static", "brotli_static"], &[C, U], "`files.precompressed`"),
    row(&["disable_symlinks"], &[C, U], "`files.symlinks`"),
    row(
        &["proxy_set_header", "grpc_set_header"],
        &[C, A, R, U],
        "`rewrite.host` for `Host`, `request-headers`, or `builtin:headers` for variables such as `$remote_addr`. \
         What the gateway writes itself (`X-Forwarded-*`, `X-Real-IP`, `Upgrade`) needs nothing",
    ),
    row(
        &["proxy_hide_header", "grpc_hide_header"],
        &[C, U],
        "`response-headers.remove`; `Server` is hidden in any case",
    ),
    row(
        &["add_header"],
        &[C, A, R, U],
        "`response-headers.add`, with `always` if all of a route's have it. Not: variables",
    ),
    row(&["expires"], &[C, A, R, U], "`Cache-Control: max-age`, without `Expires`"),
    row(&["client_max_body_size"], &[C, R, U], "`limits.body`; 1 MiB if it is not there, as in nginx"),
    row(
        &[
            "proxy_connect_timeout",
            "proxy_read_timeout",
            "proxy_send_timeout",
            "grpc_connect_timeout",
            "grpc_read_timeout",
            "grpc_send_timeout",
        ],
        &[C, R, U],
        "`timeouts` of the upstream; one upstream for each set of them",
    ),
    row(
        &["proxy_next_upstream", "proxy_next_upstream_tries", "grpc_next_upstream"],
        &[C, R, U],
        "`retry` and `attempts`. Not: 403 and 404",
    ),
    row(
        &["proxy_next_upstream_timeout"],
        &[R],
        "`timeout` of a route bounds all attempts together, and the response",
    ),
    row(
        &["proxy_ssl_verify", "proxy_ssl_name", "proxy_ssl_trusted_certificate"],
        &[C, U],
        "`tls` of the upstream",
    ),
    row(
        &["proxy_ssl_certificate", "proxy_ssl_certificate_key", "proxy_ssl_crl"],
        &[R],
        "The gateway shows no certificate to upstreams",
    ),
    row(
        &[
            "proxy_ssl_server_name",
            "proxy_ssl_protocols",
            "proxy_ssl_ciphers",
            "proxy_ssl_session_reuse",
            "proxy_ssl_verify_depth",
            "grpc_ssl_server_name",
        ],
        &[U],
        "The name is always asked for; TLS 1.2 and 1.3",
    ),
    row(
        &["proxy_redirect", "proxy_cookie_domain", "proxy_cookie_path", "proxy_cookie_flags"],
        &[U, R],
        "`Location` and `Set-Cookie` are passed on as they are: pass `Host` on, so that the upstream writes the \
         right ones",
    ),
    row(
        &["proxy_intercept_errors", "error_page", "recursive_error_pages"],
        &[R],
        "Errors of the gateway and of upstreams have no pages of their own yet",
    ),
    row(
        &[
            "proxy_method",
            "proxy_set_body",
            "proxy_pass_request_body",
            "proxy_pass_request_headers",
            "proxy_bind",
        ],
        &[R],
        "No counterpart: a policy can change fields and bodies",
    ),
    row(
        &["proxy_pass_header", "proxy_ignore_client_abort", "proxy_force_ranges", "proxy_limit_rate"],
        &[R],
        "No counterpart",
    ),
    row(
        &[
            "proxy_http_version",
            "proxy_buffering",
            "proxy_request_buffering",
            "proxy_buffers",
            "proxy_buffer_size",
            "proxy_busy_buffers_size",
            "proxy_max_temp_file_size",
            "proxy_temp_file_write_size",
            "proxy_temp_path",
            "proxy_headers_hash_max_size",
            "proxy_headers_hash_bucket_size",
            "proxy_socket_keepalive",
            "proxy_store",
            "proxy_store_access",
        ],
        &[U],
        "Bodies stream in both directions, over HTTP/1.1 with kept connections",
    ),
    row(
        &["least_conn", "ip_hash", "hash", "random", "least_time"],
        &[C, A, R, U],
        "`balance`. By a hash other endpoints may be chosen than nginx chooses",
    ),
    row(
        &["keepalive", "keepalive_requests", "keepalive_time"],
        &[C, U],
        "`idle-connections`, for each endpoint",
    ),
    row(
        &["keepalive_timeout"],
        &[C, A, R, U],
        "`timeouts.idle` of the listener, `timeouts.pool-idle` of the upstream",
    ),
    row(&["client_header_timeout"], &[C, A, R, U], "`timeouts.request-head` of the listener"),
    row(
        &[
            "client_body_timeout",
            "send_timeout",
            "lingering_close",
            "lingering_time",
            "lingering_timeout",
            "reset_timedout_connection",
        ],
        &[U],
        "`timeouts` of the listener: `idle` bounds how long a body may stand still",
    ),
    row(&["ssl"], &[U], "`tls` of the listener"),
    row(
        &["ssl_certificate", "ssl_certificate_key"],
        &[C, R, U],
        "`tls.certificates`, chosen by the names in them",
    ),
    row(&["ssl_protocols"], &[C, A, U], "`tls.min-version`: 1.2 is the oldest"),
    row(
        &[
            "ssl_ciphers",
            "ssl_prefer_server_ciphers",
            "ssl_dhparam",
            "ssl_ecdh_curve",
            "ssl_session_cache",
            "ssl_session_timeout",
            "ssl_session_tickets",
            "ssl_session_ticket_key",
            "ssl_buffer_size",
            "ssl_early_data",
            "ssl_conf_command",
        ],
        &[U],
        "TLS has safe settings that are not set one by one",
    ),
    row(
        &["ssl_stapling", "ssl_stapling_verify", "ssl_trusted_certificate", "ssl_stapling_file"],
        &[U],
        "No stapling; certificates are valid without it",
    ),
    row(&["ssl_password_file"], &[R], "Keys have no passphrase: `openssl pkey` removes it"),
    row(
        &["ssl_verify_client"],
        &[R],
        "The gateway asks no client for a certificate. The route is closed until you decide",
    ),
    row(
        &["ssl_client_certificate", "ssl_crl", "ssl_verify_depth", "ssl_ocsp"],
        &[U],
        "See `ssl_verify_client`",
    ),
    row(
        &["ssl_reject_handshake"],
        &[R],
        "A client that asks for no known name gets the first certificate, and 404",
    ),
    row(
        &["allow", "deny"],
        &[C, R, U],
        "`builtin:ip-filter`, or `respond` for `deny all`. Closed if a network is denied behind one that is allowed",
    ),
    row(
        &["auth_basic", "auth_basic_user_file"],
        &[C, R, U],
        "Use `builtin:api-key`, `builtin:jwt` or `builtin:external-auth`. The route is closed until you decide",
    ),
    row(&["auth_request"], &[R, U], "Use `builtin:external-auth`. The route is closed until you decide"),
    row(&["auth_request_set"], &[R], "`upstream-fields` of `builtin:external-auth`"),
    row(
        &[
            "auth_jwt",
            "auth_jwt_key_file",
            "secure_link",
            "secure_link_md5",
            "auth_digest",
            "auth_pam",
            "auth_ldap",
            "satisfy",
        ],
        &[R, U],
        "See `builtin:jwt`. The route is closed until you decide",
    ),
    row(
        &["limit_req", "limit_req_zone", "limit_req_status"],
        &[C, A, R, U],
        "`builtin:rate-limit`. Requests within the burst are not delayed, and what is too much is 429",
    ),
    row(
        &[
            "limit_req_log_level",
            "limit_req_dry_run",
            "limit_conn_log_level",
            "limit_conn_status",
            "limit_conn_dry_run",
        ],
        &[U],
        "Without effect on answers",
    ),
    row(
        &["limit_conn", "limit_conn_zone"],
        &[R],
        "No limit of connections by address; `limits` of listeners and upstreams",
    ),
    row(&["limit_rate", "limit_rate_after"], &[R], "Responses are sent as fast as the client reads"),
    row(&["set_real_ip_from"], &[C, A, R], "`server.trusted-proxies`, for all listeners"),
    row(&["real_ip_header"], &[C, R], "`X-Forwarded-For` and `Forwarded`"),
    row(&["real_ip_recursive"], &[C, A], "Always `on`"),
    row(
        &["proxy_cache", "proxy_cache_valid", "proxy_cache_key", "proxy_cache_bypass", "proxy_no_cache"],
        &[C, A, R, U],
        "`cache` of the route",
    ),
    row(&["proxy_cache_path"], &[A, U], "`caches`, in memory; the result has the line for a disk"),
    row(&["proxy_cache_use_stale"], &[C, A, U], "`cache.stale`"),
    row(
        &[
            "proxy_cache_lock",
            "proxy_cache_lock_timeout",
            "proxy_cache_lock_age",
            "proxy_cache_background_update",
            "proxy_cache_revalidate",
            "proxy_cache_methods",
            "proxy_cache_convert_head",
            "proxy_cache_max_range_offset",
        ],
        &[U],
        "The cache does so by itself: `cache.collapse`, `cache.stale`",
    ),
    row(
        &["proxy_cache_min_uses", "proxy_ignore_headers", "proxy_cache_purge"],
        &[R, U],
        "What a response says of itself comes before `ttl`; the first use stores",
    ),
    row(
        &["gzip", "brotli", "zstd"],
        &[C, A],
        "`compress`; responses that may hold a secret are sent as they are (`credentials`)",
    ),
    row(
        &["gzip_types", "brotli_types", "zstd_types", "gzip_min_length"],
        &[C, U],
        "`compress.types`, `compress.min-size`",
    ),
    row(&["gzip_comp_level"], &[A, U], "`compress.effort`"),
    row(
        &[
            "gzip_vary",
            "gzip_proxied",
            "gzip_buffers",
            "gzip_http_version",
            "gzip_disable",
            "brotli_comp_level",
            "brotli_min_length",
            "brotli_window",
            "brotli_buffers",
            "gunzip",
            "zstd_comp_level",
            "zstd_min_length",
        ],
        &[U],
        "`Vary` is always sent",
    ),
    row(&["access_log"], &[C, A, U], "`server.access-log`, one for all. nginx's file is not written to"),
    row(
        &["log_format", "error_log", "log_not_found", "log_subrequest", "open_log_file_cache"],
        &[U],
        "The log goes to standard error, in formats of its own",
    ),
    row(
        &[
            "map",
            "geo",
            "split_clients",
            "set",
            "map_hash_bucket_size",
            "map_hash_max_size",
            "variables_hash_max_size",
            "variables_hash_bucket_size",
        ],
        &[U, R],
        "No variables: what uses one is refused",
    ),
    row(
        &[
            "default_type",
            "types",
            "types_hash_max_size",
            "types_hash_bucket_size",
            "charset",
            "charset_types",
        ],
        &[U],
        "Files have the usual media types; text is taken for UTF-8",
    ),
    row(&["include"], &[C], "Its files are read"),
    row(
        &["fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"],
        &[R],
        "The gateway speaks HTTP to upstreams. The route is closed until you decide",
    ),
    row(
        &[
            "fastcgi_param",
            "fastcgi_index",
            "fastcgi_split_path_info",
            "fastcgi_read_timeout",
            "fastcgi_connect_timeout",
            "fastcgi_send_timeout",
            "fastcgi_buffers",
            "fastcgi_buffer_size",
            "fastcgi_busy_buffers_size",
            "fastcgi_temp_file_write_size",
            "fastcgi_intercept_errors",
            "fastcgi_hide_header",
            "fastcgi_keep_conn",
            "fastcgi_cache",
            "fastcgi_cache_valid",
            "fastcgi_cache_path",
            "fastcgi_cache_key",
            "fastcgi_cache_bypass",
            "fastcgi_no_cache",
            "uwsgi_param",
            "scgi_param",
            "uwsgi_read_timeout",
        ],
        &[R],
        "See `fastcgi_pass`",
    ),
    row(&["stream", "mail"], &[R], "HTTP alone"),
    row(&["stub_status", "status_zone"], &[R], "`server.metrics` and `portcullis status`"),
    row(
        &[
            "sub_filter",
            "sub_filter_once",
            "sub_filter_types",
            "addition_types",
            "add_after_body",
            "add_before_body",
            "ssi",
            "image_filter",
            "xslt_stylesheet",
            "mp4",
            "flv",
            "dav_methods",
            "random_index",
            "mirror",
            "slice",
            "empty_gif",
        ],
        &[R],
        "No counterpart: a policy can change bodies",
    ),
    row(
        &[
            "js_import",
            "js_content",
            "js_set",
            "content_by_lua_block",
            "access_by_lua_block",
            "rewrite_by_lua_block",
            "header_filter_by_lua_block",
            "body_filter_by_lua_block",
            "set_by_lua_block",
            "perl",
            "perl_set",
        ],
        &[R],
        "Write a policy: [writing-a-policy.md](writing-a-policy.md)",
    ),
    row(&["load_module"], &[U], "What its directives do is refused at each of them"),
    row(
        &["resolver", "resolver_timeout", "lua_package_path"],
        &[U],
        "Names are looked up by the system's resolver, again and again",
    ),
    row(
        &[
            "events",
            "worker_connections",
            "multi_accept",
            "use",
            "accept_mutex",
            "worker_processes",
            "worker_rlimit_nofile",
            "worker_cpu_affinity",
            "worker_priority",
            "worker_shutdown_timeout",
            "user",
            "pid",
            "daemon",
            "master_process",
            "lock_file",
            "pcre_jit",
            "thread_pool",
            "env",
            "timer_resolution",
            "working_directory",
        ],
        &[U],
        "Processes: one worker for each core, `limits.connections` of a listener; the rest belongs to the service \
         manager",
    ),
    row(
        &[
            "sendfile",
            "sendfile_max_chunk",
            "tcp_nopush",
            "tcp_nodelay",
            "aio",
            "directio",
            "output_buffers",
            "open_file_cache",
            "open_file_cache_valid",
            "open_file_cache_min_uses",
            "open_file_cache_errors",
            "read_ahead",
            "postpone_output",
            "client_body_buffer_size",
            "client_header_buffer_size",
            "client_body_temp_path",
            "fastcgi_temp_path",
            "uwsgi_temp_path",
            "scgi_temp_path",
            "client_body_in_file_only",
            "client_body_in_single_buffer",
            "large_client_header_buffers",
            "connection_pool_size",
            "request_pool_size",
            "server_names_hash_bucket_size",
            "server_names_hash_max_size",
            "http2",
            "http2_max_concurrent_streams",
            "http2_recv_buffer_size",
            "http2_chunk_size",
            "http2_push_preload",
        ],
        &[U],
        "Means to ends that the gateway has means of its own for; `limits` bound what a client may send",
    ),
    row(
        &[
            "server_tokens",
            "etag",
            "if_modified_since",
            "max_ranges",
            "msie_padding",
            "chunked_transfer_encoding",
            "absolute_redirect",
            "port_in_redirect",
            "server_name_in_redirect",
            "ignore_invalid_headers",
            "underscores_in_headers",
            "merge_slashes",
            "rewrite_log",
            "uninitialized_variable_warn",
        ],
        &[U],
        "As by default; [configuration.md](configuration.md) has what can be set",
    ),
];

/// Returns what becomes of a directive that nothing in the configuration uses.
pub(crate) fn otherwise(name: &str) -> (Verdict, &'static str) {
    match ROWS.iter().find(|row| row.directives.contains(&name)) {
        None => (R, "the import does not know this directive"),
        Some(row) if row.verdicts == [R] => (R, row.how),
        Some(row) if row.verdicts == [U] => (U, ""),
        Some(_) => (U, "nothing here uses it"),
    }
}

/// Returns whether a directive may be answered so.
#[cfg(test)]
pub(crate) fn allows(name: &str, verdict: Verdict) -> bool {
    let row = ROWS.iter().find(|row| row.directives.contains(&name));
    row.map_or(verdict == R, |row| row.verdicts.contains(&verdict) || verdict == U)
}

/// Returns the table of docs/from-nginx.md.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| nginx | answer | how |\n| --- | --- | --- |\n".to_owned();
    for row in ROWS {
        let names: Vec<String> = row.directives.iter().map(|name| format!("`{name}`")).collect();
        let verdicts: Vec<&str> = row.verdicts.iter().map(|verdict| verdict.word()).collect();
        text.push_str(&format!("| {} | {} | {} |\n", names.join(", "), verdicts.join(", "), row.how));
    }
    text
}
