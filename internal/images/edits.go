package images

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"thinctl/fault"

	"github.com/docker/go-connections/nat"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// edits are instructions that change a config, in order. Each is parsed whenever it is
// applied, since the expansion of variables changes the parsed form.
type edits []string

// allowed lists the instructions of docker commit.
var allowed = []string{"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "USER", "VOLUME", "WORKDIR"}

// parseChanges parses instructions in the form of a Dockerfile, and checks them by
// applying them to an empty config.
func parseChanges(lines []string) (edits, error) {
	return lines, edits(lines).apply(&v1.Config{})
}

func (e edits) apply(config *v1.Config) error {
	for _, line := range e {
		if err := edit(line, config); err != nil {
			return &Error{Op: "read", Object: fmt.Sprintf("change %q", line), Kind: fault.Invalid, Err: err,
				Remedy: "use one of these instructions as in a Dockerfile: " + strings.Join(allowed, ", ")}
		}
	}
	return nil
}

func edit(line string, config *v1.Config) error {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !slices.Contains(allowed, strings.ToUpper(word)) {
		return fmt.Errorf("%s is not an instruction for a config", word)
	}
	parsed, err := parser.Parse(strings.NewReader(line))
	if err != nil {
		return err
	}
	if n := len(parsed.AST.Children); n != 1 {
		return fmt.Errorf("got %d instructions, want one", n)
	}
	command, err := instructions.ParseCommand(parsed.AST.Children[0])
	if err != nil {
		return err
	}
	if words, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		lex, env := shell.NewLex(parsed.EscapeToken), shell.EnvsFromSlice(config.Env)
		err := words.Expand(func(word string) (string, error) {
			word, _, err := lex.ProcessWord(word, env)
			return word, err
		})
		if err != nil {
			return err
		}
	}
	return apply(command, config)
}

func apply(command instructions.Command, config *v1.Config) error {
	switch c := command.(type) {
	case *instructions.CmdCommand:
		config.Cmd = line(c.ShellDependantCmdLine, config.Shell)
	case *instructions.EntrypointCommand:
		config.Entrypoint = line(c.ShellDependantCmdLine, config.Shell)
		config.Cmd = nil
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			config.Env = setEnv(config.Env, pair.Key, pair.Value)
		}
	case *instructions.ExposeCommand:
		return expose(config, c.Ports)
	case *instructions.LabelCommand:
		for _, pair := range c.Labels {
			put(&config.Labels, pair.Key, pair.Value)
		}
	case *instructions.OnbuildCommand:
		config.OnBuild = append(slices.Clone(config.OnBuild), c.Expression)
	case *instructions.UserCommand:
		config.User = c.User
	case *instructions.VolumeCommand:
		for _, volume := range c.Volumes {
			put(&config.Volumes, volume, struct{}{})
		}
	case *instructions.WorkdirCommand:
		if path.IsAbs(c.Path) {
			config.WorkingDir = path.Clean(c.Path)
		} else {
			config.WorkingDir = path.Join("/", config.WorkingDir, c.Path)
		}
	default:
		return fmt.Errorf("%s is not an instruction for a config", command.Name())
	}
	return nil
}

func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// line returns a command line for a config: with a shell in front for the shell form, nil
// for an empty one.
func line(c instructions.ShellDependantCmdLine, with []string) []string {
	if len(c.CmdLine) == 0 {
		return nil
	}
	if !c.PrependShell {
		return slices.Clone([]string(c.CmdLine))
	}
	if len(with) == 0 {
		with = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(with), c.CmdLine...)
}

func setEnv(env []string, key, value string) []string {
	env = slices.Clone(env)
	for i, entry := range env {
		if name, _, _ := strings.Cut(entry, "="); name == key {
			env[i] = key + "=" + value
			return env
		}
	}
	return append(env, key+"="+value)
}

func expose(config *v1.Config, ports []string) error {
	set, _, err := nat.ParsePortSpecs(ports)
	if err != nil {
		return err
	}
	for port := range set {
		put(&config.ExposedPorts, string(port), struct{}{})
	}
	return nil
}
