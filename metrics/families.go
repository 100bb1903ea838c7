package metrics

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

const prefix = "thinctl_"

// The types of metrics, as the exposition calls them.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// MetricDoc is what docs/metrics.md says of a metric.
type MetricDoc struct {
	Name   string
	Type   string // gauge, counter, histogram
	Unit   string // bytes, seconds, ratio; "" for a plain number
	Labels []string
	Help   string
}

// Docs returns all metrics, by name.
func Docs() []MetricDoc {
	var docs []MetricDoc
	for _, f := range newFamilies().all {
		docs = append(docs, f.MetricDoc)
	}
	slices.SortFunc(docs, func(a, b MetricDoc) int { return cmp.Compare(a.Name, b.Name) })
	return docs
}

// LabelDoc is what docs/metrics.md says of a label.
type LabelDoc struct {
	Name   string
	Values []string // all that there can be; none where anything can
	Help   string
}

// Labels returns all labels, by name.
func Labels() []LabelDoc {
	return []LabelDoc{
		{Name: "backing", Values: []string{"devices", "files"}, Help: "What the data lie on."},
		{Name: "code", Help: "A runbook's code; `thinctl explain` lists them."},
		{Name: "dir", Help: "The pool's folder."},
		{Name: "file", Values: []string{string(Data), string(Metadata)}, Help: "Which of the pool's files."},
		{Name: "grpc_code", Values: codes(), Help: "How a request ended: OK, or gRPC's word for the error."},
		{Name: "goversion", Help: "What the program was built with."},
		{Name: "kind", Values: []string{KindContainer, KindVolume}, Help: "Whose name the volume has: a container's, or its own."},
		{Name: "method", Values: methods(), Help: "What containerd asked for."},
		{Name: "mode", Values: modes(), Help: "The kernel's mode of the pool, or inactive where the kernel has it not."},
		{Name: "operation", Help: "What the daemon did."},
		{Name: "policy", Values: policies(), Help: "What becomes of writes to a full pool."},
		{Name: "pool", Help: "The pool's name."},
		{Name: "result", Values: append(results(), outcomes()...), Help: "How it ended: of operations ok or error, of extensions one of the others."},
		{Name: "snapshotter", Help: "The name of its table in the configuration, [containerd.NAME]."},
		{Name: "space", Values: []string{string(Data), string(Metadata), string(Host)}, Help: "What can run full."},
		{Name: "uuid", Help: "The pool's identity."},
		{Name: "version", Help: "The program's."},
		{Name: "volume", Help: "The name of the volume or container; of a container without one the first 12 digits of its id. Never a digest."},
	}
}

// family is a metric with all its series.
type family struct {
	MetricDoc
	desc *prometheus.Desc
}

// families are all metrics of this package: the one place that has their names.
type families struct {
	all []*family

	info, active, mode, fullPolicy, needsCheck, heldRoot, transactionID *family
	blockSize, lowWater                                                 *family
	dataSize, dataUsed, dataReserve                                     *family
	metadataSize, metadataUsed, metadataReserve                         *family
	hostSize, hostFree, hostReserve                                     *family
	fileSize, fileAllocated                                             *family
	virtual, overcommit                                                 *family
	volumes, layers, containers, images, tombstones                     *family
	maximum, secondsToFull, condition                                   *family
	sampleTime, sampleAge, sampleDuration, sampleSuccess                *family
	scanTime, scanAge, scanDuration, scanSuccess                        *family
	exclusive, shared, leaked                                           *family

	volumeVirtual, volumeMapped, volumeExclusive, volumeShared *family

	extensions, extended, events  *family
	operations, operationDuration *family
	// The snapshotters of containerds.
	snapshotterReady, inFlight, requests, requestDuration *family
	buildInfo                                             *family
}

