// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// The trailer fields of the message whose body ends: those of chunked bodies of HTTP/1.1 and those of HTTP/2, such as
// `grpc-status`. Needs no grant.
//
// They are at hand in the call of a body hook in which `body.is-last` holds, and can be edited in it, whatever was let
// go before; in `on-completed` they are those that were sent behind the response. In all other calls there are none,
// and edits are refused as `read-only`, as for messages behind which no trailers can be sent: those that have no body
// (`body.is-absent`, 205) and requests for an upgrade. A body that came without trailers can get some. A client of
// HTTP/1.0 gets none, and a policy that called `body.finish` is not called for them.
//
// Fields that may not be trailers (RFC 9110, 6.5.1: framing, routing, authentication, what controls caches and what
// describes the body) never are: those of a peer are dropped, and edits of them are refused as `forbidden`. A client's
// trailers also come without credentials and without what only the gateway may say of the client.
package trailers

import (
	"portcullis/policy/types"
)

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
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

// All values of a field joined by `", "`; none if there is no such field. See `request.header`.
func Header(name string) (string, bool) {
	if Mock.Header == nil {
		panic("trailers.Header is called and trailers.Mock.Header is not set")
	}
	return Mock.Header(name)
}

// The same as bytes.
func HeaderBytes(name string) ([]byte, bool) {
	if Mock.HeaderBytes == nil {
		panic("trailers.HeaderBytes is called and trailers.Mock.HeaderBytes is not set")
	}
	return Mock.HeaderBytes(name)
}

// The value of each line of a field, in order. See `request.header-values`.
func HeaderValues(name string) []string {
	if Mock.HeaderValues == nil {
		panic("trailers.HeaderValues is called and trailers.Mock.HeaderValues is not set")
	}
	return Mock.HeaderValues(name)
}

// The same as bytes.
func HeaderValuesBytes(name string) [][]byte {
	if Mock.HeaderValuesBytes == nil {
		panic("trailers.HeaderValuesBytes is called and trailers.Mock.HeaderValuesBytes is not set")
	}
	return Mock.HeaderValuesBytes(name)
}

// All fields in order.
func Headers() []types.Field {
	if Mock.Headers == nil {
		panic("trailers.Headers is called and trailers.Mock.Headers is not set")
	}
	return Mock.Headers()
}

// The same as bytes.
func HeadersBytes() []types.FieldBytes {
	if Mock.HeadersBytes == nil {
		panic("trailers.HeadersBytes is called and trailers.Mock.HeadersBytes is not set")
	}
	return Mock.HeadersBytes()
}

// Replaces all lines of a field by one.
func SetHeader(name string, value string) error {
	if Mock.SetHeader == nil {
		panic("trailers.SetHeader is called and trailers.Mock.SetHeader is not set")
	}
	return Mock.SetHeader(name, value)
}

// The same as bytes.
func SetHeaderBytes(name string, value []byte) error {
	if Mock.SetHeaderBytes == nil {
		panic("trailers.SetHeaderBytes is called and trailers.Mock.SetHeaderBytes is not set")
	}
	return Mock.SetHeaderBytes(name, value)
}

// Adds a line to a field.
func AppendHeader(name string, value string) error {
	if Mock.AppendHeader == nil {
		panic("trailers.AppendHeader is called and trailers.Mock.AppendHeader is not set")
	}
	return Mock.AppendHeader(name, value)
}

// The same as bytes.
func AppendHeaderBytes(name string, value []byte) error {
	if Mock.AppendHeaderBytes == nil {
		panic("trailers.AppendHeaderBytes is called and trailers.Mock.AppendHeaderBytes is not set")
	}
	return Mock.AppendHeaderBytes(name, value)
}

// Removes all lines of a field; an absent field is no error.
func RemoveHeader(name string) error {
	if Mock.RemoveHeader == nil {
		panic("trailers.RemoveHeader is called and trailers.Mock.RemoveHeader is not set")
	}
	return Mock.RemoveHeader(name)
}

