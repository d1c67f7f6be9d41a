//! Programs that tests call, beside the gateway: installed if they are missing and that is possible.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The path of a program. If it is missing it is installed from Debian's `package`, if this is a Debian and we may;
/// else the test fails and says what to install.
pub fn tool(name: &str, package: &str) -> PathBuf {
    // Tests run in parallel, and a package is to be installed once.
    static INSTALLING: Mutex<()> = Mutex::new(());
    if let Some(path) = find(name) {
        return path;
    }
    let _one = INSTALLING.lock();
    if find(name).is_none() && find("apt-get").is_some() && rustix::process::geteuid().is_root() {
        eprintln!("{name} is missing: installing the package {package}");
        let apt = |arguments: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
            apt.output().is_ok_and(|output| output.status.success())
        };
        let install = ["install", "--yes", "--no-install-recommends", package];
        if !apt(&install) {
            // The list of packages may be missing or old.
            apt(&["update"]);
            apt(&install);
        }
    }
    find(name).unwrap_or_else(|| {
        panic!("this test needs {name}: install the package {package} (apt-get install {package})")
    })
}

/// Debian has servers where only root looks.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
