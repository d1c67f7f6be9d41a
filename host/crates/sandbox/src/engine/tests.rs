use portcullis_test_guests::PLAIN;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use super::{Allocation, config};

#[test]
fn runs_with_a_pool_and_without() {
    for allocation in [Allocation::WidePool, Allocation::NarrowPool, Allocation::OnDemand] {
        let engine = Engine::new(&config(allocation, 2)).unwrap();
        let component = Component::new(&engine, PLAIN).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    }
}
