// Command guest is the first process of the lab's virtual machine. It loads
// the modules, lays the host's root under a throw-away overlay, runs the
// command and reports how it ended. Under systemd it runs twice: first to
// prepare the root, then as a unit to run the command.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"thinctl/tests/lab/boot"
)

const stateDir = "/run/lab"

func main() {
	if os.Getpid() != 1 {
		serve(stateDir + boot.SpecPath)
		return
	}
	if err := first(); err != nil {
		fmt.Println("lab:", err)
		// The host reads this from the console if the port is not there yet.
		if c, cerr := openPort(boot.PortControl, syscall.O_WRONLY); cerr == nil {
			fmt.Fprintln(c, boot.Failed(err))
		}
		halt()
	}
}

// first does the work between the kernel's start and the command's.
func first() error {
	for _, m := range []mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"devtmpfs", "/dev", "devtmpfs", 0, ""},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	spec, err := readSpec(boot.SpecPath)
	if err != nil {
		return err
	}
	if spec.Probe {
		fmt.Println(boot.ProbeLine)
		halt()
	}
	modules, err := openModules(spec.Modules)
	if err != nil {
		return err
	}
	if err := loadModules(modules[:spec.Early]); err != nil {
		return err
	}
	// The other modules load concurrently, on the other processor.
	loaded := make(chan error, 1)
	go func() { loaded <- loadModules(modules[spec.Early:]) }()
	if spec.Systemd {
		return handOver(spec, loaded)
	}
	if err := enterHostRoot(spec); err != nil {
		return err
	}
	if err := <-loaded; err != nil {
		return err
	}
	serveSpec(spec)
	return nil
}

func readSpec(path string) (spec boot.Spec, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return spec, err
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return spec, fmt.Errorf("reading %s: %w", path, err)
	}
	return spec, nil
}

// halt ends the machine. QEMU runs with -no-reboot, so that QEMU ends too.
func halt() {
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	select {}
}
