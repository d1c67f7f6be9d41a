// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Removes stored responses from caches. Grant: `cache-purge = ["assets"]`, which names the caches; each call means all
// of them.
//
// A call waits until the purge is done, without delaying other exchanges: it counts for each request that begins after
// the call has returned, on all workers, in memory and on the disk, and for responses that are on their way. It may be
// made in the hooks of an exchange and in `on-tick`, not in `configure`. A policy that imports this runs on fibers, as
// one that imports `http-client` does. A shadow, and an explanation, purge nothing: the calls return 0.
package cachepurge

import (
	"unsafe"
	"portcullis/policy/abi"
)

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

// LoadError reads what the gateway wrote. It is for the bindings.
func LoadError(p unsafe.Pointer) Error {
	var value Error
	value.Kind = ErrorKind(abi.U8(p))
	switch value.Kind {
	case ErrorInvalid:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorNotAllowed:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

//go:wasmimport portcullis:policy/cache-purge@0.2.1 url
func importURL(p0 string, p1 uint32, p2 unsafe.Pointer) 

// Removes the responses of one URL, in all variants, whatever policies have added to their keys. The URL is the
// one that clients use; without a scheme it means http and https. `soft` keeps them as stale responses. Returns
// how many there were.
func URL(url string, soft bool) (uint64, error) {
	importURL(url, abi.Bool(soft), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint64
		return none, LoadError(abi.Add(p, 8))
	}
	return abi.U64(abi.Add(p, 8)), nil
}

//go:wasmimport portcullis:policy/cache-purge@0.2.1 prefix
func importPrefix(p0 string, p1 uint32, p2 unsafe.Pointer) 

// The same for this URL and all below it: `https://a.test/img` takes `/img`, `/img/x` and `/img?x`, and not
// `/images`; `https://a.test/im*` all that begin so. All keys of the caches are searched.
func Prefix(url string, soft bool) (uint64, error) {
	importPrefix(url, abi.Bool(soft), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint64
		return none, LoadError(abi.Add(p, 8))
	}
	return abi.U64(abi.Add(p, 8)), nil
}

//go:wasmimport portcullis:policy/cache-purge@0.2.1 tag
func importTag(p0 string, p1 uint32, p2 unsafe.Pointer) 

// The same for all responses with this tag: from `Surrogate-Key`, `Cache-Tag` or `cache.add-tag`.
func Tag(tag string, soft bool) (uint64, error) {
	importTag(tag, abi.Bool(soft), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint64
		return none, LoadError(abi.Add(p, 8))
	}
	return abi.U64(abi.Add(p, 8)), nil
}

