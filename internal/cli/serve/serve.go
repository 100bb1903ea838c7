// Package serve has the command that runs the daemon.
package serve

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"thinctl/internal/cli/command"
	"thinctl/internal/daemon"
)

// Command returns `thinctl serve`.
func Command(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "serve", Usage: "watch and extend all pools, serve containerd and metrics", Long: true,
		About: "Runs until SIGTERM, which leaves all devices as they are; SIGHUP reloads the configuration. " +
			"Activates the pools that were not deactivated by a user before it reports that it is ready. " +
			"Is the snapshotter of each containerd in the configuration, [containerd.NAME]: containerd uses it as a proxy " +
			"plugin, and its snapshots are thin volumes of the pool. " +
			"Running containers are not affected when the daemon stops. A reload starts the snapshotters of new tables, " +
			"stops those of removed tables, and restarts those of changed tables. " +
			"Serves /metrics, /healthz and /readyz. " +
			"Under systemd it sends notifications, serves the watchdog and accepts sockets. The other commands need no " +
			"daemon, and work while it runs.",
		Flags: []cli.Flag{
			command.ConfigFlag(),
			&cli.StringFlag{Name: "listen", Usage: "serve at this `ADDRESS`, host:port or unix:/path"},
			&cli.StringFlag{Name: "web-config", TakesFile: true,
				Usage: "`FILE` with TLS and basic auth, in the format of Prometheus' exporter-toolkit"},
			&cli.StringFlag{Name: "interval", Usage: "poll each pool after this `TIME`, in addition to events"},
			&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of the log: text or json"},
			&cli.BoolFlag{Name: "pprof", Usage: "serve /debug/pprof/"},
		},
		Run: serve,
	})
}

func serve(c *command.Call) error {
	settings, err := c.LoadConfig()
	if err != nil {
		return err
	}
	log := daemon.NewLogger(settings.Serve, c.Err)
	c.Logger = log
	listeners, err := activation.Listeners()
	if err != nil {
		return fmt.Errorf("take the service manager's sockets: %w", err)
	}
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog is not served", "error", err)
	}
	return c.OnHost(func() error {
		d, err := daemon.New(daemon.Options{Host: c.Host, Files: c.Files, Config: settings, Logger: log, Reload: c.LoadConfig,
			Listeners: listeners, Notify: notifyManager, Watchdog: watchdog, Version: command.ProgramVersion()})
		if err != nil {
			return err
		}
		stop := onHangup(d.Reload)
		defer stop()
		return d.Run(c.Ctx)
	})
}

// onHangup calls do at each SIGHUP until stop is called.
func onHangup(do func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for range signals {
			do()
		}
	}()
	return func() { signal.Stop(signals); close(signals) }
}

// notifyManager sends a state to systemd. RELOADING needs the time, which identifies the reload
// (sd_notify(3)).
func notifyManager(state string) error {
	if strings.HasPrefix(state, sd.SdNotifyReloading) {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return err
		}
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", time.Duration(now.Nano()).Microseconds())
	}
	_, err := sd.SdNotify(false, state)
	return err
}
