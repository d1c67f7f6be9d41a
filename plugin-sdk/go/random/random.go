// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Random bytes. Grant: `random = true`.
package random

import (
	"unsafe"
	"portcullis/policy/abi"
)

// Why there are no bytes.
type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// More than 4,096 were asked for.
	ErrorTooMany ErrorKind = iota
	// The operating system returned none, and why.
	ErrorUnavailable
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"too many", "unavailable", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "random: " + name
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

//go:wasmimport portcullis:policy/random@0.2.1 bytes
func importBytes(p0 uint32, p1 unsafe.Pointer) 

// `count` bytes from the operating system's generator, at most 4,096 a call.
func Bytes(count uint32) ([]byte, error) {
	importBytes(uint32(count), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []byte
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.Bytes(abi.Add(p, 4)), nil
}

