//! Names that a test moves: a gateway whose `/etc/hosts` is a file of the test's, in a mount namespace of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use super::tool;

/// How a mount namespace is made: with a user namespace, which may need no privilege, or as root without one.
const WAYS: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];

/// Replaces `/etc/hosts`, then becomes what follows.
const SCRIPT: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// Returns the command that runs another one, whose program and arguments are appended, with `hosts` as `/etc/hosts`.
/// Fails the test if this machine does not allow that.
pub(super) fn with_hosts(hosts: &Path) -> Command {
    let unshare = tool("unshare", "util-linux");
    let mut said = String::new();
    for way in WAYS {
        let command = || {
            let mut command = Command::new(&unshare);
            command.args(way).args(["--", "sh", "-c", SCRIPT]).arg(hosts);
            command
        };
        let tried = command().args(["cat", "/etc/hosts"]).stdin(Stdio::null()).output().unwrap();
        if tried.status.success() && tried.stdout == std::fs::read(hosts).unwrap() {
            return command();
        }
        said += &format!("unshare {}: {}\n", way.join(" "), String::from_utf8_lossy(&tried.stderr).trim());
    }
    panic!(
        "this test needs a mount namespace with an /etc/hosts of its own, so that a name can move without this \
         machine's file being touched: allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 and \
         kernel.apparmor_restrict_unprivileged_userns=0), or run it as root with CAP_SYS_ADMIN\n{said}"
    )
}
