//! Translates the adapter for WASI, preview 1, into WebAssembly.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/preview1.wat");
    let module = wat::parse_file("src/preview1.wat")?;
    let folder = std::env::var_os("OUT_DIR").ok_or("cargo names no folder")?;
    std::fs::write(Path::new(&folder).join("preview1.wasm"), module)?;
    Ok(())
}
