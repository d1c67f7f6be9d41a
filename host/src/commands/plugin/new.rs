//! `portcullis plugin new`: a project for a plugin that builds, with test cases and a config to try it with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use portcullis_model::text::escape as shown;
use portcullis_sandbox::CONTRACT_VERSION;

use super::{sdk, wit};
use crate::cli::{NewArguments, PluginLanguage};
use crate::output::print;

/// Names of plugins may be this long.
const NAME_BYTES_MAX: usize = 64;
/// The SDK in a copy of the repository.
const SDK: &str = "plugin-sdk/rust";

/// The files of a project: the path in it, and the template.
type Template = &'static [(&'static str, &'static str)];

/// What all projects have.
const COMMON: Template = &[
    ("gateway.toml", include_str!("templates/gateway.toml.txt")),
    ("tests/{{name}}.cases.toml", include_str!("templates/cases.toml.txt")),
];

const RUST: Template = &[
    ("Cargo.toml", include_str!("templates/rust/Cargo.toml.txt")),
    (".cargo/config.toml", include_str!("templates/rust/config.toml.txt")),
    (".gitignore", include_str!("templates/rust/gitignore.txt")),
    ("README.md", include_str!("templates/rust/README.md.txt")),
    ("src/lib.rs", include_str!("templates/rust/lib.rs.txt")),
];

const JAVASCRIPT: Template = &[
    (".gitignore", include_str!("templates/js/gitignore.txt")),
    ("README.md", include_str!("templates/js/README.md.txt")),
    ("build.mjs", include_str!("templates/js/build.mjs.txt")),
    ("manifest.json", include_str!("templates/js/manifest.json.txt")),
    ("package.json", include_str!("templates/js/package.json.txt")),
    ("policy.js", include_str!("templates/js/policy.js.txt")),
    ("wit/world.wit", include_str!("templates/js/world.wit.txt")),
];

const TYPESCRIPT: Template = &[
    (".gitignore", include_str!("templates/ts/gitignore.txt")),
    ("README.md", include_str!("templates/ts/README.md.txt")),
    ("build.mjs", include_str!("templates/ts/build.mjs.txt")),
    ("manifest.json", include_str!("templates/js/manifest.json.txt")),
    ("package.json", include_str!("templates/ts/package.json.txt")),
    ("policy.ts", include_str!("templates/ts/policy.ts.txt")),
    ("tsconfig.json", include_str!("templates/ts/tsconfig.json.txt")),
    ("wit/world.wit", include_str!("templates/js/world.wit.txt")),
];

const C: Template = &[
    (".gitignore", include_str!("templates/c/gitignore.txt")),
    ("README.md", include_str!("templates/c/README.md.txt")),
    ("compile_flags.txt", include_str!("templates/c/compile_flags.txt")),
    ("manifest.json", include_str!("templates/js/manifest.json.txt")),
    ("policy.c", include_str!("templates/c/policy.c.txt")),
];

const GO: Template = &[
    (".gitignore", include_str!("templates/go/gitignore.txt")),
    ("README.md", include_str!("templates/go/README.md.txt")),
    ("go.mod", include_str!("templates/go/go.mod.txt")),
    ("manifest.json", include_str!("templates/js/manifest.json.txt")),
    ("policy.go", include_str!("templates/go/policy.go.txt")),
    ("policy_test.go", include_str!("templates/go/policy_test.go.txt")),
];

const PYTHON: Template = &[
    (".gitignore", include_str!("templates/python/gitignore.txt")),
    ("README.md", include_str!("templates/python/README.md.txt")),
    ("manifest.json", include_str!("templates/js/manifest.json.txt")),
    ("policy.py", include_str!("templates/python/policy.py.txt")),
];

/// What CPython takes when it has just started, and how long it takes to.
const PYTHON_LIMITS: &str = "limits = { memory = \"64MiB\", configure-deadline = \"30s\" }\n";

/// Makes the project.
///
/// # Errors
/// If the name is not one, or the folder is there already and has something in it.
pub(super) fn run(arguments: &NewArguments) -> anyhow::Result<ExitCode> {
    let name = arguments.name.as_str();
    check_name(name)?;
    let folder = arguments.out.clone().unwrap_or_else(|| PathBuf::from(name));
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(
            "the folder {} has something in it\n  = help: name another one with -o",
            shown(&folder.display().to_string())
        );
    }
    let values = Values::of(name, arguments)?;
    let template = match arguments.lang {
        PluginLanguage::Rust => RUST,
        PluginLanguage::Js => JAVASCRIPT,
        PluginLanguage::Ts => TYPESCRIPT,
        PluginLanguage::C => C,
        PluginLanguage::Go => GO,
        PluginLanguage::Python => PYTHON,
    };
    for (path, text) in COMMON.iter().chain(template) {
        write(&folder.join(values.fill(path)), &values.fill(text))?;
    }
    match arguments.lang {
        PluginLanguage::Rust => {}
        PluginLanguage::Js | PluginLanguage::Ts => wit::write(&folder.join("wit/deps/portcullis"))?,
        PluginLanguage::C => sdk::write(&folder.join(sdk::FOLDER), sdk::C)?,
        PluginLanguage::Go => sdk::write(&folder.join(sdk::FOLDER), sdk::GO)?,
        PluginLanguage::Python => sdk::write(&folder.join(sdk::FOLDER), sdk::PYTHON)?,
    }
    print(&format!(
        "made the plugin `{name}`. Now:\n  cd {}\n  portcullis plugin build\n  portcullis plugin test\n  \
         portcullis run -c gateway.toml\n  curl -i http://127.0.0.1:8080/\n",
        shown(&folder.display().to_string())
    ))
}

