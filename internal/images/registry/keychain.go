package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"thinctl/fault"
)

// keychain reads the config file of Docker or Podman. If REGISTRY_AUTH_FILE is set, it
// reads only that file, as skopeo and podman do. A file or helper that fails is a warning,
// as in Docker, since most images need no credentials.
type keychain struct {
	warn fault.Warn
	wait time.Duration // for a credential helper
}

var _ authn.ContextKeychain = keychain{}

// Resolve implements authn.Keychain.
func (k keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain.
func (k keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	file := k.file()
	for _, key := range keys(target) {
		found, err := k.get(ctx, file, key, target)
		if err != nil {
			return nil, err
		}
		credentials := authn.AuthConfig{
			Username: found.Username, Password: found.Password, Auth: found.Auth,
			IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
		}
		if credentials != (authn.AuthConfig{}) {
			return authn.FromConfig(credentials), nil
		}
	}
	return authn.Anonymous, nil
}

// file returns the first config file that exists, as far as it can be read.
func (k keychain) file() *configfile.ConfigFile {
	for _, path := range paths() {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) && path != os.Getenv("REGISTRY_AUTH_FILE") {
			continue
		}
		if err != nil {
			k.warn.Add("", "no credentials are read: %v", err)
			break
		}
		defer f.Close()
		file, err := config.LoadFromReader(f)
		if err != nil {
			k.warn.Add("", "not all credentials are read: %s: %v", path, err)
		}
		return file
	}
	return configfile.New("")
}

func paths() []string {
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		return []string{path}
	}
	home, _ := os.UserHomeDir()
	docker, settings := os.Getenv("DOCKER_CONFIG"), os.Getenv("XDG_CONFIG_HOME")
	if docker == "" {
		docker = filepath.Join(home, ".docker")
	}
	if settings == "" {
		settings = filepath.Join(home, ".config")
	}
	all := []string{filepath.Join(docker, "config.json")}
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); runtime != "" {
		all = append(all, filepath.Join(runtime, "containers/auth.json"))
	}
	return append(all, filepath.Join(settings, "containers/auth.json"))
}

// get returns the credentials for a key from the file or its helper.
func (k keychain) get(
	ctx context.Context, file *configfile.ConfigFile, key string, target authn.Resource,
) (types.AuthConfig, error) {
	host := target.RegistryStr()
	whole := key == host || key == authn.DefaultAuthKey
	helper := file.CredentialHelpers[key]
	if helper == "" && whole {
		helper = file.CredentialsStore
	}
	switch {
	case helper == "" && !whole: // no entry of another form may stand in for it
		return file.AuthConfigs[key], nil
	case helper == "":
		return file.GetAuthConfig(key)
	}
	found, err := k.ask(ctx, file, key)
	if cause := context.Cause(ctx); cause != nil {
		return found, cause
	}
	if err != nil {
		k.warn.Add(
			"", "the credential helper docker-credential-%s has no credentials for %s: %s",
			helper, host, plainText(err.Error()),
		)
	}
	return found, nil
}

// errNoAnswer is the error for a helper that waits, for example for an unlocked keyring.
var errNoAnswer = errors.New("it did not exit in time")

// ask runs a credential helper. If it fails, the file may have credentials.
func (k keychain) ask(ctx context.Context, file *configfile.ConfigFile, key string) (types.AuthConfig, error) {
	type answer struct {
		found types.AuthConfig
		err   error
	}
	asked := make(chan answer, 1)
	go func() {
		found, err := file.GetAuthConfig(key)
		asked <- answer{found, err}
	}()
	timer := time.NewTimer(k.wait)
	defer timer.Stop()
	select {
	case got := <-asked:
		return got.found, got.err
	case <-timer.C:
		return file.AuthConfigs[key], errNoAnswer
	case <-ctx.Done():
		return types.AuthConfig{}, ctx.Err()
	}
}

// keys returns the possible names of a registry's entry, the most specific first: Podman
// has entries for parts of a registry.
func keys(target authn.Resource) []string {
	registry := target.RegistryStr()
	var all []string
	for key := target.String(); key != registry && strings.Contains(key, "/"); key = path.Dir(key) {
		all = append(all, key)
		if rest, hub := strings.CutPrefix(key, name.DefaultRegistry+"/"); hub {
			all = append(all, "docker.io/"+rest)
		}
	}
	if registry == name.DefaultRegistry {
		return append(all, authn.DefaultAuthKey, "docker.io", registry)
	}
	return append(all, registry)
}
