package dm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"thinctl/fault"

	"golang.org/x/sys/unix"
)

// Options changes how Open finds and uses the control node. The zero value is
// right on every ordinary host.
type Options struct {
	// Dir is the directory of the control node and of the devices' nodes; default
	// /dev/mapper.
	Dir string
	// UdevTimeout limits the wait for udev after a change; default 20 s. When it
	// expires, the change stays in place and Control creates the node itself.
	UdevTimeout time.Duration
	// Logger receives warnings about waits for udev that timed out; default
	// slog.Default.
	Logger *slog.Logger
}

// Control drives the kernel's device mapper through /dev/mapper/control.
type Control struct {
	options Options
	node    *os.File
	version Version
	udev    *udev
}

var _ Kernel = (*Control)(nil)

// Open opens the control node and checks the protocol version. It creates the
// node if udev has not. The caller closes the Control. Errors: ErrNoDeviceMapper,
// fault.Denied, fault.Unsupported.
func Open(options Options) (*Control, error) {
	if options.Dir == "" {
		options.Dir = "/dev/mapper"
	}
	if options.UdevTimeout == 0 {
		options.UdevTimeout = 20 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	node, err := openNode(options.Dir)
	if err != nil {
		return nil, err
	}
	c := &Control{options: options, node: node, udev: newUdev(options)}
	if c.version, err = c.readVersion(); err != nil {
		node.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the control node. It does not change any device.
func (c *Control) Close() error { return c.node.Close() }

func openNode(dir string) (*os.File, error) {
	path := filepath.Join(dir, unix.DM_CONTROL_NODE)
	node, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeControlNode(dir, path); err == nil {
			node, err = os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
		}
	}
	switch {
	case err == nil:
		return node, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, &Error{Op: "open", Object: path, Kind: fault.Denied, Detail: needsRoot, Err: errnoOf(err)}
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, errNotRegistered):
		return nil, &Error{Op: "open", Object: path, Kind: ErrNoDeviceMapper, Err: err}
	}
	return nil, fmt.Errorf("device mapper: open %s: %w", path, err)
}

var errNotRegistered = errors.New("device-mapper is not in /proc/misc")

// makeControlNode creates the control node with the minor number that the kernel
// registered. Hosts and containers whose /dev is not a devtmpfs need it.
func makeControlNode(dir, path string) error {
	minor, err := controlMinor()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const miscMajor = 10
	err = unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(miscMajor, minor)))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("mknod %s: %w", path, err)
	}
	return nil
}

func controlMinor() (uint32, error) {
	misc, err := os.ReadFile("/proc/misc")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(misc)) {
		var minor uint32
		var name string
		if n, _ := fmt.Sscan(line, &minor, &name); n == 2 && name == "device-mapper" {
			return minor, nil
		}
	}
	return 0, errNotRegistered
}

func (c *Control) readVersion() (Version, error) {
	const op, object = "read", "the protocol version"
	r := newControlRequest(unix.DM_VERSION, op, object, 0)
	err := c.do(r)
	got := Version(r.header().Version)
	if errnoOf(err) == unix.EINVAL || err == nil && got[0] != unix.DM_VERSION_MAJOR {
		return got, &Error{Op: op, Object: object, Kind: fault.Unsupported, Detail: fmt.Sprintf("the kernel has %s", got)}
	}
	return got, err
}

// Version implements [Kernel]. It returns the version that Open read.
func (c *Control) Version(context.Context) (Version, error) { return c.version, nil }
