//! What nginx does in place of the policies: nothing, or the same with its own modules, or in Lua.
//!
//! The keys themselves are compared and not their digests, because nginx has no map of digests; so it does less.

use std::path::Path;

use super::kind::{Kind, LUA, LUA_NEEDS, modules};

/// The fields that every contender adds. A location that adds another has to repeat them.
pub(super) const FORWARDED: &str = "proxy_set_header Connection \"\";
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header Forwarded \"for=$remote_addr;host=\\\"$http_host\\\";proto=$scheme\";";

/// Parts of its configuration.
#[derive(Debug, Default)]
pub(super) struct Policies {
    pub(super) main: String,
    pub(super) http: String,
    /// For one policy: who has this key?
    pub(super) one: String,
    /// For three: that, fields of request and response, and a limit by client address.
    pub(super) three: String,
}

/// Returns the parts for `kind`, of which the program is `binary`.
pub(super) fn policies(kind: Kind, binary: &Path) -> Policies {
    match kind {
        Kind::NginxModules => Policies {
            main: String::new(),
            http: MODULES_HTTP.to_owned(),
            one: MODULES_ONE.to_owned(),
            three: format!("{MODULES_ONE}{MODULES_THREE}"),
        },
        Kind::NginxLua => {
            let folder = modules(binary).unwrap_or_default();
            let load = |name: &str| format!("load_module {};\n", folder.join(name).display());
            Policies {
                main: [load(LUA_NEEDS), load(LUA)].concat(),
                http: LUA_HTTP.to_owned(),
                one: LUA_ONE.to_owned(),
                three: LUA_THREE.to_owned(),
            }
        }
        Kind::Portcullis | Kind::Nginx | Kind::Haproxy => Policies::default(),
    }
}

const MODULES_HTTP: &str = "map_hash_max_size 8192;
  map_hash_bucket_size 128;
  map $http_x_api_key $client {
    default \"\";
    @keys@
  }
  limit_req_zone $binary_remote_addr zone=limit:10m rate=1000000r/s;";

const MODULES_ONE: &str = "if ($client = \"\") { return 401; }
      @forwarded@
      proxy_set_header X-Api-Key \"\";
";

const MODULES_THREE: &str = "      proxy_set_header X-Client $remote_addr;
      proxy_set_header X-Debug \"\";
      limit_req zone=limit burst=1000000 nodelay;
      add_header X-Frame-Options DENY;
      proxy_hide_header X-Powered-By;";

const LUA_HTTP: &str = "lua_shared_dict limit 10m;
  init_by_lua_block {
    keys = { @keys@ }
  }";

const LUA_ONE: &str = "access_by_lua_block {
        local name = keys[ngx.var.http_x_api_key or \"\"]
        if not name then return ngx.exit(401) end
        ngx.ctx.name = name
        ngx.req.clear_header(\"X-Api-Key\")
      }";

const LUA_THREE: &str = "access_by_lua_block {
        local name = keys[ngx.var.http_x_api_key or \"\"]
        if not name then return ngx.exit(401) end
        ngx.ctx.name = name
        ngx.req.clear_header(\"X-Api-Key\")
        ngx.req.set_header(\"X-Client\", ngx.var.remote_addr)
        ngx.req.clear_header(\"X-Debug\")
        local window = ngx.var.binary_remote_addr .. math.floor(ngx.now())
        local used = ngx.shared.limit:incr(window, 1, 0, 2)
        if used and used > 1000000 then return ngx.exit(429) end
      }
      header_filter_by_lua_block {
        ngx.header[\"X-Frame-Options\"] = \"DENY\"
        ngx.header[\"X-Powered-By\"] = nil
      }";
