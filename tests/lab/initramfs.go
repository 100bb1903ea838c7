package lab

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"thinctl/tests/lab/boot"
)

// archive is a cpio in the kernel's "newc" form
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	bytes.Buffer
	inode int
}

const (
	modeDir     = 0o040755
	modeProgram = 0o100755
	modeDevice  = 0o020600
)

func (a *archive) add(name string, mode int, device [2]int, content []byte) {
	a.inode++
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, device[0], device[1], len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

// initramfs returns the first root: the guest program, its orders and the modules. It is
// made for each run, which costs less than reading it from a cache.
func initramfs(spec boot.Spec, guestProgram string, modules []string, tree string) ([]byte, error) {
	var a archive
	a.add("dev", modeDir, [2]int{}, nil)
	a.add("dev/console", modeDevice, [2]int{5, 1}, nil)
	a.add("modules", modeDir, [2]int{}, nil)
	program, err := os.ReadFile(guestProgram)
	if err != nil {
		return nil, fmt.Errorf("reading the guest's program: %w", err)
	}
	a.add("init", modeProgram, [2]int{}, program)
	for _, file := range modules {
		content, err := os.ReadFile(filepath.Join(tree, file))
		if err != nil {
			return nil, fmt.Errorf("reading a module: %w", err)
		}
		name := filepath.Base(file)
		a.add("modules/"+name, modeProgram, [2]int{}, unsigned(content))
		spec.Modules = append(spec.Modules, name)
	}
	orders, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	a.add(boot.SpecPath[1:], modeProgram, [2]int{}, orders)
	a.add("TRAILER!!!", 0, [2]int{}, nil)
	return a.Bytes(), nil
}

// unsigned cuts off a module's signature (struct module_signature in the kernel's
// include/linux/module_signature.h). Checking signatures takes seconds of the guest's
// emulated processor; without them the kernel only marks itself tainted.
func unsigned(module []byte) []byte {
	const magic, header = "~Module signature appended~\n", 12
	rest, signed := bytes.CutSuffix(module, []byte(magic))
	if !signed || len(rest) < header {
		return module
	}
	length := int(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	if length > len(rest)-header {
		return module
	}
	return rest[:len(rest)-header-length]
}
