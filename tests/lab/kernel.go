package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"thinctl/tests/debian"
)

// kernelRecipe changes when a kernel has to be made anew.
const kernelRecipe = "1: uncompressed vmlinux, uncompressed modules, depmod"

// kernel is a Debian kernel, unpacked.
type kernel struct {
	image   string // vmlinux: QEMU enters it directly, which saves unpacking it under emulation
	release string
	tree    string // its modules
}

// Kernels are the versions the lab knows, the default first.
func Kernels() []string { return []string{"6.1", "6.12"} }

func metapackage(version string) string {
	if version == "6.1" {
		return "linux-image-amd64"
	}
	return "linux-image-" + version + "-amd64"
}

func (c cache) kernel(ctx context.Context, version string, progress io.Writer) (kernel, error) {
	dir, err := c.entry(ctx, "kernel-"+version, []string{kernelRecipe, metapackage(version)}, func(dir string) error {
		fmt.Fprintf(progress, "lab: fetching kernel %s (once)\n", version)
		return makeKernel(ctx, version, dir)
	})
	if err != nil {
		return kernel{}, fmt.Errorf("preparing kernel %s: %w", version, err)
	}
	trees, err := filepath.Glob(filepath.Join(dir, "lib/modules/*"))
	if err != nil || len(trees) != 1 {
		return kernel{}, fmt.Errorf("%s holds %d kernels, not one: remove it and run again", dir, len(trees))
	}
	return kernel{filepath.Join(dir, "vmlinux"), filepath.Base(trees[0]), trees[0]}, nil
}

func makeKernel(ctx context.Context, version, dir string) error {
	name, err := kernelPackage(ctx, version)
	if err != nil {
		return err
	}
	fetched, err := os.MkdirTemp("", "thinctl-lab-kernel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fetched)
	download := []string{"apt-get", "download", name}
	if os.Geteuid() == 0 {
		download = []string{"apt-get", "-o", "APT::Sandbox::User=root", "download", name}
	}
	if _, err := debian.Apt(ctx, fetched, download...); err != nil {
		return fmt.Errorf("fetching %s: %w", name, err)
	}
	debs, _ := filepath.Glob(filepath.Join(fetched, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages, not one", name, len(debs))
	}
	if _, err := output(ctx, "dpkg-deb", "-x", debs[0], dir); err != nil {
		return err
	}
	release := strings.TrimPrefix(name, "linux-image-")
	if err := unpackImage(ctx, filepath.Join(dir, "boot/vmlinuz-"+release), filepath.Join(dir, "vmlinux")); err != nil {
		return err
	}
	return unpackModules(ctx, dir, release)
}

// kernelPackage is the package a metapackage stands for today.
func kernelPackage(ctx context.Context, version string) (string, error) {
	meta := metapackage(version)
	out, err := debian.Apt(ctx, "", "apt-cache", "depends", meta)
	if err != nil {
		return "", fmt.Errorf("package %s is not to be had from this system's apt sources "+
			"(Debian 12 has 6.1 and, in bookworm-security, 6.12): %w", meta, err)
	}
	for line := range strings.Lines(out) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
		if !ok || !strings.HasPrefix(name, "linux-image-") {
			continue
		}
		if !strings.HasPrefix(name, "linux-image-"+version+".") {
			return "", fmt.Errorf("%s is %s on this system, not a %s kernel: the lab needs Debian 12's apt sources", meta, name, version)
		}
		return name, nil
	}
	return "", fmt.Errorf("package %s names no kernel", meta)
}

// unpackImage takes the kernel proper out of a bzImage, by the offsets in its
// setup header (Documentation/arch/x86/boot.rst: payload_offset, payload_length).
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
	payload := image[start : end-4] // behind it the build puts the unpacked size
	unpack := map[string]string{"\xfd7zX": "xz", "\x28\xb5\x2f\xfd": "zstd"}[string(payload[:4])]
	if unpack == "" {
		return fmt.Errorf("%s is compressed in a way the lab does not know", from)
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

// unpackModules unpacks what 6.12 keeps as .ko.xz, since the guest would be
// slow at it, and writes the dependencies, which the package leaves to depmod.
func unpackModules(ctx context.Context, dir, release string) error {
	const script = `find "$1" -name '*.ko.xz' -print0 | xargs -0 -r -P "$(nproc)" -n 64 xz -d`
	if _, err := output(ctx, "sh", "-c", script, "sh", filepath.Join(dir, "lib/modules", release)); err != nil {
		return fmt.Errorf("unpacking modules of %s: %w", release, err)
	}
	if _, err := output(ctx, "depmod", "-b", dir, release); err != nil {
		return fmt.Errorf("finding what modules of %s depend on: %w", release, err)
	}
	return nil
}
