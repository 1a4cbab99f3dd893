// Package pb holds the protobuf messages of /vac/waku/rendezvous/0.0.1, as
// generated from rendezvous.proto. Programs rarely need it: package rendezvous
// speaks the protocol for them.
package pb

//go:generate go -C ../tools run ./pbgen -proto ../pb/rendezvous.proto -as vac/waku/rendezvous/rendezvous.proto -out ../pb/rendezvous.pb.go
