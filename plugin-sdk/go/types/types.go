// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Types that the other interfaces share. Importing it costs nothing and needs no grant.
package types

import (
	"unsafe"
	"portcullis/policy/abi"
)

// One field line: its name and its value. Names are in lower case if they come from the gateway; any case is
// taken.
type Field struct {
	Name string
	Value string
}

// The same with any bytes in the value that RFC 9110, 5.5 allows.
type FieldBytes struct {
	Name string
	Value []byte
}

// Why what was asked for was not done. The exchange is as it was before.
type Refused struct {
	Kind RefusedKind
	Text string
}

// RefusedKind is which case of a Refused it is.
type RefusedKind uint8

const (
	// The name is not a token (RFC 9110, 5.6.2), or the method or authority is malformed.
	RefusedInvalidName RefusedKind = iota
	// The value has a control character, or the status, path or upstream is not a valid one.
	RefusedInvalidValue
	// The gateway alone writes this field (framing, hop-by-hop and Host; use `set-authority` for Host).
	RefusedForbidden
	// It is too late: the message has been sent on, or this hook does not edit it.
	RefusedReadOnly
	// The head, the attributes, the reply or what takes the place of a body would exceed the gateway's limit.
	RefusedTooLarge
	// Anything else, and what. New reasons come as this one.
	RefusedOther
)

func (e Refused) Error() string {
	name := "unknown"
	if names := [...]string{"invalid name", "invalid value", "forbidden", "read only", "too large", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "refused: " + name
}

// Result is the answer to one of several calls.
type Result[T any] struct {
	Value T
	Err error
}

// LoadRefused reads what the gateway wrote. It is for the bindings.
func LoadRefused(p unsafe.Pointer) Refused {
	var value Refused
	value.Kind = RefusedKind(abi.U8(p))
	switch value.Kind {
	case RefusedOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

