// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// Signatures, authentication codes and digests as native code. Grant: `crypto = true`.
//
// A key is a plain number, valid in every instance of the policy for as long as its configuration runs: import keys in
// `configure`. Importing the same key again gives the same number, and a policy has at most 1,000. Each key is bound
// to one algorithm, so that no message can choose another for it. What is signed, hashed or authenticated is at most
// 1 MiB a call, so that no call takes longer than some milliseconds.
package crypto

import (
	"runtime"
	"unsafe"
	"portcullis/policy/abi"
)

// An algorithm of JSON Web Signatures by its name in IANA's registry: `HS256` and those of RFC 7518, 3.1 beside
// it, without `none`, and `EdDSA` over Ed25519 (RFC 8037). More may come; one that is not known is `unsupported`.
type Algorithm = string

// `sha-256`, `sha-384` or `sha-512` (FIPS 180-4). More may come; one that is not known is `unsupported`.
type Hash = string

type Key = uint32

// Why a key was not imported.
type KeyError struct {
	Kind KeyErrorKind
	Text string
}

// KeyErrorKind is which case of a KeyError it is.
type KeyErrorKind uint8

const (
	// It cannot be read, and why.
	KeyErrorMalformed KeyErrorKind = iota
	// It is of a kind, a curve or a use that is not known here, and which.
	KeyErrorUnsupported
	// It names or is made for another algorithm than the wanted one, or does not say which one it is for.
	KeyErrorWrongAlgorithm
	// It is weaker than its algorithm demands, and how: RSA under 2,048 bits, a secret shorter than its hash.
	KeyErrorWeak
	// No secret of that name was granted.
	KeyErrorNoSecret
	// The key is over 64 KiB, or the key set over 1 MiB.
	KeyErrorTooLarge
	// The policy has 1,000 keys.
	KeyErrorTooMany
	// Anything else, and what.
	KeyErrorOther
)

