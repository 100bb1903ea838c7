package containerd

import (
	"context"
	"errors"
	"io/fs"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"thinctl/snapshots"
	"thinctl/thinpool"
)

// ToStatus gives an error the code by which containerd knows what it means. Its
// text reaches logs, and through the kubelet a pod's events.
//
// Only a snapshot can be not found: containerd takes what is not found for
// removed, and a pool that is away must not look so.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(code(err), err.Error())
}

func code(err error) codes.Code {
	is := func(kinds ...error) bool {
		for _, kind := range kinds {
			if errors.Is(err, kind) {
				return true
			}
		}
		return false
	}
	switch {
	case is(context.Canceled):
		return codes.Canceled
	case is(context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case is(thinpool.ErrReserve, snapshots.ErrFull, thinpool.ErrIDsExhausted):
		return codes.ResourceExhausted
	case is(thinpool.ErrInactive, thinpool.ErrNoDatabase):
		return codes.Unavailable
	case is(thinpool.ErrUnhealthy, thinpool.ErrNeedsCheck, thinpool.ErrDiverged):
		return codes.Unavailable
	case is(ErrInvalid):
		return codes.InvalidArgument
	case is(ErrNotFound):
		return codes.NotFound
	case is(ErrExists):
		return codes.AlreadyExists
	case is(ErrRefused):
		return codes.FailedPrecondition
	case is(ErrUnsupported):
		return codes.Unimplemented
	case is(thinpool.ErrCorrupt):
		return codes.DataLoss
	case is(thinpool.ErrBusy, fs.ErrNotExist): // the pool's folder, or a file of it, is away
		return codes.Unavailable
	case is(thinpool.ErrInvalid):
		return codes.InvalidArgument
	}
	return codes.Unknown
}
