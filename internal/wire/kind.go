package wire

// Kind is what a message is, whatever number its protocol has for that.
type Kind uint8

// The kinds of messages.
const (
	Unknown Kind = iota // of a type that the protocol does not define
	Register
	RegisterResponse
	Unregister
	Discover
	DiscoverResponse

	kinds = iota
)

var kindNames = [kinds]string{
	Unknown:          "UNKNOWN",
	Register:         "REGISTER",
	RegisterResponse: "REGISTER_RESPONSE",
	Unregister:       "UNREGISTER",
	Discover:         "DISCOVER",
	DiscoverResponse: "DISCOVER_RESPONSE",
}

// String returns the name in protocol definitions, such as REGISTER.
func (k Kind) String() string {
	if k >= kinds {
		k = Unknown
	}
	return kindNames[k]
}
