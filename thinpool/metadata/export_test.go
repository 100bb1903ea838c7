package metadata

// The helpers of the tests inside the package that tests outside it need. Those are
// outside because metadatatest imports this package.
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
