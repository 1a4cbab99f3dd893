package wire

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// newMessage returns an empty message of a protocol, as the protobuf library has it: of
// the generated code, or one that is described by the protocol's table.
func newMessage(t testing.TB, d *Dialect) protoreflect.Message {
	t.Helper()
	if d == Waku {
		return new(pb.Message).ProtoReflect()
	}
	described, ok := descriptors[d]
	if !ok {
		file, err := protodesc.NewFile(describe(d), nil)
		require.NoError(t, err)
		described = file.Messages().ByName("Message")
		descriptors[d] = described
	}
	return dynamicpb.NewMessage(described)
}

// descriptors are the messages that were described before.
var descriptors = make(map[*Dialect]protoreflect.MessageDescriptor)

// Types of fields.
const (
	typeText    = descriptorpb.FieldDescriptorProto_TYPE_STRING
	typeBytes   = descriptorpb.FieldDescriptorProto_TYPE_BYTES
	typeEnum    = descriptorpb.FieldDescriptorProto_TYPE_ENUM
	typeMessage = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
)

// describe returns a protocol's messages as a .proto file. It is in proto3 even for a
// protocol in proto2, because proto3 checks that texts are UTF-8, as this package does.
func describe(d *Dialect) *descriptorpb.FileDescriptorProto {
	integer := descriptorpb.FieldDescriptorProto_TYPE_INT64
	if d.unsigned {
		integer = descriptorpb.FieldDescriptorProto_TYPE_UINT64
	}
	types := &descriptorpb.EnumDescriptorProto{Name: new("MessageType")}
	if d.kind(0) == Unknown { // an enumeration begins with 0
		types.Value = append(types.Value, &descriptorpb.EnumValueDescriptorProto{Name: new("UNKNOWN"), Number: new(int32(0))})
	}
	for _, k := range []Kind{Register, RegisterResponse, Unregister, Discover, DiscoverResponse} {
		if d.has(k) {
			types.Value = append(types.Value, &descriptorpb.EnumValueDescriptorProto{
				Name: new(k.String()), Number: new(int32(d.parts[k].typ)),
			})
		}
	}
	registrations := describeField("registrations", d.discoverAnswer.registrations, typeMessage, "Register")
	registrations.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	return &descriptorpb.FileDescriptorProto{
		Name:    new(string(d.ID[1:]) + ".proto"),
		Package: new("test"),
		Syntax:  new("proto3"),
		EnumType: []*descriptorpb.EnumDescriptorProto{types, {
			Name:  new("Status"),
			Value: []*descriptorpb.EnumValueDescriptorProto{{Name: new("OK"), Number: new(int32(0))}},
		}},
		MessageType: []*descriptorpb.DescriptorProto{
			describeMessage("Message",
				describeField("type", d.typ, typeEnum, "MessageType"),
				describeField("register", d.parts[Register].field, typeMessage, "Register"),
				describeField("registerResponse", d.parts[RegisterResponse].field, typeMessage, "RegisterResponse"),
				describeField("unregister", d.parts[Unregister].field, typeMessage, "Unregister"),
				describeField("discover", d.parts[Discover].field, typeMessage, "Discover"),
				describeField("discoverResponse", d.parts[DiscoverResponse].field, typeMessage, "DiscoverResponse")),
			describeMessage("Register",
				describeField("ns", d.register.namespace, typeText, ""),
				describeField("signedPeerRecord", d.register.envelope, typeBytes, ""),
				describeField("ttl", d.register.ttl, integer, "")),
			describeMessage("RegisterResponse",
				describeField("status", d.registerAnswer.status, typeEnum, "Status"),
				describeField("statusText", d.registerAnswer.text, typeText, ""),
				describeField("ttl", d.registerAnswer.ttl, integer, "")),
			describeMessage("Unregister",
				describeField("ns", d.unregister.namespace, typeText, "")),
			describeMessage("Discover",
				describeField("ns", d.discover.namespace, typeText, ""),
				describeField("limit", d.discover.limit, integer, ""),
				describeField("cookie", d.discover.cookie, typeBytes, "")),
			describeMessage("DiscoverResponse",
				registrations,
				describeField("cookie", d.discoverAnswer.cookie, typeBytes, ""),
				describeField("status", d.discoverAnswer.status, typeEnum, "Status"),
				describeField("statusText", d.discoverAnswer.text, typeText, "")),
		},
	}
}

