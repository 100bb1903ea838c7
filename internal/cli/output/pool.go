package output

// PoolHead begins results about a pool's images, layers or containers.
type PoolHead struct {
	Envelope
	Pool string `json:"pool"`
}
