use portcullis_rewrite::wipe::{CORE_RESTORE, MEMORY, RESTORE, reset_name, rewrite, rewrite_module};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::proptest;
use wasmtime::component::{Component, Instance, Linker, TypedFunc};
use wasmtime::{Engine, Memory, Module, Store};

use super::{PageMap, Regions, ThreadMark, Written};
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

/// A memory with something in it, and a function that writes to it.
const WRITTEN: &str = r#"(module
    (memory (export "memory") 4)
    (data (i32.const 4096) "kept") (data (i32.const 200000) "this too")
    (func (export "write") (param $at i32) (param $bytes i32) (param $value i32)
        (memory.fill (local.get $at) (local.get $value) (local.get $bytes))))"#;
const WRITTEN_BYTES: u32 = 4 << 16;

/// An instance of that, which is wiped.
struct Guest {
    store: Store<()>,
    memory: Memory,
    write: wasmtime::TypedFunc<(u32, u32, u32), ()>,
    restore: wasmtime::TypedFunc<Regions, ()>,
    written: Written,
    first: Vec<u8>,
}

type Write = (u32, u32, u8);

impl Guest {
    fn new() -> Self {
        let engine = Engine::default();
        let (module, bytes) = rewrite_module(&wat::parse_str(WRITTEN).unwrap()).unwrap();
        assert_eq!(bytes, WRITTEN_BYTES as usize);
        let module = Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let write = instance.get_typed_func(&mut store, "write").unwrap();
        let restore = instance.get_typed_func(&mut store, CORE_RESTORE).unwrap();
        let first = memory.data(&store).to_vec();
        Self { store, memory, write, restore, written: Written::default(), first }
    }

    /// Serves an exchange on this thread.
    fn serve(&mut self, writes: &[Write]) {
        self.written.runs_on(ThreadMark::current());
        for (at, bytes, value) in writes {
            let bytes = (*bytes).min(WRITTEN_BYTES - at);
            self.write.call(&mut self.store, (*at, bytes, (*value).into())).unwrap();
        }
    }

    /// Wipes it, checks that it is as it was, and returns whether the page table was read for that.
    fn wipe(&mut self, pages: &PageMap) -> bool {
        let known = self.written.known.filter(|known| Some(*known) == pages.now());
        let (address, bytes) = (self.memory.data_ptr(&self.store).addr(), self.memory.data_size(&self.store));
        assert!(self.written.find(address, bytes, pages).unwrap());
        for regions in self.written.calls() {
            self.restore.call(&mut self.store, regions).unwrap();
        }
        assert!(self.memory.data(&self.store) == self.first, "something is left of an exchange");
        known.is_none()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nothing_that_was_written_is_left(
        exchanges in vec((vec((0..WRITTEN_BYTES, 0_u32..20_000, any::<u8>()), 0..4), any::<bool>()), 1..12)
    ) {
        let pages = PageMap::open().expect("Linux with /proc says which pages were written");
        let mut guest = Guest::new();
        for (writes, elsewhere) in exchanges {
            match elsewhere {
                true => std::thread::scope(|scope| scope.spawn(|| guest.serve(&writes)).join().unwrap()),
                false => guest.serve(&writes),
            }
            guest.wipe(&pages);
        }
    }
}

#[test]
fn what_is_written_again_is_known() {
    let pages = PageMap::open().expect("Linux with /proc says which pages were written");
    assert!(pages.now().is_some(), "huge pages can be turned off, and faults are counted");
    let mut guest = Guest::new();
    let read = |guest: &mut Guest, at: u32| {
        (0..100)
            .filter(|round| {
                guest.serve(&[(at, 5000, *round), (100, 1, *round)]);
                guest.wipe(&pages)
            })
            .count()
    };
    for at in [70_000, 0, 70_000, 200_000] {
        // On a busy machine the kernel may take pages away, so that the thread has further faults; but not each time.
        assert!(read(&mut guest, at) < 100);
    }
}
