package grpc

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"ecsagent/agent/resource/gmsa/fetcher"
)

// messages are those of credentials-fetcher's published definition, with the numbers of
// their fields: the position. A star is for a field that comes more than once.
var messages = map[string][]string{
	"CreateKerberosLeaseRequest":                 {"*credspec_contents"},
	"CreateKerberosLeaseResponse":                {"lease_id", "*created_kerberos_file_paths"},
	"CreateNonDomainJoinedKerberosLeaseRequest":  {"*credspec_contents", "username", "password", "domain"},
	"CreateNonDomainJoinedKerberosLeaseResponse": {"lease_id", "*created_kerberos_file_paths"},
	"RenewNonDomainJoinedKerberosLeaseRequest":   {"username", "password", "domain"},
	"RenewNonDomainJoinedKerberosLeaseResponse":  {"*renewed_kerberos_file_paths"},
	"DeleteKerberosLeaseRequest":                 {"lease_id"},
	"DeleteKerberosLeaseResponse":                {"lease_id", "*deleted_kerberos_file_paths"},
	"HealthCheckRequest":                         {"service"},
	"HealthCheckResponse":                        {"status"},
}

// calls are those of its service, with the messages that they take and give.
var calls = map[string][2]string{
	"AddKerberosLease":                  {"CreateKerberosLeaseRequest", "CreateKerberosLeaseResponse"},
	"AddNonDomainJoinedKerberosLease":   {"CreateNonDomainJoinedKerberosLeaseRequest", "CreateNonDomainJoinedKerberosLeaseResponse"},
	"RenewNonDomainJoinedKerberosLease": {"RenewNonDomainJoinedKerberosLeaseRequest", "RenewNonDomainJoinedKerberosLeaseResponse"},
	"DeleteKerberosLease":               {"DeleteKerberosLeaseRequest", "DeleteKerberosLeaseResponse"},
	"HealthCheck":                       {"HealthCheckRequest", "HealthCheckResponse"},
}

// definition makes a descriptor of the messages.
func definition(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("credentialsfetcher.proto"), Package: proto.String("credentialsfetcher"), Syntax: proto.String("proto3")}
	for name, fields := range messages {
		m := &descriptorpb.DescriptorProto{Name: proto.String(name)}
		for i, f := range fields {
			label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
			if f[0] == '*' {
				label, f = descriptorpb.FieldDescriptorProto_LABEL_REPEATED, f[1:]
			}
			m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
				Name: proto.String(f), Number: proto.Int32(int32(i + 1)), Label: &label, Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			})
		}
		file.MessageType = append(file.MessageType, m)
	}
	d, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// answer is what the server says; text reads a field of a message.
type answer func(call string, in protoreflect.Message, out protoreflect.Message) error

func text(m protoreflect.Message, field string) string {
	return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(field))).String()
}

func set(m protoreflect.Message, field string, values ...string) {
	f := m.Descriptor().Fields().ByName(protoreflect.Name(field))
	if !f.IsList() {
		m.Set(f, protoreflect.ValueOfString(values[0]))
		return
	}
	list := m.Mutable(f).List()
	for _, v := range values {
		list.Append(protoreflect.ValueOfString(v))
	}
}

// serve runs a server of gRPC's module and returns its socket.
func serve(t *testing.T, says answer) string {
	t.Helper()
	d := definition(t)
	desc := &grpc.ServiceDesc{ServiceName: "credentialsfetcher.CredentialsFetcherService", HandlerType: (*any)(nil)}
	for name, types := range calls {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := dynamicpb.NewMessage(d.Messages().ByName(protoreflect.Name(types[0])))
			out := dynamicpb.NewMessage(d.Messages().ByName(protoreflect.Name(types[1])))
			if err := decode(in); err != nil {
				return nil, err
			}
			if len(in.GetUnknown()) > 0 {
				return nil, status.Error(codes.InvalidArgument, "fields that the message does not have")
			}
			if _, ok := ctx.Deadline(); !ok {
				return nil, status.Error(codes.InvalidArgument, "no deadline")
			}
			return out, says(name, in, out)
		}})
	}
	s := grpc.NewServer()
	s.RegisterService(desc, struct{}{})
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return socket
}

// TestWire: gRPC's own server reads what the agent's client sends, and the other way.
func TestWire(t *testing.T) {
	var seen []string
	client := fetcher.New(serve(t, func(call string, in, out protoreflect.Message) error {
		seen = append(seen, call)
		switch call {
		case "AddKerberosLease":
			specs := in.Get(in.Descriptor().Fields().ByName("credspec_contents")).List()
			if specs.Len() != 2 || specs.Get(0).String() != `{"ä":1}` || specs.Get(1).String() != "" {
				return status.Errorf(codes.InvalidArgument, "specs %v", in)
			}
			set(out, "lease_id", "lease")
			set(out, "created_kerberos_file_paths", "/krb/lease/a", "/krb/lease/b")
		case "AddNonDomainJoinedKerberosLease":
			if text(in, "username")+text(in, "password")+text(in, "domain") != "svcpass wörd%contoso.com" {
				return status.Errorf(codes.InvalidArgument, "account %v", in)
			}
			set(out, "lease_id", "second")
		case "RenewNonDomainJoinedKerberosLease":
			return status.Errorf(codes.Internal, "no ticket for %s, 100%%", text(in, "password"))
		case "DeleteKerberosLease":
			if text(in, "lease_id") != "lease" {
				return status.Error(codes.NotFound, "no such lease: "+text(in, "lease_id"))
			}
		case "HealthCheck":
			set(out, "status", "OK")
		}
		return nil
	}))
	client.Pause = time.Millisecond
	if err := client.Check(t.Context()); err != nil {
		t.Error(err)
	}
	lease, err := client.Add(t.Context(), []string{`{"ä":1}`, ""})
	if err != nil || lease.ID != "lease" || len(lease.Tickets) != 2 || lease.Tickets[1] != "/krb/lease/b" {
		t.Errorf("%+v, %v", lease, err)
	}
	as := fetcher.Account{User: "svc", Password: "pass wörd%", Domain: "contoso.com"}
	if lease, err = client.AddAs(t.Context(), []string{"{}"}, as); err != nil || lease.ID != "second" || len(lease.Tickets) != 0 {
		t.Errorf("%+v, %v", lease, err)
	}
	var refused *fetcher.Status
	if err := client.Renew(t.Context(), as); !errors.As(err, &refused) || refused.Code != int(codes.Internal) || refused.Message != "no ticket for [redacted], 100%" {
		t.Error(err)
	}
	if err := client.Delete(t.Context(), "lease"); err != nil {
		t.Error(err)
	}
	if err := client.Delete(t.Context(), "ä 1"); !errors.As(err, &refused) || refused.Message != "no such lease: ä 1" {
		t.Error(err)
	}
	if len(seen) != 8 {
		t.Errorf("calls %q", seen)
	}
}

// TestUnknownCall: a daemon of before a call existed still answers.
func TestUnknownCall(t *testing.T) {
	delete(calls, "HealthCheck")
	client := fetcher.New(serve(t, func(string, protoreflect.Message, protoreflect.Message) error { return nil }))
	if err := client.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
