//! Builds every guest and writes `guests.rs`: a constant for each, and the macro that makes tests name them all.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use portcullis_wasm_build::{Source, build_components};

fn main() -> Result<(), Box<dyn Error>> {
    let examples = Path::new("../examples");
    let mut names = Vec::new();
    for entry in fs::read_dir(examples)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    // A guest that was added or taken away.
    println!("cargo::rerun-if-changed=../examples");

    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let package = "portcullis-test-guests-source";
    let components =
        build_components(Source::Examples { package, feature: "guest", names: &names }, "guest")?;

    let mut code = String::new();
    for component in &components {
        let (constant, path) = (component.name.to_uppercase(), component.path.display().to_string());
        writeln!(code, "/// The guest `{}.rs`.", component.name)?;
        writeln!(code, "pub const {constant}: &[u8] = include_bytes!({path:?});")?;
    }
    writeln!(
        code,
        "/// Names every guest: see the crate's documentation.\n#[macro_export]\nmacro_rules! every_guest {{"
    )?;
    let (mut parameters, mut uses) = (String::new(), String::new());
    for name in &names {
        write!(parameters, "{name} => $test_{name}:path, ")?;
        write!(uses, "const _: fn() = $test_{name}; ")?;
    }
    writeln!(code, "    ({parameters}) => {{ {uses} }};\n}}")?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("guests.rs"), code)?;
    Ok(())
}
