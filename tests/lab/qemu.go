package lab

import (
	"fmt"
	"strconv"
	"strings"

	"thinctl/tests/lab/boot"
)

func baseArgs(accel string, cpus int, memory int64) []string {
	if accel == accelTCG {
		accel = "tcg,thread=multi"
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		// The board has no device that the kernel or udev would load a driver for.
		"-machine", "q35,sata=off,smbus=off,i8042=off,vmport=off", "-accel", accel, "-cpu", "max",
		"-smp", strconv.Itoa(cpus), "-m", fmt.Sprintf("%dM", memory>>20),
	}
}

// kernelLine is the kernel's command line. All options but those of the first line make the
// guest reach the command sooner under emulation.
func kernelLine(systemd bool) string {
	line := "console=ttyS0 panic=-1 reboot=t oops=panic quiet" +
		" mitigations=off nokaslr rodata=off random.trust_cpu=on" +
		" tsc=reliable no_timer_check cryptomgr.notests raid=noautodetect" +
		" 8250.nr_uarts=1 audit=0 apparmor=0 initcall_blacklist=init_kprobe_trace,jent_mod_init"
	if systemd {
		line += " systemd.wants=lab.service systemd.show_status=false" +
			" systemd.mask=modprobe@drm.service systemd.mask=modprobe@efi_pstore.service" +
			" modprobe.blacklist=kvm,kvm_amd,kvm_intel,powernow_k8,acpi_cpufreq,pcspkr,iTCO_wdt,lpc_ich," +
			"aesni_intel,ghash_clmulni_intel,sha512_ssse3,crct10dif_pclmul,crc32_pclmul,sha256_ssse3,sha1_ssse3"
	}
	return line
}

func (m *machine) bootArgs(k kernel, systemd bool) []string {
	return []string{
		"-kernel", k.image, "-initrd", m.path("initrd"), "-append", strings.TrimSpace(kernelLine(systemd) + " " +
			m.kernelOptions),
		"-chardev", "file,id=console,path=" + quote(m.path("console")), "-serial", "chardev:console",
	}
}

// portArgs gives the guest its serial ports. QEMU connects each to a socket that is already
// listening.
func (m *machine) portArgs(screen bool) []string {
	args := []string{"-device", "virtio-serial-pci"}
	for _, name := range ports() {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=%s,path=%s", name, quote(m.path(name))),
			"-device", fmt.Sprintf("virtserialport,chardev=%s,name=%s", name, name))
	}
	if screen {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=%s,path=%s", screenPort, quote(m.path(screenPort))),
			"-device", "virtconsole,chardev="+screenPort)
	}
	return args
}

func ports() []string {
	return []string{boot.PortControl, boot.PortStdin, boot.PortStdout, boot.PortStderr}
}

const screenPort = "lab.screen"

func shareArgs() []string {
	return []string{
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=host,mount_tag=" + boot.HostTag,
	}
}

// diskArgs attaches a raw file. Flushes are honoured, so killing QEMU loses no data that
// the guest has flushed. Discarded blocks become holes.
func diskArgs(id, serial, path string, snapshot bool) []string {
	drive := fmt.Sprintf("file=%s,if=none,id=%s,format=raw,cache=writeback,aio=threads,discard=unmap",
		quote(path), id)
	if snapshot {
		drive += ",snapshot=on"
	}
	device := "virtio-blk-pci,drive=" + id
	if serial != "" {
		device += ",serial=" + serial
	}
	return []string{"-drive", drive, "-device", device}
}

// quote doubles commas, which separate QEMU's options.
func quote(path string) string { return strings.ReplaceAll(path, ",", ",,") }