func describeMessage(name string, fields ...*descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
	return &descriptorpb.DescriptorProto{Name: new(name), Field: fields}
}

func describeField(name string, n number, typ descriptorpb.FieldDescriptorProto_Type, of string) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name:   new(name),
		Number: new(int32(n)),
		Label:  descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		Type:   typ.Enum(),
	}
	if of != "" {
		f.TypeName = new(".test." + of)
	}
	return f
}

// get returns a field of a message, which is zero if the message has no such field.
func get(m protoreflect.Message, name string) protoreflect.Value {
	f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if f == nil {
		return protoreflect.Value{}
	}
	return m.Get(f)
}

func getInteger(d *Dialect, m protoreflect.Message, name string) int64 {
	if d.unsigned {
		return d.integer(get(m, name).Uint())
	}
	return get(m, name).Int()
}

func getBytes(m protoreflect.Message, name string) []byte {
	if v := get(m, name); v.IsValid() && len(v.Bytes()) > 0 {
		return v.Bytes()
	}
	return nil
}

func getKind(m protoreflect.Message) Kind {
	f := m.Descriptor().Fields().ByName("type")
	if v := f.Enum().Values().ByNumber(m.Get(f).Enum()); v != nil {
		for k := range Kind(kinds) {
			if k.String() == string(v.Name()) {
				return k
			}
		}
	}
	return Unknown
}

// inRequest and inAnswer are the messages that the parsers look into, each with those in it.
var (
	inRequest = within{"register": nil, "discover": nil, "unregister": nil}
	inAnswer  = within{"registerResponse": nil, "discoverResponse": within{"registrations": nil}}
)

type within map[protoreflect.Name]within

var errOracleGroup = errors.New("group")

// decode decodes a message, without the parts that a parser does not look into, and
// refuses groups.
func decode(m protoreflect.Message, b []byte, parsed within) error {
	var looked []byte
	for rest := b; len(rest) > 0; {
		num, typ, n := protowire.ConsumeField(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		f := m.Descriptor().Fields().ByNumber(num)
		if f == nil || f.Kind() != protoreflect.MessageKind || typ != protowire.BytesType || hasPart(parsed, f.Name()) {
			looked = append(looked, rest[:n]...)
		}
		rest = rest[n:]
	}
	if err := proto.Unmarshal(looked, m.Interface()); err != nil {
		return err
	}
	return refuseGroups(m.Descriptor(), looked, parsed)
}

func hasPart(parsed within, name protoreflect.Name) bool {
	_, ok := parsed[name]
	return ok
}

// refuseGroups returns an error if there is a group in a valid message, or in those in it.
func refuseGroups(d protoreflect.MessageDescriptor, b []byte, parsed within) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		f := d.Fields().ByNumber(num)
		switch {
		case typ == protowire.StartGroupType:
			return errOracleGroup
		case typ == protowire.BytesType && f != nil && hasPart(parsed, f.Name()):
			_, _, tag := protowire.ConsumeTag(b)
			value, _ := protowire.ConsumeBytes(b[tag:])
			if err := refuseGroups(f.Message(), value, parsed[f.Name()]); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}

func wantRegistration(d *Dialect, m protoreflect.Message) Registration {
	return Registration{
		Namespace: []byte(get(m, "ns").String()),
		Envelope:  getBytes(m, "signedPeerRecord"),
		TTL:       getInteger(d, m, "ttl"),
	}
}
