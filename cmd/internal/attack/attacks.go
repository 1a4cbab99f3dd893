package main

// The table of attacks.

import (
	"crypto/elliptic"
	"time"
)

func onePeer(scale) int       { return 1 }
func noPeers(scale) int       { return 0 }
func crowd(s scale) int       { return s.crowd }
func idlePeers(s scale) int   { return max(2, s.idleStreams/100) }
func pairOfPeers(s scale) int { return min(2, s.peers) }

var attacks = []attack{
	// Streams.
	{name: "silent streams", peers: idlePeers, run: leaveIdle(nil)},
	{name: "half frames", peers: idlePeers, run: leaveIdle([]byte("\x80\x02half"))},
	{name: "16 KiB announced, none sent", peers: idlePeers, run: leaveIdle([]byte("\x80\x80\x01"))},
	{name: "streams of one identity", peers: onePeer, run: leaveIdle([]byte{1})},
	{name: "streams half-closed at once", run: churnStreams(closeWrite)},
	{name: "streams reset at once", run: churnStreams(resetStream)},
	{name: "connections opened and closed", peers: noPeers, run: churnConnections},
	{name: "a byte every 50 ms", run: trickle},
	{name: "requests pipelined, answers not read", run: pipeline},

	// Frames.
	{name: "4 GiB announced", run: repeat(fixed([]byte("\x80\x80\x80\x80\x10")))},
	{name: "a length that is not minimal", run: repeat(fixed([]byte("\x81\x80\x80\x80\x00")))},
	{name: "empty frames", run: repeat(fixed(make([]byte, 100)))},
	{name: "16 KiB of random bytes", run: repeat(randomFrame)},
	{name: "16 KiB of group tags", run: repeat(fixed(groupFrame(false)))},
	{name: "16 KiB of groups, closed", run: repeat(fixed(groupFrame(true)))},
	{name: "a body repeated 5000 times", run: repeat(fixed(repeatedBody()))},
	{name: "answers as requests", run: repeat(fixed(answerFrame()))},
	{name: "unknown types", run: repeat(fixed([]byte{2, 0x08, 0x63}))},

	// REGISTER.
	{name: "REGISTER flood, one identity", peers: onePeer, run: repeat(newRecord("flood"))},
	{name: "REGISTER flood, one address", peers: noPeers, from: oneAddress, run: manyIdentities},
	{name: "REGISTER flood, one /48", peers: noPeers, from: one48, run: manyIdentities},
	{name: "namespaces used once", run: repeat(usedOnce)},
	{name: "maximal namespaces", run: repeat(maximalNamespace)},
	{name: "namespaces too long", run: repeat(longNamespace)},
	{name: "refresh storm", run: repeat(refresh)},
	{name: "TTLs shortened and extended", run: repeat(changingTTL)},
	{name: "TTLs out of range", run: repeat(invalidTTL)},
	{name: "registrations of a second", run: repeat(shortLived)},
	{name: "maximal addresses", run: repeat(maximalRecord)},
	{name: "records without addresses", run: repeat(emptyRecord)},
	{name: "padded records", run: repeat(paddedRecord)},
	{name: "groups in the envelope", run: repeat(groupEnvelope)},
	{name: "groups in the record", run: repeat(groupRecord)},
	{name: "invalid signatures", run: repeat(invalidSignature)},
	{name: "others' records", run: repeat(stolenRecord)},
	{name: "others' records, P-521", run: repeat(stolenP521)},
	{name: "P-521 records", peers: pairOfPeers, key: newECDSA(elliptic.P521()), run: repeat(newRecord("p521"))},
	{name: "P-521 records, one address", peers: crowd, from: oneAddress, key: newECDSA(elliptic.P521()), run: repeat(newRecord("p521"))},
	{name: "RSA records", peers: pairOfPeers, key: newRSA, run: repeat(newRecord("rsa"))},
	{name: "maximal and skewed Seq", run: repeat(skewedSeq)},
	{name: "neighbours in debt", peers: crowd, from: oneAddress, run: indebtNeighbour},

	// DISCOVER.
	{name: "DISCOVER of nothing", run: repeat(fixed(discoverRequest("nobody", 0)))},
	{name: "DISCOVER 1000, one identity", peers: onePeer, prepare: fillFull, run: repeat(fixed(discoverRequest(full, 1000)))},
	{name: "DISCOVER 1000, one address", peers: crowd, from: oneAddress, prepare: fillFull, run: repeat(fixed(discoverRequest(full, 1000)))},
	{name: "DISCOVER across all namespaces", prepare: fillFull, run: repeat(fixed(discoverRequest("", 1000)))},
	{name: "DISCOVER 1000, reset after 20 ms", prepare: fillFull, run: resetAfter(20 * time.Millisecond)},
	{name: "DISCOVER, answers not read", prepare: fillFull, run: readNothing},
	{name: "DISCOVER, answers not read, one identity", peers: onePeer, prepare: fillFull, run: readNothing},
	{name: "DISCOVER, answers read slowly", prepare: fillFull, run: readSlowly},
	{name: "DISCOVER after a mass expiry", prepare: fillExpired, run: afterExpiry},
	{name: "at maxmemory", redis: true, run: atMaxMemory},

	// The standard protocol.
	{name: "registrations of 72 h, new namespaces", run: cleanUp(overStandard(lastingOnce))},
	{name: "registrations of 72 h, a million", run: cleanUp(fillLasting)},
	{name: "rubbish cookies", run: withPages(overStandard(rubbishCookie))},
	{name: "pages in a loop", run: withPages(overStandard(fixed(standardDiscover("", 0, nil))))},
	{name: "UNREGISTER flood", run: floodUnregister},

	{name: "a hostile point", peers: noPeers, run: runHostilePoint},
}
