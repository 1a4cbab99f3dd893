package wire

// Waku is the protocol /vac/waku/rendezvous/0.0.1. Its messages are those of
// pb/rendezvous.proto, in proto3.
var Waku = &Dialect{
	ID:           "/vac/waku/rendezvous/0.0.1",
	MaxRequest:   16 << 10,
	MaxAnswer:    4 << 20,
	MaxNamespace: 256,
	numbers: numbers{
		// MessageType: REGISTER=0 REGISTER_RESPONSE=1 DISCOVER=2 DISCOVER_RESPONSE=3
		// Message: 1 type · 2 register · 3 registerResponse · 4 discover · 5 discoverResponse
		typ: 1,
		parts: [kinds]part{
			Register:         {typ: 0, field: 2},
			RegisterResponse: {typ: 1, field: 3},
			Discover:         {typ: 2, field: 4},
			DiscoverResponse: {typ: 3, field: 5},
		},
		// Register: 1 ns string · 2 signedPeerRecord bytes · 3 ttl int64
		register: registrationNumbers{namespace: 1, envelope: 2, ttl: 3},
		// RegisterResponse: 1 status · 2 statusText string · 3 ttl int64
		registerAnswer: registerAnswerNumbers{statusNumbers: statusNumbers{status: 1, text: 2}, ttl: 3},
		// Discover: 1 ns string · 2 limit int64
		discover: queryNumbers{namespace: 1, limit: 2},
		// DiscoverResponse: 1 repeated Register registrations · 3 status · 4 statusText string
		discoverAnswer: discoverAnswerNumbers{registrations: 1, statusNumbers: statusNumbers{status: 3, text: 4}},
	},
}
