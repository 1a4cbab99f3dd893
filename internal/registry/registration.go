package registry

import "strings"

// registration is a peer in a namespace. Outside of the package it is only passed from
// [Registry.Admit] to [Registry.Put], in an [Admission].
//
// A million of them are most of a full point's memory, so each word counts. The envelope
// is in the slots of the pools, where a sample finds it without reading the registration.
type registration struct {
	namespace  *namespace
	registrant *registrant
	deadline   int64
	positions  [poolKinds]int32 // in its pools; valid if pool.holds says so
	prev, next *registration    // in a bucket of the wheel
	origin     Origin           // where it counts
	place      *Place           // in the order, if there is one
}

// namespace exists while it has members.
type namespace struct {
	name    string
	pool    pool
	members int // registrations, including those that the pool has dropped
}

func newNamespace(name string) *namespace {
	return &namespace{name: strings.Clone(name), pool: pool{kind: ofNamespace}}
}