func (e KeyError) Error() string {
	name := "unknown"
	if names := [...]string{"malformed", "unsupported", "wrong algorithm", "weak", "no secret", "too large", "too many", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "crypto: " + name
}

// Why nothing was computed.
type Error struct {
	Kind ErrorKind
	Text string
}

// ErrorKind is which case of a Error it is.
type ErrorKind uint8

const (
	// There is no key of that number.
	ErrorNoKey ErrorKind = iota
	// The key is a public one, which makes no authentication codes.
	ErrorWrongAlgorithm
	// The message is over 1 MiB.
	ErrorTooLarge
	// There is no such hash here, and which.
	ErrorUnsupported
	// Anything else, and what.
	ErrorOther
)

func (e Error) Error() string {
	name := "unknown"
	if names := [...]string{"no key", "wrong algorithm", "too large", "unsupported", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "crypto: " + name
}

// Why a token is not accepted.
type JWSError struct {
	Kind JWSErrorKind
	Text string
}

// JWSErrorKind is which case of a JWSError it is.
type JWSErrorKind uint8

const (
	// It is not a JWS in compact serialization (RFC 7515, 7.1), and why.
	JWSErrorMalformed JWSErrorKind = iota
	// Its header requires an extension, of which none is supported (`crit`; RFC 7515, 4.1.11), and why.
	JWSErrorUnsupported
	// None of the keys is for its algorithm and its `kid`.
	JWSErrorNoKey
	// Keys fit, but none of them made the signature.
	JWSErrorWrongSignature
	// It is over 64 KiB, or more than 1,000 keys are named.
	JWSErrorTooLarge
	// Anything else, and what.
	JWSErrorOther
)

func (e JWSError) Error() string {
	name := "unknown"
	if names := [...]string{"malformed", "unsupported", "no key", "wrong signature", "too large", "other"}; int(e.Kind) < len(names) {
		name = names[e.Kind]
	}
	if e.Text != "" {
		name += ": " + e.Text
	}
	return "crypto: " + name
}

// A token whose signature is valid. Its claims, such as `exp`, are not checked.
type Verified struct {
	// The key that made it.
	Key uint32
	// The protected header as JSON.
	Header string
	// The payload. A JSON Web Token has its claims there.
	Payload []byte
}

// LoadKeyError reads what the gateway wrote. It is for the bindings.
func LoadKeyError(p unsafe.Pointer) KeyError {
	var value KeyError
	value.Kind = KeyErrorKind(abi.U8(p))
	switch value.Kind {
	case KeyErrorMalformed:
		value.Text = abi.String(abi.Add(p, 4))
	case KeyErrorUnsupported:
		value.Text = abi.String(abi.Add(p, 4))
	case KeyErrorWrongAlgorithm:
		value.Text = abi.String(abi.Add(p, 4))
	case KeyErrorWeak:
		value.Text = abi.String(abi.Add(p, 4))
	case KeyErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

// LoadError reads what the gateway wrote. It is for the bindings.
func LoadError(p unsafe.Pointer) Error {
	var value Error
	value.Kind = ErrorKind(abi.U8(p))
	switch value.Kind {
	case ErrorUnsupported:
		value.Text = abi.String(abi.Add(p, 4))
	case ErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

// LoadJWSError reads what the gateway wrote. It is for the bindings.
func LoadJWSError(p unsafe.Pointer) JWSError {
	var value JWSError
	value.Kind = JWSErrorKind(abi.U8(p))
	switch value.Kind {
	case JWSErrorMalformed:
		value.Text = abi.String(abi.Add(p, 4))
	case JWSErrorUnsupported:
		value.Text = abi.String(abi.Add(p, 4))
	case JWSErrorOther:
		value.Text = abi.String(abi.Add(p, 4))
	}
	return value
}

// LoadVerified reads what the gateway wrote. It is for the bindings.
func LoadVerified(p unsafe.Pointer) Verified {
	var value Verified
	value.Key = abi.U32(abi.Add(p, 0))
	value.Header = abi.String(abi.Add(p, 4))
	value.Payload = abi.Bytes(abi.Add(p, 12))
	return value
}

//go:wasmimport portcullis:policy/crypto@0.2.1 import-jwk
func importImportJWK(p0 string, p1 uint32, p2 string, p3 unsafe.Pointer) 

// Imports one JSON Web Key (RFC 7517): a public key, or a secret (`kty` is `oct`). Its algorithm is its `alg` or
// the wanted one. If there are both, they must be the same; if there is neither, the key's curve must determine
// it. `verify-jws` uses its `kid`. A private key is refused as `unsupported`: a gateway that checks signatures
// should not have it.
func ImportJWK(jwk string, algorithm *string) (uint32, error) {
	var given0 string
	if algorithm != nil {
		given0 = *algorithm
	}
	importImportJWK(jwk, abi.Bool(algorithm != nil), given0, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint32
		return none, LoadKeyError(abi.Add(p, 4))
	}
	return abi.U32(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 import-jwks
func importImportJWKS(p0 string, p1 uint32, p2 string, p3 unsafe.Pointer) 

// Imports all keys of a JSON Web Key Set (RFC 7517, 5) in its order. Those that cannot be used are left out: what
// `import-jwk` refuses, for whatever reason. The gateway logs each key that no call could use with its `kid` and
// the reason. A set without a usable key gives an empty list; a set that is no JSON Web Key Set is `malformed`.
func ImportJWKS(jwks string, algorithm *string) ([]uint32, error) {
	var given0 string
	if algorithm != nil {
		given0 = *algorithm
	}
	importImportJWKS(jwks, abi.Bool(algorithm != nil), given0, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []uint32
		return none, LoadKeyError(abi.Add(p, 4))
	}
	return abi.Load(abi.Add(p, 4), 4, func(p unsafe.Pointer) uint32 { return abi.U32(p) }), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 import-secret
func importImportSecret(p0 unsafe.Pointer, p1 uint32, p2 string, p3 unsafe.Pointer) 

// Imports bytes as the secret of `HS256`, `HS384` or `HS512`. They must be as long as the hash (RFC 7518, 3.2).
func ImportSecret(secret []byte, algorithm string) (uint32, error) {
	importImportSecret(abi.Data(secret), uint32(len(secret)), algorithm, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint32
		return none, LoadKeyError(abi.Add(p, 4))
	}
	return abi.U32(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 import-granted-secret
func importImportGrantedSecret(p0 string, p1 string, p2 unsafe.Pointer) 

// The same with a granted secret, whose bytes the policy then need not see. The grant is `secrets = ["name"]`.
func ImportGrantedSecret(name string, algorithm string) (uint32, error) {
	importImportGrantedSecret(name, algorithm, abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none uint32
		return none, LoadKeyError(abi.Add(p, 4))
	}
	return abi.U32(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 forget-key
func importForgetKey(p0 uint32) 

// Forgets a key, whose number no other gets. One that is absent is no error. Rotating keys are imported in
// `on-tick` or a hook, their numbers passed on through `store`, and the old ones forgotten when they have served:
// a call that names one then returns `no-key`.
func ForgetKey(key uint32)  {
	importForgetKey(uint32(key))

}

//go:wasmimport portcullis:policy/crypto@0.2.1 verify
func importVerify(p0 uint32, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer, p4 uint32, p5 unsafe.Pointer) 

// Whether `signature` is the key's signature or authentication code of `message`. Signatures are in the form of
// RFC 7518: those of ECDSA are r and s one after the other.
func Verify(key uint32, message []byte, signature []byte) (bool, error) {
	importVerify(uint32(key), abi.Data(message), uint32(len(message)), abi.Data(signature), uint32(len(signature)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none bool
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.U8(abi.Add(p, 4)) != 0, nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 verify-jws
func importVerifyJWS(p0 string, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// Checks a token in compact serialization. Those keys are tried, each once and at most eight, whose algorithm is
// the header's `alg` and, if both have one, whose `kid` is the header's.
func VerifyJWS(token string, keys []uint32) (Verified, error) {
	list0 := abi.Store(keys, 4, func(p unsafe.Pointer, value uint32) {
		abi.PutU32(abi.Add(p, 0), value)
	})
	importVerifyJWS(token, abi.Start(list0), uint32(len(keys)), abi.Ret())
	runtime.KeepAlive(list0)
	runtime.KeepAlive(keys)
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none Verified
		return none, LoadJWSError(abi.Add(p, 4))
	}
	return LoadVerified(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 mac
func importMac(p0 uint32, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// The authentication code of a message (HMAC, RFC 2104) by an imported secret, with the hash of its algorithm.
func Mac(key uint32, message []byte) ([]byte, error) {
	importMac(uint32(key), abi.Data(message), uint32(len(message)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []byte
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.Bytes(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 hmac
func importHmac(p0 string, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer, p4 uint32, p5 unsafe.Pointer) 

// The same by a secret of any length that the policy has at hand, such as a derived one.
func Hmac(hash string, secret []byte, message []byte) ([]byte, error) {
	importHmac(hash, abi.Data(secret), uint32(len(secret)), abi.Data(message), uint32(len(message)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []byte
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.Bytes(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 digest
func importDigest(p0 string, p1 unsafe.Pointer, p2 uint32, p3 unsafe.Pointer) 

// The digest of some bytes.
func Digest(hash string, data []byte) ([]byte, error) {
	importDigest(hash, abi.Data(data), uint32(len(data)), abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) != 0 {
		var none []byte
		return none, LoadError(abi.Add(p, 4))
	}
	return abi.Bytes(abi.Add(p, 4)), nil
}

//go:wasmimport portcullis:policy/crypto@0.2.1 constant-time-eq
func importConstantTimeEq(p0 unsafe.Pointer, p1 uint32, p2 unsafe.Pointer, p3 uint32) uint32

// Whether two byte strings are equal, in a time that depends on their lengths alone.
func ConstantTimeEq(a []byte, b []byte) bool {
	result := importConstantTimeEq(abi.Data(a), uint32(len(a)), abi.Data(b), uint32(len(b))) != 0
	return result
}

