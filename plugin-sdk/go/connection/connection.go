// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build wasip1

// The client's connection. Needs no grant.
package connection

import (
	"unsafe"
	"portcullis/policy/abi"
)

//go:wasmimport portcullis:policy/connection@0.2.1 protocol
func importProtocol(p0 unsafe.Pointer) 

// The protocol of the request: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`. More may come.
func Protocol() string {
	importProtocol(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/connection@0.2.1 listener
func importListener(p0 unsafe.Pointer) 

// The name of the listener that accepted the connection.
func Listener() string {
	importListener(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/connection@0.2.1 peer-address
func importPeerAddress(p0 unsafe.Pointer) 

// The address of the peer of the connection, which is a proxy's if there is one before the gateway; in the form of
// `exchange.client-address`.
func PeerAddress() string {
	importPeerAddress(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.String(p)
}

//go:wasmimport portcullis:policy/connection@0.2.1 peer-address-bytes
func importPeerAddressBytes(p0 unsafe.Pointer) 

// The same as the 4 or 16 bytes of the address, in network byte order.
func PeerAddressBytes() []byte {
	importPeerAddressBytes(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	return abi.Bytes(p)
}

//go:wasmimport portcullis:policy/connection@0.2.1 tls-version
func importTLSVersion(p0 unsafe.Pointer) 

// `TLSv1.2` or `TLSv1.3`. None without TLS. More may come.
func TLSVersion() (string, bool) {
	importTLSVersion(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/connection@0.2.1 tls-cipher
func importTLSCipher(p0 unsafe.Pointer) 

// The cipher suite by its name in IANA's registry, such as `TLS_AES_128_GCM_SHA256`. None without TLS.
func TLSCipher() (string, bool) {
	importTLSCipher(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/connection@0.2.1 tls-alpn
func importTLSAlpn(p0 unsafe.Pointer) 

// The protocol that the client and the listener agreed on in the TLS handshake (ALPN), such as `h2`. None without
// TLS or ALPN.
func TLSAlpn() (string, bool) {
	importTLSAlpn(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/connection@0.2.1 tls-server-name
func importTLSServerName(p0 unsafe.Pointer) 

// The host name that the client asked for in the TLS handshake (SNI), in lower case. None without TLS or SNI.
func TLSServerName() (string, bool) {
	importTLSServerName(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none string
		return none, false
	}
	return abi.String(abi.Add(p, 4)), true
}

//go:wasmimport portcullis:policy/connection@0.2.1 client-certificate
func importClientCertificate(p0 unsafe.Pointer) 

// DER of the client certificate that TLS verified. None if the client showed none.
func ClientCertificate() ([]byte, bool) {
	importClientCertificate(abi.Ret())
	defer abi.Done()
	p := abi.Ret()
	if abi.U8(p) == 0 {
		var none []byte
		return none, false
	}
	return abi.Bytes(abi.Add(p, 4)), true
}

