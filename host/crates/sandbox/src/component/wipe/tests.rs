use portcullis_rewrite::wipe::{MEMORY, RESTORE, reset_name, rewrite};
use wasmtime::component::{Component, Instance, Linker, TypedFunc};
use wasmtime::{Engine, Store};

use super::{PageMap, Regions};
use crate::engine::functions::Functions;

/// A memory with a global, and a module with another global.
const COUNTS: &str = r#"(component
    (core module $a
        (memory (export "memory") 2)
        (data (i32.const 4096) "\07")
        (global $g (mut i32) (i32.const 7))
        (func (export "count") (result i32)
            (i32.store8 (i32.const 4096) (i32.add (i32.load8_u (i32.const 4096)) (i32.const 1)))
            (global.set $g (i32.add (global.get $g) (i32.const 1)))
            (i32.add (global.get $g) (i32.mul (i32.const 1000) (i32.load8_u (i32.const 4096))))))
    (core module $b
        (global $g (mut i64) (i64.const 5))
        (global (mut f64) (f64.const 1.5))
        (func (export "count") (result i64)
            (global.set $g (i64.add (global.get $g) (i64.const 1)))
            (global.get $g)))
    (core instance $a (instantiate $a))
    (core instance $b (instantiate $b))
    (func (export "a") (result u32) (canon lift (core func $a "count")))
    (func (export "b") (result u64) (canon lift (core func $b "count"))))"#;

fn function<P, R>(store: &mut Store<()>, instance: &Instance, name: &str) -> TypedFunc<P, R>
where
    P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
    R: wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
{
    instance.get_typed_func(store, name).unwrap()
}

#[test]
fn puts_back_memory_and_the_globals_of_all_modules() {
    let wipeable = rewrite(&wat::parse_str(COUNTS).unwrap()).unwrap();
    assert_eq!((wipeable.memory_bytes, wipeable.resets), (128 << 10, 1));
    let engine = Engine::default();
    let component = Component::from_binary(&engine, &wipeable.component).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    let a = function::<(), (u32,)>(&mut store, &instance, "a");
    let b = function::<(), (u64,)>(&mut store, &instance, "b");
    let memory = function::<(), (Vec<u8>,)>(&mut store, &instance, MEMORY);
    let restore = function::<Regions, ()>(&mut store, &instance, RESTORE);
    let reset = function::<(), ()>(&mut store, &instance, &reset_name(0));
    for _ in 0..2 {
        assert_eq!(a.call(&mut store, ()).unwrap(), (8008,));
        assert_eq!(a.call(&mut store, ()).unwrap(), (9009,));
        assert_eq!(b.call(&mut store, ()).unwrap(), (6,));
        let (bytes,) = memory.call(&mut store, ()).unwrap();
        assert_eq!((bytes.len(), bytes[4096]), (128 << 10, 9));
        let regions = (0, 4096, 4096, 4096, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        restore.call(&mut store, regions).unwrap();
        reset.call(&mut store, ()).unwrap();
    }
}

/// What globals are put back to is a part of the instance, and not of the code that puts them back: code is kept on
/// disk.
#[test]
fn the_values_of_globals_are_in_no_function_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let functions = Functions::new(Some(dir.path().to_path_buf()));
    let mut config = wasmtime::Config::new();
    config.enable_incremental_compilation(functions.clone()).unwrap();
    let engine = Engine::new(&config).unwrap();
    let mut kept = None;
    for [i32_text, i64_text, f32_text, f64_text] in
        [["aZ7x", "Qk3vT9mB", "pW2c", "Yh8sLd5g"], ["Rf4u", "Nj6eXo1t", "Kq9z", "Vi3wCb7n"]]
    {
        let four = |text: &str| <[u8; 4]>::try_from(text.as_bytes()).unwrap();
        let eight = |text: &str| <[u8; 8]>::try_from(text.as_bytes()).unwrap();
        let globals = format!(
            "(global (mut i32) (i32.const {})) (global (mut i64) (i64.const {}))
             (global (mut f32) (f32.const {:?})) (global (mut f64) (f64.const {:?}))",
            i32::from_le_bytes(four(i32_text)),
            i64::from_le_bytes(eight(i64_text)),
            f32::from_le_bytes(four(f32_text)),
            f64::from_le_bytes(eight(f64_text)),
        );
        let text = format!(
            r#"(component
                (core module $a (memory (export "memory") 2) {globals} (data (i32.const 99) "{i64_text}")
                    (func (export "f") (result i32) (i32.load (i32.const 99))))
                (core module $b {globals} (func (export "f")))
                (core instance $a (instantiate $a)) (core instance $b (instantiate $b))
                (func (export "a") (result u32) (canon lift (core func $a "f")))
                (func (export "b") (canon lift (core func $b "f"))))"#
        );
        let wipeable = rewrite(&wat::parse_str(&text).unwrap()).unwrap();
        functions.with(&[7; 32], || Component::from_binary(&engine, &wipeable.component)).unwrap();
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()).collect();
        let [file] = files.as_slice() else { panic!("{files:?}") };
        let bytes = std::fs::read(file).unwrap();
        for piece in [i32_text, i64_text, f32_text, f64_text] {
            assert!(!bytes.windows(piece.len()).any(|window| window == piece.as_bytes()), "{piece}");
        }
        assert!(*kept.get_or_insert_with(|| bytes.clone()) == bytes, "the functions are those of the first");
    }
}

#[test]
fn finds_the_pages_that_were_written() {
    let pages = PageMap::open().expect("Linux with /proc tells which pages were written");
    let page = 64 << 10;
    let mut memory = vec![0_u8; 8 * page];
    let start = memory.as_ptr().addr().next_multiple_of(page) - memory.as_ptr().addr();
    for at in [page, 3 * page] {
        memory[start + at..][..page].fill(1);
    }
    let mut written = Vec::new();
    let address = memory[start..].as_ptr().addr();
    assert!(pages.written(address, 5 * page, 5 * page, &mut written).unwrap());
    // The allocator may have used others of them before.
    for at in [page, 3 * page] {
        let has = |(start, bytes): &(u32, u32)| {
            *start as usize <= at && at + page <= *start as usize + *bytes as usize
        };
        assert!(written.iter().any(has), "{at} in {written:?}");
    }
    assert!(!pages.written(address, 5 * page, 2 * page - 1, &mut written).unwrap(), "more than is restored");
    assert!(!pages.written(address + 1, page, page, &mut written).unwrap(), "no pages begin there");
}
