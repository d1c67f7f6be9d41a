//! The configurations: one template for each gateway in `templates`, all of which say the same.

use super::kind::Kind;
use super::site::Site;

/// SHA-256 of [`crate::load::KEY`].
const KEY_SHA256: &str = "b0962662e937d44c699c8305d90cbf190b3150c59b13863d1380b5cc3c711bb7";

/// Returns the configuration of a gateway that listens on the ports `plain` and `tls`. `folder` is its own.
pub(super) fn config(kind: Kind, site: &Site, folder: &str, plain: u16, tls: u16) -> String {
    let template = match kind {
        Kind::Portcullis => include_str!("templates/portcullis.toml"),
        Kind::Nginx => include_str!("templates/nginx.conf"),
        Kind::Haproxy => include_str!("templates/haproxy.cfg"),
    };
    // Workers of an nginx that root started run as another user, who cannot read our folder.
    let user = if is_root() { "user root;" } else { "" };
    let values = [
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
        ("key-sha256", KEY_SHA256.to_owned()),
        ("folder", folder.to_owned()),
        ("user", user.to_owned()),
    ];
    fill(template, &values)
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
            let text = config(kind, &site, &Path::new("/x").display().to_string(), 3, 4);
            assert!(!text.contains('@'), "{kind}: {text}");
            assert!(text.contains("127.0.0.1:3") && text.contains("127.0.0.1:1"), "{kind}: {text}");
        }
    }
}
