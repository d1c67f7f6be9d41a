// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Sets of patterns and of networks that are compiled once, and a reader of JSON, as native code. Grant:
// `matchers = true`.
//
// A set is a plain number, valid in every instance of the policy for as long as its configuration runs. Sets are made
// in `configure` and `on-tick`, when no exchange waits for it. Making the same set again gives the same number, also
// if something else was put in its place since: an instance that is configured later finds what `on-tick` has renewed.
// So two sets that are to be replaced apart must be made from different text. A policy has at most 64 sets of each
// kind, and they may take 32 MiB of each kind.
package matchers

import (
	"runtime"
	"unsafe"
	"portcullis/policy/abi"
)

type RegexSet = uint32

type NetworkSet = uint32

// Why a set was not made.
type MakeError struct {
	Kind MakeErrorKind
	Text string
}

// MakeErrorKind is which case of a MakeError it is.
type MakeErrorKind uint8

const (
	// This is a hook of an exchange.
	MakeErrorNotNow MakeErrorKind = iota
	// A pattern or a network cannot be read: which, and why.
	MakeErrorMalformed
	// The patterns are over 1 MiB, written or compiled.
	MakeErrorTooLarge
	// The policy has reached its limit of sets or of their memory.
	MakeErrorTooMany
	// There is no set of that number to replace.
	MakeErrorNoSet
	// Anything else, and what.
	MakeErrorOther
)

func (e MakeError) Error() string {
	name := "unknown"
	if names := [...]string{"not now", "malformed", "too large", "too many", "no set", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "matchers: " + name
}

// Why nothing was looked up.
type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// There is no set of that number.
	ErrorNoSet ErrorKind = iota
	// The text is over 1 MiB.
	ErrorTooLarge
	// Matching took 5 ms, which only patterns with large counted repetitions take. Write them more simply.
	ErrorTooCostly
	// This is no address.
	ErrorInvalidAddress
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"no set", "too large", "too costly", "invalid address", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "matchers: " + name
}

// A value of a JSON document.
type JSONValue struct {
	Kind JSONValueKind
	Text string
	Bool bool
}

// JSONValueKind is which case of a JSONValue it is.
type JSONValueKind uint8

const (
	JSONValueNull JSONValueKind = iota
	JSONValueBoolean
	// A number as it is written.
	JSONValueNumber
	// A string.
	JSONValueText
	// An array, as it is written.
	JSONValueItems
	// An object, as it is written.
	JSONValueMembers
)

// Why a document was not read.
type JSONError struct {
	Kind JSONErrorKind
	Text string
}

// JSONErrorKind is which case of a JSONError it is.
type JSONErrorKind uint8

const (
	// It is not JSON, or a member on the path of a pointer is in it twice, so that other software could read
	// another value.
	JSONErrorMalformed JSONErrorKind = iota
	// This is not a JSON pointer.
	JSONErrorInvalidPointer
	// The document is over 1 MiB, there are more than 64 pointers, one is over 4 KiB or leads more than 32 levels
	// down, or the values are over 1 MiB together.
	JSONErrorTooLarge
	// Anything else, and what.
	JSONErrorOther
)

