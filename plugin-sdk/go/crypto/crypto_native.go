// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// Signatures, authentication codes and digests as native code. Grant: `crypto = true`.
//
// A key is a plain number, valid in every instance of the policy for as long as its configuration runs: import keys in
// `configure`. Importing the same key again gives the same number, and a policy has at most 1,000. Each key is bound
// to one algorithm, so that no message can choose another for it. What is signed, hashed or authenticated is at most
// 1 MiB a call, so that no call takes longer than some milliseconds.
package crypto

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

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	ImportJWK func(jwk string, algorithm *string) (uint32, error)
	ImportJWKS func(jwks string, algorithm *string) ([]uint32, error)
	ImportSecret func(secret []byte, algorithm string) (uint32, error)
	ImportGrantedSecret func(name string, algorithm string) (uint32, error)
	ForgetKey func(key uint32) 
	Verify func(key uint32, message []byte, signature []byte) (bool, error)
	VerifyJWS func(token string, keys []uint32) (Verified, error)
	Mac func(key uint32, message []byte) ([]byte, error)
	Hmac func(hash string, secret []byte, message []byte) ([]byte, error)
	Digest func(hash string, data []byte) ([]byte, error)
	ConstantTimeEq func(a []byte, b []byte) bool
}

// Imports one JSON Web Key (RFC 7517): a public key, or a secret (`kty` is `oct`). Its algorithm is its `alg` or
// the wanted one. If there are both, they must be the same; if there is neither, the key's curve must determine
// it. `verify-jws` uses its `kid`. A private key is refused as `unsupported`: a gateway that checks signatures
// should not have it.
func ImportJWK(jwk string, algorithm *string) (uint32, error) {
	if Mock.ImportJWK == nil {
		panic("crypto.ImportJWK is called and crypto.Mock.ImportJWK is not set")
	}
	return Mock.ImportJWK(jwk, algorithm)
}

// Imports all keys of a JSON Web Key Set (RFC 7517, 5) in its order. Those that cannot be used are left out: what
// `import-jwk` refuses, for whatever reason. The gateway logs each key that no call could use with its `kid` and
// the reason. A set without a usable key gives an empty list; a set that is no JSON Web Key Set is `malformed`.
func ImportJWKS(jwks string, algorithm *string) ([]uint32, error) {
	if Mock.ImportJWKS == nil {
		panic("crypto.ImportJWKS is called and crypto.Mock.ImportJWKS is not set")
	}
	return Mock.ImportJWKS(jwks, algorithm)
}

// Imports bytes as the secret of `HS256`, `HS384` or `HS512`. They must be as long as the hash (RFC 7518, 3.2).
func ImportSecret(secret []byte, algorithm string) (uint32, error) {
	if Mock.ImportSecret == nil {
		panic("crypto.ImportSecret is called and crypto.Mock.ImportSecret is not set")
	}
	return Mock.ImportSecret(secret, algorithm)
}

// The same with a granted secret, whose bytes the policy then need not see. The grant is `secrets = ["name"]`.
func ImportGrantedSecret(name string, algorithm string) (uint32, error) {
	if Mock.ImportGrantedSecret == nil {
		panic("crypto.ImportGrantedSecret is called and crypto.Mock.ImportGrantedSecret is not set")
	}
	return Mock.ImportGrantedSecret(name, algorithm)
}

// Forgets a key, whose number no other gets. One that is absent is no error. Rotating keys are imported in
// `on-tick` or a hook, their numbers passed on through `store`, and the old ones forgotten when they have served:
// a call that names one then returns `no-key`.
func ForgetKey(key uint32)  {
	if Mock.ForgetKey == nil {
		panic("crypto.ForgetKey is called and crypto.Mock.ForgetKey is not set")
	}
	Mock.ForgetKey(key)
}

// Whether `signature` is the key's signature or authentication code of `message`. Signatures are in the form of
// RFC 7518: those of ECDSA are r and s one after the other.
func Verify(key uint32, message []byte, signature []byte) (bool, error) {
	if Mock.Verify == nil {
		panic("crypto.Verify is called and crypto.Mock.Verify is not set")
	}
	return Mock.Verify(key, message, signature)
}

// Checks a token in compact serialization. Those keys are tried, each once and at most eight, whose algorithm is
// the header's `alg` and, if both have one, whose `kid` is the header's.
func VerifyJWS(token string, keys []uint32) (Verified, error) {
	if Mock.VerifyJWS == nil {
		panic("crypto.VerifyJWS is called and crypto.Mock.VerifyJWS is not set")
	}
	return Mock.VerifyJWS(token, keys)
}

// The authentication code of a message (HMAC, RFC 2104) by an imported secret, with the hash of its algorithm.
func Mac(key uint32, message []byte) ([]byte, error) {
	if Mock.Mac == nil {
		panic("crypto.Mac is called and crypto.Mock.Mac is not set")
	}
	return Mock.Mac(key, message)
}

// The same by a secret of any length that the policy has at hand, such as a derived one.
func Hmac(hash string, secret []byte, message []byte) ([]byte, error) {
	if Mock.Hmac == nil {
		panic("crypto.Hmac is called and crypto.Mock.Hmac is not set")
	}
	return Mock.Hmac(hash, secret, message)
}

// The digest of some bytes.
func Digest(hash string, data []byte) ([]byte, error) {
	if Mock.Digest == nil {
		panic("crypto.Digest is called and crypto.Mock.Digest is not set")
	}
	return Mock.Digest(hash, data)
}

// Whether two byte strings are equal, in a time that depends on their lengths alone.
func ConstantTimeEq(a []byte, b []byte) bool {
	if Mock.ConstantTimeEq == nil {
		panic("crypto.ConstantTimeEq is called and crypto.Mock.ConstantTimeEq is not set")
	}
	return Mock.ConstantTimeEq(a, b)
}

