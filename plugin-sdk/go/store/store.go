// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// A small key-value store that the policy's instances on all workers share. It survives reloads, not restarts. Grant:
// `store = true`.
package store

import (
	"unsafe"
	"portcullis/policy/abi"
)

type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// The store cannot be reached, and why. A local store never returns this.
	ErrorUnavailable ErrorKind = iota
	// The key is over 1 KiB or the value over 64 KiB.
	ErrorTooLarge
	// The policy's quota of entries or bytes is used up.
	ErrorQuota
	// The value is not a number that `increment` wrote.
	ErrorNotANumber
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"unavailable", "too large", "quota", "not a number", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "store: " + name
}

// LoadError reads what the gateway wrote. It is for the bindings.
func LoadError(p unsafe.Pointer) Error {
	var value Error
	value.Kind = ErrorKind(abi.U8(p))
	switch value.Kind {
	case ErrorUnavailable:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

//go:wasmimport portcullis:policy/store@0.2.1 get
func importGet(p0 string, p1 unsafe.Pointer) 

// The value of a key. None if the key is absent or has expired.
func Get(key string) ([]byte, bool, error) {
	importGet(key, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []byte
		return none, false, LoadError(abi.Add(p, 4))
	}
	if abi.U8(abi.Add(p, 4)) == 0 {
		var none []byte
		return none, false, nil
	}
	return abi.Bytes(abi.Add(abi.Add(p, 4), 4)), true, nil
}

//go:wasmimport portcullis:policy/store@0.2.1 set
func importSet(p0 string, p1 unsafe.Pointer, p2 uint32, p3 uint32, p4 uint64, p5 unsafe.Pointer) 

// Sets a key. Without `ttl-ms` it does not expire.
func Set(key string, value []byte, ttlMs *uint64) error {
	var given0 uint64
	if ttlMs != nil {
		given0 = *ttlMs
	}
	importSet(key, abi.Data(value), uint32(len(value)), abi.Bool(ttlMs != nil), given0, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return LoadError(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/store@0.2.1 compare-and-set
func importCompareAndSet(p0 string, p1 uint32, p2 unsafe.Pointer, p3 uint32, p4 unsafe.Pointer, p5 uint32, p6 uint32, p7 uint64, p8 unsafe.Pointer) 

// Sets a key only if its value is the expected one (none: only if it is absent). Returns false if it was not.
func CompareAndSet(key string, expected []byte, value []byte, ttlMs *uint64) (bool, error) {
	var given0 uint64
	if ttlMs != nil {
		given0 = *ttlMs
	}
	importCompareAndSet(key, abi.Bool(expected != nil), abi.Data(expected), uint32(len(expected)), abi.Data(value), uint32(len(value)), abi.Bool(ttlMs != nil), given0, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none bool
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.U8(abi.Add(p, 4)) != 0, nil
}

//go:wasmimport portcullis:policy/store@0.2.1 increment
func importIncrement(p0 string, p1 uint64, p2 uint32, p3 uint64, p4 unsafe.Pointer) 

// Adds to a number, from 0 if the key is absent, and returns the sum, which stops at the limits of s64. `ttl-ms`
// counts from the key's first increment. `get` returns the number in decimal digits.
func Increment(key string, by int64, ttlMs *uint64) (int64, error) {
	var given0 uint64
	if ttlMs != nil {
		given0 = *ttlMs
	}
	importIncrement(key, uint64(by), abi.Bool(ttlMs != nil), given0, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none int64
		return none, LoadError(abi.Add(p, 8))
	}
	return int64(abi.U64(abi.Add(p, 8))), nil
}

//go:wasmimport portcullis:policy/store@0.2.1 delete
func importDelete(p0 string, p1 unsafe.Pointer) 

// Removes a key. An absent key is no error.
func Delete(key string) error {
	importDelete(key, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return LoadError(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/store@0.2.1 list
func importList(p0 string, p1 unsafe.Pointer) 

// The keys that begin with `prefix`, in the order of their bytes; at most the first 1,000.
func List(prefix string) ([]string, error) {
	importList(prefix, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []string
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.Load(abi.Add(p, 4), 8, func(p unsafe.Pointer) string { return abi.String(p) }), nil
}

