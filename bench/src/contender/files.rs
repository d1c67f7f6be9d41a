//! The configurations: one template for each gateway in `templates`, all of which say the same.

use std::path::Path;

use super::kind::Kind;
use super::nginx;
use super::site::Site;
use crate::load::KEY;

/// SHA-256 of [`crate::load::KEY`].
const KEY_SHA256: &str = "b0962662e937d44c699c8305d90cbf190b3150c59b13863d1380b5cc3c711bb7";

/// Returns the configuration of a gateway that listens on the ports `plain` and `tls`. `folder` is its own.
pub(super) fn config(kind: Kind, binary: &Path, site: &Site, folder: &str, plain: u16, tls: u16) -> String {
    let template = match kind {
        Kind::Portcullis => include_str!("templates/portcullis.toml"),
        Kind::Nginx | Kind::NginxModules | Kind::NginxLua => include_str!("templates/nginx.conf"),
        Kind::Haproxy => include_str!("templates/haproxy.cfg"),
    };
    // Workers of an nginx that root started run as another user, who cannot read our folder.
    let user = if is_root() { "user root;" } else { "" };
    let policies = nginx::policies(kind, binary);
    let values = [
        // What they are replaced by has places too.
        ("main", policies.main),
        ("http", policies.http),
        ("one", policies.one),
        ("three", policies.three),
        ("keys", keys(kind)),
        ("forwarded", nginx::FORWARDED.to_owned()),
        ("plain", plain.to_string()),
        ("tls", tls.to_string()),
        ("upstream", site.upstream.to_string()),
        ("connections", site.connections.to_string()),
        // nginx counts connections to the upstream as well.
        ("all-connections", (2 * site.connections).to_string()),
        ("cert", site.cert.display().to_string()),
        ("key", site.key.display().to_string()),
        ("both", site.both.display().to_string()),
        ("burn", site.burn.display().to_string()),
        ("folder", folder.to_owned()),
        ("user", user.to_owned()),
    ];
    fill(template, &values)
}

/// How many keys there are.
const KEYS: usize = 1000;

/// Returns the list of keys, one of which is sent, as a gateway writes it.
fn keys(kind: Kind) -> String {
    let digest = |at: usize| {
        // Any other digests will do.
        let word = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{word:016x}{:016x}{word:016x}{word:016x}", word.rotate_left(17))
    };
    let mut keys = String::new();
    for at in 1..KEYS {
        keys.push_str(&match kind {
            Kind::Portcullis => format!("{{ name = \"client-{at}\", sha256 = \"{}\" }}, ", digest(at)),
            Kind::NginxLua => format!("[\"{}\"] = \"client-{at}\",\n", digest(at)),
            _ => format!("\"{}\" \"client-{at}\";\n", digest(at)),
        });
    }
    keys + &match kind {
        Kind::Portcullis => format!("{{ name = \"bench\", sha256 = \"{KEY_SHA256}\" }}"),
        Kind::NginxLua => format!("[\"{KEY}\"] = \"bench\""),
        _ => format!("\"{KEY}\" \"bench\";"),
    }
}

/// Puts each value in the place of its name between `@` marks.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Who this process is, without a system call of our own: the owner of its folder in /proc.
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Kind, Site, config};

    #[test]
    fn every_place_of_a_template_is_filled() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(folder.path(), 1, 2).unwrap();
        for kind in Kind::ALL {
            let text = config(kind, Path::new("/bin/false"), &site, "/x", 3, 4);
            assert!(!text.contains('@'), "{kind}: {text}");
            let lists = match kind {
                Kind::Portcullis => 2,
                Kind::NginxModules | Kind::NginxLua => 1,
                Kind::Nginx | Kind::Haproxy => 0,
            };
            assert_eq!(text.matches("client-7").count(), 111 * lists, "{kind}");
            assert!(text.contains("127.0.0.1:3") && text.contains("127.0.0.1:1"), "{kind}: {text}");
        }
    }
}
