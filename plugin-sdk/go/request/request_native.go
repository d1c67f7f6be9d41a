// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// The request. Needs no grant. At hand in every hook of an exchange. A policy can edit it in `on-request-head`, and in
// `on-request-body` up to the call in which it lets the first bytes of the body go; afterwards edits are refused as
// `read-only`. An edit in `on-request-body` counts as one in `on-request-head` does, for the choice of the upstream
// too, but policies behind it in `use` were called for the head already: they see it in their own hook of the body.
//
// What is read here is what was matched and what will be forwarded: the path is normalised once, before routing. What
// the route itself changes (`rewrite`, `request-headers`) comes after all edits.
package request

import (
	"portcullis/policy/types"
)

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Method func() string
	SetMethod func(method string) error
	Scheme func() string
	Authority func() string
	SetAuthority func(authority string) error
	Path func() string
	Query func() (string, bool)
	SetPathAndQuery func(value string) error
	SetUpstream func(name string) error
	SetEndpointKey func(key string) error
	SetEndpointKeyBytes func(key []byte) error
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

// The method, such as `GET`. Methods are case-sensitive.
func Method() string {
	if Mock.Method == nil {
		panic("request.Method is called and request.Mock.Method is not set")
	}
	return Mock.Method()
}

// Sets the method. Refuses what is not a token, and `CONNECT` (`invalid-value`).
func SetMethod(method string) error {
	if Mock.SetMethod == nil {
		panic("request.SetMethod is called and request.Mock.SetMethod is not set")
	}
	return Mock.SetMethod(method)
}

// `http` or `https`: how the client reached the gateway, or how a trusted proxy says it did.
func Scheme() string {
	if Mock.Scheme == nil {
		panic("request.Scheme is called and request.Mock.Scheme is not set")
	}
	return Mock.Scheme()
}

// Host and port as the client wrote them (`Host` or `:authority`); the port is absent if the client left it out.
// Empty only for an HTTP/1.0 request without `Host`.
func Authority() string {
	if Mock.Authority == nil {
		panic("request.Authority is called and request.Mock.Authority is not set")
	}
	return Mock.Authority()
}

// Sets the authority that is forwarded if the upstream's `host` setting is `preserve`. It does not change the
// route. Refuses anything but a host and a port.
func SetAuthority(authority string) error {
	if Mock.SetAuthority == nil {
		panic("request.SetAuthority is called and request.Mock.SetAuthority is not set")
	}
	return Mock.SetAuthority(authority)
}

// The path without its query: normalised, percent-encoding kept, beginning with `/` (`*` for `OPTIONS *`).
func Path() string {
	if Mock.Path == nil {
		panic("request.Path is called and request.Mock.Path is not set")
	}
	return Mock.Path()
}

// The query without its `?`, as the client wrote it. None if there is no `?`; empty if nothing follows it.
func Query() (string, bool) {
	if Mock.Query == nil {
		panic("request.Query is called and request.Mock.Query is not set")
	}
	return Mock.Query()
}

// Sets path and query (`/path?query`). It is normalised as a client's is, and does not change the route. Refuses
// anything but an absolute path.
func SetPathAndQuery(value string) error {
	if Mock.SetPathAndQuery == nil {
		panic("request.SetPathAndQuery is called and request.Mock.SetPathAndQuery is not set")
	}
	return Mock.SetPathAndQuery(value)
}

// Chooses one of the upstreams that the route lists in `to`. Refuses any other (`invalid-value`).
func SetUpstream(name string) error {
	if Mock.SetUpstream == nil {
		panic("request.SetUpstream is called and request.Mock.SetUpstream is not set")
	}
	return Mock.SetUpstream(name)
}

// Requests of the same key go to the same endpoint of the upstream for as long as it is there and in health,
// whatever the upstream's `balance` says. If it is not, its keys are spread over the others, and come back with
// it. A retry goes to another endpoint. At most 1 KiB; more is refused as `too-large`.
func SetEndpointKey(key string) error {
	if Mock.SetEndpointKey == nil {
		panic("request.SetEndpointKey is called and request.Mock.SetEndpointKey is not set")
	}
	return Mock.SetEndpointKey(key)
}

