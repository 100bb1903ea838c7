// Package metadatafile claims files and devices with thin-pool metadata, so that no
// pool uses them in the meantime.
package metadatafile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"thinctl/loopback"
	"thinctl/thinpool/metadata"
)

// Host finds the users of a file or device. Tests have their own.
type Host struct {
	Loops   func(ctx context.Context, file string) ([]loopback.Device, error)
	Claim   func(device string) (io.Closer, error)
	Offline func(path string) (*metadata.File, error)
}

// Local returns this host.
func Local() Host {
	return Host{
		Loops:   loopback.New(loopback.Options{}).Find,
		Claim:   func(device string) (io.Closer, error) { return metadata.OpenOffline(device) },
		Offline: metadata.OpenOffline,
	}
}

// Claims are devices that are claimed until they are closed.
type Claims []io.Closer

// Close ends the claims.
func (c Claims) Close() error {
	var faults []error
	for _, one := range c {
		faults = append(faults, one.Close())
	}
	return errors.Join(faults...)
}

// OpenOffline opens metadata that no pool uses. It also claims the loop devices on
// a file: a pool claims the device, and the file does not show it. The claims are
// returned with an error, too.
func (h Host) OpenOffline(ctx context.Context, path string) (_ *metadata.File, claims Claims, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open metadata %s: %w", path, err)
	}
	if info.Mode().IsRegular() {
		if claims, err = h.ClaimLoops(ctx, path); err != nil {
			return nil, nil, err
		}
	}
	file, err := h.Offline(path)
	return file, claims, err
}

// ClaimLoops claims the loop devices on a file.
func (h Host) ClaimLoops(ctx context.Context, path string) (claims Claims, err error) {
	loops, err := h.Loops(ctx, path)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find the loop devices of metadata %s: %w", path, err)
	}
	for _, loop := range loops {
		claim, err := h.Claim(loop.Path)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("metadata %s is attached to %s: %w", path, loop.Path, err), claims.Close())
		}
		claims = append(claims, claim)
	}
	return claims, nil
}
