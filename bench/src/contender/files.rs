//! The configurations. They say the same in three languages.

use std::path::Path;

use super::{Kind, Site};

/// SHA-256 of [`crate::load::KEY`].
const KEY_SHA256: &str = "b0962662e937d44c699c8305d90cbf190b3150c59b13863d1380b5cc3c711bb7";

pub(super) fn config(kind: Kind, site: &Site, folder: &Path, plain: u16, tls: u16) -> String {
    let (upstream, connections) = (site.upstream, site.connections);
    let (cert, key, burn) = (site.cert.display(), site.key.display(), site.burn.display());
    match kind {
        Kind::Portcullis => format!(
            r#"
[server]
workers = 1
access-log = {{ format = "off" }}

[listeners.plain]
address = "127.0.0.1:{plain}"
limits = {{ connections = {connections} }}

[listeners.tls]
address = "127.0.0.1:{tls}"
tls = {{ certificates = [{{ cert = "{cert}", key = "{key}" }}] }}
limits = {{ connections = {connections} }}

[upstreams.app]
endpoints = ["127.0.0.1:{upstream}"]
idle-connections = 64

[policies.keys]
plugin = "builtin:api-key"
isolation = "worker"
config = {{ keys = [{{ name = "bench", sha256 = "{KEY_SHA256}" }}] }}

[policies.fields]
plugin = "builtin:headers"
isolation = "worker"

[policies.fields.config]
request = {{ set = {{ x-client = "${{client-address}}" }}, remove = ["x-debug"] }}
response = {{ set = {{ x-frame-options = "DENY" }}, remove = ["x-powered-by"] }}

[policies.limit]
plugin = "builtin:rate-limit"
isolation = "worker"
grants = {{ rate-limit = true }}
# More than comes, so that every request is counted and none refused.
config = {{ rate = "1000000/s", burst = 1000000 }}

[policies.fresh-keys]
plugin = "builtin:api-key"
config = {{ keys = [{{ name = "bench", sha256 = "{KEY_SHA256}" }}] }}

[policies.fresh-fields]
plugin = "builtin:headers"

[policies.fresh-fields.config]
request = {{ set = {{ x-client = "${{client-address}}" }}, remove = ["x-debug"] }}
response = {{ set = {{ x-frame-options = "DENY" }}, remove = ["x-powered-by"] }}

[policies.fresh-limit]
plugin = "builtin:rate-limit"
grants = {{ rate-limit = true }}
config = {{ rate = "1000000/s", burst = 1000000 }}

[policies.burn]
plugin = "{burn}"
# The answer is the upstream's all the same.
on-error = "allow"
config = {{ request-head = "loop" }}

[routes.fresh]
match = {{ path = "/fresh/*" }}
use = ["fresh-keys", "fresh-fields", "fresh-limit"]
to = "app"

[routes.burn]
match = {{ path = "/burn/*" }}
use = ["burn"]
to = "app"

[routes.plain]
match = {{ path = "/*" }}
to = "app"

[routes.one]
match = {{ path = "/one/*" }}
use = ["keys"]
to = "app"

[routes.three]
match = {{ path = "/three/*" }}
use = ["keys", "fields", "limit"]
to = "app"
"#
        ),
        Kind::Nginx => {
            // Workers of a master that root started become somebody else, who cannot enter our folder.
            let user = if is_root() { "user root;" } else { "" };
            let folder = folder.display();
            // nginx counts connections to the upstream as well.
            let files = 2 * connections;
            format!(
                r#"
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream app {{
    server 127.0.0.1:{upstream};
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl http2;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Forwarded "for=$remote_addr;host=\"$http_host\";proto=$scheme";
    }}
  }}
}}
"#
            )
        }
        Kind::Haproxy => format!(
            r#"
global
  nbthread 1
  maxconn {connections}

defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
  http-reuse always

frontend front
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {both} alpn h2,http/1.1
  default_backend app

backend app
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header Forwarded for=%[src];host="%[req.hdr(host)]";proto=%[ssl_fc,iif(https,http)]
  server upstream 127.0.0.1:{upstream} pool-max-conn 64
"#,
            both = site.both.display()
        ),
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Who this process is, without a system call of our own: the owner of its folder in /proc.
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
