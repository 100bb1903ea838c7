package oncall

// Record holds the figures of a run. Times are seconds since its begin.
type Record struct {
	Kernel   string
	Pictures []Picture
}

// Picture is one space of one pool over time.
type Picture struct {
	Name  string // of the file
	Title string
	Until float64 // where the time axis ends
	// Lines are bytes over time.
	Lines []Line
	// Rows are the events, one kind below the other.
	Rows []Row
}

// Line is a quantity over time.
type Line struct {
	Name  string
	Style Style
	At    []float64
	Bytes []float64
}

// Style is the style of a line.
type Style string

// The styles of lines.
const (
	Filled Style = "filled" // with its area
	Solid  Style = "solid"
	Dashed Style = "dashed"
	Dotted Style = "dotted"
)

// Row is one kind of event.
type Row struct {
	Name string
	// Spans last, moments do not.
	Spans   [][2]float64
	Moments []float64
	Urgent  bool // in the colour of alerts
}
