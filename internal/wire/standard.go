package wire

// Standard is the protocol /rendezvous/1.0.0 of libp2p's specification. It is in proto2, and
// some implementations require types, statuses, TTLs and cookies, so these are written even if
// they are zero. Some leave out zeros themselves: a message without a type is a REGISTER.
var Standard = &Dialect{
	ID:           "/rendezvous/1.0.0",
	MaxRequest:   16 << 10,
	MaxAnswer:    1 << 20, // what rust-libp2p reads
	MaxNamespace: 255,
	numbers: numbers{
		// MessageType: REGISTER=0 REGISTER_RESPONSE=1 UNREGISTER=2 DISCOVER=3 DISCOVER_RESPONSE=4
		// Message: 1 type · 2 register · 3 registerResponse · 4 unregister · 5 discover · 6 discoverResponse
		typ: 1,
		parts: [kinds]part{
			Register:         {typ: 0, field: 2},
			RegisterResponse: {typ: 1, field: 3},
			Unregister:       {typ: 2, field: 4},
			Discover:         {typ: 3, field: 5},
			DiscoverResponse: {typ: 4, field: 6},
		},
		// Register: 1 ns string · 2 signedPeerRecord bytes · 3 ttl uint64
		register: registrationNumbers{namespace: 1, envelope: 2, ttl: 3},
		// RegisterResponse: 1 status · 2 statusText string · 3 ttl uint64
		registerAnswer: registerAnswerNumbers{statusNumbers: statusNumbers{status: 1, text: 2}, ttl: 3},
		// Unregister: 1 ns string · 2 id bytes, which is not read
		unregister: unregisterNumbers{namespace: 1},
		// Discover: 1 ns string · 2 limit uint64 · 3 cookie bytes
		discover: queryNumbers{namespace: 1, limit: 2, cookie: 3},
		// DiscoverResponse: 1 repeated Register registrations · 2 cookie bytes · 3 status · 4 statusText string
		discoverAnswer: discoverAnswerNumbers{registrations: 1, cookie: 2, statusNumbers: statusNumbers{status: 3, text: 4}},
		unsigned:       true,
		writeZeros:     true,
	},
}
