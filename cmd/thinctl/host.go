package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/thinpool/tools"
)

// localHost is the machine that thinctl runs on.
func localHost(logger *slog.Logger) (thinpool.Host, io.Closer, error) {
	kernel, err := dm.Open(dm.Options{Logger: logger})
	if err != nil {
		return thinpool.Host{}, nil, err
	}
	loops := loopback.New(loopback.Options{})
	host := thinpool.Host{Kernel: kernel, Loops: loops, Disks: thinpool.LocalDisks{}, Tools: metadataTools{}}
	return host, closers{kernel, loops}, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var faults []error
	for _, one := range c {
		faults = append(faults, one.Close())
	}
	return errors.Join(faults...)
}

// metadataTools rebuild with the thin-provisioning-tools.
type metadataTools struct{}

var _ thinpool.MetadataTools = metadataTools{}

func (metadataTools) Repair(ctx context.Context, damaged, fresh string) error {
	return tools.Repair(ctx, damaged, fresh)
}
