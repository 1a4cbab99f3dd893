package main

// Values of flags from environment variables and from a configuration file.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v3"
	"go.yaml.in/yaml/v3"
)

// configFile is the file that --config names. Its keys are names of flags. A key may
// be a flag of another command, so that one file can serve all commands.
type configFile struct {
	flags []cli.Flag // all flags of all commands that it may set

	path   string // set when --config is parsed
	loaded bool
	values map[string]string // by name of flag
	err    error             // why the file could not be loaded
}

// bind adds the flag --config to a command, and lets the command's other flags take
// their values from the environment and from the file.
func (c *configFile) bind(cmd *cli.Command) {
	config := &cli.StringFlag{
		Name:        "config",
		Usage:       "read flags from this YAML `FILE`, such as: http: 127.0.0.1:8080",
		Sources:     cli.EnvVars(envName("config")),
		Destination: &c.path,
		TakesFile:   true,
	}
	for _, f := range cmd.Flags {
		c.addSources(f)
	}
	// --config goes first: cli resolves flags in order, and the others need the path.
	cmd.Flags = append([]cli.Flag{config}, cmd.Flags...)
	cmd.Before = func(ctx context.Context, cmd *cli.Command) (context.Context, error) {
		c.load()
		if cmd.Name != "serve" { // which has a log
			warnOfVariables(cmd)
		}
		return ctx, c.err
	}
}

func (c *configFile) addSources(f cli.Flag) {
	name := f.Names()[0]
	sources := cli.NewValueSourceChain(cli.EnvVar(envName(name)), &fileValue{c, name})
	switch f := f.(type) {
	case *cli.StringFlag:
		f.Sources = sources
	case *cli.StringSliceFlag:
		f.Sources = sources
	case *cli.Int64Flag:
		f.Sources = sources
	case *cli.IntFlag:
		f.Sources = sources
	case *cli.FloatFlag:
		f.Sources = sources
	case *cli.BoolFlag:
		f.Sources = sources
	case *cli.DurationFlag:
		f.Sources = sources
	}
}

// load reads the file on its first call.
func (c *configFile) load() {
	if c.loaded || c.path == "" {
		return
	}
	c.loaded = true
	if err := c.read(); err != nil {
		c.err = usagef("configuration file %s: %w", c.path, err)
	}
}

func (c *configFile) read() error {
	path, err := userPath(c.path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return withoutPath(err)
	}
	defer f.Close()
	var content map[string]any
	if err := yaml.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&content); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("not a YAML mapping of keys to values: %w", err)
	}
	c.values = make(map[string]string, len(content))
	for key, value := range content {
		if !hasFlag(c.flags, key) {
			return fmt.Errorf("unknown key %q: no flag has this name; the nearest is %q", key, nearestFlag(c.flags, key))
		}
		if c.values[key], err = flagValue(value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// flagValue returns a YAML value in the form in which a command line gives it.
func flagValue(value any) (string, error) {
	switch value := value.(type) {
	case []any:
		var values []string
		for _, v := range value {
			s, err := flagValue(v)
			if err != nil {
				return "", err
			}
			values = append(values, s)
		}
		return strings.Join(values, ","), nil
	case map[string]any:
		return "", errors.New("want a value or a list, not a mapping")
	case nil:
		return "", nil
	default:
		return fmt.Sprint(value), nil
	}
}

// fileValue is a [cli.ValueSource]: the value that the file has for a flag.
type fileValue struct {
	file *configFile
	key  string
}

func (v *fileValue) Lookup() (string, bool) {
	v.file.load()
	value, ok := v.file.values[v.key]
	return value, ok
}

func (v *fileValue) String() string   { return "configuration file " + v.file.path }
func (v *fileValue) GoString() string { return v.String() }
