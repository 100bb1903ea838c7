package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"thinctl/internal/config"
	"thinctl/internal/containerd"
	"thinctl/thinpool"
)

// Options are what a daemon works with. Host, Files and Config are needed.
type Options struct {
	Host   thinpool.Host
	Files  Files
	Config config.Config
	Logger *slog.Logger // nil: quiet
	// Reload reads the configuration anew; nil: it cannot be.
	Reload func() (config.Config, error)
	// Listeners go before the configuration's address: a service manager made them.
	Listeners []net.Listener
	// Notify tells the service manager a state, as sd_notify(3) has them; nil:
	// there is none.
	Notify func(state string) error
	// Watchdog is how often the service manager wants to hear that all is well; 0:
	// never.
	Watchdog time.Duration
	Version  string
}

// Files are the file systems on volumes.
type Files interface {
	containerd.Files
	thinpool.Trimmer
}

// ErrRunning: a daemon serves the root already. Run.
var ErrRunning = errors.New("another daemon serves these pools")

// Error says what the daemon tried, why it failed and what to do.
type Error struct {
	Op     string
	Object string
	Kind   error // a sentinel of this package, or nil
	Remedy string
	Err    error
}

func (e *Error) Error() string {
	text := e.Op + " " + e.Object
	if e.Kind != nil {
		text += ": " + e.Kind.Error()
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

func (o Options) check() error {
	if o.Host.Kernel == nil || o.Files == nil || o.Config.Root == "" {
		return fmt.Errorf("daemon: options without a host, file systems or configuration")
	}
	return nil
}
