package programs

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// Registry is docker-registry on the loopback interface.
type Registry struct {
	*daemon
	Address string // host:port
}

// StartRegistry starts one without TLS that keeps its blobs below dir.
func StartRegistry(ctx context.Context, dir string) (*Registry, error) {
	r := &Registry{Address: "127.0.0.1:5000"}
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf(`version: 0.1
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}
http: {addr: %q}
`, filepath.Join(dir, "registry"), r.Address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var err error
	r.daemon, err = startDaemon(ctx, filepath.Join(dir, "registry.log"), func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Address+"/v2/", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the registry answers %s", answer.Status)
		}
		return nil
	}, "docker-registry", "serve", config)
	return r, err
}