func (e JSONError) Error() string {
	name := "unknown"
	if names := [...]string{"malformed", "invalid pointer", "too large", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "matchers: " + name
}

// LoadMakeError reads what the gateway wrote. It is for the bindings.
func LoadMakeError(p unsafe.Pointer) MakeError {
	var value MakeError
	value.Kind = MakeErrorKind(abi.U8(p))
	switch value.Kind {
	case MakeErrorMalformed:
		value.Text = abi.String(abi.Add(p, 4))
	case MakeErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

// LoadError reads what the gateway wrote. It is for the bindings.
func LoadError(p unsafe.Pointer) Error {
	var value Error
	value.Kind = ErrorKind(abi.U8(p))
	switch value.Kind {
	case ErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

// LoadJSONValue reads what the gateway wrote. It is for the bindings.
func LoadJSONValue(p unsafe.Pointer) JSONValue {
	var value JSONValue
	value.Kind = JSONValueKind(abi.U8(p))
	switch value.Kind {
	case JSONValueBoolean:
		value.Bool = abi.U8(abi.Add(p, 4)) != 0
	case JSONValueNumber:
		value.Text = abi.String(abi.Add(p, 4))
	case JSONValueText:
		value.Text = abi.String(abi.Add(p, 4))
	case JSONValueItems:
		value.Text = abi.String(abi.Add(p, 4))
	case JSONValueMembers:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

// LoadJSONError reads what the gateway wrote. It is for the bindings.
func LoadJSONError(p unsafe.Pointer) JSONError {
	var value JSONError
	value.Kind = JSONErrorKind(abi.U8(p))
	switch value.Kind {
	case JSONErrorMalformed:
		value.Text = abi.String(abi.Add(p, 4))
	case JSONErrorInvalidPointer:
		value.Text = abi.String(abi.Add(p, 4))
	case JSONErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

//go:wasmimport portcullis:policy/matchers@0.2.1 make-regex-set
func importMakeRegexSet(p0 unsafe.Pointer, p1 uint32, p2 unsafe.Pointer) 

// Compiles patterns, so that a text is compared with all of them at once in a time that grows with the text alone.
// The syntax is that of the crate `regex` for Rust, without look-around and back-references. They match bytes:
// `.` is one byte, and `\w`, `\b` and `(?i)` know ASCII. A pattern matches anywhere unless it is anchored.
func MakeRegexSet(patterns []string) (uint32, error) {
	list0 := abi.Store(patterns, 8, func(p unsafe.Pointer, value string) {
		abi.PutString(abi.Add(p, 0), value)
	})
	importMakeRegexSet(abi.Start(list0), uint32(len(patterns)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(patterns)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint32
		return none, LoadMakeError(abi.Add(p, 4))
	}
	return abi.U32(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 replace-regex-set
func importReplaceRegexSet(p0 uint32, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// Puts other patterns in the place of a set's: the number stays, and every instance on every worker matches with
// the new ones from then on. This is how `on-tick` renews what `configure` made.
func ReplaceRegexSet(set uint32, patterns []string) error {
	list0 := abi.Store(patterns, 8, func(p unsafe.Pointer, value string) {
		abi.PutString(abi.Add(p, 0), value)
	})
	importReplaceRegexSet(uint32(set), abi.Start(list0), uint32(len(patterns)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(patterns)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return LoadMakeError(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 forget-regex-set
func importForgetRegexSet(p0 uint32) 

// Forgets a set, whose number no other gets, and gives its memory back. One that is absent is no error. An
// instance that still uses the number gets `no-set`: pass the new number on through `store` before.
func ForgetRegexSet(set uint32)  {
	importForgetRegexSet(uint32(set))

}

//go:wasmimport portcullis:policy/matchers@0.2.1 is-match
func importIsMatch(p0 uint32, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// Whether any of the patterns matches.
func IsMatch(set uint32, text []byte) (bool, error) {
	importIsMatch(uint32(set), abi.Data(text), uint32(len(text)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none bool
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.U8(abi.Add(p, 4)) != 0, nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 matches
func importMatches(p0 uint32, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// Which patterns match, by their places in the list that the set was made of, in order.
func Matches(set uint32, text []byte) ([]uint32, error) {
	importMatches(uint32(set), abi.Data(text), uint32(len(text)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []uint32
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.Load(abi.Add(p, 4), 4, func(p unsafe.Pointer) uint32 { return abi.U32(p) }), nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 make-network-set
func importMakeNetworkSet(p0 string, p1 unsafe.Pointer) 

// Makes a set of networks: one on each line, such as `10.0.0.0/8` or `2001:db8::1`. Blank lines, and what follows
// a `#`, do not count. Fit for hundreds of thousands.
func MakeNetworkSet(networks string) (uint32, error) {
	importMakeNetworkSet(networks, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint32
		return none, LoadMakeError(abi.Add(p, 4))
	}
	return abi.U32(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 replace-network-set
func importReplaceNetworkSet(p0 uint32, p1 string, p2 unsafe.Pointer) 

// Puts other networks in the place of a set's; see `replace-regex-set`.
func ReplaceNetworkSet(set uint32, networks string) error {
	importReplaceNetworkSet(uint32(set), networks, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		return LoadMakeError(abi.Add(p, 4))
	}
	return nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 forget-network-set
func importForgetNetworkSet(p0 uint32) 

// Forgets a set; see `forget-regex-set`.
func ForgetNetworkSet(set uint32)  {
	importForgetNetworkSet(uint32(set))

}

//go:wasmimport portcullis:policy/matchers@0.2.1 find-network
func importFindNetwork(p0 uint32, p1 string, p2 unsafe.Pointer) 

// The smallest network that contains the address, by its place among the networks of the text, from 0. None if no
// network does. IPv4 addresses that are mapped into IPv6 are looked up as IPv4.
func FindNetwork(set uint32, address string) (uint32, bool, error) {
	importFindNetwork(uint32(set), address, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint32
		return none, false, LoadError(abi.Add(p, 4))
	}
	if abi.U8(abi.Add(p, 4)) == 0 {
		var none uint32
		return none, false, nil
	}
	return abi.U32(abi.Add(abi.Add(p, 4), 4)), true, nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 find-client
func importFindClient(p0 uint32, p1 unsafe.Pointer) 

// The same for the client of the exchange at hand, without which the call traps.
func FindClient(set uint32) (uint32, bool, error) {
	importFindClient(uint32(set), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint32
		return none, false, LoadError(abi.Add(p, 4))
	}
	if abi.U8(abi.Add(p, 4)) == 0 {
		var none uint32
		return none, false, nil
	}
	return abi.U32(abi.Add(abi.Add(p, 4), 4)), true, nil
}

//go:wasmimport portcullis:policy/matchers@0.2.1 read-json
func importReadJSON(p0 unsafe.Pointer, p1 uint32, p2 unsafe.Pointer, p3 uint32, p4 unsafe.Pointer) 

// Reads values of a JSON document by JSON pointers (RFC 6901), in their order. None if there is no such value.
func ReadJSON(document []byte, pointers []string) ([]*JSONValue, error) {
	list0 := abi.Store(pointers, 8, func(p unsafe.Pointer, value string) {
		abi.PutString(abi.Add(p, 0), value)
	})
	importReadJSON(abi.Data(document), uint32(len(document)), abi.Start(list0), uint32(len(pointers)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(pointers)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []*JSONValue
		return none, LoadJSONError(abi.Add(p, 4))
	}
	return abi.Load(abi.Add(p, 4), 16, func(p unsafe.Pointer) *JSONValue { return abi.Option(p, 4, func(p unsafe.Pointer) JSONValue { return LoadJSONValue(p) }) }), nil
}

