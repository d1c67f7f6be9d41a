// Code generated from wit/ by `cargo xtask check bindings`. DO NOT EDIT.

//go:build !wasip1

// The client's connection. Needs no grant.
package connection

// Mock is what the functions of this package do in tests, which run without a gateway. One that is not set panics.
var Mock struct {
	Protocol func() string
	Listener func() string
	PeerAddress func() string
	PeerAddressBytes func() []byte
	TLSVersion func() (string, bool)
	TLSCipher func() (string, bool)
	TLSAlpn func() (string, bool)
	TLSServerName func() (string, bool)
	ClientCertificate func() ([]byte, bool)
}

// The protocol of the request: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`. More may come.
func Protocol() string {
	if Mock.Protocol == nil {
		panic("connection.Protocol is called and connection.Mock.Protocol is not set")
	}
	return Mock.Protocol()
}

// The name of the listener that accepted the connection.
func Listener() string {
	if Mock.Listener == nil {
		panic("connection.Listener is called and connection.Mock.Listener is not set")
	}
	return Mock.Listener()
}

// The address of the peer of the connection, which is a proxy's if there is one before the gateway; in the form of
// `exchange.client-address`.
func PeerAddress() string {
	if Mock.PeerAddress == nil {
		panic("connection.PeerAddress is called and connection.Mock.PeerAddress is not set")
	}
	return Mock.PeerAddress()
}

// The same as the 4 or 16 bytes of the address, in network byte order.
func PeerAddressBytes() []byte {
	if Mock.PeerAddressBytes == nil {
		panic("connection.PeerAddressBytes is called and connection.Mock.PeerAddressBytes is not set")
	}
	return Mock.PeerAddressBytes()
}

// `TLSv1.2` or `TLSv1.3`. None without TLS. More may come.
func TLSVersion() (string, bool) {
	if Mock.TLSVersion == nil {
		panic("connection.TLSVersion is called and connection.Mock.TLSVersion is not set")
	}
	return Mock.TLSVersion()
}

// The cipher suite by its name in IANA's registry, such as `TLS_AES_128_GCM_SHA256`. None without TLS.
func TLSCipher() (string, bool) {
	if Mock.TLSCipher == nil {
		panic("connection.TLSCipher is called and connection.Mock.TLSCipher is not set")
	}
	return Mock.TLSCipher()
}

// The protocol that the client and the listener agreed on in the TLS handshake (ALPN), such as `h2`. None without
// TLS or ALPN.
func TLSAlpn() (string, bool) {
	if Mock.TLSAlpn == nil {
		panic("connection.TLSAlpn is called and connection.Mock.TLSAlpn is not set")
	}
	return Mock.TLSAlpn()
}

// The host name that the client asked for in the TLS handshake (SNI), in lower case. None without TLS or SNI.
func TLSServerName() (string, bool) {
	if Mock.TLSServerName == nil {
		panic("connection.TLSServerName is called and connection.Mock.TLSServerName is not set")
	}
	return Mock.TLSServerName()
}

// DER of the client certificate that TLS verified. None if the client showed none.
func ClientCertificate() ([]byte, bool) {
	if Mock.ClientCertificate == nil {
		panic("connection.ClientCertificate is called and connection.Mock.ClientCertificate is not set")
	}
	return Mock.ClientCertificate()
}

