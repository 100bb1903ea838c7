package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thinctl/tests/debian"
)

// kernelRecipe changes when the cached kernels have to be made again.
const kernelRecipe = "3: uncompressed vmlinux, uncompressed modules, depmod"

// kernel is an unpacked Debian kernel.
type kernel struct {
	image   string // vmlinux; QEMU enters it directly, which saves unpacking it under emulation
	release string
	tree    string // its modules
}

// source is where a kernel comes from. Within a suite the kernel is updated within its
// series; in sid also from one series to the next.
type source struct {
	name  string
	suite debian.Suite
	meta  string // the package that depends on the newest kernel of the series
}

func sources() []source {
	return []source{
		{"6.1", "", "linux-image-amd64"},
		{"6.12", "", "linux-image-6.12-amd64"}, // of bookworm-security
		{"5.10", "bullseye", "linux-image-amd64"},
		{"sid", "sid", "linux-image-amd64"},
	}
}

// Kernels returns the names of the kernels that the lab can boot, the default first.
func Kernels() []string {
	var names []string
	for _, s := range sources() {
		names = append(names, s.name)
	}
	return names
}

func (c cache) kernel(ctx context.Context, name string, progress io.Writer) (kernel, error) {
	at := slices.IndexFunc(sources(), func(s source) bool { return s.name == name })
	if at < 0 {
		return kernel{}, fmt.Errorf("no kernel %q: there are %v", name, Kernels())
	}
	from := sources()[at]
	dir, err := c.entry(ctx, "kernel-"+name, []string{kernelRecipe, string(from.suite), from.meta},
		func(dir string) error {
			fmt.Fprintf(progress, "lab: fetching kernel %s (once)\n", name)
			return from.fetch(ctx, dir)
		})
	if err != nil {
		return kernel{}, fmt.Errorf("preparing kernel %s: %w", name, err)
	}
	trees, err := filepath.Glob(filepath.Join(dir, "modules/*"))
	if err != nil || len(trees) != 1 {
		return kernel{}, fmt.Errorf("%s holds %d kernels, want 1: remove it and run again", dir, len(trees))
	}
	return kernel{filepath.Join(dir, "vmlinux"), filepath.Base(trees[0]), trees[0]}, nil
}

// fetch writes vmlinux and modules/RELEASE to dir.
func (s source) fetch(ctx context.Context, dir string) error {
	release, packages, err := s.packages(ctx)
	if err != nil {
		return err
	}
	fetched, err := os.MkdirTemp("", "thinctl-lab-kernel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fetched)
	debs, err := s.suite.Download(ctx, fetched, packages...)
	if err != nil {
		return err
	}
	root := filepath.Join(fetched, "root")
	for _, deb := range debs {
		if _, err := output(ctx, "dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
	}
	// Debian 14 keeps both below /usr/lib/modules, earlier releases in /boot and /lib/modules.
	tree, image := filepath.Join(root, "usr/lib/modules", release), filepath.Join(root, "usr/lib/modules", release,
		"vmlinuz")
	if _, err := os.Stat(tree); err != nil {
		tree, image = filepath.Join(root, "lib/modules", release), filepath.Join(root, "boot/vmlinuz-"+release)
	}
	if err := unpackImage(ctx, image, filepath.Join(dir, "vmlinux")); err != nil {
		return err
	}
	if err := unpackModules(ctx, tree); err != nil {
		return err
	}
	if _, err := output(ctx, "cp", "-r", "--", filepath.Dir(tree), filepath.Join(dir, "modules")); err != nil {
		return err
	}
	// depmod reads lib/modules.
	if err := os.Symlink(".", filepath.Join(dir, "lib")); err != nil {
		return err
	}
	if _, err := output(ctx, "depmod", "-b", dir, release); err != nil {
		return fmt.Errorf("listing the dependencies of the modules of %s: %w", release, err)
	}
	return nil
}

// packages returns the release of the kernel that the metapackage depends on at present,
// and the packages that hold its image and its modules.
func (s source) packages(ctx context.Context) (release string, packages []string, err error) {
	names, err := s.suite.Depends(ctx, s.meta)
	if err != nil {
		return "", nil, fmt.Errorf("finding package %s (6.1 and 6.12 come from the system's sources, which must be Debian "+
			"12's): %w", s.meta, err)
	}
	for _, name := range names {
		var ok bool
		if release, ok = strings.CutPrefix(name, "linux-image-"); !ok {
			continue
		}
		if s.name != "sid" && !strings.HasPrefix(release, s.name+".") {
			return "", nil, fmt.Errorf("package %s is kernel %s, want %s: 6.1 and 6.12 come from the system's sources, which "+
				"must be Debian 12's", s.meta, release, s.name)
		}
		packages = []string{name}
		parts, err := s.suite.Depends(ctx, name)
		if err != nil {
			return "", nil, err
		}
		for _, part := range parts { // in Debian 14, binary, modules and base are packages of their own
			if strings.HasSuffix(part, "-"+release) {
				packages = append(packages, part)
			}
		}
		return release, packages, nil
	}
	return "", nil, fmt.Errorf("package %s depends on no kernel", s.meta)
}

// unpackImage extracts the kernel proper from a bzImage, by the offsets in its setup header
// (Documentation/arch/x86/boot.rst: payload_offset, payload_length).
func unpackImage(ctx context.Context, from, to string) error {
	image, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if len(image) < 0x250 || string(image[0x202:0x206]) != "HdrS" {
		return fmt.Errorf("%s is not a bzImage", from)
	}
	start := (int(image[0x1f1])+1)*512 + int(binary.LittleEndian.Uint32(image[0x248:]))
	end := start + int(binary.LittleEndian.Uint32(image[0x24c:]))
	if end > len(image) || end-start < 8 {
		return fmt.Errorf("%s is cut short", from)
	}
	payload := image[start : end-4] // the build appends the unpacked size
	unpack := map[string]string{"\xfd7zX": "xz", "\x28\xb5\x2f\xfd": "zstd"}[string(payload[:4])]
	if unpack == "" {
		return fmt.Errorf("%s: unknown compression", from)
	}
	packed := to + ".packed"
	if err := os.WriteFile(packed, payload, 0o644); err != nil {
		return err
	}
	defer os.Remove(packed)
	plain, err := output(ctx, unpack, "-dc", packed)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", from, err)
	}
	if !strings.HasPrefix(string(plain[:4]), "\x7fELF") {
		return errors.New("what was in " + from + " is no ELF kernel")
	}
	return os.WriteFile(to, plain, 0o644)
}

// unpackModules unpacks compressed modules, which would take the guest long.
func unpackModules(ctx context.Context, tree string) error {
	for suffix, program := range map[string]string{".ko.xz": "xz", ".ko.zst": "zstd"} {
		const script = `find "$1" -name "*$2" -print0 | xargs -0 -r -P "$(nproc)" -n 64 "$3" -q -d`
		if _, err := output(ctx, "sh", "-c", script, "sh", tree, suffix, program); err != nil {
			return fmt.Errorf("unpacking the modules in %s: %w", tree, err)
		}
	}
	return nil
}
