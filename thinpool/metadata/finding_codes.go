package metadata

// Code names a kind of finding and stays the same from release to release.
type Code string

// What Check can find; Meaning says what each is.
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

// Meaning is what a code stands for, for those who run the pool, and what comes
// of it; "" where it is not one of [Codes].
func (c Code) Meaning() string {
	for _, m := range meanings() {
		if m.code == c {
			return m.text
		}
	}
	return ""
}

// Codes lists all, those of the superblock first, then of the trees, the
// devices and the space maps.
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
		{CodeSuperblock, "the superblock is not readable as one, or what it says cannot be"},
		{CodeNeedsCheck, "the kernel met a failure and keeps the pool read-only until the metadata was checked"},
		{CodeHeldRoot, "the superblock of the metadata snapshot is bad; the pool itself does without it"},
		{CodeTime, "24 bits count the snapshots that were ever made in the pool, and are nearly used up"},
		{CodeTruncated, "the device or file is smaller than its space map: it was not copied whole, or shrunk"},
		{CodeUnreadable, "the device gives an error for a block, or ends before it; what it holds is out of reach"},
		{CodeNodeChecksum, "a btree node is not as it was written; what it holds is out of reach"},
		{CodeNode, "a btree node has a right checksum and makes no sense; what it holds is out of reach"},
		{CodePointer, "a pointer at no block, or at another tree's; what should be there is out of reach"},
		{CodeCircle, "pointers that come back to where they began; the kernel would run in a circle"},
		{CodeKeys, "keys that are out of order, or outside of what the node above allows; lookups miss them"},
		{CodeBalance, "leaves are not all equally deep; the kernel mixes them up when it merges nodes"},
		{CodeUnderfull, "a node is less than a third full; the kernel refuses it when it removes something"},
		{CodeDeviceID, "a device has an id over 24 bits, which no message to the kernel can name"},
		{CodeTimeAhead, "a time that the pool has not come to; the kernel would overwrite shared blocks in place"},
		{CodeDevice, "part of a thin device's mappings is out of reach; reads there fail, and give zeros after a repair"},
		{CodeNoDetails, "a thin device has mappings and no details; it cannot be activated"},
		{CodeNoMappings, "a thin device has details and no mappings; it cannot be activated"},
		{CodeMappedCount, "the details of a thin device count other mappings than there are"},
		{CodeBeyondData, "a mapping leads beyond the end of the data device"},
		{CodeBitmap, "a space map's bitmap or index is not readable; the kernel cannot allocate there"},
		{CodeIndex, "an entry of a space map's index miscounts its bitmap; free blocks may never be found"},
		{CodeAllocated, "a space map's total is wrong; the pool says that more or less is free than is"},
		{CodeOverflow, "a count over 2 without its record, or the record of no such count"},
		{CodeMetadataLeak, "metadata blocks count as used that are not, or as more used; they never come back"},
		{CodeMetadataCount, "metadata blocks in use count as free, or as less used; the kernel will overwrite them"},
		{CodeDataLeak, "data blocks count as mapped that are not, or as more mapped; they never come back"},
		{CodeDataCount, "mapped data blocks count as free, or as less mapped; they will be given to another device"},
		{CodeNotCounted, "what is out of reach hides which blocks are in use, and so what leaks there are"},
	}
}
