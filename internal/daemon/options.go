package daemon

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"thinctl/fault"
	"thinctl/internal/config"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// Options configure a daemon. Host, Files and Config are required.
type Options struct {
	Host   thinpool.Host
	Files  Files
	Config config.Config
	Logger *slog.Logger // nil: no log
	// Reload reads the configuration again. If it is nil, the daemon cannot reload.
	Reload func() (config.Config, error)
	// Listeners replace the configuration's address, for sockets that a service manager
	// has opened.
	Listeners []net.Listener
	// Notify sends a state to the service manager, in the form of sd_notify(3). It is nil
	// if there is no service manager.
	Notify func(state string) error
	// Watchdog is the interval in which the service manager expects a sign of life; 0 if
	// it expects none.
	Watchdog time.Duration
	Version  string
}

// Files holds the operations on the file systems of volumes.
type Files interface {
	snapshots.Files
	thinpool.Trimmer
}

// ErrRunning is the error of Run if another daemon serves the root.
var ErrRunning = fault.New(fault.Busy, "another daemon serves these pools")

func (o Options) check() error {
	if o.Host.Kernel == nil || o.Files == nil || o.Config.Root == "" {
		return errors.New("daemon: options without a host, file systems or configuration")
	}
	return nil
}
