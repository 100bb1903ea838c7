package output

// PoolHead is the start of results about the images, layers or containers of a pool.
type PoolHead struct {
	Envelope
	Pool string `json:"pool"`
}
