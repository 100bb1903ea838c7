package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/snapshots"
)

// Error is the form of this package's errors.
type Error = snapshots.Error

// Listen creates the socket of a snapshotter with mode 0600. It creates the directory
// with mode 0700 if it does not exist. A socket on which no process answers is
// replaced. A socket that a process serves is rejected, and so is any other file. A
// lock beside the socket separates two processes that start at the same time; it ends
// with its process.
func Listen(path string) (net.Listener, error) {
	listener, err := listen(path)
	var refusal *Error
	if err != nil && !errors.As(err, &refusal) {
		err = &Error{Op: "listen", Object: path, Err: err}
	}
	if err != nil {
		return nil, err
	}
	return listener, nil
}

func listen(path string) (*socket, error) {
	// struct sockaddr_un has 108 bytes, and the temporary name is longer than the path.
	const longest = 100
	if len(path) > longest {
		return nil, &Error{
			Op:     "listen",
			Object: path,
			Kind:   fault.Invalid,
			Detail: fmt.Sprintf("a socket's path has at most %d bytes here", longest),
		}
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := filelock.Try(path+".lock", filelock.Range{})
	if errors.Is(err, filelock.ErrHeld) {
		return nil, inUse(path)
	}
	if err != nil {
		return nil, err
	}
	if err := replaceable(path); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	listener, err := bind(dir, path)
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return &socket{UnixListener: listener, path: path, lock: lock}, nil
}

func inUse(path string) error {
	return &Error{
		Op:     "listen",
		Object: path,
		Kind:   fault.Busy,
		Detail: "another process serves it",
		Remedy: "stop that process, or use another socket",
	}
}

// replaceable returns an error if the path is another file, or a socket on which a
// process answers.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return &Error{
			Op:     "listen",
			Object: path,
			Kind:   fault.Invalid,
			Detail: "a file that is not a socket exists there",
			Remedy: "remove it, or use another path",
		}
	}
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	there, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(inUse(path), there.Close())
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(inUse(path), err) // it is there, and has too much to do to answer
}

// bind creates the socket in a private directory, where no other user can reach it
// before it has its mode, and renames it to its place.
func bind(dir, path string) (*net.UnixListener, error) {
	private, err := os.MkdirTemp(dir, ".")
	if err != nil {
		return nil, err
	}
	defer os.Remove(private)
	made := filepath.Join(private, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(made))
	}
	return listener, nil
}

// socket removes its file and releases its lock when it is closed.
type socket struct {
	*net.UnixListener
	path string
	lock *filelock.Lock
	once sync.Once
	err  error
}

func (s *socket) Close() error {
	s.once.Do(func() {
		s.err = errors.Join(os.Remove(s.path), s.UnixListener.Close(), s.lock.Release())
	})
	return s.err
}
