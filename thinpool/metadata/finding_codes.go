package metadata

// Code is the kind of a finding. Codes do not change between releases.
type Code string

// The codes of Check. Meaning describes each.
const (
	CodeSuperblock    Code = "superblock"
	CodeNeedsCheck    Code = "needs-check"
	CodeHeldRoot      Code = "held-root"
	CodeTime          Code = "time-runs-out"
	CodeUnreadable    Code = "block-unreadable"
	CodeNodeChecksum  Code = "node-checksum"
	CodeNode          Code = "node"
	CodePointer       Code = "pointer"
	CodeKeys          Code = "keys"
	CodeBalance       Code = "balance"
	CodeUnderfull     Code = "underfull"
	CodeCircle        Code = "circle"
	CodeDeviceID      Code = "device-id"
	CodeTimeAhead     Code = "time-ahead"
	CodeDevice        Code = "device"
	CodeNoDetails     Code = "no-details"
	CodeNoMappings    Code = "no-mappings"
	CodeMappedCount   Code = "mapped-count"
	CodeBeyondData    Code = "beyond-data"
	CodeBitmap        Code = "bitmap"
	CodeIndex         Code = "index"
	CodeAllocated     Code = "allocated"
	CodeOverflow      Code = "overflow"
	CodeMetadataLeak  Code = "metadata-leak"
	CodeMetadataCount Code = "metadata-undercount"
	CodeDataLeak      Code = "data-leak"
	CodeDataCount     Code = "data-undercount"
	CodeNotCounted    Code = "not-counted"
	CodeTruncated     Code = "truncated"
)

// Meaning describes a code and its consequence for a user. It returns "" if the code is not one
// of [Codes].
func (c Code) Meaning() string {
	for _, m := range meanings() {
		if m.code == c {
			return m.text
		}
	}
	return ""
}

// Codes returns all codes: first those of the superblock, then of the trees, the devices and
// the space maps.
func Codes() []Code {
	var codes []Code
	for _, m := range meanings() {
		codes = append(codes, m.code)
	}
	return codes
}

type meaning struct {
	code Code
	text string
}

func meanings() []meaning {
	return []meaning{
		{CodeSuperblock, "the superblock cannot be read, or a field has an impossible value"},
		{CodeNeedsCheck, "an operation failed in the kernel, which keeps the pool read-only until the metadata is checked"},
		{CodeHeldRoot, "the superblock of the metadata snapshot is damaged; the pool itself does not need it"},
		{CodeTime, "the 24-bit counter of all snapshots ever made in the pool is nearly used up"},
		{CodeTruncated, "the device or file is smaller than its space map: a copy is incomplete, or the device shrank"},
		{CodeUnreadable, "the device fails to read a block, or ends before it; the content is out of reach"},
		{CodeNodeChecksum, "the checksum of a btree node is wrong; its content is out of reach"},
		{CodeNode, "a btree node has a correct checksum and invalid content; the content is out of reach"},
		{CodePointer, "a pointer leads to no block, or into another tree; the content below it is out of reach"},
		{CodeCircle, "the pointers of a tree form a cycle; the kernel would follow them without end"},
		{CodeKeys, "keys are out of order, or outside the range of the parent node; lookups miss them"},
		{CodeBalance, "the leaves of a tree have different depths; the kernel confuses nodes when it merges them"},
		{CodeUnderfull, "a node is less than a third full; the kernel rejects it when it removes an entry"},
		{CodeDeviceID, "a device id needs more than 24 bits; no message to the kernel can name the device"},
		{CodeTimeAhead, "a time is later than the pool's; the kernel would overwrite shared blocks in place"},
		{CodeDevice, "some mappings of a thin device are out of reach; reads there fail, and return zeros after a repair"},
		{CodeNoDetails, "a thin device has mappings and no details; it cannot be activated"},
		{CodeNoMappings, "a thin device has details and no mappings; it cannot be activated"},
		{CodeMappedCount, "the details of a thin device have a wrong count of its mappings"},
		{CodeBeyondData, "a mapping leads beyond the end of the data device"},
		{CodeBitmap, "the bitmap or index of a space map cannot be read; the kernel cannot allocate blocks there"},
		{CodeIndex, "an index entry of a space map has wrong counts for its bitmap; the kernel may never use free blocks"},
		{CodeAllocated, "the total of a space map is wrong; the pool reports a wrong amount of free space"},
		{CodeOverflow, "a reference count over 2 without its record, or a record without such a count"},
		{CodeMetadataLeak, "the reference counts of metadata blocks are too high; their space is lost"},
		{CodeMetadataCount, "the reference counts of metadata blocks are too low; the kernel will overwrite the blocks"},
		{CodeDataLeak, "the reference counts of data blocks are too high; their space is lost"},
		{CodeDataCount, "the reference counts of data blocks are too low; the kernel will give the blocks to another device"},
		{CodeNotCounted, "blocks are out of reach, so the check cannot find which other blocks leak"},
	}
}