// The same as bytes.
func SetEndpointKeyBytes(key []byte) error {
	if Mock.SetEndpointKeyBytes == nil {
		panic("request.SetEndpointKeyBytes is called and request.Mock.SetEndpointKeyBytes is not set")
	}
	return Mock.SetEndpointKeyBytes(key)
}

// All values of a field joined by `", "` (RFC 9110, 5.3), those of `Cookie` by `"; "`. The name is compared
// without case. None if there is no such field. Bytes that are not UTF-8 become U+FFFD. Costs one copy of the
// value. A policy that admits or refuses by the value of one line must use `header-values`: a client may send
// several lines, and each is only a part of the joined text.
func Header(name string) (string, bool) {
	if Mock.Header == nil {
		panic("request.Header is called and request.Mock.Header is not set")
	}
	return Mock.Header(name)
}

// The same as bytes.
func HeaderBytes(name string) ([]byte, bool) {
	if Mock.HeaderBytes == nil {
		panic("request.HeaderBytes is called and request.Mock.HeaderBytes is not set")
	}
	return Mock.HeaderBytes(name)
}

// The value of each line of a field, in order. Empty if there is no such field. Bytes that are not UTF-8 become
// U+FFFD: what is compared with a secret is read by `header-values-bytes`.
func HeaderValues(name string) []string {
	if Mock.HeaderValues == nil {
		panic("request.HeaderValues is called and request.Mock.HeaderValues is not set")
	}
	return Mock.HeaderValues(name)
}

// The same as bytes.
func HeaderValuesBytes(name string) [][]byte {
	if Mock.HeaderValuesBytes == nil {
		panic("request.HeaderValuesBytes is called and request.Mock.HeaderValuesBytes is not set")
	}
	return Mock.HeaderValuesBytes(name)
}

// All fields in order, except `Host` and the hop-by-hop fields. Costs a copy of the whole head: prefer `header`.
func Headers() []types.Field {
	if Mock.Headers == nil {
		panic("request.Headers is called and request.Mock.Headers is not set")
	}
	return Mock.Headers()
}

// The same as bytes.
func HeadersBytes() []types.FieldBytes {
	if Mock.HeadersBytes == nil {
		panic("request.HeadersBytes is called and request.Mock.HeadersBytes is not set")
	}
	return Mock.HeadersBytes()
}

// Replaces all lines of a field by one.
func SetHeader(name string, value string) error {
	if Mock.SetHeader == nil {
		panic("request.SetHeader is called and request.Mock.SetHeader is not set")
	}
	return Mock.SetHeader(name, value)
}

// The same as bytes.
func SetHeaderBytes(name string, value []byte) error {
	if Mock.SetHeaderBytes == nil {
		panic("request.SetHeaderBytes is called and request.Mock.SetHeaderBytes is not set")
	}
	return Mock.SetHeaderBytes(name, value)
}

// Adds a line to a field.
func AppendHeader(name string, value string) error {
	if Mock.AppendHeader == nil {
		panic("request.AppendHeader is called and request.Mock.AppendHeader is not set")
	}
	return Mock.AppendHeader(name, value)
}

// The same as bytes.
func AppendHeaderBytes(name string, value []byte) error {
	if Mock.AppendHeaderBytes == nil {
		panic("request.AppendHeaderBytes is called and request.Mock.AppendHeaderBytes is not set")
	}
	return Mock.AppendHeaderBytes(name, value)
}

// Removes all lines of a field. An absent field is no error; in a hook that cannot edit the request it is
// `read-only`.
func RemoveHeader(name string) error {
	if Mock.RemoveHeader == nil {
		panic("request.RemoveHeader is called and request.Mock.RemoveHeader is not set")
	}
	return Mock.RemoveHeader(name)
}