/// What stands for the names in templates.
struct Values {
    name: String,
    /// The name as that of a type.
    type_name: String,
    /// Where the component will be.
    component: String,
    /// The folder of the SDK.
    sdk: String,
    /// A line of TOML with what the language takes, if that is more than what policies have.
    limits: &'static str,
}

impl Values {
    fn of(name: &str, arguments: &NewArguments) -> anyhow::Result<Self> {
        let words = name.split('-').map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        });
        let (component, sdk) = match arguments.lang {
            PluginLanguage::Rust => {
                let file = name.replace('-', "_");
                (format!("target/wasm32-wasip2/release/{file}.wasm"), rust_sdk(arguments.sdk.as_deref())?)
            }
            _ => (format!("{name}.wasm"), String::new()),
        };
        let limits = if arguments.lang == PluginLanguage::Python { PYTHON_LIMITS } else { "" };
        Ok(Self { name: name.to_owned(), type_name: words.collect(), component, sdk, limits })
    }

    fn fill(&self, template: &str) -> String {
        template
            .replace("{{name}}", &self.name)
            .replace("{{type}}", &self.type_name)
            .replace("{{component}}", &self.component)
            .replace("{{sdk}}", &self.sdk)
            .replace("{{limits}}", self.limits)
            .replace("{{contract}}", CONTRACT_VERSION)
    }
}

/// A name that is one for cargo, for npm, for WIT, for a policy and for a file.
fn check_name(name: &str) -> anyhow::Result<()> {
    let words = name.split('-');
    let is_word = |word: &str| {
        word.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if name.len() > NAME_BYTES_MAX || !words.clone().all(is_word) {
        bail!(
            "`{}` cannot be the name of a plugin\n  = help: names are words of a-z and 0-9 that begin with a letter, with - \
             between them, such as `tenant-auth`, and have at most {NAME_BYTES_MAX} characters",
            shown(name)
        );
    }
    // What none of the languages takes for a name of its own.
    if ["test", "core", "std", "alloc", "self", "super", "crate", "type", "node", "policy"].contains(&name) {
        bail!("`{name}` means something else to a language\n  = help: add a word, as in `{name}-gate`");
    }
    Ok(())
}

/// The folder of the SDK, absolute: the one that was named, or that of the repository that the current folder is in.
fn rust_sdk(named: Option<&Path>) -> anyhow::Result<String> {
    let here = std::env::current_dir().context("the current folder cannot be found")?;
    let found = match named {
        Some(path) => Some(here.join(path)),
        None => here.ancestors().map(|folder| folder.join(SDK)).find(|sdk| is_sdk(sdk)),
    };
    let Some(found) = found else {
        bail!(
            "the SDK for Rust is not found\n  = help: it is in the repository of Portcullis: name it with --sdk \
             ../portcullis/{SDK}"
        );
    };
    if !is_sdk(&found) {
        bail!(
            "{} is not the SDK for Rust\n  = help: it is the folder {SDK} in the repository of Portcullis",
            shown(&found.display().to_string())
        );
    }
    let found = found.canonicalize().context("the folder of the SDK cannot be found")?;
    match found.to_str().filter(|path| !path.contains(['"', '\\', '\n'])) {
        Some(path) => Ok(path.to_owned()),
        None => bail!(
            "the path of the SDK cannot be written into Cargo.toml: {}",
            shown(&found.display().to_string())
        ),
    }
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    manifest.contains("name = \"portcullis-sdk\"")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be written", shown(&path.display().to_string()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, text).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::{C, COMMON, GO, JAVASCRIPT, PYTHON, RUST, TYPESCRIPT, Values, check_name};

    #[test]
    fn a_name_is_one_everywhere() {
        for name in ["tenant", "tenant-auth", "a1", "a-b2-c"] {
            check_name(name).unwrap();
        }
        for name in [
            "",
            "-a",
            "a-",
            "a--b",
            "1a",
            "a-1",
            "Tenant",
            "tenant_auth",
            "a.b",
            "../a",
            "ü",
            "test",
            "policy",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }

    #[test]
    fn nothing_of_a_template_is_left_in_a_file() {
        let values = Values {
            name: "tenant-auth".to_owned(),
            type_name: "TenantAuth".to_owned(),
            component: "a.wasm".to_owned(),
            sdk: "/sdk".to_owned(),
            limits: "",
        };
        for (path, text) in [COMMON, RUST, JAVASCRIPT, TYPESCRIPT, C, GO, PYTHON].into_iter().flatten() {
            let (path, text) = (values.fill(path), values.fill(text));
            // Go has doubled braces of its own, behind which there is never a word.
            let is_left = |text: &str| {
                text.split("{{")
                    .skip(1)
                    .any(|rest| rest.starts_with(|letter: char| letter.is_ascii_lowercase()))
            };
            assert!(!is_left(&path) && !is_left(&text), "{path}:\n{text}");
        }
        assert_eq!(values.fill("struct {{type}} of {{name}}"), "struct TenantAuth of tenant-auth");
    }
}
