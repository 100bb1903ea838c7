package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bootModules are the modules that the guest cannot start without.
func bootModules() []string {
	return []string{"virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "overlay", "ext4"}
}

// checksumModules are loaded first if the kernel has them. ext4 requests crc32c by an
// alias, which the guest's init cannot resolve; newer kernels have crc32c built in.
func checksumModules() []string { return []string{"crc32c_generic", "crc32c_intel"} }

// testModules are the modules that are loaded before a test starts. The kernel loads any
// other by modprobe; xfs is one of those, because it takes two seconds.
func testModules() []string {
	return []string{"loop", "dm_mod", "dm_thin_pool", "dm_snapshot", "dm_flakey",
		"dm_log_writes", "dm_delay", "dm_zero"}
}

// moduleSet is a kernel's modules.dep: its modules and their dependencies.
type moduleSet struct {
	file    map[string]string // by name
	needs   map[string][]string
	builtin map[string]bool
}

func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func readModules(tree string) (moduleSet, error) {
	set := moduleSet{map[string]string{}, map[string][]string{}, map[string]bool{}}
	deps, err := os.ReadFile(filepath.Join(tree, "modules.dep"))
	if err != nil {
		return set, fmt.Errorf("reading what modules there are: %w", err)
	}
	for line := range strings.Lines(string(deps)) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		name := moduleName(file)
		set.file[name] = file
		for _, need := range strings.Fields(needs) {
			set.needs[name] = append(set.needs[name], moduleName(need))
		}
	}
	builtin, err := os.ReadFile(filepath.Join(tree, "modules.builtin"))
	if err != nil {
		return set, fmt.Errorf("reading what is built in: %w", err)
	}
	for line := range strings.Lines(string(builtin)) {
		set.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	return set, nil
}

// loadOrder lists the files of the modules named and of all their dependencies,
// dependencies first. It leaves out the modules in without, and those that need them.
func (s moduleSet) loadOrder(names, without []string) ([]string, error) {
	var order []string
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, need := range s.needs[name] {
			add(need)
		}
		if f, ok := s.file[name]; ok {
			order = append(order, f)
		}
	}
	for _, name := range names {
		name = moduleName(name)
		if s.file[name] == "" && !s.builtin[name] {
			return nil, fmt.Errorf("this kernel has no module %s", name)
		}
		if !s.wants(name, without) {
			add(name)
		}
	}
	return order, nil
}

// present returns the names of the modules that this kernel has as files.
func (s moduleSet) present(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return s.file[moduleName(name)] == "" })
}

// wants reports whether a module is in the list or needs one that is.
func (s moduleSet) wants(name string, those []string) bool {
	return slices.ContainsFunc(those, func(w string) bool {
		w = moduleName(w)
		return name == w || slices.Contains(s.needs[name], w)
	})
}

// leftOut returns the files of the modules in without, which are hidden from the guest.
func (s moduleSet) leftOut(without []string) ([]string, error) {
	var files []string
	for _, name := range without {
		name = moduleName(name)
		if s.builtin[name] {
			return nil, fmt.Errorf("module %s is built into this kernel: it cannot be left out", name)
		}
		if s.file[name] == "" {
			return nil, fmt.Errorf("this kernel has no module %s to leave out", name)
		}
		for _, needed := range bootModules() {
			if s.wants(needed, []string{name}) {
				return nil, fmt.Errorf("module %s cannot be left out: the lab's %s needs it", name, needed)
			}
		}
		files = append(files, s.file[name])
	}
	return files, nil
}
