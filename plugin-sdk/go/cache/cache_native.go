// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// What the cache of the route makes of the request at hand. Needs no grant. Without a cache on the route, what is said
// here has no effect.
//
// The cache is asked when the request is about to be forwarded, so what it is to know is said as long as the request
// can be edited: in `on-request-head`, and in `on-request-body` up to the call in which the policy lets the first
// bytes go. Afterwards it is refused as `read-only`. The cache keeps a response as it came from the upstream, before
// `on-response-head`. What a policy says for a request holds for the response that is fetched for it, now or in the
// background. It changes nothing of a response that is stored already.
//
// Two requests with the same key get the same stored response, so `vary-by` and `add-tag` should say the same for
// both: of requests that wait for one response, what was said for the first one counts. If a policy that imports this
// fails in a hook of the request and its `on-error` is `allow`, the request passes by the cache.
package cache

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	URL func() (string, bool)
	Key func() []string
	VaryBy func(name string, value string) error
	AddTag func(tag string) error
	Bypass func() error
}

// The URL that the request would be looked up by, and that its response is purged by, if nothing else changed.
// None if the route has no cache, and if the request cannot be edited any more.
func URL() (string, bool) {
	if Mock.URL == nil {
		panic("cache.URL is called and cache.Mock.URL is not set")
	}
	return Mock.URL()
}

// What else the request would be looked up by, a text each, as `portcullis explain` prints it. Empty if `url` is
// none.
func Key() []string {
	if Mock.Key == nil {
		panic("cache.Key is called and cache.Mock.Key is not set")
	}
	return Mock.Key()
}

// Adds a value to the key: for what tells responses apart and is not in the request as it is forwarded. Fields
// that a policy sets are part of the key without this. The same name may have several values, and their order
// counts. Refuses a name that is empty, longer than 256 bytes or has control characters (`invalid-name`), a value
// over 4 KiB, and more than 16 values in an exchange (`too-large`).
func VaryBy(name string, value string) error {
	if Mock.VaryBy == nil {
		panic("cache.VaryBy is called and cache.Mock.VaryBy is not set")
	}
	return Mock.VaryBy(name, value)
}

// Adds a tag to the response if it is fetched for this request and stored. It can be purged by it, as by those
// that it has in `Surrogate-Key` and `Cache-Tag`. Refuses a tag that is empty or has control characters
// (`invalid-value`), one over 1 KiB, and more than 64 in an exchange (`too-large`).
func AddTag(tag string) error {
	if Mock.AddTag == nil {
		panic("cache.AddTag is called and cache.Mock.AddTag is not set")
	}
	return Mock.AddTag(tag)
}

// Lets the request pass by the cache: it is not answered from there, and its response is not stored.
func Bypass() error {
	if Mock.Bypass == nil {
		panic("cache.Bypass is called and cache.Mock.Bypass is not set")
	}
	return Mock.Bypass()
}

