// Package policy is the SDK for policies of the gateway Portcullis in Go.
//
// A policy is a package main. Each hook is a function in it:
//
//	func Configure(settings []byte) error
//	func OnRequestHead() error
//	func OnRequestBody() error
//	func OnResponseHead() error
//	func OnResponseBody() error
//	func OnCompleted() error
//	func OnTick() error
//
// An error that one returns is logged as the policy's fault, as is a panic; the policy's `on-error` decides whether the
// exchange goes on. An error of Configure refuses the settings.
//
// What a hook asks of the gateway is in packages of the same names as the interfaces of the contract: `request`,
// `response`, `body`, `exchange`, and a package for each capability, such as `log` and `store`. A policy asks the operator
// for those capabilities whose functions it calls.
//
// Tests run natively, without a gateway. There the functions of each package are those that the test has put into its
// variable Mock.
package policy
