//! What the inner cargo must not inherit.

use std::env;
use std::process::Command;

/// Removes what the outer cargo told the build script, and what was meant for the outer build alone: with clippy's
/// wrapper or a coverage run's flags the components would fail to build, or be built again at each change between them.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let keep = name.to_str().is_some_and(is_kept);
        if !keep {
            command.env_remove(name);
        }
    }
}

fn is_kept(name: &str) -> bool {
    const OF_A_BUILD_SCRIPT: [&str; 8] =
        ["OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS", "RUSTDOC"];
    // The registry, the network, the job server and the linker of the host are the machine's in every build.
    const OF_THE_MACHINE: [&str; 9] =
        ["HOME", "NET_", "HTTP_", "REGISTRY", "REGISTRIES_", "SOURCE_", "MAKEFLAGS", "TERM_", "BUILD_JOBS"];
    if let Some(rest) = name.strip_prefix("CARGO_") {
        let of_linker = rest.starts_with("TARGET_") && rest.ends_with("_LINKER");
        return of_linker || OF_THE_MACHINE.iter().any(|start| rest.starts_with(start));
    }
    let of_rustc = name.starts_with("RUSTC_") || matches!(name, "RUSTFLAGS" | "RUSTDOCFLAGS" | "CLIPPY_ARGS");
    let of_llvm = name.starts_with("LLVM_PROFILE_");
    !(of_rustc || of_llvm || name.starts_with("DEP_") || OF_A_BUILD_SCRIPT.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::is_kept;

    #[test]
    fn keeps_the_machine_and_drops_the_outer_build() {
        for name in
            ["PATH", "HOME", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_HOME", "CARGO_NET_OFFLINE", "https_proxy"]
        {
            assert!(is_kept(name), "{name}");
        }
        for name in ["CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "CARGO_MAKEFLAGS"] {
            assert!(is_kept(name), "{name}");
        }
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "TARGET"]
        {
            assert!(!is_kept(name), "{name}");
        }
        for name in
            ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_PKG_NAME", "CARGO_CFG_UNIX", "OUT_DIR", "DEBUG"]
        {
            assert!(!is_kept(name), "{name}");
        }
    }
}
