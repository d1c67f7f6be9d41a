// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// The final response; 1xx responses are forwarded unseen. Needs no grant. At hand from `on-response-head` on. A policy
// can edit it there, and in `on-response-body` up to the call in which it lets the first bytes of the body go;
// afterwards edits are refused as `read-only`. In the hooks of the request there is no response: reading gives status
// 0 and no fields, editing is refused as `read-only`.
//
// What the route itself changes (`response-headers`) comes after all edits. A response that has no body
// (`body.is-absent`) is edited in the one call of `on-response-body` that it gets: a field that describes the body,
// such as `etag` or a digest, is for the policy to leave as it is then.
//
// An answer made by the gateway (no route, no upstream, a policy's reply) passes through here like an upstream's.
package response

import (
	"portcullis/policy/types"
)

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Status func() uint16
	SetStatus func(status uint16) error
	Header func(name string) (string, bool)
	HeaderBytes func(name string) ([]byte, bool)
	HeaderValues func(name string) []string
	HeaderValuesBytes func(name string) [][]byte
	Headers func() []types.Field
	HeadersBytes func() []types.FieldBytes
	SetHeader func(name string, value string) error
	SetHeaderBytes func(name string, value []byte) error
	AppendHeader func(name string, value string) error
	AppendHeaderBytes func(name string, value []byte) error
	RemoveHeader func(name string) error
}

// The status code.
func Status() uint16 {
	if Mock.Status == nil {
		panic("response.Status is called and response.Mock.Status is not set")
	}
	return Mock.Status()
}

// Sets the status. Refuses what is outside 200 to 599 (`invalid-value`), and any change from or to 204, 205 or
// 304, which say that there is no body.
func SetStatus(status uint16) error {
	if Mock.SetStatus == nil {
		panic("response.SetStatus is called and response.Mock.SetStatus is not set")
	}
	return Mock.SetStatus(status)
}

// All values of a field joined by `", "`; none if there is no such field. See `request.header`.
func Header(name string) (string, bool) {
	if Mock.Header == nil {
		panic("response.Header is called and response.Mock.Header is not set")
	}
	return Mock.Header(name)
}

// The same as bytes.
func HeaderBytes(name string) ([]byte, bool) {
	if Mock.HeaderBytes == nil {
		panic("response.HeaderBytes is called and response.Mock.HeaderBytes is not set")
	}
	return Mock.HeaderBytes(name)
}

// The value of each line of a field, in order. See `request.header-values`.
func HeaderValues(name string) []string {
	if Mock.HeaderValues == nil {
		panic("response.HeaderValues is called and response.Mock.HeaderValues is not set")
	}
	return Mock.HeaderValues(name)
}

// The same as bytes.
func HeaderValuesBytes(name string) [][]byte {
	if Mock.HeaderValuesBytes == nil {
		panic("response.HeaderValuesBytes is called and response.Mock.HeaderValuesBytes is not set")
	}
	return Mock.HeaderValuesBytes(name)
}

// All fields in order, except the hop-by-hop ones. Costs a copy of the whole head.
func Headers() []types.Field {
	if Mock.Headers == nil {
		panic("response.Headers is called and response.Mock.Headers is not set")
	}
	return Mock.Headers()
}

// The same as bytes.
func HeadersBytes() []types.FieldBytes {
	if Mock.HeadersBytes == nil {
		panic("response.HeadersBytes is called and response.Mock.HeadersBytes is not set")
	}
	return Mock.HeadersBytes()
}

// Replaces all lines of a field by one.
func SetHeader(name string, value string) error {
	if Mock.SetHeader == nil {
		panic("response.SetHeader is called and response.Mock.SetHeader is not set")
	}
	return Mock.SetHeader(name, value)
}

// The same as bytes.
func SetHeaderBytes(name string, value []byte) error {
	if Mock.SetHeaderBytes == nil {
		panic("response.SetHeaderBytes is called and response.Mock.SetHeaderBytes is not set")
	}
	return Mock.SetHeaderBytes(name, value)
}

// Adds a line to a field.
func AppendHeader(name string, value string) error {
	if Mock.AppendHeader == nil {
		panic("response.AppendHeader is called and response.Mock.AppendHeader is not set")
	}
	return Mock.AppendHeader(name, value)
}

// The same as bytes.
func AppendHeaderBytes(name string, value []byte) error {
	if Mock.AppendHeaderBytes == nil {
		panic("response.AppendHeaderBytes is called and response.Mock.AppendHeaderBytes is not set")
	}
	return Mock.AppendHeaderBytes(name, value)
}

// Removes all lines of a field; an absent field is no error.
func RemoveHeader(name string) error {
	if Mock.RemoveHeader == nil {
		panic("response.RemoveHeader is called and response.Mock.RemoveHeader is not set")
	}
	return Mock.RemoveHeader(name)
}

