// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Removes stored responses from caches. Grant: `cache-purge = ["assets"]`, which names the caches; each call means all
// of them.
//
// A call waits until the purge is done, without delaying other exchanges: it counts for each request that begins after
// the call has returned, on all workers, in memory and on the disk, and for responses that are on their way. It may be
// made in the hooks of an exchange and in `on-tick`, not in `configure`. A policy that imports this runs on fibers, as
// one that imports `http-client` does. A shadow, and an explanation, purge nothing: the calls return 0.
package cachepurge

// Why a purge was not done, or does not last.
type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// The text is no URL with a host, or no tag, and why.
	ErrorInvalid ErrorKind = iota
	// It is not allowed in this hook, and why.
	ErrorNotAllowed
	// The policy has purged as often in this second as it may (100 times, unless the grant says otherwise), or 64
	// of its purges wait.
	ErrorBusy
	// It counts, but a disk did not write it down: after a crash, what was purged may be there again.
	ErrorNotLasting
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"invalid", "not allowed", "busy", "not lasting", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "cache-purge: " + name
}

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	URL func(url string, soft bool) (uint64, error)
	Prefix func(url string, soft bool) (uint64, error)
	Tag func(tag string, soft bool) (uint64, error)
}

// Removes the responses of one URL, in all variants, whatever policies have added to their keys. The URL is the
// one that clients use; without a scheme it means http and https. `soft` keeps them as stale responses. Returns
// how many there were.
func URL(url string, soft bool) (uint64, error) {
	if Mock.URL == nil {
		panic("cachepurge.URL is called and cachepurge.Mock.URL is not set")
	}
	return Mock.URL(url, soft)
}

// The same for this URL and all below it: `https://a.test/img` takes `/img`, `/img/x` and `/img?x`, and not
// `/images`; `https://a.test/im*` all that begin so. All keys of the caches are searched.
func Prefix(url string, soft bool) (uint64, error) {
	if Mock.Prefix == nil {
		panic("cachepurge.Prefix is called and cachepurge.Mock.Prefix is not set")
	}
	return Mock.Prefix(url, soft)
}

// The same for all responses with this tag: from `Surrogate-Key`, `Cache-Tag` or `cache.add-tag`.
func Tag(tag string, soft bool) (uint64, error) {
	if Mock.Tag == nil {
		panic("cachepurge.Tag is called and cachepurge.Mock.Tag is not set")
	}
	return Mock.Tag(tag, soft)
}

