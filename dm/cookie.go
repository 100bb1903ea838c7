package dm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System V semaphores, for which golang.org/x/sys has no functions.
const (
	cookieMagic = 0x0D4D // libdm-common.h, DM_COOKIE_MAGIC
	ipcCreate   = 0o1000
	ipcExclude  = 0o2000
	ipcRemove   = 0
	semSetValue = 16
	ipc64       = 0 // 64-bit architectures take no IPC_64 flag
)

// cookie is a System V semaphore that libdevmapper's udev rules decrement with
// `dmsetup udevcomplete`.
type cookie struct {
	key uint32
	sem uintptr
}

// newCookie creates a semaphore with the value 1: one event is to be completed.
func newCookie() (*cookie, error) {
	const tries = 64
	for range tries {
		base := uint32(rand.N(0xffff) + 1)
		key := uint32(cookieMagic)<<16 | base
		sem, _, errno := unix.Syscall(unix.SYS_SEMGET, uintptr(key), 1, 0o600|ipcCreate|ipcExclude)
		if errno == unix.EEXIST {
			continue
		}
		if errno != 0 {
			return nil, fmt.Errorf("semget: %w", errno)
		}
		k := &cookie{key: key, sem: sem}
		if _, _, errno := unix.Syscall6(unix.SYS_SEMCTL, sem, 0, semSetValue|ipc64, 1, 0, 0); errno != 0 {
			k.remove()
			return nil, fmt.Errorf("semctl SETVAL: %w", errno)
		}
		return k, nil
	}
	return nil, fmt.Errorf("udev cookie: all of %d random keys are in use: `dmsetup udevcookies` lists them", tries)
}

func (k *cookie) id() uint32 { return k.key & 0xffff }

func (k *cookie) remove() {
	_, _, _ = unix.Syscall(unix.SYS_SEMCTL, k.sem, 0, ipcRemove)
}

// wait returns when the semaphore is zero or ctx ends. It waits in short steps,
// because semtimedop does not observe ctx.
func (k *cookie) wait(ctx context.Context) error {
	var op [6]byte // struct sembuf {num 0, op 0, flags 0}: wait for zero
	for {
		slice := unix.NsecToTimespec(int64(200 * time.Millisecond))
		_, _, errno := unix.Syscall6(unix.SYS_SEMTIMEDOP, k.sem, uintptr(unsafe.Pointer(&op)), 1,
			uintptr(unsafe.Pointer(&slice)), 0, 0)
		switch errno {
		case 0, unix.EIDRM, unix.EINVAL:
			return nil // completed, or removed by `dmsetup udevcomplete_all`
		case unix.EAGAIN, unix.EINTR:
		default:
			return fmt.Errorf("semtimedop: %w", errno)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// Cookie describes a udev semaphore of the host.
type Cookie struct {
	ID      uint32 // the argument of `dmsetup udevcomplete`
	Changed time.Time
}

// Cookies lists the udev semaphores of all programs that use device mapper. A
// semaphore without a change for minutes belonged to a program that was killed.
func Cookies() ([]Cookie, error) {
	table, err := os.ReadFile("/proc/sysvipc/sem")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list udev cookies: %w", err)
	}
	return parseCookies(string(table))
}

// parseCookies parses /proc/sysvipc/sem, whose columns are key semid perms nsems
// uid gid cuid cgid otime ctime (ipc/sem.c, sysvipc_sem_proc_show). The kernel
// prints keys as signed numbers.
func parseCookies(table string) ([]Cookie, error) {
	var cookies []Cookie
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if i == 0 || line == "" {
			continue
		}
		var key, changed int64
		var skip string
		n, err := fmt.Sscan(line, &key, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &changed)
		if err != nil || n != 10 {
			return nil, fmt.Errorf("list udev cookies: line %q does not describe a semaphore", line)
		}
		var raw [4]byte
		binary.NativeEndian.PutUint32(raw[:], uint32(key))
		if id := binary.NativeEndian.Uint32(raw[:]); id>>16 == cookieMagic {
			cookies = append(cookies, Cookie{ID: id, Changed: time.Unix(changed, 0)})
		}
	}
	return cookies, nil
}
