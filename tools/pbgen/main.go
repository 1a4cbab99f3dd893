// Command pbgen compiles one .proto file to Go, with no protoc to install.
//
// It exists for one reason more: the path under which a file is registered in
// every program that links it must be unique, so it is given by -as and need
// not be where the file lies.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	src := flag.String("proto", "", "the .proto `file` to compile")
	as := flag.String("as", "", "the `path` to register it under")
	out := flag.String("out", "", "the Go `file` to write")
	flag.Parse()
	if err := run(*src, *as, *out); err != nil {
		fmt.Fprintln(os.Stderr, "pbgen:", err)
		os.Exit(1)
	}
}

func run(src, as, out string) error {
	text, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	code, err := generate(text, as)
	if err != nil {
		return fmt.Errorf("compile %s: %w", src, err)
	}
	return os.WriteFile(out, code, 0o644)
}

func generate(text []byte, path string) ([]byte, error) {
	compiler := protocompile.Compiler{
		Resolver: &protocompile.SourceResolver{
			Accessor: func(name string) (io.ReadCloser, error) {
				if name != path {
					return nil, os.ErrNotExist
				}
				return io.NopCloser(bytes.NewReader(text)), nil
			},
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), path)
	if err != nil {
		return nil, err
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{path},
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])},
		Parameter:      new("paths=source_relative"),
	})
	if err != nil {
		return nil, err
	}
	internal_gengo.GenerateFile(plugin, plugin.FilesByPath[path])
	resp := plugin.Response()
	if resp.GetError() != "" {
		return nil, fmt.Errorf("generate: %s", resp.GetError())
	}
	return []byte(resp.GetFile()[0].GetContent()), nil
}
