//! What a gateway has of the machine that a test changes, in a mount namespace of its own: its `/etc/hosts`, so that
//! names move, and a small disk, so that it becomes full.

use std::path::Path;
use std::process::{Command, Stdio};

use super::tool;

/// How a mount namespace is made: with a user namespace, which may need no privilege, or as root without one.
const WAYS: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];

/// Replaces `/etc/hosts`, then becomes what follows.
const HOSTS_SCRIPT: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// Returns the command that runs another one, whose program and arguments are appended, with `hosts` as `/etc/hosts`.
/// Fails the test if this machine does not allow that.
pub(super) fn with_hosts(hosts: &Path) -> Command {
    let content = std::fs::read(hosts).unwrap();
    namespace(HOSTS_SCRIPT, hosts, &["cat", "/etc/hosts"], |said| said == content)
}

/// Returns the command that runs another one in the mount namespace of a process that was started by one of these.
pub fn in_namespace_of(pid: u32) -> Command {
    let user = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/user")).unwrap();
    let mut command = Command::new(tool("nsenter", "util-linux"));
    command.args(["--target", &pid.to_string(), "--mount"]);
    if user(&pid.to_string()) != user("self") {
        command.args(["--user", "--preserve-credentials"]);
    }
    command.arg("--");
    command
}

/// The same as [`with_hosts`] with a file system in memory of this `size` at `folder`, which is made.
pub fn with_tmpfs(folder: &Path, size: &str) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    let script = format!("mount -t tmpfs -o size={size},mode=700 tmpfs \"$0\" && exec \"$@\"");
    let check = ["stat", "--file-system", "--format=%T", &folder.display().to_string()];
    namespace(&script, folder, &check, |said| said == b"tmpfs\n")
}

fn namespace(script: &str, argument: &Path, check: &[&str], works: impl Fn(&[u8]) -> bool) -> Command {
    let unshare = tool("unshare", "util-linux");
    let mut said = String::new();
    for way in WAYS {
        let command = || {
            let mut command = Command::new(&unshare);
            command.args(way).args(["--", "sh", "-c", script]).arg(argument);
            command
        };
        let tried = command().args(check).stdin(Stdio::null()).output().unwrap();
        if tried.status.success() && works(&tried.stdout) {
            return command();
        }
        said += &format!("unshare {}: {}\n", way.join(" "), String::from_utf8_lossy(&tried.stderr).trim());
    }
    panic!(
        "this test needs a mount namespace of its own, so that this machine's files are not touched: allow user \
         namespaces (sysctl kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0), or \
         run it as root with CAP_SYS_ADMIN\n{said}"
    )
}
