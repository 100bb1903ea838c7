package registry

import (
	"os"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// keychain reads Docker's config file, or where REGISTRY_AUTH_FILE is set that
// one alone, as skopeo and podman do.
type keychain struct{}

func (keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	path := os.Getenv("REGISTRY_AUTH_FILE")
	if path == "" {
		return authn.DefaultKeychain.Resolve(target)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := config.LoadFromReader(f)
	if err != nil {
		return nil, err
	}
	for _, key := range keys(target) {
		found, err := file.GetAuthConfig(key)
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

// keys are what a registry's entry may be called, the most exact first.
func keys(target authn.Resource) []string {
	if target.RegistryStr() == name.DefaultRegistry {
		return []string{target.String(), authn.DefaultAuthKey, "docker.io"}
	}
	return []string{target.String(), target.RegistryStr()}
}
