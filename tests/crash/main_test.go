//go:build kernel

package crash

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// role is the variable that makes a process of this binary a child of the test: "kill N
// OPERATION", "images N POOL OPERATION" or "clients N".
const role = "THINCTL_CRASH_ROLE"

func TestMain(m *testing.M) {
	kind, rest, _ := strings.Cut(os.Getenv(role), " ")
	child, ok := map[string]func(ctx context.Context, rest string) error{
		"kill":    killed,
		"images":  imagesKilled,
		"clients": clients,
	}[kind]
	if !ok {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := child(ctx, rest); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