func newFamilies() *families {
	f := &families{}
	add := func(kind, name, help string, labels ...string) *family {
		one := &family{MetricDoc: MetricDoc{Name: prefix + name, Type: kind, Unit: unitOf(name), Labels: labels, Help: help}}
		one.desc = prometheus.NewDesc(one.Name, help, labels, nil)
		f.all = append(f.all, one)
		return one
	}
	pool := func(name, help string, labels ...string) *family {
		return add(gauge, "pool_"+name, help, append([]string{"pool"}, labels...)...)
	}
	volume := func(name, help string) *family { return add(gauge, "volume_"+name, help, "pool", "kind", "volume") }

	f.info = pool("info", "Always 1. backing says what the pool's data lie on: files or devices.", "uuid", "dir", "backing")
	f.active = pool("active", "1 while the kernel has the pool, else 0.")
	f.mode = pool("mode", "1 for the mode that the pool is in, 0 for the others.", "mode")
	f.fullPolicy = pool("full_policy", "1 for what writes do once the data are full, 0 for the other: queue waits for space, error fails at once.", "policy")
	f.needsCheck = pool("needs_check", "1 where the kernel met an error and wants the metadata checked.")
	f.heldRoot = pool("held_root", "1 while the kernel holds a metadata snapshot, as a scan or a backup asks for.")
	f.transactionID = pool("transaction_id", "The pool's transaction id: it goes up by one with each change.")
	f.blockSize = pool("block_size_bytes", "Size of a data block, the least that a volume takes.")
	f.lowWater = pool("low_water_bytes", "Free data below which the kernel raises an event.")

	f.dataSize = pool("data_size_bytes", "Size of the pool's data.")
	f.dataUsed = pool("data_used_bytes", "Data that volumes have taken.")
	f.dataReserve = pool("data_reserve_bytes", "Free data below which nothing new is made.")
	f.metadataSize = pool("metadata_size_bytes", "Size of the pool's metadata.")
	f.metadataUsed = pool("metadata_used_bytes", "Metadata that is taken.")
	f.metadataReserve = pool("metadata_reserve_bytes", "Free metadata below which nothing new is made.")
	f.hostSize = pool("host_size_bytes", "Size of the host's file system under the pool's files.")
	f.hostFree = pool("host_free_bytes", "What the host's file system under the pool's files has available.")
	f.hostReserve = pool("host_reserve_bytes", "Space of the host below which nothing new is made.")
	f.fileSize = pool("file_size_bytes", "Size that a file of the pool seems to have.", "file")
	f.fileAllocated = pool("file_allocated_bytes", "What a file of the pool takes on the host's file system.", "file")
	f.virtual = pool("virtual_bytes", "Sum of the sizes that volumes were promised.")
	f.overcommit = pool("overcommit_ratio", "What volumes were promised, over the size of the data; above 1 more than there is.")

	f.volumes = pool("volumes", "Volumes of the pool, with those of layers and containers.")
	f.layers = pool("layers", "Layers of images.")
	f.containers = pool("containers", "Containers.")
	f.images = pool("images", "Images.")
	f.tombstones = pool("tombstones", "Removed volumes that have not given their space back yet.")

	f.maximum = pool("maximum_bytes", "Size beyond which the space is not extended automatically; absent where there is no such limit.", "space")
	f.secondsToFull = pool("seconds_to_full", "Time until the space is full if it goes on filling as it does; +Inf where it is not filling.", "space")
	f.condition = pool("condition", "1 for each runbook that the pool is in need of; absent otherwise. `thinctl explain CODE` shows the runbook.", "code")

	f.sampleTime = pool("sample_timestamp_seconds", "When the pool was last looked at, whether with success or not.")
	f.sampleAge = pool("sample_age_seconds", "Time since the pool was last looked at.")
	f.sampleDuration = pool("sample_duration_seconds", "Time that the last look took.")
	f.sampleSuccess = pool("sample_success", "1 where the last look saw all, 0 where something could not be read.")
	f.scanTime = pool("scan_timestamp_seconds", "When the pool's metadata were last scanned.")
	f.scanAge = pool("scan_age_seconds", "Time since the pool's metadata were last scanned.")
	f.scanDuration = pool("scan_duration_seconds", "Time that the last scan took.")
	f.scanSuccess = pool("scan_success", "1 where the last scan succeeded, else 0.")
	f.exclusive = pool("exclusive_bytes", "Data that one volume alone has, at the last scan.")
	f.shared = pool("shared_bytes", "Data that several volumes have in common, at the last scan.")
	f.leaked = pool("leaked_bytes", "Data that are taken and nobody's, at the last scan.")

	f.volumeVirtual = volume("virtual_bytes", "Size that the volume was promised.")
	f.volumeMapped = volume("mapped_bytes", "Data that the volume has, shared or not.")
	f.volumeExclusive = volume("exclusive_bytes", "Data that only this volume has, at the last scan: what comes back when it is removed.")
	f.volumeShared = volume("shared_bytes", "Data that the volume has in common with others, at the last scan.")

	f.extensions = add(counter, "pool_extensions_total", "Automatic extensions, by how they ended.", "pool", "space", "result")
	f.extended = add(counter, "pool_extended_bytes_total", "Bytes that automatic extensions have added.", "pool", "space")
	f.events = add(counter, "pool_events_total", "Events of the pool's device that were seen.", "pool")
	f.operations = add(counter, "operations_total", "Operations of the daemon, by name and result.", "operation", "result")
	f.operationDuration = add(histogram, "operation_duration_seconds", "Time that operations of the daemon took.", "operation", "result")
	f.snapshotterReady = add(gauge, "snapshotter_ready", "1 while the snapshotter answers its containerd, 0 while its pool keeps it from that.", "snapshotter", "pool")
	f.inFlight = add(gauge, "snapshotter_in_flight_requests", "Requests of containerd that are not answered yet.", "snapshotter")
	f.requests = add(counter, "snapshotter_requests_total", "Answered requests of containerd.", "snapshotter", "method", "grpc_code")
	f.requestDuration = add(histogram, "snapshotter_request_duration_seconds", "Time until requests of containerd were answered.", "snapshotter", "method")
	f.buildInfo = add(gauge, "build_info", "Always 1. What is running.", "version", "goversion")
	return f
}

// unitOf is the unit that a name ends with.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, unit := range []string{"bytes", "seconds", "ratio"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	if strings.Contains(name, "seconds_to") {
		return "seconds"
	}
	return ""
}
