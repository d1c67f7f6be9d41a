// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Secrets that the operator named under `[secrets]`. Grant: `secrets = ["name"]`.
package secrets

import (
	"unsafe"
	"portcullis/policy/abi"
)

//go:wasmimport portcullis:policy/secrets@0.2.1 get
func importGet(p0 string, p1 unsafe.Pointer) 

// The secret's bytes. None for a name that was not granted, whether or not there is such a secret.
func Get(name string) ([]byte, bool) {
	importGet(name, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none []byte
		return none, false
	}
	return abi.Bytes(abi.Add(p, 4)), true
}

