package metadata

// What tests outside of the package take from those inside: metadatatest
// imports it.
type (
	Fataler = fataler
	Dumped  = dump
)

var (
	Tool        = tool
	Classify    = classify
	Mirror      = mirror
	ThinDelta   = thinDelta
	AsThinDelta = asThinDelta
)
